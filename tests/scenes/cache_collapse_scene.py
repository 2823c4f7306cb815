"""Many ask at the same moment for what the cache does not have: the origin is asked once, everybody is served from the first byte on, and nobody pays for
what happens to another: not for a client that leaves or does not read, not for an answer that may not be stored, not for an origin that breaks off.
"""
import json
import os
import shutil
import subprocess
import tempfile
import threading
import unittest

from props import HERE, raise_descriptors, run
from stage import Scene, wait_for

LENGTH = 10_000_000
HALF = LENGTH // 2
CROWD, FEW = 1000, 100
PATIENCE = 60  # seconds: ten gigabytes go through a sanitized engine
CONFIG = """
cache: { memory: 256MiB }
routes: [ { pool: app, cache: {} } ]
pools:
  app:
    servers: [ %s ]
    timeouts: { first-byte: 60s, between: 60s }
    %s
"""


def content(length=LENGTH):
    return b"".join(b"%07d\n" % number for number in range((length + 7) // 8))[:length]


class Waiters:
    """Clients who ask once for the same (waiters.c)."""

    program = None
    making = threading.Lock()

    @classmethod
    def make(cls, scene):
        with cls.making:
            if not cls.program:
                folder = tempfile.mkdtemp(prefix="weir-waiters-")
                program = os.path.join(folder, "waiters")
                code, _, errors = run(shutil.which("cc") or scene.need("gcc"), "-O2", "-Wall", "-o", program, os.path.join(HERE, "waiters.c"))
                scene.assertEqual(code, 0, errors.decode())
                cls.program = program
        return cls.program

    @classmethod
    def remove(cls):
        if cls.program:
            shutil.rmtree(os.path.dirname(cls.program), ignore_errors=True)
            cls.program = None

    def __init__(self, scene, port, count, length=LENGTH, path="/cold"):
        self.count = count
        self.process = subprocess.Popen([self.make(scene), str(port), str(count), str(length), path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        scene.addCleanup(self.stop)
        scene.assertEqual(self.process.stdout.readline().strip(), "ready")

    def order(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def go(self, first=0, last=None):
        self.order("go", first, self.count - 1 if last is None else last)

    def counts(self):
        return json.loads(self.order("counts"))

    def wait(self, what, true):
        try:
            wait_for(what, lambda: true(self.counts()), PATIENCE)
        except AssertionError as late:
            raise AssertionError(f"{late}: {self.counts()} {self.order('statuses')}") from None

    def ended(self):
        """All who were not killed have come to some end: the counts."""
        self.wait("all answers to end", lambda n: sum(n[end] for end in ("complete", "cut", "short", "failed", "wrong", "killed")) == self.count)
        return self.counts()

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class Gate:
    """An origin's script that sends the first half, and the second when it is opened; or, where `breaks` was set when the request came, hangs up then."""

    def __init__(self, fields="Cache-Control: max-age=60", chunked=False):
        self.open, self.whole, self.fields, self.chunked, self.breaks = threading.Event(), content(), fields, chunked, False

    def piece(self, data):
        return b"%x\r\n%s\r\n" % (len(data), data) if self.chunked else data

    def __call__(self, exchange):
        framing = "Transfer-Encoding: chunked" if self.chunked else f"Content-Length: {LENGTH}"
        breaks = self.breaks
        exchange.send(f"HTTP/1.1 200 OK\r\n{self.fields}\r\n{framing}\r\n\r\n".encode() + self.piece(self.whole[:HALF]))
        if not self.open.wait(2 * PATIENCE) or breaks:
            return False
        exchange.send(self.piece(self.whole[HALF:]) + (b"0\r\n\r\n" if self.chunked else b""))
        return None


def tearDownModule():
    Waiters.remove()


class Collapse(Scene):
    def setUp(self):
        raise_descriptors()

    def stage(self, script, count, pool="", **more):
        origin = self.origin(script)
        engine = self.weir(CONFIG % (origin.address, pool))
        return origin, engine, Waiters(self, engine.port, count, **more)

    def led(self, origin, waiters):
        """Client 0 leads; then all others come and have what there is."""
        waiters.go(0, 0)
        wait_for("the leader's request", lambda: len(origin.requests) == 1)
        waiters.go(1)

    @staticmethod
    def halves(waiters):
        waiters.wait("everybody to have the first half while the origin holds the second back", lambda n: n["asked"] == waiters.count and n["least"] >= HALF)

    @staticmethod
    def descriptors(engine):
        return len(os.listdir(f"/proc/{engine.process.pid}/fd"))

    def stored(self, engine, origin, asked):
        """What they all got is what is there now."""
        response = engine.get("/cold", headers=["Host: waiters"])
        self.assertEqual((response.status, response.complete, len(origin.requests)), (200, True, asked))
        self.assertTrue(response.body == content(), "other bytes")

    def test_a_thousand_at_once_ask_the_origin_once_and_are_served_while_it_sends(self):
        gate = Gate()
        origin, engine, waiters = self.stage(gate, CROWD)
        before = engine.rss_kib()
        waiters.go()
        self.halves(waiters)
        self.assertLess(engine.rss_kib() - before, 400 * 1024, "as if each had its own copy")
        gate.open.set()
        self.assertEqual(waiters.ended()["complete"], CROWD)
        self.assertEqual(len(origin.requests), 1)
        self.stored(engine, origin, 1)

    def test_an_answer_of_unknown_length_is_shared_while_it_comes(self):
        gate = Gate(chunked=True)
        origin, engine, waiters = self.stage(gate, FEW)
        waiters.go()
        self.halves(waiters)
        gate.open.set()
        self.assertEqual(waiters.ended()["complete"], FEW)
        self.stored(engine, origin, 1)

    def test_whoever_comes_in_the_middle_gets_it_all(self):
        gate = Gate()
        origin, engine, waiters = self.stage(gate, FEW)
        waiters.go(0, 9)
        waiters.wait("the first ten", lambda n: n["asked"] == 10 and n["least"] >= HALF)
        waiters.go(10)
        self.halves(waiters)
        gate.open.set()
        self.assertEqual(waiters.ended()["complete"], FEW)
        self.stored(engine, origin, 1)

    def test_the_leaders_client_leaves_in_the_middle_and_all_others_get_everything(self):
        gate = Gate()
        origin, engine, waiters = self.stage(gate, FEW)
        self.led(origin, waiters)
        self.halves(waiters)
        before = self.descriptors(engine)
        waiters.order("kill", 0)
        wait_for("the engine to close its end", lambda: self.descriptors(engine) < before)
        gate.open.set()
        counts = waiters.ended()
        self.assertEqual((counts["complete"], counts["killed"]), (FEW - 1, 1), counts)
        self.stored(engine, origin, 1)

    def test_the_leaders_client_leaves_before_the_answer_and_the_others_get_it(self):
        gate, head = Gate(), threading.Event()
        def script(exchange):
            head.wait(PATIENCE)
            return gate(exchange)
        origin, engine, waiters = self.stage(script, FEW)
        self.led(origin, waiters)
        waiters.order("kill", 0)
        gate.open.set()
        head.set()
        counts = waiters.ended()
        self.assertEqual((counts["complete"], counts["killed"]), (FEW - 1, 1), counts)
        self.assertLessEqual(len(origin.requests), 2, "it goes on, or one of the others leads")

    def test_a_leaders_client_that_does_not_read_holds_up_nobody(self):
        gate = Gate()
        origin, engine, waiters = self.stage(gate, FEW)
        waiters.order("hold", 0)
        self.led(origin, waiters)
        gate.open.set()
        waiters.wait("all others to have everything", lambda n: n["complete"] == FEW - 1)
        waiters.order("read", 0)
        self.assertEqual(waiters.ended()["complete"], FEW)
        self.stored(engine, origin, 1)

    def test_everybody_leaves_and_whoever_comes_next_is_served(self):
        gate = Gate()
        origin, engine, waiters = self.stage(gate, 20)
        self.led(origin, waiters)
        self.halves(waiters)
        for number in range(20):
            waiters.order("kill", number)
        gate.open.set()
        response = engine.get("/cold", headers=["Host: waiters"])
        self.assertEqual((response.status, response.complete), (200, True))
        self.assertTrue(response.body == content(), "other bytes")
        self.assertLessEqual(len(origin.requests), 2)

    # ---- Origins that break off ---------------------------------------------------------------------------------------

    def broken(self, **how):
        """The origin breaks off at half: nothing that is short may look whole, and the next gets it all."""
        gate = Gate(**how)
        gate.breaks = True
        origin, engine, waiters = self.stage(gate, FEW)
        self.led(origin, waiters)
        self.halves(waiters)
        gate.breaks = False
        gate.open.set()
        counts = waiters.ended()
        self.assertEqual((counts["short"], counts["wrong"]), (0, 0), counts)
        self.assertEqual(counts["complete"] + counts["cut"] + counts["failed"], FEW, counts)
        asked = len(origin.requests)
        self.assertLessEqual(asked, FEW + 1)
        response = engine.get("/cold", headers=["Host: waiters"])
        self.assertEqual((response.status, response.complete), (200, True))
        self.assertTrue(response.body == content(), "other bytes")

    def test_an_origin_that_breaks_off_leaves_no_short_answer_that_looks_whole(self):
        self.broken()

    def test_an_origin_that_breaks_off_in_chunks_leaves_no_short_answer_that_looks_whole(self):
        self.broken(chunked=True)

    def test_the_rest_of_what_broke_off_comes_by_another_request(self):
        """What came last before the break has not gone out yet: it goes first. A strong ETag says that the rest is of the same."""
        whole, half, more = content(1 << 20), 1 << 19, threading.Event()
        def script(exchange):
            first = len(origin.requests) == 1
            exchange.send(b'HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nETag: "same"\r\nContent-Length: %d\r\n\r\n' % len(whole) +
                          (whole[:half] if first else whole))
            if first:
                more.wait(PATIENCE)
                exchange.send(whole[half:half + 100_000])
            return False if first else None
        origin = self.origin(script)
        engine = self.weir(CONFIG % (origin.address, ""))
        clients = [engine.connect() for _ in range(8)]
        for client in clients:
            self.addCleanup(client.close)
            client.send(b"GET /cold HTTP/1.1\r\nHost: fast\r\n\r\n")
            client.head()
        for client in clients:
            self.assertEqual(client.exactly(half) == whole[:half], True)
        more.set()
        for client in clients:
            self.assertEqual(client.exactly(len(whole) - half) == whole[half:], True)
        self.assertEqual(len(origin.requests), 2, "one asks for the rest that all want")

    def test_a_crowd_that_read_what_broke_off_asks_for_the_rest_together(self):
        for chunked in (False, True):
            with self.subTest(chunked=chunked):
                gate = Gate('Cache-Control: max-age=60\r\nETag: "same"', chunked=chunked)
                gate.breaks = True
                origin, engine, waiters = self.stage(gate, FEW)
                self.led(origin, waiters)
                self.halves(waiters)
                gate.breaks = False
                gate.open.set()
                counts = waiters.ended()
                self.assertEqual((counts["short"], counts["wrong"]), (0, 0), counts)
                self.assertGreaterEqual(counts["complete"], FEW - 1, counts)
                self.assertLessEqual(len(origin.requests), 3)
                self.stored(engine, origin, len(origin.requests))

    def test_nobody_asks_for_the_rest_of_what_cannot_be_gone_on_with(self):
        gate = Gate()
        gate.breaks = True
        origin, _, waiters = self.stage(gate, FEW)
        self.led(origin, waiters)
        self.halves(waiters)
        gate.open.set()
        counts = waiters.ended()
        self.assertEqual((counts["complete"], counts["short"], counts["wrong"]), (0, 0, 0), counts)
        self.assertEqual(len(origin.requests), 1)

    def test_an_origin_that_hangs_up_before_its_answer_is_asked_again_by_few(self):
        whole = content(100_000)
        def script(exchange):
            if len(origin.requests) == 1:
                led.wait(PATIENCE)
                return False
            exchange.send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: %d\r\n\r\n" % len(whole) + whole)
            return None
        led = threading.Event()
        origin, engine, waiters = self.stage(script, FEW, length=len(whole))
        self.led(origin, waiters)
        waiters.wait("all to ask", lambda n: n["asked"] == FEW)
        led.set()
        ended = waiters.ended()
        self.assertEqual((ended["complete"], ended["failed"]), (FEW - 1, 1), "the one who asked is told so, and another asks")
        self.assertLessEqual(len(origin.requests), 5, "each went by itself")

    # ---- What may not be shared ---------------------------------------------------------------------------------------

    def test_an_answer_that_may_not_be_stored_makes_nobody_wait_for_another(self):
        """The first answer says it to all who wait; from then on they are at the origin at the same time, or this barrier breaks. (Who comes later is told by the worker's
        memory, and another worker has one of its own: one more answer would be waited for there.)"""
        barrier, led, whole = threading.Barrier(FEW - 1), threading.Event(), content(1000)
        def script(exchange):
            if len(origin.requests) == 1:
                led.wait(PATIENCE)
            else:
                barrier.wait(PATIENCE)
            exchange.send(b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: %d\r\n\r\n" % len(whole) + whole)
            return None
        origin, engine, waiters = self.stage(script, FEW, length=len(whole))
        waiters.go(0, 0)
        wait_for("the leader's request", lambda: len(origin.requests) == 1)
        waiters.go(1)
        wait_for("all to wait", lambda: engine.counter("in_flight") == FEW)
        led.set()
        self.assertEqual(waiters.ended()["complete"], FEW)
        self.assertEqual(len(origin.requests), FEW)


if __name__ == "__main__":
    unittest.main()
