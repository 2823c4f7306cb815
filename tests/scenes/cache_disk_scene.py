"""The cache's disk, end to end: what was used twice is there after a restart, whatever happened to the engine or the disk in between.

A store (class Store) is a folder that several engines use one after the other. Only the counts of `weir cache status` say where an answer came from; the origin
says whether it was asked.
"""
import errno
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import unittest

from cache_props import Answer, CacheScene, Reader, Shelf, caching, is_hit
from stage import SLOW, Origin, Weir, wait_for
from torture_scene import has_fault_points


def body_of(path):
    """Content that only this path has, some of it several windows long."""
    seed = hashlib.sha256(path.encode()).digest()
    length = int.from_bytes(seed[:2], "big") % 3000 + (int(path.rsplit("-", 1)[1]) if "-" in path else 0)
    return (seed * (length // 32 + 1))[:length]


class DiskScene(CacheScene):
    SIZE = "128MiB"  # so that what has a megabyte fits a segment twice
    MEMORY = "16MiB"
    RULE = "{ tags: [ by-route ] }"

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="weir-disk-")
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.path = os.path.join(self.folder, "store")
        self.shelf = Shelf(lambda asked: caching(600, f"Surrogate-Key: t{len(asked.path)}", f'ETag: "{asked.path}"', body=body_of(asked.path)))
        self.source = Origin(self.shelf)
        self.addCleanup(self.source.stop)
        self.engine = None

    def config(self, memory=None, size=None, path=None, top="", route="", cache=True):
        disk = f"disk: {{ path: {path or self.path}, size: {size or self.SIZE} }}"
        rule = f"cache: {self.RULE}" if cache else ""
        return (f"{'cache: { memory: %s, purge-from: [ 127.0.0.1 ], %s }' % (memory or self.MEMORY, disk) if cache else ''}\n{top}\n"
                f"routes:\n  - {{ name: usual, pool: app, {rule} {route} }}\n"
                f"pools: {{ app: {{ retries: 0, passive-health: {{ fail-after: never }}, servers: [ {self.source.address} ] }} }}\n")

    def start(self, environment=None, **more):
        self.engine = Weir(self.config(**more), environment=environment)
        self.addCleanup(self.end, self.engine)
        return self.engine

    def end(self, engine):
        if os.path.exists(engine.folder):
            engine.stop()

    def restart(self, **more):
        self.engine.stop()
        return self.start(**more)

    def told(self, pattern):
        wait_for(pattern, lambda: re.search(pattern, self.engine.log()))

    def disk(self):
        return self.engine.json("cache", "status")["disk"]

    def fetch(self, path, headers=()):
        response = self.engine.get(path, headers=headers)
        self.assertEqual((response.status, response.complete, response.body), (200, True, body_of(path)), path)
        return response

    def keep(self, *paths):
        """Stored, used a second time, and written, in portions that the queue has room for."""
        portion, written = 0, self.disk()["written"]
        for number, path in enumerate(paths, 1):
            self.fetch(path)
            portion += len(self.fetch(path).body)
            if portion > 300000 or number % 30 == 0 or number == len(paths):
                self.wait_written(written + number)
                portion = 0

    def wait_written(self, count):
        wait_for(f"{count} objects on the disk", lambda: self.disk()["written"] >= count)

    def from_disk(self, path, headers=()):
        before, asked = self.disk()["loaded"], self.shelf.total()
        response = self.engine.get(path, headers=headers)
        self.assertTrue(is_hit(response), (path, response.fields))
        self.assertEqual((self.shelf.total(), self.disk()["loaded"]), (asked, before + 1), path)
        return response


class Restart(DiskScene):
    def test_what_was_used_twice_is_found_again_without_the_origin(self):
        self.start()
        paths = [f"/p{i}-{i * 7919 % 90000}" for i in range(30)] + ["/long-900000"]
        self.fetch("/once")
        self.keep(*paths)
        self.restart()
        self.assertEqual(self.disk()["restored"], len(paths))
        self.told(f"{len(paths)} objects")
        for path in paths:
            self.assertEqual(self.from_disk(path).body, body_of(path))
            self.hit(path)
        self.miss("/once")

    def test_age_goes_on(self):
        self.start()
        self.shelf.keep("/aged", caching(600, "Age: 100", body=body_of("/aged")))
        self.keep("/aged")
        time.sleep(1.1)
        self.restart()
        self.assertGreaterEqual(int(self.from_disk("/aged").field("Age")), 101)

    def test_what_became_stale_is_validated(self):
        self.start()
        self.shelf.keep("/old", caching(2, 'ETag: "old"', body=body_of("/old")))
        self.keep("/old")
        time.sleep(2.1)
        self.restart()
        self.shelf.keep("/old", Answer(304, ['ETag: "old"', "Cache-Control: max-age=600"], body=b""))
        self.fetch("/old")
        self.assertEqual(self.shelf.last("/old").field("If-None-Match"), '"old"')
        self.hit("/old")
        self.wait_written(1)  # the freshened one, at its second use
        self.restart()
        self.from_disk("/old")

    def test_parts_heads_and_conditions_come_from_the_disk(self):
        self.start()
        self.keep("/parts-100000")
        whole = body_of("/parts-100000")
        for method, headers, status, body in (("GET", ["Range: bytes=10-19"], 206, whole[10:20]), ("HEAD", [], 200, b""),
                                              ("GET", ['If-None-Match: "/parts-100000"'], 304, b""), ("GET", ["Cache-Control: only-if-cached"], 200, whole)):
            self.restart()
            before = self.shelf.total()
            response = self.engine.get("/parts-100000", method, headers)
            self.assertEqual((response.status, response.body, is_hit(response)), (status, body, True), (method, headers))
            self.assertEqual((self.shelf.total(), self.disk()["loaded"]), (before, 1))

    def test_variants(self):
        self.start()
        self.shelf.keep("/v", None)
        for value in ("one", "two"):
            self.shelf.put("/v", caching(600, "Vary: X-A", body=value.encode()))
            self.engine.get("/v", headers=[f"X-A: {value}"])
            self.hit("/v", [f"X-A: {value}"])
        self.wait_written(2)
        self.restart()
        for value in ("one", "two"):
            self.assertEqual(self.from_disk("/v", [f"X-A: {value}"]).body, value.encode())
        self.miss("/v", ["X-A: three"])

    def test_those_who_come_together_read_once(self):
        self.start()
        self.keep("/together-900000")
        self.restart()
        before = self.shelf.total()
        readers = [Reader(self, "/together-900000") for _ in range(12)] + [Reader(self, "/together-900000", ["Range: bytes=0-9"]) for _ in range(4)]
        for reader in readers:
            response = reader.done()
            self.assertIn(response.body, (body_of("/together-900000"), body_of("/together-900000")[:10]))
        self.assertEqual((self.shelf.total(), self.disk()["loaded"]), (before, 1))

    def test_clients_that_leave(self):
        self.start()
        paths = [f"/left{i}-700000" for i in range(8)]
        self.keep(*paths)
        self.restart()
        for path in paths * 4:
            client = self.engine.connect()
            client.send_request(path)
            client.close()
        for path in paths:
            self.fetch(path)

    def test_a_newer_response_is_what_a_restart_finds(self):
        self.start()
        self.keep("/new")
        self.assertEqual(self.engine.command("purge", "--soft", self.url("/new"))[0], 0)
        self.shelf.keep("/new", caching(600, body=b"newer"))
        self.engine.get("/new")
        before = self.disk()["written"]
        self.assertEqual(self.hit("/new").body, b"newer")
        self.wait_written(before + 1)
        self.restart()
        self.assertEqual(self.from_disk("/new").body, b"newer")

    def test_another_size_begins_empty(self):
        self.start()
        self.keep("/a")
        self.restart(size="17MiB")
        self.assertEqual(self.disk()["restored"], 0)
        self.miss("/a")


class MoreThanMemory(DiskScene):
    MEMORY = "4MiB"

    def settle(self, paths):
        """Each is asked for until it is on the disk: in so little memory one may be refused, or make room for another, before its second use."""
        for path in paths:
            self.fetch(path)
            wait_for(path, lambda: self.fetch(path) and self.engine.json("cache", "show", self.url(path))["cache"]["on_disk"])

    def test_what_memory_had_no_room_for_comes_back(self):
        self.start(top="workers: 1")
        paths = [f"/m{i}-40000" for i in range(150)]
        self.settle(paths)
        asked, loaded = self.shelf.total(), self.disk()["loaded"]
        for path in random.Random(3).sample(paths, len(paths)):
            self.fetch(path)
        self.assertEqual(self.shelf.total(), asked)
        self.assertGreater(self.disk()["loaded"], loaded + 60)

    def test_what_was_replaced_in_memory_does_not_come_back(self):
        self.start(top="workers: 1")
        self.shelf.put("/r", caching(600, 'ETag: "a"', body=b"old"), caching(600, 'ETag: "b"', body=b"new"))
        self.engine.get("/r")
        self.hit("/r")
        self.wait_written(1)
        self.assertEqual(self.miss("/r", ["Cache-Control: no-cache"]).body, b"new")
        for path in (f"/other{i}-60000" for i in range(1000)):
            for _ in range(3):
                self.fetch(path)
            if self.engine.json("cache", "show", self.url("/r"))["cache"]["stored"] == 0:
                break
        self.shelf.keep("/r", caching(600, body=b"newest"))
        self.assertEqual(self.miss("/r").body, b"newest")

    def test_the_disk_overwrites_its_oldest(self):
        self.start(top="workers: 1", size="16MiB")
        paths = [f"/o{i}-100000" for i in range(200)]
        self.settle(paths)
        self.restart(size="16MiB")
        restored = self.disk()["restored"]
        self.assertTrue(90 < restored < 160, restored)
        asked = self.shelf.total()
        for path in paths:
            self.fetch(path)
        self.assertTrue(len(paths) - restored <= self.shelf.total() - asked < len(paths) - restored + 20)  # some make room for others that are used


class Purging(DiskScene):
    PATHS = ["/a/one", "/a/two", "/b/three", "/b/fourfour"]

    def purge(self, *words):
        code, out, err = self.engine.command("purge", *words, "--json")
        self.assertEqual(code, 0, (words, out, err))
        return json.loads(out)

    def gone(self, paths, gone):
        for path in paths:
            (self.miss if path in gone else self.hit)(path)

    def played(self, words, gone, kept_in_memory=True):
        """Purged where memory has it too, and where only the disk has; looked at before and after another restart."""
        for in_memory in (True, False):
            for looked in (False, True):
                with self.subTest(words=words, in_memory=in_memory, looked=looked):
                    self.start()
                    self.purge("--all")
                    self.keep(*self.PATHS)
                    if not in_memory:
                        self.restart()
                    count = self.purge(*words)
                    self.assertIn("disk_objects", count)
                    if words[0] not in ("--tag", "--prefix", "--host") and words[-1] != "--soft":
                        self.assertEqual((count["objects"], count["disk_objects"]), (len(gone) if in_memory else 0, len(gone)))
                    if looked:
                        self.gone(self.PATHS, gone)
                    self.restart()
                    if looked:
                        self.gone([path for path in self.PATHS if path not in gone], [])
                    else:
                        self.gone(self.PATHS, gone)
                    self.engine.stop()
                    shutil.rmtree(self.path)

    def test_by_url(self):
        self.played([self.url("/a/one")], ["/a/one"])

    def test_by_prefix(self):
        self.played(["--prefix", self.url("/a/")], self.PATHS[:2])

    def test_by_tag(self):
        self.played(["--tag", f"t{len('/b/three')}"], ["/b/three"])

    def test_by_tag_of_the_route(self):
        self.played(["--tag", "by-route"], self.PATHS)

    def test_by_host(self):
        self.played(["--host", "scene"], self.PATHS)

    def test_everything(self):
        self.played(["--all"], self.PATHS)

    def test_softly(self):
        for words, path in (([self.url("/a/one")], "/a/one"), (["--tag", f"t{len('/b/three')}"], "/b/three"), (["--prefix", self.url("/a/t")], "/a/two"),
                            (["--host", "scene"], "/a/two"), (["--all"], "/a/two")):
            for restarts in (0, 1, 2):
                with self.subTest(words=words, restarts=restarts):
                    self.start()
                    self.purge("--all")
                    self.keep(path)
                    if restarts == 2:
                        self.restart()
                    self.purge(*words, "--soft")
                    if restarts:
                        self.restart()
                    self.fetch(path)
                    self.assertEqual(self.shelf.last(path).field("If-None-Match"), f'"{path}"')
                    self.engine.stop()
                    shutil.rmtree(self.path)

    def test_by_request_and_by_what_a_request_changes(self):
        self.start()
        self.keep(*self.PATHS)
        self.assertEqual(self.engine.get("/a/one", "PURGE").body, b"purged 1 objects\n")
        self.assertEqual(self.engine.get("/a/none", "PURGE").body, b"purged 0 objects\n")
        self.restart()
        self.assertEqual(self.engine.get("/a/two", "PURGE").body, b"purged 1 objects\n")
        self.shelf.put("/b/three", Answer(200, body=b"changed"))
        self.engine.get("/b/three", "POST", body=b"x")
        self.gone(["/a/two", "/b/three"], ["/a/two", "/b/three"])
        self.restart()
        self.gone(self.PATHS, self.PATHS[:3])

    def test_purges_at_once_and_a_client_that_does_not_wait(self):
        self.start()
        self.keep(*self.PATHS)
        for path in self.PATHS * 5:
            with self.engine.connect() as client:
                client.send_request(path, "PURGE")
        wait_for("the purges", lambda: not self.engine.json("cache", "show", self.url(self.PATHS[-1]))["cache"]["on_disk"])
        threads = [threading.Thread(target=self.engine.command, args=("purge", "--tag", f"x{i}", "--tag", "y")) for i in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.engine.get("/a/one", "PURGE")
        self.restart()
        self.gone(self.PATHS, self.PATHS)


class Killed(DiskScene):
    SIZE = "64MiB"
    KILLS = 4

    def load(self, paths, stop, problems, seed):
        numbers = random.Random(seed)
        while not stop.is_set():
            try:
                with self.engine.connect() as client:
                    for _ in range(50):
                        path = numbers.choice(paths)
                        client.send_request(path)
                        response = client.response()
                        if not response.complete:
                            raise EOFError
                        if response.status != 200 or response.body != body_of(path):
                            problems.append((path, response.status, len(response.body)))
            except (OSError, EOFError):
                if not self.killed:
                    problems.append("cut")
                return

    def test_no_kill_makes_a_wrong_byte(self):
        paths, problems, restored = [], [], []
        for turn in range(self.KILLS):
            paths += [f"/k{turn}x{i}-{i * 104729 % 120000}" for i in range(80)]
            self.killed = False
            self.start(memory="4MiB")
            restored.append(self.disk()["restored"])
            stop = threading.Event()
            threads = [threading.Thread(target=self.load, args=(paths, stop, problems, turn * 10 + i)) for i in range(4)]
            for thread in threads:
                thread.start()
            wait_for("writes", lambda: self.disk()["written"] > 40)
            time.sleep(random.Random(turn).random() * 0.4)
            self.killed = True
            self.engine.process.send_signal(signal.SIGKILL)
            self.engine.process.wait()
            stop.set()
            for thread in threads:
                thread.join()
            self.engine.stop(code=None)
        self.assertEqual(problems, [])
        self.start()
        restored.append(self.disk()["restored"])
        self.assertTrue(all(count > 40 for count in restored[1:]), restored)
        asked = self.shelf.total()
        for path in paths:
            self.fetch(path)
        self.assertLess(self.shelf.total() - asked, len(paths) - 40)
        self.assertEqual(self.disk()["failed"], 0)


class Broken(DiskScene):
    """Whatever the disk does, requests are answered as if there were none."""

    def spoil(self, name, offset, data):
        with open(os.path.join(self.path, name), "r+b") as file:
            file.seek(offset)
            file.write(data)

    def works(self):
        for path in ("/w1", "/w1", "/w2-100000", "/w2-100000"):
            self.fetch(path)

    def test_garbage_in_the_middle(self):
        self.start()
        paths = [f"/g{i}-20000" for i in range(60)]
        self.keep(*paths)
        self.engine.stop()
        numbers = random.Random(1)
        for _ in range(400):
            self.spoil("weir-cache.0", numbers.randrange(3 << 20), numbers.randbytes(64))
        self.start()
        for path in paths:
            self.fetch(path)

    def test_another_file_in_its_place(self):
        self.start()
        self.keep("/x")
        self.engine.stop()
        for name in ("weir-cache", "weir-cache.0"):
            with open(os.path.join(self.path, name), "wb") as file:
                file.write(b"no store at all\n" * 100)
        self.start()
        self.assertEqual(self.disk()["restored"], 0)
        self.works()

    def test_what_cannot_be_had_is_told_and_done_without(self):
        file = os.path.join(self.folder, "file")
        open(file, "w").close()
        link = os.path.join(self.folder, "linked")
        os.mkdir(link)
        os.symlink(file, os.path.join(link, "weir-cache"))
        for path, why in ((file, "cannot open"), ("/proc/weir", "cannot make"), (link, "cannot open"), (os.path.join(self.folder, "no/such"), "cannot make")):
            with self.subTest(path=path):
                self.start(path=path)
                self.told(f'the cache is without its disk: {why} "{re.escape(path)}')
                self.assertIsNone(self.disk())
                self.works()
                self.hit("/w1")
                self.assertNotIn("weir_cache_disk_", self.engine.command("metrics")[1])
                self.engine.stop()

    def test_a_folder_belongs_to_one_engine(self):
        self.start()
        first = self.engine
        self.start()
        self.told("belongs to another engine")
        self.works()
        self.engine.stop()
        self.engine = first
        self.works()
        self.assertEqual(self.disk()["volumes_off"], 0)

    def test_its_files_are_taken_away_and_cut_short_under_it(self):
        self.start()
        self.keep("/gone-50000")
        self.restart()
        os.truncate(os.path.join(self.path, "weir-cache.0"), 4096)
        self.fetch("/gone-50000")
        self.fetch("/gone-50000")
        self.works()
        self.assertEqual(self.engine.command("purge", "--all")[0], 0)
        self.works()



class Full(DiskScene):
    """A file system of its own, which is full."""

    SIZE = "16MiB"
    PATHS = [f"/u{i}-{i * 2003}" for i in range(40)]

    def setUp(self):
        super().setUp()
        self.place = os.path.join(self.folder, "small")
        self.path = os.path.join(self.place, "store")
        os.mkdir(self.place)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "weir-scene", self.place], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            self.skipTest(f"no file system can be mounted here: {done.stdout.strip()}")
        self.addCleanup(subprocess.run, ["umount", self.place], check=True)

    def fill(self):
        """By somebody else, to the last byte."""
        with open(os.path.join(self.place, "other"), "wb", 0) as file:
            for size in (1 << 20, 4096, 1):
                try:
                    while file.write(b"x" * size) == size:
                        pass
                except OSError as full:
                    self.assertEqual(full.errno, errno.ENOSPC)
        left = os.statvfs(self.place)
        self.assertEqual(left.f_bavail, 0)

    def fetched(self):
        for path in self.PATHS * 3:
            self.fetch(path)

    def test_one_that_is_too_small_is_told_and_done_without(self):
        self.start(size="32MiB")
        self.told("the cache is without its disk: cannot reserve the space of .*No space left on device")
        self.assertIsNone(self.disk())
        self.fetched()
        self.hit(self.PATHS[0])
        self.assertEqual(self.engine.command("purge", "--all")[0], 0)
        self.miss(self.PATHS[0])

    def test_one_that_is_full_at_the_start(self):
        self.fill()
        self.start()
        self.told("the cache is without its disk: cannot .*No space left on device")
        self.fetched()
        self.engine.stop()
        os.unlink(os.path.join(self.place, "other"))
        self.start()
        self.keep(*self.PATHS)

    def test_one_that_others_fill_later_has_what_was_reserved(self):
        self.start()
        self.keep(*self.PATHS[:20])
        self.fill()
        self.keep(*self.PATHS[20:])
        self.assertEqual(self.engine.get(self.PATHS[0], "PURGE").status, 200)
        self.restart()
        self.fetched()
        disk = self.disk()
        self.assertEqual((disk["restored"], disk["failed"], disk["volumes_off"]), (len(self.PATHS) - 1, 0, 0))
        self.assertGreater(disk["loaded"], 10)


@unittest.skipUnless(has_fault_points(), "this binary has no fault points (make asan)")
class Failing(DiskScene):
    """A call of the disk's that fails again and again: no request feels it."""

    PATHS = [f"/f{i}-{i * 3001}" for i in range(30)]

    def failing(self, *names):
        return self.start(environment={"WEIR_FAULT_NAMES": ",".join(names)})

    def fetched(self):
        """Each three times: twice in the usual way, and once from the front table."""
        for path in self.PATHS * 3:
            self.fetch(path)

    def test_at_the_start(self):
        for name, why in (("disk_open", "cannot open"), ("disk_reserve", "cannot reserve the space of"), ("disk_start", "cannot write"), ("disk_memory", "no memory")):
            with self.subTest(name=name):
                shutil.rmtree(self.path, ignore_errors=True)
                self.failing(name)
                self.told("the cache is without its disk: " + why)
                self.fetched()
                self.engine.stop()

    def test_what_cannot_be_read_at_the_start_is_not_used_later(self):
        self.start()
        self.keep("/a")
        self.engine.stop()
        self.failing("disk_start")
        self.told("the cache is without its disk")
        self.miss("/a")
        self.restart()
        self.assertEqual(self.disk()["restored"], 0)

    def test_reading(self):
        for name in ("disk_read", "disk_read_short"):
            with self.subTest(name=name):
                shutil.rmtree(self.path, ignore_errors=True)
                self.start()
                self.keep(*self.PATHS)
                self.engine.stop()
                self.failing(name)
                self.fetched()
                disk = self.disk()
                self.assertEqual(disk["loaded"], 0)
                self.assertGreater(disk["failed"], 2)
                self.assertGreater(disk["volumes_off"] + disk["segments_off"], 0)
                self.engine.stop()
                self.start()
                self.fetched()

    def test_writing(self):
        for name in ("disk_write", "disk_write_short"):
            with self.subTest(name=name):
                shutil.rmtree(self.path, ignore_errors=True)
                self.failing(name)
                end = time.monotonic() + 3 * SLOW
                while self.disk()["volumes_off"] == 0 and time.monotonic() < end:
                    self.fetched()
                    self.engine.command("purge", "--all")
                self.assertEqual((self.disk()["written"], self.disk()["volumes_off"]), (0, 1))
                self.fetched()
                self.restart()
                self.assertEqual(self.disk()["restored"], 0)
                self.engine.stop()

    def test_a_purge_that_cannot_be_written_gives_the_store_up(self):
        self.start()
        self.keep(*self.PATHS)
        self.engine.stop()
        self.failing("disk_purge")
        self.assertEqual(self.engine.command("purge", self.url(self.PATHS[0]))[0], 0)
        self.told("the store is given up")
        self.assertEqual(self.engine.get(self.PATHS[1], "PURGE").status, 200)
        self.fetched()
        self.restart()
        self.assertEqual(self.disk()["restored"], 0)

    def test_a_purge_that_a_restart_may_undo_is_told(self):
        self.start()
        self.keep("/a", "/b")
        self.engine.stop()
        self.failing("disk_purge", "disk_forget")
        code, out, err = self.engine.command("purge", self.url("/a"))
        self.assertEqual((code, out), (1, ""))
        self.assertIn("a restart may undo that", err)
        self.assertEqual(self.engine.get("/b", "PURGE").status, 500)
        self.miss("/a")
        self.miss("/b")


@unittest.skipUnless(has_fault_points(), "this binary has no fault points (make asan)")
class Late(DiskScene):
    """A disk that takes its time, or never answers: requests go on, and so does a stop."""

    PATHS = [f"/l{i}-{i * 3001}" for i in range(12)]

    def late(self, ms, **more):
        return self.start(environment={"WEIR_DISK_LATE_MS": str(ms)}, **more)

    def fetched(self):
        for path in self.PATHS * 3:
            self.fetch(path)

    def ends(self, said, signals=1):
        """Within the deadline and the second and a half that are its own."""
        begin = time.monotonic()
        for _ in range(signals):
            self.engine.process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
        self.assertEqual(self.engine.process.wait(15), 0)
        self.assertLess(time.monotonic() - begin, 12)
        log = self.engine.log()
        self.assertRegex(log, f"the cache's disk is not waited for any longer: .*{said}")
        self.assertIn(" stopped\n", log)
        self.assertFalse(os.path.exists(self.engine.socket))

    def test_a_stop_does_not_wait_for_writes_that_hang(self):
        self.late(0, top="timeouts: { drain: 2s }")
        self.fetched()
        time.sleep(0.5)
        self.ends("reads or writes are under way")

    def test_nor_for_reads_and_purges(self):
        self.start()
        self.keep(*self.PATHS)
        self.engine.stop()
        self.late(0, top="timeouts: { drain: 2s }")
        with self.engine.connect() as client:
            self.fetch(self.PATHS[0])
            client.send_request(self.PATHS[1], "PURGE")
            self.shelf.put(self.PATHS[2], Answer(200, body=b"changed"))
            self.assertEqual(self.engine.get(self.PATHS[2], "POST", body=b"x").body, b"changed")
            command = threading.Thread(target=self.engine.command, args=("purge", self.url(self.PATHS[3])))
            command.start()
            wait_for("the purge", lambda: self.disk()["purges"] == 3)
            self.ends("purges are not written")
            command.join()

    def test_a_second_signal_cuts_the_time_short(self):
        self.late(0, top="timeouts: { drain: 5m }")
        self.fetched()
        time.sleep(0.5)
        self.ends("reads or writes", signals=2)

    def test_what_it_has_to_finish_may_hang(self):
        self.start(top="timeouts: { drain: 2s }", environment={"WEIR_DISK_LATE_MS": "0", "WEIR_DISK_LATE_WHAT": "end"})
        self.keep(*self.PATHS)
        self.ends("its last segments are not finished")
        self.start()
        self.assertEqual(self.disk()["restored"], len(self.PATHS))

    def test_requests_do_not_wait_for_a_slow_one(self):
        self.start()
        self.keep(*self.PATHS)
        self.engine.stop()
        self.late(700)
        self.fetched()
        disk = self.disk()
        self.assertGreater(disk["slow"], 0)
        self.assertGreater(disk["busy"], 0)
        self.assertEqual((disk["failed"], disk["corrupt"]), (0, 0))
        self.assertEqual(self.engine.get(self.PATHS[0], "PURGE").status, 200)
        self.miss(self.PATHS[0])
        for number in range(50):
            self.shelf.put(self.PATHS[1], Answer(200, body=b"changed"))
            self.assertEqual(self.engine.get(self.PATHS[1], "POST", body=b"x").status, 200)
        wait_for("the purges", lambda: self.disk()["purges"] == 51)
        self.assertLess(self.disk()["purge_writes"], 30)
        self.restart()
        self.miss(self.PATHS[1])


class Seeing(DiskScene):
    def test_status_show_explain_and_metrics(self):
        self.start()
        self.keep("/s-30000")
        shown = self.engine.json("cache", "show", self.url("/s-30000"))["cache"]
        self.assertEqual((shown["now"], shown["on_disk"]), ("hit", True))
        self.restart()
        shown = self.engine.json("cache", "show", self.url("/s-30000"))["cache"]
        self.assertEqual((shown["now"], shown["on_disk"], shown["stored"]), ("disk", True, 0))
        self.assertEqual(self.engine.json("explain", self.url("/s-30000"))["cache"]["now"], "disk")
        self.assertIn("disk      something under this key", self.engine.command("cache", "show", self.url("/s-30000"))[1])
        self.assertFalse(self.engine.json("cache", "show", self.url("/other"))["cache"]["on_disk"])
        self.from_disk("/s-30000")
        disk = self.disk()
        self.assertEqual((disk["objects"], disk["restored"], disk["loads"], disk["loaded"], disk["corrupt"], disk["volumes_off"]), (1, 1, 1, 1, 0, 0))
        self.assertTrue(30000 < disk["bytes"] < 40000 < disk["bytes_max"] <= 128 << 20, disk)
        text = self.engine.command("cache", "status")[1]
        self.assertIn("disk      1 objects", text)
        status = self.engine.json("cache", "status")
        self.assertEqual((status["hits"], status["misses"], status["passed"], status["stale"]), (1, 0, 0, 0))
        metrics = self.engine.command("metrics")[1]
        self.assertIn("\nweir_cache_disk_objects 1\n", metrics)
        self.assertIn("\nweir_cache_disk_loaded_total 1\n", metrics)
        self.assertIn("\ncache disk      1 objects", self.engine.command("status")[1])
        self.assertEqual(self.engine.json("status")["cache_disk_loaded"], 1)

    def reload(self, **more):
        self.engine.write(self.config(**more))
        return self.engine.command("reload")

    def test_a_reload_keeps_it_and_changes_need_a_restart(self):
        self.start()
        self.keep("/r")
        self.assertEqual(self.reload(top="via: other")[0], 0)
        self.assertEqual(self.disk()["objects"], 1)
        for more in ({"size": "32MiB"}, {"path": self.path + "2"}):
            code, out, err = self.reload(**more)
            self.assertEqual(code, 1, (out, err))
            self.assertIn("needs a restart", err)
        self.assertEqual(self.reload(cache=False)[0], 0)
        code, out, err = self.reload(size="32MiB")
        self.assertEqual(code, 1, (out, err))
        self.assertIn("needs a restart", err)
        self.assertEqual(self.reload()[0], 0)
        self.hit("/r")
        self.restart()
        self.from_disk("/r")

    def test_a_reload_brings_it(self):
        self.start(cache=False)
        self.assertEqual(self.reload()[0], 0)
        self.told("0 objects")
        self.keep("/late")
        self.restart()
        self.from_disk("/late")


if __name__ == "__main__":
    unittest.main()
