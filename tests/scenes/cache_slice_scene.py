"""Content in slices: of a large file only what clients ask for is fetched, by one request for each slice, and every answer is of one version."""
import re
import threading
import time
import unittest

from cache_props import CacheScene, Reader, date, is_hit, parts_of, status_of
from stage import SLOW, wait_for

MIB = 1 << 20
GIB = 1 << 30


class File:
    """A file that is nowhere: any part of its content is computed from where it stands. `version` changes all of it."""

    WORD = 64

    def __init__(self, length, version="one", **ways):
        self.length, self.version = length, version
        self.ranges = self.conditions = True
        self.lifetime, self.validator, self.fields, self.modified = "max-age=600", "etag", [], date(-86400)
        self.cut = {}  # first byte -> how often a part that begins there breaks off in its middle
        self.breaks = None  # nothing behind this byte is ever sent
        self.gates = {}  # first byte -> an event that is awaited at the middle of that part
        self.refuses = None  # a status that is answered in place of everything
        self.total = None  # what Content-Range says of the length
        self.__dict__.update(ways)
        self.sent = 0
        self.asked = []  # of each request: its Range
        self.lock = threading.Lock()

    def content(self, first, last, version=None):
        """Both included."""
        mark = (version or self.version)[:1]
        begin = first // self.WORD
        words = b"".join(b"%s%062d\n" % (mark.encode(), number) for number in range(begin, last // self.WORD + 1))
        return words[first - begin * self.WORD:last + 1 - begin * self.WORD]

    @property
    def etag(self):
        return {"etag": f'"{self.version}"', "weak": f'W/"{self.version}"'}.get(self.validator)

    def head(self, status, length, *fields):
        lines = [f"HTTP/1.1 {status} Said", "Date: " + date(), "Cache-Control: " + self.lifetime, "Accept-Ranges: bytes", "Content-Type: video/x-none", *self.fields, *fields]
        if self.etag:
            lines.append("ETag: " + self.etag)
        if self.validator in ("etag", "weak", "date"):
            lines.append("Last-Modified: " + self.modified)
        if length is not None:
            lines.append(f"Content-Length: {length}")
        return "\r\n".join(lines).encode() + b"\r\n\r\n"

    def __call__(self, exchange, asked):
        with self.lock:
            self.asked.append(asked.field("Range"))
        if self.refuses:
            exchange.send(f"HTTP/1.1 {self.refuses} Said\r\nContent-Length: 4\r\n\r\nsaid".encode())
            return None
        if self.conditions and self.etag and asked.field("If-None-Match") == self.etag:
            exchange.send(self.head(304, None))
            return None
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", asked.field("Range") or "") if self.ranges else None
        first, last = (int(match[1]), min(int(match[2] or self.length), self.length - 1)) if match else (0, self.length - 1)
        if match and first >= self.length:
            exchange.send(self.head(416, 0, f"Content-Range: bytes */{self.length}"))
            return None
        part = f"Content-Range: bytes {first}-{last}/{self.total or self.length}"
        exchange.send(self.head(206, last + 1 - first, part) if match else self.head(200, self.length))
        if exchange.line.startswith("HEAD "):
            return None
        return self.send(exchange, first, last)

    def send(self, exchange, first, last):
        middle, version = first + (last + 1 - first) // 2, self.version
        at = first
        while at <= last:
            if at >= middle and first in self.gates:
                self.gates[first].wait(SLOW)
            if at >= middle and self.cut.get(first, 0) > 0:
                self.cut[first] -= 1
                return False
            if self.breaks is not None and at >= self.breaks:
                return False
            upto = min(at + 65536, middle if at < middle else last + 1) - 1
            exchange.send(self.content(at, upto, version))
            with self.lock:
                self.sent += upto + 1 - at
            at = upto + 1
        return None

    def slices(self, bytes=MIB):
        """Which slices were asked for, in this order."""
        found = []
        for value in self.asked:
            match = re.fullmatch(r"bytes=(\d+)-(\d+)", value or "")
            assert match and int(match[1]) % bytes == 0 and int(match[2]) == int(match[1]) + bytes - 1, value
            found.append(int(match[1]) // bytes)
        return found


class SliceScene(CacheScene):
    MEMORY = "64MiB"
    RULE = "{ slice: 1MiB }"

    @classmethod
    def setUpClass(cls):
        cls.play_for_all(rule=cls.RULE)

    def file(self, length, path=None, **ways):
        """A file at a path of its own: (path, file)."""
        path = path or "/" + self.id().rsplit(".", 1)[1]
        file = File(length, **ways)
        self.shelf.keep(path, file)
        return path, file

    def settled(self):
        """Nothing is on its way any more."""
        wait_for("what was asked for to be stored", lambda: self.engine.json("cache", "status")["flights"] == 0)

    def stream(self, path, file, headers=()):
        """The whole of what is large: compared as it comes."""
        with self.engine.connect() as client:
            return self.stream_on(client, path, file, headers)

    def stream_on(self, client, path, file, headers=()):
        client.send_request(path, headers=headers)
        status, fields = client.head()
        got, data, client.buffer = 0, client.buffer, b""
        while data or got < file.length:
            data = data or client.socket.recv(1 << 20)
            self.assertTrue(data, f"cut after {got} bytes")
            self.assertTrue(data == file.content(got, got + len(data) - 1), f"other bytes behind {got}")
            got, data = got + len(data), b""
        self.assertEqual((status, got), (200, file.length))
        return dict(fields)

    def part(self, path, file, first, last, headers=(), status=206):
        response = self.engine.get(path, headers=[f"Range: bytes={first}-{last}", *headers])
        self.assertEqual((response.status, response.complete), (status, True), response.fields)
        self.assertEqual(response.field("Content-Range"), f"bytes {first}-{last}/{file.length}")
        self.assertEqual(int(response.field("Content-Length")), last + 1 - first)
        self.assertTrue(response.body == file.content(first, last), "other bytes")
        return response

    def whole(self, path, file, headers=()):
        response = self.engine.get(path, headers=headers)
        self.assertEqual((response.status, response.complete), (200, True), response.fields)
        self.assertIsNone(response.field("Content-Range"))
        self.assertEqual(int(response.field("Content-Length")), file.length)
        self.assertTrue(response.body == file.content(0, file.length - 1), "other bytes")
        return response


class Ranges(SliceScene):
    """What is asked of the origin for a part of ten gigabytes."""

    def test_a_range_in_the_middle_fetches_the_slices_it_needs(self):
        path, file = self.file(10 * GIB)
        at = 5 * GIB + 300_000
        first = self.part(path, file, at, at + 99_999)
        self.settled()
        self.assertEqual(file.slices(), [5120])
        self.assertEqual(file.sent, MIB)
        said = status_of(first)
        self.assertEqual((said.get("fwd"), said.get("stored"), said.get("hit")), ("uri-miss", True, None))
        self.assertEqual(first.field("Content-Type"), "video/x-none")
        self.assertEqual(first.field("ETag"), '"one"')
        self.assertTrue(is_hit(self.part(path, file, at + 5, at + 100_000)))
        self.assertEqual(file.slices(), [5120])

    def test_a_range_over_several_slices(self):
        path, file = self.file(10 * GIB)
        self.part(path, file, 3 * MIB + 700_000, 6 * MIB + 5)
        self.settled()
        self.assertEqual(sorted(file.slices()), [3, 4, 5, 6])
        self.assertEqual(file.sent, 4 * MIB)
        self.assertTrue(is_hit(self.part(path, file, 4 * MIB - 1, 4 * MIB)))
        self.part(path, file, 6 * MIB + MIB - 1, 7 * MIB)
        self.assertEqual(sorted(file.slices()), [3, 4, 5, 6, 7])

    def test_the_first_and_the_last_byte_and_what_is_left(self):
        path, file = self.file(10 * GIB - 7)
        end = file.length - 1
        self.part(path, file, 0, 0)
        self.assertEqual(file.slices(), [0])
        self.part(path, file, end, end)
        self.assertEqual(file.slices(), [0, 10239])
        response = self.engine.get(path, headers=["Range: bytes=-500"])
        self.assertEqual((response.status, response.field("Content-Range")), (206, f"bytes {end - 499}-{end}/{file.length}"))
        self.assertTrue(response.body == file.content(end - 499, end))
        response = self.engine.get(path, headers=[f"Range: bytes={end - 9}-"])
        self.assertTrue(response.body == file.content(end - 9, end))
        self.assertEqual(file.slices(), [0, 10239])

    def test_a_suffix_of_what_nothing_is_known_of_asks_for_two_slices(self):
        path, file = self.file(10 * GIB)
        end = file.length - 1
        response = self.engine.get(path, headers=["Range: bytes=-500"])
        self.assertEqual((response.status, response.field("Content-Range")), (206, f"bytes {end - 499}-{end}/{file.length}"))
        self.assertTrue(response.body == file.content(end - 499, end))
        self.assertEqual(file.slices(), [0, 10239])
        self.assertEqual(status_of(response).get("fwd"), "uri-miss")

    def test_several_ranges(self):
        path, file = self.file(10 * GIB)
        wanted = [(9 * GIB, 9 * GIB + 9), (5, 2 * MIB + 4), (7 * GIB - 10, 7 * GIB + 10)]
        response = self.engine.get(path, headers=["Range: bytes=" + ", ".join(f"{a}-{b}" for a, b in wanted)])
        self.assertEqual((response.status, response.complete), (206, True))
        parts = parts_of(response)
        self.assertEqual([part[0] for part in parts], [f"bytes {a}-{b}/{file.length}" for a, b in wanted])
        self.assertEqual({part[1] for part in parts}, {"video/x-none"})
        for (a, b), part in zip(wanted, parts):
            self.assertTrue(part[2] == file.content(a, b), "other bytes")
        self.assertEqual(sorted(file.slices()), [0, 1, 2, 7167, 7168, 9216])

    def test_behind_the_end(self):
        path, file = self.file(10 * MIB)
        for _ in range(2):
            response = self.engine.get(path, headers=[f"Range: bytes={11 * MIB}-"])
            self.assertEqual((response.status, response.field("Content-Range"), response.body), (416, f"bytes */{10 * MIB}", b""))
            self.settled()
        self.assertEqual(file.slices(), [11, 0], "once slice 0 is there, nobody asks")
        self.part(path, file, 5, 6)
        self.assertEqual(file.slices(), [11, 0])

    def test_a_range_that_ends_behind_the_end(self):
        path, file = self.file(3 * MIB + 5)
        response = self.engine.get(path, headers=[f"Range: bytes={3 * MIB}-{9 * MIB}"])
        self.assertEqual((response.status, response.body), (206, file.content(3 * MIB, 3 * MIB + 4)))
        self.assertEqual(file.slices(), [3])

    def test_a_malformed_range_gets_the_whole(self):
        path, file = self.file(2 * MIB)
        self.whole(path, file, ["Range: bytes=5-2"])
        self.whole(path, file, ["Range: lines=1-2"])
        self.assertEqual(sorted(file.slices()), [0, 1])

    def test_the_whole_of_fifty_megabytes(self):
        path, file = self.file(50 * MIB + 12345)
        fields = self.stream(path, file)
        self.assertEqual((fields.get("Content-Length"), fields.get("Content-Range")), (str(file.length), None))
        self.settled()
        self.assertEqual(file.slices(), list(range(51)))
        self.assertEqual(file.sent, file.length)

    def test_a_file_that_is_smaller_than_a_slice(self):
        path, file = self.file(10_000)
        self.assertFalse(is_hit(self.whole(path, file)))
        self.assertTrue(is_hit(self.whole(path, file)))
        self.assertTrue(is_hit(self.part(path, file, 9_000, 9_999)))
        self.assertEqual(file.slices(), [0])

    def test_an_empty_file(self):
        path, file = self.file(0)
        for _ in range(3):
            response = self.engine.get(path)
            self.assertEqual((response.status, response.body, response.complete), (200, b"", True))

    def test_head(self):
        path, file = self.file(10 * GIB)
        response = self.engine.get(path, method="HEAD")
        self.assertEqual((response.status, response.field("Content-Length")), (200, str(10 * GIB)))
        self.assertEqual(file.asked, [None], "nothing is stored: it is passed on")
        self.part(path, file, 0, 9)
        self.settled()
        response = self.engine.get(path, method="HEAD")
        self.assertEqual((response.status, response.field("Content-Length"), response.field("Content-Range")), (200, str(10 * GIB), None))
        self.assertTrue(is_hit(response))
        self.assertEqual(len(file.asked), 2)

    def test_other_requests_on_the_same_connection_come_after_it(self):
        path, file = self.file(3 * MIB)
        with self.engine.connect() as client:
            for _ in range(3):
                client.send_request(path)
                self.assertTrue(client.response().body == file.content(0, file.length - 1))
                client.send_request(path, headers=["Range: bytes=1048570-1048580"])
                self.assertEqual(client.response().body, file.content(1048570, 1048580))


    def test_explain_and_cache_show(self):
        path, file = self.file(10 * GIB)
        self.assertEqual(self.engine.json("explain", self.url(path))["cache"]["now"], "slices")
        self.part(path, file, 5 * MIB, 5 * MIB + 9)
        self.settled()
        code, output, _ = self.engine.command("cache", "show", self.url(path))
        self.assertEqual(code, 0)
        self.assertIn("206, 1048576 bytes", output)
        self.assertIn("| s1048576:5", output)


class Conditions(SliceScene):
    def test_if_none_match_and_if_modified_since(self):
        path, file = self.file(5 * MIB)
        for headers in (['If-None-Match: "one"'], ["If-Modified-Since: " + file.modified]):
            response = self.engine.get(path, headers=headers)
            self.assertEqual((response.status, response.body, response.field("ETag")), (304, b"", '"one"'))
            self.assertIsNone(response.field("Content-Range"))
        self.assertEqual(file.slices(), [0])
        self.whole(path, file, ['If-None-Match: "two"'])
        response = self.engine.get(path, headers=['If-Match: "two"'])
        self.assertEqual((response.status, response.body), (412, b""))
        self.part(path, file, 0, 9, ['If-Match: "one"'])

    def test_if_range(self):
        path, file = self.file(5 * MIB)
        self.part(path, file, 3 * MIB, 3 * MIB + 9, ['If-Range: "one"'])
        self.part(path, file, 3 * MIB, 3 * MIB + 9, ["If-Range: " + file.modified])
        self.assertEqual(file.slices(), [3])
        self.whole(path, file, [f"Range: bytes={3 * MIB}-{3 * MIB + 9}", 'If-Range: "two"'])

    def test_only_if_cached(self):
        path, file = self.file(5 * MIB)
        for method, fields in (("GET", []), ("GET", [f"Range: bytes={2 * MIB}-"]), ("HEAD", [])):
            refused = self.engine.get(path, method, ["Cache-Control: only-if-cached", *fields])
            self.assertEqual((refused.status, status_of(refused)), (504, {"detail": "only-if-cached"}))
        self.part(path, file, 0, 9)
        self.settled()
        self.part(path, file, 10, 19, ["Cache-Control: only-if-cached"])
        self.assertEqual(file.slices(), [0])

    def test_a_client_that_wants_it_anew(self):
        path, file = self.file(2 * MIB)
        self.whole(path, file)
        self.whole(path, file, ["Cache-Control: no-cache"])
        self.assertEqual(file.slices(), [0, 1, 0, 1], "each is confirmed once")
        self.assertEqual(file.sent, 2 * MIB)

    def test_stale_slices_are_confirmed(self):
        path, file = self.file(3 * MIB, lifetime="max-age=1")
        self.whole(path, file)
        time.sleep(2.1)
        self.part(path, file, MIB, MIB + 9)
        self.assertEqual((file.slices(), file.sent), ([0, 1, 2, 1], 3 * MIB))

    def test_stale_slices_that_changed_are_replaced(self):
        path, file = self.file(3 * MIB, lifetime="max-age=1")
        self.whole(path, file)
        time.sleep(2.1)
        file.version, file.lifetime = "two", "max-age=600"
        self.assertEqual(self.part(path, file, MIB, MIB + 9).field("ETag"), '"two"')
        self.whole(path, file)
        self.assertEqual(file.sent, 6 * MIB)

    def test_stale_while_revalidate(self):
        path, file = self.file(2 * MIB, lifetime="max-age=1, stale-while-revalidate=600")
        self.part(path, file, 0, 9)
        time.sleep(2.1)
        self.assertTrue(is_hit(self.part(path, file, 0, 9)))
        wait_for("the origin to be asked beside it", lambda: len(file.asked) == 2)

    def test_stale_if_error(self):
        path, file = self.file(2 * MIB, lifetime="max-age=1, stale-if-error=600")
        self.part(path, file, 0, 9)
        time.sleep(2.1)
        file.refuses = 503
        self.part(path, file, 0, 9)
        response = self.engine.get(path, headers=["Range: bytes=1048576-1048585"])
        self.assertEqual(response.status, 503, "that was never there")


class Versions(SliceScene):
    def test_a_change_in_the_middle_cuts_the_client_and_the_next_gets_the_new_one(self):
        path, file = self.file(4 * MIB)
        self.part(path, file, 0, 9)
        self.part(path, file, MIB, MIB + 9)
        file.version = "two"
        try:
            response = self.engine.get(path)
            self.assertFalse(response.complete, "two versions in one answer")
            self.assertTrue(file.content(0, file.length - 1, "one").startswith(response.body))
        except (OSError, EOFError):
            pass
        self.whole(path, file)
        self.assertEqual(self.part(path, file, 0, 9).field("ETag"), '"two"')

    def test_a_change_of_the_length_alone(self):
        path, file = self.file(4 * MIB, validator="date")
        self.part(path, file, 0, 9)
        file.length = 3 * MIB
        try:
            self.assertFalse(self.engine.get(path).complete)
        except (OSError, EOFError):
            pass
        self.whole(path, file)

    def test_servers_that_do_not_agree_on_the_version_are_asked_for_the_whole(self):
        path, file = self.file(4 * MIB)
        def flips(exchange, asked):
            other = File(file.length, version=("one", "two")[len(file.asked) % 2])
            file.asked.append(asked.field("Range"))
            return other(exchange, asked)
        self.shelf.keep(path, flips)
        def one():
            try:
                response = self.engine.get(path)
            except (OSError, EOFError):
                return False
            self.assertIn(response.complete, (True, False))
            versions = [file.content(0, file.length - 1, version) for version in ("one", "two")]
            self.assertTrue(not response.complete or response.body in versions, "two versions in one answer")
            return response.complete
        wait_for("one whole answer", one)

    def test_last_modified_will_do(self):
        path, file = self.file(3 * MIB, validator="date")
        self.whole(path, file)
        self.assertTrue(is_hit(self.part(path, file, 2 * MIB, 2 * MIB + 9)))
        self.assertEqual(file.slices(), [0, 1, 2])

    def test_without_a_strong_validator_it_is_stored_as_a_whole(self):
        for validator in ("weak", "none"):
            path, file = self.file(3 * MIB, path="/validator/" + validator, validator=validator)
            self.whole(path, file)
            self.settled()
            before = len(file.asked)
            self.assertEqual(before, 2, "a slice, then the whole")
            self.assertTrue(is_hit(self.whole(path, file)))
            self.assertTrue(is_hit(self.part(path, file, 2 * MIB, 2 * MIB + 9)))
            self.assertEqual(len(file.asked), before)

    def test_vary(self):
        path, file = self.file(2 * MIB, fields=["Vary: X-A"])
        self.whole(path, file, ["X-A: 1"])
        self.assertTrue(is_hit(self.whole(path, file, ["X-A: 1"])))
        self.assertFalse(is_hit(self.whole(path, file, ["X-A: 2"])))
        self.assertEqual(sorted(file.slices()), [0, 0, 1, 1])


class Origins(SliceScene):
    """Origins that do not do what they were asked."""

    def test_an_origin_without_ranges_is_asked_once_for_the_whole(self):
        path, file = self.file(3 * MIB, ranges=False)
        self.assertFalse(is_hit(self.part(path, file, 2 * MIB, 2 * MIB + 9)))
        self.settled()
        self.assertTrue(is_hit(self.whole(path, file)))
        self.assertEqual((len(file.asked), file.sent), (1, 3 * MIB))

    def test_an_origin_without_ranges_whose_content_is_too_large(self):
        path, file = self.file(70 * MIB, ranges=False)
        with self.engine.connect() as client:
            for headers in (["Range: bytes=5-9"], [], ["Range: bytes=5-9"]):
                self.stream_on(client, path, file, headers)
        self.assertEqual(len(file.asked), 4, "it is not asked for a slice each time")

    def test_what_is_no_content_is_passed_on_and_stored_as_it_is(self):
        path, file = self.file(3 * MIB, refuses=404)
        for _ in range(2):
            response = self.engine.get(path, headers=["Range: bytes=5-9"])
            self.assertEqual((response.status, response.body), (404, b"said"))
        file.refuses = None
        self.shelf.keep(path, file)
        wait_for("it to be forgotten", lambda: self.engine.get(path, headers=["Range: bytes=5-9"]).status == 206, 30)

    def test_what_may_not_be_stored(self):
        path, file = self.file(3 * MIB, lifetime="no-store")
        for _ in range(2):
            self.part(path, file, 2 * MIB, 2 * MIB + 9)
        self.whole(path, file)

    def test_what_must_be_confirmed_each_time(self):
        path, file = self.file(3 * MIB, lifetime="no-cache")
        for _ in range(2):
            self.part(path, file, 2 * MIB, 2 * MIB + 9)
            self.whole(path, file)

    def test_other_parts_than_were_asked_for_are_not_stored(self):
        def wrong(exchange, asked):
            wrong.count += 1
            exchange.send(b"HTTP/1.1 206 Part\r\nCache-Control: max-age=600\r\nETag: \"a\"\r\nContent-Range: bytes 1-5/100\r\nContent-Length: 5\r\n\r\nwrong")
        wrong.count = 0
        self.shelf.keep("/wrong", wrong)
        for _ in range(2):
            response = self.engine.get("/wrong", headers=["Range: bytes=1-5"])
            self.assertEqual((response.status, response.body), (206, b"wrong"), "the origin's own word")
        self.assertGreaterEqual(wrong.count, 2)

    def test_the_length_is_not_said(self):
        path, file = self.file(3 * MIB, total="*")
        for _ in range(2):
            response = self.engine.get(path, headers=["Range: bytes=5-9"])
            self.assertEqual(response.body if response.status == 206 else response.body[5:10], file.content(5, 9))

    def test_a_slice_that_breaks_off_is_fetched_once_more(self):
        path, file = self.file(3 * MIB, cut={MIB: 1})
        self.whole(path, file)
        self.assertEqual(sorted(file.slices()), [0, 1, 1, 2])

    def test_a_slice_that_is_never_whole_comes_from_the_origin_for_this_client_alone(self):
        path, file = self.file(3 * MIB, cut={MIB: 1000})
        self.whole(path, file)
        self.assertLess(len(file.asked), 10, "not for ever")
        self.assertTrue(file.asked[-1].endswith(f"-{3 * MIB - 1}"), "the rest of what was begun")

    def test_an_origin_that_always_breaks_off_at_a_place_cuts_the_client(self):
        path, file = self.file(3 * MIB, breaks=MIB + 70_000)
        for headers in ([], [f"Range: bytes=5-9,{MIB}-{2 * MIB}"]):
            before = len(file.asked)
            try:
                response = self.engine.get(path, headers=headers)
                self.assertFalse(response.complete)
                self.assertTrue(headers or file.content(0, file.length - 1).startswith(response.body))
            except (OSError, EOFError):
                pass
            self.assertLess(len(file.asked) - before, 10, "not for ever")
        file.breaks = None
        self.whole(path, file)

    def test_an_origin_that_fails_at_a_later_slice(self):
        path, file = self.file(3 * MIB)
        self.part(path, file, 0, 9)
        file.refuses = 503
        try:
            self.assertFalse(self.engine.get(path).complete)
        except (OSError, EOFError):
            pass
        file.refuses = None
        self.whole(path, file)


class SliceFlights(SliceScene):
    def test_a_hundred_who_range_over_the_same_part_make_one_request_for_each_slice(self):
        gate = threading.Event()
        path, file = self.file(10 * GIB, gates={2 * GIB: gate})
        readers = [Reader(self, path, [f"Range: bytes={2 * GIB + 1000 * number}-{2 * GIB + 3 * MIB}"]) for number in range(100)]
        wait_for("the origin to be asked", lambda: len(file.asked) >= 1)
        wait_for("everybody to have the first half", lambda: all(reader.received > 50_000 for reader in readers), 60)
        gate.set()
        for number, reader in enumerate(readers):
            response = reader.done()
            self.assertEqual((response.status, response.complete), (206, True))
            self.assertTrue(response.body == file.content(2 * GIB + 1000 * number, 2 * GIB + 3 * MIB), "other bytes")
        self.assertEqual(sorted(file.slices()), [2048, 2049, 2050, 2051])

    def test_a_crowd_at_an_origin_without_ranges_is_one_request(self):
        gate = threading.Event()
        path, file = self.file(4 * MIB, ranges=False, gates={0: gate})
        readers = [Reader(self, path, [f"Range: bytes={number % 4 * MIB}-{number % 4 * MIB + 99}"] if number % 2 else []) for number in range(8)]
        wait_for("the origin to be asked", lambda: len(file.asked) >= 1)
        late = [Reader(self, path) for _ in range(4)]
        gate.set()
        for reader in readers + late:
            self.assertTrue(reader.done().complete)
        for number in range(1, 8, 2):
            at = number % 4 * MIB
            self.assertEqual(readers[number].done().body, file.content(at, at + 99))
        self.assertTrue(late[0].done().body == file.content(0, file.length - 1))
        self.assertLessEqual(len(file.asked), 4, "one, or one for each slice that somebody wanted before the first answer")

    def test_a_client_leaves_and_the_slice_is_stored_all_the_same(self):
        gate = threading.Event()
        path, file = self.file(10 * GIB, gates={0: gate})
        client = self.engine.connect()
        client.send_request(path)
        client.head()
        other = Reader(self, path, ["Range: bytes=0-1048575"])
        client.reset()
        gate.set()
        self.assertTrue(other.done().body == file.content(0, MIB - 1))
        wait_for("nothing to be under way", lambda: self.engine.counter("in_flight") == 0)
        self.assertLessEqual(len(file.slices()), 2, "nobody fetches ten gigabytes for one who left")

    def test_a_client_that_does_not_read_makes_nobody_fetch(self):
        path, file = self.file(10 * GIB)
        client = self.engine.connect()
        self.addCleanup(client.close)
        client.send_request(path)
        client.head()
        time.sleep(1)
        self.assertLess(file.sent, 32 * MIB, "what its socket takes, and a slice ahead")
        client.reset()
        wait_for("nothing to be under way", lambda: self.engine.counter("in_flight") == 0)

    def test_more_than_there_is_room_for(self):
        """All that is sent is held by nobody for longer than its client needs it."""
        path, file = self.file(200 * MIB)
        before = self.engine.counter("response_cuts")
        for _ in range(2):
            self.stream(path, file)
        self.assertEqual(self.engine.counter("response_cuts"), before)
        self.assertEqual(set(file.slices()), set(range(200)), "none was fetched for its client alone")


class Purges(SliceScene):
    def stored(self, path, file):
        self.assertTrue(is_hit(self.part(path, file, MIB, MIB + 9)))

    def gone(self, path, file):
        before = len(file.asked)
        for number in range(3):
            self.assertFalse(is_hit(self.part(path, file, number * MIB, number * MIB + 9)))
        self.assertEqual(len(file.asked), before + 3)

    def purge(self, *words):
        code, output, errors = self.engine.command("purge", *words)
        self.assertEqual(code, 0, errors)

    def test_all_kinds_reach_all_slices(self):
        for words in (["url"], ["--prefix"], ["--tag", "film"], ["--host"], ["--all"]):
            with self.subTest(words=words):
                path, file = self.file(3 * MIB, path="/purged/" + words[0].strip("-"), fields=["Cache-Tag: film"])
                self.whole(path, file)
                self.stored(path, file)
                self.do_purge(words, path)
                self.gone(path, file)

    def do_purge(self, words, path):
        if words == ["url"]:
            words = [self.url(path)]
        elif words == ["--prefix"]:
            words = ["--prefix", self.url("/purged/")]
        elif words == ["--host"]:
            words = ["--host", "scene"]
        self.purge(*words)

    def test_a_soft_purge_has_each_slice_confirmed(self):
        path, file = self.file(2 * MIB)
        self.whole(path, file)
        self.purge("--soft", self.url(path))
        self.whole(path, file)
        self.assertEqual((file.slices(), file.sent), ([0, 1, 0, 1], 2 * MIB))


class Edits(SliceScene):
    @classmethod
    def setUpClass(cls):
        cls.play_for_all(rule=cls.RULE, route="    request-headers: { set: { X-Request: here } }\n    response-headers: { set: { X-Response: here }, remove: ETag }\n")

    def test_the_routes_edits_hold_for_each_slice(self):
        path, file = self.file(3 * MIB)
        for _ in range(2):
            response = self.whole(path, file)
            self.assertEqual((response.field("X-Response"), response.field("ETag")), ("here", None))
        for asked in self.shelf.asked[path]:
            self.assertEqual((asked.field("X-Request"), asked.field("X-Response")), ("here", None))


class Narrow(SliceScene):
    """Little memory: slices cannot always be stored."""
    MEMORY = "2MiB"

    def test_a_slice_that_finds_no_room_is_passed_on(self):
        path, file = self.file(5 * MIB)
        self.part(path, file, 2 * MIB, 2 * MIB + 9)
        self.whole(path, file)


if __name__ == "__main__":
    unittest.main()
