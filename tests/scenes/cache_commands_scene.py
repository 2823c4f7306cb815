"""The cache's memory comes with the first route that has one; `weir purge` and `weir cache` say what they did, or why not."""
from stage import Scene, named

POOL = "pools: { app: { servers: [ ORIGIN ] } }\n"
PLAIN = "routes: [ { name: app, pool: app } ]\n" + POOL
CACHED = """
routes:
  - { name: plain, match: { path: /plain/* }, pool: app }
  - { name: kept, match: { path: /kept/* }, pool: app, cache: {} }
  - { name: by-name, match: { path: /named/*, header: { X-Name: "*" } }, pool: app, cache: { key: [ header:X-Name ] } }
  - { name: edited, match: { path: /edited/* }, pool: app, cache: { default-ttl: 1m }, request-headers: { set: { X-A: b } } }
  - { match: { path: /own }, respond: { body: own } }
""" + POOL


class CacheCommands(Scene):
    def engine(self, config):
        self.address = self.origin(named("app")).address
        return self.weir(config.replace("ORIGIN", self.address))

    def reload(self, engine, config):
        engine.write(config.replace("ORIGIN", self.address))
        return engine.command("reload")

    def refused(self, engine, code, why, *words):
        got, out, err = engine.command(*words)
        self.assertEqual((got, out), (code, ""), err)
        self.assertIn(why, err)

    def test_without_a_cache_they_say_so(self):
        engine = self.engine(PLAIN)
        for words in (("purge", "--all"), ("purge", "--prefix", "http://a.example/"), ("cache", "status"), ("cache", "show", "http://a.example/")):
            self.refused(engine, 1, "no route has a cache", *words)
        self.assertNotIn("\ncache ", engine.command("status")[1])
        self.assertNotIn("weir_cache_bytes", engine.command("metrics")[1])

    def test_a_reload_brings_the_memory_and_its_size_stays(self):
        engine = self.engine(PLAIN)
        code, out, err = self.reload(engine, CACHED + "cache: { memory: 8MiB }\n")
        self.assertEqual(code, 0, err)
        self.assertIn("cache: added\n", out)
        status = engine.json("cache", "status")
        self.assertEqual([r["route"] for r in status["routes"]], ["kept", "by-name", "edited"])
        metrics = engine.command("metrics")[1]
        self.assertIn('weir_route_cache_hits_total{route="kept"} 0\n', metrics)
        self.assertIn(f"weir_cache_bytes_max {status['bytes_max']}\n", metrics)
        self.assertIn("\ncache ", engine.command("status")[1])
        self.assertIn("cache ", engine.command("top", "--once")[1])
        self.assertGreater(status["homes"], 0)
        self.assertLessEqual(status["bytes_max"], 8 << 20)
        code, _, err = self.reload(engine, CACHED + "cache: { memory: 16MiB }\n")
        self.assertEqual(code, 1)
        self.assertIn("cache.memory: 8MiB -> 16MiB needs a restart", err)
        self.assertEqual(self.reload(engine, PLAIN)[0], 0)
        self.assertEqual(engine.json("cache", "status")["routes"], [])
        code, _, err = self.reload(engine, CACHED + "cache: { memory: 16MiB }\n")
        self.assertEqual(code, 1)
        self.assertIn("needs a restart", err)
        self.assertEqual(self.reload(engine, CACHED + "cache: { memory: 8MiB }\n")[0], 0)
        self.assertEqual(engine.get("/plain/x").status, 200)

    def test_a_file_that_is_refused_leaves_the_size_open(self):
        engine = self.engine(PLAIN)
        code, _, err = self.reload(engine, CACHED + "cache: { memory: 8MiB }\nlog: { access: /nonexistent/log }\n")
        self.assertEqual(code, 1)
        self.assertIn("/nonexistent/log", err)
        self.assertEqual(self.reload(engine, CACHED + "cache: { memory: 16MiB }\n")[0], 0)

    def test_memory_that_is_too_small_for_the_workers_refuses_a_reload(self):
        engine = self.engine("workers: 2\n" + PLAIN)
        code, _, err = self.reload(engine, "workers: 3\n" + CACHED + "cache: { memory: 2MiB }\n")
        self.assertEqual(code, 3)
        self.assertIn("the cache's memory is too small for 3 workers", err)

    def test_each_kind_of_purge_is_answered(self):
        engine = self.engine(CACHED)
        for words in (("http://a.example/kept/x",), ("--prefix", "http://A.example:80/kept"), ("--host", "a.example"), ("--tag", "one", "--tag", "two"), ("--all",)):
            for soft in ((), ("--soft",)):
                said = engine.json("purge", *words, *soft)
                self.assertEqual((sorted(said), said["soft"]), (["bytes", "objects", "soft"], bool(soft)), words)
        self.assertEqual(engine.command("purge", "http://a.example/named/x", "-H", "X-Name: me")[0], 0)

    def test_what_cannot_be_purged_or_shown_is_told(self):
        engine = self.engine(CACHED)
        for verb in (("purge",), ("cache", "show")):
            self.refused(engine, 1, "the route that takes it, plain, has no cache", *verb, "http://a.example/plain/x")
            self.refused(engine, 1, "404 no_route", *verb, "http://a.example/named/x")
            self.refused(engine, 1, "has no cache", *verb, "http://a.example/own")
            self.refused(engine, 2, "http://", *verb, "a.example/kept/x")
        self.refused(engine, 2, "without a query", "purge", "--prefix", "http://a.example/kept?x=1")
        self.refused(engine, 2, "is no host", "purge", "--host", "a.example/kept")
        self.refused(engine, 2, "one of", "purge", "--all", "--host", "a.example")

    def test_show_and_explain_name_the_key(self):
        engine = self.engine(CACHED)
        said = engine.json("cache", "show", "http://A.example:80/kept/none?b=1")
        self.assertEqual((said["route"], said["cache"]["now"], said["cache"]["variants"]), ("kept", "miss", []))
        self.assertEqual(said["cache"]["key"].split("\n")[:4], ["http", "a.example", "/kept/none", "?b=1"])
        explained = engine.json("explain", "http://a.example/kept/none?b=1")["cache"]
        self.assertEqual((explained["now"], explained["key"]), ("miss", said["cache"]["key"]))
        posted = engine.json("explain", "POST", "http://a.example/kept/none")["cache"]
        self.assertEqual((posted["now"], "method" in posted["why"]), ("pass", True))
        self.assertIsNone(engine.json("explain", "http://a.example/plain/x")["cache"])
        self.assertIn("cache     miss: ", engine.command("explain", "http://a.example/kept/none")[1])

    def test_what_a_route_with_edits_stored_is_found(self):
        engine = self.engine(CACHED)
        self.assertEqual(engine.get("/edited/x", headers=["Host: a.example"]).status, 200)
        self.assertEqual(engine.json("cache", "show", "http://a.example/edited/x")["cache"]["now"], "hit")
        self.assertEqual(engine.json("explain", "http://a.example/edited/x")["cache"]["now"], "hit")
