"""Many clients at once lose no request: mixed load, reloads meanwhile, origins that die.

The ordinary run is short. WEIR_SOAK=1 makes it 10,000 clients for 60 s, which is what Weir promises.
"""
import os
import threading
import time
import unittest

from props import Crowd, Nginx, raise_descriptors, sanitized
from stage import Scene, wait_for

SOAK = os.environ.get("WEIR_SOAK") == "1"
CLIENTS = 10000 if SOAK else 2000
SECONDS = 60 if SOAK else 6
DESCRIPTORS = 65536

MIXED = ("get=/page,1024", "get=/big,100000", "post=/post,3000", "head=/page", "chunked=/post,20000", "two=/small,26", "get=/chunked,100000", "get=/page,1024",
         "close=/page,1024", "post=/post,0")


def tearDownModule():
    Crowd.remove()


class Load(Scene):
    def setUp(self):
        have = raise_descriptors(DESCRIPTORS)
        # A client costs a descriptor in the crowd, one in the engine, and while it is served one more there and one at an origin.
        self.clients = min(CLIENTS, (have - 500) // 3)

    def nginx(self, name="nginx"):
        nginx = Nginx(self.need("nginx"), name)
        self.addCleanup(nginx.stop)
        return nginx

    def engine(self, *origins, pool=""):
        return self.weir(self.config(*origins, pool=pool))

    def config(self, *origins, pool="", via="weir"):
        servers = ", ".join(origin.address for origin in origins)
        return (f"workers: 2\nvia: {via}\nroutes: [ {{ pool: app }} ]\npools:\n  app:\n    servers: [ {servers} ]\n"
                f"    timeouts: {{ first-byte: 60s }}\n{pool}\n")

    def nothing_lost(self, result, least):
        self.assertEqual(result["failures"], 0, result["first"][:10])
        self.assertGreater(result["requests"], least)

    def test_many_keep_alive_clients_with_mixed_requests_lose_nothing(self):
        engine = self.engine(self.nginx("one"), self.nginx("two"), self.nginx("three"))
        result = Crowd(self, engine.port, self.clients, SECONDS, *MIXED).result()
        self.nothing_lost(result, self.clients)
        status = engine.json("status")
        self.assertEqual((status["responses_5xx"], status["in_flight"], status["log_drops"]), (0, 0, 0))
        self.assertGreaterEqual(status["requests"], result["requests"])

    def test_a_reload_every_100_ms_loses_nothing_and_closes_no_connection(self):
        origins = [self.nginx("one"), self.nginx("two"), self.nginx("three")]
        engine = self.engine(*origins)
        # Each client pauses between its requests, so that connections also wait while a reload passes by. Nginx answers the large POST ahead of its
        # content, and an answer that overtakes the rest of it closes the client's connection, reload or not.
        crowd = Crowd(self, engine.port, self.clients, SECONDS, *[word for word in MIXED if not word.startswith(("close=", "chunked="))], pause_ms=50)
        reloads, turn = 0, 0
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            turn += 1
            engine.write(self.config(*origins[turn % 3:], *origins[:turn % 3], via=f"weir{turn % 2}", pool="    balance: least-load" if turn % 2 else ""))
            code, _, errors = engine.command("reload")
            self.assertEqual(code, 0, errors)
            reloads += 1
            time.sleep(0.1)
        result = crowd.result()
        self.nothing_lost(result, self.clients)
        self.assertEqual(result["connected"], self.clients, "a connection was closed")
        self.assertGreater(reloads, SECONDS)
        self.assertEqual(engine.json("status")["generation"], reloads + 1)

    def test_an_origin_killed_under_load_costs_nothing_after_its_mark(self):
        origins = [self.nginx(name) for name in ("one", "two", "three")]
        engine = self.engine(*origins, pool="    balance: round-robin\n    passive-health: { fail-after: 1, back-off: 60s }")
        clients = min(self.clients, 2000)
        crowd = Crowd(self, engine.port, clients, SECONDS, "get=/page,1024", "head=/page", "get=/big,100000", "two=/small,26")
        time.sleep(SECONDS / 3)
        origins[1].kill()
        killed_ms = (time.monotonic() - crowd.started) * 1000
        marked = []
        while not marked and time.monotonic() - crowd.started < SECONDS:
            marked = [s for s in engine.json("pools")["servers"] if s["state"] == "marked"]
        marked_ms = (time.monotonic() - crowd.started) * 1000
        self.assertTrue(marked, "the dead origin was never marked")
        result = crowd.result()
        late = [failure for failure in result["first"] if failure[0] > marked_ms]
        self.assertEqual(late, [], f"killed at {killed_ms:.0f} ms, marked by {marked_ms:.0f} ms, {result['failures']} failures")
        # Before the mark only answers that had begun to arrive may be cut: nothing can be done about those.
        self.assertLess(result["failures"], 100)
        self.assertEqual([failure for failure in result["first"] if failure[1] not in ("cut", "reset")], [])
        self.assertGreater(result["requests"], clients)

    def test_an_origin_that_comes_back_is_used_again(self):
        origins = [self.nginx(name) for name in ("one", "two")]
        engine = self.engine(*origins, pool="    balance: round-robin\n    passive-health: { fail-after: 1, back-off: 200ms, back-off-max: 400ms }")
        crowd = Crowd(self, engine.port, 200, 5, "get=/page,1024", pause_ms=5)
        time.sleep(1)
        port = origins[0].port
        origins[0].kill()
        time.sleep(1.5)
        again = Nginx(self.need("nginx"), "one", port=port)
        self.addCleanup(again.stop)
        time.sleep(0.5)
        before = engine.server(port)["requests"]
        result = crowd.result()
        self.assertGreater(engine.server(port)["requests"], before + 50)
        self.assertEqual([failure for failure in result["first"] if failure[1] not in ("cut", "reset")], [])

    def test_short_connections_lose_nothing(self):
        engine = self.engine(self.nginx())
        result = Crowd(self, engine.port, 100, max(3, SECONDS // 10), "close=/page,1024", "close=/big,100000").result()
        self.nothing_lost(result, 500)

    def test_origins_that_keep_nothing_lose_nothing(self):
        """Every request its own connection to the origin."""
        engine = self.engine(self.nginx(), pool="    keep-alive: { connections: 0 }")
        result = Crowd(self, engine.port, 50, 3, "get=/page,1024", "post=/post,2000").result()
        self.nothing_lost(result, 500)

    def test_a_small_pool_with_a_queue_serves_all_in_turn(self):
        nginx = self.nginx()
        engine = self.weir("workers: 2\nroutes: [ { pool: app } ]\npools:\n  app:\n"
                           f"    servers: [ {{ address: {nginx.address}, max-connections: 4 }} ]\n    queue: {{ max: 2000, wait: 60s }}\n")
        most, stop = [0], threading.Event()

        def look():
            while not stop.wait(0.05):
                most[0] = max(most[0], engine.server(nginx.port)["busy"])
        watcher = threading.Thread(target=look)
        watcher.start()
        result = Crowd(self, engine.port, 500, 4, "get=/page,1024", "two=/small,26").result()
        stop.set()
        watcher.join()
        self.nothing_lost(result, 500)
        self.assertLessEqual(most[0], 4)
        self.assertGreater(most[0], 0)


class Idle(Scene):
    def test_idle_clients_cost_little_and_all_still_work(self):
        have = raise_descriptors(DESCRIPTORS)
        clients = min(CLIENTS, have - 500)
        engine = self.weir("workers: 2\nroutes: [ { respond: { body: \"abcdefghijklmnopqrstuvwxyz\" } } ]\n")
        engine.get()
        before = engine.rss_kib()
        # All at once, a long pause in which what the burst took is given back, and all once more.
        crowd = Crowd(self, engine.port, clients, 14, "get=/,26", pause_ms=12000)
        wait_for("all to be connected", lambda: engine.counter("clients") == clients)
        most = 16384 if sanitized() else 4096  # AddressSanitizer's stacks for what was returned from count too, and grow with use
        wait_for(f"an idle client to cost less than {most} bytes", lambda: (engine.rss_kib() - before) * 1024 / clients < most)
        self.assertEqual(engine.counter("clients"), clients)
        self.assertEqual(crowd.result()["failures"], 0)


if __name__ == "__main__":
    unittest.main()
