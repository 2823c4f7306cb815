"""What programs do beyond a plain request: old versions, conditions, streams, early hints, pages with many parts."""
import ctypes
import ctypes.util
import hashlib
import http.client
import json
import os
import re
import tempfile
import unittest

from props import Nginx, content, digest, digest_saying_continue, run
from stage import Scene


class Programs(Scene):
    """Before a real nginx, which answers files, ranges and conditions as the web does, and a scripted origin that digests uploads."""

    @classmethod
    def setUpClass(cls):
        cls.nginx = Nginx(cls().need("nginx"))
        cls.addClassCleanup(cls.nginx.stop)

    def setUp(self):
        self.uploads = self.origin(digest_saying_continue)
        self.engine = self.weir("routes:\n  - match: { path: /up/* }\n    pool: up\n  - pool: files\n"
                                f"pools:\n  files: {{ servers: [ {self.nginx.address} ] }}\n  up: {{ servers: [ {self.uploads.address} ] }}\n")
        self.url = f"http://127.0.0.1:{self.engine.port}"

    def curl(self, *words, seconds=60):
        code, out, errors = run(self.need("curl"), "-sS", "--noproxy", "*", "--max-time", str(seconds), *words, seconds=seconds + 10)
        self.assertEqual(code, 0, errors.decode())
        return out

    def uploaded(self, answer, data, method="POST"):
        told = json.loads(answer)
        self.assertEqual((told["length"], told["sha256"], told["method"]), (len(data), hashlib.sha256(data).hexdigest(), method))
        return told


class Curl(Programs):
    def test_curl_speaks_http_1_0(self):
        self.assertEqual(self.curl("--http1.0", self.url + "/big"), content(100000))
        self.assertEqual(self.curl("--http1.0", self.url + "/page", self.url + "/page"), content(1024) * 2)

    def test_curl_speaks_http_1_0_to_a_chunked_answer(self):
        self.assertEqual(self.curl("--http1.0", self.url + "/chunked"), content(100000))

    def test_ranges_pass(self):
        self.assertEqual(self.curl("-r", "26-51", self.url + "/big"), content(26))
        self.assertEqual(self.curl("-r", "-5", self.url + "/big"), content(5, 99995 % 26))
        head = self.curl("-o", "/dev/null", "-D", "-", "-r", "0-9,20-29", self.url + "/big").decode()
        self.assertRegex(head, r"(?s)206 Partial Content.*multipart/byteranges")
        self.assertIn(" 416 ", self.curl("-o", "/dev/null", "-D", "-", "-r", "200000-", self.url + "/big").decode())

    def test_conditions_pass(self):
        head = self.curl("-I", self.url + "/page").decode()
        tag = re.search(r"ETag: (\S+)", head).group(1)
        self.assertEqual(self.curl("-o", "/dev/null", "-w", "%{http_code}", "-H", f"If-None-Match: {tag}", self.url + "/page"), b"304")

    def test_a_post_with_expect_is_told_to_continue(self):
        data = content(3 * 1024 * 1024)
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            answer = self.curl("--data-binary", "@" + file.name, "-H", "Expect: 100-continue", "--expect100-timeout", "20", self.url + "/up/x")
        self.assertEqual(self.uploaded(answer, data)["expect"], ["100-continue"])

    def test_a_small_post_passes(self):
        self.uploaded(self.curl("-d", "a=b", self.url + "/up/x"), b"a=b")

    def test_a_large_upload_passes(self):
        data = os.urandom(20 * 1024 * 1024)
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            self.uploaded(self.curl("-T", file.name, self.url + "/up/x"), data, "PUT")

    def test_an_upload_in_chunks_passes(self):
        data = os.urandom(5 * 1024 * 1024)
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            told = self.uploaded(self.curl("-T", file.name, "-H", "Transfer-Encoding: chunked", self.url + "/up/x"), data, "PUT")
        self.assertTrue(told["chunked"])

    def test_an_upload_from_http_1_0_passes(self):
        self.uploaded(self.curl("--http1.0", "--data-binary", "x" * 10000, self.url + "/up/x"), b"x" * 10000)

    def test_ipv6_and_unix_listeners_serve_curl(self):
        path = os.path.join(self.engine.folder, "front.sock")
        engine = self.weir("listeners:\n  - address: 127.0.0.1:{port}\n  - { address: \"[::1]:{admin}\" }\n  - { address: \"unix:" + path + "\" }\n"
                           f"routes: [ {{ pool: files }} ]\npools: {{ files: {{ servers: [ {self.nginx.address} ] }} }}\n")
        self.assertEqual(self.curl("-g", f"http://[::1]:{engine.admin}/page"), content(1024))
        self.assertEqual(self.curl("--unix-socket", path, "http://local/page"), content(1024))


class Libcurl(Programs):
    def test_libcurl_gets_pages_over_one_handle(self):
        """The library itself, by ctypes: a handle that is used again keeps its connection."""
        name = ctypes.util.find_library("curl")
        if not name:
            self.skipTest("libcurl is not there")
        curl = ctypes.CDLL(name)
        curl.curl_easy_init.restype = ctypes.c_void_p
        received = []

        @ctypes.CFUNCTYPE(ctypes.c_size_t, ctypes.POINTER(ctypes.c_char), ctypes.c_size_t, ctypes.c_size_t, ctypes.c_void_p)
        def write(data, size, count, _):
            received.append(data[:size * count])
            return size * count

        url, no_proxy, write_function, number_of_connects = 10002, 10177, 20011, 0x200000 + 26
        handle = ctypes.c_void_p(curl.curl_easy_init())
        connects = []
        for path in ("/page", "/big", "/small"):
            received.clear()
            curl.curl_easy_setopt(handle, ctypes.c_int(no_proxy), ctypes.c_char_p(b"*"))
            curl.curl_easy_setopt(handle, ctypes.c_int(url), ctypes.c_char_p((self.url + path).encode()))
            curl.curl_easy_setopt(handle, ctypes.c_int(write_function), write)
            self.assertEqual(curl.curl_easy_perform(handle), 0)
            length = {"/page": 1024, "/big": 100000, "/small": 26}[path]
            self.assertEqual(b"".join(received), content(length))
            opened = ctypes.c_long()
            curl.curl_easy_getinfo(handle, ctypes.c_int(number_of_connects), ctypes.byref(opened))
            connects.append(opened.value)
        curl.curl_easy_cleanup(handle)
        self.assertEqual(connects, [1, 0, 0])


class LoadTools(Programs):
    def test_h2load_pipelines_nothing_wrong(self):
        code, out, _ = run(self.need("h2load"), "--h1", "-n", "1000", "-c", "5", "-m", "8", "-t", "1", self.url + "/big")
        self.assertIn("1000 succeeded, 0 failed", out.decode())


class Languages(Programs):
    def test_node_fetches_and_posts(self):
        script = """
            const get = async (path, more) => { const r = await fetch(process.argv[1] + path, more); return [r.status, await r.text()]; };
            (async () => {
                const all = await Promise.all(Array.from({ length: 20 }, (_, i) => get('/page?' + i)));
                const head = await fetch(process.argv[1] + '/big', { method: 'HEAD' });
                const posted = await get('/up/x', { method: 'POST', body: 'y'.repeat(300000) });
                const chunks = new ReadableStream({ start(c) { for (let i = 0; i < 50; i++) c.enqueue(new TextEncoder().encode('z'.repeat(1000))); c.close(); } });
                const streamed = await get('/up/y', { method: 'PUT', body: chunks, duplex: 'half' });
                const missing = await get('/nothing');
                console.log(JSON.stringify({ all, length: head.headers.get('content-length'), posted, streamed, missing: missing[0] }));
            })();"""
        code, out, errors = run(self.need("node"), "-e", script, self.url)
        self.assertEqual(code, 0, errors.decode())
        told = json.loads(out)
        self.assertEqual(told["all"], [[200, content(1024).decode()]] * 20)
        self.assertEqual((told["length"], told["missing"]), ("100000", 404))
        self.uploaded(told["posted"][1], b"y" * 300000)
        self.assertTrue(self.uploaded(told["streamed"][1], b"z" * 50000, "PUT")["chunked"])

    def test_node_gets_early_hints_and_trailers(self):
        def script(exchange):
            exchange.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
                          b"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 6\r\n\r\n")
        engine = self.before(self.origin(script))
        program = """
            const http = require('http'); let early = null;
            const request = http.get({ host: '127.0.0.1', port: process.argv[1], headers: { TE: 'trailers', Connection: 'TE, close' } }, (response) => {
                let text = ''; response.on('data', (d) => text += d);
                response.on('end', () => console.log(JSON.stringify({ early, text, trailers: response.trailers })));
            });
            request.on('information', (info) => { early = [info.statusCode, info.headers.link]; });"""
        code, out, errors = run(self.need("node"), "-e", program, str(engine.port))
        self.assertEqual(code, 0, errors.decode())
        self.assertEqual(json.loads(out), {"early": [103, "</a.css>; rel=preload"], "text": "abc", "trailers": {"x-sum": "6"}})

    def test_python_reuses_its_connection(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.engine.port, timeout=20)
        for path, length in (("/page", 1024), ("/big", 100000), ("/chunked", 100000), ("/small", 26)):
            connection.request("GET", path)
            response = connection.getresponse()
            self.assertEqual((response.status, response.read()), (200, content(length)))
        own = connection.sock
        connection.request("POST", "/up/x", body=b"q" * 70000)
        self.uploaded(connection.getresponse().read(), b"q" * 70000)
        connection.request("PUT", "/up/x", body=iter([b"r" * 1000] * 9), encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
        self.uploaded(connection.getresponse().read(), b"r" * 9000, "PUT")
        self.assertIs(connection.sock, own)
        connection.close()



class Browser(Scene):
    PAGE = (b"<!doctype html><title>scene</title><link rel=stylesheet href=/s.css><img src=/i.svg id=i><p id=p>before</p>"
            b"<script src=/a.js></script><script>fetch('/json', { method: 'POST', body: 'x'.repeat(5000) }).then(r => r.json()).then(j => {"
            b"document.getElementById('p').textContent = 'fetched ' + j.length; document.title = 'done'; })</script>")

    def test_a_browser_shows_the_page_with_all_its_parts(self):
        def script(exchange):
            if exchange.path == "/json":
                return digest(exchange)
            kind, text = {"/": (b"text/html", self.PAGE), "/s.css": (b"text/css", b"p { color: red }"), "/a.js": (b"text/javascript", b"window.loaded = 1; document.body.dataset.js = 'ran'"),
                          "/i.svg": (b"image/svg+xml", b"<svg xmlns='http://www.w3.org/2000/svg' width='3' height='3'/>")}.get(exchange.path, (b"text/plain", b"?"))
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n" % (kind, len(text)) + text)
        origin = self.origin(script)
        engine = self.before(origin)
        with tempfile.TemporaryDirectory(prefix="weir-browser-", ignore_cleanup_errors=True) as profile:
            command = [self.need("chromium"), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
                       "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--no-proxy-server", "--virtual-time-budget=8000",
                       "--user-data-dir=" + profile, "--dump-dom", f"http://127.0.0.1:{engine.port}/"]
            code, out, errors = run(*command, seconds=120, env=dict(os.environ, HOME=profile))
        page = out.decode()
        self.assertEqual(code, 0, errors.decode()[-1000:])
        self.assertIn("fetched 5000", page)
        self.assertIn('data-js="ran"', page)
        paths = [head.split(b" ")[1] for head in origin.requests]
        for path in (b"/", b"/s.css", b"/a.js", b"/i.svg", b"/json"):
            self.assertIn(path, paths)


if __name__ == "__main__":
    unittest.main()
