"""Servers that commands add, take away, weigh and force, while requests go on; over reloads, over a death and a new start."""
import os
import re
import shutil
import signal
import tempfile
import threading
import time
import unittest

from stage import Scene, Weir, free_port, named, ok, wait_for

BASE = "workers: 2\npin: false\n%sroutes: [ { pool: app } ]\npools: { app: { servers: [ %s ] } }\n"


def servers(engine):
    return {s["address"]: s for s in engine.json("server", "list")["servers"]}


class Load:
    """Clients on kept connections that ask until it ends; every answer but 200 is a failure."""

    def __init__(self, engine, clients=6):
        self.engine, self.stop, self.failures, self.bodies = engine, threading.Event(), [], {}
        self.threads = [threading.Thread(target=self.run) for _ in range(clients)]

    def run(self):
        try:
            with self.engine.connect() as client:
                while not self.stop.is_set():
                    client.send_request("/x", "POST", body=b"y" * 500)
                    response = client.response()
                    if response.status != 200:
                        self.failures.append(response.status)
                    self.bodies[response.body] = self.bodies.get(response.body, 0) + 1
        except Exception as e:
            self.failures.append(repr(e))

    def __enter__(self):
        [t.start() for t in self.threads]
        return self

    def __exit__(self, *_):
        self.stop.set()
        [t.join() for t in self.threads]


class Commands(Scene):
    def done(self, engine, *words):
        code, out, err = engine.command("server", *words)
        self.assertEqual(code, 0, (words, out, err))
        return out

    def refused(self, engine, *words):
        code, _, err = engine.command("server", *words)
        self.assertEqual(code, 1, words)
        return err

    def test_add_remove_and_weight_under_load_fail_no_request(self):
        one, two = self.origin(named("one")), self.origin(named("two"))
        engine = self.weir(BASE % ("", one.address))
        with Load(engine) as load:
            for round in range(6):
                self.assertIn("added", self.done(engine, "add", "app", two.address, "--weight", "3"))
                self.assertEqual(servers(engine)[two.address]["weight"], 3)
                self.done(engine, "weight", "app/" + two.address, "1")
                time.sleep(0.1)
                self.assertIn("removed", self.done(engine, "remove", "app/" + (one if round == 3 else two).address))
                time.sleep(0.05)
                if round == 3:
                    self.done(engine, "add", "app", one.address)
                    self.done(engine, "remove", "app/" + two.address)
        self.assertEqual(load.failures, [])
        self.assertGreater(load.bodies[b"one"], 50)
        self.assertGreater(load.bodies[b"two"], 50)
        self.assertEqual(list(servers(engine)), [one.address])

    def test_a_command_returns_when_it_is_in_force_everywhere(self):
        one, two = self.origin(named("one")), self.origin(named("two"))
        engine = self.weir(BASE % ("", one.address))
        for _ in range(5):
            self.done(engine, "add", "app", two.address)
            self.done(engine, "remove", "app/" + one.address)
            self.assertEqual({engine.get().body for _ in range(8)}, {b"two"})
            self.done(engine, "add", "app", one.address)
            self.done(engine, "remove", "app/" + two.address)
            self.assertEqual({engine.get().body for _ in range(8)}, {b"one"})

    def test_a_request_in_flight_ends_and_idle_connections_are_closed(self):
        release = threading.Event()
        def script(exchange):
            if exchange.path == "/slow":
                release.wait(20)
            ok(exchange)
        one, two = self.origin(script), self.origin(named("two"))
        engine = self.weir(BASE % ("", one.address))
        engine.get("/quick")
        with engine.connect() as slow:
            slow.send_request("/slow")
            wait_for("the request", lambda: any(b"/slow" in r for r in one.requests))
            self.done(engine, "add", "app", two.address)
            self.done(engine, "remove", "app/" + one.address)
            self.assertEqual(engine.get("/quick").body, b"two")
            release.set()
            self.assertEqual(slow.response().body, b"ok\n")
        def closed(connection):
            try:
                return connection.fileno() < 0 or connection.recv(1) == b""
            except OSError:
                return True
        wait_for("its connections to be closed", lambda: all(closed(c) for c in one.connections))

    def test_changes_hold_over_reloads_which_say_so(self):
        one, two, three = (self.origin(named(n)) for n in ("one", "two", "three"))
        engine = self.weir(BASE % ("", f"{one.address}, {two.address}"))
        self.done(engine, "add", "app", three.address, "--max-connections", "9")
        self.done(engine, "remove", "app/" + one.address)
        code, out, _ = engine.command("reload")
        self.assertEqual(code, 0)
        self.assertIn(f"by command, still: app/{three.address}: added, max-connections 9", out)
        self.assertIn(f"by command, still: app/{one.address}: removed", out)
        self.assertEqual({a for a, s in servers(engine).items() if s["state"] != "removed"}, {two.address, three.address})
        engine.write(BASE % ("", f"{one.address}, {two.address}, {three.address}"))
        code, out, _ = engine.command("reload")
        self.assertIn(f"by command: app/{three.address} is the file's own now", out)
        self.assertEqual(servers(engine)[three.address]["source"], "file")
        self.assertEqual(servers(engine)[one.address]["state"], "removed")
        self.assertIn(f"no longer: app/{one.address}: removed", self.done(engine, "reset"))
        self.assertEqual(servers(engine)[one.address]["state"], "up")

    def test_an_edit_that_was_not_reloaded_does_not_slip_in(self):
        one, two = self.origin(named("one")), self.origin(named("two"))
        engine = self.weir(BASE % ("", one.address))
        engine.write("this is no configuration: [")
        self.done(engine, "add", "app", two.address)
        self.assertEqual({engine.get().body for _ in range(8)}, {b"one", b"two"})
        self.assertEqual(engine.command("reload")[0], 3)
        self.assertEqual(len(servers(engine)), 2)

    def test_what_cannot_be_is_refused_with_the_reason(self):
        one = self.origin(named("one"))
        engine = self.weir(BASE % ("", one.address))
        self.assertIn("has", self.refused(engine, "add", "app", one.address))
        self.assertIn("no pool", self.refused(engine, "add", "other", one.address))
        self.assertIn("port is missing", self.refused(engine, "add", "app", "10.0.0.1"))
        self.assertIn("no server", self.refused(engine, "remove", "app/10.0.0.1:80"))
        self.assertIn("no server", self.refused(engine, "weight", "app/10.0.0.1:80", "2"))
        self.assertIn("no such server", self.refused(engine, "state", "app/10.0.0.1:80", "up"))
        self.assertIn("state-file", self.refused(engine, "save"))
        self.done(engine, "remove", "app/" + one.address)
        self.assertEqual(engine.get().status, 503)
        self.assertIn("no server", self.refused(engine, "remove", "app/" + one.address))
        self.done(engine, "add", "app", one.address)
        self.assertEqual(engine.get().status, 200)

    def test_the_group_of_a_server_that_comes_back_is_the_commands(self):
        one, two = self.origin(named("one")), self.origin(named("two"))
        engine = self.weir(BASE % ("", one.address + ", " + two.address))
        self.done(engine, "remove", "app/" + one.address)
        self.done(engine, "add", "app", one.address, "--group", "2")
        self.assertEqual({address: s["group"] for address, s in servers(engine).items()}, {one.address: 2, two.address: 0})
        self.assertEqual({engine.get().body for _ in range(8)}, {b"two"})
        self.assertEqual(engine.command("server", "add", "app", "10.0.0.1:80", "--group", "8")[0], 2)

    def test_each_change_that_is_taken_back_has_a_line_in_the_log(self):
        engine = self.weir(BASE % ("", self.origin(named("one")).address))
        for port in 1, 2:
            self.done(engine, "add", "app", f"127.0.0.1:{port}")
        self.done(engine, "reset")
        for port in 1, 2:
            self.assertRegex(engine.log(), fr"(?m)^\S+ notice by command: no longer: app/127\.0\.0\.1:{port}: added$")

    def test_a_full_pool_takes_no_more(self):
        full = ", ".join(f"127.9.{i // 256}.{i % 256}:1" for i in range(1024))
        engine = self.weir(BASE % ("", full))
        self.assertIn("1024 servers", self.refused(engine, "add", "app", "127.0.0.1:1"))
        self.done(engine, "remove", "app/127.9.0.1:1")
        self.done(engine, "add", "app", "127.0.0.1:1")
        self.assertIn("127.0.0.1:1", servers(engine))
        self.assertIn("1024 servers", self.refused(engine, "add", "app", "127.9.0.1:1"))

    def test_any_policy_can_do_without_servers(self):
        one = self.origin(named("one"))
        for balance in ("round-robin", "least-load", "two-choices", "consistent-hash"):
            engine = self.weir(f"routes: [ {{ pool: app }} ]\npools: {{ app: {{ servers: [ {one.address} ], balance: {balance} }} }}\n")
            self.done(engine, "remove", "app/" + one.address)
            self.assertEqual(engine.get().status, 503)
            self.done(engine, "add", "app", one.address)
            self.assertEqual(engine.get().body, b"one")

    def test_forced_states(self):
        one, two = self.origin(named("one")), self.origin(named("two"))
        engine = self.weir(BASE % ("", f"{one.address}, {two.address}"))
        self.done(engine, "state", "app/" + one.address, "down")
        self.assertEqual({engine.get().body for _ in range(8)}, {b"two"})
        self.assertEqual(servers(engine)[one.address]["forced"], "down")
        self.done(engine, "drain", "app/" + two.address)
        self.assertEqual(engine.get().status, 503)
        self.done(engine, "undrain", "app/" + two.address)
        self.done(engine, "state", "app/" + one.address, "auto")
        self.assertEqual({engine.get().body for _ in range(8)}, {b"one", b"two"})

    def test_forced_up_ignores_checks(self):
        def script(exchange):
            ok(exchange) if exchange.path != "/healthz" else exchange.send(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
        one = self.origin(script)
        engine = self.weir(f"routes: [ {{ pool: app }} ]\npools: {{ app: {{ servers: [ {one.address} ], health: {{ path: /healthz, interval: 100ms, fall: 1 }} }} }}\n")
        wait_for("down", lambda: engine.get().status == 503)
        self.done(engine, "state", "app/" + one.address, "up")
        self.assertEqual(engine.get().status, 200)
        self.done(engine, "state", "app/" + one.address, "auto")
        self.assertEqual(engine.get().status, 503)

    def test_many_at_once_are_done_one_after_the_other(self):
        one = self.origin(named("one"))
        engine = self.weir(BASE % ("", one.address))
        results = []
        def add(i):
            results.append(engine.command("server", "add", "app", f"127.0.0.2:{2000 + i}", "--weight", "1")[0])
        def reload():
            results.append(engine.command("reload")[0])
        threads = [threading.Thread(target=add, args=(i,)) for i in range(6)] + [threading.Thread(target=reload)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        self.assertEqual(results, [0] * 7)
        self.assertEqual(len(servers(engine)), 7)


class State(Scene):
    def config(self, folder, *origins):
        return BASE % (f"state-file: {folder}/state\n", ", ".join(o.address for o in origins))

    def start(self, one, two, folder="{folder}"):
        return self.weir(self.config(folder, one, two))

    def test_it_outlives_a_death_and_a_stop(self):
        one, two, three = (self.origin(named(n)) for n in ("one", "two", "three"))
        first = Weir(self.config("{folder}", one, two))
        folder = first.folder
        try:
            self.assertEqual(first.command("server", "add", "app", three.address, "--weight", "7")[0], 0)
            self.assertEqual(first.command("server", "remove", "app/" + one.address)[0], 0)
            self.assertEqual(first.command("drain", "app/" + two.address)[0], 0)
            self.assertEqual(first.command("server", "state", "app/" + three.address, "up")[0], 0)
            self.assertEqual(first.command("server", "save")[0], 0)
            with open(os.path.join(folder, "state")) as f:
                self.assertTrue(f.read().startswith("weir-state 1\nwritten "))
        finally:
            first.process.send_signal(signal.SIGKILL)
            first.process.wait()
        second = self.start(one, two, folder)
        self.check(second, one, two, three)
        second.command("undrain", "app/" + two.address)
        second.process.send_signal(signal.SIGTERM)
        second.process.wait(20)
        third = self.start(one, two, folder)
        found = servers(third)
        self.assertEqual((found[two.address]["state"], found[three.address]["weight"]), ("up", 7))

    def check(self, engine, one, two, three):
        found = servers(engine)
        self.assertEqual(found[one.address]["state"], "removed")
        self.assertEqual(found[two.address]["state"], "drained")
        self.assertEqual((found[three.address]["weight"], found[three.address]["forced"], found[three.address]["source"]), (7, "up", "command"))
        self.assertEqual({engine.get().body for _ in range(6)}, {b"three"})

    def test_any_bytes_stop_no_start(self):
        one, two = self.origin(named("one")), self.origin(named("two"))
        files = [os.urandom(5000), b"", b"weir-state 1\n", b"x" * (5 << 20), b"weir-state 2\nwritten 1\n",
                 b"weir-state 1\nwritten 1\n" + b"add app/nonsense\nremove nowhere/10.0.0.1:80\n\xff\xfe\n" + b"z\n" * 100 + b"drained app/" + two.address.encode() + b"\n"]
        for content in files:
            folder = self.folder()
            with open(os.path.join(folder, "state"), "wb") as f:
                f.write(content)
            engine = self.start(one, two, folder)
            self.assertEqual(engine.get().status, 200)
            if content is files[-1]:
                self.assertEqual(servers(engine)[two.address]["state"], "drained")
                log = engine.log()
                self.assertEqual(len(re.findall(r"line \d+ is skipped", log)), 20)
                self.assertIn("more lines are skipped", log)

    def folder(self):
        folder = tempfile.mkdtemp(prefix="weir-state-")
        self.addCleanup(shutil.rmtree, folder, True)
        return folder

    def test_marks_outlive_a_stop(self):
        one, dead = self.origin(named("one")), free_port()
        folder = self.folder()
        config = (f"workers: 2\npin: false\nstate-file: {folder}/state\nroutes: [ {{ pool: app }} ]\npools: {{ app: {{ servers: [ {one.address}, 127.0.0.1:{dead} ], "
                  "passive-health: { fail-after: 1, back-off: 1m } } }\n")
        first = self.weir(config)
        for _ in range(4):
            self.assertEqual(first.get().status, 200)
        self.assertEqual(first.server(dead)["state"], "marked")
        first.process.send_signal(signal.SIGTERM)
        first.process.wait(20)
        found = self.weir(config).server(dead)
        self.assertEqual(found["state"], "marked")
        self.assertGreater(found["marked_for_ms"], 1000)

    def test_health_of_long_ago_is_not_believed(self):
        one, two = self.origin(named("one")), self.origin(named("two"))
        for age, state in ((0, "marked"), (3600, "up")):
            folder = self.folder()
            with open(os.path.join(folder, "state"), "w") as f:
                f.write(f"weir-state 1\nwritten {int(time.time()) - age}\nmarked app/{one.address} ms=60000 marks=2 failures=4\n")
            engine = self.start(one, two, folder)
            self.assertEqual(servers(engine)[one.address]["state"], state)

    def test_a_stop_does_not_fail_when_it_cannot_be_written(self):
        one, two = self.origin(named("one")), self.origin(named("two"))
        engine = self.start(one, two, "/nonexistent-folder")
        self.assertIn("nonexistent", engine.command("server", "save")[2])
        engine.process.send_signal(signal.SIGTERM)
        self.assertEqual(engine.process.wait(20), 0)


if __name__ == "__main__":
    unittest.main()
