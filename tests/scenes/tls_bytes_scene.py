"""What goes over a TLS connection: large and small, slow and cut, its end said and believed; and what never becomes a TLS connection."""
import hashlib
import os
import signal
import socket
import ssl
import struct
import threading
import time
import unittest

from props import content, digest
from stage import SLOW, Scene, ok, raw, wait_for
from tls_props import V12, V13, OneEngine, Session, TlsScene, client_context, half_close, hello, what_comes

BOTH = (V12, V13)
NEVER_MARKED = "    passive-health: { fail-after: never }\n    retries: 0\n"


class Endings(TlsScene):
    """Who says close_notify has said all; who does not was cut off."""

    def how_it_ends(self, client, method="GET"):
        """(body bytes that came, "close_notify" or "cut")."""
        client.head()
        try:
            while client.fill():
                pass
            return client.buffer, "close_notify"
        except (ssl.SSLError, ConnectionError):
            return client.buffer, "cut"

    def test_an_answer_until_close_ends_in_close_notify(self):
        for version in BOTH:
            engine = self.secure_before(self.origin(raw(b"HTTP/1.1 200 OK\r\n\r\nall of it", close=True)))
            with self.subTest(version), engine.connect(context=client_context(version, version)) as client:
                client.send_request(version="1.0")
                self.assertEqual(self.how_it_ends(client), (b"all of it", "close_notify"))

    def test_every_close_is_said(self):
        engine = self.secure_before(self.origin())
        for request in (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n", b"nonsense\r\n\r\n",
                        b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n"):
            with self.subTest(request), engine.connect() as client:
                client.send(request)
                self.assertEqual(self.how_it_ends(client)[1], "close_notify")

    def test_so_does_a_large_one_for_an_old_client(self):
        data = content(3000000)
        engine = self.secure_before(self.origin(lambda e: (e.body(), e.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                                                                           + b"".join(b"%x\r\n" % len(part) + part + b"\r\n" for part in (data[:1000000], data[1000000:]))
                                                                           + b"0\r\n\r\n"), None)[2]))
        with engine.connect() as client:
            client.send_request(version="1.0")
            self.assertEqual(self.how_it_ends(client), (data, "close_notify"))

    def test_an_idle_connection_ends_in_close_notify(self):
        engine = self.secure_before(self.origin(), top="timeouts: { idle: 300ms, head: 300ms }")
        with engine.connect() as client:
            client.ask()
            self.assertEqual(client.socket.recv(100), b"")
        with engine.connect() as client:
            client.send(b"GET / HT")
            self.assertEqual(client.head()[0], 408)

    def test_a_client_that_says_goodbye_hears_it_too(self):
        engine = self.secure_before(self.origin())
        for version in BOTH:
            with self.subTest(version):
                client = engine.connect(context=client_context(version, version))
                client.ask()
                with client.farewell() as plain:
                    plain.settimeout(SLOW)
                    self.assertEqual(plain.recv(100), b"")
        wait_for("connections to be gone", lambda: engine.json("status")["clients"] == 0)

    def test_an_answer_that_is_cut_is_an_error(self):
        cases = ((b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort", "fin"), (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort", "rst"),
                 (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwxyz\r\n", "fin"), (b"HTTP/1.1 200 OK\r\n\r\nsome of it", "rst"),
                 (b"HTTP/1.1 200 OK\r\nContent-Length: 8000000\r\n\r\n" + content(1000000), "fin"))

        def script(exchange):
            data, end = cases[int(exchange.path[1:])]
            exchange.send(data)
            time.sleep(0.1)
            return exchange.reset() if end == "rst" else False
        engine = self.secure_before(self.origin(script), pool=NEVER_MARKED)
        for number in range(len(cases)):
            for version in ("1.1", "1.0"):
                for spoken in BOTH:
                    with self.subTest(case=number, version=version, spoken=spoken), engine.connect(context=client_context(spoken, spoken)) as client:
                        client.send_request(f"/{number}", version=version)
                        body, how = self.how_it_ends(client)
                        self.assertEqual(how, "cut", body[-100:])
                        self.assertNotIn(b"0\r\n\r\n", body)

    def test_a_request_that_is_cut_never_looks_complete(self):
        """FIN without close_notify in the middle of a body, and of a chunk."""
        bodies = []

        def script(exchange):
            bodies.append(exchange.body())
            return ok(exchange)
        engine = self.secure_before(self.origin(script))
        for head in (b"Content-Length: 10", b"Transfer-Encoding: chunked"):
            with engine.connect() as client:
                client.send(b"POST / HTTP/1.1\r\nHost: a\r\n" + head + b"\r\n\r\n3\r\nabc\r\n")
                time.sleep(0.1)
                socket.socket.shutdown(client.socket, socket.SHUT_WR)
        wait_for("it to be over", lambda: engine.json("status")["in_flight"] == 0 and engine.json("status")["clients"] == 0)
        self.assertEqual([body for body in bodies if body is not None], [])

    def test_a_stop_says_goodbye_to_kept_connections(self):
        engine = self.secure_before(self.origin())
        with engine.connect() as client:
            client.ask()
            engine.process.send_signal(signal.SIGTERM)
            self.assertEqual(client.socket.recv(100), b"")
        wait_for("the engine to end", engine.ended)


class Bulk(OneEngine):
    LARGE = os.urandom(20 << 20)

    @staticmethod
    def script(exchange):
        if exchange.path == "/large":
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(Bulk.LARGE))
            for at in range(0, len(Bulk.LARGE), 1 << 18):
                exchange.send(Bulk.LARGE[at:at + (1 << 18)])
            return None
        if exchange.path.startswith("/chunks"):
            body = exchange.body()
            exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for at in range(0, len(body), 3001):
                part = body[at:at + 3001]
                exchange.send(b"%x\r\n" % len(part) + part + b"\r\n")
            exchange.send(b"0\r\nX-Sum: %d\r\n\r\n" % len(body))
            return None
        if exchange.path.startswith("/n/"):
            return ok(exchange, exchange.path.encode() * 5)
        return digest(exchange)

    def download(self, version):
        with self.engine.connect(30, context=client_context(version, version)) as client:
            client.send_request("/large")
            _, fields = client.head()
            wanted, found, length = int(dict(fields)["Content-Length"]), hashlib.sha256(client.buffer), len(client.buffer)
            while length < wanted:
                data = client.socket.recv(1 << 18)
                if not data:
                    break
                found.update(data)
                length += len(data)
            client.buffer = b""
            self.assertEqual((length, found.digest()), (len(self.LARGE), hashlib.sha256(self.LARGE).digest()))
            self.assertIn(b'"length": 0', client.ask().body)

    def upload(self, version, chunked=False):
        with self.engine.connect(30, context=client_context(version, version)) as client:
            if chunked:
                client.send(b"PUT /up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
                for at in range(0, len(self.LARGE), 100003):
                    part = self.LARGE[at:at + 100003]
                    client.send(b"%x\r\n" % len(part) + part + b"\r\n")
                client.send(b"0\r\n\r\n")
            else:
                client.send_request("/up", "PUT", body=self.LARGE)
            self.assertIn(hashlib.sha256(self.LARGE).hexdigest().encode(), client.response().body)

    def test_20_mb_come_down_unchanged(self):
        for version in BOTH:
            self.download(version)

    def test_20_mb_go_up_unchanged(self):
        for version in BOTH:
            self.upload(version)

    def test_20_mb_go_up_in_chunks_unchanged(self):
        self.upload(V13, True)

    def test_several_at_once_both_ways(self):
        problems = []

        def play(what, version):
            try:
                what(version)
            except Exception as problem:
                problems.append(repr(problem))
        threads = [threading.Thread(target=play, args=(what, version)) for what in (self.download, self.upload) for version in BOTH]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(problems, [])

    def test_a_slow_reader_gets_everything_and_fills_no_memory(self):
        with self.engine.connect(30, buffer_bytes=8192) as client:
            rss = self.engine.rss_kib()
            client.send_request("/large")
            client.head()
            found, length = hashlib.sha256(client.buffer), len(client.buffer)
            for turn in range(10):
                time.sleep(0.1)
                data = client.socket.recv(4000)
                found.update(data)
                length += len(data)
            self.assertLess(self.engine.rss_kib() - rss, 8 * 1024)
            while length < len(self.LARGE):
                data = client.socket.recv(1 << 16)
                self.assertTrue(data, length)
                found.update(data)
                length += len(data)
        self.assertEqual(found.digest(), hashlib.sha256(self.LARGE).digest())

    def test_many_small_requests_in_one_go(self):
        for version in BOTH:
            with self.engine.connect(context=client_context(version, version)) as client:
                client.send(b"".join(b"GET /n/%d HTTP/1.1\r\nHost: a\r\n\r\n" % i for i in range(500)))
                for i in range(500):
                    self.assertEqual(client.response().body, b"/n/%d" % i * 5)

    def test_chunks_both_ways(self):
        for version in BOTH:
            with self.engine.connect(context=client_context(version, version)) as client:
                for size in (1, 100, 16384, 200000):
                    data = content(size)
                    client.send(b"POST /chunks HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
                    for at in range(0, size, 7919):
                        part = data[at:at + 7919]
                        client.send(b"%x\r\n" % len(part) + part + b"\r\n")
                    client.send(b"0\r\n\r\n")
                    response = client.response()
                    self.assertEqual((response.status, response.complete, response.body), (200, True, data))

    def test_a_byte_in_each_record(self):
        with self.engine.connect() as client:
            for byte in b"POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 300\r\n\r\n" + b"x" * 300:
                client.send(bytes([byte]))
            self.assertIn(hashlib.sha256(b"x" * 300).hexdigest().encode(), client.response().body)

    def test_records_that_come_in_pieces(self):
        """A record's bytes one by one, and many records in one segment."""
        session = Session()
        with self.engine.connect_raw() as client:
            session.shake_hands(client)
            for byte in session.seal(b"GET /n/1 HTTP/1.1\r\nHost: a\r\n\r\n"):
                client.send(bytes([byte]))
            self.assertIn(b"HTTP/1.1 200", session.hear(client, b"/n/1/n/1"))
            client.send(b"".join(session.seal(b"GET /n/%d HTTP/1.1\r\nHost: a\r\n\r\n" % i) for i in range(50)))
            self.assertIn(b"/n/0/n/0", session.hear(client, b"/n/49/n/49"))

    def test_expect_head_and_no_content(self):
        with self.engine.connect() as client:
            client.send(b"POST /up HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
            client.send(b"abc")
            self.assertIn(b'"length": 3', client.response().body)
            self.assertEqual(client.ask("/n/5", "HEAD").status, 200)
            self.assertEqual(client.ask("/n/5").body, b"/n/5" * 5)


class NotTls(OneEngine):
    def ends(self, *pieces, pause=0.0):
        """What comes after these bytes; that the connection ends soon; that the engine serves on."""
        with self.engine.connect_raw() as client:
            try:
                for piece in pieces:
                    client.send(piece)
                    time.sleep(pause)
            except ConnectionError:
                return b"", "rst"
            received, how = what_comes(client)
        self.assertNotEqual(how, "open", pieces[0][:40])
        return received, how

    def tearDown(self):
        with self.engine.connect() as client:
            self.assertEqual(client.ask().status, 200)

    def test_plain_http_is_told_to_use_https(self):
        for request in (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"POST /x HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc", b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"):
            received, _ = self.ends(request)
            self.assertRegex(received, rb"(?is)^HTTP/1\.1 400 .*\r\n\r\n.*(https|tls)")

    def test_garbage_ends_the_connection(self):
        for data in (b"\0" * 100, bytes(range(256)) * 20, b"SSH-2.0-OpenSSH_9.2\r\n", b"\x16", b"\x16\x03", b"\x16\x03\x01\xff\xff" + b"x" * 100,
                     b"\x16\x03\x01\0\0", b"\x16\x03\x01\0\x04\x01\0\0\0", b"\x16\x03\x01\0\x05\x02\0\0\x01\0", b"\x17\x03\x03\0\x05hello", b"\x15\x03\x03\0\x02\x02\x28",
                     b"\x14\x03\x03\0\x01\x01", b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + b"\0" * 16380, b"\x80\x03\x01\0\0", b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n", b"\n" * 50):
            with self.subTest(data[:20]):
                with self.engine.connect_raw() as client:
                    client.send(data)
                    half_close(client)
                    received, how = what_comes(client)
                self.assertNotEqual(how, "open")
                self.assertNotIn(b"HTTP/1.1 2", received)

    def test_a_hello_whose_lengths_lie_is_refused(self):
        good = hello()
        for at in (3, 6, 7, 43, 76, 77):
            for value in (0, 1, 0x7f, 0xff):
                bad = bytearray(good)
                if bad[at] == value:
                    continue
                bad[at] = value
                with self.subTest(at=at, value=value), self.engine.connect_raw() as client:
                    client.send(bytes(bad))
                    half_close(client)
                    received, how = what_comes(client)
                    self.assertNotEqual(how, "open")
                    self.assertFalse(received[:1] == b"\x16" and at != 3, received[:9])

    def test_a_hello_of_bytes_one_by_one_is_understood(self):
        for version in BOTH:
            session = Session(client_context(version, version))
            with self.subTest(version), self.engine.connect_raw() as client:
                for byte in session.step():
                    client.send(bytes([byte]))
                self.finish(session, client)

    def test_a_hello_in_several_records_is_understood(self):
        for version in BOTH:
            session = Session(client_context(version, version))
            with self.subTest(version), self.engine.connect_raw() as client:
                client.send(self.in_records(session.step(), 100))
                self.finish(session, client)

    @staticmethod
    def in_records(data, size):
        data = data[5:]
        return b"".join(b"\x16\x03\x01" + struct.pack(">H", len(part)) + part for part in (data[at:at + size] for at in range(0, len(data), size)))

    def finish(self, session, client):
        """The handshake goes on after its hello, and a request passes."""
        session.shake_hands(client, first=b"sent")
        self.assertIn(b"HTTP/1.1 200", session.ask(client))

    def test_a_hello_in_records_of_one_byte_is_refused_or_understood(self):
        received, _ = self.ends(self.in_records(hello(), 1) + b"\x15\x03\x01\0\x02\x02\x28")
        self.assertNotIn(b"HTTP", received)

    def test_empty_records_without_end_are_refused(self):
        self.ends(b"\x16\x03\x01\0\0" * 5000)

    def test_a_hello_that_is_large_is_understood(self):
        """8 KB, as post-quantum keys and many names may make it."""
        context = client_context(alpn=["x%d" % i + "y" * 200 for i in range(38)] + ["http/1.1"])
        self.assertGreater(len(hello(context)), 8000)
        with self.engine.connect(context=context) as client:
            self.assertEqual((client.ask().status, client.socket.selected_alpn_protocol()), (200, "http/1.1"))

    def test_a_hello_that_is_oversized_is_refused(self):
        context = client_context(alpn=["x%d" % i + "y" * 200 for i in range(150)] + ["http/1.1"])
        data = hello(context)
        self.assertGreater(len(data), 30000)
        self.ends(data)

    def test_handshakes_that_are_cut_leave_nothing(self):
        """At every stage, by FIN and by RST."""
        for version in BOTH:
            for stage in range(12):
                for end in ("fin", "rst"):
                    self.cut_at(version, stage, end)
        wait_for("connections to be gone", lambda: self.engine.json("status")["clients"] == 0)

    def cut_at(self, version, stage, end):
        session = Session(client_context(version, version))
        flight = session.step()
        with self.engine.connect_raw() as client:
            if stage < 7:
                client.send(flight[:(0, 1, 4, 5, 6, 60, len(flight) - 1)[stage]])
            else:
                client.send(flight)
                if stage > 7:
                    last = session.step(client.socket.recv(65536))
                    for _ in range(3):
                        if last:
                            break
                        last = session.step(client.socket.recv(65536))
                    client.send(last[:(1, len(last) // 2, len(last) - 1, len(last))[stage - 8]])
            if end == "rst":
                client.reset()

    def test_a_finished_that_is_wrong_is_an_alert(self):
        for version in BOTH:
            session = Session(client_context(version, version))
            with self.subTest(version), self.engine.connect_raw() as client:
                client.send(session.step())
                last = b""
                while not last:
                    last = session.step(client.socket.recv(65536))
                client.send(last[:-1] + bytes([last[-1] ^ 1]))
                self.assertRegex(session.verdict(client), "(?i)alert.*(mac|decrypt)")

    def test_a_record_that_is_wrong_ends_it_and_reaches_no_origin(self):
        for version in BOTH:
            session = Session(client_context(version, version))
            with self.subTest(version), self.engine.connect_raw() as client:
                session.shake_hands(client)
                session.ask(client)
                asked = len(self.origin_here.requests)
                sealed = session.seal(b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n")
                client.send(sealed[:-1] + bytes([sealed[-1] ^ 1]))
                self.assertRegex(session.verdict(client), "(?i)bad.record.mac")
                self.assertEqual(len(self.origin_here.requests), asked)

    def test_a_record_that_is_sent_twice_ends_it(self):
        for version in BOTH:
            session = Session(client_context(version, version))
            with self.subTest(version), self.engine.connect_raw() as client:
                session.shake_hands(client)
                session.ask(client)
                asked = len(self.origin_here.requests)
                client.send(session.seal(b"GET /once HTTP/1.1\r\nHost: a\r\n\r\n") * 2)
                what_comes(client)
                self.assertLessEqual(len(self.origin_here.requests), asked + 1)

    def test_records_in_the_clear_after_the_handshake_end_it(self):
        request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
        for data in (b"\x17\x03\x03\0" + bytes([len(request)]) + request, request, b"\x17\x03\x03\x48\x01" + b"x" * 18433, b"\x17\x03\x03\0\0"):
            for version in BOTH:
                session = Session(client_context(version, version))
                with self.subTest(data[:9], version=version), self.engine.connect_raw() as client:
                    session.shake_hands(client)
                    session.ask(client)
                    asked = len(self.origin_here.requests)
                    client.send(data)
                    half_close(client)
                    self.assertNotEqual(what_comes(client)[1], "open")
                    self.assertEqual(len(self.origin_here.requests), asked)


class Patience(TlsScene):
    """Handshakes have a deadline and a cap."""

    def test_a_handshake_that_takes_too_long_ends(self):
        engine = self.secure_before(self.origin(), top="timeouts: { handshake: 400ms }")
        flight = hello()
        for sent in (b"", flight[:3], flight[:100], flight):
            with self.subTest(len(sent)), engine.connect_raw() as client:
                client.send(sent)
                began = time.monotonic()
                _, how = what_comes(client, 5)
                self.assertNotEqual(how, "open")
                self.assertGreater(time.monotonic() - began, 0.2)
        with engine.connect() as client:
            time.sleep(0.8)
            self.assertEqual(client.ask().status, 200)

    def test_a_trickle_does_not_move_the_deadline(self):
        engine = self.secure_before(self.origin(), top="timeouts: { handshake: 500ms }")
        with engine.connect_raw() as client:
            began = time.monotonic()
            with self.assertRaises(ConnectionError):
                for byte in hello():
                    client.send(bytes([byte]))
                    time.sleep(0.05)
                    if time.monotonic() - began > 5:
                        break
            self.assertLess(time.monotonic() - began, 5)

    def test_unfinished_handshakes_are_counted_and_capped(self):
        engine = self.secure_before(self.origin(), top="limits: { handshakes: 4 }\ntimeouts: { handshake: 20s }")
        wait_for("those who asked whether it listens to be gone", lambda: engine.json("status")["clients"] == 0)
        held = []
        for _ in range(4):
            client = engine.connect_raw()
            self.addCleanup(client.close)
            client.send(hello()[:50])
            held.append(client)
        wait_for("all to be accepted", lambda: engine.json("status")["clients"] == 4)
        received, how = b"", "rst"
        try:
            with engine.connect_raw() as client:
                client.send(hello())
                received, how = what_comes(client, 5)
        except ConnectionError:
            pass
        self.assertEqual((how != "open", received[:1] == b"\x16"), (True, False))
        for client in held[:2]:
            client.close()

        def served():
            try:
                with engine.connect() as client:
                    return client.ask().status == 200
            except (OSError, EOFError):
                return False
        wait_for("room for a handshake", served)
        kept = [engine.connect() for _ in range(6)]  # finished ones do not count
        for client in kept:
            self.assertEqual(client.ask().status, 200)
            client.close()


class OnThePlainPort(Scene):
    def test_a_hello_on_a_plain_port_gets_an_alert(self):
        engine = self.before(self.origin())
        for version in BOTH:
            with engine.connect() as client:
                client.send(hello(client_context(version, version)))
                received, how = what_comes(client)
                self.assertEqual((received[:2], how != "open"), (b"\x15\x03", True), received[:80])
        self.assertEqual(engine.get().status, 200)


if __name__ == "__main__":
    unittest.main()
