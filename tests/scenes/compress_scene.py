"""Compression of responses on their way, with clients that decode by zlib, libbrotlidec and libzstd."""
import ctypes
import threading
import time
import zlib

from props import content, run
from stage import Scene, wait_for
from tls_props import TlsClient, TlsScene, listening

TEXT = b"".join(b"line %d of a text that repeats itself, line after line\n" % i for i in range(2000))


def unzstd(data):
    library = ctypes.CDLL("libzstd.so.1")
    library.ZSTD_createDStream.restype = ctypes.c_void_p
    library.ZSTD_decompressStream.restype = ctypes.c_size_t

    class Buffer(ctypes.Structure):
        _fields_ = [("at", ctypes.c_void_p), ("size", ctypes.c_size_t), ("pos", ctypes.c_size_t)]
    stream, out, whole = ctypes.c_void_p(library.ZSTD_createDStream()), ctypes.create_string_buffer(1 << 17), b""
    source = ctypes.create_string_buffer(data, len(data))
    given, left = Buffer(ctypes.addressof(source), len(data), 0), 1
    while given.pos < given.size:
        made = Buffer(ctypes.addressof(out), len(out), 0)
        left = library.ZSTD_decompressStream(stream, ctypes.byref(made), ctypes.byref(given))
        assert not library.ZSTD_isError(ctypes.c_size_t(left))
        whole += out.raw[:made.pos]
    assert left == 0, "the frame has no end"
    return whole


def unbrotli(data, room=64 << 20):
    library = ctypes.CDLL("libbrotlidec.so.1")
    out, length = ctypes.create_string_buffer(room), ctypes.c_size_t(room)
    assert library.BrotliDecoderDecompress(ctypes.c_size_t(len(data)), data, ctypes.byref(length), out) == 1
    return ctypes.string_at(out, length.value)


def gunzip(data):
    decoder = zlib.decompressobj(31)
    whole = decoder.decompress(data) + decoder.flush()
    assert decoder.eof and not decoder.unused_data
    return whole


DECODERS = {"gzip": gunzip, "br": unbrotli, "zstd": unzstd}


def answer(body=TEXT, fields=("Content-Type: text/plain",), framing="length", status="200 OK", trailers=()):
    """A script: this content, framed so."""
    def script(exchange):
        exchange.body()
        lines = ["HTTP/1.1 " + status, *fields]
        if framing == "length":
            lines.append(f"Content-Length: {len(body)}")
        elif framing == "chunked":
            lines.append("Transfer-Encoding: chunked")
        exchange.send("\r\n".join(lines).encode() + b"\r\n\r\n")
        if exchange.line.startswith("HEAD"):
            return None
        if framing == "chunked":
            for at in range(0, len(body), 5000):
                part = body[at:at + 5000]
                exchange.send(b"%x\r\n" % len(part) + part + b"\r\n")
            exchange.send(b"0\r\n" + "".join(t + "\r\n" for t in trailers).encode() + b"\r\n")
        else:
            exchange.send(body)
        return False if framing == "close" else None
    return script


def config(*origins, compress="{}", more=""):
    servers = ", ".join(f'"{o.address}"' for o in origins)
    return f"routes:\n  - pool: app\n    compress: {compress}\n{more}\npools:\n  app:\n    servers: [ {servers} ]\n"


class Compress(Scene):
    def before_this(self, script, **more):
        return self.weir(config(self.origin(script), **more))

    def coded(self, engine, accept="gzip", body=TEXT, **more):
        """What comes is coded so, and reads as this."""
        response = engine.get(headers=[f"Accept-Encoding: {accept}"], **more)
        coding = response.field("Content-Encoding")
        self.assertTrue(response.complete)
        self.assertIn(coding, DECODERS)
        self.assertEqual(DECODERS[coding](response.body) == body, True)
        self.assertIsNone(response.field("Content-Length"))
        self.assertEqual(response.field("Vary"), "Accept-Encoding")
        return response

    def plain(self, engine, accept="gzip", body=TEXT, vary=None, **more):
        response = engine.get(headers=[f"Accept-Encoding: {accept}"] if accept else [], **more)
        self.assertIsNone(response.field("Content-Encoding"))
        self.assertEqual(response.body == body, True)
        self.assertEqual(response.field("Vary"), vary)
        return response

    def test_each_coding_and_each_framing(self):
        for framing in ("length", "chunked", "close"):
            engine = self.before_this(answer(framing=framing))
            for coding in DECODERS:
                with self.subTest(f"{coding} {framing}"):
                    response = self.coded(engine, coding)
                    self.assertEqual(response.field("Content-Encoding"), coding)
                    self.assertLess(len(response.body), len(TEXT) // 4)
            self.assertEqual(engine.counter("compressed"), len(DECODERS))
            self.assertEqual(engine.counter("compress_taken_bytes"), len(DECODERS) * len(TEXT))
            self.assertEqual(engine.counter("compress_made_bytes"), engine.counter("client_sent_bytes"))

    def test_our_order_where_the_client_has_none(self):
        engine = self.before_this(answer(), compress="{ codings: [ gzip, zstd ] }")
        self.assertEqual(self.coded(engine, "zstd, deflate, br, gzip").field("Content-Encoding"), "gzip")
        self.assertEqual(self.coded(engine, "zstd, gzip;q=0.9").field("Content-Encoding"), "zstd")
        self.plain(engine, "br", vary="Accept-Encoding")
        engine = self.before_this(answer())
        for accept, coding in (("gzip, deflate, br, zstd", "zstd"), ("gzip, deflate, br", "br"), ("gzip, deflate", "gzip")):
            self.assertEqual(self.coded(engine, accept).field("Content-Encoding"), coding)

    def test_curl(self):
        engine = self.before_this(answer())
        self.assertEqual(run("curl", "-sS", "--compressed", f"http://127.0.0.1:{engine.port}/")[1], TEXT)

    def test_who_does_not_accept_gets_it_plain_and_is_told_it_varies(self):
        engine = self.before_this(answer())
        for accept in (None, "identity", "gzip;q=0", "deflate", "gzip;q=x"):
            self.plain(engine, accept, vary="Accept-Encoding")
        self.plain(engine, version="1.0", vary="Accept-Encoding")
        self.assertEqual(engine.counter("compressed"), 0)

    def test_what_stays_as_it_is(self):
        text = "Content-Type: text/plain"
        for name, script in (("tiny", answer(b"x" * 1023)), ("empty", answer(b"")), ("type", answer(fields=["Content-Type: image/png"])),
                             ("no type", answer(fields=[])), ("no-transform", answer(fields=[text, "Cache-Control: public, No-Transform"])),
                             ("range", answer(fields=[text, "Content-Range: bytes 0-1/2"])),
                             ("part", answer(fields=[text, "Content-Range: bytes 0-1/2"], status="206 Partial Content")),
                             ("error", answer(status="404 Not Found"))):
            with self.subTest(name):
                response = self.before_this(script).get(headers=["Accept-Encoding: gzip"])
                self.assertIsNone(response.field("Content-Encoding"))
                self.assertIsNone(response.field("Vary"))
                self.assertIsNotNone(response.field("Content-Length"))
        engine = self.before_this(answer(fields=[text, "Content-Encoding: br", 'ETag: "a"']))
        response = engine.get(headers=["Accept-Encoding: gzip"])
        self.assertEqual((response.field("Content-Encoding"), response.field("ETag"), response.body == TEXT), ("br", '"a"', True))

    def test_types_and_floor_are_configured(self):
        engine = self.before_this(answer(b"{}" * 20, fields=["Content-Type: Application/LD+JSON; charset=utf-8"]), compress='{ min: 40B, types: "*/*+JSON" }')
        self.coded(engine, body=b"{}" * 20)

    def test_fields_about_the_origins_bytes(self):
        fields = ["Content-Type: text/html", 'ETag: "v1"', "Accept-Ranges: bytes", "Content-MD5: x", "Digest: x", "Content-Digest: x", "Repr-Digest: x",
                  "Content-Encoding: identity", "X-Kept: 1"]
        response = self.coded(self.before_this(answer(fields=fields)))
        self.assertEqual(response.field("ETag"), 'W/"v1"')
        self.assertEqual(response.field("X-Kept"), "1")
        names = [n.lower() for n, _ in response.fields]
        self.assertEqual([n for n in names if n in ("accept-ranges", "content-md5", "digest", "content-digest", "repr-digest", "content-length")], [])
        self.assertEqual(names.count("content-encoding"), 1)
        response = self.coded(self.before_this(answer(fields=["Content-Type: text/html", 'ETag: W/"v1"'])))
        self.assertEqual(response.field("ETag"), 'W/"v1"')

    def test_vary_is_said_once(self):
        for vary, values in (("Cookie, accept-encoding", ["Cookie, accept-encoding"]), ("*", ["*"]), ("Cookie", ["Cookie", "Accept-Encoding"])):
            response = self.before_this(answer(fields=["Content-Type: text/html", "Vary: " + vary])).get(headers=["Accept-Encoding: gzip"])
            self.assertEqual([v for n, v in response.fields if n == "Vary"], values)

    def test_the_routes_edits_hold(self):
        engine = self.before_this(answer(fields=["Content-Type: text/html", 'ETag: "v1"']),
                                  more='    response-headers: { set: { Vary: Cookie, X-A: b }, remove: ETag }')
        response = engine.get(headers=["Accept-Encoding: gzip"])
        self.assertEqual(sorted(v for n, v in response.fields if n == "Vary"), ["Accept-Encoding", "Cookie"])
        self.assertEqual((response.field("X-A"), response.field("ETag"), gunzip(response.body) == TEXT), ("b", None, True))

    def test_head_and_not_modified(self):
        engine = self.before_this(answer(fields=["Content-Type: text/plain", 'ETag: "v1"']))
        response = engine.get(method="HEAD", headers=["Accept-Encoding: gzip"])
        self.assertEqual((response.field("Content-Encoding"), response.field("Content-Length"), response.field("ETag"), response.field("Vary")),
                         ("gzip", None, 'W/"v1"', "Accept-Encoding"))
        self.assertEqual(engine.get(method="HEAD").field("Content-Length"), str(len(TEXT)))
        engine = self.before_this(answer(b"", status="304 Not Modified", framing=None, fields=["Content-Type: text/plain", 'ETag: "v1"']))
        response = engine.get(headers=["Accept-Encoding: gzip"])
        self.assertEqual((response.status, response.field("Content-Encoding")), (304, None))

    def not_modified(self, engine, accept, condition):
        """ETag and Vary of a 304, which says nothing of a coding."""
        response = engine.get(headers=[f"Accept-Encoding: {accept}", condition])
        self.assertEqual((response.status, response.field("Content-Encoding"), response.body), (304, None, b""))
        return response.field("ETag"), response.field("Vary")

    def test_a_304_has_the_etag_and_vary_that_the_200_would_have(self):
        def states(*fields):
            return self.before_this(answer(b"", status="304 Not Modified", framing=None, fields=['ETag: "v1"', *fields]))
        weak, strong = ("W/" + '"v1"', "Accept-Encoding"), ('"v1"', "Accept-Encoding")
        engine = states("Content-Type: text/plain")
        for coding in DECODERS:
            self.assertEqual(self.not_modified(engine, coding, 'If-None-Match: W/"v1"'), weak)
        self.assertEqual(self.not_modified(engine, "gzip", 'If-None-Match: "v1"'), weak)
        self.assertEqual(self.not_modified(engine, "identity", 'If-None-Match: "v1"'), strong)
        self.assertEqual(self.not_modified(states("Content-Type: image/png"), "gzip", 'If-None-Match: "v1"'), ('"v1"', None))
        self.assertEqual(self.not_modified(states("Content-Type: text/css", "Cache-Control: no-transform"), "gzip", 'If-None-Match: "v1"'), ('"v1"', None))
        self.assertEqual(self.not_modified(states("Content-Type: text/css", "Content-Length: 1023"), "gzip", 'If-None-Match: "v1"'), ('"v1"', None))
        self.assertEqual(self.not_modified(states("Content-Type: text/css", "Content-Length: 0"), "gzip", 'If-None-Match: "v1"'), weak)
        engine = states("Vary: Accept-Encoding", "Content-Location: /x")
        self.assertEqual(self.not_modified(engine, "gzip", 'If-None-Match: "a", W/"v1"'), weak)
        self.assertEqual(self.not_modified(engine, "gzip", 'If-None-Match: "v1", W/"a"'), strong)
        self.assertEqual(self.not_modified(engine, "gzip", "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT"), strong)

    def test_a_client_that_asks_again_is_told_what_it_has(self):
        """A browser's turn: what came is coded, its ETag goes back, and the 304 names the same."""
        def script(exchange):
            asked = exchange.fields("If-None-Match")
            return answer(b"" if asked else TEXT, status="304 Not Modified" if asked else "200 OK", framing=None if asked else "length",
                          fields=['ETag: "v1"', *([] if asked else ["Content-Type: text/plain"])])(exchange)
        engine = self.before_this(script)
        for accept in (*DECODERS, "identity"):
            first = engine.get(headers=[f"Accept-Encoding: {accept}"])
            again = self.not_modified(engine, accept, f"If-None-Match: {first.field('ETag')}")
            self.assertEqual(again, (first.field("ETag"), first.field("Vary")))

    def test_the_connection_is_kept(self):
        engine = self.before_this(answer(framing="chunked", trailers=["X-Sum: 7", "Content-Digest: x"]))
        with engine.connect() as client:
            for coding in list(DECODERS) * 3:
                client.send_request(headers=[f"Accept-Encoding: {coding}"])
                self.assertEqual(client.head()[0], 200)
                body, trailers = client.chunks()
                self.assertEqual(trailers, ["X-Sum: 7"])
                self.assertEqual(DECODERS[coding](body) == TEXT, True)
            client.send_request()
            self.assertEqual(client.response().body == TEXT, True)

    def test_a_stream_arrives_piece_by_piece(self):
        go = threading.Semaphore(0)

        def events(exchange):
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            for i in range(5):
                piece = b"data: %d\n\n" % i
                exchange.send(b"%x\r\n" % len(piece) + piece + b"\r\n")
                go.acquire()
            exchange.send(b"0\r\n\r\n")
        engine = self.before_this(events)
        with engine.connect() as client:
            client.send_request(headers=["Accept-Encoding: gzip"])
            client.head()
            decoder, seen = zlib.decompressobj(31), b""
            for i in range(5):
                while not seen.endswith(b"data: %d\n\n" % i):
                    size = int(client.until(b"\r\n"), 16)
                    seen += decoder.decompress(client.exactly(size + 2)[:-2])
                go.release()
            rest, _ = client.chunks()
            decoder.decompress(rest)
            self.assertTrue(decoder.eof)

    def test_large_content(self):
        body = content(10 << 20)
        for framing in ("length", "chunked"):
            engine = self.before_this(answer(body, framing=framing))
            for coding in DECODERS:
                self.coded(engine, coding, body=body)

    def test_a_client_that_stops_reading_costs_little(self):
        sent = [0]

        def endless(exchange):
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
            while True:
                exchange.send(content(1 << 16, sent[0]))
                sent[0] += 1 << 16
        engine = self.before_this(endless)
        before, client = engine.rss_kib(), engine.connect()
        client.send_request(headers=["Accept-Encoding: gzip"])
        client.head()
        last = -1
        while last != sent[0]:
            last = sent[0]
            time.sleep(1)
        self.assertLess(engine.rss_kib() - before, 60 << 10)
        client.reset()
        wait_for("the exchange's end", lambda: engine.counter("in_flight") == 0)

    def test_an_origin_that_fails_in_the_middle_cuts_the_client(self):
        half = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n6000\r\n" + TEXT[:0x6000] + b"\r\n"
        short = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 99999\r\n\r\n" + TEXT[:0x6000]
        for name, script in (("reset", lambda e: (e.send(half), time.sleep(0.2), e.reset())[2]), ("closed", lambda e: bool(e.send(half))),
                             ("short", lambda e: bool(e.send(short))), ("nonsense", lambda e: e.send(half + b"zz\r\n"))):
            for coding in DECODERS:
                with self.subTest(f"{name} {coding}"):
                    engine = self.before_this(script)
                    with engine.connect() as client:
                        client.send_request(headers=[f"Accept-Encoding: {coding}"])
                        try:
                            self.assertFalse(client.response().complete)
                        except OSError:
                            pass

    def test_many_at_once_and_a_reload_meanwhile(self):
        engine = self.before_this(answer(TEXT * 5, framing="chunked"))
        bad = []

        def ask(i):
            coding = list(DECODERS)[i % len(DECODERS)]
            response = engine.get(headers=[f"Accept-Encoding: {coding}"])
            if response.field("Content-Encoding") and DECODERS[coding](response.body) != TEXT * 5:
                bad.append(coding)
        threads = [threading.Thread(target=ask, args=(i,)) for i in range(200)]
        for thread in threads:
            thread.start()
        engine.command("reload")
        for thread in threads:
            thread.join()
        self.assertEqual(bad, [])
        self.assertEqual(engine.counter("compressed") + engine.counter("coders_refused"), 200)


class CompressTls(TlsScene):
    def test_by_tls(self):
        body = content(3 << 20)
        origin = self.origin(answer(body, framing="chunked"))
        engine = self.secure(listening() + config(origin))
        with TlsClient(engine.port) as client:
            for coding in list(DECODERS) * 2:
                response = client.ask(headers=[f"Accept-Encoding: {coding}"])
                self.assertEqual(DECODERS[response.field("Content-Encoding")](response.body) == body, True)
