"""Random requests, changes, purges and failures against a cache, from a seed; whatever comes, each answer is right and none is older than it may be.

The origin has versions of each path. A version is made from its path, its number and the variant, so that every byte of every answer can be checked. What may be
answered at least is the version of the last change that went through the cache or was purged after it.
"""
import os
import random
import re
import threading
import time
import unittest

from cache_props import Answer, CacheScene, is_hit, parts_of, status_of
from props import content

SEED = int(os.environ.get("WEIR_SEED") or time.time_ns() % 1000000)
SIZES = (0, 1, 100, 4000, 20000, 70000, 300000)


class World:
    """What the origin has: paths with versions."""

    def __init__(self, paths):
        self.paths = [f"/w/{i}" for i in range(paths)]
        self.version = dict.fromkeys(self.paths, 0)
        self.least = dict.fromkeys(self.paths, 0)
        self.lock = threading.Lock()

    def text(self, path, version, variant):
        """All about it can be found in its first bytes."""
        number = int(path.split("/")[2])
        size = SIZES[(number * 7 + version) % len(SIZES)]
        return (b"%s %d %s|" % (path.encode(), version, variant.encode()) + content(size, number + version))

    def answer(self, asked):
        path = asked.path
        number, variant = int(path.split("/")[2]), asked.field("X-Variant") or "none"
        with self.lock:
            if asked.method == "POST":
                self.version[path] += 1
            version = self.version[path]
        if asked.method == "POST":
            return Answer(204)
        fields = [f'ETag: "{number}-{version}-{variant}"', f"Surrogate-Key: third{number % 3} all", "Vary: X-Variant"]
        lifetime = ("max-age=600", "max-age=60\r\nAge: 100", "no-cache", "private", "max-age=600, must-revalidate")[number % 5]
        fields.append("Cache-Control: " + lifetime)
        if asked.field("If-None-Match") and f'"{number}-{version}-{variant}"' in asked.field("If-None-Match"):
            return Answer(304, fields)
        return Answer(200, fields, self.text(path, version, variant), "chunked" if number % 2 else "length")


class Story(CacheScene):
    MEMORY = "4MiB"

    def setUp(self):
        self.world = World(24)
        self.play(usual=self.world.answer)

    def one(self, chosen, client):
        """One random request and the check of its answer."""
        path, variant = chosen.choice(self.world.paths), chosen.choice(("one", "two"))
        method = chosen.choices(("GET", "HEAD", "POST"), (20, 2, 1))[0]
        headers = [f"X-Variant: {variant}"]
        if method == "GET":
            headers += chosen.choice(([], [], [], [f"Range: bytes={chosen.randrange(50)}-{chosen.randrange(50, 200)}"], ["Range: bytes=-9"], ["Range: bytes=0-0,7-9"],
                                      ["Cache-Control: no-cache"], ["Cache-Control: max-age=0"], ["Cache-Control: only-if-cached"], ['If-None-Match: "x"']))
        with self.world.lock:
            least, before = self.world.least[path], self.world.version[path]
        client.send_request(path, method, headers, b"x" if method == "POST" else b"")
        response = client.response(method)
        what = f"WEIR_SEED={SEED}: {method} {path} {headers}: {response.status} {response.fields} {(response.body or b'')[:60]}"
        self.assertTrue(response.complete, what)
        status_of(response)
        if method == "POST":
            self.assertEqual(response.status, 204, what)
            with self.world.lock:
                self.world.least[path] = max(self.world.least[path], before + 1)
        elif response.status == 504:
            self.assertIn("Cache-Control: only-if-cached", headers, what)
        else:
            self.check(path, variant, least, headers, method, response, what)
        return response

    def check(self, path, variant, least, headers, method, response, what):
        number, version, mine = re.fullmatch(r'"(\d+)-(\d+)-(\w+)"', response.field("ETag") or self.fail(what)).groups()
        self.assertEqual((number, mine), (path.split("/")[2], variant), what)
        with self.world.lock:
            self.assertTrue(least <= int(version) <= self.world.version[path], f"between {least} and {self.world.version[path]}: {what}")
        if int(number) % 5 == 3:
            self.assertFalse(is_hit(response), what)
        whole = self.world.text(path, int(version), variant)
        if response.status == 200:
            self.assertEqual(response.body == whole or method == "HEAD", True, what)
        elif response.status == 206:
            found = [(response.field("Content-Range"), None, response.body)] if response.field("Content-Range") else parts_of(response)
            for line, _, body in found:
                first, last, length = map(int, re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", line).groups())
                self.assertEqual((length, body == whole[first:last + 1]), (len(whole), True), what)
        else:
            self.assertEqual((response.status, any("Range" in header for header in headers)), (416, True), what)

    def purge(self, chosen):
        """What is purged is, from then on, no older than it is now."""
        path = chosen.choice(self.world.paths)
        words, concerned = chosen.choice(((["--all"], lambda p: True), (["--tag", "all"], lambda p: True), ([self.url(path)], lambda p: p == path),
                                          (["--tag", "third1"], lambda p: int(p.split("/")[2]) % 3 == 1), (["--prefix", self.url("/w/1")], lambda p: p.startswith("/w/1")),
                                          (["--host", "scene"], lambda p: True), (["--soft", "--all"], lambda p: True)))
        with self.world.lock:
            now = {p: self.world.version[p] for p in self.world.paths if concerned(p)}
        code, out, err = self.engine.command("purge", *words)
        self.assertEqual(code, 0, (words, out, err))
        with self.world.lock:
            for p, version in now.items():
                self.world.least[p] = max(self.world.least[p], version)

    def changes_behind_its_back(self, chosen):
        path = chosen.choice(self.world.paths)
        with self.world.lock:
            self.world.version[path] += 1

    def test_one_client(self):
        chosen = random.Random(SEED)
        print(f"WEIR_SEED={SEED}")
        hits = 0
        with self.engine.connect() as client:
            for _ in range(1500):
                if chosen.randrange(12) == 0:
                    self.changes_behind_its_back(chosen)
                if chosen.randrange(60) == 0:
                    self.purge(chosen)
                hits += is_hit(self.one(chosen, client))
        self.assertGreater(hits, 50)

    def test_several_clients_and_purges_beside(self):
        print(f"WEIR_SEED={SEED}")
        stop, problems = threading.Event(), []

        def client(seed):
            chosen = random.Random(SEED * 10 + seed)
            try:
                with self.engine.connect() as connection:
                    while not stop.is_set() and not problems:
                        self.one(chosen, connection)
            except Exception as problem:
                problems.append(problem)
        threads = [threading.Thread(target=client, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        chosen = random.Random(SEED + 1)
        try:
            for _ in range(50):
                self.changes_behind_its_back(chosen)
                self.purge(chosen)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        self.assertEqual([str(problem)[:2000] for problem in problems], [])


if __name__ == "__main__":
    unittest.main()
