"""What is forwarded, where to, and what the engine answers itself."""
import unittest

from stage import Scene, named, ok


class Forwarding(Scene):
    def seen(self, headers=(), path="/", method="GET", top="", pool="", version="1.1", body=b""):
        """The head an origin gets of a request, as lines."""
        origin = self.origin(ok)
        engine = self.before(origin, top=top, pool=pool)
        response = engine.get(path, method, headers, body, version)
        self.assertEqual(response.status, 200)
        return origin.requests[-1].decode("latin-1").split("\r\n")

    def value(self, lines, name):
        found = [line.split(": ", 1)[1] for line in lines[1:] if line.lower().startswith(name.lower() + ":")]
        self.assertLessEqual(len(found), 1, lines)
        return found[0] if found else None

    def test_via_and_forwarded_fields_are_added(self):
        lines = self.seen(["Host: example.com:81"])
        self.assertEqual(self.value(lines, "Host"), "example.com:81")
        self.assertEqual(self.value(lines, "Via"), "1.1 weir")
        self.assertEqual(self.value(lines, "X-Forwarded-For"), "127.0.0.1")
        self.assertEqual(self.value(lines, "X-Forwarded-Proto"), "http")
        self.assertEqual(self.value(lines, "X-Forwarded-Host"), "example.com:81")

    def test_what_an_untrusted_client_claims_is_replaced(self):
        lines = self.seen(["X-Forwarded-For: 1.2.3.4", "X-Forwarded-Proto: https", "X-Real-IP: 1.2.3.4", "Forwarded: for=1.2.3.4"])
        self.assertEqual(self.value(lines, "X-Forwarded-For"), "127.0.0.1")
        self.assertEqual(self.value(lines, "X-Forwarded-Proto"), "http")
        self.assertIsNone(self.value(lines, "X-Real-IP"))
        self.assertIsNone(self.value(lines, "Forwarded"))

    def test_what_a_trusted_proxy_says_is_kept_and_added_to(self):
        lines = self.seen(["X-Forwarded-For: 1.2.3.4", "X-Forwarded-Proto: https"], top="trusted-proxies: [ 127.0.0.0/8 ]")
        self.assertEqual(self.value(lines, "X-Forwarded-For"), "1.2.3.4, 127.0.0.1")
        self.assertEqual(self.value(lines, "X-Forwarded-Proto"), "https")

    def test_forwarded_of_rfc_7239(self):
        lines = self.seen(top="forwarded: rfc7239")
        self.assertEqual(self.value(lines, "Forwarded"), 'for=127.0.0.1;host="scene";proto=http')
        self.assertIsNone(self.value(lines, "X-Forwarded-For"))

    def test_hop_by_hop_fields_and_what_connection_names_stay_here(self):
        lines = self.seen(["Connection: X-Secret, keep-alive", "X-Secret: 1", "Keep-Alive: timeout=5", "Proxy-Connection: keep-alive",
                           "Upgrade: h2c", "X-Kept: 2"])
        text = "\n".join(lines).lower()
        for name in ("x-secret", "keep-alive", "proxy-connection", "upgrade", "\nconnection"):
            self.assertNotIn(name, text)
        self.assertEqual(self.value(lines, "X-Kept"), "2")

    def test_the_path_matched_is_the_path_forwarded(self):
        self.assertEqual(self.seen(path="/a/../b/%41%2f//c?x=%41")[0], "GET /b/A%2F//c?x=%41 HTTP/1.1")

    def test_an_absolute_target_is_forwarded_as_a_path(self):
        lines = self.seen(["Host: scene"], path="http://scene/x?y")
        self.assertEqual((lines[0], self.value(lines, "Host")), ("GET /x?y HTTP/1.1", "scene"))

    def test_options_for_the_server(self):
        self.assertEqual(self.seen(path="*", method="OPTIONS")[0], "OPTIONS * HTTP/1.1")

    def test_max_forwards_goes_down(self):
        self.assertEqual(self.value(self.seen(["Max-Forwards: 10"], method="OPTIONS"), "Max-Forwards"), "09")

    def test_an_http10_client_is_served(self):
        lines = self.seen(version="1.0")
        self.assertEqual(lines[0], "GET / HTTP/1.1")
        self.assertEqual(self.value(lines, "Via"), "1.0 weir")

    def test_the_pools_host_is_sent(self):
        self.assertEqual(self.value(self.seen(pool="    host: inner.example"), "Host"), "inner.example")

    def test_tunnels_for_clients_to_name_are_refused(self):
        engine = self.before(self.origin(ok))
        with engine.connect() as client:
            client.send(b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n")
            self.assertEqual(client.response().status, 501)
        self.assertEqual(engine.get(method="TRACE").status, 405)


ROUTES = """
routes:
  - match: { host: exact.example }
    pool: exact
  - match: { host: "*.wild.example" }
    pool: wild
  - match: { path: /exact }
    pool: exact
  - match: { path: /assets/* }
    pool: wild
    rewrite: { strip-prefix: /assets }
  - match: { path: "/img/*.png" }
    respond: { status: 200, body: "glob\\n" }
  - match: { path: /post, method: [POST, PUT] }
    respond: { status: 201, body: "posted\\n" }
  - match: { header: { X-Beta: "yes" } }
    respond: { status: 200, body: "beta\\n" }
  - match: { path: /old/* }
    redirect: { to: "https://{host}/new{path}", status: 308 }
  - match: { path: /edited }
    pool: exact
    request-headers: { set: { X-Set: "{client-address} {scheme}" }, add: { X-Add: a }, remove: [ X-Gone ] }
    response-headers: { set: { Server: hidden }, remove: [ X-Powered-By ] }
  - match: { path: /deep/* }
    pool: exact
    rewrite: { strip-prefix: /deep, add-prefix: /base }
  - match: { path: /only }
    pool: exact
pools:
  exact: { servers: [ ORIGIN1 ] }
  wild: { servers: [ ORIGIN2 ] }
"""


class Routes(Scene):
    def setUp(self):
        def script(exchange):
            exchange.body()
            text = exchange.path.encode()
            exchange.send(b"HTTP/1.1 200 OK\r\nX-Powered-By: php\r\nServer: o\r\nX-Origin: exact\r\nContent-Length: %d\r\n\r\n" % len(text) + text)
        self.one = self.origin(script)
        self.two = self.origin(lambda e: ok(e, b"wild " + e.path.encode()))
        self.engine = self.weir(ROUTES.replace("ORIGIN1", self.one.address).replace("ORIGIN2", self.two.address))

    def test_hosts(self):
        self.assertEqual(self.engine.get("/h", headers=["Host: EXACT.example:80"]).body, b"/h")
        self.assertEqual(self.engine.get("/h", headers=["Host: a.b.wild.example"]).body, b"wild /h")
        self.assertEqual(self.engine.get("/h", headers=["Host: wild.example"]).status, 404)

    def test_paths(self):
        self.assertEqual(self.engine.get("/exact").body, b"/exact")
        self.assertEqual(self.engine.get("/exact/more").status, 404)
        self.assertEqual(self.engine.get("/assets/a/b?c").body, b"wild /a/b?c")
        self.assertEqual(self.engine.get("/assets").body, b"wild /")
        self.assertEqual(self.engine.get("/assetsx").status, 404)
        self.assertEqual(self.engine.get("/img/a.png").body, b"glob\n")
        self.assertEqual(self.engine.get("/img/a/b.png").status, 404)

    def test_traversal_cannot_leave_a_prefix(self):
        self.assertEqual(self.engine.get("/assets/../only").body, b"/only")
        self.assertEqual(self.engine.get("/assets/%2e%2e/only").body, b"/only")

    def test_methods_and_fields(self):
        self.assertEqual(self.engine.get("/post", "PUT", body=b"x").status, 201)
        self.assertEqual(self.engine.get("/post").status, 404)
        self.assertEqual(self.engine.get("/any", headers=["x-beta: yes"]).body, b"beta\n")
        self.assertEqual(self.engine.get("/any", headers=["x-beta: no"]).status, 404)

    def test_redirect(self):
        response = self.engine.get("/old/x", headers=["Host: a.example"])
        self.assertEqual((response.status, response.field("Location")), (308, "https://a.example/new/old/x"))

    def test_edits(self):
        response = self.engine.get("/edited", headers=["X-Gone: 1", "X-Set: mine"])
        head = self.one.requests[-1].decode()
        self.assertIn("X-Set: 127.0.0.1 http\r\n", head + "\r\n")
        self.assertIn("X-Add: a", head)
        self.assertNotIn("X-Gone", head)
        self.assertNotIn("mine", head)
        self.assertEqual((response.field("Server"), response.field("X-Powered-By")), ("hidden", None))

    def test_prefixes_are_replaced(self):
        self.assertEqual(self.engine.get("/deep/x").body, b"/base/x")

    def test_content_for_an_answer_of_our_own_is_read_away(self):
        with self.engine.connect() as client:
            for _ in range(3):
                client.send_request("/post", "POST", body=b"y" * 3000)
                self.assertEqual(client.response().status, 201)


if __name__ == "__main__":
    unittest.main()
