"""`weir explain` says what a request then meets: the same route, the same server, the same bytes, the same refusal."""
import unittest

from stage import Scene, free_port, named, ok, wait_for
from tls_certificates import certificates

CONFIG = """
trusted-proxies: [ 192.0.2.0/24 ]
limits: { body: 1MiB, target: 2000B }
routes:
  - { name: assets, match: { host: static.example.com, path: /assets/* }, pool: assets, rewrite: { strip-prefix: /assets } }
  - { name: hidden, match: { path: /hidden/*, header: { X-Key: secret } }, pool: app }
  - { name: put, match: { method: PUT }, respond: { status: 405, body: no } }
  - { name: old, match: { path: /old/* }, redirect: { to: "https://new.example{path}?{query}", status: 308 } }
  - name: app
    match: { path: "/app/**" }
    pool: app
    rewrite: { strip-prefix: /app, add-prefix: /v1 }
    request-headers: { set: { X-Where: "{host}{path} on {server}" }, remove: Referer }
pools:
  app:
    balance: round-robin
    host: internal.example
    retries: 1
    servers: [ APP ]
  assets:
    balance: consistent-hash
    hash-key: uri
    servers: [ ASSETS ]
    passive-health: { fail-after: 1, back-off: 1h, back-off-max: 1h }
"""


class Explained(Scene):
    def engine(self, app, assets=(), top=""):
        def addresses(origins):
            return ", ".join(o if isinstance(o, str) else f'"{o.address}"' for o in origins)
        return self.weir(top + CONFIG.replace("APP", addresses(app)).replace("ASSETS", addresses(assets or app)))

    def ask(self, engine, *words):
        return engine.json("explain", *words)

    def url(self, engine, rest):
        return f"http://127.0.0.1:{engine.port}{rest}"


class Routes(Explained):
    def test_the_route_and_why_not_those_before(self):
        engine = self.engine([self.origin(named("a"))])
        said = self.ask(engine, self.url(engine, "/app/x"))
        self.assertEqual(said["route"], "app")
        self.assertEqual([(p["route"], p["because"]) for p in said["passed_over"]],
                         [("assets", "host"), ("hidden", "path"), ("put", "method"), ("old", "path")])
        said = self.ask(engine, self.url(engine, "/hidden/x"), "-H", "X-Key: wrong")
        self.assertEqual((said["passed_over"][1]["because"], said["action"], said["status"], said["why"]), ("header X-Key", "refuse", 404, "no_route"))
        self.assertEqual(self.ask(engine, self.url(engine, "/hidden/x"), "-H", "x-key: secret")["route"], "hidden")
        self.assertEqual(self.ask(engine, "http://static.example.com/assets/x")["route"], "assets")

    def test_many_routes_are_counted(self):
        routes = "\n".join(f"  - {{ match: {{ path: /{i} }}, respond: {{ status: 204 }} }}" for i in range(100))
        engine = self.weir(f"routes:\n{routes}\n")
        said = self.ask(engine, self.url(engine, "/99"))
        self.assertEqual((len(said["passed_over"]), said["passed_over_count"], said["route"]), (32, 99, "routes[99]"))
        self.assertIn("... and 67 more do not", engine.command("explain", self.url(engine, "/99"))[1])

    def test_answers_and_redirects_are_those_of_the_engine(self):
        engine = self.engine([self.origin(named("a"))])
        for method, path in (("PUT", "/x"), ("GET", "/old/a%7eb/../c?x=%20"), ("GET", "/nothing")):
            said, got = self.ask(engine, method, self.url(engine, path)), engine.get(path, method)
            self.assertEqual((said["status"], said.get("location")), (got.status, got.field("Location")))

    def test_listeners(self):
        moved, secure = free_port(), free_port()
        engine = self.engine([self.origin(named("a"))], top=f"""listeners:
  - {{ name: web, address: "127.0.0.1:{{port}}" }}
  - {{ address: "127.0.0.1:{{admin}}", serve: admin }}
  - {{ name: moved, address: "127.0.0.1:{moved}", redirect-to-https: on }}
  - {{ name: secure, address: "127.0.0.1:{secure}", tls: {{ certificates: [ {certificates().site.yaml} ] }} }}
""")
        def listener(url):
            said = self.ask(engine, url)
            return said["listener"]["name"], said["listener"]["exact"], said["action"]
        self.assertEqual(listener(self.url(engine, "/app/x")), ("web", True, "pool"))
        self.assertEqual(listener(f"http://a:{engine.admin}/metrics"), (f"127.0.0.1:{engine.admin}", True, "admin"))
        self.assertEqual(listener(f"https://a:{secure}/app/x"), ("secure", True, "pool"))
        self.assertEqual(listener("https://a/app/x"), ("secure", False, "pool"))
        self.assertEqual(listener("http://a/app/x"), ("web", False, "pool"))
        self.assertEqual(self.ask(engine, f"http://a.example:{moved}/b?c")["location"], "https://a.example/b?c")
        self.assertIn("X-Forwarded-Proto: https\r\n", self.ask(engine, "https://a/app/x")["head"])

    def test_a_scheme_that_no_listener_speaks(self):
        engine = self.engine([self.origin(named("a"))])
        self.assertIsNone(self.ask(engine, "https://a/app/x")["listener"])
        self.assertIn("none speaks https", engine.command("explain", "https://a/app/x")[1])


class Refusals(Explained):
    def test_malformed_requests_are_refused_alike(self):
        engine = self.engine([self.origin(named("a"))])
        cases = [("GET", "/a\x01", []), ("G(T", "/", []), ("GET", "/../../x", []), ("GET", "/%zz", []), ("GET", "/", ["No colon"]), ("GET", "/", ["A : b"]),
                 ("GET", "/", ["Content-Length: 5", "Transfer-Encoding: chunked"]), ("GET", "/", ["Host: a", "Host: b"]), ("GET", "/", ["Host: a b"]),
                 ("TRACE", "/", []), ("POST", "/app/x", ["Content-Length: 2000000"]), ("GET", "/", ["Expect: 200-maybe"]),
                 ("GET", "/" + "a" * 2000, []), ("GET", "/", ["Transfer-Encoding: gzip"]), ("OPTIONS", "/app/x", ["Max-Forwards: 0"])] + \
                [("GET", "/", [f"X-{i}: {'v' * 1500}" for i in range(15)])]
        for method, path, fields in cases:
            words = [word for field in fields for word in ("-H", field)]
            said = self.ask(engine, method, self.url(engine, path), *words)
            host = [f"Host: 127.0.0.1:{engine.port}"] if not any(f.startswith("Host") for f in fields) else []
            with engine.connect() as client:
                client.send("\r\n".join([f"{method} {path} HTTP/1.1"] + host + fields).encode() + b"\r\n\r\n")
                self.assertEqual((said["action"], said["status"]), ("refuse", client.response().status), (method, path[:20], fields and fields[0][:40]))

    def test_questions_that_are_none(self):
        engine = self.engine([self.origin(named("a"))])
        for words in (["ftp://a/"], ["/path"], ["http://a/", "--from", "nobody"], ["http://a/", "--from", "1.2.3.4.5"], ["http://a/", "--from", "1" * 300]):
            code, out, err = engine.command("explain", *words)
            self.assertEqual((code, out), (2, ""), words)
            self.assertTrue(err)
        self.assertEqual(engine.command("explain")[0], 2)
        self.assertEqual(engine.command("explain", "GET", "http://a/", "x")[0], 2)


class Heads(Explained):
    def test_the_head_is_the_one_that_is_sent(self):
        origin = self.origin(ok)
        engine = self.engine([origin])
        cases = [("GET", "/app/a%7Eb/./c?q=1", ["Referer: x", "Accept: */*", "Connection: close, X-Hop", "X-Hop: 1", "X-Forwarded-For: 9.9.9.9"]),
                 ("POST", "/app/x", ["Content-Length: 0", "Cookie: a=b"]), ("OPTIONS", "/app/", ["Max-Forwards: 10", "TE: trailers"]),
                 ("GET", "/app/x", ["Host: other.example"])]
        for method, path, fields in cases:
            words = [word for field in fields for word in ("-H", field)]
            said = self.ask(engine, method, self.url(engine, path), *words)
            host = [f"Host: 127.0.0.1:{engine.port}"] if not any(f.startswith("Host") for f in fields) else []
            engine.get(path, method, host + fields)
            self.assertEqual(said["head"], origin.requests[-1].decode() + "\r\n\r\n")
            self.assertEqual((said["picked"], said["retries"], said["idempotent"]), (origin.address, 1, method != "POST"))

    def test_where_it_comes_from(self):
        engine = self.engine([self.origin(ok)])
        for address, trusted, kept in (("192.0.2.7", True, "9.9.9.9, 192.0.2.7"), ("198.51.100.1", False, "198.51.100.1"), ("2001:db8::1", False, "2001:db8::1")):
            said = self.ask(engine, self.url(engine, "/app/x"), "--from", address, "-H", "X-Forwarded-For: 9.9.9.9")
            self.assertEqual(said["request"]["trusted"], trusted)
            self.assertIn(f"X-Forwarded-For: {kept}\r\n", said["head"])


class Servers(Explained):
    def hashing(self, extra=()):
        return self.engine([self.origin(named("x"))], [self.origin(named(n)) for n in "abcd"] + list(extra))

    def really(self, engine, path):
        response = engine.get(path, headers=["Host: static.example.com"])
        self.assertEqual(response.status, 200)
        return response.body.decode()

    def agree(self, engine, names, count=50):
        """For each key what is said is where the request goes, whichever worker has it; the servers that were said."""
        found = set()
        for i in range(count):
            said = self.ask(engine, f"http://static.example.com/assets/{i}?k={i % 3}")
            self.assertEqual(said["pool"]["key"], f"/assets/{i}?k={i % 3}")
            for _ in range(2):
                self.assertEqual(names[said["picked"]], self.really(engine, f"/assets/{i}?k={i % 3}"), said)
            found.add(names[said["picked"]])
        return found

    def test_consistent_hash_is_told_exactly(self):
        origins = {name: self.origin(named(name)) for name in "abcd"}
        dead = f"127.0.0.1:{free_port()}"
        engine = self.engine([self.origin(named("x"))], [*origins.values(), dead])
        names = {origin.address: name for name, origin in origins.items()}
        # A request to the dead one marks it; from then on others stand in for it.
        wait_for("the dead one to be marked", lambda: [self.really(engine, f"/assets/find/{i}") for i in range(60)] and engine.server(dead)["state"] == "marked")
        self.assertEqual(self.agree(engine, names), set("abcd"))
        self.assertEqual(engine.command("drain", origins["b"].address)[0], 0)
        self.assertEqual(self.agree(engine, names), set("acd"))
        said = [self.ask(engine, f"http://static.example.com/assets/{i}") for i in range(40)]
        whys = {s["picked_why"] for s in said}
        self.assertIn("the hash names it", whys)
        self.assertIn(f"it stands in for {origins['b'].address}, which the hash names", whys)
        self.assertIn(f"it stands in for {dead}, which the hash names", whys)
        states = {s["address"]: s["state"] for s in said[0]["pool"]["servers"]}
        self.assertEqual((states[dead], states[origins["b"].address], states[origins["a"].address]), ("marked", "drained", "up"))
        self.assertIn("marked for another", [s["why"] for s in said[0]["pool"]["servers"] if s["address"] == dead][0])

    def test_asking_changes_nothing(self):
        """A trial that is due stays due, and nobody is counted or held."""
        engine = self.weir(f"routes: [ {{ pool: app }} ]\npools:\n  app:\n    servers: [ {{ address: \"127.0.0.1:{free_port()}\", max-connections: 1 }} ]\n"
                           "    passive-health: { fail-after: 1, back-off: 100ms }\n    retries: 0\n")
        self.assertEqual(engine.get().status, 502)
        wait_for("the trial to be due", lambda: engine.json("pools")["servers"][0]["state"] == "trial")
        before = engine.json("pools")["servers"][0]
        for _ in range(20):
            said = self.ask(engine, self.url(engine, "/"))
            self.assertEqual((said["pool"]["servers"][0]["state"], said["pool"]["servers"][0]["usable"]), ("trial", True))
            self.assertEqual(said["picked"], before["address"])
        self.assertEqual(engine.json("pools")["servers"][0], before)

    def test_full_and_down(self):
        release = []
        origin = self.origin(lambda exchange: (wait_for("release", lambda: release), ok(exchange))[1])
        engine = self.weir(f"routes: [ {{ pool: app }} ]\npools:\n  app:\n    servers: [ {{ address: \"{origin.address}\", max-connections: 1 }} ]\n    queue: {{ max: 7 }}\n")
        with engine.connect() as client:
            client.send_request()
            wait_for("the place to be taken", lambda: origin.requests)
            said = self.ask(engine, self.url(engine, "/"))
            self.assertEqual((said["picked"], said["pool"]["servers"][0]["state"], said["candidates"]), (None, "full", []))
            self.assertIn("0 of 7 there", said["picked_why"])
            release.append(True)
            client.response()
        engine.command("drain", origin.address)
        self.assertIn("503", self.ask(engine, self.url(engine, "/"))["picked_why"])

    def test_down_by_checks(self):
        engine = self.weir(f"routes: [ {{ pool: app }} ]\npools:\n  app:\n    servers: [ \"127.0.0.1:{free_port()}\" ]\n    health: {{ type: tcp, interval: 100ms, fall: 1 }}\n")
        wait_for("down", lambda: engine.json("pools")["servers"][0]["state"] == "down")
        server = self.ask(engine, self.url(engine, "/"))["pool"]["servers"][0]
        self.assertRegex(server["why"], r"^down by checks: .*refused, \d+ s ago$")

    def test_policies_of_workers_name_candidates(self):
        origins = [self.origin(named(n)) for n in "abc"]
        engine = self.engine(origins)
        said = self.ask(engine, self.url(engine, "/app/x"))
        self.assertEqual((said["picked"], said["candidates"]), (None, [o.address for o in origins]))
        self.assertEqual(engine.command("drain", "app/" + origins[0].address)[0], 0)
        self.assertEqual(engine.command("drain", "app/" + origins[2].address)[0], 0)
        said = self.ask(engine, self.url(engine, "/app/x"))
        self.assertEqual((said["picked"], said["picked_why"]), (origins[1].address, "no other can be used"))

    def test_the_text_says_the_same(self):
        engine = self.hashing()
        code, out, err = engine.command("explain", "http://static.example.com/assets/x?y", "-H", "Accept: */*")
        self.assertEqual((code, err), (0, ""))
        for line in (r'request   GET /assets/x\?y for "static.example.com", from 127.0.0.1', r"listener  none for http on port 80; as if it came by 127", r"route     assets",
                     r'pool      assets, consistent-hash by uri "/assets/x\?y", hash [0-9a-f]{16}', r"servers   127.0.0.1:\d+ +up, 0 in flight",
                     r"picked    127.0.0.1:\d+; the hash names it", r"retries   up to 2, .*GET is idempotent", r"head      as it is sent", r"          GET /x\?y HTTP/1.1",
                     r"          Accept: \*/\*"):
            self.assertRegex(out, "(?m)^" + line)


if __name__ == "__main__":
    unittest.main()
