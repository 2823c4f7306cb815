"""Active checks: what makes a server well or not, and that no origin can make a check cost more than it may."""
import os
import socket
import tempfile
import threading
import time
import unittest

from stage import Scene, named, ok, raw, wait_for
from tls_certificates import certificates
from tls_props import TlsScene

OFTEN = "interval: 100ms, rise: 1, fall: 1"


class CheckScene(Scene):
    def checked(self, address, health, tls="", more=""):
        """An engine that checks this one server as `health` says."""
        return self.weir(f"routes: [ {{ pool: app }} ]\npools:\n  app:\n    servers: [ \"{address}\" ]\n"
                         f"    health: {{ {OFTEN}, {health} }}\n{'    tls: ' + tls if tls else ''}\n{more}\n")

    def becomes(self, engine, state, why):
        """The server's last check says that, and its state follows; the log says so too if it is down."""
        def server():
            return engine.json("pools")["servers"][0]
        wait_for(f"{state}: {why}; it is {server()['checked']}: {server()['last_check']}", lambda: server()["checked"] == state)
        self.assertRegex(server()["last_check"], why)
        self.assertGreaterEqual(server()["last_check_us"], 0)
        if state == "down":
            self.assertRegex(engine.log(), rf'server "app/[^"]*" is down: .*{why}.*, after [0-9.]+ ms')
        return engine


class Connections(CheckScene):
    def test_tcp_is_well_while_somebody_listens(self):
        origin = self.origin(named("x"))
        engine = self.becomes(self.checked(origin.address, "type: tcp"), "up", "it accepts connections")
        self.assertEqual(origin.requests, [])
        origin.stop()
        self.becomes(engine, "down", "refused")
        self.assertEqual(engine.get().status, 503)
        self.origin(named("back"), port=origin.port)
        wait_for("up", lambda: engine.server(origin.port)["state"] == "up")
        self.assertIn(f'server "app/{origin.address}" is up: it accepts connections, after', engine.log())

    def test_nobody_takes_the_connection(self):
        """A full backlog drops the SYN: nothing comes back at all."""
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            fillers = [socket.socket() for _ in range(4)]
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(listener.getsockname())
            time.sleep(0.2)
            self.becomes(self.checked("127.0.0.1:%d" % listener.getsockname()[1], "type: tcp, timeout: 200ms"), "down", "no connection in time")
            for filler in fillers:
                filler.close()

    def test_another_port_tells(self):
        origin, teller = self.origin(named("x")), self.origin(named("well"))
        engine = self.becomes(self.checked(origin.address, f"port: {teller.port}"), "up", "it answered 200")
        self.assertEqual(origin.requests, [])
        self.assertIn(f"Host: 127.0.0.1:{teller.port}".encode(), teller.requests[0])
        self.assertEqual(engine.get().body, b"x")
        teller.stop()
        self.becomes(engine, "down", "refused")

    def test_a_unix_socket(self):
        with tempfile.TemporaryDirectory() as folder:
            origin = self.origin(named("x"), path=os.path.join(folder, "o.sock"))
            self.becomes(self.checked(origin.address, "path: /x"), "up", "it answered 200")
            self.assertIn(b"Host: localhost", origin.requests[0])

    def test_a_name_that_does_not_resolve(self):
        """It is down for want of an address; that is no result of a check."""
        engine = self.checked("does-not-exist.invalid:80", "type: tcp")
        server = engine.json("pools")["servers"][0]
        self.assertEqual((server["state"], server["checked"], server["last_check"]), ("down", "unchecked", ""))


class Requests(CheckScene):
    def test_what_is_asked(self):
        for method in ("GET", "HEAD", "OPTIONS"):
            origin = self.origin(ok if method != "HEAD" else raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n"))
            self.becomes(self.checked(origin.address, f"method: {method}, path: '/x?y', host: a.example, headers: {{ X-Token: t, X-Brace: '{{{{}}}}' }}"),
                         "up", "it answered 200")
            lines = origin.requests[0].decode().split("\r\n")
            self.assertEqual(lines, [f"{method} /x?y HTTP/1.1", "Host: a.example", "User-Agent: weir-check", "X-Token: t", "X-Brace: {}", "Connection: close"])

    def test_statuses_in_a_list(self):
        for status, state in ((204, "up"), (304, "up"), (301, "down"), (503, "down")):
            origin = self.origin(raw(b"HTTP/1.1 %d X\r\n\r\n" % status))
            self.becomes(self.checked(origin.address, "status: [ 200-299, 304 ]"), state, f"it answered {status}")

    def test_a_text_in_chunks(self):
        origin = self.origin(raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n..all: \r\n2\r\nwe\r\n3\r\nll!\r\n0\r\n\r\n"))
        self.becomes(self.checked(origin.address, "body: 'all: well'"), "up", "with the text")
        origin = self.origin(raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nall:\r\n0\r\n\r\n"))
        self.becomes(self.checked(origin.address, "body: 'all: well'"), "down", "without the text")

    def test_a_text_until_the_connection_closes(self):
        self.becomes(self.checked(self.origin(raw(b"HTTP/1.1 200 OK\r\n\r\nall: well", close=True)).address, "body: 'all: well'"), "up", "with the text")
        self.becomes(self.checked(self.origin(raw(b"HTTP/1.1 200 OK\r\n\r\nall: bad", close=True)).address, "body: 'all: well'"), "down", "without the text")

    def test_a_text_beyond_what_is_looked_at(self):
        """The origin sends without end: the check is over once it has seen enough."""
        def script(exchange):
            exchange.send(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                exchange.send(b"x" * 65536)
        origin = self.origin(script)
        self.becomes(self.checked(origin.address, "body: y, timeout: 10s"), "down", "without the text in its first 64 KiB")

    def test_content_that_drips(self):
        def script(exchange):
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            while True:
                exchange.send(b"x")
                time.sleep(0.02)
        self.becomes(self.checked(self.origin(script).address, "body: y, timeout: 300ms"), "down", "its content took too long")

    def test_heads_without_end(self):
        def fields(exchange):
            exchange.send(b"HTTP/1.1 200 OK\r\n")
            while True:
                exchange.send(b"A: " + b"b" * 1000 + b"\r\n")
        def interim(exchange):
            while True:
                exchange.send(b"HTTP/1.1 103 Hints\r\n\r\n")
        for script in (fields, interim):
            self.becomes(self.checked(self.origin(script).address, "timeout: 10s"), "down", "its response's head is too large")

    def test_answers_that_are_none(self):
        for script, why in ((raw(b"SSH-2.0-x\r\n\r\n"), "malformed"), (lambda e: e.reset(), "reset"), (lambda e: False, "it closed before its response"),
                            (raw(b"HTTP/1.1 200 OK\r\nA: b", close=True), "it closed inside its response"), (lambda e: time.sleep(2), "no answer in time")):
            self.becomes(self.checked(self.origin(script).address, "timeout: 500ms"), "down", why)

    def test_the_interval_while_down(self):
        """Once down it is asked again after a minute only."""
        origin = self.origin(raw(b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n"))
        self.becomes(self.checked(origin.address, "interval-down: 1m"), "down", "it answered 500")
        asked = len(origin.requests)
        time.sleep(1)
        self.assertLessEqual(len(origin.requests) - asked, 0)


class Many(CheckScene):
    def test_no_more_run_at_once_than_may(self):
        """150 servers that never answer: 64 are asked at a time, the others get their turn, and a reload in between loses none."""
        now, most, lock, seen = [0], [0], threading.Lock(), set()
        listeners = []
        def hold(connection, port):
            with lock:
                now[0] += 1
                most[0] = max(most[0], now[0])
                seen.add(port)
            while connection.recv(4096):
                pass
            with lock:
                now[0] -= 1
            connection.close()
        def accept(listener):
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=hold, args=(connection, listener.getsockname()[1]), daemon=True).start()
        for _ in range(150):
            listener = socket.create_server(("127.0.0.1", 0))
            listeners.append(listener)
            self.addCleanup(listener.close)
            threading.Thread(target=accept, args=(listener,), daemon=True).start()
        servers = ", ".join(f"127.0.0.1:{listener.getsockname()[1]}" for listener in listeners)
        config = f"routes: [ {{ pool: app }} ]\npools:\n  app:\n    servers: [ {servers} ]\n    health: {{ {OFTEN}, timeout: TIME }}\n"
        engine = self.weir(config.replace("TIME", "1m"))
        wait_for("as many as may", lambda: now[0] >= 64, 30)
        time.sleep(0.5)
        self.assertEqual(most[0], 64)
        engine.write(config.replace("TIME", "400ms"))
        self.assertEqual(engine.command("reload")[0], 0)
        wait_for("all to be asked", lambda: len(seen) == 150, 30)
        wait_for("all to be down", lambda: all(s["checked"] == "down" for s in engine.json("pools")["servers"]), 30)
        text = engine.command("pools")[1]
        self.assertIn("no answer in time", text)


class Tls(TlsScene, CheckScene):
    def trusting(self, name="origin.test"):
        return f"{{ ca: {certificates().ca.path}, server-name: {name} }}"

    def test_a_handshake_that_is_verified(self):
        origin = self.tls_origin(named("x"))
        engine = self.becomes(self.checked(origin.address, "type: tls", self.trusting()), "up", "its TLS handshake is complete")
        self.assertEqual(origin.requests, [])
        self.assertEqual(engine.get().body, b"x")

    def test_a_wrong_name_an_expired_certificate_and_no_tls(self):
        origin = self.tls_origin(named("x"))
        self.becomes(self.checked(origin.address, "type: tls", self.trusting("elsewhere.test")), "down", "(name|host|domain)")
        origin = self.tls_origin(named("x"), certificate=certificates().origin_expired)
        self.becomes(self.checked(origin.address, "type: tls", self.trusting()), "down", "(expired|date)")
        self.becomes(self.checked(self.origin(named("x")).address, "type: tls, timeout: 500ms", self.trusting()), "down", "no TLS handshake in time")

    def test_a_handshake_that_never_ends(self):
        origin = self.origin(lambda exchange: None)
        self.becomes(self.checked(origin.address, "type: tls, timeout: 300ms", self.trusting()), "down", "no TLS handshake in time")

    def test_tcp_beside_tls_only_connects(self):
        origin = self.origin(named("x"))
        self.becomes(self.checked(origin.address, "type: tcp", self.trusting()), "up", "it accepts connections")

    def test_a_text_over_tls(self):
        body = b"x" * 40000 + b"all: well"
        origin = self.tls_origin(raw(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body))
        self.becomes(self.checked(origin.address, "body: 'all: well'", self.trusting()), "up", "with the text")
        self.becomes(self.checked(origin.address, "body: 'all: bad'", self.trusting()), "down", "without the text")


if __name__ == "__main__":
    unittest.main()
