"""A reload moves no connection: added, removed, changed, refused, and one every 100 ms under load."""
import os
import signal
import threading
import time
import unittest

from stage import Client, Scene, answers, free_port, named, ok, wait_for

BASE = "workers: 2\npin: false\nroutes: [ { pool: app } ]\npools: { app: { servers: [ %s ] } }\n"


class Reload(Scene):
    def test_what_changed_is_said_and_in_force(self):
        one, two = self.origin(named("one")), self.origin(named("two"))
        engine = self.weir(BASE % one.address)
        with engine.connect() as client:
            client.send_request()
            self.assertEqual(client.response().body, b"one")
            engine.write(BASE % two.address)
            code, out, _ = engine.command("reload")
            self.assertEqual(code, 0)
            self.assertIn(two.address, out)
            client.send_request()
            self.assertEqual(client.response().body, b"two")
        self.assertEqual(engine.counter("generation"), 2)
        self.assertIn("nothing changed", engine.command("reload")[1])

    def test_a_bad_file_changes_nothing_and_says_where(self):
        engine = self.weir(BASE % self.origin(named("one")).address)
        engine.write("routes: [ { pool: app } ]\npools: { app: { servers: [ 127.0.0.1:1 ], balanc: x } }\n")
        code, _, err = engine.command("reload")
        self.assertEqual(code, 3)
        self.assertRegex(err, r"weir.yaml:\d+:\d+: error: .*balanc")
        self.assertIn("balance", err)
        self.assertEqual(engine.get().body, b"one")

    def test_what_needs_a_restart_is_refused_by_name(self):
        origin = self.origin()
        engine = self.weir(BASE % origin.address)
        engine.write((BASE % origin.address).replace("workers: 2", "workers: 1"))
        code, _, err = engine.command("reload")
        self.assertEqual((code, "workers" in err), (1, True))

    def test_listeners_come_and_go_and_connections_stay(self):
        origin, extra = self.origin(), free_port()
        engine = self.weir(BASE % origin.address)
        listeners = f"listeners:\n  - address: 127.0.0.1:{engine.port}\n"
        engine.write(listeners + f"  - address: 127.0.0.1:{extra}\n" + BASE % origin.address)
        self.assertEqual(engine.command("reload")[0], 0)
        with Client(extra) as client:
            client.send_request()
            self.assertEqual(client.response().status, 200)
            engine.write(listeners + BASE % origin.address)
            self.assertEqual(engine.command("reload")[0], 0)
            wait_for("the listener to be gone", lambda: not answers(extra))
            client.send_request()
            self.assertEqual(client.response().status, 200)

    def test_an_address_in_use_refuses_the_reload(self):
        origin = self.origin()
        engine = self.weir(BASE % origin.address)
        engine.write(f"listeners:\n  - address: 127.0.0.1:{engine.port}\n  - address: {origin.address}\n" + BASE % origin.address)
        code, _, err = engine.command("reload")
        self.assertEqual((code, "in use" in err), (1, True), err)
        self.assertEqual(engine.get().status, 200)

    def test_sighup_reloads(self):
        one, two = self.origin(named("one")), self.origin(named("two"))
        engine = self.weir(BASE % one.address)
        engine.write(BASE % two.address)
        engine.process.send_signal(signal.SIGHUP)
        wait_for("the new origin", lambda: engine.get().body == b"two")

    def test_marks_and_counters_survive(self):
        origin = self.origin()
        config = (f"workers: 1\npin: false\nroutes: [ {{ pool: app }} ]\npools: {{ app: {{ balance: round-robin, servers: [ 127.0.0.1:{free_port()}, {origin.address} ], "
                  "passive-health: { fail-after: 1, back-off: 1m } } }\n")
        engine = self.weir(config)
        for _ in range(4):
            self.assertEqual(engine.get().status, 200)
        engine.write(config + "via: other\n")
        self.assertEqual(engine.command("reload")[0], 0)
        self.assertEqual(engine.json("pools")["servers"][0]["state"], "marked")
        self.assertGreaterEqual(engine.counter("requests"), 4)

    def test_access_log_is_opened_anew(self):
        origin = self.origin()
        engine = self.weir("log: { access: {folder}/access.log }\n" + BASE % origin.address)
        path = os.path.join(engine.folder, "access.log")
        engine.get("/one")
        wait_for("the first line", lambda: os.path.getsize(path) > 0)
        os.rename(path, path + ".1")
        self.assertEqual(engine.command("reload")[0], 0)
        engine.get("/two")
        wait_for("the second line", lambda: os.path.exists(path) and "/two" in self.text(path))
        self.assertNotIn("/two", self.text(path + ".1"))

    def text(self, path):
        with open(path) as f:
            return f.read()

    def test_a_reload_every_100_ms_closes_no_connection_and_fails_no_request(self):
        origins = [self.origin(named(n)) for n in ("one", "two")]
        engine = self.weir(BASE % origins[0].address)
        stop, failures, served = threading.Event(), [], [0]
        def client():
            try:
                with engine.connect() as c:
                    while not stop.is_set():
                        c.send_request("/x", "POST", body=b"y" * 2000)
                        if c.response().status != 200:
                            failures.append("status")
                        served[0] += 1
            except Exception as e:
                failures.append(repr(e))
        threads = [threading.Thread(target=client) for _ in range(8)]
        [t.start() for t in threads]
        end, reloads = time.monotonic() + 4, 0
        while time.monotonic() < end:
            engine.write(BASE % origins[reloads % 2].address)
            self.assertEqual(engine.command("reload")[0], 0)
            reloads += 1
            time.sleep(0.1)
        stop.set()
        [t.join() for t in threads]
        self.assertEqual(failures, [])
        self.assertGreater(served[0], 100)
        self.assertGreater(reloads, 8)


if __name__ == "__main__":
    unittest.main()
