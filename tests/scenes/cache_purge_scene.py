"""Taking things out of the cache by command and by PURGE, exactly, also while they are being stored; and looking into it."""
import json
import os
import random
import threading
import unittest

from cache_props import Answer, CacheScene, Gate, Reader, caching, is_hit
from props import Nginx
from stage import SLOW, wait_for

OBJECTS = int(os.environ.get("WEIR_BIG_OBJECTS") or 100000)


class PurgeScene(CacheScene):
    def purge(self, *words):
        """What the command counted."""
        code, out, err = self.engine.command("purge", *words, "--json")
        self.assertEqual(code, 0, (words, out, err))
        return json.loads(out)

    def stored(self, *paths, **more):
        for path in paths:
            self.miss(path, **more)


class Purges(PurgeScene):
    @classmethod
    def setUpClass(cls):
        cls.play_for_all(routes='  - { match: { path: "/tagged/**" }, pool: app, cache: { tags: [ by-route ] } }\n'
                                '  - { match: { path: /each }, pool: app, cache: { key: [ cookie:id ] } }')

    def setUp(self):
        self.engine.command("purge", "--all")

    def test_one_url_with_all_its_variants(self):
        self.shelf.keep("/v", caching(600, "Vary: X-A"))
        for value in ("1", "2"):
            self.miss("/v", [f"X-A: {value}"])
        self.stored("/v?q", "/v/", "/vv")
        self.miss("/v", ["Host: other", "X-A: 1"])
        self.assertEqual(self.purge(self.url("/v"))["objects"], 2)
        for value in ("1", "2"):
            self.miss("/v", [f"X-A: {value}"])
        for path in ("/v?q", "/v/", "/vv"):
            self.hit(path)
        self.hit("/v", ["Host: other", "X-A: 1"])

    def test_one_url_of_which_very_many_are_stored(self):
        """More than a purge walks at once; the one that is asked for is in use on this connection's worker, without being looked up."""
        for mine in (0, 699):
            with self.engine.connect() as client:
                def ask(number):
                    client.send_request("/each", headers=[f"Cookie: id={mine}.{number}"])
                    return is_hit(client.response())
                self.assertFalse(any([ask(number) for number in range(700)]))
                self.assertTrue(all([ask(mine) for _ in range(5)]))
                self.purge(self.url("/each"))
                self.assertFalse(ask(mine), mine)

    def test_what_is_not_there(self):
        self.assertEqual(self.purge(self.url("/never"))["objects"], 0)
        self.assertEqual(self.purge("--tag", "never")["objects"], 0)

    def test_the_bytes_are_counted(self):
        self.shelf.keep("/bytes", caching(600, body=b"x" * 100000))
        self.miss("/bytes")
        count = self.purge(self.url("/bytes"))
        self.assertEqual(count["objects"], 1)
        self.assertTrue(100000 <= count["bytes"] < 200000, count)
        self.miss("/bytes")

    def test_a_prefix(self):
        self.stored("/dir/a", "/dir/b/c?d", "/dir", "/dirs", "/other")
        self.miss("/dir/a", ["Host: other"])
        self.assertEqual(self.purge("--prefix", self.url("/dir/"))["objects"], 2)
        for path in ("/dir/a", "/dir/b/c?d"):
            self.miss(path)
        for path in ("/dir", "/dirs", "/other"):
            self.hit(path)
        self.hit("/dir/a", ["Host: other"])

    def test_a_host(self):
        self.stored("/h/a", "/h/b")
        self.miss("/h/a", ["Host: other"])
        self.assertEqual(self.purge("--host", "scene")["objects"], 2)
        self.hit("/h/a", ["Host: other"])
        self.miss("/h/a")
        self.miss("/h/b")

    def test_a_tag(self):
        for path, fields in (("/t/1", ["Surrogate-Key: one both"]), ("/t/2", ["Surrogate-Key: two   both"]), ("/t/3", ["Cache-Tag: one,three"]),
                             ("/t/4", ["Cache-Tag: ones"]), ("/t/5", ["Cache-Tag: four , five", "Surrogate-Key: six", "Cache-Tag: one"])):
            self.shelf.keep(path, caching(600, *fields))
            self.miss(path)
        self.assertEqual(self.purge("--tag", "one")["objects"], 3)
        for path in ("/t/1", "/t/3", "/t/5"):
            self.miss(path)
        for path in ("/t/2", "/t/4"):
            self.hit(path)
        self.assertEqual(self.purge("--tag", "both")["objects"], 2)
        self.miss("/t/2")

    def test_the_tags_of_a_route(self):
        self.stored("/tagged/a", "/tagged/b", "/untagged")
        self.assertEqual(self.purge("--tag", "by-route")["objects"], 2)
        self.miss("/tagged/a")
        self.hit("/untagged")

    def test_everything(self):
        self.stored("/e/1", "/e/2")
        self.miss("/e/1", ["Host: other"])
        self.assertEqual(self.purge("--all")["objects"], 3)
        self.miss("/e/1")
        self.miss("/e/1", ["Host: other"])
        self.miss("/e/2")

    def test_softly_it_is_validated(self):
        self.shelf.put("/soft", caching(600, 'ETag: "a"', body=b"one"))
        self.miss("/soft")
        self.purge("--soft", self.url("/soft"))
        self.shelf.put("/soft", Answer(304, ["Cache-Control: max-age=600", 'ETag: "a"']))
        self.assertEqual(self.miss("/soft").body, b"one")
        self.assertEqual(self.shelf.last("/soft").field("If-None-Match"), '"a"')
        self.hit("/soft")

    def test_softly_a_stale_answer_is_allowed_where_the_response_allows_it(self):
        self.shelf.put("/swr", Answer(200, ["Cache-Control: max-age=600, stale-while-revalidate=600", 'ETag: "a"', "Surrogate-Key: swr"], b"one"))
        self.miss("/swr")
        self.purge("--soft", "--tag", "swr")
        self.shelf.keep("/swr", caching(600, body=b"two"))
        self.assertEqual(self.engine.get("/swr").body, b"one")
        wait_for("the new one", lambda: self.engine.get("/swr").body == b"two")

    def test_what_is_stored_after_a_purge_stays(self):
        for words in (["--all"], ["--host", "scene"], ["--prefix", self.url("/")], ["--tag", "later"], [self.url("/later")]):
            self.shelf.keep("/later", caching(600, "Surrogate-Key: later"))
            self.purge(*words)
            self.miss("/later")
            for _ in range(3):
                self.hit("/later")

    def test_what_is_wrong_is_refused(self):
        for words in ([], ["--tag"], ["not-a-url"], ["--prefix", "/path"], ["--host", "a b"], ["--all", self.url("/a")], ["--tag", "a", "--host", "b"]):
            with self.subTest(words):
                code, out, err = self.engine.command("purge", *words)
                self.assertIn(code, (1, 2), (words, out, err))
                self.assertTrue(err)


class PurgesWhileFilling(PurgeScene):
    """A fill begun before a purge is not served after it."""

    KINDS = {"url": lambda scene, path: [scene.url(path)], "prefix": lambda scene, path: ["--prefix", scene.url(path[:-1])], "host": lambda scene, path: ["--host", "scene"],
             "tag": lambda scene, path: ["--tag", "filling"], "all": lambda scene, path: ["--all"]}
    HEAD = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nSurrogate-Key: filling\r\n"

    @classmethod
    def setUpClass(cls):
        cls.play_for_all()

    def play_race(self, path, words, turns, soft=()):
        gate = Gate(b"old one", b"old two", head=self.HEAD, first=False)
        self.shelf.put(path, gate)
        self.shelf.keep(path, caching(600, body=b"new"))
        self.addCleanup(gate.go, 100)
        first = Reader(self, path)
        self.assertTrue(gate.arrived.acquire(timeout=SLOW))
        gate.go(turns)
        if turns:
            wait_for("the first piece", lambda: first.received)
        self.purge(*soft, *words)
        during = Reader(self, path)
        self.assertEqual(during.done().body, b"new")
        gate.go(10)
        self.assertEqual(first.done().body, b"old oneold two")
        for _ in range(3):
            self.assertEqual(self.engine.get(path).body, b"new")

    def test_before_the_answer_has_begun(self):
        for name, words in self.KINDS.items():
            with self.subTest(name):
                path = f"/before/{name}"
                self.play_race(path, words(self, path), 0)

    def test_while_the_answer_comes(self):
        for name, words in self.KINDS.items():
            with self.subTest(name):
                path = f"/while/{name}"
                self.play_race(path, words(self, path), 2)

    def test_a_validation_that_was_under_way_makes_nothing_fresh(self):
        for name, words in self.KINDS.items():
            with self.subTest(name):
                path = f"/valid/{name}"
                go = threading.Event()

                def late(exchange, asked):
                    go.wait(SLOW)
                    return Answer(304, ["Cache-Control: max-age=600", 'ETag: "a"']).send(exchange)
                self.shelf.put(path, caching(60, "Age: 100", 'ETag: "a"', "Surrogate-Key: filling", body=b"old"), late)
                self.shelf.keep(path, caching(600, body=b"new"))
                self.miss(path)
                first = Reader(self, path)
                wait_for("the validation", lambda: self.shelf.count(path) == 2)
                self.purge(*words(self, path))
                go.set()
                self.assertIn(first.done().body, (b"old", b"new"))
                for _ in range(3):
                    self.assertEqual(self.engine.get(path).body, b"new")

    def test_no_answer_is_older_than_a_purge_that_was_acknowledged(self):
        version, stop, wrong = [0], threading.Event(), []

        def current(exchange, asked):
            return caching(600, "Surrogate-Key: racing", body=b"%d" % version[0]).send(exchange)
        paths = [f"/race/{i}" for i in range(8)]
        for path in paths:
            self.shelf.keep(path, current)

        def client():
            mine = random.Random(1)
            with self.engine.connect() as c:
                while not stop.is_set():
                    path = mine.choice(paths)
                    least = acknowledged[0]
                    c.send_request(path)
                    body = c.response().body
                    if int(body) < least:
                        wrong.append((path, body, least))
        acknowledged = [0]
        threads = [threading.Thread(target=client) for _ in range(6)]
        for thread in threads:
            thread.start()
        try:
            for turn in range(40):
                version[0] += 1
                for words in (["--tag", "racing"], ["--prefix", self.url("/race/")], ["--host", "scene"], ["--all"])[turn % 4:turn % 4 + 1]:
                    self.purge(*words)
                acknowledged[0] = version[0]
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        self.assertEqual(wrong, [])


class PurgeMethod(PurgeScene):
    def test_from_a_network_that_may(self):
        self.play(cache=", purge-from: [ 127.0.0.0/8 ]")
        self.stored("/a", "/b")
        response = self.engine.get("/a", "PURGE")
        self.assertEqual((response.status, self.shelf.total()), (200, 2), response.body)
        self.hit("/b")
        self.miss("/a")
        self.assertIn(self.engine.get("/never", "PURGE").status, (200, 404))
        self.assertEqual(self.shelf.count("/never"), 0)

    def test_from_others_it_is_a_method_like_any(self):
        self.play(cache=", purge-from: [ 192.0.2.0/24 ]", usual=lambda asked: Answer(405 if asked.method == "PURGE" else 200, ["Cache-Control: max-age=60"]))
        self.stored("/a")
        self.assertEqual((self.engine.get("/a", "PURGE").status, self.shelf.last("/a").method), (405, "PURGE"))
        self.hit("/a")
        self.assertEqual(self.engine.get("/a", "PURGE", ["X-Forwarded-For: 192.0.2.1"]).status, 405)
        self.hit("/a")

    def test_without_a_list_it_is_a_method_like_any(self):
        self.play(usual=lambda asked: Answer(405 if asked.method == "PURGE" else 200, ["Cache-Control: max-age=60"]))
        self.stored("/a")
        self.assertEqual(self.engine.get("/a", "PURGE").status, 405)
        self.hit("/a")

    def test_the_other_variants_and_the_other_hosts(self):
        self.play(cache=", purge-from: [ 127.0.0.1 ]", usual=lambda asked: caching(60, "Vary: X-A"))
        for headers in (["X-A: 1"], ["X-A: 2"], ["Host: other", "X-A: 1"]):
            self.miss("/a", headers)
        self.assertEqual(self.engine.get("/a", "PURGE").status, 200)
        self.hit("/a", ["Host: other", "X-A: 1"])
        self.miss("/a", ["X-A: 1"])
        self.miss("/a", ["X-A: 2"])


class ManyObjects(PurgeScene):
    MEMORY = "512MiB"
    SERVER = """
        location ~ "^/many/.*[02468]$" { add_header Cache-Control max-age=3600; add_header Surrogate-Key "all even"; return 200 "x"; }
        location /many/ { add_header Cache-Control max-age=3600; add_header Surrogate-Key "all odd"; return 200 "x"; }
"""

    def ask_all(self, numbers, batch=100, connections=4):
        """Asks for all of them over a few connections; the numbers of those that were hits."""
        clients, hits = [self.engine.connect() for _ in range(connections)], set()
        for at in range(0, len(numbers), batch * connections):
            shares = [numbers[at + i * batch:at + (i + 1) * batch] for i in range(connections)]
            for client, share in zip(clients, shares):
                client.send(b"".join(b"GET /many/%d HTTP/1.1\r\nHost: scene\r\n\r\n" % number for number in share))
            for client, share in zip(clients, shares):
                for number in share:
                    response = client.response()
                    self.assertEqual((response.status, response.body), (200, b"x"))
                    if is_hit(response):
                        hits.add(number)
        for client in clients:
            client.close()
        return hits

    def test_a_tag_over_very_many_objects(self):
        nginx = Nginx(self.need("nginx"), server=self.SERVER)
        self.addCleanup(nginx.stop)
        self.engine = self.weir(f"cache: {{ memory: {self.MEMORY} }}\nroutes: [ {{ pool: app, cache: {{}} }} ]\npools: {{ app: {{ servers: [ {nginx.address} ] }} }}\n")
        count = OBJECTS // 2 * 2
        numbers = list(range(count))
        self.assertEqual(self.ask_all(numbers), set())
        sample = random.Random(5).sample(numbers, 1000)
        self.assertEqual(self.ask_all(sample), set(sample))
        self.assertEqual(self.purge("--tag", "even")["objects"], count // 2)
        self.assertEqual(self.ask_all(sample), {number for number in sample if number % 2})
        self.assertEqual(self.ask_all(sample), set(sample))
        left = count // 2 + len([number for number in sample if number % 2 == 0])
        wait_for("the even ones to be taken out", lambda: self.engine.json("cache", "status")["objects"] == left)  # until then both tags count them
        self.assertEqual(self.purge("--tag", "all")["objects"], count // 2 + len([number for number in sample if number % 2 == 0]))
        wait_for("the memory of what was purged", lambda: self.engine.json("cache", "status")["objects"] == 0)
        self.assertEqual(self.ask_all(sample), set())


class Seen(PurgeScene):
    """What an operator sees of it."""

    @classmethod
    def setUpClass(cls):
        cls.play_for_all()

    def test_cache_show(self):
        self.shelf.put("/seen", caching(600, 'ETag: "the-tag"', "Surrogate-Key: red green", body=b"x" * 777))
        self.miss("/seen")
        self.hit("/seen")
        code, out, err = self.engine.command("cache", "show", self.url("/seen"))
        self.assertEqual(code, 0, err)
        for word in ("200", "777"):
            self.assertIn(word, out)
        said = self.engine.json("cache", "show", self.url("/seen"))
        self.assertIn("777", str(said))
        _, out, err = self.engine.command("cache", "show", self.url("/unseen"))
        self.assertNotIn("777", out)

    def test_cache_show_of_variants(self):
        self.shelf.keep("/variants", caching(600, "Vary: X-A"))
        for value in "123":
            self.miss("/variants", [f"X-A: value{value}"])
        _, out, _ = self.engine.command("cache", "show", self.url("/variants"))
        for value in "123":
            self.assertIn(f"value{value}", out)

    def test_cache_status_counts(self):
        before = self.engine.json("cache", "status")
        for i in range(5):
            self.miss(f"/count/{i}")
        self.hit("/count/0")
        after = self.engine.json("cache", "status")
        self.assertNotEqual(before, after)
        self.assertEqual(self.engine.command("cache", "status")[0], 0)

    def test_explain_says_what_the_cache_would_do(self):
        url = f"http://127.0.0.1:{self.engine.port}/explained"
        said = str(self.engine.json("explain", url)["cache"])
        with self.engine.connect() as client:
            client.send_request("/explained", headers=[f"Host: 127.0.0.1:{self.engine.port}"])
            client.response()
        again = str(self.engine.json("explain", url)["cache"])
        self.assertNotEqual(said, again)
        self.assertIn("cache", self.engine.command("explain", url)[1])

    def test_metrics(self):
        self.miss("/metrics-a")
        self.hit("/metrics-a")
        self.assertIn("cache", self.engine.command("metrics")[1])


if __name__ == "__main__":
    unittest.main()
