"""Further attempts: retries by cause, their time and their budget, hedging; limits of a pool; the cookie that brings a client back."""
import collections
import os
import re
import tempfile
import threading
import time

from stage import Client, Scene, free_port, named, ok, wait_for

WORKERS = "workers: 2\n"
NEVER = "    passive-health: { fail-after: never }\n"
FREE = "    retry: { budget: none, causes: "  # with what follows: no budget stands in the way


def status(code, text=b"bad\n"):
    def script(exchange):
        exchange.body()
        exchange.send(b"HTTP/1.1 %d No\r\nContent-Length: %d\r\n\r\n" % (code, len(text)) + text)
    return script


def slow(seconds, name="slow"):
    def script(exchange):
        time.sleep(seconds)
        return named(name)(exchange)
    return script


class Pool(Scene):
    """A pool `app` over origins; seen[i] counts what reached the ith."""

    def pool(self, scripts, keys="", top="workers: 1\npin: false\n"):
        self.seen = [[] for _ in scripts]
        def watched(i, script):
            def run(exchange):
                self.seen[i].append(exchange.line)
                return script(exchange)
            return run
        origins = [self.origin(watched(i, script)) if callable(script) else None for i, script in enumerate(scripts)]
        addresses = [o.address if o else f"127.0.0.1:{free_port()}" for o in origins]
        self.origins, self.addresses = origins, addresses
        return self.weir(f"{top}routes: [ {{ pool: app }} ]\npools:\n  app:\n    balance: round-robin\n    servers: [ {', '.join(addresses)} ]\n{keys}")


class Causes(Pool):
    def test_a_status_among_the_causes_is_asked_elsewhere(self):
        engine = self.pool([status(503), named("well")], NEVER + FREE + "[ connect, closed, 503 ] }\n")
        for _ in range(10):
            self.assertEqual(engine.get().body, b"well")
        self.assertEqual(engine.counter("retries"), len(self.seen[0]))
        self.assertGreaterEqual(len(self.seen[0]), 5)

    def test_servers_that_start_slowly_are_asked_when_there_are_no_others(self):
        engine = self.pool([status(503), named("well")], NEVER + FREE + "[ 503 ] }\n    slow-start: 10m\n")
        for address in self.addresses:
            self.assertEqual(engine.command("drain", address)[0], 0)
            self.assertEqual(engine.command("undrain", address)[0], 0)
        self.assertEqual([engine.get().body for _ in range(30)], [b"well"] * 30)
        self.assertGreater(len(self.seen[0]), 0)

    def test_an_answer_that_is_not_passed_on_is_counted_at_its_server(self):
        engine = self.pool([status(503), named("well")], NEVER + FREE + "[ 503 ] }\n")
        for _ in range(6):
            engine.get()
        server = engine.server(self.addresses[0])
        self.assertEqual((server["responses"], server["status_5xx"]), (len(self.seen[0]), len(self.seen[0])))

    def test_a_status_that_is_none_of_them_is_passed_on(self):
        engine = self.pool([status(503), named("well")], NEVER + FREE + "[ connect, 502 ] }\n")
        self.assertEqual(sorted(engine.get().status for _ in range(10)), [200] * 5 + [503] * 5)

    def test_the_last_servers_answer_is_passed_on_as_it_is(self):
        engine = self.pool([status(503, b"one\n"), status(503, b"two\n")], NEVER + FREE + "[ 503 ] }\n")
        response = engine.get()
        self.assertEqual((response.status, response.body in (b"one\n", b"two\n")), (503, True))
        self.assertEqual((len(self.seen[0]), len(self.seen[1])), (1, 1))

    def test_a_post_is_not_asked_elsewhere_for_a_status(self):
        engine = self.pool([status(503), status(503)], NEVER + FREE + "[ connect, closed, 503 ] }\n")
        self.assertEqual(engine.get(method="POST", body=b"x").status, 503)
        self.assertEqual(sum(map(len, self.seen)), 1)

    def test_that_one_server_has_said_100_says_nothing_of_the_next(self):
        """What that one does not read must not stand before the next request."""
        def keen(exchange):
            exchange.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
            return False
        def blunt(exchange):
            exchange.more()
            exchange.buffer = b""
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nblunt")
        engine = self.pool([keen, blunt], NEVER + FREE + "[ 503 ] }\n")
        for _ in range(8):
            with engine.connect() as client:
                client.send_request(method="PUT", headers=["Expect: 100-continue", "Content-Length: 3"])
                time.sleep(0.05)
                client.send(b"abc")
                self.assertEqual(client.response().body, b"blunt")
        self.assertGreater(len(self.seen[0]), 0)
        self.assertEqual(len(self.origins[1].connections), len(self.seen[1]))

    def test_a_malformed_answer_is_asked_elsewhere_if_it_is_a_cause(self):
        nonsense = lambda e: e.send(b"HTTP/1.1 two hundred\r\n\r\n") or False
        engine = self.pool([nonsense, named("well")], NEVER + FREE + "[ malformed ] }\n")
        for _ in range(6):
            self.assertEqual(engine.get().body, b"well")

    def test_closed_is_left_alone_when_it_is_no_cause(self):
        engine = self.pool([lambda e: False, named("well")], NEVER + FREE + "[ connect ] }\n")
        self.assertEqual(sorted(engine.get().status for _ in range(6)), [200] * 3 + [502] * 3)

    def test_statuses_that_count_as_failures_mark_a_server(self):
        engine = self.pool([status(500), named("well")], "    passive-health: { fail-after: 3, back-off: 1m, status: 500-599 }\n")
        found = collections.Counter(engine.get().status for _ in range(40))
        self.assertEqual(found, {500: 3, 200: 37})
        server = engine.server(self.addresses[0])
        self.assertEqual((server["state"], server["last_failure"], server["status_failures"]), ("marked", "status", 3))


class PerTry(Pool):
    def test_an_attempt_that_takes_too_long_is_made_elsewhere(self):
        engine = self.pool([slow(3), named("quick")], NEVER + FREE + "[ connect, timeout ], per-try: 150ms }\n")
        for _ in range(4):
            self.assertEqual(engine.get().body, b"quick")
        self.assertEqual(engine.server(self.addresses[0])["timeouts"], len(self.seen[0]))
        self.assertGreaterEqual(len(self.seen[0]), 2)

    def test_the_last_attempt_has_all_the_time(self):
        engine = self.pool([slow(0.8, "one"), slow(0.8, "two")], NEVER + FREE + "[ timeout ], per-try: 100ms }\n")
        self.assertEqual(engine.get().status, 200)

    def test_alone_it_costs_nothing(self):
        engine = self.pool([slow(0.6, "one")], NEVER + FREE + "[ timeout ], per-try: 50ms }\n")
        self.assertEqual((engine.get().body, engine.server(self.addresses[0])["timeouts"]), (b"one", 0))

    def test_an_answer_that_has_begun_is_not_cut(self):
        def drips(exchange):
            exchange.body()
            exchange.send(b"HTTP/1.1 200 OK\r\n")
            time.sleep(0.5)
            exchange.send(b"Content-Length: 1\r\n\r\nx")
        engine = self.pool([drips, drips], NEVER + FREE + "[ timeout ], per-try: 200ms }\n")
        for _ in range(3):
            self.assertEqual(engine.get().body, b"x")
        self.assertEqual(sum(map(len, self.seen)), 3)

    def test_a_post_is_left_where_it_is(self):
        engine = self.pool([slow(0.6, "one"), slow(0.6, "two")], NEVER + FREE + "[ timeout ], per-try: 50ms }\n")
        self.assertEqual(engine.get(method="POST", body=b"x").status, 200)
        self.assertEqual(sum(map(len, self.seen)), 1)

    def test_it_asks_for_the_cause(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "weir.yaml")
            with open(path, "w") as file:
                file.write("listeners: [ { address: 127.0.0.1:1 } ]\nroutes: [ { pool: a } ]\npools: { a: { servers: 127.0.0.1:2, retry: { per-try: 1s } } }\n")
            code, out, err = self.before(self.origin(ok)).command("check", "-c", path)
        self.assertEqual(code, 3)
        self.assertIn("'timeout' is not among the causes", out + err)


class Total(Pool):
    """timeouts: total is the end, whatever else could be tried."""

    def test_nobody_else_is_asked(self):
        engine = self.pool([slow(2, "a"), slow(2, "b")], NEVER + FREE + "[ timeout ] }\n    timeouts: { total: 300ms }\n")
        self.assertEqual(engine.get().status, 504)
        self.assertEqual(sum(map(len, self.seen)), 1)
        self.assertEqual(engine.counter("retries"), 0)

    def test_a_hedge_ends_with_it(self):
        engine = self.pool([named("a"), named("b")], NEVER + "    hedge: { percentile: 90, after: 30ms }\n    retry: { budget: none }\n    timeouts: { total: 400ms }\n")
        with engine.connect() as client:
            for _ in range(120):
                client.send_request()
                self.assertEqual(client.response().status, 200)
        before = engine.counter("hedges")
        for origin in self.origins:
            origin.script = slow(3)
        self.assertEqual(engine.get().status, 504)
        self.assertEqual(engine.counter("hedges"), before + 1)
        self.assertEqual([engine.server(a)["busy"] for a in self.addresses], [0, 0])


class Budget(Pool):
    def test_retries_stay_within_their_share(self):
        engine = self.pool([status(503), status(503)], NEVER + "    retry: { causes: [ 503 ], budget: 10%, budget-least: 1 }\n")
        with engine.connect() as client:
            for _ in range(300):
                client.send_request()
                self.assertEqual(client.response().status, 503)
        sent = sum(map(len, self.seen))
        self.assertEqual(sent, 300 + engine.counter("retries"))
        self.assertLessEqual(engine.counter("retries"), 30 + 20)  # the share, and one a second in two windows at most twice
        self.assertGreaterEqual(engine.counter("retries"), 30)
        self.assertEqual(engine.counter("retries") + engine.counter("retries_over_budget"), 300)

    def test_a_reload_does_not_fill_it_again(self):
        keys = NEVER + "    retry: { causes: [ 503 ], budget: 1%, budget-least: 1 }\n"
        engine = self.pool([status(503), status(503)], keys)
        for _ in range(40):
            engine.get()
            self.assertEqual(engine.command("reload")[0], 0)
        self.assertLessEqual(engine.counter("retries"), 21)

    def test_retries_at_once_are_limited_for_the_process(self):
        held = threading.Event()
        def wait(exchange):
            held.wait(20)
            return named("late")(exchange)
        engine = self.pool([None, wait], NEVER + FREE + "[ connect ] }\n    limits: { retries: 3 }\n", top=WORKERS)
        clients = [engine.connect() for _ in range(40)]
        for client in clients:
            client.send_request()
        wait_for("all to be decided", lambda: engine.counter("in_flight") + engine.counter("retries_limited") >= 40 and engine.counter("origin_connect") == engine.counter("retries_limited"))
        retried, refused = engine.counter("retries"), engine.counter("retries_limited")
        held.set()
        found = collections.Counter(client.response().status for client in clients)
        for client in clients:
            client.close()
        self.assertEqual((retried, found[502]), (3, refused))


class Hedging(Pool):
    def warm(self, engine, n=120):
        with engine.connect() as client:
            for _ in range(n):
                client.send_request()
                self.assertEqual(client.response().status, 200)

    def moody(self, name):
        """Quick, until self.mood has its name."""
        def script(exchange):
            if self.mood == name:
                time.sleep(1.5)
            return named(name)(exchange)
        return script

    def test_a_late_server_is_not_waited_for(self):
        self.mood = None
        engine = self.pool([self.moody("a"), self.moody("b")], NEVER + "    hedge: { percentile: 90, after: 30ms }\n    retry: { budget: none }\n")
        self.warm(engine)
        before = engine.counter("hedges")
        self.mood = "a"
        for _ in range(6):
            self.assertEqual(engine.get().body, b"b")
        self.assertGreaterEqual(engine.counter("hedges") - before, 3)
        self.assertGreaterEqual(engine.counter("hedges_won"), 3)
        self.assertGreaterEqual(engine.server(self.addresses[1])["hedges"], 3)
        self.assertEqual([engine.server(a)["busy"] for a in self.addresses], [0, 0])

    def test_the_first_may_still_win(self):
        self.mood = None
        engine = self.pool([self.moody("a"), self.moody("b")], NEVER + "    hedge: { percentile: 90, after: 30ms }\n    retry: { budget: none }\n")
        self.warm(engine)
        def both(exchange):
            time.sleep(0.4)
            return named("late")(exchange)
        for origin in self.origins:
            origin.script = both
        self.assertEqual(engine.get().body, b"late")
        self.assertEqual([engine.server(a)["busy"] for a in self.addresses], [0, 0])

    def test_what_has_content_or_is_not_idempotent_is_asked_once(self):
        self.mood = None
        engine = self.pool([self.moody("a"), self.moody("b")], NEVER + "    hedge: { percentile: 90, after: 30ms }\n    retry: { budget: none }\n")
        self.warm(engine)
        before = engine.counter("hedges")
        for origin in self.origins:
            origin.script = slow(0.3)
        for method, body in (("POST", b""), ("POST", b"x"), ("PUT", b"x")):
            self.assertEqual(engine.get(method=method, body=body).status, 200)
        self.assertEqual(engine.counter("hedges"), before)

    def test_the_second_takes_over_when_the_first_dies(self):
        self.mood = None
        engine = self.pool([self.moody("a"), self.moody("b")], NEVER + "    hedge: { percentile: 90, after: 30ms }\n    retry: { budget: none }\n    retries: 1\n")
        self.warm(engine)
        def dies(exchange):
            exchange.body()
            time.sleep(0.2)
            exchange.reset()
            return False
        self.origins[0].script, self.origins[1].script = dies, slow(0.5, "saved")
        for _ in range(4):
            self.assertEqual(engine.get().body, b"saved")

    def test_the_second_may_die_too(self):
        self.mood = None
        engine = self.pool([self.moody("a"), self.moody("b")], NEVER + "    hedge: { percentile: 90, after: 30ms }\n    retry: { budget: none }\n")
        self.warm(engine)
        self.origins[0].script, self.origins[1].script = slow(0.5, "first"), (lambda e: e.reset() or False)
        found = collections.Counter(engine.get().body for _ in range(4))
        self.assertEqual(found, {b"first": 4})

    def test_a_second_that_fails_does_not_cost_the_first_its_new_connection(self):
        """The kept connection to the first turns out stale: it is asked again on a new one, as it would be without hedges."""
        self.mood = None
        engine = self.pool([self.moody("a"), self.moody("b")], NEVER + "    hedge: { percentile: 90, after: 30ms }\n    retry: { budget: none }\n    retries: 1\n")
        self.warm(engine)
        self.origins[1].stop()
        wait_for("its connections to be gone", lambda: engine.server(self.addresses[1])["idle"] == 0)
        def tired(exchange):
            if exchange.record.count(b"GET ") > 1:
                time.sleep(0.3)
                return False
            return named("a")(exchange)
        self.origins[0].script = tired
        before = engine.counter("hedges")
        for _ in range(4):
            clients = [engine.connect() for _ in range(2)]  # in turn, so one of them begins at the first
            for client in clients:
                client.send_request()
            self.assertEqual([client.response().body for client in clients], [b"a", b"a"])
            for client in clients:
                client.close()
        self.assertGreater(engine.counter("hedges"), before)

    def test_they_stay_within_the_budget(self):
        self.mood = None
        engine = self.pool([self.moody("a"), self.moody("b")], NEVER + "    hedge: { percentile: 50, after: 1ms }\n    retry: { budget: 5%, budget-least: 0 }\n")
        for origin in self.origins:
            origin.script = slow(0.004)
        self.warm(engine, 400)
        self.assertLessEqual(engine.counter("hedges"), 20)


class Limits(Pool):
    def peak(self, keys, clients=60, requests=20):
        """How many requests were at the origins at once, at most, over two workers; everybody was answered."""
        lock, now, most = threading.Lock(), [0], [0]
        def count(exchange):
            with lock:
                now[0] += 1
                most[0] = max(most[0], now[0])
            time.sleep(0.004)
            with lock:
                now[0] -= 1
            return ok(exchange)
        engine = self.pool([count, count], keys, top=WORKERS)
        statuses = collections.Counter()
        def run():
            with engine.connect(timeout=60) as client:
                for _ in range(requests):
                    client.send_request()
                    code = client.response().status
                    with lock:
                        statuses[code] += 1
        threads = [threading.Thread(target=run) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return engine, most[0], statuses

    def test_requests_at_once_hold_for_the_process(self):
        engine, most, statuses = self.peak("    limits: { requests: 5 }\n    queue: { max: 1000, wait: 60s }\n")
        self.assertEqual(statuses, {200: 1200})
        self.assertLessEqual(most, 5)

    def test_connections_at_once_hold_for_the_process(self):
        engine, most, statuses = self.peak("    limits: { connections: 4 }\n    queue: { max: 1000, wait: 60s }\n")
        self.assertEqual(statuses, {200: 1200})
        self.assertLessEqual(most, 4)
        self.assertLessEqual(sum(engine.server(a)["open"] for a in self.addresses), 4)

    def test_without_a_queue_the_rest_is_refused_at_once(self):
        engine, most, statuses = self.peak("    limits: { requests: 5 }\n    queue: { max: 0 }\n")
        self.assertEqual(set(statuses), {200, 503})
        self.assertLessEqual(most, 5)
        self.assertEqual(statuses[503], engine.counter("pool_full"))

    def test_a_retry_does_not_wait_for_those_who_wait_for_it(self):
        engine = self.pool([status(503), named("well")], NEVER + FREE + "[ 503 ] }\n    limits: { requests: 1 }\n    queue: { wait: 30s }\n")
        clients = [engine.connect() for _ in range(12)]
        for client in clients:
            client.send_request()
        for client in clients:
            self.assertEqual(client.response().body, b"well")
            client.close()

    def test_who_waits_for_servers_that_a_reload_took_away_holds_nobody_up(self):
        held = threading.Event()
        self.addCleanup(held.set)
        def wait(exchange):
            held.wait(20)
            return named("old")(exchange)
        old, new = self.origin(wait), self.origin(named("new"))
        text = "workers: 1\npin: false\nroutes: [ { pool: app } ]\npools:\n  app:\n    servers: [ { address: %s, max-connections: 1 } ]\n    queue: { wait: 60s }\n"
        engine = self.weir(text % old.address)
        before = [engine.connect(30) for _ in range(3)]
        for client in before:
            client.send_request()
        wait_for("two to wait", lambda: engine.counter("queued") == 2)
        engine.write(text % new.address)
        self.assertEqual(engine.command("reload")[0], 0)
        after = [engine.connect(30) for _ in range(6)]
        for client in after:
            client.send_request()
        self.assertEqual([client.response().body for client in after], [b"new"] * 6)
        self.assertEqual(engine.counter("queued"), 2)
        held.set()
        self.assertEqual([client.response().body for client in before], [b"old"] * 3)
        for client in before + after:
            client.close()

    def test_a_client_with_much_in_the_queue_makes_room_for_others(self):
        held = threading.Event()
        def wait(exchange):
            held.wait(20)
            return ok(exchange)
        engine = self.weir(f"workers: 1\npin: false\ntrusted-proxies: [ 127.0.0.0/8 ]\nroutes: [ {{ pool: app }} ]\npools:\n  app:\n    servers: [ {self.origin(wait).address} ]\n"
                           "    limits: { requests: 1 }\n    queue: { max: 8, wait: 60s }\n")
        def client(address):
            made = Client(engine.port, source=address)
            self.addCleanup(made.close)
            return made
        greedy = []
        for _ in range(9):
            greedy.append(client("127.0.0.1"))
            greedy[-1].send_request()
        wait_for("the queue to be full", lambda: engine.counter("queued") == 8)
        modest = client("127.0.0.2")
        modest.send_request()
        wait_for("one to be shed", lambda: engine.counter("queue_sheds") == 1)
        late = client("127.0.0.1")
        late.send_request()
        self.assertEqual(late.response().status, 503)
        held.set()
        self.assertEqual(modest.response().status, 200)
        self.assertEqual(collections.Counter(c.response().status for c in greedy), {200: 8, 503: 1})


class Sticky(Pool):
    keys = "    sticky: { cookie: edge }\n"

    def cookie(self, response):
        found = re.match(r"edge=([0-9a-f]{16}); Path=/; HttpOnly; SameSite=Lax$", response.field("Set-Cookie") or "")
        return found and found[1]

    def test_a_client_comes_back_to_its_server_on_every_worker(self):
        engine = self.pool([named(n) for n in "abc"], self.keys, top=WORKERS)
        for _ in range(6):
            first = engine.get()
            cookie = self.cookie(first)
            self.assertTrue(cookie)
            for _ in range(8):
                again = engine.get(headers=["Cookie: x=1; edge=" + cookie])
                self.assertEqual((again.body, again.field("Set-Cookie")), (first.body, None))

    def test_it_falls_over_when_the_server_is_gone_and_says_so(self):
        engine = self.pool([named(n) for n in "ab"], self.keys)
        first = engine.get()
        cookie = self.cookie(first)
        gone = self.addresses["ab".index(first.body.decode())]
        self.assertEqual(engine.command("drain", gone)[0], 0)
        other = engine.get(headers=["Cookie: edge=" + cookie])
        self.assertNotEqual(other.body, first.body)
        self.assertNotEqual(self.cookie(other), cookie)
        self.assertEqual(engine.get(headers=["Cookie: edge=" + self.cookie(other)]).body, other.body)

    def test_cookies_that_nobody_gave_are_as_good_as_none(self):
        engine = self.pool([named(n) for n in "ab"], self.keys)
        for value in ("", "0" * 16, "f" * 16, "F" * 16, "x" * 16, "1" * 15, "1" * 17, "../../etc", "%00", "\"\""):
            response = engine.get(headers=["Cookie: edge=" + value])
            self.assertEqual((response.status, bool(self.cookie(response))), (200, True), value)

    def test_a_secret_of_a_file_is_good_for_another_engine(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "secret")
            with open(path, "w") as file:
                file.write("sixteen bytes or more of secret")
            os.chmod(path, 0o600)
            origins = [self.origin(named(n)) for n in "abc"]
            text = ("workers: 1\npin: false\nroutes: [ { pool: app } ]\npools:\n  app:\n    servers: [ %s ]\n    sticky: { cookie: edge, secret: %s, max-age: 1h }\n"
                    % (", ".join(o.address for o in origins), path))
            one, two = self.weir(text), self.weir(text)
            first = one.get()
            cookie = re.match(r"edge=([0-9a-f]{16}); .*Max-Age=3600$", first.field("Set-Cookie"))[1]
            for _ in range(6):
                self.assertEqual(two.get(headers=["Cookie: edge=" + cookie]).body, first.body)
            with open(path, "w") as file:
                file.write("short")
            code, out, err = one.command("reload")
            self.assertEqual(code, 1)
            self.assertIn("16 bytes are the least", out + err)
            self.assertEqual(one.get(headers=["Cookie: edge=" + cookie]).body, first.body)
