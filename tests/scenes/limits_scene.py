"""Slow, large, many and malicious: each has its limit, and nobody else suffers."""
import os
import socket
import struct
import time
import unittest

from stage import Client, Scene, free_port, ok, wait_for

TIMES = "timeouts: { head: 300ms, idle: 600ms, body: 300ms, send: 1s }"


class Limits(Scene):
    def engine(self, top=""):
        return self.before(self.origin(ok), top=top)

    def test_a_slow_head_is_a_408(self):
        engine = self.engine(TIMES)
        with engine.connect() as client:
            client.send(b"GET / HT")
            self.assertEqual(client.response().status, 408)
            self.assertTrue(client.closed())
        self.assertEqual(engine.counter("head_timeouts"), 1)

    def test_slow_content_is_a_408(self):
        engine = self.engine(TIMES)
        with engine.connect() as client:
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
            self.assertEqual(client.response().status, 408)

    def test_an_idle_connection_is_closed_in_silence(self):
        engine = self.engine(TIMES)
        with engine.connect() as client:
            client.send_request()
            self.assertEqual(client.response().status, 200)
            started = time.monotonic()
            self.assertTrue(client.closed())
            self.assertGreater(time.monotonic() - started, 0.4)

    def test_large_things_are_refused_by_name(self):
        engine = self.engine("limits: { head: 4KiB, target: 1KiB, fields: 20, body: 10KiB }")
        self.assertEqual(engine.get("/" + "a" * 2000).status, 414)
        self.assertEqual(engine.get(headers=["X: " + "a" * 5000]).status, 431)
        self.assertEqual(engine.get(headers=[f"X-{i}: y" for i in range(30)]).status, 431)
        self.assertEqual(engine.get("/", "POST", body=b"x" * 20000).status, 413)
        with engine.connect() as client:
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            try:
                for _ in range(50):
                    client.send(b"400\r\n" + b"x" * 1024 + b"\r\n")
            except OSError:
                pass
            self.assertEqual(client.response().status, 413)
        self.assertEqual(engine.get().status, 200)

    def test_requests_per_connection(self):
        engine = self.engine("limits: { requests-per-connection: 2 }")
        with engine.connect() as client:
            client.send_request()
            self.assertIsNone(client.response().field("Connection"))
            client.send_request()
            self.assertEqual(client.response().field("Connection"), "close")
            self.assertTrue(client.closed())

    def test_connections_are_capped_for_the_process(self):
        engine = self.engine("limits: { connections: 5 }")
        wait_for("those who asked whether it listens to be gone", lambda: engine.counter("clients") == 0)
        held = [engine.connect() for _ in range(5)]
        wait_for("five to be open", lambda: engine.counter("clients") == 5)
        with engine.connect() as sixth:
            self.assertTrue(sixth.closed())
        [c.close() for c in held]
        wait_for("them to be gone", lambda: engine.counter("clients") == 0)
        self.assertEqual(engine.get().status, 200)

    def test_dribbling_clients_do_not_stop_a_fast_one(self):
        engine = self.engine("timeouts: { head: 20s }")
        slow = [engine.connect() for _ in range(400)]
        for turn in range(4):
            for client in slow:
                client.send(b"G" if turn == 0 else b"E" if turn == 1 else b"T" if turn == 2 else b" ")
            started = time.monotonic()
            self.assertEqual(engine.get().status, 200)
            self.assertLess(time.monotonic() - started, 5)
        [c.close() for c in slow]

    def test_running_out_of_descriptors_is_survived(self):
        origin = self.origin(ok)
        engine = self.weir(f"workers: 1\npin: false\nroutes: [ {{ pool: app }} ]\npools: {{ app: {{ servers: [ {origin.address} ] }} }}\n", files=90)
        held = []
        for _ in range(120):
            try:
                held.append(engine.connect())
            except OSError:
                break
        time.sleep(0.5)
        [c.close() for c in held]
        wait_for("it to serve again", lambda: self.served(engine), 15)
        self.assertFalse(engine.ended())

    def served(self, engine):
        try:
            return engine.get().status == 200
        except (OSError, EOFError, IndexError, ValueError):
            return False

    def test_tls_gets_an_alert_that_it_understands(self):
        engine = self.engine()
        with engine.connect() as client:
            client.send(b"\x16\x03\x01\x02\x00\x01\x00")
            self.assertEqual(client.exactly(7), b"\x15\x03\x03\x00\x02\x02\x0a")
            self.assertTrue(client.closed())
        self.assertEqual(engine.counter("tls_on_plain"), 1)

    def test_garbage_gets_a_400(self):
        engine = self.engine()
        for data in (b"\x00" * 100, b"\xff\xfe", b"SSH-2.0-x\r\n"):
            with engine.connect() as client:
                client.send(data)
                self.assertIn(client.response().status, (400, 505))
        self.assertEqual(engine.get().status, 200)


class ControlSocket(Scene):
    def talk(self, engine, data, wait=2.0):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(wait)
            s.connect(engine.socket)
            s.sendall(data)
            try:
                return s.recv(65536)
            except socket.timeout:
                return None
            except OSError:
                return b""

    def test_hostile_clients_harm_nothing(self):
        engine = self.before(self.origin(ok))
        frames = [b"\x00\x00\x00\x00", b"\xff\xff\xff\xff", b"\x00\x01\x00\x01x", b"\x00\x00\x00\x01\xff", b"\x00\x00\x00\x05\x9b\xff\xff\xff\xff",
                  b"\x00\x00\x00\x09\xbb" + b"\xff" * 8, b"\x00\x00\x00\x04" + b"\x81" * 4, b"GET / HTTP/1.1\r\n\r\n", b"\x00\x00\x00\x10" + b"\x9f" * 16]
        for frame in frames:
            answer = self.talk(engine, frame)
            self.assertTrue(answer is None or answer == b"" or b"bad frame" in answer, (frame, answer))
        slow = []
        for _ in range(60):
            s = socket.socket(socket.AF_UNIX)
            s.settimeout(1)
            try:
                s.connect(engine.socket)
                s.send(b"\x00")
            except OSError:
                pass
            slow.append(s)
        self.assertEqual(engine.get().status, 200)
        [s.close() for s in slow]
        wait_for("a command to be answered", lambda: engine.command("status")[0] == 0)

    def test_the_socket_is_for_its_owner(self):
        engine = self.before(self.origin(ok))
        self.assertEqual(os.stat(engine.socket).st_mode & 0o777, 0o600)

    def test_a_second_engine_does_not_take_a_live_socket(self):
        engine = self.before(self.origin(ok))
        second = self.weir_that_fails(f"control: {{ socket: {engine.socket} }}\nroutes: [ {{ respond: {{ status: 200 }} }} ]\n")
        self.assertIn("another engine answers", second)

    def weir_that_fails(self, config):
        from stage import Weir
        weir = Weir(config, wait=False)
        weir.process.wait(20)
        log, code = weir.log(), weir.process.returncode
        weir.stop(code=None)
        self.assertEqual(code, 1, log)
        return log


if __name__ == "__main__":
    unittest.main()
