"""Every fallible call of the cache fails once: storing, waiting, validating, renewing beside, purging. torture_scene.py says how it goes.

What must come back is the right content or an error, never something else, and never nothing.
"""
import shutil
import tempfile
import threading
import time
import unittest

import torture_scene
from props import content
from stage import Weir, wait_for
from torture_scene import Trouble

CONFIG = """
workers: 2
pin: false
cache: { memory: 4MiB, purge-from: [ 127.0.0.1 ], disk: { path: {store}, size: 16MiB } }
listeners:
  - address: 127.0.0.1:{port}
  - { address: 127.0.0.1:{admin}, serve: admin }
routes:
  - { match: { path: "/coded/*" }, pool: app, cache: { tags: [ coded ], key: [ "param:a" ] }, compress: { min: 1B } }
  - { pool: app, cache: { ttl: { 404: 1m } } }
pools:
  app: { servers: [ ORIGIN ], passive-health: { fail-after: never } }
"""


def answer(exchange):
    """What a path says: its last part is how many bytes, its first how they are framed and for how long they are fresh."""
    if exchange.body() is None:
        return False
    parts = exchange.path.split("?")[0].split("/")
    body, kind = content(int(parts[-1])), parts[1]
    fresh = {"stale": "max-age=60\r\nAge: 100", "beside": "max-age=60, stale-while-revalidate=600\r\nAge: 100", "private": "private"}.get(kind, "max-age=600")
    if exchange.fields("if-none-match"):
        exchange.send(f'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\nX-New: 1\r\nCache-Control: {fresh}\r\n\r\n'.encode())
        return None
    if kind == "slow":
        time.sleep(0.05)
    head = f'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nETag: "a"\r\nSurrogate-Key: one two {kind}\r\nCache-Control: {fresh}\r\n'.encode()
    if kind == "chunked":
        exchange.send(head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n")
    elif exchange.line.startswith("HEAD"):
        exchange.send(head + b"Content-Length: %d\r\n\r\n" % len(body))
    else:
        exchange.send(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    return None


class Request:
    """wanted: the content, None for any; statuses: those that do, None for any."""

    def __init__(self, path, wanted, method="GET", headers=(), statuses=(200,)):
        self.path, self.wanted, self.method, self.headers, self.statuses = path, wanted, method, headers, statuses

    def __getitem__(self, at):
        return f"{self.method} {self.path}"  # Story names a request by its first part


REQUESTS = [Request("/length/5000", content(5000)), Request("/length/5000", content(5000)), Request("/length/5000", b"", "HEAD"),
            Request("/length/5000", content(10, 100), headers=["Range: bytes=100-109"], statuses=(206, 200)),
            Request("/length/5000", None, headers=["Range: bytes=0-1,50-60"], statuses=(206, 200)),
            Request("/length/5000", b"", headers=['If-None-Match: "a"'], statuses=(304,)),
            Request("/chunked/60000", content(60000)), Request("/chunked/60000", content(60000)), Request("/length/300000", content(300000)),
            Request("/stale/3000", content(3000)), Request("/stale/3000", content(3000)), Request("/beside/3000", content(3000)), Request("/beside/3000", content(3000)),
            Request("/private/10", content(10)), Request("/coded/5000?a=1", None, headers=["Accept-Encoding: gzip"]), Request("/coded/5000?a=1", content(5000)),
            Request("/coded/5000?a=1", None, headers=["Accept-Encoding: br"]),
            Request("/length/5000", content(5000), "POST"), Request("/length/5000", b"", "PURGE", statuses=None)]


# On the disk, not in memory, when the story begins.
FROM_DISK = [Request("/length/7000", content(7000)), Request("/length/150000", content(150000)), Request("/length/9000", content(10, 100), headers=["Range: bytes=100-109"], statuses=(206, 200))]


class CacheStory(torture_scene.Story):
    """On a folder with a store that an engine without failures has left there, so that its reading fails as well."""

    seed = None

    def play(self):
        store = tempfile.mkdtemp(prefix="weir-disk-")
        try:
            if self.seed:
                shutil.copytree(self.seed, store, dirs_exist_ok=True)
            self.config = self.config.replace("{store}", store)
            return super().play()
        finally:
            shutil.rmtree(store, ignore_errors=True)

    def go_on(self):
        for request in FROM_DISK + REQUESTS:
            self.twice(request)
        time.sleep(0.25)  # what is used twice is written
        self.together(Request("/slow/70000", content(70000)))
        self.commands()
        for request in REQUESTS[:9]:
            self.twice(request)

    def ask(self, request, client):
        client.send_request(request.path, request.method, request.headers)
        response = client.response(request.method)
        if response.status in (502, 503, 504):
            return str(response.status)
        if not response.complete:
            return "cut"
        if request.statuses is None:
            return None
        whole = content(int(request.path.split("?")[0].split("/")[-1]))
        if response.status in request.statuses and request.wanted in (None, response.body) or response.status == 200 and response.body == whole:
            return None
        raise Trouble(f"{request.method} {request.path} {request.headers}: {response.status} {response.fields}, {len(response.body)} bytes that are not the right ones")

    def together(self, request):
        """Several at once, of which one goes to the origin."""
        found = []

        def one():
            try:
                with self.weir.connect() as client:
                    found.append(self.ask(request, client))
            except TimeoutError:
                found.append(Trouble(f"{request.path}: no answer"))
            except (OSError, EOFError) as problem:
                found.append(repr(problem))
            except Trouble as trouble:
                found.append(trouble)
        threads = [threading.Thread(target=one) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for trouble in found:
            if isinstance(trouble, Trouble):
                raise trouble
        self.tolerated += [(request.path, why) for why in found if why]
        self.twice(request)

    def commands(self):
        self.weir.write(self.config + "via: other\n")
        for words in (["purge", "http://scene/length/5000"], ["purge", "--soft", "--tag", "two"], ["purge", "--tag", "one"], ["purge", "--prefix", "http://scene/ch"],
                      ["purge", "--host", "scene"], ["reload"], ["purge", "--all"], ["cache", "status"], ["cache", "show", "http://scene/length/5000"],
                      ["explain", "http://scene/length/5000"]):
            codes = [self.weir.command(*words)[0]]
            if codes[0] not in (0, 1, 2, 3, 4, 75):  # 2: without memory the question could not be read
                raise Trouble(f"{words}: exit code {codes[0]}")
            if codes[0] and self.weir.command(*words)[0] and words[:2] != ["cache", "show"]:
                raise Trouble(f"{words} failed twice")


class CacheTorture(torture_scene.Torture):
    seconds = 25

    def setUp(self):
        if not torture_scene.has_fault_points():
            self.skipTest("this binary has no fault points (make asan)")
        self.config = CONFIG.replace("ORIGIN", self.origin(answer).address)
        self.kind = CacheStory
        CacheStory.seed = None
        store = tempfile.mkdtemp(prefix="weir-disk-")
        self.addCleanup(shutil.rmtree, store, True)
        weir = Weir(self.config.replace("{store}", store))
        for _ in range(2):
            for request in FROM_DISK:
                self.assertEqual(weir.get(request.path).status, 200)
        wait_for("the store", lambda: weir.json("cache", "status")["disk"]["written"] == len(FROM_DISK))
        weir.stop()
        CacheStory.seed = store


if __name__ == "__main__":
    unittest.main()
