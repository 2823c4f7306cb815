"""Several want at once what is not stored: one request to the origin, its answer for all as it comes, and what happens when one of them fails."""
import re
import signal
import threading
import time
import unittest

from cache_props import GATE_HEAD, Answer, CacheScene, Gate, Reader, caching, is_hit, status_of
from props import content
from proxy_props import ProxyOrigin
from stage import SLOW, Client, Origin, wait_for

class Flights(CacheScene):
    MEMORY = "128MiB"

    @classmethod
    def setUpClass(cls):
        cls.play_for_all(routes='  - { match: { path: "/apart/**" }, pool: app, cache: { collapse: off } }')

    def gate(self, path, *pieces, **more):
        gate = Gate(*pieces, **more)
        self.shelf.put(path, gate)
        self.addCleanup(gate.go, 100)
        return gate

    def read_piece(self, client, piece):
        """What a client has got so far of a chunked answer."""
        while len(client.got) < len(piece):
            size = int(client.until(b"\r\n"), 16)
            client.got += client.exactly(size + 2)[:-2]
        self.assertEqual(client.got, piece)

    def asking(self, path):
        client = self.engine.connect()
        self.addCleanup(client.close)
        client.send_request(path)
        client.got = b""
        return client

    def test_a_crowd_is_one_request(self):
        gate = self.gate("/crowd", content(20000), content(30000, 20000), first=False)
        readers = [Reader(self, "/crowd") for _ in range(40)]
        self.assertTrue(gate.arrived.acquire(timeout=SLOW))
        gate.go(4)
        for reader in readers:
            response = reader.done()
            self.assertEqual((response.status, response.complete, response.body == content(50000)), (200, True, True))
        self.assertEqual(self.shelf.count("/crowd"), 1)
        self.hit("/crowd")

    def test_who_comes_later_gets_it_from_the_first_byte_on_while_it_comes(self):
        for framing in ("chunked", "length"):
            path = "/stream/" + framing
            gate = self.gate(path, b"a" * 1000, b"b" * 1000, framing=framing)
            first = self.asking(path)
            first.head()
            gate.go()
            late = self.asking(path)
            _, fields = late.head()
            names = {name.lower(): value for name, value in fields}
            chunked = names.get("transfer-encoding") == "chunked"
            if chunked:
                self.read_piece(late, b"a" * 1000)
            else:
                self.assertEqual(late.exactly(1000), b"a" * 1000)
            gate.go(2)
            if chunked:
                self.assertEqual(late.chunks()[0], b"b" * 1000)
            else:
                self.assertEqual(late.exactly(1000), b"b" * 1000)
            self.assertEqual(self.shelf.count(path), 1)

    def test_who_joined_says_so(self):
        gate = self.gate("/said", b"text", first=False)
        one = Reader(self, "/said")
        self.assertTrue(gate.arrived.acquire(timeout=SLOW))
        two = Reader(self, "/said")
        gate.go(3)
        said = [status_of(reader.done()) for reader in (one, two)]
        self.assertEqual(self.shelf.count("/said"), 1)
        self.assertEqual([s.get("fwd") for s in said if not s.get("hit")][:1], ["uri-miss"])
        self.assertTrue(said[1].get("collapsed") or said[1].get("hit"), said)

    def test_the_first_leaves_and_the_others_get_it_all(self):
        gate = self.gate("/leaves", b"a" * 5000, b"b" * 5000)
        first = self.asking("/leaves")
        first.head()
        gate.go()
        late = Reader(self, "/leaves")
        first.reset()
        gate.go(2)
        self.assertEqual(late.done().body, b"a" * 5000 + b"b" * 5000)
        self.assertEqual(self.hit("/leaves").body, b"a" * 5000 + b"b" * 5000)
        self.assertEqual(self.shelf.count("/leaves"), 1)

    def test_the_first_leaves_before_the_answer(self):
        gate = self.gate("/early", b"text", first=False)
        self.shelf.keep("/early", caching(600, body=b"text"))
        first = self.asking("/early")
        self.assertTrue(gate.arrived.acquire(timeout=SLOW))
        late = Reader(self, "/early")
        first.reset()
        gate.go(3)
        self.assertEqual(late.done().body, b"text")

    def test_the_only_client_leaves_and_what_it_asked_for_is_whole_or_not_stored(self):
        gate = self.gate("/alone", b"a" * 5000, b"b" * 5000)
        self.shelf.keep("/alone", caching(600, body=b"a" * 5000 + b"b" * 5000))
        first = self.asking("/alone")
        first.head()
        first.reset()
        gate.go(3)
        self.assertEqual(self.engine.get("/alone").body, b"a" * 5000 + b"b" * 5000)

    def test_the_origin_breaks_off_and_nobody_gets_a_whole_answer(self):
        gate = self.gate("/broken", b"a" * 5000, b"b" * 5000)
        first = Reader(self, "/broken")
        self.assertTrue(gate.arrived.acquire(timeout=SLOW))
        gate.go()
        late = Reader(self, "/broken")
        wait_for("both to be answered", lambda: self.engine.counter("in_flight") >= 1)
        gate.cut = True
        gate.go()
        self.shelf.keep("/broken", caching(600, body=b"whole"))
        for reader in (first, late):
            response = reader.done()
            self.assertTrue(response is None or not response.complete or response.body == b"whole")
        self.assertEqual(self.engine.get("/broken").body, b"whole")

    def test_the_first_fails_before_its_answer_and_the_next_takes_over(self):
        failing = threading.Event()

        def fails(exchange, asked):
            failing.wait(SLOW)
            return False
        self.shelf.put("/fails", fails)
        self.shelf.keep("/fails", caching(600, body=b"well"))
        readers = [Reader(self, "/fails")]
        wait_for("the first request", lambda: self.shelf.count("/fails") == 1)
        readers += [Reader(self, "/fails") for _ in range(5)]
        failing.set()
        statuses = [reader.done().status for reader in readers]
        self.assertEqual(statuses[1:], [200] * 5)
        self.assertLessEqual(self.shelf.count("/fails"), 3)

    def test_what_may_not_be_stored_does_not_make_the_others_wait_in_line(self):
        together = threading.Barrier(5)

        def private(exchange, asked):
            if self.shelf.count("/private") > 1:
                together.wait(2 * SLOW)  # all that waited are here at once
            else:
                first.wait(SLOW)
            return Answer(200, ["Cache-Control: private"], body=b"mine").send(exchange)
        first = threading.Event()
        self.shelf.keep("/private", private)
        readers = [Reader(self, "/private")]
        wait_for("the first request", lambda: self.shelf.count("/private") == 1)
        readers += [Reader(self, "/private") for _ in range(5)]
        first.set()
        self.assertEqual([reader.done().status for reader in readers], [200] * 6)
        self.assertEqual(self.shelf.count("/private"), 6)

    def refused(self, path, refusal, headers=()):
        """Somebody with these fields leads and is refused while others wait; then a crowd comes. How often the origin was asked, and all the statuses."""
        led, go = threading.Event(), threading.Event()

        def first(exchange, asked):
            led.set()
            go.wait(SLOW)
            return refusal.send(exchange)

        def well(exchange, asked):
            time.sleep(0.3)  # so that a crowd meets
            return caching(600, body=b"well").send(exchange)
        self.shelf.put(path, first)
        self.shelf.keep(path, well)
        leader = Reader(self, path, headers)
        self.assertTrue(led.wait(SLOW))
        readers = [Reader(self, path) for _ in range(20)]
        time.sleep(0.2)
        go.set()
        self.assertEqual(leader.done().status, refusal.status)
        self.assertEqual({reader.done().body for reader in readers}, {b"well"})
        return self.shelf.count(path)

    def test_an_answer_for_one_who_says_who_he_is_does_not_send_the_others_alone(self):
        for number, fields in enumerate((["Cache-Control: max-age=600"], ["Cache-Control: private"], ["Cache-Control: no-store"], ["Cache-Control: max-age=600", "Set-Cookie: a=b"])):
            with self.subTest(fields):
                self.assertLessEqual(self.refused(f"/who/{number}", Answer(200, fields, body=b"mine"), ["Authorization: Basic eA=="]), 3)

    def test_nor_does_one_for_somebodys_cookies(self):
        for number, fields in enumerate((["Cache-Control: private"], ["Cache-Control: max-age=600", "Set-Cookie: a=b"])):
            with self.subTest(fields):
                self.assertLessEqual(self.refused(f"/cookies/{number}", Answer(200, fields, body=b"mine"), ["Cookie: session=joe"]), 3)

    def test_a_refusal_of_one_request_does_not_send_the_others_alone(self):
        for status in (400, 401, 403, 406, 412, 421, 425, 428, 429, 431):
            with self.subTest(status):
                self.assertLessEqual(self.refused(f"/refused/{status}", Answer(status, body=b"no")), 3)

    def test_nor_those_who_come_later(self):
        """What was refused is not remembered against the URL: a crowd right after it is one request, on all workers."""
        for number, (answer, headers) in enumerate(((Answer(429, body=b"no"), []), (Answer(200, ["Cache-Control: private"], body=b"mine"), ["Authorization: Basic eA=="]))):
            path = f"/later/{number}"
            self.shelf.put(path, *[answer] * 8)
            for _ in range(8):
                self.engine.get(path, headers=headers)
            gate = self.gate(path, b"well", first=False)
            readers = [Reader(self, path) for _ in range(20)]
            self.assertTrue(gate.arrived.acquire(timeout=SLOW))
            time.sleep(0.2)
            gate.go(3)
            self.assertEqual({reader.done().body for reader in readers}, {b"well"})
            self.assertEqual(self.shelf.count(path), 9)

    def test_a_row_of_refusals_does_not_make_the_others_wait_in_line(self):
        """Everybody is refused: after two of them all the others are at the origin at once, or the barrier breaks."""
        together = threading.Barrier(8)

        def refuse(exchange, asked):
            if self.shelf.count("/row") > 3:
                together.wait(2 * SLOW)
            else:
                first.wait(SLOW)
            return Answer(429, body=b"no").send(exchange)
        first = threading.Event()
        self.shelf.keep("/row", refuse)
        readers = [Reader(self, "/row")]
        wait_for("the first request", lambda: self.shelf.count("/row") == 1)
        readers += [Reader(self, "/row") for _ in range(10)]
        time.sleep(0.2)
        first.set()
        self.assertEqual([reader.done().status for reader in readers], [429] * 11)

    def test_each_goes_on_its_own_where_the_route_says_so(self):
        together = threading.Barrier(3)

        def slow(exchange, asked):
            together.wait(2 * SLOW)
            return caching(600).send(exchange)
        self.shelf.keep("/apart/a", slow)
        readers = [Reader(self, "/apart/a") for _ in range(3)]
        self.assertEqual([reader.done().status for reader in readers], [200] * 3)
        self.assertEqual(self.shelf.count("/apart/a"), 3)

    def test_variants_are_not_mixed_up(self):
        def by_language(exchange, asked):
            return caching(600, "Vary: Accept-Language", body=asked.field("Accept-Language").encode()).send(exchange)
        self.shelf.keep("/lang", by_language)
        readers = [(word, Reader(self, "/lang", [f"Accept-Language: {word}"])) for word in ("de", "en", "fr") * 6]
        for word, reader in readers:
            self.assertEqual(reader.done().body, word.encode())
        for word in ("de", "en", "fr"):
            self.assertEqual(self.hit("/lang", [f"Accept-Language: {word}"]).body, word.encode())

    def test_a_slow_reader_holds_up_nobody(self):
        body = content(12 << 20)  # more than sockets hold
        self.shelf.put("/slow", caching(600, body=body))
        slow = self.asking("/slow")
        slow.head()
        readers = [Reader(self, "/slow") for _ in range(3)]
        self.assertEqual([reader.done().body == body for reader in readers], [True] * 3)
        self.assertEqual(slow.exactly(len(body)) == body, True)
        self.assertEqual(self.shelf.count("/slow"), 1)

    def test_a_slow_first_one_is_left_behind_by_those_who_come_while_it_stands_still(self):
        """Of content whose length nobody knows, which is not taken from a slow client until somebody else wants it."""
        body = content(12 << 20)
        self.shelf.put("/slow/chunked", caching(600, body=body, framing="chunked"))
        slow = self.asking("/slow/chunked")
        slow.head()
        time.sleep(SLOW / 10)  # it has taken what it will, and the engine waits for it
        readers = [Reader(self, "/slow/chunked") for _ in range(3)]
        self.assertEqual([reader.done().body == body for reader in readers], [True] * 3)
        self.assertEqual(slow.chunks()[0] == body, True)
        self.assertEqual(self.shelf.count("/slow/chunked"), 1)

    def test_many_ask_for_what_is_stale_and_the_origin_is_asked_once(self):
        self.shelf.put("/stale", caching(60, "Age: 100", 'ETag: "a"', body=b"old"))
        self.miss("/stale")
        go = threading.Event()

        def validated(exchange, asked):
            go.wait(SLOW)
            return caching(60, 'ETag: "b"', body=b"new").send(exchange)
        self.shelf.keep("/stale", validated)
        readers = [Reader(self, "/stale")]
        wait_for("the first", lambda: self.shelf.count("/stale") == 2)
        readers += [Reader(self, "/stale") for _ in range(10)]
        go.set()
        self.assertEqual([reader.done().body for reader in readers], [b"new"] * 11)
        self.assertEqual(self.shelf.count("/stale"), 2)

    def test_behind_a_stale_answer_the_origin_is_asked_once(self):
        self.shelf.put("/swr", caching(60, "Age: 100", "Cache-Control: stale-while-revalidate=600", 'ETag: "a"', body=b"old"))
        self.miss("/swr")
        go = threading.Event()

        def later(exchange, asked):
            go.wait(SLOW)
            return caching(60, body=b"new").send(exchange)
        self.shelf.keep("/swr", later)
        for _ in range(10):
            response = self.engine.get("/swr")
            self.assertEqual((response.body, is_hit(response)), (b"old", True))
        go.set()
        wait_for("the new one", lambda: self.engine.get("/swr").body == b"new")
        self.assertEqual(self.shelf.count("/swr"), 2)


class Resumed(CacheScene):
    """Whoever has a part of what broke off gets the rest from the origin, if that has the same."""

    MEMORY = "128MiB"
    BODY = content(40000)
    HEAD = GATE_HEAD + b'ETag: "s"\r\n'

    def half_read(self, path, framing="length"):
        """A reader that has half of what then breaks off: the one who asked first, too."""
        gate = Gate(self.BODY[:20000], self.BODY[20000:], head=self.HEAD, framing=framing)
        self.shelf.put(path, gate)
        self.addCleanup(gate.go, 100)
        first = self.engine.connect()
        self.addCleanup(first.close)
        first.send_request(path)
        first.head()
        gate.go()
        first.exactly(20000)
        late = self.engine.connect()
        self.addCleanup(late.close)
        late.send_request(path)
        self.assertEqual(late.head()[0], 200)
        got = b""
        while len(got) < 20000:
            got += late.exactly(int(late.until(b"\r\n"), 16) + 2)[:-2] if framing == "chunked" else late.exactly(20000)
        self.assertEqual(got, self.BODY[:20000])
        gate.cut = True
        return gate, late

    def rest(self, client):
        got = client.buffer
        client.socket.settimeout(2)
        try:
            while client.fill():
                got, client.buffer = got + client.buffer, b""
        except OSError:
            pass
        return got

    def test_the_rest_comes_from_the_origin(self):
        self.play()
        gate, late = self.half_read("/rest")
        self.shelf.put("/rest", caching(600, 'ETag: "s"', body=self.BODY))
        gate.go()
        self.assertEqual(late.exactly(20000), self.BODY[20000:])
        self.assertEqual(self.shelf.count("/rest"), 2)

    def test_what_the_origin_says_before_its_answer_does_not_get_into_the_content(self):
        self.play()
        gate, late = self.half_read("/early")
        self.shelf.put("/early", caching(600, 'ETag: "s"', body=self.BODY, early=True))
        gate.go()
        self.assertEqual(late.exactly(20000), self.BODY[20000:])
        self.assertEqual(self.rest(late), b"")

    def test_no_more_than_was_said_comes_from_an_origin_that_says_no_length_now(self):
        self.play()
        gate, late = self.half_read("/more")
        self.shelf.put("/more", caching(600, 'ETag: "s"', body=self.BODY + b"HTTP/1.1 200 OK\r\n\r\n", framing="chunked"))
        gate.go()
        self.assertLessEqual(len(self.rest(late)), 20000)

    def test_less_than_was_said_is_no_whole_answer(self):
        self.play()
        gate, late = self.half_read("/less")
        self.shelf.put("/less", caching(600, 'ETag: "s"', body=self.BODY[:30000], framing="chunked"))
        gate.go()
        self.assertLess(len(self.rest(late)), 20000)
        self.assertTrue(late.closed())

    def test_less_than_was_sent_is_no_whole_answer(self):
        self.play()
        gate, late = self.half_read("/short", framing="chunked")
        self.shelf.put("/short", caching(600, 'ETag: "s"', body=self.BODY[:10000], framing="chunked"))
        gate.go()
        try:
            self.assertIsNone(late.chunks())
        except ConnectionError:
            pass

    def test_of_the_server_it_says_how_long_it_took(self):
        self.play()
        gate, late = self.half_read("/took")
        self.shelf.put("/took", caching(600, 'ETag: "s"', body=self.BODY))
        gate.go()
        self.assertEqual(late.exactly(20000), self.BODY[20000:])
        with Client(self.engine.admin) as client:
            client.send_request("/metrics")
            seconds = re.findall(r"^weir_server_first_byte_seconds_sum\{.*\} (.*)$", client.response().body.decode(), re.M)
        self.assertEqual(len(seconds), 1)
        self.assertLess(float(seconds[0]), 60)

    def test_what_was_to_be_validated_is_not_asked_for_again(self):
        """Its conditions were of what has gone since."""
        origin = Origin(lambda exchange: self.shelf(exchange))
        self.addCleanup(origin.stop)
        self.play(routes='  - { match: { path: "/again/**" }, pool: again, cache: {} }', pools=f"  again: {{ retries: 2, servers: [ {origin.address} ] }}")
        self.shelf.put("/again/a", caching(1, "Age: 100", 'ETag: "old"', body=b"old"))
        self.miss("/again/a")
        body = content(15 << 20)
        gate = Gate(body[:14 << 20], body[14 << 20:], head=self.HEAD, framing="length")
        self.addCleanup(gate.go, 100)
        self.shelf.put("/again/a", gate)
        slow = self.engine.connect()
        self.addCleanup(slow.close)
        slow.send_request("/again/a")
        slow.head()
        gate.go()
        time.sleep(SLOW / 10)  # it has taken what it will, and another goes on for it
        self.assertEqual(self.shelf.last("/again/a").field("If-None-Match"), '"old"')
        self.assertEqual(self.engine.command("purge", self.url("/again/a"))[0], 0)
        self.shelf.put("/again/a", caching(600, 'ETag: "s"', body=body))
        gate.cut = True
        gate.go()
        self.assertTrue(slow.exactly(len(body)) == body)
        self.assertEqual(self.shelf.count("/again/a"), 3)
        self.assertIsNone(self.shelf.last("/again/a").field("If-None-Match"))


class Bounds(CacheScene):
    """What is fetched without a client, or for several, has ends too."""

    def test_a_stop_does_not_wait_for_what_is_fetched(self):
        self.play(top="timeouts: { drain: 300ms }")
        gates = [Gate(b"a" * 5000, b"b" * 5000) for _ in range(8)]
        before = [self.engine.connect() for _ in range(32)]
        for number, gate in enumerate(gates):
            self.addCleanup(gate.go, 100)
            self.shelf.put(f"/stop/{number}", gate)
            gate.go()
            client = self.engine.connect()
            self.addCleanup(client.close)
            client.send_request(f"/stop/{number}")
            client.head()
        for client in before:
            client.close()
        wait_for("them to go", lambda: self.engine.counter("clients") <= len(gates))
        self.engine.process.send_signal(signal.SIGTERM)
        wait_for("the end", self.engine.ended)
        self.assertEqual(self.engine.process.returncode, 0, self.engine.log())
        self.assertNotIn("internal error", self.engine.log())

    def test_the_time_for_all_attempts_holds_for_who_waits(self):
        origin = Origin(lambda exchange: self.shelf(exchange))
        self.addCleanup(origin.stop)
        self.play(routes='  - { match: { path: "/timed/**" }, pool: timed, cache: {} }',
                  pools=f"  timed: {{ timeouts: {{ total: 1s, first-byte: 60s }}, retries: 0, servers: [ {origin.address} ] }}")
        gate = Gate(b"text", first=False)
        self.addCleanup(gate.go, 100)
        self.shelf.keep("/timed/a", gate)
        readers = [Reader(self, "/timed/a", ["Range: bytes=0-1"])]
        self.assertTrue(gate.arrived.acquire(timeout=SLOW))
        readers += [Reader(self, "/timed/a"), Reader(self, "/timed/a", ["Range: bytes=0-1"])]
        for reader in readers:
            reader.thread.join(SLOW / 2)
            self.assertEqual(reader.response and reader.response.status, 504)
        wait_for("the fetch to end", lambda: self.engine.server(origin.address)["busy"] == 0)

    def test_what_turns_out_to_be_too_large_is_not_shared_again(self):
        self.play(rule="{ max-object: 64KiB }", top="workers: 1")
        body = content(200000)
        gates = [Gate(body[:50000], body[50000:], first=False) for _ in range(3)]
        for gate in gates:
            self.addCleanup(gate.go, 100)
        self.shelf.put("/large", *gates)
        first = [Reader(self, "/large")]
        self.assertTrue(gates[0].arrived.acquire(timeout=SLOW))
        first += [Reader(self, "/large")]
        wait_for("it to wait", lambda: self.engine.json("cache", "status")["collapsed"] == 1)
        gates[0].go(4)
        for reader in first:
            response = reader.done()
            self.assertTrue(response is None or not response.complete or response.body == body)
        self.assertEqual(self.shelf.count("/large"), 1)  # without a strong ETag there is no rest to be asked for
        again = [Reader(self, "/large") for _ in range(2)]
        for gate in gates[1:]:
            gate.go(4)
        for reader in again:
            self.assertTrue(reader.done().body == body)

    def test_kept_connections_that_begin_with_a_header_go_with_the_one_who_fetched(self):
        origin = ProxyOrigin(lambda exchange: self.shelf(exchange))
        self.addCleanup(origin.stop)
        self.play(routes='  - { match: { path: "/proxied/**" }, pool: proxied, cache: {} }',
                  pools=f"  proxied: {{ servers: [ {origin.address} ], proxy-protocol: v2 }}")
        self.shelf.keep("/proxied/a", caching(600, body=content(1000)))
        with self.engine.connect() as client:
            client.send_request("/proxied/a", headers=["Range: bytes=0-9"])
            response = client.response()
            self.assertEqual((response.status, response.body), (206, content(10)))
            self.assertEqual(self.shelf.last("/proxied/a").field("X-Forwarded-For"), "127.0.0.1")
            wait_for("the connection to be closed", lambda: self.engine.server(origin.address)["open"] == 0)
            self.assertEqual(self.engine.server(origin.address)["idle"], 0)


if __name__ == "__main__":
    unittest.main()
