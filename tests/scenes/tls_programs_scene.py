"""What programs say of the engine's TLS: curl, a browser, node, h2load, and testssl.sh, which looks for what is weak."""
import hashlib
import json
import os
import subprocess
import tempfile
import unittest

from props import PLAIN, Nginx, content, digest, digest_saying_continue, run
from tls_certificates import NAME, certificates
from tls_props import TlsScene, before, listening


class Programs(TlsScene):
    @classmethod
    def setUpClass(cls):
        cls.nginx = Nginx(cls().need("nginx"))
        cls.addClassCleanup(cls.nginx.stop)

    def setUp(self):
        uploads = self.origin(digest_saying_continue)
        self.engine = self.secure(listening("hsts: 365d", [certificates().site, certificates().site_rsa], more="- { address: 127.0.0.1:{plain}, redirect-to-https: off }")
                                  + f"routes:\n  - match: {{ path: /up/* }}\n    pool: up\n  - pool: files\npools:\n  files: {{ servers: [ {self.nginx.address} ] }}\n"
                                  f"  up: {{ servers: [ {uploads.address} ] }}\n")
        self.url = f"https://127.0.0.1:{self.engine.port}"

    def curl(self, *words, code=0):
        found, out, errors = run(self.need("curl"), "-sS", "--noproxy", "*", "--max-time", "30", "--cacert", certificates().ca.path, *words)
        self.assertEqual(found, code, errors.decode())
        return out if code == 0 else errors

    def test_curl_verifies_and_gets(self):
        self.assertEqual(self.curl(self.url + "/big", self.url + "/page", self.url + "/chunked"), content(100000) + content(1024) + content(100000))
        self.assertEqual(self.curl("--resolve", f"{NAME}:{self.engine.port}:127.0.0.1", f"https://{NAME}:{self.engine.port}/page"), content(1024))
        for version in ("1.2", "1.3"):
            self.assertEqual(self.curl("--tlsv" + version, "--tls-max", version, "--http1.0", self.url + "/page"), content(1024))
        self.curl("--resolve", f"elsewhere.test:{self.engine.port}:127.0.0.1", f"https://elsewhere.test:{self.engine.port}/page", code=60)

    def test_curl_uploads(self):
        data = os.urandom(5 * 1024 * 1024)
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            for words in ((), ("-H", "Transfer-Encoding: chunked")):
                self.assertEqual(json.loads(self.curl("-T", file.name, *words, self.url + "/up/x"))["sha256"], hashlib.sha256(data).hexdigest())

    def test_curl_on_the_wrong_port_says_so(self):
        self.assertRegex(self.curl(f"https://127.0.0.1:{self.engine.plain}/", code=35).decode(), "(?i)ssl|tls|alert|version")
        self.assertEqual(self.curl("-o", "/dev/null", "-w", "%{http_code}", f"http://127.0.0.1:{self.engine.port}/"), b"400")

    def test_curl_follows_to_https_with_hsts(self):
        engine = self.secure(listening("hsts: 1d", more="- { address: 127.0.0.1:{plain}, redirect-to-https: on }") + before(self.nginx))
        out = self.curl("-L", "-D", "-", "--connect-to", f"{NAME}:443:127.0.0.1:{engine.port}", "--resolve", f"{NAME}:{engine.plain}:127.0.0.1", f"http://{NAME}:{engine.plain}/page")
        self.assertIn(b" 308 ", out)
        self.assertTrue(out.endswith(content(1024)))
        self.assertRegex(out, b"(?i)strict-transport-security: max-age=86400")

    def test_h2load_makes_many_handshakes(self):
        for words in (("-n", "200", "-c", "40"), ("-n", "1000", "-c", "4", "-m", "8")):
            code, out, _ = run(self.need("h2load"), "--h1", "-t", "1", *words, self.url + "/page")
            self.assertIn(f"{words[1]} succeeded, 0 failed", out.decode())

    def test_node_fetches_over_kept_connections(self):
        script = """
            const https = require('https'), fs = require('fs');
            const agent = new https.Agent({ keepAlive: true, maxSockets: 4, ca: fs.readFileSync(process.argv[2]) });
            const get = (path, method, body) => new Promise((resolve, reject) => {
                const request = https.request(process.argv[1] + path, { agent, method }, (r) => { let n = 0; r.on('data', (d) => n += d.length);
                    r.on('end', () => resolve([r.statusCode, n, port])); const port = r.socket.localPort; });
                request.on('error', reject); request.end(body); });
            (async () => { const all = await Promise.all(Array.from({ length: 40 }, () => get('/page', 'GET')));
                all.push(await get('/up/x', 'POST', 'y'.repeat(300000))); console.log(JSON.stringify(all)); agent.destroy(); })();"""
        code, out, errors = run(self.need("node"), "-e", script, self.url, certificates().ca.path)
        self.assertEqual(code, 0, errors.decode())
        told = json.loads(out)
        self.assertEqual([t[:2] for t in told[:40]], [[200, 1024]] * 40)
        self.assertEqual(told[40][0], 200)
        self.assertLessEqual(len({t[2] for t in told}), 4)

    def test_an_nginx_with_tls_is_an_origin(self):
        nginx = SecureNginx(self.need("nginx"))
        self.addCleanup(nginx.stop)
        engine = self.secure(listening() + before(nginx, pool=f"    tls: {{ ca: {certificates().ca.path}, server-name: origin.test }}"))
        url = f"https://127.0.0.1:{engine.port}"
        self.assertEqual(self.curl(url + "/big", url + "/chunked", url + "/page"), content(100000) * 2 + content(1024))
        code, out, _ = run(self.need("h2load"), "--h1", "-t", "1", "-n", "500", "-c", "10", url + "/page")
        self.assertIn("500 succeeded, 0 failed", out.decode())


class SecureNginx(Nginx):
    CONFIG = Nginx.CONFIG.replace("backlog=16384;", "backlog=16384 ssl; ssl_certificate CHAIN; ssl_certificate_key KEY; ssl_protocols TLSv1.2 TLSv1.3; "
                                  "ssl_session_cache shared:s:1m;")

    def __init__(self, program):
        own = certificates().origin
        self.CONFIG = self.CONFIG.replace("CHAIN", own.chain).replace("KEY", own.key)
        super().__init__(program)


class Browser(TlsScene):
    PAGE = (b"<!doctype html><title>scene</title><link rel=stylesheet href=/s.css><img src=/i.svg id=i><p id=p>before</p>"
            b"<script>fetch('/json', { method: 'POST', body: 'x'.repeat(5000) }).then(r => r.json()).then(j => {"
            b"document.getElementById('p').textContent = 'fetched ' + j.length + (isSecureContext ? ' securely' : ''); })</script>")

    def test_a_browser_shows_the_page(self):
        def script(exchange):
            if exchange.path == "/json":
                return digest(exchange)
            kind, text = {"/": (b"text/html", self.PAGE), "/s.css": (b"text/css", b"p { color: red }"),
                          "/i.svg": (b"image/svg+xml", b"<svg xmlns='http://www.w3.org/2000/svg' width='3' height='3'/>")}.get(exchange.path, (b"text/plain", b"?"))
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n" % (kind, len(text)) + text)
        engine = self.secure_before(self.origin(script))
        with tempfile.TemporaryDirectory(prefix="weir-browser-", ignore_cleanup_errors=True) as profile:
            command = [self.need("chromium"), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
                       "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--no-proxy-server", "--virtual-time-budget=8000", "--ignore-certificate-errors",
                       "--user-data-dir=" + profile, "--dump-dom", f"https://127.0.0.1:{engine.port}/"]
            code, out, errors = run(*command, seconds=120, env=dict(os.environ, HOME=profile))
        self.assertEqual(code, 0, errors.decode()[-1000:])
        self.assertIn("fetched 5000 securely", out.decode())


class Testssl(TlsScene):
    """testssl.sh in short form. It writes what it found as JSON: an id, a severity and the finding."""

    NOT_OURS = ("engine_problem", "cert_revocation")  # an openssl without GOST; the scene's authority offers no lists of revoked ones
    # What to look for, and as what it is reported. Left out: CCS and BREACH, which take long and are about one library, and about compression.
    VULNERABILITIES = {"--heartbleed": ("heartbleed",), "--ticketbleed": ("ticketbleed",), "--robot": ("ROBOT",), "--renegotiation": ("secure_renego", "secure_client_renego"),
                       "--crime": ("CRIME_TLS",), "--poodle": ("POODLE_SSL",), "--tls-fallback": ("fallback_SCSV",), "--sweet32": ("SWEET32",), "--beast": ("BEAST",),
                       "--lucky13": ("LUCKY13",), "--freak": ("FREAK",), "--logjam": ("LOGJAM",), "--drown": ("DROWN",), "--rc4": ("RC4",)}

    def start(self, folder, *words):
        return subprocess.Popen([self.need("testssl"), "--quiet", "--color", "0", "--warnings", "off", "--nodns", "none", "--ip", "127.0.0.1", "--connect-timeout", "5",
                                 "--openssl-timeout", "5", "--add-ca", certificates().ca.path, "--jsonfile", os.path.join(folder, words[0] + ".json"), *words,
                                 f"https://{NAME}:{self.engine.port}/"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                env=dict(PLAIN, TERM="dumb", TMPDIR=folder))

    def findings(self, *all_words):
        """What runs with these words found, side by side: id -> (severity, finding), and all they said."""
        found, said = {}, ""
        with tempfile.TemporaryDirectory(prefix="weir-testssl-", ignore_cleanup_errors=True) as folder:
            running = [(words, self.start(folder, *words)) for words in all_words]
            for words, process in running:
                try:
                    said += process.communicate(timeout=90)[0].decode(errors="replace")
                finally:
                    process.kill()
                    process.wait()
                with open(os.path.join(folder, words[0] + ".json")) as file:
                    found.update((row["id"], (row["severity"], row["finding"])) for row in json.load(file))
        return found, said

    def test_testssl_finds_nothing_weak(self):
        self.engine = self.secure_before(self.origin(), tls="hsts: 365d", served=[certificates().site, certificates().site_rsa])
        found, said = self.findings(("--protocols", "--fs", *self.VULNERABILITIES), ("--server-defaults", "--server-preference"))
        for version, offered in (("SSLv2", False), ("SSLv3", False), ("TLS1", False), ("TLS1_1", False), ("TLS1_2", True), ("TLS1_3", True)):
            self.assertRegex(found[version][1], "^offered" if offered else "^not offered", said)
        self.assertRegex(str(found.get("PFS") or found.get("FS")), "'OK', 'offered", said)
        self.assertIn("http/1.1", found["ALPN"][1])
        looked_for = [name for names in self.VULNERABILITIES.values() for name in names]
        self.assertEqual({name: found.get(name) for name in looked_for if found.get(name, ("missing", ""))[0] != "OK"}, {}, said)
        weak = {name: row for name, row in found.items() if row[0] in ("MEDIUM", "HIGH", "CRITICAL", "FATAL") and not name.startswith(self.NOT_OURS)}
        self.assertEqual(weak, {}, said)


if __name__ == "__main__":
    unittest.main()
