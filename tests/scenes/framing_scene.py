"""No request reaches an origin with framing that can be read two ways; no cut response looks complete."""
import os
import re
import unittest

from stage import ROOT, SLOW, Client, Scene, ok, raw

PAGES = os.path.join(ROOT, "tests", "cases")


def cases(page, kind):
    """(name, bytes, verdict) of the cases on a page; tests/unit/cases.h says how they are written."""
    with open(os.path.join(PAGES, page)) as f:
        text = f.read()
    found = re.findall(r"^### (.*?)\n```(\w+)\n(.*?)```\n=> (.*?)$", text, re.S | re.M)
    return [(name, unescape(data), verdict) for name, fence, data, verdict in found if fence == kind]


def unescape(text):
    text = text.replace("\n", "")
    def one(m):
        if m.group(1) is not None:
            return chr(int(m.group(1), 16)) * int(m.group(2) or 1)
        return {"r": "\r", "n": "\n", "t": "\t", "0": "\0"}.get(m.group(3), m.group(3))
    return re.sub(r"\\(?:x([0-9a-fA-F]{2})(?:\*(\d+))?|(.))", one, text).encode("latin-1")


def forwarded(record):
    """Parses what an origin received, strictly: a list of (head, body). Anything unclear raises."""
    data, requests = bytes(record), []
    while data:
        head, rest = data.split(b"\r\n\r\n", 1)
        lines = head.split(b"\r\n")
        assert re.fullmatch(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ [!-~]+ HTTP/1\.1", lines[0]), lines[0]
        fields = {}
        for line in lines[1:]:
            m = re.fullmatch(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t -~\x80-\xff]*)", line)
            assert m, line
            fields.setdefault(m.group(1).lower(), []).append(m.group(2).strip())
        assert len(fields.get(b"host", [])) == 1, head
        lengths, encodings = fields.get(b"content-length", []), fields.get(b"transfer-encoding", [])
        assert len(lengths) + len(encodings) <= 1, head
        for hop in (b"connection", b"keep-alive", b"upgrade", b"proxy-connection"):
            assert hop not in fields, head
        if encodings:
            assert encodings == [b"chunked"], head
            body = b""
            while True:
                size, rest = rest.split(b"\r\n", 1)
                assert re.fullmatch(rb"[0-9a-f]+", size), size
                n = int(size, 16)
                if n == 0:
                    trailer, rest = (b"", rest[2:]) if rest.startswith(b"\r\n") else rest.split(b"\r\n\r\n", 1)
                    break
                body, end, rest = body + rest[:n], rest[n:n + 2], rest[n + 2:]
                assert end == b"\r\n", end
        else:
            n = int(lengths[0]) if lengths else 0
            body, rest = rest[:n], rest[n:]
            assert len(body) == n, head
        requests.append((head, body))
        data = rest
    return requests


FOLLOWER = b"GET /follower HTTP/1.1\r\nHost: scene\r\n\r\n"


class MalformedRequests(Scene):
    def setUp(self):
        self.recorder = self.origin()
        self.engine = self.before(self.recorder)

    def play(self, data, pieces=1):
        """Sends data and a follower on one connection; what came back, until the other side closes or is done."""
        before = len(self.recorder.requests)
        with Client(self.engine.port, 3) as client:
            try:
                step = max(1, len(data) // pieces)
                for at in range(0, len(data), step):
                    client.send(data[at:at + step])
                client.send(FOLLOWER)
                while client.fill():
                    if client.buffer.count(b"HTTP/1.1 ") > 1:
                        break
            except OSError:
                pass
            answer = client.buffer
        for record in self.recorder.received:
            forwarded(record)
        return answer, self.recorder.requests[before:]

    def test_each_malformed_head_is_refused_and_nothing_of_it_gets_through(self):
        played = 0
        for name, data, verdict in cases("requests.md", "request"):
            if not verdict.startswith("refused"):
                continue
            for pieces in (1, 7):
                with self.subTest(name, pieces=pieces):
                    answer, requests = self.play(data, pieces)
                    if data[:1] == b"\x16":  # an alert is what its sender understands
                        self.assertEqual((answer, requests), (b"\x15\x03\x03\x00\x02\x02\x0a", []))
                        continue
                    self.assertRegex(answer.split(b"\r\n")[0], rb"^HTTP/1\.1 (400|414|417|431|501|505) ")
                    self.assertEqual(answer.count(b"HTTP/1.1 "), 1, answer)
                    self.assertIn(b"Connection: close", answer)
                    self.assertEqual(requests, [])
                    played += 1
        self.assertGreater(played, 100)

    def test_each_malformed_chunk_is_refused_and_the_follower_stays_out(self):
        for name, data, verdict in cases("responses.md", "chunked"):
            if not verdict.startswith("refused"):
                continue
            head = b"POST /p HTTP/1.1\r\nHost: scene\r\nTransfer-Encoding: chunked\r\n\r\n"
            with self.subTest(name):
                answer, requests = self.play_cut(head + data)
                self.assertTrue(answer == b"" or re.match(rb"HTTP/1\.1 (400|431|502|503) ", answer), answer[:100])
                self.assertNotIn(b"/follower", b"".join(requests))

    def play_cut(self, data):
        before = len(self.recorder.requests)
        with Client(self.engine.port, 3) as client:
            try:
                client.send(data + FOLLOWER)
                while client.fill():
                    pass
            except OSError:
                pass
            return client.buffer, self.recorder.requests[before:]

    def test_accepted_heads_arrive_with_one_framing(self):
        for name, data, verdict in cases("requests.md", "request"):
            word = verdict.split(" ")
            if word[0] != "accepted":
                continue
            body = {"none": b"", "length": b"x" * int(word[2]) if word[1] == "length" else b"", "chunked": b"3\r\nabc\r\n0\r\n\r\n"}[word[1]]
            with self.subTest(name):
                self.play(data + body)
                parsed = [request for record in self.recorder.received for request in forwarded(record)]
                self.assertTrue(parsed)

    def test_reasons_are_counted(self):
        self.play(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n")
        code, out, _ = self.engine.command("metrics")
        self.assertEqual(code, 0)
        self.assertIn('weir_requests_refused_total{reason="length_and_encoding"} 1', out)

    def test_pipelined_requests_are_answered_in_order(self):
        with self.engine.connect() as client:
            for i in range(20):
                client.send_request(f"/{i}", "POST" if i % 3 == 0 else "GET", body=b"x" * i if i % 3 == 0 else b"")
            for i in range(20):
                self.assertEqual(client.response().status, 200)
        heads = [head for record in self.recorder.received for head, _ in forwarded(record)]
        self.assertEqual([h.split(b" ")[1] for h in heads if h.split(b" ")[1][1:].isdigit()], [b"/%d" % i for i in range(20)])


class MalformedResponses(Scene):
    def test_each_malformed_head_is_a_502(self):
        answer = {"data": b""}
        origin = self.origin(lambda e: raw(answer["data"], close=True)(e))
        engine = self.before(origin, pool="    passive-health: { fail-after: never }\n    retries: 0")
        for name, data, verdict in cases("responses.md", "response"):
            if verdict.startswith("refused"):
                with self.subTest(name):
                    answer["data"] = data
                    self.assertEqual(engine.get().status, 502)

    def cut(self, data, version="1.1"):
        engine = self.before(self.origin(raw(data, close=True)), pool="    passive-health: { fail-after: never }")
        return engine.get(version=version)

    def test_a_response_cut_in_its_length_is_seen_as_cut(self):
        with self.assertRaises((OSError, AssertionError)):
            response = self.cut(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort")
            assert response.complete

    def test_a_response_cut_in_a_chunk_is_seen_as_cut(self):
        with self.assertRaises((OSError, AssertionError)):
            response = self.cut(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nshort")
            assert response.complete

    def test_an_http10_client_sees_a_cut_as_a_reset(self):
        with self.assertRaises((OSError, AssertionError)):
            response = self.cut(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nshort", version="1.0")
            assert response.complete

    def test_a_malformed_chunk_cuts_the_response(self):
        with self.assertRaises((OSError, AssertionError)):
            response = self.cut(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n")
            assert response.complete


class Responses(Scene):
    def one(self, data, close=False, **more):
        return self.before(self.origin(raw(data, close))).get(**more)

    def test_until_close_becomes_chunked(self):
        response = self.one(b"HTTP/1.1 200 OK\r\n\r\nall of it", close=True)
        self.assertEqual((response.body, response.field("Transfer-Encoding")), (b"all of it", "chunked"))

    def test_an_http10_origin_is_understood(self):
        response = self.one(b"HTTP/1.0 200 OK\r\n\r\nold", close=True)
        self.assertEqual(response.body, b"old")

    def test_chunked_becomes_until_close_for_http10(self):
        response = self.one(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", version="1.0")
        self.assertEqual(response.body, b"abc")
        self.assertIsNone(response.field("Transfer-Encoding"))

    def test_trailers_pass(self):
        engine = self.before(self.origin(raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n")))
        with engine.connect() as client:
            client.send_request(headers=["TE: trailers", "Connection: TE"])
            status, _ = client.head()
            self.assertEqual((status, client.chunks()), (200, (b"abc", ["X-Sum: 7"])))

    def test_request_trailers_pass(self):
        origin = self.origin(ok)
        engine = self.before(origin)
        with engine.connect() as client:
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\nHost: evil\r\n\r\n")
            self.assertEqual(client.response().status, 400)
            self.assertTrue(client.closed())
        with engine.connect() as client:
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n")
            self.assertEqual(client.response().status, 200)
        self.assertTrue(any(b"X-Sum: 7" in bytes(r) for r in origin.received))

    def test_head_keeps_the_length_and_has_no_content(self):
        engine = self.before(self.origin(raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n")))
        with engine.connect() as client:
            for _ in range(2):
                client.send_request(method="HEAD")
                response = client.response("HEAD")
                self.assertEqual((response.status, response.field("Content-Length")), (200, "1234"))

    def test_not_modified_and_no_content(self):
        self.assertEqual(self.one(b"HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n").status, 304)
        self.assertEqual(self.one(b"HTTP/1.1 204 No Content\r\n\r\n").status, 204)

    def test_early_hints_pass_and_101_does_not(self):
        response = self.one(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        self.assertEqual(([s for s, _ in response.interim], response.body), ([103], b"hi"))
        self.assertEqual(self.one(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").status, 502)

    def test_continue_is_relayed(self):
        def script(exchange):
            exchange.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            return ok(exchange)
        engine = self.before(self.origin(script))
        with engine.connect() as client:
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
            self.assertEqual(client.head()[0], 100)
            client.send(b"body")
            self.assertEqual(client.response().status, 200)

    def test_an_early_answer_to_a_long_upload_arrives(self):
        def script(exchange):
            exchange.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig")
            return False
        engine = self.before(self.origin(script))
        with engine.connect() as client:
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n" + b"x" * 100000)
            response = client.response()
            self.assertEqual((response.status, response.body, response.field("Connection")), (413, b"big", "close"))

    def test_a_client_that_dies_in_its_upload_is_cut_off_at_the_origin(self):
        ended = []
        def script(exchange):
            ended.append(exchange.body())
            return False
        engine = self.before(self.origin(script))
        client = engine.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nsome")
        import time
        time.sleep(0.3)
        client.reset()
        from stage import wait_for
        wait_for("the origin to see the end", lambda: ended == [None])

    def test_bytes_after_a_response_end_the_connection_to_the_origin(self):
        engine = self.before(self.origin(raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")))
        with engine.connect() as client:
            for _ in range(3):
                client.send_request()
                self.assertEqual(client.response().body, b"hi")


if __name__ == "__main__":
    unittest.main()
