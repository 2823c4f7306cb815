"""A stop lets requests in flight end, and no longer than its deadline."""
import signal
import socket
import threading
import time
import unittest

from props import content, run
from stage import SLOW, WEIR, Scene, ok, raw, wait_for


class Stopping(Scene):
    def slow(self, seconds, **more):
        def script(exchange):
            exchange.body()
            time.sleep(seconds)
            return ok(exchange, b"late")
        origin = self.origin(script)
        return origin, self.before(origin, **more)

    def in_flight(self, engine, origin, count=1):
        """Clients whose request has reached the origin."""
        clients = [engine.connect(30) for _ in range(count)]
        for client in clients:
            client.send_request()
            self.addCleanup(client.close)
        wait_for("them to reach the origin", lambda: len(origin.requests) >= count)
        return clients

    def refused(self, engine):
        try:
            socket.create_connection(("127.0.0.1", engine.port), 1).close()
            return False
        except OSError:
            return True

    def test_sigterm_and_sigint_and_the_command_drain_what_is_in_flight(self):
        for way in ("SIGTERM", "SIGINT", "stop"):
            with self.subTest(way):
                origin, engine = self.slow(1.0)
                clients = self.in_flight(engine, origin, 5)
                if way == "stop":
                    self.assertEqual(engine.command("stop")[0], 0)
                else:
                    engine.process.send_signal(getattr(signal, way))
                for client in clients:
                    response = client.response()
                    self.assertEqual((response.body, response.field("Connection")), (b"late", "close"))
                    self.assertTrue(client.closed())
                wait_for("the end", engine.ended)
                self.assertEqual(engine.process.returncode, 0)

    def test_it_says_that_it_stops_and_that_it_stopped(self):
        origin, engine = self.slow(0.5)
        self.in_flight(engine, origin)
        engine.process.send_signal(signal.SIGTERM)
        wait_for("the end", engine.ended)
        self.assertRegex(engine.log(), r"stopping: 1 client")
        self.assertRegex(engine.log(), r"stopped\n$")

    def test_new_connections_are_refused_while_it_drains(self):
        origin, engine = self.slow(2.0)
        client, = self.in_flight(engine, origin)
        engine.process.send_signal(signal.SIGTERM)
        wait_for("new connections to be refused", lambda: self.refused(engine), 1.5)
        self.assertEqual(client.response().body, b"late")

    def test_status_tells_that_it_drains_and_a_reload_says_try_again(self):
        origin, engine = self.slow(2.0)
        client, = self.in_flight(engine, origin)
        engine.process.send_signal(signal.SIGTERM)
        wait_for("it to drain", lambda: engine.json("status")["draining"])
        code, _, errors = engine.command("reload")
        self.assertEqual((code, "stopping" in errors), (75, True))
        self.assertEqual(client.response().body, b"late")

    def test_idle_connections_are_closed_at_once(self):
        origin, engine = self.slow(2.0)
        idle = [engine.connect() for _ in range(20)]
        client, = self.in_flight(engine, origin)
        started = time.monotonic()
        engine.process.send_signal(signal.SIGTERM)
        for one in idle:
            self.assertTrue(one.closed())
            one.close()
        self.assertLess(time.monotonic() - started, 1.5)
        self.assertEqual(client.response().body, b"late")

    def test_a_long_download_under_way_is_finished(self):
        data = content(30_000_000)

        def script(exchange):
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data))
            for at in range(0, len(data), 1_000_000):
                exchange.send(data[at:at + 1_000_000])
                time.sleep(0.03)
        engine = self.before(self.origin(script))
        with engine.connect(20) as client:
            client.send_request()
            client.head()
            engine.process.send_signal(signal.SIGTERM)
            self.assertEqual(client.exactly(len(data)), data)
            self.assertTrue(client.closed())

    def test_a_long_upload_under_way_is_finished(self):
        origin = self.origin(ok)
        engine = self.before(origin)
        with engine.connect(20) as client:
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
            wait_for("it to reach the origin", lambda: origin.requests)
            engine.process.send_signal(signal.SIGTERM)
            for _ in range(10):
                time.sleep(0.05)
                client.send(b"x" * 10000)
            self.assertEqual(client.response().body, b"ok\n")

    def test_a_request_whose_head_is_half_there_is_not_waited_for_beyond_the_deadline(self):
        engine = self.before(self.origin(ok), top="timeouts: { drain: 500ms }")
        with engine.connect() as client:
            client.send(b"GET / HTTP/1.1\r\nHo")
            time.sleep(0.2)
            started = time.monotonic()
            engine.process.send_signal(signal.SIGTERM)
            wait_for("the end", engine.ended)
            self.assertLess(time.monotonic() - started, 5)

    def test_the_configured_deadline_is_honoured_and_told(self):
        origin, engine = self.slow(20, top="timeouts: { drain: 700ms }")
        client, = self.in_flight(engine, origin)
        started = time.monotonic()
        engine.process.send_signal(signal.SIGTERM)
        wait_for("the end", engine.ended)
        took = time.monotonic() - started
        self.assertGreater(took, 0.6)
        self.assertLess(took, 6)
        self.assertRegex(engine.log(), "deadline passed with 1 client")
        with self.assertRaises((OSError, EOFError)):
            client.head()

    def test_a_second_signal_ends_it_at_once(self):
        origin, engine = self.slow(20)
        self.in_flight(engine, origin)
        started = time.monotonic()
        engine.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        self.assertFalse(engine.ended())
        engine.process.send_signal(signal.SIGTERM)
        wait_for("the end", engine.ended)
        self.assertLess(time.monotonic() - started, 6)

    def test_stop_now_waits_for_nobody(self):
        origin, engine = self.slow(20)
        self.in_flight(engine, origin)
        started = time.monotonic()
        self.assertEqual(engine.command("stop", "--now")[0], 0)
        wait_for("the end", engine.ended)
        self.assertLess(time.monotonic() - started, 6)

    def test_waiting_in_a_queue_counts_as_in_flight(self):
        def script(exchange):
            time.sleep(0.5)
            return ok(exchange)
        origin = self.origin(script)
        engine = self.weir("workers: 1\npin: false\nroutes: [ { pool: app } ]\npools:\n  app:\n"
                           f"    servers: [ {{ address: {origin.address}, max-connections: 1 }} ]\n    queue: {{ max: 10, wait: 20s }}\n")
        clients = [engine.connect(20) for _ in range(4)]
        for client in clients:
            client.send_request()
        wait_for("three to wait", lambda: engine.counter("queued") == 3)
        engine.process.send_signal(signal.SIGTERM)
        self.assertEqual([client.response().status for client in clients], [200] * 4)
        for client in clients:
            client.close()

    def test_the_control_socket_is_gone_afterwards(self):
        engine = self.before(self.origin(ok))
        engine.process.send_signal(signal.SIGTERM)
        wait_for("the end", engine.ended)
        code, _, errors = run(WEIR, "status", "--socket", engine.socket)
        self.assertEqual(code, 4, errors)

    def test_a_stop_under_load_cuts_no_request(self):
        """Every answer that begins also ends; a connection is closed only where an answer said so, or between two."""
        engine = self.before(self.origin(raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + content(5000))))
        failures, served = [], [0]

        def client():
            begun = False
            try:
                with engine.connect(20) as one:
                    while True:
                        begun = False
                        one.send_request()
                        if not one.buffer and not one.fill():
                            return  # closed between two requests
                        begun = True
                        response = one.response()
                        if response.status != 200 or response.body != content(5000):
                            failures.append(response.status)
                        served[0] += 1
                        if response.field("Connection") == "close":
                            return
            except Exception as problem:
                if begun or not isinstance(problem, ConnectionError):  # else it was told no in the middle of asking
                    failures.append(repr(problem))
        threads = [threading.Thread(target=client) for _ in range(16)]
        for thread in threads:
            thread.start()
        time.sleep(0.7)
        engine.process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join(SLOW)
        wait_for("the end", engine.ended)
        self.assertEqual(failures, [])
        self.assertGreater(served[0], 50)


if __name__ == "__main__":
    unittest.main()
