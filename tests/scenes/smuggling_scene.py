"""Tricks of request smuggling, sent whole, in pieces and with a follower, before an origin that records every byte.

Whatever a client sends, one of two things is true: the request is answered 4xx or 5xx, the connection is closed, and nothing of
it that an origin could take for a request gets through; or the origin receives exactly the requests listed, each with one framing
(strict.py reads what was recorded). Collected from published lists: CL.TE, TE.CL, TE.TE, CL.0, 0.CL, TE.0, chunk extensions
and line ends (TERM.EXT, EXT.TERM), Expect tricks, Connection tricks, pause-based desynchronisation, header injection by escapes.
"""
import socket
import time
import unittest

from stage import Client, Scene, ok
from strict import Unclear, read_requests

REFUSED = "refused"
FOLLOWER = b"GET /follower HTTP/1.1\r\nHost: scene\r\n\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: scene\r\n\r\n"
IN_CHUNKS = b"POST /p HTTP/1.1\r\nHost: scene\r\nTransfer-Encoding: chunked\r\n\r\n"


def post(*lines, body=b"", target=b"/p", version=b"1.1"):
    return b"POST %s HTTP/%s\r\nHost: scene\r\n" % (target, version) + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


def get(*lines, target=b"/g", body=b""):
    return b"GET %s HTTP/1.1\r\nHost: scene\r\n" % target + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


def length(body):
    return b"Content-Length: %d" % len(body)


ZERO_THEN_SMUGGLED = b"0\r\n\r\n" + SMUGGLED

# A head that could hide a second framing. Each is sent with a body that means something else under the other reading.
HIDDEN_ENCODINGS = {
    "a space before its colon": b"Transfer-Encoding : chunked", "a tab before its colon": b"Transfer-Encoding\t: chunked",
    "a space in front": b" Transfer-Encoding: chunked", "a vertical tab in its value": b"Transfer-Encoding: \x0bchunked",
    "a form feed in its value": b"Transfer-Encoding: \x0cchunked", "a NUL in its value": b"Transfer-Encoding: chunked\x00",
    "an unknown coding": b"Transfer-Encoding: xchunked", "a coding with a tail": b"Transfer-Encoding: chunkedx",
    "a parameter": b"Transfer-Encoding: chunked;q=1", "quotes": b'Transfer-Encoding: "chunked"', "apostrophes": b"Transfer-Encoding: 'chunked'",
    "a list that ends otherwise": b"Transfer-Encoding: chunked, identity", "a list that ends so": b"Transfer-Encoding: identity, chunked",
    "an empty member": b"Transfer-Encoding: , chunked", "a member behind a comma": b"Transfer-Encoding: chunked,",
    "the same twice": b"Transfer-Encoding: chunked, chunked", "nothing": b"Transfer-Encoding:", "a comma": b"Transfer-Encoding: ,",
    "two lines": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "two different lines": b"Transfer-Encoding: chunked\r\nTransfer-encoding: x",
    "another first": b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked", "a fold": b"Transfer-Encoding:\r\n chunked",
    "a fold inside": b"Transfer-Encoding: chun\r\n\tked", "a fold of a field before": b"X: y\r\n Transfer-Encoding: chunked",
    "a bare LF before it": b"X: y\nTransfer-Encoding: chunked", "a bare CR before it": b"X: y\rTransfer-Encoding: chunked",
    "a bare LF behind it": b"Transfer-Encoding: chunked\nX: y", "CR CR LF": b"Transfer-Encoding: chunked\r\r\nX: y", "capitals": b"TRANSFER-ENCODING: CHUNKED",
    "a byte above ASCII": b"Transfer-Encoding: chunked\xff", "a name above ASCII": b"Transfer-Encoding\xff: chunked", "a soft hyphen": b"Transfer\xadEncoding: chunked",
    "gzip first": b"Transfer-Encoding: gzip, chunked", "deflate alone": b"Transfer-Encoding: deflate", "spaces around": b"Transfer-Encoding:   chunked  ",
    "a colon twice": b"Transfer-Encoding:: chunked", "a comment": b"Transfer-Encoding: (x) chunked", "an equals sign": b"Transfer-Encoding: chunked=1",
    "tabs around": b"Transfer-Encoding:\tchunked\t", "a NUL before its colon": b"Transfer-Encoding\x00: chunked", "a no-break space": b"Transfer-Encoding: chunked\xa0",
    "identity beside it": b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", "a bare CR in its name": b"Transfer\r-Encoding: chunked", "no space": b"Transfer-Encoding:chunked", "ordinary": b"Transfer-Encoding: chunked",
}
HIDDEN_LENGTHS = {
    "a plus": b"+%d", "a minus": b"-%d", "a leading zero": b"0%d", "hex": b"0x%x", "a point": b"%d.0", "a comma": b"%d,", "a list": b"%d, %d",
    "a semicolon": b"%d;", "a NUL": b"%d\x00", "a space inside": b"%d 0", "a vertical tab": b"\x0b%d", "an exponent": b"%de0",
    "a letter": b"%dx", "quotes": b'"%d"', "an underscore": b"1_%d", "a digit above ASCII": b"\xb2%d", "octal": b"0o%o",
    "no digits": b"", "beyond 64 bits": b"18446744073709551616", "2^64 more": b"184467440737095516%d", "beyond 63 bits": b"9223372036854775808",
}


def with_value(pattern, value):
    return pattern.replace(b"%d", b"%d" % value).replace(b"%x", b"%x" % value).replace(b"%o", b"%o" % value)


def corpus():
    """(name, bytes, REFUSED or the requests an origin may see)"""
    te = b"Transfer-Encoding: chunked"
    for name, line in HIDDEN_ENCODINGS.items():
        yield f"CL.TE, an encoding with {name}", post(length(ZERO_THEN_SMUGGLED), line, body=ZERO_THEN_SMUGGLED), REFUSED
        yield f"TE.CL, an encoding with {name}", post(line, b"Content-Length: 4", body=b"5c\r\n" + SMUGGLED + b"\r\n0\r\n\r\n"), REFUSED
    alone = {"capitals", "spaces around", "tabs around", "no space", "ordinary"}
    for name, line in HIDDEN_ENCODINGS.items():
        taken = name in alone
        yield (f"an encoding alone with {name}", post(line, body=b"3\r\nabc\r\n0\r\n\r\n"), [(b"POST", b"/p", b"abc")] if taken else REFUSED)
    for name, pattern in HIDDEN_LENGTHS.items():
        value = with_value(pattern, len(SMUGGLED))
        wanted = REFUSED
        yield f"a length with {name}", post(b"Content-Length: " + value, body=SMUGGLED), wanted
        yield f"a length with {name}, beside a good one", post(length(SMUGGLED), b"Content-Length: " + value, body=SMUGGLED), REFUSED
        yield f"a length with {name}, before a good one", post(b"Content-Length: " + value, length(SMUGGLED), body=SMUGGLED), REFUSED
    for name, line in {"tabs": b"Content-Length:\t%d\t", "no space": b"Content-Length:%d", "spaces": b"Content-Length:   %d  "}.items():
        yield f"a length with {name} around it", post(line % len(SMUGGLED), body=SMUGGLED), [(b"POST", b"/p", SMUGGLED)]
    yield "CL.CL", post(b"Content-Length: 0", length(SMUGGLED), body=SMUGGLED), REFUSED
    yield "a length behind a space before its colon", post(b"Content-Length : %d" % len(SMUGGLED), body=SMUGGLED), REFUSED
    yield "a length behind a bare CR", post(b"X: y\rContent-Length: %d" % len(SMUGGLED), body=SMUGGLED), REFUSED
    yield "a length in a fold", post(b"X: y\r\n Content-Length: %d" % len(SMUGGLED), body=SMUGGLED), REFUSED
    yield "a length named by Connection", post(b"Connection: Content-Length", length(SMUGGLED), body=SMUGGLED), REFUSED
    yield "an encoding named by Connection", post(b"Connection: close, transfer-encoding", te, body=ZERO_THEN_SMUGGLED), REFUSED
    yield "an encoding in HTTP/1.0", post(te, body=ZERO_THEN_SMUGGLED, version=b"1.0"), REFUSED
    yield "an underscore for the hyphen", post(b"Content_Length: %d" % len(SMUGGLED)), [(b"POST", b"/p", b"")]
    yield "0.CL: a GET with a length", get(length(SMUGGLED), body=SMUGGLED), [(b"GET", b"/g", SMUGGLED)]
    yield "0.CL: a GET in chunks", get(te, body=b"3\r\nabc\r\n0\r\n\r\n"), [(b"GET", b"/g", b"abc")]
    yield "CL.0: a length and no more than that", post(length(SMUGGLED), body=SMUGGLED), [(b"POST", b"/p", SMUGGLED)]
    yield "TE.0: chunks that hold a request", post(te, body=b"%x\r\n" % len(SMUGGLED) + SMUGGLED + b"\r\n0\r\n\r\n"), [(b"POST", b"/p", SMUGGLED)]
    yield "HEAD with a length", b"HEAD /h HTTP/1.1\r\nHost: scene\r\n" + length(SMUGGLED) + b"\r\n\r\n" + SMUGGLED, [(b"HEAD", b"/h", SMUGGLED)]
    yield "an expectation with dirt", post(b"Expect: y 100-continue", length(SMUGGLED), body=SMUGGLED), REFUSED
    yield "an expectation twice", post(b"Expect: 100-continue", b"Expect: 100-continue", length(b"abc"), body=b"abc"), None
    yield "two hosts", get(b"Host: other"), REFUSED
    yield "a host behind a space", b"GET /g HTTP/1.1\r\n Host: scene\r\n\r\n", REFUSED
    yield "a host that ends a line", b"GET /g HTTP/1.1\r\nHost: scene\r\n\tother\r\n\r\n", REFUSED
    yield "a host with a path", b"GET /g HTTP/1.1\r\nHost: scene/smuggled\r\n\r\n", REFUSED
    yield "a host with a line end by escape", b"GET /g HTTP/1.1\r\nHost: scene%0d%0a\r\n\r\n", None
    yield "another host in the target", b"GET http://other/g HTTP/1.1\r\nHost: scene\r\n\r\n", REFUSED
    yield "user information in the target", b"GET http://scene@other/g HTTP/1.1\r\nHost: scene\r\n\r\n", REFUSED
    yield "line ends by escape in the path", get(target=b"/a%0d%0aX:%20y"), [(b"GET", b"/a%0D%0AX:%20y", b"")]
    yield "line ends by escape in the query", get(target=b"/a?b=%0d%0a%0d%0aGET%20/smuggled"), [(b"GET", b"/a?b=%0d%0a%0d%0aGET%20/smuggled", b"")]
    yield "a request line in the target", b"GET /g HTTP/1.1 GET /smuggled HTTP/1.1\r\nHost: scene\r\n\r\n", REFUSED
    yield "a tab in the request line", b"GET\t/g HTTP/1.1\r\nHost: scene\r\n\r\n", REFUSED
    yield "a vertical tab in the request line", b"GET /g\x0bHTTP/1.1\r\nHost: scene\r\n\r\n", REFUSED
    yield "a no-break space in the target", b"GET /g\xa0HTTP/1.1\r\nHost: scene\r\n\r\n", REFUSED
    yield "HTTP/0.9 before a request", b"GET /g\r\n" + SMUGGLED, REFUSED
    yield "HTTP/0.9 with a version", b"GET /g HTTP/0.9\r\n\r\n" + SMUGGLED, REFUSED
    yield "a version with a space", b"GET /g HTTP/1.1 \r\nHost: scene\r\n\r\n", REFUSED
    yield "a version without its name", b"GET /g 1.1\r\nHost: scene\r\n\r\n", REFUSED
    yield "HTTP/2's preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", REFUSED
    yield "a head of bare LF", b"GET /g HTTP/1.1\nHost: scene\n\n", REFUSED
    yield "an end of bare LF", b"GET /g HTTP/1.1\r\nHost: scene\r\n\n" + SMUGGLED, REFUSED
    yield "an end of LF CR", b"GET /g HTTP/1.1\r\nHost: scene\n\r\n\r" + SMUGGLED, REFUSED
    yield "a NUL as line end", b"GET /g HTTP/1.1\r\nHost: scene\x00\r\n\r\n", REFUSED
    yield "a method with CR", b"GE\rT /g HTTP/1.1\r\nHost: scene\r\n\r\n", REFUSED
    yield "an upgrade to h2c with settings", get(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__"), [(b"GET", b"/g", b"")]
    yield "an upgrade with content", post(b"Connection: Upgrade", b"Upgrade: h2c", length(SMUGGLED), body=SMUGGLED), [(b"POST", b"/p", SMUGGLED)]
    yield "a websocket that hides a request", get(b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 777", body=SMUGGLED), REFUSED
    websocket = [b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
    yield "a websocket with content that hides a request", get(*websocket, length(SMUGGLED), body=SMUGGLED), REFUSED
    yield "a websocket in chunks that hides a request", get(*websocket, te, body=b"%x\r\n" % len(SMUGGLED) + SMUGGLED + b"\r\n0\r\n\r\n"), REFUSED
    yield "a websocket with two keys", get(*websocket, websocket[-1], body=SMUGGLED), REFUSED
    yield "a websocket with another version beside its own", get(*websocket, b"Sec-WebSocket-Version: 8", body=SMUGGLED), REFUSED
    yield "CONNECT that hides a request", b"CONNECT scene:80 HTTP/1.1\r\nHost: scene:80\r\n\r\n" + SMUGGLED, REFUSED
    yield "CONNECT in small letters", b"connect scene:80 HTTP/1.1\r\nHost: scene:80\r\n\r\n" + SMUGGLED, REFUSED
    yield "another port in the target", b"GET http://scene:81/g HTTP/1.1\r\nHost: scene:82\r\n\r\n", REFUSED
    yield "an empty host", b"GET /g HTTP/1.1\r\nHost:\r\n\r\n", REFUSED
    yield "a host in quotes", b'GET /g HTTP/1.1\r\nHost: "scene"\r\n\r\n', REFUSED
    yield "a path for a host", get(target=b"//other/g"), [(b"GET", b"//other/g", b"")]
    yield "three empty lines in front", b"\r\n\r\n\r\n" + get(), REFUSED
    yield "two empty lines in front", b"\r\n\r\n" + get(), [(b"GET", b"/g", b"")]
    yield "a bare LF in front", b"\n" + get(), REFUSED
    yield "HEAD in chunks", b"HEAD /h HTTP/1.1\r\nHost: scene\r\n" + te + b"\r\n\r\n" + ZERO_THEN_SMUGGLED[:5], [(b"HEAD", b"/h", b"")]
    for named in (b"Host", b"Content-Length", b"Transfer-Encoding", b"Cookie", b"Authorization", b"X-Forwarded-For", b"Via", b'"close, host"', b"a," * 40):
        yield f"Connection that names {named[:20]!r}", get(b"Connection: close, " + named, b"X: y"), REFUSED
    for dots in (b"..;/", b".;/", b"..%2f", b"..%5c", b"%2e%2e;x=y/", b"b%2f..%2f", b"%2f../", b"..;%2f"):
        yield f"dots in disguise, {dots!r}", get(target=b"/a/" + dots + b"smuggled"), REFUSED
    yield "a trailer with a length", IN_CHUNKS + b"3\r\nabc\r\n0\r\nContent-Length: 5\r\n\r\n", "cut"
    for name, body in BAD_CHUNKS.items():
        yield f"a chunk with {name}", IN_CHUNKS + body, "cut"
    for name, (body, content) in GOOD_CHUNKS.items():
        yield f"a chunk with {name}", IN_CHUNKS + body, [(b"POST", b"/p", content)]


BAD_CHUNKS = {
    "a size of 0x": b"0x3\r\nabc\r\n0\r\n\r\n", "a plus": b"+3\r\nabc\r\n0\r\n\r\n", "a minus": b"-3\r\nabc\r\n0\r\n\r\n", "a space before": b" 3\r\nabc\r\n0\r\n\r\n",
    "a space behind": b"3 \r\nabc\r\n0\r\n\r\n", "a tab behind": b"3\t\r\nabc\r\n0\r\n\r\n", "no size": b"\r\nabc\r\n0\r\n\r\n", "an underscore": b"1_0\r\nabc\r\n0\r\n\r\n",
    "a NUL": b"3\x00\r\nabc\r\n0\r\n\r\n", "a bare LF": b"3\nabc\r\n0\r\n\r\n", "a bare CR": b"3\rabc\r\n0\r\n\r\n", "CR CR LF": b"3\r\r\nabc\r\n0\r\n\r\n",
    "no line end behind its data": b"3\r\nabc0\r\n\r\n", "a bare LF behind its data": b"3\r\nabc\n0\r\n\r\n", "two other bytes behind its data": b"3\r\nabcXX0\r\n\r\n",
    "too much data": b"3\r\nabcde\r\n0\r\n\r\n", "an overflowing size": b"10000000000000003\r\nabc\r\n0\r\n\r\n", "2^64-1": b"ffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    "a bare LF in its extension": b"3;x\nabc\r\n" + SMUGGLED, "a bare CR in its extension": b"3;x\rabc\r\n0\r\n\r\n", "a NUL in its extension": b"3;\x00\r\nabc\r\n0\r\n\r\n",
    "a last chunk of bare LF": b"3\r\nabc\r\n0\n\n" + SMUGGLED, "an end of bare LF": b"3\r\nabc\r\n0\r\n\n" + SMUGGLED, "a decimal size": b"3.0\r\nabc\r\n0\r\n\r\n",
    "a comma": b"3,\r\nabc\r\n0\r\n\r\n", "full-width digits": b"\xef\xbc\x93\r\nabc\r\n0\r\n\r\n", "a folded trailer": b"0\r\nX: y\r\n z\r\n\r\n",
    "a trailer with a space before its colon": b"0\r\nX : y\r\n\r\n", "a trailer without a colon": b"0\r\n" + SMUGGLED,
    "an encoding in its trailer": b"0\r\nTransfer-Encoding: chunked\r\n\r\n", "a host in its trailer": b"0\r\nHost: other\r\n\r\n",
}
GOOD_CHUNKS = {
    "an extension": (b"3;a=b\r\nabc\r\n0\r\n\r\n", b"abc"), "a quoted extension": (b'3;a="b c"\r\nabc\r\n0\r\n\r\n', b"abc"),
    "leading zeros": (b"0003\r\nabc\r\n00\r\n\r\n", b"abc"), "capitals": (b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
    "a request inside": (b"%x\r\n" % len(SMUGGLED) + SMUGGLED + b"\r\n0\r\n\r\n", SMUGGLED),
}


class Smuggling(Scene):
    def setUp(self):
        self.recorder = self.origin(ok)
        self.engine = self.before(self.recorder, pool="    passive-health: { fail-after: never }")

        self.read_so_far = {}

    def recorded(self):
        """What the origin got since the last call. A connection that is kept goes on behind a complete request."""
        new = []
        for number, record in enumerate(list(self.recorder.received)):
            data, begin = bytes(record), self.read_so_far.get(number, 0)
            self.read_so_far[number] = len(data)
            new += read_requests(data[begin:])
        return new

    def send(self, client, data, pieces, pause):
        step = max(1, -(-len(data) // pieces))
        for at in range(0, len(data), step):
            client.send(data[at:at + step])
            if pause and at + step < len(data):
                time.sleep(pause)

    def play(self, data, pieces=1, pause=0.0, responses=1):
        """Sends data and a follower; everything that came back until the engine closed or all expected answers are there."""
        with Client(self.engine.port, 5) as client:
            try:
                self.send(client, data + FOLLOWER, pieces, pause)
                while client.fill():
                    if client.buffer.count(b"HTTP/1.1 ") >= responses and client.buffer.endswith(b"ok\n"):
                        break
                else:
                    return client.buffer, True
            except ConnectionError:
                return client.buffer, True
            except OSError:
                return client.buffer, False
            return client.buffer, False

    def check(self, name, data, wanted, pieces=1, pause=0.0):
        follower = [(b"GET", b"/follower", b"")]
        responses = 1 if wanted in (REFUSED, "cut") else 2 if wanted is None else len(wanted) + 1
        answer, closed = self.play(data, pieces, pause, responses)
        try:
            new = self.recorded()
        except Unclear as unclear:
            self.fail(f"{name}: the origin got something unclear: {unclear}")
        complete = [(r.method, r.target, r.body) for r in new if r.complete]
        self.assertFalse([r for r in new if b"smuggled" in r.target.split(b"?")[0]], name)
        if wanted == REFUSED:
            self.assertRegex(answer[:13], rb"^HTTP/1\.1 [45]\d\d ", name)
            self.assertEqual(answer.count(b"HTTP/1.1 "), 1, answer)
            self.assertTrue(closed, f"{name}: the connection stays open after {answer[:60]!r}")
            self.assertEqual(new, [], name)
        elif wanted == "cut":
            # The head may be on its way before the bad chunk is seen; then the origin's side is cut in the middle of the content.
            self.assertTrue(closed, name)
            self.assertEqual(complete, [], name)
            self.assertTrue(answer == b"" or answer[:10] in (b"HTTP/1.1 4", b"HTTP/1.1 5"), answer[:60])
        elif wanted is None:
            self.assertLessEqual(len([r for r in complete if r[1] == b"/follower"]), 1)
        else:
            self.assertEqual(complete, wanted + follower, name)

    def play_corpus(self, pieces, pause=0.0, every=1):
        played = 0
        for number, (name, data, wanted) in enumerate(corpus()):
            if number % every == 0:
                with self.subTest(name):
                    self.check(name, data, wanted, pieces, pause)
                    played += 1
        self.assertGreater(played, 200 // every)

    def test_tricks_sent_whole_reach_no_origin_in_two_readings(self):
        self.play_corpus(pieces=1)

    def test_tricks_sent_in_two_halves_reach_no_origin_in_two_readings(self):
        self.play_corpus(pieces=2, pause=0.004)

    def test_tricks_sent_byte_by_byte_reach_no_origin_in_two_readings(self):
        self.play_corpus(pieces=100000, every=2)

    def test_pauses_between_bytes_change_no_verdict(self):
        for name, data, wanted in list(corpus())[::23]:
            with self.subTest(name):
                self.check(name, data, wanted, pieces=25, pause=0.003)

    def test_a_trick_behind_good_requests_on_the_same_connection_is_met_the_same(self):
        good = b"GET /good HTTP/1.1\r\nHost: scene\r\n\r\n"
        for name, data, wanted in list(corpus())[::5]:
            if wanted != REFUSED:
                continue
            with self.subTest(name), Client(self.engine.port, 5) as client:
                client.send(good + good + data + FOLLOWER)
                try:
                    while client.fill():
                        pass
                except ConnectionError:
                    pass
                self.assertEqual(client.buffer.count(b"HTTP/1.1 200 "), 2, client.buffer)
                self.assertRegex(client.buffer[client.buffer.rindex(b"HTTP/1.1 "):], rb"^HTTP/1\.1 [45]\d\d ")
                self.assertEqual([r.target for r in self.recorded()], [b"/good", b"/good"])

    def test_a_refused_request_that_paused_in_its_content_leaves_nothing_for_the_next_client(self):
        """Pause-based desynchronisation: the head of a long upload, silence, an early answer, then the rest as if it were a request."""
        with Client(self.engine.port, 5) as client:
            client.send(post(b"Content-Length: 100000", target=b"/early"))
            time.sleep(0.2)
            client.send(SMUGGLED)
            time.sleep(0.1)
        for _ in range(4):
            self.assertEqual(self.engine.get("/next").status, 200)
        targets = [r.target for r in self.recorded()]
        self.assertNotIn(b"/smuggled", targets)
        self.assertEqual(targets.count(b"/next"), 4)

    def test_an_answer_of_the_engines_own_does_not_turn_content_into_a_request(self):
        engine = self.weir("routes:\n  - match: { path: /own }\n    respond: { body: mine }\n  - pool: app\n"
                           f"pools: {{ app: {{ servers: [ {self.recorder.address} ] }} }}\n")
        for data in (post(length(SMUGGLED), target=b"/own", body=SMUGGLED), post(b"Transfer-Encoding: chunked", target=b"/own", body=b"%x\r\n" % len(SMUGGLED) + SMUGGLED + b"\r\n0\r\n\r\n"),
                     get(length(SMUGGLED), target=b"/own", body=SMUGGLED)):
            with engine.connect(3) as client:
                client.send(data + FOLLOWER)
                response = client.response()
                self.assertEqual(response.body, b"mine")
                if response.field("Connection") == "close":
                    self.assertTrue(client.closed())
                else:
                    self.assertEqual(client.response().body, b"ok\n")
        self.assertLessEqual({r.target for r in self.recorded()}, {b"/follower"})

    def test_a_retried_request_has_its_last_chunk_or_is_not_retried(self):
        """A last chunk that went to the first origin is missing at the second, which would take the next request for a chunk."""
        begun = []

        def script(exchange):
            begun.append(exchange.path)
            if len(begun) == 1:
                exchange.body()
                return False
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n")  # before it has read any content, as many do
            return None
        origins = [self.origin(script), self.origin(script)]
        engine = self.before(*origins, top="workers: 1\npin: false", pool="    balance: round-robin\n    retries: 3\n    passive-health: { fail-after: never }")
        with engine.connect() as client:
            client.send(b"PUT /one HTTP/1.1\r\nHost: scene\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
            self.assertIn(client.response().status, (200, 502))
        for turn in range(4):
            self.assertEqual(engine.get(f"/{turn}").status, 200)
        for origin in origins:
            for record in origin.received:
                self.assertTrue(all(r.complete for r in read_requests(record)), bytes(record))

    def test_what_a_route_sets_or_removes_comes_in_neither_by_trailers_nor_by_underscores(self):
        engine = self.weir("routes:\n  - pool: app\n    request-headers: { set: { X-User: nobody }, remove: [ X-Internal ] }\n"
                           f"pools: {{ app: {{ servers: [ {self.recorder.address} ] }} }}\n")
        with engine.connect() as client:
            client.send(post(b"Transfer-Encoding: chunked", b"X_User: root", b"x_internal: 1", body=b"0\r\nX-Sum: 1\r\nX-User: root\r\nX_User: root\r\nX-Internal: 1\r\n\r\n"))
            self.assertEqual(client.response().status, 200)
        request, = self.recorded()
        self.assertEqual([f for f in request.fields if f[0].replace(b"_", b"-") in (b"x-user", b"x-internal")], [(b"x-user", b"nobody")])
        self.assertEqual(request.trailers, [(b"x-sum", b"1")])

    def test_nobody_says_who_the_client_is_by_underscores(self):
        with self.engine.connect() as client:
            client.send(get(b"X_Forwarded_For: 6.6.6.6", b"X-Forwarded_Proto: https", b"X_Real_IP: 6.6.6.6", b"Content_Length: 7", b"Proxy: http://other/", b"X_Other: 1"))
            self.assertEqual(client.response().status, 200)
        request, = self.recorded()
        names = [name for name, _ in request.fields]
        self.assertEqual([n for n in names if b"_" in n or n == b"proxy"], [b"x_other"])
        self.assertEqual(request.values(b"x-forwarded-for"), [b"127.0.0.1"])

    def test_a_redirect_never_takes_its_host_from_the_path(self):
        engine = self.weir("routes:\n  - redirect: { to: 'https://{host}{path}' }\n")
        with engine.connect() as client:
            client.send(b"GET /other.example/ HTTP/1.0\r\n\r\n")
            response = client.response()
            self.assertEqual((response.status, response.field("Location")), (400, None))
        self.assertEqual(engine.get("/a%0d%0aSet-Cookie:%20b=c").field("Location"), "https://scene/a%0D%0ASet-Cookie:%20b=c")

    def test_thousands_of_names_in_connection_cost_nothing(self):
        with self.engine.connect() as client:
            client.send(get(b"Connection: " + b"a," * 7000, *[b"b: c"] * 60))
            self.assertEqual(client.response().status, 400)

    def test_an_own_answer_before_the_content_came_ends_the_connection(self):
        engine = self.weir("routes:\n  - match: { path: /own }\n    respond: { body: mine }\n  - pool: app\n"
                           f"pools: {{ app: {{ servers: [ {self.recorder.address} ] }} }}\n")
        with engine.connect(5) as client:
            client.send(post(length(SMUGGLED), target=b"/own"))
            response = client.response()
            self.assertEqual((response.body, response.field("Connection")), (b"mine", "close"))
            try:
                client.send(SMUGGLED)
            except OSError:
                pass
            self.assertTrue(client.closed())
        self.assertEqual(self.recorded(), [])

    def test_two_clients_never_see_each_others_answers(self):
        def script(exchange):
            return ok(exchange, exchange.path.encode())
        engine = self.before(self.origin(script))
        for turn in range(30):
            with engine.connect() as one, engine.connect() as two:
                one.send(post(b"Content-Length: 5", target=b"/one%d" % turn, body=b"12"))
                two.send_request(f"/two{turn}")
                self.assertEqual(two.response().body, b"/two%d" % turn)
                if turn % 2:
                    one.send(b"345")
                    self.assertEqual(one.response().body, b"/one%d" % turn)
                else:
                    one.reset()


class Answers(Scene):
    """What an origin sends beyond an answer, or less than one, is never another's answer and never looks whole."""

    def pipelined(self, size, surplus):
        """Bodies of two pipelined requests on one connection; the first answer has this size, head included, and something behind it."""
        def script(exchange):
            if exchange.path != "/first":
                return ok(exchange)
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %7d\r\n\r\n"
            length = size - len(head % 1)
            exchange.send(head % length + b"x" * length + surplus)
            return None
        engine = self.before(self.origin(script), top="workers: 1\npin: false", pool="    passive-health: { fail-after: never }")
        for _ in range(5):
            with engine.connect() as client:
                client.send(get(target=b"/first") + get(target=b"/second"))
                self.assertEqual(client.response().status, 200)
                yield client.response().body

    def test_bytes_behind_an_answer_are_nobodys_answer(self):
        evil = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
        for size in (100, 16383, 16384, 16385, 32768, 65536, 163840, 1000000, 4000000):  # whole blocks, and what is spliced
            with self.subTest(size):
                self.assertEqual(set(self.pipelined(size, evil)), {b"ok\n"})

    def test_an_answer_until_close_that_ends_in_a_reset_does_not_look_whole(self):
        def script(exchange):
            exchange.body()
            exchange.connection.settimeout(0.5)
            try:
                exchange.send(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 40_000_000)
            except OSError:
                pass
            return exchange.reset()
        engine = self.before(self.origin(script), pool="    passive-health: { fail-after: never }")
        for _ in range(3):
            with Client(engine.port, 2) as client:
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
                client.send(get())
                time.sleep(0.8)  # slow enough that the engine still holds some of it when the reset comes
                end, how = b"", "end"
                try:
                    while data := client.socket.recv(65536):
                        end = (end + data)[-16:]
                        time.sleep(0.0003)
                except ConnectionError:
                    how = "reset"
                except OSError:
                    how = "silence"
                self.assertFalse(end.endswith(b"0\r\n\r\n"), end)
                self.assertEqual(how, "reset")

    def test_nobodys_request_follows_content_that_an_origin_may_not_have_read(self):
        """An answer to an expectation without a 100 (Continue): the origin may take the content for the next request."""
        def script(exchange):
            if exchange.fields("expect") and exchange.path == "/unread":
                while len(exchange.buffer) < len(SMUGGLED):
                    exchange.more()
                exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n")
                exchange.buffer = b""
                return None
            if exchange.fields("expect"):
                exchange.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            return ok(exchange)
        for path, together in (("/unread", False), ("/read", True)):
            with self.subTest(path):
                origin = self.origin(script)
                engine = self.before(origin, top="workers: 1\npin: false")
                with engine.connect() as client:
                    client.send(post(b"Expect: 100-continue", length(SMUGGLED), target=path.encode(), body=SMUGGLED))
                    self.assertEqual(client.response().status, 200)
                self.assertEqual(engine.get("/next").status, 200)
                self.assertEqual([b"/next" in record for record in origin.received], [True] if together else [False, True])

    def test_a_head_that_does_not_fit_with_what_is_added_is_the_clients_fault(self):
        engine = self.before(self.origin())
        for filler, status in ((15000, 200), (16320, 431)):
            self.assertEqual(engine.get(headers=["X: " + "y" * filler]).status, status)

    def test_trailers_in_single_bytes_are_read_to_their_end(self):
        trailer = b"X-Sum: " + b"7" * 100 + b"\r\n\r\n"

        def script(exchange):
            exchange.body()
            exchange.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n")
            for byte in trailer:
                exchange.send(bytes([byte]))
                time.sleep(0.001)
        with self.before(self.origin(script)).connect() as client:
            client.send(IN_CHUNKS + b"3\r\nabc\r\n0\r\n")
            for byte in trailer:
                client.send(bytes([byte]))
                time.sleep(0.001)
            self.assertEqual(client.head()[0], 200)
            self.assertEqual(client.chunks(), (b"abc", ["X-Sum: " + "7" * 100]))


if __name__ == "__main__":
    unittest.main()
