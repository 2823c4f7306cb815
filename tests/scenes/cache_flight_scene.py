"""Several want at once what is not stored: one request to the origin, its answer for all as it comes, and what happens when one of them fails."""
import threading
import time
import unittest

from cache_props import Answer, CacheScene, Gate, Reader, caching, is_hit, status_of
from props import content
from stage import SLOW, wait_for

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


if __name__ == "__main__":
    unittest.main()
