"""Who dies when: origins and clients that leave, stall, trickle or babble in the middle of something.

Two rules: what is incomplete never looks complete to anybody, and who is gone holds up nobody.
"""
import socket
import struct
import threading
import time
import unittest

from props import content, digest
from stage import SLOW, Scene, named, ok, raw, wait_for

NEVER_MARKED = "    passive-health: { fail-after: never }\n"


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


class DyingOrigins(Scene):
    """Every way to break off an answer, as an HTTP/1.1 and as an HTTP/1.0 client sees it."""

    def what_comes(self, data, end, version="1.1"):
        """(bytes after the head, how the connection ended) when an origin sends data and ends by FIN or RST."""
        def script(exchange):
            exchange.send(data)
            time.sleep(0.1)  # so that the engine reads it before the end
            if end == "rst":
                return exchange.reset()
            return False
        engine = self.before(self.origin(script), pool=NEVER_MARKED + "    retries: 0")
        with engine.connect() as client:
            client.send_request(version=version)
            how = "fin"
            try:
                client.head()
                while client.fill():
                    pass
            except ConnectionResetError:
                how = "rst"
            except OSError:
                how = "open"
            return client.buffer, how

    def test_an_answer_cut_short_in_its_length_arrives_short(self):
        for end in ("fin", "rst"):
            for version in ("1.1", "1.0"):
                with self.subTest(end=end, version=version):
                    body, how = self.what_comes(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort", end, version)
                    self.assertLess(len(body), 1000)
                    self.assertNotEqual(how, "open")

    def test_a_long_answer_cut_in_its_middle_arrives_short(self):
        """Long enough for splice."""
        for end in ("fin", "rst"):
            with self.subTest(end=end):
                body, how = self.what_comes(b"HTTP/1.1 200 OK\r\nContent-Length: 8000000\r\n\r\n" + content(3000000), end)
                self.assertLess(len(body), 8000000)
                self.assertEqual(body, content(len(body)))
                self.assertNotEqual(how, "open")

    def test_chunks_that_break_off_never_end_in_a_last_chunk(self):
        for tail in (b"", b"5\r\n", b"5\r\nab", b"5\r\nabcde", b"5\r\nabcde\r\n", b"0\r\n", b"0\r\nX: y\r\n", b"zz\r\n"):
            for end in ("fin", "rst"):
                with self.subTest(tail=tail, end=end):
                    body, how = self.what_comes(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwxyz\r\n" + tail, end)
                    self.assertNotIn(b"0\r\n\r\n", body)
                    self.assertNotEqual(how, "open")

    def test_chunks_that_break_off_reset_an_http_1_0_client(self):
        for end in ("fin", "rst"):
            with self.subTest(end=end):
                _, how = self.what_comes(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwxyz\r\n", end, "1.0")
                self.assertEqual(how, "rst")

    def test_an_answer_until_close_that_is_reset_is_not_complete(self):
        body, _ = self.what_comes(b"HTTP/1.1 200 OK\r\n\r\nsome of it", "rst")
        self.assertNotIn(b"0\r\n\r\n", body)
        _, how = self.what_comes(b"HTTP/1.1 200 OK\r\n\r\nsome of it", "rst", "1.0")
        self.assertEqual(how, "rst")

    def test_an_answer_until_close_that_ends_is_complete(self):
        self.assertEqual(self.what_comes(b"HTTP/1.1 200 OK\r\n\r\nall of it", "fin", "1.0"), (b"all of it", "fin"))
        body, _ = self.what_comes(b"HTTP/1.1 200 OK\r\n\r\nall of it", "fin")
        self.assertEqual(body, b"9\r\nall of it\r\n0\r\n\r\n")

    def test_a_head_that_breaks_off_is_a_502(self):
        for data in (b"", b"HTTP", b"HTTP/1.1 200 OK", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"):
            with self.subTest(data):
                engine = self.before(self.origin(raw(data, close=True)), pool=NEVER_MARKED)
                self.assertEqual(engine.get(method="POST", body=b"x").status, 502)

    def test_a_head_without_an_end_is_a_502(self):
        for data in (b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 200000, b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5000, b"x" * 100000):
            with self.subTest(data[:20]):
                engine = self.before(self.origin(raw(data)), pool=NEVER_MARKED + "    retries: 0")
                self.assertEqual(engine.get().status, 502)

    def test_an_origin_that_answers_byte_by_byte_is_relayed(self):
        answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: b\r\n\r\n5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nX-T: u\r\n\r\n"

        def script(exchange):
            exchange.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in answer:
                exchange.send(bytes([byte]))
                time.sleep(0.001)
        engine = self.before(self.origin(script))
        with engine.connect() as client:
            for _ in range(2):
                client.send_request()
                response = client.response()
                self.assertEqual((response.status, response.body, response.field("X-A")), (200, b"hello world", "b"))

    def test_an_origin_that_answers_before_it_is_asked_is_not_believed(self):
        def script(exchange):
            ok(exchange, b"first")
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged")
        engine = self.before(self.origin(script))
        for _ in range(10):
            self.assertEqual(engine.get().body, b"first")
            time.sleep(0.02)

    def test_a_flood_of_interim_answers_does_not_fill_memory(self):
        def script(exchange):
            try:
                for _ in range(2000):
                    exchange.send(b"HTTP/1.1 103 Early Hints\r\nLink: </%s>\r\n\r\n" % (b"x" * 400) * 10)
            except OSError:
                return False
            return ok(exchange)
        engine = self.before(self.origin(script), pool=NEVER_MARKED + "    retries: 0")
        before = engine.rss_kib()
        with engine.connect(30) as client:
            client.send_request()
            time.sleep(1)
            self.assertLess(engine.rss_kib() - before, 32 * 1024)
            self.assertIn(client.response().status, (200, 502))
        self.assertEqual(engine.json("status")["draining"], False)

    def test_an_origin_that_says_close_is_not_used_again(self):
        seen = []

        def script(exchange):
            seen.append(exchange.connection.getpeername())
            exchange.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi")
        engine = self.before(self.origin(script))
        with engine.connect() as client:
            for _ in range(5):
                client.send_request()
                response = client.response()
                self.assertEqual((response.body, response.field("Connection")), (b"hi", None))
        self.assertEqual(len(set(seen)), 5)

    def test_a_kept_connection_is_used_again(self):
        seen = set()

        def script(exchange):
            seen.add(exchange.connection.getpeername())
            return ok(exchange)
        engine = self.before(self.origin(script), top="workers: 1\npin: false")
        with engine.connect() as client:
            for number in range(20):
                client.send_request("/", "POST" if number % 2 else "GET", body=b"x" * number)
                self.assertEqual(client.response().status, 200)
        self.assertEqual(len(seen), 1)


class DyingClients(Scene):
    def test_a_client_that_leaves_in_its_download_stops_the_origin(self):
        ended = threading.Event()

        def script(exchange):
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2000000000\r\n\r\n")
            try:
                while True:
                    exchange.send(b"x" * 65536)
            except OSError:
                ended.set()
                raise
        for leave in ("close", "reset"):
            with self.subTest(leave):
                ended.clear()
                engine = self.before(self.origin(script))
                client = engine.connect()
                client.send_request()
                client.head()
                client.fill()
                getattr(client, leave)()
                self.assertTrue(ended.wait(SLOW), "the origin still sends")
                wait_for("it to be counted", lambda: engine.counter("client_aborts") >= 1)
                wait_for("nothing to be left", lambda: engine.counter("in_flight") == 0)

    def test_a_client_that_leaves_while_the_origin_thinks_frees_it(self):
        def script(exchange):
            exchange.body()
            if exchange.more():
                raise AssertionError("more came")
            return False
        origin = self.origin(script)
        engine = self.before(origin)
        client = engine.connect()
        client.send_request("/", "POST", body=b"abc")
        wait_for("the request", lambda: origin.requests)
        client.reset()
        wait_for("it to be over", lambda: engine.counter("in_flight") == 0)
        wait_for("its connection to be closed", lambda: engine.json("pools")["servers"][0]["open"] == 0)

    def test_a_client_that_only_stops_sending_gets_its_answer(self):
        def script(exchange):
            time.sleep(0.3)
            return ok(exchange, b"late")
        engine = self.before(self.origin(script))
        with engine.connect() as client:
            client.send_request()
            client.socket.shutdown(socket.SHUT_WR)
            self.assertEqual(client.response().body, b"late")
            self.assertTrue(client.closed())

    def test_a_client_that_stops_sending_in_its_content_is_no_complete_request(self):
        for framing in (b"Content-Length: 100\r\n\r\nhalf", b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"):
            with self.subTest(framing):
                got = []

                def script(exchange):
                    try:
                        got.append(exchange.body())
                    except OSError:
                        got.append(None)  # cut by a reset
                    return False
                origin = self.origin(script)
                engine = self.before(origin, pool=NEVER_MARKED)
                with engine.connect() as client:
                    client.send(b"POST / HTTP/1.1\r\nHost: a\r\n" + framing)
                    wait_for("the origin to see it", lambda: origin.requests)
                    client.socket.shutdown(socket.SHUT_WR)
                    wait_for("the origin's side to end", lambda: got)
                    self.assertEqual(got, [None])

    def test_a_client_that_leaves_the_queue_gives_its_place_up(self):
        def script(exchange):
            time.sleep(1.0)
            return ok(exchange, exchange.path.encode())
        origin = self.origin(script)
        engine = self.weir("workers: 1\npin: false\nroutes: [ { pool: app } ]\npools:\n  app:\n"
                           f"    servers: [ {{ address: {origin.address}, max-connections: 1 }} ]\n    queue: {{ max: 10, wait: 20s }}\n")
        first, leaving, last = engine.connect(), engine.connect(), engine.connect(20)
        first.send_request("/first")
        wait_for("the first", lambda: origin.requests)
        leaving.send_request("/leaving")
        wait_for("one to wait", lambda: engine.counter("queued") == 1)
        last.send_request("/last")
        wait_for("two to wait", lambda: engine.counter("queued") == 2)
        leaving.reset()
        wait_for("one to have left", lambda: engine.counter("queued") == 1)
        self.assertEqual(first.response().body, b"/first")
        self.assertEqual(last.response().body, b"/last")
        self.assertEqual(len(origin.requests), 2)
        first.close()
        last.close()

    def test_clients_that_reset_at_every_moment_leave_nothing_behind(self):
        def script(exchange):
            exchange.body()
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + content(300000))
        engine = self.before(self.origin(script), pool=NEVER_MARKED)
        request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000\r\n\r\n" + b"x" * 3000
        for number in range(300):
            client = engine.connect()
            client.send(request[:10 * number] if number % 3 else request)
            if number % 3 == 0:
                client.socket.settimeout(0.001 * (number % 30) + 0.0001)
                try:
                    client.fill()
                except OSError:
                    pass
            client.reset() if number % 2 else client.close()
        wait_for("all to be gone", lambda: engine.counter("clients") == 0 and engine.counter("in_flight") == 0)
        self.assertEqual(engine.get().body, content(300000))


class BackPressure(Scene):
    def test_a_client_that_does_not_read_stops_the_origin(self):
        sent = [0]

        def script(exchange):
            exchange.send(b"HTTP/1.1 200 OK\r\n%s\r\n" % exchange.path[1:].replace("_", " ").encode().replace(b"|", b"\r\n"))
            try:
                for _ in range(4000):
                    exchange.send(b"10000\r\n" + b"x" * 65536 + b"\r\n" if "chunked" in exchange.path else b"x" * 65536)
                    sent[0] += 65536
            except OSError:
                pass
            return False
        engine = self.before(self.origin(script), top="timeouts: { send: 60s }")
        before = engine.rss_kib()
        for framing in ("/Content-Length:_262144000|", "/Transfer-Encoding:_chunked|", "/X:_until-close|"):
            with self.subTest(framing), engine.connect() as client:
                sent[0] = 0
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
                client.send_request(framing)
                client.head()
                time.sleep(1)
                first = sent[0]
                time.sleep(0.7)
                self.assertEqual(sent[0], first, "the origin goes on sending to nobody")
                self.assertLess(first, 64 * 1024 * 1024)
                self.assertLess(engine.rss_kib() - before, 16 * 1024)

    def test_an_origin_that_does_not_read_stops_the_client(self):
        release = threading.Event()

        def script(exchange):
            release.wait(30)
            return digest(exchange)
        engine = self.before(self.origin(script), pool="    timeouts: { between: 60s }")
        before = engine.rss_kib()
        total = 200 * 1024 * 1024
        for framing in (b"Content-Length: %d\r\n\r\n" % total, b"Transfer-Encoding: chunked\r\n\r\n"):
            with self.subTest(framing), engine.connect() as client:
                release.clear()
                client.send(b"POST / HTTP/1.1\r\nHost: a\r\n" + framing)
                sent, block = 0, b"x" * 65536
                piece = block if b"Length" in framing else b"10000\r\n" + block + b"\r\n"
                client.socket.settimeout(1.0)
                try:
                    while sent < total:
                        client.send(piece)
                        sent += len(block)
                except TimeoutError:
                    pass
                self.assertLess(sent, 64 * 1024 * 1024)
                self.assertLess(engine.rss_kib() - before, 16 * 1024)
                release.set()

    def test_a_client_that_takes_nothing_is_cut_after_its_time(self):
        def script(exchange):
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 200000000\r\n\r\n")
            try:
                while True:
                    exchange.send(b"x" * 65536)
            except OSError:
                return False
        engine = self.before(self.origin(script), top="timeouts: { send: 500ms }")
        with engine.connect() as client:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            client.send_request()
            client.head()
            wait_for("the engine to give up", lambda: engine.counter("send_timeouts") == 1)
            wait_for("the origin to be free", lambda: engine.counter("in_flight") == 0)

    def test_a_slow_reader_gets_everything(self):
        data = content(3000000)
        engine = self.before(self.origin(raw(b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + data)), top="timeouts: { send: 1s }")
        with engine.connect(30) as client:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
            client.send_request()
            client.head()
            got = client.buffer
            while len(got) < len(data):
                part = client.socket.recv(60000)
                self.assertTrue(part, f"cut at {len(got)}")
                got += part
                time.sleep(0.04)
            self.assertEqual(got, data)

    def test_a_pipelined_head_in_many_pieces_is_read_to_its_end(self):
        """Receiving stops while much waits, and goes on when what waits is too little for a head."""
        release = threading.Event()
        engine = self.before(self.origin(lambda exchange: (release.wait(10), ok(exchange))[1]))
        with engine.connect() as client:
            client.send_request()
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n")
            for number in range(5):
                client.send(b"X-%d: %s\r\n" % (number, b"x" * 2900))
                time.sleep(0.05)
            release.set()
            self.assertEqual(client.response().status, 200)
            time.sleep(0.2)
            client.send(b"\r\n")
            self.assertEqual(client.response().status, 200)

    def test_a_response_head_in_many_pieces_is_read_to_its_end(self):
        def script(exchange):
            exchange.send(b"HTTP/1.1 200 OK\r\n")
            for number in range(5):
                exchange.send(b"X-%d: %s\r\n" % (number, b"x" * 2900))
                time.sleep(0.05)
            exchange.send(b"Content-Length: 2\r\n\r\nok")
        with self.before(self.origin(script)).connect() as client:
            client.send_request()
            self.assertEqual(client.response().body, b"ok")

    def test_trailers_may_come_byte_by_byte(self):
        engine = self.before(self.origin(digest))
        trailers = b"".join(b"X-%d: some more of it\r\n" % number for number in range(20))
        with engine.connect() as client:
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n")
            client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for i in range(len(trailers)):
                client.send(trailers[i:i + 1])
                time.sleep(0.001)
            client.send(b"\r\n")
            self.assertEqual(client.response().status, 200)

    def test_a_slow_origin_takes_a_long_upload(self):
        """Its time for the first byte begins when it has the request; until then it only must go on taking."""
        size = 4000000

        def script(exchange):
            exchange.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
            taken = len(exchange.buffer)
            while taken < size:
                part = exchange.connection.recv(30000)
                if not part:
                    return False
                taken += len(part)
                time.sleep(0.02)
            exchange.buffer = b""
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nall")
            return None
        engine = self.before(self.origin(script), pool="    timeouts: { first-byte: 700ms, between: 700ms }", top="timeouts: { body: 1s }")
        with engine.connect(30) as client:
            client.send_request(method="POST", body=content(size))
            self.assertEqual(client.response().body, b"all")

    def test_an_origin_that_stops_taking_an_upload_is_left_after_its_time(self):
        release = threading.Event()
        engine = self.before(self.origin(lambda exchange: (release.wait(30), False)[1]), pool="    timeouts: { first-byte: 500ms, between: 500ms }")
        with engine.connect(30) as client:
            client.socket.settimeout(30)
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000000\r\n\r\n")
            threading.Thread(target=self.feed, args=(client,), daemon=True).start()
            self.assertEqual(client.head()[0], 504)
        release.set()

    @staticmethod
    def feed(client):
        try:
            while True:
                client.socket.send(b"x" * 65536)
        except OSError:
            pass

    def test_a_slow_writer_delivers_everything(self):
        engine = self.before(self.origin(digest), top="timeouts: { body: 500ms }")
        with engine.connect(30) as client:
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200\r\n\r\n")
            for _ in range(20):
                client.send(b"0123456789")
                time.sleep(0.1)
            self.assertIn(b'"length": 200', client.response().body)


class Neighbours(Scene):
    """What one connection suffers is not felt by another on the same worker."""

    def test_a_hanging_origin_holds_up_nobody_else(self):
        hanging = self.origin(lambda exchange: time.sleep(5))
        engine = self.weir(f"workers: 1\npin: false\nroutes:\n  - match: {{ path: /hang }}\n    pool: hang\n  - pool: app\n"
                           f"pools:\n  hang: {{ servers: [ {hanging.address} ] }}\n  app: {{ servers: [ {self.origin(named('quick')).address} ] }}\n")
        waiting = [engine.connect() for _ in range(50)]
        for client in waiting:
            client.send_request("/hang")
        started = time.monotonic()
        for _ in range(50):
            self.assertEqual(engine.get().body, b"quick")
        self.assertLess(time.monotonic() - started, 4)
        for client in waiting:
            client.close()

    def test_a_bulk_transfer_lets_small_requests_through(self):
        def script(exchange):
            if exchange.path == "/small":
                return ok(exchange)
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n")
            try:
                while True:
                    exchange.send(b"x" * 262144)
            except OSError:
                return False
        engine = self.before(self.origin(script), top="workers: 1\npin: false")
        stop = threading.Event()

        def drain():
            with engine.connect() as client:
                client.send_request("/bulk")
                while not stop.is_set() and client.socket.recv(262144):
                    pass
        bulk = [threading.Thread(target=drain) for _ in range(2)]
        for thread in bulk:
            thread.start()
        time.sleep(0.3)
        slowest = 0.0
        with engine.connect() as client:
            for _ in range(50):
                started = time.monotonic()
                client.send_request("/small")
                self.assertEqual(client.response().status, 200)
                slowest = max(slowest, time.monotonic() - started)
        stop.set()
        for thread in bulk:
            thread.join()
        self.assertLess(slowest, 2.0)


if __name__ == "__main__":
    unittest.main()
