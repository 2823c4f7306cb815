"""The cache of a route: what keeps answers apart, what its keys order, what attackers try, and how stored answers are served."""
import gzip
import json
import random
import re
import threading
import unittest

from cache_props import Answer, CacheScene, Shelf, caching, chunks, date, is_hit, parts_of, status_of
from compress_scene import DECODERS
from props import content
from stage import Client, Origin
from tls_props import SecureWeir, TlsClient, listening


def told(asked):
    """An answer that shows all the origin was asked."""
    return caching(600, "Content-Type: application/json", body=json.dumps({"line": asked.line, "fields": asked.fields}).encode())


class Keys(CacheScene):
    """What is part of the key, and what is not."""

    ROUTES = """
  - { match: { path: "/path/**" }, pool: app, cache: { key: [] } }
  - { match: { path: "/param/**" }, pool: app, cache: { key: [ "param:id" ] } }
  - { match: { path: "/header/**" }, pool: app, cache: { key: [ query, "header:X-Lang" ] } }
  - { match: { path: "/cookie/**" }, pool: app, cache: { key: [ query, "cookie:seg" ] } }
  - { match: { path: "/some/**" }, pool: app, cache: { ignore-query: [ "utm_*", fbclid ] } }
  - { match: { path: "/split/**", header: { X-Beta: "1" } }, pool: beta, cache: {} }
  - { match: { path: "/cut/**", header: { X-Cut: "1" } }, pool: app, cache: {}, rewrite: { strip-prefix: /cut } }
"""

    @classmethod
    def setUpClass(cls):
        cls.beta = Origin(Shelf(lambda asked: caching(body=b"beta")))
        cls.addClassCleanup(cls.beta.stop)
        cls.play_for_all(routes=cls.ROUTES, pools=f"  beta: {{ servers: [ {cls.beta.address} ] }}")

    def test_the_query_is_as_it_came(self):
        for path in ("/q", "/q?a=1&b=2", "/q?b=2&a=1", "/q?a=1&b=2&", "/q?a=%31&b=2", "/q?A=1&b=2"):
            self.assertEqual(self.miss(path).body, path.encode())
        self.assertEqual(self.hit("/q?b=2&a=1").body, b"/q?b=2&a=1")

    def test_without_the_query(self):
        self.assertEqual(self.miss("/path/a?x=1").body, b"/path/a?x=1")
        self.hit("/path/a?x=2")
        self.hit("/path/a")
        self.miss("/path/b")

    def test_one_parameter_of_the_query(self):
        self.miss("/param/a?id=1&other=2")
        self.hit("/param/a?other=3&id=1")
        self.miss("/param/a?id=2")
        self.miss("/param/a")
        self.hit("/param/a?x=1")
        self.miss("/param/a?id=")
        self.miss("/param/a?id")
        self.hit("/param/a?id")

    def test_a_field_of_the_request(self):
        self.miss("/header/a", ["X-Lang: de"])
        self.hit("/header/a", ["x-lang:   de  "])
        self.miss("/header/a", ["X-Lang: en"])
        self.miss("/header/a")
        self.miss("/header/a", ["X-Lang: de", "X-Lang: en"])
        self.hit("/header/a", ["X-Lang: de, en"])
        self.miss("/header/a?b", ["X-Lang: de"])

    def test_a_cookie(self):
        self.miss("/cookie/a", ["Cookie: seg=1; session=x"])
        self.hit("/cookie/a", ["Cookie: session=y; seg=1"])
        self.miss("/cookie/a", ["Cookie: seg=2"])
        self.miss("/cookie/a", ["Cookie: segment=1"])
        self.hit("/cookie/a")

    def test_parameters_that_do_not_count(self):
        self.assertEqual(self.miss("/some/a?utm_source=x&id=1&fbclid=7").body, b"/some/a?utm_source=x&id=1&fbclid=7")
        self.hit("/some/a?id=1")
        self.hit("/some/a?id=1&utm_medium=y")
        self.miss("/some/a?id=1&fbclidx=1")
        self.miss("/some/a?ID=1")
        self.miss("/some/a?fbclid=1")
        self.hit("/some/a?utm_x")

    def test_two_pools_do_not_share(self):
        self.assertEqual(self.miss("/split/a").body, b"/split/a")
        self.assertEqual(self.engine.get("/split/a", headers=["X-Beta: 1"]).body, b"beta")
        self.assertEqual(self.hit("/split/a", ["X-Beta: 1"]).body, b"beta")
        self.assertEqual(self.hit("/split/a").body, b"/split/a")

    def test_two_rewrites_do_not_share(self):
        self.assertEqual(self.miss("/cut/a").body, b"/cut/a")
        self.assertEqual(self.miss("/cut/a", ["X-Cut: 1"]).body, b"/a")
        self.assertEqual(self.hit("/cut/a").body, b"/cut/a")
        self.assertEqual(self.hit("/cut/a", ["X-Cut: 1"]).body, b"/a")

    def test_a_key_that_is_too_long_is_not_cached(self):
        path = "/long?" + "x" * 5000
        for _ in range(2):
            self.assertEqual(self.miss(path).body, path.encode())


class Schemes(CacheScene):
    def test_http_and_https_do_not_share(self):
        shelf = Shelf(lambda asked: caching(body=(asked.field("X-Forwarded-Proto") or "").encode()))
        origin = self.origin(shelf)
        engine = SecureWeir(listening(more="- address: 127.0.0.1:{plain}") + f"routes: [ {{ pool: app, cache: {{}} }} ]\npools: {{ app: {{ servers: [ {origin.address} ] }} }}\n")
        self.addCleanup(engine.stop)
        for _ in range(2):
            with Client(engine.plain) as plain, TlsClient(engine.port) as secure:
                plain.send_request("/a", headers=["Host: www.example.test"])
                self.assertEqual(plain.response().body, b"http")
                self.assertEqual(secure.ask("/a", headers=["Host: www.example.test"]).body, b"https")
        self.assertEqual(shelf.count("/a"), 2)


class Rules(CacheScene):
    """The other keys of a route's cache."""

    ROUTES = """
  - { match: { path: "/bypass/**" }, pool: app, cache: { bypass: { cookies: [ "session*" ], headers: [ X-Preview ] } } }
  - { match: { path: "/ttl/**" }, pool: app, cache: { ttl: { 200: 10m, 404: 1m, 500-599: 0s } } }
  - { match: { path: "/usual/**" }, pool: app, cache: { default-ttl: 1m, heuristic: off } }
  - { match: { path: "/vary/**" }, pool: app, cache: { ignore-vary: [ User-Agent ] } }
  - { match: { path: "/small/**" }, pool: app, cache: { max-object: 10KiB } }
  - { match: { path: "/strip/**" }, pool: app, cache: { set-cookie: strip } }
  - { match: { path: "/silent/**" }, pool: app, cache: { cache-status: off } }
  - { match: { path: "/deaf/**" }, pool: app, cache: { client-no-cache: off } }
  - { match: { path: "/none/**" }, pool: app }
  - { match: { path: "/edit/**" }, pool: app, cache: {}, response-headers: { set: { X-Edit: here }, remove: X-Gone } }
"""

    @classmethod
    def setUpClass(cls):
        cls.play_for_all(routes=cls.ROUTES)

    def test_a_bypass_neither_gets_nor_makes_what_is_stored(self):
        for headers in (["Cookie: a=b; session_id=1"], ["X-Preview: 1"], ["Cookie: session="]):
            self.assertEqual(status_of(self.miss("/bypass/a", headers)).get("fwd"), "bypass")
        self.miss("/bypass/a", ["Cookie: a=b"])
        self.hit("/bypass/a", ["Cookie: xsession=1"])
        for headers in (["Cookie: session=2"], ["X-Preview: "]):
            self.miss("/bypass/a", headers)
        self.hit("/bypass/a")

    def test_lifetimes_by_status(self):
        self.shelf.put("/ttl/a", Answer(200, body=b"a"))
        self.miss("/ttl/a")
        self.assertEqual(self.hit("/ttl/a").body, b"a")
        self.shelf.put("/ttl/none", Answer(404, ["Cache-Control: max-age=0"]))
        self.miss("/ttl/none")
        self.assertLessEqual(status_of(self.hit("/ttl/none"))["ttl"], 60)
        for _ in range(2):
            self.shelf.put("/ttl/down", Answer(503, ["Cache-Control: max-age=100"]))
            self.miss("/ttl/down")
        for word in ("private", "no-store"):
            self.shelf.keep("/ttl/" + word, Answer(200, ["Cache-Control: " + word]))
            self.miss("/ttl/" + word)
            self.miss("/ttl/" + word)

    def test_a_lifetime_for_what_says_nothing(self):
        self.shelf.put("/usual/a", Answer(200))
        self.miss("/usual/a")
        self.assertLessEqual(status_of(self.hit("/usual/a"))["ttl"], 60)
        self.shelf.keep("/usual/b", Answer(200, ["Cache-Control: max-age=0", 'ETag: "a"']))
        self.miss("/usual/b")
        self.miss("/usual/b")

    def test_fields_of_vary_that_do_not_count(self):
        self.shelf.keep("/vary/a", caching(60, "Vary: User-Agent, X-A"))
        self.miss("/vary/a", ["User-Agent: one", "X-A: 1"])
        self.hit("/vary/a", ["User-Agent: two", "X-A: 1"])
        self.miss("/vary/a", ["User-Agent: one", "X-A: 2"])
        self.shelf.keep("/vary/b", caching(60, "Vary: *"))
        self.miss("/vary/b")
        self.miss("/vary/b")

    def test_what_is_too_large_is_passed_on_and_not_stored(self):
        for framing in ("length", "chunked"):
            for size, stored in ((10240, True), (10241, False)):
                path = f"/small/{framing}{size}"
                self.shelf.keep(path, caching(body=content(size), framing=framing))
                self.assertEqual(self.miss(path).body, content(size))
                self.assertEqual((self.hit if stored else self.miss)(path).body, content(size))

    def test_set_cookie_is_not_stored(self):
        self.shelf.keep("/cookie", caching(60, "Set-Cookie: a=b"))
        self.assertEqual(self.miss("/cookie").field("Set-Cookie"), "a=b")
        self.miss("/cookie")

    def test_set_cookie_is_stripped_where_the_route_says_so(self):
        self.shelf.keep("/strip/a", caching(60, "Set-Cookie: a=b", "X-A: c"))
        self.assertEqual(self.miss("/strip/a").field("Set-Cookie"), "a=b")
        stored = self.hit("/strip/a")
        self.assertEqual((stored.field("Set-Cookie"), stored.field("X-A")), (None, "c"))

    def test_cache_status_can_be_left_out(self):
        for _ in range(2):
            self.assertIsNone(self.engine.get("/silent/a").field("Cache-Status"))
            self.assertEqual(self.shelf.count("/silent/a"), 1)

    def test_clients_do_not_make_the_origin_work(self):
        self.miss("/deaf/a")
        for headers in (["Cache-Control: no-cache"], ["Cache-Control: max-age=0"], ["Pragma: no-cache"], ["Cache-Control: min-fresh=1000"]):
            self.hit("/deaf/a", headers)
        self.miss("/heard")
        self.miss("/heard", ["Cache-Control: no-cache"])
        self.miss("/heard", ["Pragma: no-cache"])

    def test_a_route_without_a_cache_says_and_stores_nothing(self):
        for count in (1, 2):
            self.assertIsNone(self.engine.get("/none/a").field("Cache-Status"))
            self.assertEqual(self.shelf.count("/none/a"), count)

    def test_the_routes_edits_hold_for_what_is_stored(self):
        self.shelf.put("/edit/a", caching(60, "X-Gone: 1"))
        for ask in (self.miss, self.hit, self.hit):
            response = ask("/edit/a")
            self.assertEqual((response.field("X-Edit"), response.field("X-Gone")), ("here", None))

    def test_post_is_never_stored_and_never_answered_from_the_store(self):
        self.miss("/post")
        for count in (2, 3):
            self.assertFalse(is_hit(self.engine.get("/post", "POST", body=b"x")))
            self.assertEqual(self.shelf.count("/post"), count)


class Changing(CacheScene):
    """What a request changes is not to be had from the store, whichever route took the request (RFC 9111 4.4)."""

    ROUTES = '''
  - { name: read, match: { method: [ GET, HEAD ], path: "/split/**" }, pool: app, cache: {} }
  - { name: write, match: { path: "/split/**" }, pool: app }
  - { name: beta, match: { path: "/both/**", header: { X-Beta: "*" } }, pool: app, cache: { ignore-query: [ "utm_*" ] } }
  - { name: all, match: { path: "/both/**" }, pool: app, cache: { key: [ "param:id" ] } }
  - { name: moved, match: { method: [ GET ], path: "/moved/**" }, pool: app, rewrite: { strip-prefix: /moved }, request-headers: { set: { X-Set: "1" } }, cache: {} }
'''

    def setUp(self):
        self.play(routes=self.ROUTES)

    def change(self, path, method="POST", status=200, headers=(), fields=()):
        """A request that changes something, answered so."""
        self.shelf.put(path.removeprefix("/moved"), Answer(status, list(fields), body=b"changed"))
        self.assertEqual(self.engine.get(path, method, headers, body=b"x").status, status)

    def stored(self, *paths, headers=()):
        for path in paths:
            self.engine.get(path, headers=headers)
            self.hit(path, headers)

    def test_by_a_route_without_a_cache(self):
        for method in ("POST", "PUT", "DELETE", "PATCH", "STRANGE"):
            with self.subTest(method):
                self.stored("/split/a", "/split/a?q", "/split/b")
                self.change("/split/a", method)
                self.miss("/split/a")
                self.hit("/split/a?q")
                self.hit("/split/b")
                self.engine.command("purge", "--all")

    def test_not_by_one_that_failed_or_is_safe(self):
        self.stored("/split/a")
        self.change("/split/a", status=404)
        self.change("/split/a", status=500)
        self.change("/split/a", "OPTIONS")
        self.hit("/split/a")

    def test_what_it_names(self):
        self.stored("/split/a", "/split/b", "/moved/c", "/split/d")
        self.change("/split/a", status=201, fields=["Location: /split/b", "Content-Location: http://scene/moved/c"])
        for path in ("/split/a", "/split/b", "/moved/c"):
            self.miss(path)
        self.change("/split/a", status=201, fields=["Location: http://other/split/d"])
        self.hit("/split/d")

    def test_where_the_path_is_rewritten_and_fields_are_set(self):
        self.stored("/moved/a")
        self.change("/moved/a")
        self.miss("/moved/a")

    def test_of_all_routes_that_may_have_it(self):
        """Their keys differ in what they make of the query."""
        self.stored("/both/a?utm_x=1&id=2", headers=["X-Beta: 1"])
        self.stored("/both/a?id=2")
        self.change("/both/a?id=2&utm_x=3")
        self.miss("/both/a?utm_x=1&id=2", ["X-Beta: 1"])
        self.miss("/both/a?id=2")

    def test_without_any_cache_nothing_is_to_be_done(self):
        engine = self.weir(f"routes: [ {{ pool: app }} ]\npools: {{ app: {{ servers: [ {self.source.address} ] }} }}")
        self.shelf.put("/plain", Answer(200, ["Location: /other"]))
        self.assertEqual(engine.get("/plain", "POST", body=b"x").status, 200)


class Poison(CacheScene):
    """What one client sends must not reach another."""

    @classmethod
    def setUpClass(cls):
        cls.play_for_all(usual=told, routes='  - { match: { path: "/some/**" }, pool: app, cache: { ignore-query: [ "utm_*" ] } }')

    def victim_is_well(self, path, mark=b"evil", headers=()):
        response = self.engine.get(path, headers=headers)
        self.assertEqual(response.status, 200, response.fields)
        self.assertNotIn(mark, response.body.lower())
        self.assertNotIn(mark.decode(), str(response.fields).lower())

    def test_fields_that_frameworks_believe(self):
        for name in ("X-Forwarded-Host", "X-Forwarded-Server", "X-Forwarded-Scheme", "X-Forwarded-Proto", "X-Forwarded-Prefix", "X-Forwarded-Port", "X-Host",
                     "X-Original-Host", "X-HTTP-Host-Override", "X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override",
                     "Forwarded", "X-Forwarded-For"):
            with self.subTest(name):
                value = "host=evil" if name == "Forwarded" else "evil"
                self.engine.get(f"/f/{name}", headers=[f"{name}: {value}"])
                self.victim_is_well(f"/f/{name}")

    def test_a_get_with_content(self):
        for framing in ([], ["Transfer-Encoding: chunked"]):
            path = f"/fat{len(framing)}"
            body = chunks(b"q=evil") if framing else b"q=evil"
            self.shelf.put(path, caching(600, body=b"evil"))
            self.assertEqual(self.engine.get(path, headers=framing, body=body).body, b"evil")
            self.victim_is_well(path)
            self.assertEqual(self.shelf.last(path).body, b"")

    def test_a_parameter_inside_another(self):
        for number, query in enumerate(("q=1&utm_a=x;q=evil", "utm_a=x;q=evil&q=1", "q=1&utm_a=x%26q=evil;q=evil", "q=1&utm_a[]=x;q=evil", "q=1&utm_a;q=evil")):
            with self.subTest(query):
                path = f"/some/{number}"
                self.engine.get(f"{path}?{query}")
                response = self.engine.get(f"{path}?q=1")
                self.assertNotIn(b";q=evil", response.body)

    def test_paths_that_look_alike_answer_as_without_a_cache(self):
        paths = ["/a/b", "/a%2fb", "/a%2Fb", "/a/./b", "/a/x/../b", "/a/%2e%2e/a/b", "/a//b", "//a/b", "/a/b/", "/a/b;x", "/a/b%3bx", "/a/b;x=.css", "/a\\b", "/a%5cb",
                 "/%61/b", "/a/%62", "/A/b", "/a/b%20", "/a/b%00", "/a/b%23c", "/a/b%3fc", "/a/b?c", "/a/b?c%23", "/a%252fb", "/a/b%0a", "/a/b.", "/a/b%2e", "/a/..%2fa/b"]
        plain = self.before(self.origin(Shelf(told)))
        for seed in range(2):
            random.Random(seed).shuffle(paths)
            for path in paths:
                here, there = self.engine.get(path), plain.get(path)
                self.assertEqual((here.status, self.line_in(here)), (there.status, self.line_in(there)), path)

    def line_in(self, response):
        return json.loads(response.body)["line"] if response.field("Content-Type") == "application/json" else None

    def test_hosts(self):
        for number, host in enumerate(("scene:99", "scene.evil", "evil", "scene:080", "scene:evil", "scene/evil", "scene@evil", "evil@scene", "scene evil", "scene,evil")):
            with self.subTest(host):
                path = f"/h/{number}"
                self.engine.get(path, headers=[f"Host: {host}"])
                self.victim_is_well(path, b"evil")
                self.victim_is_well(path, b"scene:99")
        with self.engine.connect() as client:
            client.send(b"GET /h/two HTTP/1.1\r\nHost: evil\r\nHost: scene\r\n\r\n")
            self.assertEqual(client.response().status, 400)
        self.victim_is_well("/h/two")

    def test_what_only_one_client_can_accept(self):
        self.play(rule="{ ttl: { 400-499: 1m } }")
        self.shelf.put("/a", Answer(406, body=b"evil"), caching(60))
        self.miss("/a", ["Accept: evil/evil"])
        self.assertEqual(self.miss("/a").status, 200)

    def test_fields_that_the_route_writes_for_each_client(self):
        def echo(asked):
            return caching(60, "Vary: x-port, X-Fixed", body=(asked.field("X-Port") or "").encode())
        routes = """  - { match: { path: "/fixed/**" }, pool: app, cache: {}, request-headers: { set: { X-Fixed: here, X-Port: "{host}" } } }\n"""
        self.play(usual=echo, routes=routes, route='    request-headers: { set: { X-Port: "{client-port}" } }')
        self.assertNotEqual(self.miss("/a").body, self.miss("/a").body)
        self.miss("/fixed/a")
        self.hit("/fixed/a")

    def test_explain_finds_what_a_route_with_edits_has_stored(self):
        self.play(route='    request-headers: { set: { X-Site: "{host}" } }')
        self.miss("/a")
        self.assertEqual(self.engine.json("explain", self.url("/a"))["cache"]["now"], "hit")

    def test_a_host_spelt_otherwise(self):
        self.play(usual=told, top="forwarded: both", route='    request-headers: { set: { X-Site: "{host}" } }')
        for host in ("SCENE", "scene.", "Scene.:080", "sCene:80"):
            with self.subTest(host):
                path = "/" + host.replace(":", "")
                self.assertNotIn(b"80", self.engine.get(path, headers=[f"Host: {host}"]).body.replace(path.encode(), b""))
                body = self.hit(path).body.replace(path.encode(), b"")
                self.assertEqual((body.lower().count(b"scene"), body.count(b"scene"), body.count(b"scene.")), (4, 4, 0), body)

    def test_what_a_head_brings(self):
        self.play(rule="{ bypass: { cookies: [ session ] } }")
        def answer(exchange, asked):
            evil = [value for name, value in asked.fields if "evil" in value]
            return caching(60, f"X-A: {evil or 'well'}", *([f'ETag: "{len(evil[0])}"'] if evil and "other" in evil[0] else ['ETag: "a"'])).send(exchange)
        self.shelf.keep("/a", answer)
        self.miss("/a")
        for value in ("evil", "evil-other"):
            for header in ("X-Original-URL: ", "X-Forwarded-Scheme: ", "Cookie: session=", "Authorization: "):
                with self.subTest(header + value):
                    self.engine.get("/a", "HEAD", headers=[header + value, "Cache-Control: no-cache"])
                    self.assertEqual(self.hit("/a").field("X-A"), "well")

    def test_conditions_spelt_with_underscores(self):
        self.shelf.put("/under", caching(60, "Age: 100", 'ETag: "x"'), caching(60))
        self.miss("/under")
        self.miss("/under", ['If_None_Match: "y"', "IF_MODIFIED_SINCE: " + date()])
        self.assertEqual([value for name, value in self.shelf.last("/under").fields if name.lower().startswith("if")], ['"x"'])

    def test_absolute_form(self):
        with self.engine.connect() as client:
            client.send(b"GET http://evil/abs HTTP/1.1\r\nHost: scene\r\n\r\n")
            client.response()
        self.victim_is_well("/abs")
        with self.engine.connect() as client:
            client.send(b"GET http://scene/abs HTTP/1.1\r\nHost: evil\r\n\r\n")
            response = client.response()
            self.assertNotIn(b"evil", response.body)
        self.victim_is_well("/abs")

    def test_answers_to_what_only_one_client_wanted_are_not_stored(self):
        for name, header, status in (("range", "Range: bytes=99-", 416), ("match", 'If-Match: "x"', 412), ("none", 'If-None-Match: "x"', 304),
                                     ("since", "If-Unmodified-Since: " + date(-1000000), 412), ("if-range", 'Range: bytes=0-1\r\nIf-Range: "x"', 206)):
            with self.subTest(name):
                path = "/one/" + name
                self.shelf.put(path, Answer(status, ["Cache-Control: max-age=600", 'ETag: "x"'] + (["Content-Range: bytes 0-1/9"] if status == 206 else []), b"no"))
                self.engine.get(path, headers=header.split("\r\n"))
                self.victim_is_well(path)

    def test_refused_requests_leave_nothing(self):
        for name, headers in (("large", ["X-A: " + "evil" * 20000]), ("expect", ["Expect: evil"]), ("name", ["X A: evil"])):
            with self.subTest(name):
                try:
                    self.engine.get("/refused/" + name, headers=headers)
                except (OSError, EOFError):
                    pass
                self.victim_is_well("/refused/" + name)

    def test_connection_does_not_take_fields_out_of_the_key(self):
        self.shelf.keep("/conn", caching(600, "Vary: X-A"))
        self.engine.get("/conn", headers=["X-A: 1", "Connection: X-A"])
        response = self.engine.get("/conn", headers=["X-A: 1"])
        self.assertEqual((self.shelf.last("/conn").field("X-A"), is_hit(response)), ("1", False))


    def test_connection_does_not_take_accept_encoding_out_of_the_key(self):
        self.play(route="    compress: {}", usual=lambda asked: caching(60, "Content-Type: text/plain", body=content(50000)))
        self.engine.get("/a", headers=["Accept-Encoding: gzip", "Connection: Accept-Encoding"])
        response = self.engine.get("/a")
        self.assertEqual((response.field("Content-Encoding"), response.body == content(50000)), (None, True))


class Served(CacheScene):
    """How stored answers reach clients."""

    MEMORY = "128MiB"

    @classmethod
    def setUpClass(cls):
        cls.play_for_all()

    def test_both_workers_serve_it_and_its_bytes_are_there_once(self):
        self.shelf.keep("/hot", caching(body=content(1 << 20)))
        before = self.engine.json("cache", "status")
        clients = [self.engine.connect() for _ in range(32)]  # the kernel spreads them
        for _ in range(3):
            for client in clients:
                client.send(b"GET /hot HTTP/1.1\r\nHost: hot\r\n\r\n")
                self.assertEqual(client.response().body == content(1 << 20), True)
        for client in clients:
            client.close()
        after = self.engine.json("cache", "status")
        self.assertEqual((self.shelf.count("/hot"), after["objects"] - before["objects"]), (1, 1))
        self.assertLess(after["bytes"] - before["bytes"], 1.1 * (1 << 20))
        hits = [int(number) for number in re.findall(r'^weir_cache_hits_total\{worker="\d+"\} (\d+)', self.engine.command("metrics")[1], re.MULTILINE)]
        self.assertEqual([number > 0 for number in hits], [True, True], hits)

    def test_http_1_0_gets_what_came_in_chunks(self):
        for framing in ("chunked", "length", "close"):
            path = "/old/" + framing
            self.shelf.keep(path, caching(body=content(50000), framing=framing))
            self.engine.get(path)
            response = self.engine.get(path, version="1.0")
            self.assertEqual((response.complete, response.body == content(50000), response.field("Transfer-Encoding")), (True, True, None))
            self.assertEqual(self.shelf.count(path), 1)

    def test_http_1_0_first(self):
        self.shelf.keep("/first", caching(body=content(50000), framing="chunked"))
        self.assertEqual(self.engine.get("/first", version="1.0").body, content(50000))
        self.assertEqual(self.hit("/first").body, content(50000))

    def test_head_and_get_and_conditions_on_one_connection(self):
        self.shelf.keep("/mix", caching(60, 'ETag: "a"', body=b"0123456789"))
        self.miss("/mix")
        with self.engine.connect() as client:
            for _ in range(3):
                for method, headers, status, body in (("GET", [], 200, b"0123456789"), ("HEAD", [], 200, b""), ("GET", ['If-None-Match: "a"'], 304, b""),
                                                      ("GET", ["Range: bytes=1-2"], 206, b"12"), ("GET", ["Range: bytes=50-"], 416, None)):
                    client.send_request("/mix", method, headers)
                    response = client.response(method)
                    self.assertEqual((response.status, body is None or response.body == body, response.complete), (status, True, True))
        self.assertEqual(self.shelf.count("/mix"), 1)

    def test_many_requests_in_one_packet(self):
        self.miss("/pipe")
        with self.engine.connect() as client:
            client.send(b"GET /pipe HTTP/1.1\r\nHost: scene\r\n\r\n" * 30 + b"GET /pipe2 HTTP/1.1\r\nHost: scene\r\n\r\n" * 2)
            self.assertEqual([client.response().body for _ in range(32)], [b"/pipe"] * 30 + [b"/pipe2"] * 2)

    def test_several_ranges(self):
        self.shelf.keep("/parts", caching(60, "Content-Type: text/x", 'ETag: "a"', body=content(100000)))
        self.miss("/parts")
        response = self.hit("/parts", ["Range: bytes=0-9, 50000-50099 ,-5"])
        self.assertEqual((response.status, response.complete), (206, True))
        self.assertRegex(response.field("Content-Type"), r'^multipart/byteranges; ?boundary=')
        self.assertEqual(parts_of(response), [("bytes 0-9/100000", "text/x", content(10)), ("bytes 50000-50099/100000", "text/x", content(100, 50000)),
                                              ("bytes 99995-99999/100000", "text/x", content(5, 99995))])
        self.assertIsNone(response.field("Content-Range"))
        one = self.hit("/parts", ["Range: bytes=0-9,100000-"])
        self.assertEqual((one.status, one.body if one.field("Content-Range") else parts_of(one)[0][2]), (206, content(10)))
        self.assertEqual(self.hit("/parts", ["Range: bytes=100000-,200000-"]).status, 416)

    def test_very_many_ranges_cost_no_more_than_the_whole(self):
        self.shelf.keep("/hungry", caching(body=content(10000)))
        self.miss("/hungry")
        response = self.hit("/hungry", ["Range: bytes=" + ",".join("0-" for _ in range(1000))])
        self.assertLess(len(response.body), 100000)
        self.assertIn(response.status, (200, 206, 416))

    def test_large_content(self):
        body = content(6 << 20)
        for framing in ("length", "chunked", "close"):
            path = "/large/" + framing
            self.shelf.put(path, caching(body=body, framing=framing))
            self.assertEqual(self.miss(path).body == body, True)
            if framing != "close":
                self.assertEqual(self.hit(path).body == body, True)
                self.assertEqual(self.hit(path, ["Range: bytes=5000000-5000099"]).body, content(100, 5000000))

    def test_variants_that_the_origin_codes(self):
        def coded(asked):
            if "gzip" in (asked.field("Accept-Encoding") or ""):
                return caching(60, "Vary: Accept-Encoding", "Content-Encoding: gzip", 'ETag: "z"', body=gzip.compress(content(5000)))
            return caching(60, "Vary: Accept-Encoding", 'ETag: "p"', body=content(5000))
        self.shelf.keep("/coded", lambda exchange, asked: coded(asked).send(exchange))
        for ask in (self.miss, self.hit):
            packed = ask("/coded", ["Accept-Encoding: gzip"])
            self.assertEqual((packed.field("Content-Encoding"), gzip.decompress(packed.body), packed.field("ETag")), ("gzip", content(5000), '"z"'))
            plain = ask("/coded")
            self.assertEqual((plain.field("Content-Encoding"), plain.body, plain.field("ETag")), (None, content(5000), '"p"'))


class Renewed(CacheScene):
    """What a 304 changes of the stored response, and what not."""

    @classmethod
    def setUpClass(cls):
        cls.play_for_all(route="    compress: {}")

    def aged(self, *fields):
        return Answer(200, ["Content-Type: text/plain", "Age: 70", "Cache-Control: max-age=60", *fields], content(50000))

    def renewed(self, path, *fields, headers=(), dated=True):
        self.shelf.put(path, Answer(304, ["Cache-Control: max-age=60", *fields], dated=dated))
        self.assertEqual(status_of(self.miss(path, headers))["fwd-status"], 304)
        return self.hit(path, headers)

    def test_one_without_a_date_is_of_now(self):
        self.shelf.put("/date", self.aged('ETag: "a"', "Date: " + date(-1000)))
        self.miss("/date")
        self.assertLessEqual(int(self.renewed("/date", 'ETag: "a"', dated=False).field("Age")), 5)

    def test_what_was_coded_here_is_renewed_by_the_origins_own_etag(self):
        gzipped = ["Accept-Encoding: gzip"]
        self.shelf.put("/coded", self.aged('ETag: "x"', "Vary: Origin"))
        self.assertEqual(self.miss("/coded", gzipped).field("ETag"), 'W/"x"')
        response = self.renewed("/coded", 'ETag: "x"', "Vary: Origin", "Accept-Ranges: bytes", headers=gzipped)
        self.assertEqual((response.field("ETag"), response.field("Content-Encoding"), response.field("Accept-Ranges")), ('W/"x"', "gzip", None))
        self.assertEqual(gzip.decompress(response.body), content(50000))
        self.assertEqual(sorted(value for name, value in response.fields if name == "Vary"), ["Accept-Encoding", "Origin"])
        self.shelf.put("/coded", Answer(200, ["Cache-Control: max-age=60", 'ETag: "x"', "X-A: new"], content(50000)))
        self.engine.get("/coded", "HEAD", headers=gzipped + ["Cache-Control: no-cache"])
        self.assertEqual(self.hit("/coded", gzipped).field("X-A"), "new")

    def test_the_etag_of_another_does_not_renew_what_was_coded_here(self):
        gzipped = ["Accept-Encoding: gzip"]
        self.shelf.put("/other", self.aged('ETag: "x"'), Answer(304, ['ETag: "y"']), self.aged('ETag: "y"'))
        self.miss("/other", gzipped)
        self.assertEqual(self.engine.get("/other", headers=gzipped).field("ETag"), 'W/"y"')
        self.assertIsNone(self.shelf.last("/other").field("If-None-Match"))

    def test_vary_that_compress_added_stays(self):
        self.shelf.put("/added", self.aged("Last-Modified: " + date(-10000), "Vary: Origin"))
        self.miss("/added")
        response = self.renewed("/added", "Vary: Origin")
        self.assertEqual(sorted(value for name, value in response.fields if name == "Vary"), ["Accept-Encoding", "Origin"])

    def test_a_new_vary_counts(self):
        self.shelf.put("/vary", self.aged('ETag: "x"'))
        self.miss("/vary", ["X-A: 1"])
        self.renewed("/vary", 'ETag: "x"', "Vary: X-A", headers=["X-A: 1"])
        self.shelf.put("/vary", caching(60, "Vary: X-A", body=b"two"))
        self.assertEqual(self.miss("/vary", ["X-A: 2"]).body, b"two")
        self.assertEqual(self.hit("/vary", ["X-A: 1"]).body, content(50000))

    def test_a_head_with_as_many_fields_as_there_may_be(self):
        hop = [f"X-Hop-{i}: a" for i in range(4)]
        fields = ["Cache-Control: max-age=60", "Content-Type: text/plain", "Connection: " + ", ".join(line.split(":")[0] for line in hop), *hop]
        fields += [f"X-{i}: a" for i in range(100 - len(fields) - 2)]
        self.shelf.keep("/many", Answer(200, fields, content(50000)))
        for _ in range(2):
            response = self.engine.get("/many", headers=["Accept-Encoding: gzip"])
            self.assertEqual((response.field("Content-Encoding"), response.field("Vary")), ("gzip", "Accept-Encoding"))
            self.assertEqual(gzip.decompress(response.body), content(50000))


class Short(CacheScene):
    MEMORY = "4MiB"

    def test_more_than_there_is_room_for(self):
        def numbered(asked):
            return caching(600, body=content(100000, int(asked.path.split("/")[2])))
        engine = self.play(usual=numbered)
        before, hits = engine.rss_kib(), 0
        for i in [*range(200), *range(199, -1, -1)]:
            response = engine.get(f"/n/{i}")
            self.assertEqual(response.body == content(100000, i), True)
            hits += is_hit(response)
        self.assertGreater(hits, 3)
        self.assertLess(hits, 60)
        self.assertLess(engine.rss_kib() - before, 40 << 10)

    def test_what_is_larger_than_the_memory_is_passed_on(self):
        self.play(usual=lambda asked: caching(600, body=content(8 << 20), framing=asked.path[1:]))
        for framing in ("length", "chunked"):
            for _ in range(2):
                self.assertEqual(self.miss("/" + framing).body == content(8 << 20), True)


class Compressed(CacheScene):
    def test_stored_once_and_coded_for_each_client(self):
        self.play(route="    compress: {}", usual=lambda asked: caching(60, "Content-Type: text/plain", 'ETag: "v"', body=content(50000)))
        for turn in range(3):
            for coding in (*DECODERS, None):
                response = self.engine.get("/a", headers=[f"Accept-Encoding: {coding}"] if coding else [])
                self.assertEqual(response.field("Content-Encoding"), coding)
                body = DECODERS[coding](response.body) if coding else response.body
                self.assertEqual((body == content(50000), response.field("Vary"), response.complete), (True, "Accept-Encoding", True))
                self.assertEqual(response.field("ETag"), 'W/"v"' if coding else '"v"')
                if turn:
                    self.assertTrue(is_hit(response), (turn, coding, response.fields))
        self.assertLessEqual(self.shelf.count("/a"), len(DECODERS) + 1)
        self.assertEqual(self.engine.get("/a", headers=["Accept-Encoding: gzip", 'If-None-Match: W/"v"']).status, 304)
        ranged = self.engine.get("/a", headers=["Accept-Encoding: gzip", "Range: bytes=0-9"])
        whole = self.engine.get("/a", headers=["Accept-Encoding: gzip"]).body
        self.assertEqual((ranged.status, ranged.body, ranged.field("Content-Encoding")), (206, whole[:10], "gzip"))

    def test_freshened_it_still_says_that_it_is_coded(self):
        def script(asked):
            fields = ["Content-Type: text/plain", 'ETag: "v"', "Vary: X-Lang"]
            if '"v"' in (asked.field("If-None-Match") or ""):
                return caching(600, *fields, "X-Turn: 2", status=304, body=b"")
            return caching(0, *fields, body=content(50000))
        self.play(route="    compress: {}", usual=script)
        for coding in DECODERS:
            for turn in range(3):
                response = self.engine.get("/a", headers=[f"Accept-Encoding: {coding}"])
                self.assertEqual((response.field("Content-Encoding"), DECODERS[coding](response.body) == content(50000)), (coding, True), turn)
                self.assertEqual((response.field("ETag"), response.field("X-Turn")), ('W/"v"', "2" if turn else None), (coding, turn))
                self.assertEqual(sorted(v for n, v in response.fields if n == "Vary"), ["Accept-Encoding", "X-Lang"], (coding, turn))

    def test_an_answer_to_head_agrees_with_what_was_coded(self):
        self.play(route="    compress: {}", usual=lambda asked: caching(600, "Content-Type: text/plain", 'ETag: "v"', body=content(50000)))
        for coding in (*DECODERS, None):
            accept = [f"Accept-Encoding: {coding}"] if coding else []
            self.engine.get("/a", headers=accept)
            asked = self.shelf.count("/a")
            self.engine.get("/a", method="HEAD", headers=[*accept, "Cache-Control: no-cache"])
            self.assertEqual(self.shelf.count("/a"), asked + 1)
            self.assertTrue(is_hit(self.engine.get("/a", headers=accept)), coding)


class Reloads(CacheScene):
    def test_a_reload_keeps_what_is_stored(self):
        engine = self.play()
        self.miss("/a")
        self.assertEqual(engine.command("reload")[0], 0)
        self.hit("/a")
        engine.write(self.config.replace("name: usual", "name: other"))
        self.assertEqual(engine.command("reload")[0], 0)
        self.hit("/a")

    def test_a_route_that_loses_its_cache_and_gets_it_back(self):
        engine = self.play()
        self.miss("/a")
        engine.write(self.config.replace("    cache: {}\n", ""))
        self.assertEqual(engine.command("reload")[0], 0)
        response = engine.get("/a")
        self.assertEqual((response.field("Cache-Status"), self.shelf.count("/a")), (None, 2))
        engine.write(self.config)
        self.assertEqual(engine.command("reload")[0], 0)
        self.hit("/a")

    def test_another_rule_holds_from_the_reload_on(self):
        engine = self.play()
        self.miss("/a?b")
        engine.write(self.config.replace("cache: {}", "cache: { key: [] }"))
        self.assertEqual(engine.command("reload")[0], 0)
        self.miss("/a?b")
        self.hit("/a?c")

    def test_reloads_and_purges_beside_requests(self):
        engine = self.play(usual=lambda asked: caching(600, "Surrogate-Key: all", body=asked.path.encode()))
        stop, wrong = threading.Event(), []

        def client(seed):
            chosen = random.Random(seed)
            try:
                with engine.connect() as c:
                    while not stop.is_set():
                        path = f"/r/{chosen.randrange(30)}"
                        c.send_request(path)
                        response = c.response()
                        if (response.status, response.body) != (200, path.encode()):
                            wrong.append((path, response.status, response.body))
            except Exception as problem:
                wrong.append(problem)
        threads = [threading.Thread(target=client, args=(seed,)) for seed in range(6)]
        for thread in threads:
            thread.start()
        for turn in range(12):
            self.assertEqual(engine.command("purge", *(["--tag", "all"], ["--all"], [self.url("/r/1")])[turn % 3])[0], 0)
            engine.write(self.config + f"via: w{turn}\n")
            self.assertEqual(engine.command("reload")[0], 0)
        stop.set()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])

    def test_memory_needs_a_restart(self):
        engine = self.play()
        engine.write(self.config.replace("memory: 32MiB", "memory: 64MiB"))
        code, _, err = engine.command("reload")
        self.assertEqual((code, "memory" in err), (1, True), err)
        self.miss("/a")


if __name__ == "__main__":
    unittest.main()
