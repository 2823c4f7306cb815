"""Logs, counters, the command's outputs and exit codes."""
import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

from cache_props import Answer, CacheScene, Gate, Reader, caching, status_of
from stage import SLOW, WEIR, Client, Scene, Weir, answers, free_port, named, ok, wait_for


def command(*words, **more):
    done = subprocess.run([WEIR, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60, **more)
    return done.returncode, done.stdout, done.stderr


class Logs(Scene):
    def lines(self, form):
        origin = self.origin(ok)
        # One worker: each writes its own lines together, so that only those of one come in order.
        engine = self.weir(f"workers: 1\npin: false\nlog: {{ access: {{folder}}/access.log, format: {form} }}\nroutes: [ {{ name: all, pool: app }} ]\n"
                           f"pools: {{ app: {{ servers: [ {origin.address} ] }} }}\n")
        engine.get("/a?b=c", headers=['User-Agent: he said "x"\\ \xff\x01'.replace("\x01", "\t"), "Referer: http://r/"])
        engine.get("/post", "POST", body=b"x" * 10)
        with engine.connect() as client:
            client.send(b"BROKEN\r\n\r\n")
            client.response()
        path = os.path.join(engine.folder, "access.log")
        def text():
            with open(path, encoding="latin-1") as f:
                return f.read()
        wait_for("three lines", lambda: text().count("\n") >= 3)
        return [line for line in text().split("\n") if line]

    def test_json_lines(self):
        first, second, third = (json.loads(line) for line in self.lines("json"))
        self.assertEqual((first["method"], first["target"], first["status"], first["sent"], first["route"], first["pool"], first["complete"]),
                         ("GET", "/a?b=c", 200, 3, "all", "app", True))
        self.assertIn('he said "x"\\', first["user_agent"])
        self.assertRegex(first["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        self.assertEqual((second["received"], second["attempts"]), (10, 1))
        self.assertEqual((third["status"], third["why"]), (400, "bad_method"))

    def test_combined_lines(self):
        for line in self.lines("combined"):
            self.assertRegex(line, r'^127\.0\.0\.1 - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d \+0000\] "[^"]*" \d{3} \d+ "([^"\\]|\\.)*" "([^"\\]|\\.)*"$')


class CacheLog(CacheScene):
    """What the access log says that the cache did, request by request; and Cache-Status where the engine answers itself."""

    def setUp(self):
        self.play(top="workers: 1\npin: false\nlog: { access: {folder}/access.log }", cache=", purge-from: [ 127.0.0.1 ]",
                  routes='  - { match: { path: "/plain/*" }, pool: app }')
        self.wanted = []

    def ask(self, path, word, status=200, headers=(), method="GET"):
        response = self.engine.get(path, method, headers)
        self.assertEqual(response.status, status, (path, response.fields))
        self.wanted.append((path, word))
        return response

    def logged(self):
        path = os.path.join(self.engine.folder, "access.log")
        def lines():
            with open(path, encoding="ascii") as file:
                return file.read().splitlines()
        wait_for("all lines", lambda: len(lines()) >= len(self.wanted))
        return [json.loads(line) for line in lines()]

    def check(self):
        self.assertEqual([(line["target"], line.get("cache")) for line in self.logged()], self.wanted)

    def aged(self, *fields, control=""):
        """Stale from the beginning."""
        return caching(f"60{control}", "Age: 100", 'ETag: "e"', *fields)

    def test_from_the_store_or_from_the_origin(self):
        self.ask("/a", "miss")
        self.ask("/a", "hit")
        self.ask("/a", "hit", method="HEAD")
        self.ask("/plain/a", None)
        self.ask("/part", "miss", 206, ["Range: bytes=0-1"])
        self.ask("/part", "hit", 206, ["Range: bytes=0-1"])
        self.shelf.keep("/mine", Answer(fields=["Cache-Control: private"]))
        self.ask("/mine", "pass")
        self.ask("/post", "pass", method="POST")
        self.ask("/head", "pass", method="HEAD")
        self.ask("/a", "purge", method="PURGE")
        self.ask("/a", "miss")
        self.check()

    def test_what_is_stale(self):
        self.shelf.keep("/beside", self.aged(control=", stale-while-revalidate=600"))
        self.shelf.keep("/allowed", self.aged())
        self.shelf.put("/failing", self.aged(control=", stale-if-error=600"), Answer(500))
        self.shelf.put("/asked", self.aged(), Answer(304, fields=['ETag: "e"']), Answer(200))
        self.ask("/beside", "miss")
        self.ask("/beside", "stale")
        self.ask("/allowed", "miss")
        for times in range(2):  # the first finds it in its home, the other in the worker's own table
            self.ask("/allowed", "stale", headers=["Cache-Control: max-stale"])
        self.ask("/failing", "miss")
        self.ask("/failing", "stale")
        self.ask("/asked", "miss")
        self.ask("/asked", "validated")
        self.ask("/asked", "pass", headers=["Cache-Control: no-cache"])  # it has changed, and is not to be stored
        self.check()
        self.assertEqual(self.engine.json("cache", "status")["stale"], 4)

    def test_who_waited_for_another(self):
        gate = Gate(b"text", first=False)
        self.shelf.put("/crowd", gate)
        self.addCleanup(gate.go, 100)
        one = Reader(self, "/crowd")
        self.assertTrue(gate.arrived.acquire(timeout=SLOW))
        two = Reader(self, "/crowd")
        wait_for("it to wait", lambda: self.engine.json("cache", "status")["collapsed"] == 1)
        gate.go(3)
        self.assertEqual([reader.done().status for reader in (one, two)], [200, 200])
        self.wanted = [("/crowd", "miss"), ("/crowd", "collapsed")]
        self.assertEqual(sorted((line["target"], line["cache"]) for line in self.logged()), sorted(self.wanted))

    def test_answers_of_the_engines_own(self):
        self.shelf.keep("/broken", Answer(framing="none"))
        said = status_of(self.ask("/broken", "miss", 502))
        self.assertEqual(said, {"fwd": "uri-miss"})
        said = status_of(self.ask("/nothing", "miss", 504, ["Cache-Control: only-if-cached"]))
        self.assertEqual(said, {"detail": "only-if-cached"})
        self.shelf.keep("/varied", caching(600, "Vary: X-A"))
        self.shelf.keep("/old", caching(60, "Age: 100", 'ETag: "a"'))
        for path, headers in (("/varied", ["X-A: 2"]), ("/old", []), ("/varied", ["Range: bytes=0-0", "X-A: 2"]), ("/old", ["If-Match: x"])):
            self.ask(path, "miss", 200)
            said = status_of(self.ask(path, "miss", 504, ["Cache-Control: only-if-cached", *headers]))
            self.assertEqual(said, {"detail": "only-if-cached"}, (path, headers))
            self.engine.command("purge", "--all")
        self.assertNotIn("cache-status", [name.lower() for name, _ in self.ask("/plain/x", None).fields])
        self.check()

    def test_combined_lines_stay_what_others_read(self):
        engine = self.weir(f"log: {{ access: {{folder}}/access.log, format: combined }}\nroutes: [ {{ pool: app, cache: {{}} }} ]\n"
                           f"pools: {{ app: {{ servers: [ {self.source.address} ] }} }}\n")
        engine.get("/a")
        path = os.path.join(engine.folder, "access.log")
        wait_for("a line", lambda: os.path.getsize(path) > 0)
        with open(path, encoding="ascii") as file:
            self.assertRegex(file.read(), r'"GET /a HTTP/1.1" 200 2 "-" "-"\n$')


class Counters(Scene):
    def test_prometheus_text_is_well_formed_and_tells(self):
        engine = self.before(self.origin(ok))
        for _ in range(7):
            engine.get()
        time.sleep(1.2)
        with Client(engine.admin) as client:
            client.send_request("/metrics")
            text = client.response().body.decode()
        values, types = {}, {}
        for line in text.splitlines():
            if line.startswith("# TYPE"):
                types[line.split()[2]] = line.split()[3]
                continue
            if line.startswith("#"):
                continue
            m = re.fullmatch(r'([a-z_][a-z0-9_]*)(\{([a-z]+="(?:[^"\\]|\\.)*",?)*\})? ([0-9.e+-]+|\+Inf)', line)
            self.assertTrue(m, line)
            values[m.group(1)] = values.get(m.group(1), 0) + float(m.group(4))
            base = re.sub(r"_(bucket|sum|count)$", "", m.group(1))
            self.assertTrue(m.group(1) in types or base in types, line)
        self.assertEqual((values["weir_requests_total"], values["weir_server_requests_total"], values["weir_request_seconds_count"]), (8, 7, 7))  # one is this
        self.assertGreater(values["weir_server_sent_bytes_total"], 100)
        with Client(engine.admin) as client:
            client.send_request("/")
            self.assertEqual(client.response().status, 404)

    def test_status_pools_top(self):
        engine = self.before(self.origin(ok))
        engine.get()
        self.assertEqual(engine.counter("requests"), 1)
        for words in (["status"], ["pools"], ["top", "--once"], ["config", "show"], ["metrics"]):
            code, out, err = engine.command(*words)
            self.assertEqual((code, err), (0, ""), words)
            self.assertTrue(out)
        for words in (["status"], ["pools"], ["top"], ["config", "show"]):
            self.assertTrue(engine.json(*words))
        self.assertEqual(engine.json("config", "show")["via"], "weir")

    def test_nothing_is_allocated_once_warm(self):
        engine = self.before(self.origin(ok), top="")
        with engine.connect() as client:
            for i in range(300):
                client.send_request()
                client.response()
            time.sleep(1.2)
            before = engine.counter("allocations")
            for i in range(2000):
                client.send_request()
                client.response()
            time.sleep(1.2)
            self.assertEqual(engine.counter("allocations"), before)


class Congestion(Scene):
    """The congestion control of the engine's sockets, as ss sees it; the system's default may be any."""

    def held(self, port, side):
        out = subprocess.run([self.need("ss"), "-tinH", "state", "established", f"( {side} = :{port} )"], stdout=subprocess.PIPE, text=True).stdout
        with open("/proc/sys/net/ipv4/tcp_available_congestion_control") as file:
            known = file.read().split()
        return {word for line in out.splitlines() if not line.strip() == "" and line[:1].isspace() for word in line.split() if word in known}

    def told(self, engine, text):
        wait_for("the start-up line", lambda: "congestion control: " + text in engine.log())

    def engine(self, word):
        self.origin_here = self.origin()
        return self.weir(f"listeners: [ {{ address: \":{{port}}\" }} ]\ncongestion-control: {word}\n"
                         f"routes: [ {{ pool: app }} ]\npools: {{ app: {{ servers: [ \"{self.origin_here.address}\" ] }} }}\n")

    def test_auto_is_judged_by_each_peer(self):
        """The listener's address is every one, and these clients come by loopback, as IPv4 and IPv6."""
        engine = self.engine("auto")
        with open("/proc/sys/net/ipv4/tcp_congestion_control") as file:
            usual = file.read().strip()
        expected = {usual} if usual in ("cubic", "reno") else self.for_loopback()
        self.told(engine, f"auto ({next(iter(self.for_loopback()))} for loopback, {usual} for others)")
        for address in ("127.0.0.1", "::1"):
            with socket.create_connection((address, engine.port), 10) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                self.assertIn(b" 200 ", client.recv(65536))
                self.assertEqual(self.held(engine.port, "sport"), expected, address)
                self.assertEqual(self.held(self.origin_here.port, "dport"), self.for_loopback())

    def for_loopback(self):
        with open("/proc/sys/net/ipv4/tcp_available_congestion_control") as file:
            return {"cubic" if "cubic" in file.read().split() else "reno"}

    def test_a_name_is_for_all(self):
        engine = self.engine("reno")
        self.told(engine, "reno (reno)")
        with engine.connect() as client:
            client.send_request()
            self.assertEqual(client.response().status, 200)
            self.assertEqual((self.held(engine.port, "sport"), self.held(self.origin_here.port, "dport")), ({"reno"}, {"reno"}))

    def test_a_name_that_the_kernel_does_not_have_is_told(self):
        self.told(self.engine("nonesuch"), "nonesuch is not to be had: ")


class ExitCodes(Scene):
    def test_usage_is_2(self):
        self.assertEqual(command()[0], 2)
        code, _, err = command("relaod")
        self.assertEqual((code, 'did you mean "reload"' in err), (2, True))
        self.assertEqual(command("run")[0], 2)
        self.assertEqual(command("status", "--nonsense")[0], 2)

    def test_a_bad_configuration_is_3_with_all_errors(self):
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as f:
            f.write("listeners: [ { adress: 1 } ]\nroutes: [ { pol: app } ]\npools: { app: { servers: [ x ], retrys: 1 } }\n")
            f.flush()
            code, _, err = command("check", "-c", f.name)
            self.assertEqual(code, 3)
            self.assertGreaterEqual(err.count(": error: "), 3)
            self.assertIn("address", err)
            self.assertIn("^", err)
            self.assertEqual(command("run", "-c", f.name)[0], 3)
            code, out, _ = command("check", "-c", f.name, "--json")
            self.assertTrue(json.loads(out))

    def test_no_engine_is_4(self):
        self.assertEqual(command("status", "--socket", "/nonexistent/x.sock")[0], 4)

    def test_the_designs_file_runs_as_it_stands(self):
        page = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "cases", "design.yaml")
        self.assertEqual(command("config", "show", "-c", page)[0], 0)
        code, _, err = command("check", "-c", page)
        self.assertEqual((code, err.count("error: ")), (3, 1), err)  # which misses the certificate
        self.assertIn("/etc/weir/site.crt", err)

    def test_schema_and_completion(self):
        self.assertIn("properties", json.loads(command("config", "schema")[1]))
        self.assertIn("reload", command("completion", "bash")[1])
        self.assertEqual(command("version")[0], 0)


class Stopping(Scene):
    def slow(self):
        def script(exchange):
            time.sleep(1)
            return ok(exchange, b"slow\n")
        return self.before(self.origin(script))

    def test_requests_in_flight_end_first(self):
        engine = self.slow()
        with engine.connect() as client, engine.connect() as idle:
            idle.send_request("/healthy")
            idle.response()
            client.send_request()
            time.sleep(0.3)
            engine.process.send_signal(signal.SIGTERM)
            self.assertEqual(client.response().field("Connection"), "close")
            self.assertTrue(idle.closed())
        wait_for("the end", engine.ended)

    def test_the_deadline_holds(self):
        engine = self.before(self.origin(lambda e: time.sleep(20)))
        with engine.connect() as client:
            client.send_request()
            time.sleep(0.2)
            started = time.monotonic()
            self.assertEqual(engine.command("stop", "--deadline", "300ms")[0], 0)
            wait_for("the end", engine.ended)
            self.assertLess(time.monotonic() - started, 8)

    def test_stop_now(self):
        engine = self.slow()
        self.assertEqual(engine.command("stop", "--now")[0], 0)
        wait_for("the end", engine.ended)


class WithoutFile(Scene):
    def test_proxy_on_one_line(self):
        origin, port = self.origin(named("quick")), free_port()
        process = subprocess.Popen([WEIR, "proxy", f"127.0.0.1:{port}", "--to", origin.address], stderr=subprocess.DEVNULL)
        try:
            wait_for("it to listen", lambda: answers(port))
            with Client(port) as client:
                client.send_request()
                self.assertEqual(client.response().body, b"quick")
        finally:
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(20), 0)

    def test_demo_alternates_its_origins(self):
        if any(answers(p) for p in (8080, 8081, 9101, 9102, 9103)):
            self.skipTest("the demo's ports are in use")
        with tempfile.TemporaryDirectory() as folder:
            process = subprocess.Popen([WEIR, "demo"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ, XDG_RUNTIME_DIR=folder))
            try:
                wait_for("it to listen", lambda: answers(8080))
                bodies = set()
                for _ in range(20):
                    with Client(8080) as client:
                        client.send_request()
                        bodies.add(client.response().body)
                self.assertEqual(len(bodies), 3, bodies)
            finally:
                process.send_signal(signal.SIGTERM)
                self.assertEqual(process.wait(30), 0)


if __name__ == "__main__":
    unittest.main()
