"""Three origins, a steady load, and one origin that fails in every way there is: how many clients notice.

Each test says in its first line what clients may see and asserts the number. "Detected" is when `weir pools` says so; a request counts
as late when it was begun after that. Counts follow from the rules and not from speed: a server is marked with its `fail-after`th
failure in a row, and whatever else fails there was in flight at that moment, at most one request of each client.
"""
import collections
import os
import signal
import threading
import time
import unittest

from dns import DnsServer
from props import Nginx
from stage import SLOW, Client, Scene, free_port, ok, wait_for

CLIENTS = 12
FAIL_AFTER = 3
# The mark does not run out while a test looks: no trial request is let through.
MARKED = f"    balance: round-robin\n    passive-health: {{ fail-after: {FAIL_AFTER}, back-off: 60s, back-off-max: 60s }}"
# It does, and soon.
BRIEFLY = f"    balance: round-robin\n    passive-health: {{ fail-after: {FAIL_AFTER}, back-off: 300ms, back-off-max: 600ms }}"

Outcome = collections.namedtuple("Outcome", "begun what by request")


class Load:
    """Clients on kept connections, one request at a time each. Every outcome is kept: "200", "504"..., "cut" (an answer that ends too
    early), "lost" (no answer at all) or "wrong" (an answer that is not the one expected)."""

    def __init__(self, scene, port, path="/named", method="GET", body=b"", clients=CLIENTS, pause=0.002, expected=None):
        self.port, self.path, self.method, self.body, self.pause, self.expected = port, path, method, body, pause, expected
        self.outcomes, self.stopping = [], threading.Event()
        self.threads = [threading.Thread(target=self.client, args=(n,), daemon=True) for n in range(clients)]
        scene.addCleanup(self.stop)
        [t.start() for t in self.threads]

    def client(self, number):
        connection, turn = None, 0
        while not self.stopping.is_set():
            turn += 1
            request = f"{number}-{turn}"
            begun = time.monotonic()
            by, what = None, "lost"
            try:
                connection = connection or Client(self.port, 6 * SLOW)
                connection.send_request(f"{self.path}?id={request}", self.method, body=self.body)
                answer = connection.response(self.method)
                by, what = answer.field("X-Served-By"), self.judge(answer)
                if answer.field("Connection") == "close":
                    connection.close()
                    connection = None
            except (OSError, EOFError):
                pass
            if what in ("lost", "cut") and connection:
                connection.close()
                connection = None
            self.outcomes.append(Outcome(begun, what, by, request))
            time.sleep(self.pause)
        if connection:
            connection.close()

    def judge(self, answer):
        if not answer.complete:
            return "cut"
        right = answer.body == self.expected if self.expected is not None else answer.body == (answer.field("X-Served-By") or "").encode()
        return str(answer.status) if answer.status != 200 or right else "wrong"

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(6 * SLOW)
        return self

    def more(self, count=100):
        """Goes on until so many further requests were answered."""
        until = len(self.outcomes) + count
        wait_for(f"{count} more requests", lambda: len(self.outcomes) >= until, 6 * SLOW)

    def failures(self, since=0.0):
        return collections.Counter(o.what for o in self.outcomes if o.what != "200" and o.begun >= since)

    def served(self, since=0.0):
        return {o.by for o in self.outcomes if o.what == "200" and o.begun >= since}


class Failover(Scene):
    def nginx(self, name, **more):
        nginx = Nginx(self.need("nginx"), name, **more)
        self.addCleanup(nginx.stop)
        return nginx

    def three(self, pool=MARKED, **first):
        """Three real nginx before an engine with two workers; the first one may be special."""
        origins = [self.nginx("one", **first), self.nginx("two"), self.nginx("three")]
        return origins, self.before(*origins, pool=pool)

    def load(self, engine, *words, all_three=True, **more):
        load = Load(self, engine.port, *words, **more)
        if all_three:
            wait_for("all three to have served", lambda: len(load.served()) == 3, 6 * SLOW)
        load.more()
        return load

    def wait_until(self, engine, origin, *states):
        """Answers when that was seen."""
        wait_for(f"{origin.address} to be {states}", lambda: engine.server(origin.port)["state"] in states, 6 * SLOW)
        return time.monotonic()

    def no_failure(self, load, since=0.0):
        self.assertEqual(load.failures(since), {})

    # An origin dies ----------------------------------------------------------------------------------------------

    def test_kill_9_of_an_origin_costs_no_idempotent_request(self):
        """0 errors, before and after the mark: a GET whose connection ends without a byte of an answer is asked elsewhere."""
        origins, engine = self.three()
        load = self.load(engine)
        origins[0].kill()
        marked = self.wait_until(engine, origins[0], "marked")
        load.more()
        load.stop()
        self.no_failure(load)
        self.assertEqual(load.served(marked), {"two", "three"})

    def test_kill_9_cuts_only_answers_that_had_begun(self):
        """At most one cut answer for each client, none begun after the mark: what a client has of an answer cannot be taken back."""
        origins, engine = self.three()
        with open(os.path.join(origins[0].folder, "root", "big"), "rb") as file:
            big = file.read()
        load = self.load(engine, "/big", expected=big)
        origins[0].kill()
        marked = self.wait_until(engine, origins[0], "marked")
        load.more()
        load.stop()
        failures = load.failures()
        self.assertLessEqual(set(failures), {"cut", "lost"})  # lost: its head did not arrive before the reset
        self.assertLessEqual(sum(failures.values()), CLIENTS)
        self.no_failure(load, marked)

    def test_an_origin_that_ends_in_order_costs_nothing(self):
        """0 errors: nginx ends its requests and closes its connections (SIGQUIT), then the port refuses."""
        origins, engine = self.three()
        load = self.load(engine)
        origins[0].process.send_signal(signal.SIGQUIT)
        marked = self.wait_until(engine, origins[0], "marked")
        load.more()
        load.stop()
        self.no_failure(load)
        self.assertEqual(load.served(marked), {"two", "three"})
        self.assertEqual(engine.server(origins[0].port)["last_failure"], "connect")

    def test_a_port_that_refuses_costs_nothing_not_even_a_post(self):
        """0 errors of GET and POST: nothing was sent when a connection is refused, so every method is asked elsewhere."""
        origins = [self.nginx("two"), self.nginx("three")]
        servers = ", ".join([f"127.0.0.1:{free_port()}"] + [o.address for o in origins])
        engine = self.weir(f"routes: [ {{ pool: app }} ]\npools:\n  app:\n    servers: [ {servers} ]\n{MARKED}\n")
        gets = Load(self, engine.port)
        posts = Load(self, engine.port, "/post", "POST", b"x" * 500, expected=b"taken")
        gets.more()
        posts.more()
        self.assertEqual(engine.json("pools")["servers"][0]["state"], "marked")
        self.no_failure(gets.stop())
        self.no_failure(posts.stop())

    def test_an_origin_that_comes_back_is_used_again(self):
        """0 errors while it dies, is tried in vain, and returns; then it serves again."""
        origins, engine = self.three(BRIEFLY)
        load = self.load(engine)
        for _ in range(2):
            origins[0].kill()
            self.wait_until(engine, origins[0], "marked")
            tries = engine.server(origins[0].port)["connect_failures"]
            wait_for("it to be tried in vain", lambda: engine.server(origins[0].port)["connect_failures"] > tries, 6 * SLOW)
            origins[0] = self.nginx("one", port=origins[0].port)
            back = self.wait_until(engine, origins[0], "up")
            wait_for("it to serve again", lambda: "one" in load.served(back), 6 * SLOW)
        load.stop()
        self.no_failure(load)

    # An origin is silent -----------------------------------------------------------------------------------------

    def test_a_paused_origin_costs_a_bounded_number_of_504_and_serves_again(self):
        """504 for at most `fail-after` - 1 requests and those that were in flight when it was marked (one for each client); after that
        one for each trial in vain, which is a mark renewed; none once it goes on, and it serves again."""
        origins, engine = self.three(BRIEFLY + "\n    timeouts: { first-byte: 400ms }")
        load = self.load(engine)
        origins[0].process.send_signal(signal.SIGSTOP)
        self.addCleanup(origins[0].process.send_signal, signal.SIGCONT)
        wait_for("its mark", lambda: engine.server(origins[0].port)["marks"] > 0, 6 * SLOW)
        load.more()
        origins[0].process.send_signal(signal.SIGCONT)
        wait_for("it to be up", lambda: engine.server(origins[0].port)["state"] == "up", 6 * SLOW)
        back = time.monotonic()
        wait_for("it to serve again", lambda: "one" in load.served(back), 6 * SLOW)
        load.more()
        load.stop()
        failures, marks = load.failures(), engine.server(origins[0].port)["marks"]
        self.assertLessEqual(set(failures), {"504"})
        self.assertLessEqual(failures["504"], CLIENTS + FAIL_AFTER - 1 + marks - 1)
        self.assertGreaterEqual(engine.server(origins[0].port)["timeouts"], FAIL_AFTER)
        self.no_failure(load, back)

    def test_after_its_mark_a_paused_origin_costs_nothing(self):
        """0 errors of requests that were begun after the mark, for as long as the mark stands."""
        origins, engine = self.three(MARKED + "\n    timeouts: { first-byte: 400ms }")
        load = self.load(engine)
        origins[0].process.send_signal(signal.SIGSTOP)
        self.addCleanup(origins[0].process.send_signal, signal.SIGCONT)
        marked = self.wait_until(engine, origins[0], "marked")
        load.more(300)
        load.stop()
        self.assertLessEqual(load.failures()["504"], CLIENTS + FAIL_AFTER - 1)
        self.assertGreaterEqual(engine.server(origins[0].port)["timeouts"], FAIL_AFTER)
        self.no_failure(load, marked)
        self.assertEqual(load.served(marked), {"two", "three"})

    def test_active_checks_take_a_paused_origin_out_without_trials(self):
        """0 errors of requests that were begun after it was down, and it comes back with its checks: no request has to try it."""
        origins, engine = self.three("    balance: round-robin\n    passive-health: { fail-after: never }\n    timeouts: { first-byte: 20s }\n"
                                     "    health: { path: /small, interval: 200ms, timeout: 300ms, rise: 2, fall: 2 }")
        load = self.load(engine)
        self.wait_until(engine, origins[0], "up")
        origins[0].process.send_signal(signal.SIGSTOP)
        self.addCleanup(origins[0].process.send_signal, signal.SIGCONT)
        down = self.wait_until(engine, origins[0], "down")
        origins[0].process.send_signal(signal.SIGCONT)
        back = self.wait_until(engine, origins[0], "up")
        wait_for("it to serve again", lambda: "one" in load.served(back), 6 * SLOW)
        load.stop()
        self.no_failure(load, down)
        self.no_failure(load)  # and those before only waited: it went on within their first-byte

    def test_a_slow_first_byte_is_waited_for_and_one_too_slow_is_a_504(self):
        """0 errors below `first-byte`. Above, 504 for at most `fail-after` - 1 requests and those in flight at the mark; none later."""
        late = {"by": 0.05}
        def slow(exchange):
            exchange.body()
            time.sleep(late["by"])
            exchange.send(b"HTTP/1.1 200 OK\r\nX-Served-By: slow\r\nContent-Length: 4\r\n\r\nslow")
        origins = [self.origin(slow), self.nginx("two"), self.nginx("three")]
        engine = self.before(*origins, pool=MARKED + "\n    timeouts: { first-byte: 3s }")
        load = self.load(engine)
        self.no_failure(load)
        late["by"] = 30
        marked = self.wait_until(engine, origins[0], "marked")
        load.more()
        load.stop()
        self.assertLessEqual(set(load.failures()), {"504"})
        self.assertLessEqual(load.failures()["504"], CLIENTS + FAIL_AFTER - 1)
        self.no_failure(load, marked)
        self.assertEqual(engine.server(origins[0].port)["last_failure"], "timeout")

    # An origin answers wrongly -----------------------------------------------------------------------------------

    def test_an_answer_that_is_reset_in_its_middle_is_seen_as_cut(self):
        """A cut answer for at most `fail-after` - 1 requests and those in flight at the mark; none later. No half answer looks whole."""
        breaking = threading.Event()
        def reset_in_the_middle(exchange):
            exchange.body()
            if not breaking.is_set():
                exchange.send(b"HTTP/1.1 200 OK\r\nX-Served-By: bad\r\nContent-Length: 3\r\n\r\nbad")
                return None
            exchange.send(b"HTTP/1.1 200 OK\r\nX-Served-By: bad\r\nContent-Length: 1000\r\n\r\nhalf")
            return exchange.reset()
        origins = [self.origin(reset_in_the_middle), self.nginx("two"), self.nginx("three")]
        engine = self.before(*origins, pool=MARKED)
        load = self.load(engine)
        breaking.set()
        marked = self.wait_until(engine, origins[0], "marked")
        load.more()
        load.stop()
        failures = load.failures()
        self.assertLessEqual(set(failures), {"cut", "lost"})
        self.assertGreaterEqual(sum(failures.values()), 1)
        self.assertLessEqual(sum(failures.values()), CLIENTS + FAIL_AFTER - 1)
        self.no_failure(load, marked)

    def test_an_origin_that_closes_instead_of_answering_costs_no_get(self):
        """0 errors of GET (nginx's `return 444`). A POST is not sent again: 502 for at most `fail-after` - 1 and those in flight."""
        origins = [self.nginx(name, server=f"location = /none {{ return {answer}; }}")
                   for name, answer in (("one", "444"), ("two", '200 "there"'), ("three", '200 "there"'))]
        for method, body, failing in (("GET", b"", set()), ("POST", b"x" * 500, {"502"})):
            with self.subTest(method):
                engine = self.before(*origins, pool=MARKED)
                load = Load(self, engine.port, "/none", method, body, expected=b"there")
                marked = self.wait_until(engine, origins[0], "marked")
                load.more()
                load.stop()
                self.assertEqual(set(load.failures()), failing)
                self.assertLessEqual(sum(load.failures().values()), CLIENTS + FAIL_AFTER - 1)
                self.no_failure(load, marked)

    def one_answers_500(self, keys):
        origins, engine = self.three(MARKED + keys, server="location = /status { return 500; }")
        for origin in origins[1:]:
            origin.put("status", b"there")
        load = Load(self, engine.port, "/status", expected=b"there")
        load.more(200)
        load.stop()
        return engine, engine.server(origins[0].port), load

    def test_an_origin_that_answers_500_is_passed_through(self):
        """Every 500 of the origin reaches its client, and it stays in use: what a status means is the application's business."""
        _, first, load = self.one_answers_500("")
        self.assertEqual(set(load.failures()), {"500"})
        self.assertEqual((first["state"], first["status_5xx"]), ("up", load.failures()["500"]))

    def test_an_origin_that_answers_500_costs_nothing_where_that_is_a_cause(self):
        """0 errors: each is asked elsewhere."""
        causes = "\n    retry: { causes: [ connect, closed, 500 ], budget: none }"
        engine, first, load = self.one_answers_500(causes)
        self.assertEqual(load.failures(), {})
        self.assertEqual(first["status_5xx"], engine.counter("retries"))

    def test_an_origin_that_answers_500_is_marked_where_that_is_a_failure(self):
        """At most those in flight and `fail-after` - 1; none after the mark, and none at all with a retry."""
        marked = MARKED.replace("fail-after", "status: 500-599, fail-after")
        for retry, most in (("", CLIENTS + FAIL_AFTER - 1), ("\n    retry: { causes: [ connect, closed, 500 ] }", 0)):
            with self.subTest(retry=retry):
                origins, engine = self.three(marked + retry, server="location = /status { return 500; }")
                for origin in origins[1:]:
                    origin.put("status", b"there")
                load = Load(self, engine.port, "/status", expected=b"there")
                seen = self.wait_until(engine, origins[0], "marked")
                load.more()
                load.stop()
                self.assertLessEqual(sum(load.failures().values()), most)
                self.no_failure(load, seen)
                self.assertEqual(engine.server(origins[0].port)["last_failure"], "status")

    def test_a_stopped_process_costs_nothing_with_a_time_for_each_try(self):
        """SIGSTOP: 0 errors, before it is detected and after: what has no answer within per-try is asked elsewhere."""
        origins, engine = self.three(MARKED + "\n    retry: { causes: [ connect, closed, timeout ], per-try: 300ms, budget: none }")
        load = self.load(engine)
        os.kill(origins[0].process.pid, signal.SIGSTOP)
        self.addCleanup(os.kill, origins[0].process.pid, signal.SIGCONT)
        self.wait_until(engine, origins[0], "marked")
        load.more()
        load.stop()
        self.assertEqual(load.failures(), {})

    def test_a_stopped_process_costs_nothing_with_hedging(self):
        """SIGSTOP: 0 errors: the second server answers long before the first is given up."""
        origins, engine = self.three(MARKED + "\n    retry: { budget: none }\n    hedge: { percentile: 95, after: 100ms }\n    timeouts: { first-byte: 2s }")
        load = self.load(engine)
        load.more(2000)  # until every worker knows what is late
        os.kill(origins[0].process.pid, signal.SIGSTOP)
        self.addCleanup(os.kill, origins[0].process.pid, signal.SIGCONT)
        load.more(60)
        wait_for("hedges that won", lambda: engine.counter("hedges_won") >= 3, 6 * SLOW)
        load.stop()
        self.assertEqual(load.failures(), {})

    def test_names_that_move_cost_nothing(self):
        """0 errors while DNS takes origins out and brings others: those that left end what they had begun."""
        origins = {name: self.nginx(name) for name in ("one", "two", "three")}
        dns = DnsServer()
        self.addCleanup(dns.stop)
        dns.set("here.test", "127.0.0.1")
        def say(*names):
            dns.service("_http._tcp.app.test", *((0, 10, origins[name].port, "here.test") for name in names))
        say("one", "two")
        engine = self.weir(f"workers: 2\npin: false\ndns: {{ servers: [ {dns.address} ], ttl-min: 1s }}\nroutes: [ {{ pool: app }} ]\n"
                           "pools: { app: { servers: [ srv:_http._tcp.app.test ] } }\n")
        load = Load(self, engine.port)
        for names in (("one", "two"), ("two", "three"), ("three",), ("one", "two", "three")):
            say(*names)
            wait_for(f"{names} to be the servers", lambda: sorted(s["address"] for s in engine.json("pools")["servers"])
                     == sorted(f"here.test:{origins[name].port}" for name in names), 6 * SLOW)
            moved = time.monotonic()
            wait_for(f"{names} to serve", lambda: load.served(moved) == set(names), 6 * SLOW)
            load.more()
            self.assertEqual(load.served(moved), set(names))
        load.stop()
        self.assertEqual(load.failures(), {})

    # Requests that must not be repeated --------------------------------------------------------------------------

    def test_no_post_is_sent_twice_when_origins_die(self):
        """Each POST arrives at most once at all origins together. Errors: at most one for each client and death."""
        arrived, lock = collections.Counter(), threading.Lock()
        def count(exchange):
            if exchange.body() is None:
                return False
            with lock:
                arrived[exchange.path.split("id=")[1]] += 1
            time.sleep(0.01)  # so that some are in progress when it dies
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ntaken")
            return None
        origins = [self.origin(count) for _ in range(3)]
        engine = self.before(*origins, pool=BRIEFLY)
        load = Load(self, engine.port, "/post", "POST", b"x" * 2000, expected=b"taken")
        load.more()
        deaths = 3
        for _ in range(deaths):
            origins[0].stop()
            self.wait_until(engine, origins[0], "marked", "trial")
            origins[0] = self.origin(count, port=origins[0].port)
            self.wait_until(engine, origins[0], "up")
            load.more()
        load.stop()
        self.assertEqual([request for request, times in arrived.items() if times > 1], [])
        failures = load.failures()
        self.assertLessEqual(set(failures), {"502"})
        self.assertLessEqual(sum(failures.values()), deaths * CLIENTS)
        answered = {o.request for o in load.outcomes if o.what == "200"}
        self.assertEqual(answered - set(arrived), set())


class Limits(Scene):
    """What a configuration says of a pool holds for the process, however its requests fall on two workers."""

    def test_a_queue_is_exact_over_two_workers(self):
        """2 requests at the origin, 3 that wait, and a 503 for each of the other 15."""
        release = threading.Event()
        self.addCleanup(release.set)
        origin = self.origin(lambda exchange: (release.wait(6 * SLOW), ok(exchange))[1])
        engine = self.weir("workers: 2\npin: false\nroutes: [ { pool: app } ]\npools:\n  app:\n"
                           f"    servers: [ {{ address: {origin.address}, max-connections: 2 }} ]\n    queue: {{ max: 3, wait: 60s }}\n")
        for _ in range(2):
            statuses = []
            refused = engine.counter("pool_full")
            threads = [threading.Thread(target=lambda: statuses.append(engine.get().status)) for _ in range(20)]
            [t.start() for t in threads]
            wait_for("the rest to be refused", lambda: engine.counter("pool_full") == refused + 15)
            self.assertEqual((engine.counter("queued"), engine.server(origin.port)["busy"]), (3, 2))
            release.set()
            [t.join() for t in threads]
            release.clear()
            self.assertEqual(collections.Counter(statuses), {200: 5, 503: 15})


if __name__ == "__main__":
    unittest.main()
