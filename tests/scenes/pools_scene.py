"""Balancing, retries, health, queues: what becomes of a request when an origin is not as it should be."""
import collections
import os
import tempfile
import threading
import time
import unittest

from stage import Scene, free_port, named, ok, raw, wait_for

ONE_WORKER = "workers: 1\npin: false"


class Balancing(Scene):
    def counts(self, engine, n=60, headers=lambda i: (), path=lambda i: "/"):
        found = collections.Counter()
        with engine.connect() as client:
            for i in range(n):
                client.send_request(path(i), headers=list(headers(i)))
                found[client.response().body.decode()] += 1
        return found

    def three(self, pool="", weights=(1, 1, 1)):
        origins = [self.origin(named(n)) for n in "abc"]
        servers = ", ".join(f'{{ address: "{o.address}", weight: {w} }}' for o, w in zip(origins, weights))
        return self.weir(f"{ONE_WORKER}\nroutes: [ {{ pool: app }} ]\npools:\n  app:\n    servers: [ {servers} ]\n{pool}\n")

    def test_round_robin_takes_turns(self):
        self.assertEqual(self.counts(self.three("    balance: round-robin")), {"a": 20, "b": 20, "c": 20})

    def test_weights_hold(self):
        self.assertEqual(self.counts(self.three("    balance: round-robin", (1, 2, 3))), {"a": 10, "b": 20, "c": 30})

    def test_least_load_and_two_choices_reach_all(self):
        for policy in ("least-load", "two-choices"):
            self.assertEqual(len(self.counts(self.three(f"    balance: {policy}"))), 3)

    def test_consistent_hash_keeps_a_key_on_its_server(self):
        engine = self.three("    balance: consistent-hash\n    hash-key: uri")
        for i in range(20):
            self.assertEqual(len(self.counts(engine, 5, path=lambda _: f"/key/{i}")), 1)
        self.assertEqual(len(self.counts(engine, 60, path=lambda n: f"/key/{n}")), 3)

    def test_consistent_hash_by_header_and_cookie(self):
        engine = self.three("    balance: consistent-hash\n    hash-key: header:X-User")
        self.assertEqual(len(self.counts(engine, 10, headers=lambda i: ["X-User: ann"])), 1)
        engine = self.three("    balance: consistent-hash\n    hash-key: cookie:id")
        self.assertEqual(len(self.counts(engine, 10, headers=lambda i: [f"Cookie: n={i}; id=7"])), 1)

    def test_a_drained_server_gets_nothing_and_comes_back(self):
        engine = self.three("    balance: round-robin")
        address = engine.json("pools")["servers"][0]["address"]
        self.assertEqual(engine.command("drain", address)[0], 0)
        self.assertEqual(len(self.counts(engine)), 2)
        self.assertEqual(engine.server(address)["state"], "drained")
        self.assertEqual(engine.command("undrain", "app/" + address)[0], 0)
        self.assertEqual(len(self.counts(engine)), 3)
        self.assertEqual(engine.command("drain", "10.9.9.9:1")[0], 1)

    def test_backups_and_far_zones_stand_by_until_they_are_needed(self):
        near, far, backup = (self.origin(named(n)) for n in ("near", "far", "backup"))
        engine = self.weir(f"zone: north\n{ONE_WORKER}\nroutes: [ {{ pool: app }} ]\npools:\n  app:\n    servers:\n"
                           f'      - {{ address: "{backup.address}", backup: true }}\n'
                           f'      - {{ address: "{far.address}", zone: south }}\n      - {{ address: "{near.address}", zone: north }}\n')
        for name, origin in (("near", near), ("far", far), ("backup", backup)):
            # workers look at a tier ten times a second; until then it hands on what it cannot take
            self.assertEqual(self.counts(engine, 20), {name: 20})
            self.assertEqual(engine.command("drain", "app/" + origin.address)[0], 0)
        self.assertEqual(engine.get().status, 503)
        self.assertEqual(engine.command("undrain", "app/" + near.address)[0], 0)
        wait_for("the near one to be used again", lambda: engine.get().body == b"near")

    def test_unix_origins(self):
        with tempfile.TemporaryDirectory() as folder:
            origin = self.origin(named("unix"), path=os.path.join(folder, "o.sock"))
            self.assertEqual(self.before(origin).get().body, b"unix")


class Failing(Scene):
    def test_a_refused_connection_is_retried_elsewhere_and_marked(self):
        origin = self.origin(named("well"))
        engine = self.weir(f"{ONE_WORKER}\nroutes: [ {{ pool: app }} ]\npools:\n  app:\n    balance: round-robin\n"
                           f"    servers: [ 127.0.0.1:{free_port()}, {origin.address} ]\n    passive-health: {{ fail-after: 2, back-off: 30s }}\n")
        for _ in range(10):
            self.assertEqual(engine.get(method="POST", body=b"x").body, b"well")
        dead = engine.json("pools")["servers"][0]
        self.assertEqual((dead["state"], dead["last_failure"], dead["connect_failures"]), ("marked", "connect", 2))

    def test_a_stale_kept_connection_costs_no_request(self):
        def script(exchange):
            ok(exchange)
            return False
        engine = self.before(self.origin(script))
        with engine.connect() as client:
            for _ in range(20):
                client.send_request()
                self.assertEqual(client.response().status, 200)

    def test_an_origin_that_closes_without_an_answer(self):
        seen = []
        def script(exchange):
            exchange.body()
            seen.append(exchange.line)
            return exchange.reset()
        engine = self.before(self.origin(script), pool="    passive-health: { fail-after: never }\n    retries: 0")
        self.assertEqual(engine.get("/get").status, 502)
        self.assertEqual(engine.get("/post", "POST", body=b"x").status, 502)
        self.assertEqual(seen.count("POST /post HTTP/1.1"), 1)
        self.assertGreater(engine.counter("origin_closed"), 0)

    def test_posts_are_not_sent_twice_but_gets_are(self):
        seen = []
        def script(exchange):
            exchange.body()
            seen.append(exchange.line)
            return False
        origins = [self.origin(script), self.origin(script)]
        engine = self.before(*origins, pool="    passive-health: { fail-after: never }")
        self.assertEqual(engine.get("/p", "POST", body=b"x").status, 502)
        self.assertEqual(len(seen), 1)
        self.assertEqual(engine.get("/g").status, 502)
        self.assertEqual(seen.count("GET /g HTTP/1.1"), 2)

    def test_silence_is_a_504(self):
        engine = self.before(self.origin(lambda e: time.sleep(1) or False), pool="    timeouts: { first-byte: 200ms }\n    retries: 0")
        response = engine.get()
        self.assertEqual((response.status, engine.counter("origin_timeout")), (504, 1))

    def test_silence_in_the_middle_cuts_the_response(self):
        def script(exchange):
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
            time.sleep(1)
        engine = self.before(self.origin(script), pool="    timeouts: { between: 200ms }")
        with self.assertRaises((OSError, AssertionError)):
            assert engine.get().complete

    def test_the_total_timeout_holds(self):
        def script(exchange):
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            for _ in range(100):
                exchange.send(b"x")
                time.sleep(0.05)
        engine = self.before(self.origin(script), pool="    timeouts: { total: 300ms }")
        with self.assertRaises((OSError, AssertionError)):
            assert engine.get().complete

    def test_a_marked_server_comes_back(self):
        port = free_port()
        engine = self.weir(f"{ONE_WORKER}\nroutes: [ {{ pool: app }} ]\npools:\n  app:\n    servers: [ 127.0.0.1:{port} ]\n"
                           "    passive-health: { fail-after: 1, back-off: 100ms, back-off-max: 200ms }\n")
        self.assertEqual(engine.get().status, 502)
        origin = self.origin(named("back"), port=port)
        wait_for("the server to be tried again", lambda: engine.get().status == 200)
        self.assertEqual(engine.server(port)["state"], "up")

    def test_active_checks_take_a_server_out_and_back(self):
        well = {"is": True}
        def script(exchange):
            if exchange.path == "/healthz" and not well["is"]:
                exchange.send(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
                return None
            return ok(exchange)
        engine = self.before(self.origin(script), pool="    health: { path: /healthz, interval: 100ms, rise: 2, fall: 2 }")
        port = engine.json("pools")["servers"][0]["address"]
        wait_for("the first check", lambda: engine.server(port)["checked"] == "up")
        well["is"] = False
        wait_for("down", lambda: engine.server(port)["state"] == "down")
        self.assertEqual(engine.get().status, 503)
        well["is"] = True
        wait_for("up", lambda: engine.server(port)["state"] == "up")
        self.assertEqual(engine.get().status, 200)

    def test_a_name_that_does_not_resolve_stops_nothing(self):
        engine = self.weir("routes: [ { match: { path: /x }, respond: { status: 200, body: x } }, { pool: app } ]\n"
                           "pools: { app: { servers: [ \"does-not-exist.invalid:80\" ] } }\n")
        self.assertEqual(engine.get("/x").status, 200)
        self.assertEqual(engine.get("/").status, 503)
        self.assertEqual(engine.json("pools")["servers"][0]["state"], "down")


class Ejecting(Scene):
    LIMITS = "interval: 300ms, min-requests: 5, min-servers: 3"

    def pool(self, origins, keys, servers=None):
        servers = servers or ", ".join(f'"{o.address}"' for o in origins)
        return self.weir(f"workers: 2\npin: false\nroutes: [ {{ pool: app }} ]\npools:\n  app:\n    balance: round-robin\n"
                         f"    servers: [ {servers} ]\n{keys}\n")

    def until_marked(self, engine, origin, why):
        def marked():
            for _ in range(30):
                engine.get()
            found = engine.server(origin.port)
            return found["state"] in ("marked", "trial") and found["last_failure"] == why
        wait_for(f"a mark for its {why}", marked)

    def test_one_that_fails_more_than_the_others_is_marked_for_its_success_rate(self):
        count = [0]
        def poor(exchange):
            count[0] += 1
            if count[0] % 2 == 0:
                return ok(exchange)
            exchange.send(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
        origins = [self.origin(poor)] + [self.origin(named(n)) for n in "bcdefg"]
        engine = self.pool(origins, f"    passive-health: {{ back-off: 30s, success-rate: {{}}, {self.LIMITS} }}")
        self.until_marked(engine, origins[0], "success-rate")
        server = engine.server(origins[0].port)
        self.assertEqual((server["marks"], server["marks_success_rate"], server["marks_latency"]), (1, 1, 0))
        before = count[0]
        for _ in range(30):
            self.assertEqual(engine.get().status, 200)
        self.assertEqual(count[0], before, "its successes in between do not bring it back")
        self.assertIn("marked: success-rate", engine.command("pools")[1])

    def test_one_that_is_slower_than_the_others_is_marked_for_its_latency(self):
        def slow(exchange):
            time.sleep(0.03)
            return ok(exchange)
        origins = [self.origin(slow)] + [self.origin(named(n)) for n in "bcd"]
        engine = self.pool(origins, f"    passive-health: {{ back-off: 30s, latency: {{ above: 2, least: 5ms }}, {self.LIMITS} }}")
        self.until_marked(engine, origins[0], "latency")

    def test_only_as_many_are_marked_as_max_ejected_says(self):
        well = self.origin(named("well"))
        dead = [f"127.0.0.1:{free_port()}" for _ in range(3)]
        engine = self.pool([], "    passive-health: { fail-after: 1, back-off: 30s, max-ejected: 50% }\n    retries: 3",
                           ", ".join(f'"{a}"' for a in [well.address] + dead))
        for _ in range(60):
            self.assertEqual(engine.get().body, b"well")
        servers = engine.json("pools")["servers"]
        self.assertEqual(sum(s["state"] == "marked" for s in servers), 2)
        self.assertGreater(sum(s["marks_spared"] for s in servers), 0)

    def test_in_a_panic_checks_are_ignored_and_it_is_told_when_it_ends(self):
        well = {"is": False}
        def script(exchange):
            if exchange.path == "/healthz" and not well["is"]:
                exchange.send(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
                return None
            return ok(exchange)
        origins = [self.origin(script) for _ in range(3)]
        engine = self.pool(origins, "    panic-threshold: 50%\n    health: { path: /healthz, interval: 100ms, rise: 1, fall: 1 }")
        wait_for("all to be down", lambda: all(s["state"] == "down" for s in engine.json("pools")["servers"]))
        for _ in range(20):
            self.assertEqual(engine.get().status, 200)
        self.assertGreater(engine.counter("panic_picks"), 0)
        wait_for("the log to say so", lambda: engine.log().count("marks and checks are ignored") == 1)
        well["is"] = True
        wait_for("the log to say that it is over", lambda: engine.get() and "enough servers are well again" in engine.log())

    def test_a_server_that_comes_back_starts_slowly(self):
        origins = [self.origin(named(n)) for n in "ab"]
        engine = self.pool(origins, "    slow-start: 1h")
        name = "app/" + origins[0].address
        self.assertEqual(engine.command("drain", name)[0], 0)
        self.assertEqual(engine.command("undrain", name)[0], 0)
        found = [engine.get().body for _ in range(200)]
        self.assertLess(found.count(b"a"), 60)
        self.assertEqual(engine.command("drain", "app/" + origins[1].address)[0], 0)
        self.assertEqual(engine.get().body, b"a", "nobody else can")


    def test_a_server_that_a_reload_adds_starts_slowly_and_again_when_it_returns(self):
        old, new = self.origin(named("old")), self.origin(named("new"))
        config = (f"{ONE_WORKER}\nroutes: [ {{ pool: app }} ]\npools:\n  app:\n    slow-start: 4s\n    balance: round-robin\n"
                  f"    servers: [ {old.address} ]\n")
        both = config.replace(old.address, f"{old.address}, {new.address}")
        engine = self.weir(config)
        self.assertEqual(engine.get().body, b"old")
        def reload(text):
            engine.write(text)
            self.assertEqual(engine.command("reload")[0], 0)
        def shares():
            with engine.connect() as client:
                found = collections.Counter()
                for _ in range(100):
                    client.send_request()
                    found[client.response().body.decode()] += 1
                return found["new"]
        reload(both)
        self.assertLess(shares(), 45)
        wait_for("its whole share", lambda: shares() >= 48)
        reload(config)
        reload(both)
        self.assertLess(shares(), 45)
        reload(both + "    retries: 1\n")
        wait_for("its whole share, whatever is reloaded", lambda: shares() >= 48)


class Full(Scene):
    def test_the_total_timeout_holds_in_the_queue_too(self):
        """The place is held by a request that began before the reload that brought the timeout."""
        release = threading.Event()
        origin = self.origin(lambda exchange: (release.wait(20), ok(exchange))[1])
        config = (f"{ONE_WORKER}\nroutes: [ {{ pool: app }} ]\npools:\n  app:\n"
                  f"    servers: [ {{ address: {origin.address}, max-connections: 1 }} ]\n    queue: {{ wait: 15s }}\n")
        engine = self.weir(config)
        with engine.connect() as first, engine.connect() as second:
            first.send_request()
            wait_for("the place to be taken", lambda: engine.server(origin.port)["busy"] == 1)
            engine.write(config + "    timeouts: { total: 1s }\n")
            self.assertEqual(engine.command("reload")[0], 0)
            second.send_request()
            self.assertEqual(second.response().status, 503)
            self.assertFalse(release.is_set())
            release.set()
            self.assertEqual(first.response().status, 200)

    def test_max_connections_is_exact_over_two_workers_and_the_rest_waits(self):
        now, most, lock = [0], [0], threading.Lock()
        def script(exchange):
            with lock:
                now[0] += 1
                most[0] = max(most[0], now[0])
            time.sleep(0.05)
            with lock:
                now[0] -= 1
            return ok(exchange)
        origin = self.origin(script)
        engine = self.weir(f"workers: 2\npin: false\nroutes: [ {{ pool: app }} ]\npools:\n  app:\n"
                           f"    servers: [ {{ address: {origin.address}, max-connections: 3 }} ]\n    queue: {{ max: 100, wait: 20s }}\n")
        statuses = []
        def client():
            statuses.append(engine.get().status)
        threads = [threading.Thread(target=client) for _ in range(40)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        self.assertEqual((statuses, most[0]), ([200] * 40, 3))

    def test_a_full_queue_and_a_long_wait_are_503(self):
        origin = self.origin(lambda e: time.sleep(1.5) or False)
        engine = self.weir(f"{ONE_WORKER}\nroutes: [ {{ pool: app }} ]\npools:\n  app:\n"
                           f"    servers: [ {{ address: {origin.address}, max-connections: 1 }} ]\n    queue: {{ max: 1, wait: 300ms }}\n")
        with engine.connect() as first, engine.connect() as second:
            first.send_request()
            wait_for("the first to be there", lambda: len(origin.requests) == 1)
            second.send_request()
            wait_for("the second to wait", lambda: engine.counter("queued") == 1)
            self.assertEqual(engine.get().status, 503)
            self.assertEqual(second.response().status, 503)
            self.assertEqual((engine.counter("pool_full"), engine.counter("queue_timeouts")), (1, 1))


if __name__ == "__main__":
    unittest.main()
