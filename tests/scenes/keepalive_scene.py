"""Connections to origins that are kept: opened ahead of requests, given up in time, passed between workers, and no request is lost by it."""
import collections
import glob
import signal
import socket
import threading
import time
import unittest

from failover_scene import Load
from props import Nginx
from stage import SLOW, Scene, free_port, named, wait_for
from tls_certificates import certificates
from tls_props import TlsScene

PATIENCE = 6 * SLOW


class Warm(Scene):
    """`keep-alive: { warm: N }`"""

    def total(self, engine, word):
        return [server[word] for server in engine.json("pools")["servers"]]

    def test_connections_are_there_before_any_request_and_the_workers_shares_make_the_sum(self):
        origins = [self.origin(named(name)) for name in ("one", "two", "three")]
        for warm in (5, 1):
            engine = self.before(*origins, pool=f"    balance: round-robin\n    keep-alive: {{ warm: {warm} }}")
            wait_for("them to be opened", lambda: self.total(engine, "idle") == [warm] * 3, PATIENCE)
            self.assertEqual(self.total(engine, "warmed"), [warm] * 3)
            self.assertEqual(self.total(engine, "connects"), [warm] * 3)
            self.assertEqual(self.total(engine, "requests"), [0] * 3)

    def test_a_request_uses_one_and_those_that_were_closed_are_opened_again(self):
        def close_after(exchange):
            exchange.body()
            exchange.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
            return False
        origin = self.origin(close_after)
        engine = self.weir("workers: 1\npin: false\nroutes: [ { pool: app } ]\n"
                           f"pools: {{ app: {{ servers: [ {origin.address} ], keep-alive: {{ warm: 2 }} }} }}\n")
        wait_for("them to be opened", lambda: self.total(engine, "idle") == [2], PATIENCE)
        self.assertEqual(engine.get().body, b"ok")
        self.assertEqual(self.total(engine, "reused"), [1])
        wait_for("the third", lambda: self.total(engine, "warmed") == [3] and origin.accepted == 3, PATIENCE)
        for connection in list(origin.connections):
            try:
                connection.shutdown(2)
            except OSError:
                pass
        wait_for("two others", lambda: self.total(engine, "warmed") == [5] and self.total(engine, "idle") == [2], PATIENCE)

    def test_a_server_that_refuses_is_tried_one_at_a_time_marked_by_nobody_and_warmed_when_it_is_there(self):
        port = free_port()
        engine = self.weir(f"routes: [ {{ pool: app }} ]\npools: {{ app: {{ servers: [ 127.0.0.1:{port} ], keep-alive: {{ warm: 20 }},\n"
                           "  passive-health: { fail-after: 1 } } }\n")
        wait_for("failures", lambda: self.total(engine, "connect_failures")[0] > 20, PATIENCE)
        self.assertEqual(self.total(engine, "state"), ["up"])
        self.assertEqual(engine.log().count("no connection ahead of requests"), 2)  # each worker's first
        self.origin(named("there"), port=port)
        wait_for("it to be warm", lambda: self.total(engine, "idle") == [20], PATIENCE)
        self.assertEqual(engine.get().body, b"there")

    def test_none_are_opened_to_servers_that_are_drained_marked_or_down(self):
        well = {"is": True}
        def script(exchange):
            if exchange.path == "/healthz" and not well["is"]:
                exchange.send(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
                return None
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            return None
        origin = self.origin(script)
        engine = self.before(origin, pool="    keep-alive: { warm: 4, idle: 300ms }\n    health: { path: /healthz, interval: 100ms, rise: 1, fall: 1 }")
        def stays_cold(how):
            wait_for("those that wait to go", lambda: self.total(engine, "idle") == [0], PATIENCE)
            before = self.total(engine, "warmed")
            turns = engine.counter("loop_turns")
            wait_for("two ticks", lambda: engine.counter("loop_turns") > turns + 6, PATIENCE)
            self.assertEqual(self.total(engine, "warmed"), before, how)
        wait_for("it to be warm", lambda: self.total(engine, "idle") == [4], PATIENCE)
        self.assertEqual(engine.command("drain", origin.address)[0], 0)
        stays_cold("drained")
        self.assertEqual(engine.command("undrain", origin.address)[0], 0)
        wait_for("it to be warm again", lambda: self.total(engine, "idle") == [4], PATIENCE)
        well["is"] = False
        wait_for("it to be down", lambda: self.total(engine, "state") == ["down"], PATIENCE)
        stays_cold("down")

    def test_a_reload_brings_and_takes_them(self):
        origin = self.origin(named("there"))
        config = "routes: [ { pool: app } ]\npools: { app: { servers: [ %s ] %s } }\n"
        engine = self.weir(config % (origin.address, ""))
        self.assertEqual(self.total(engine, "open"), [0])
        engine.write(config % (origin.address, ", keep-alive: { warm: 6 }"))
        self.assertEqual(engine.command("reload")[0], 0)
        wait_for("it to be warm", lambda: self.total(engine, "idle") == [6], PATIENCE)
        other = self.origin(named("other"))
        engine.write(config % (other.address, ", keep-alive: { warm: 3 }"))
        self.assertEqual(engine.command("reload")[0], 0)
        wait_for("the other to be warm", lambda: self.total(engine, "idle") == [3], PATIENCE)
        self.assertEqual(engine.get().body, b"other")

    def test_an_engine_stops_while_they_are_being_opened(self):
        """Nobody accepts and the backlog is full: most stay under way until the engine ends."""
        silent = socket.socket()
        self.addCleanup(silent.close)
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        engine = self.weir(f"routes: [ {{ pool: app }} ]\npools: {{ app: {{ servers: [ 127.0.0.1:{silent.getsockname()[1]} ], keep-alive: {{ warm: 8 }} }} }}\n")
        wait_for("them to be begun", lambda: self.total(engine, "open") == [8], PATIENCE)
        self.assertLess(self.total(engine, "idle")[0], 8)


class Sealed(TlsScene):
    def test_warm_connections_have_their_handshake_behind_them(self):
        made = certificates()
        origin = self.tls_origin(named("sealed"))
        engine = self.weir(f"routes: [ {{ pool: app }} ]\npools: {{ app: {{ servers: [ {origin.address} ], keep-alive: {{ warm: 4 }},\n"
                           f"  tls: {{ ca: {made.ca.path}, server-name: origin.test }} }} }}\n")
        wait_for("them to be opened", lambda: engine.server(origin.port)["idle"] == 4, PATIENCE)
        self.assertEqual(engine.get().body, b"sealed")
        self.assertEqual((engine.server(origin.port)["connects"], engine.server(origin.port)["reused"]), (4, 1))


class Borrowed(Scene):
    """`keep-alive: { borrow: on }`. A worker waits for another only a few milliseconds and then opens a connection itself, so what must happen
    once is tried until it has; what must never happen is looked for always."""

    def engine(self, *origins, more="", pool=""):
        self.text = (f"workers: 2\npin: false\nroutes: [ {{ pool: app }} ]\npools:\n  app:\n    servers: [ {', '.join(o.address for o in origins)} ]\n"
                     f"    keep-alive: {{ borrow: on{more} }}\n{pool}\n")
        return self.weir(self.text)

    def clients(self, engine, each=4):
        """So many client connections to each of the two workers."""
        def counts():
            return [worker["clients"] for worker in engine.json("top")["workers"]]
        found = [[], []]
        while min(len(clients) for clients in found) < each:
            before = counts()
            client = engine.connect(PATIENCE)
            self.addCleanup(client.close)
            wait_for("it to be taken", lambda: sum(counts()) > sum(before))
            found[0 if counts()[0] > before[0] else 1].append(client)
        return found[0][:each], found[1][:each]

    def at_once(self, origin, release, clients, method="GET"):
        """Requests that are at the origin at the same time, so that each has a connection of its own."""
        release.clear()
        before = len(origin.requests)
        for client in clients:
            client.send_request(method=method, body=b"x" if method == "POST" else b"")
        until = time.monotonic() + PATIENCE
        while len(origin.requests) < before + len(clients):
            self.assertLess(time.monotonic(), until, "they were not all at the origin")
            time.sleep(0.0002)
        release.set()
        for client in clients:
            self.assertEqual(client.response().body, b"there")

    def scripted(self):
        release = threading.Event()
        self.addCleanup(release.set)
        return self.origin(lambda exchange: (release.wait(PATIENCE), named("there")(exchange))[1]), release

    def test_a_worker_without_a_connection_takes_one_over(self):
        origin, release = self.scripted()
        engine = self.engine(origin)
        here, there = self.clients(engine)
        for turn in range(100):
            self.at_once(origin, release, here)
            wait_for("them to be kept", lambda: engine.server(origin.port)["busy"] == 0)
            before = engine.server(origin.port)
            self.at_once(origin, release, there[:2], "POST" if turn % 2 else "GET")
            after = engine.server(origin.port)
            self.assertLessEqual(after["connects"], len(origin.connections))
            if after["borrowed"] > before["borrowed"] and after["connects"] == before["connects"]:
                return
            here, there = there, here
        self.fail("never")

    def test_where_connections_are_limited_those_that_wait_elsewhere_make_room(self):
        for pool in ("    limits: { connections: 1 }", "    limits: { connections: 1 }\n    keep-alive: { borrow: on }"):
            one, two = self.origin(named("there")), self.origin(named("there"))
            engine = self.weir(f"workers: 2\npin: false\nroutes: [ {{ pool: app }} ]\npools:\n  app:\n    servers: [ {one.address}, {two.address} ]\n"
                               f"    queue: {{ wait: 60s }}\n{pool}\n")
            here, there = self.clients(engine, 2)
            for client in (here + there) * 4:
                client.send_request()
                self.assertEqual(client.response().body, b"there")
            self.assertEqual(engine.counter("pool_full"), 0)
            self.assertLessEqual(sum(engine.server(o.port)["open"] for o in (one, two)), 1)

    def test_nobody_gives_away_its_only_one(self):
        origin, release = self.scripted()
        engine = self.engine(origin)
        here, there = self.clients(engine, 1)
        for _ in range(20):
            for clients in (here, there):
                self.at_once(origin, release, clients)
        self.assertEqual([engine.server(origin.port)[word] for word in ("borrowed", "connects")], [0, 2])

    def settled(self, engine, origin):
        """Every connection that is counted open waits on a shelf, and the origin has as many."""
        def true():
            server = engine.server(origin.port)
            return server["busy"] == 0 and server["open"] == server["idle"]
        wait_for("all to be kept", true, PATIENCE)

    def nginx(self, name, keep):
        nginx = Nginx(self.need("nginx"), name, keep=keep)
        self.addCleanup(nginx.stop)
        return nginx

    def bursts(self, engine, seconds, meanwhile=lambda: time.sleep(0.05), posts=True):
        """Clients that come in bursts, so that shelves fill and empty."""
        loads = [Load(self, engine.port, clients=6, pause=pause) for pause in (0.0, 0.01, 0.1)]
        if posts:
            loads.append(Load(self, engine.port, "/post", "POST", b"x" * 300, clients=6, pause=0.02, expected=b"taken"))
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            meanwhile()
        for load in loads:
            load.stop()
        for load in loads:
            self.assertEqual(load.failures(), {})

    def test_connections_that_the_origin_closes_meanwhile_cost_no_get(self):
        """It closes what waits longer than 8 ms. No POST here: one may be on its way when such an end is, and cannot be sent again."""
        nginx = self.nginx("one", "keepalive_requests 1000; keepalive_timeout 8ms")
        engine = self.engine(nginx)
        self.bursts(engine, 4, posts=False)
        server = engine.server(nginx.port)
        self.assertGreater(server["borrowed"], 0)
        self.settled(engine, nginx)

    def test_an_end_that_comes_while_a_connection_is_passed_on_is_not_lost(self):
        """The origin closes all that wait at about the moment when one of them is asked for, a little earlier or later each time."""
        origin, release = self.scripted()
        engine = self.engine(origin)
        here, there = self.clients(engine)
        for turn in range(400):
            self.at_once(origin, release, here)
            waiting, origin.connections[:] = list(origin.connections), []
            there[0].send_request()
            spin = time.monotonic() + (turn % 40) * 10e-6
            while time.monotonic() < spin:
                pass
            for connection in waiting:
                try:
                    connection.shutdown(socket.SHUT_WR)
                except OSError:
                    pass
            self.assertEqual(there[0].response().body, b"there")
            here, there = there, here
        self.assertGreater(engine.server(origin.port)["borrowed"], 10)
        self.settled(engine, origin)

    def test_reloads_that_take_servers_away_and_bring_them_back_cost_no_request(self):
        origins = [self.nginx(name, "keepalive_requests 1000; keepalive_timeout 60s") for name in ("one", "two")]
        engine = self.engine(*origins)
        turn = [0]
        def reload():
            turn[0] += 1
            gone = origins[turn[0] % 2].address
            engine.write(self.text.replace(gone, "").replace("[ ,", "[ ").replace(", ]", " ]") if turn[0] % 3 else self.text)
            self.assertEqual(engine.command("reload")[0], 0)
        self.bursts(engine, 4, reload)
        engine.write(self.text)
        self.assertEqual(engine.command("reload")[0], 0)
        for origin in origins:
            self.settled(engine, origin)

    def test_an_engine_stops_at_any_moment_of_it(self):
        """Clients are cut; the engine ends with 0, and nothing leaks (stage.py looks)."""
        for _ in range(5):
            origin = self.nginx("one", "keepalive_requests 1000; keepalive_timeout 60s")
            engine = self.engine(origin)
            loads = [Load(self, engine.port, clients=8, pause=pause) for pause in (0.0, 0.005)]
            wait_for("some to be passed on", lambda: engine.server(origin.port)["borrowed"] > 0, PATIENCE)
            engine.command("stop", "--deadline", "0s")
            wait_for("its end", engine.ended, PATIENCE)
            for load in loads:
                load.stop()
            self.assertEqual(engine.process.returncode, 0)


class Given(Scene):
    """Origins that close kept connections, as they do."""

    def nginx(self, keep):
        nginx = Nginx(self.need("nginx"), "one", keep=keep)
        self.addCleanup(nginx.stop)
        return nginx

    def beside(self, engine):
        """Clients that pause about as long as the origin waits, beside others that do not; GET and POST. Their failures."""
        gets = [Load(self, engine.port, clients=4), Load(self, engine.port, clients=8, pause=1.0)]
        posts = [Load(self, engine.port, "/post", "POST", b"x" * 300, clients=4, expected=b"taken")]
        posts += [Load(self, engine.port, "/post", "POST", b"x", clients=8, pause=pause, expected=b"taken") for pause in (0.98, 1.0, 1.02)]
        time.sleep(5)
        for load in gets + posts:
            load.stop()
        return [sum((load.failures() for load in loads), collections.Counter()) for loads in (gets, posts)]

    def test_origins_that_close_after_ten_requests_or_a_second_lose_no_request_not_even_a_post(self):
        """0 errors where `idle` is below the origin's limit, as it should be."""
        nginx = self.nginx("keepalive_requests 10; keepalive_timeout 1s")
        engine = self.before(nginx, pool="    keep-alive: { idle: 600ms }")
        self.assertEqual(self.beside(engine), [{}, {}])
        server = engine.server(nginx.port)
        self.assertGreater(server["connects"], server["requests"] / 12)
        self.assertGreater(server["reused"], server["requests"] / 2)

    def test_where_idle_is_longer_than_the_origin_waits_no_get_is_lost_and_hardly_a_post(self):
        """0 errors of GET. A POST is lost only if it and the connection's end are on their way at the same moment: 3 at most."""
        engine = self.before(self.nginx("keepalive_requests 10; keepalive_timeout 1s"))
        gets, posts = self.beside(engine)
        self.assertEqual(gets, {})
        self.assertLessEqual(set(posts), {"502"})
        self.assertLessEqual(posts["502"], 3)

    def thread_states(self, engine):
        for path in glob.glob(f"/proc/{engine.process.pid}/task/*/stat"):
            with open(path) as file:
                yield file.read().rsplit(")", 1)[1].split()[0]

    def test_a_post_is_not_lost_to_an_end_that_is_there_and_not_yet_told(self):
        """The engine stands still while first a POST comes and then the end of the kept connection: both are there when it goes on, and the
        POST is looked at first."""
        origin = self.origin(named("there"))
        engine = self.weir(f"workers: 1\npin: false\nroutes: [ {{ pool: app }} ]\npools: {{ app: {{ servers: [ {origin.address} ] }} }}\n")
        with engine.connect() as client:
            for turn in range(20):
                client.send_request()
                self.assertEqual(client.response().status, 200)
                wait_for("it to be kept", lambda: engine.server(origin.port)["idle"] == 1)
                engine.process.send_signal(signal.SIGSTOP)
                wait_for("it to stand still", lambda: set(self.thread_states(engine)) == {"T"})
                try:
                    client.send_request(f"/post/{turn}", "POST", body=b"x")
                    time.sleep(0.01)
                    origin.connections[-1].shutdown(socket.SHUT_RDWR)
                finally:
                    engine.process.send_signal(signal.SIGCONT)
                self.assertEqual(client.response().status, 200)
        posts = [head.split(b" ")[1] for head in origin.requests if head.startswith(b"POST")]
        self.assertEqual(posts, [f"/post/{turn}".encode() for turn in range(20)])

    def test_no_connection_serves_more_requests_than_it_may(self):
        served = []
        def script(exchange):
            exchange.body()
            served.append(id(exchange.connection))
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            return None
        origin = self.origin(script)
        engine = self.before(origin, pool="    keep-alive: { requests: 7 }")
        load = Load(self, engine.port, clients=4, expected=b"ok")
        load.more(200)
        load.stop()
        self.assertEqual(load.failures(), {})
        self.assertEqual(max(served.count(connection) for connection in set(served)), 7)

    def test_no_connection_grows_older_than_it_may(self):
        """Connections are replaced under load, and no request notices."""
        origin = self.origin(named("there"))
        engine = self.before(origin, pool="    keep-alive: { lifetime: 300ms }")
        load = Load(self, engine.port, clients=2, expected=b"there")
        wait_for("connections to be replaced", lambda: engine.server(origin.port)["connects"] > 10, PATIENCE)
        load.stop()
        self.assertEqual(load.failures(), {})


if __name__ == "__main__":
    unittest.main()
