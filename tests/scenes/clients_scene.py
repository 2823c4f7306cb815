"""Real clients get correct answers through it, before a real nginx."""
import hashlib
import http.client
import os
import subprocess
import tempfile
import unittest

from stage import Scene, answers, free_port, wait_for

NGINX = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events { worker_connections 1024; }
http {
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  types { text/html html; text/plain txt; }
  server {
    listen 127.0.0.1:{port};
    root {folder}/www;
    client_max_body_size 100m;
    location = /echo { return 200 "$request_method $content_length $http_x_forwarded_for\\n"; }
    location = /chunked { gzip on; gzip_types text/plain; gzip_min_length 1; gzip_comp_level 1; alias {folder}/www/big.txt; }
    location /upload/ { dav_methods PUT; create_full_put_path on; }
  }
}
"""


class Clients(Scene):
    def setUp(self):
        nginx = self.need("nginx")
        self.folder = tempfile.mkdtemp(prefix="weir-nginx-")
        port = free_port()
        os.makedirs(os.path.join(self.folder, "www"))
        os.chmod(self.folder, 0o755)
        self.page = b"<!doctype html><title>t</title><p id=x>through weir</p><script>document.title='ran'</script>"
        self.big = os.urandom(50000).hex().encode()
        for name, data in (("index.html", self.page), ("big.txt", self.big), ("small.txt", b"small\n")):
            with open(os.path.join(self.folder, "www", name), "wb") as f:
                f.write(data)
        path = os.path.join(self.folder, "nginx.conf")
        with open(path, "w") as f:
            f.write(NGINX.replace("{folder}", self.folder).replace("{port}", str(port)))
        self.nginx = subprocess.Popen([nginx, "-c", path, "-e", os.path.join(self.folder, "error.log")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(self.end_nginx)
        wait_for("nginx", lambda: answers(port))
        self.engine = self.weir(f"workers: 2\npin: false\nroutes: [ {{ pool: app }} ]\npools: {{ app: {{ servers: [ 127.0.0.1:{port} ] }} }}\n")
        self.url = f"http://127.0.0.1:{self.engine.port}"

    def end_nginx(self):
        self.nginx.terminate()
        self.nginx.wait(10)

    def run_tool(self, *words, data=None, timeout=60, **more):
        done = subprocess.run([self.need(words[0]), *words[1:]], input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout, **more)
        self.assertEqual(done.returncode, 0, (words, done.stderr[-2000:]))
        return done.stdout

    def test_curl(self):
        self.assertEqual(self.run_tool("curl", "-s", self.url + "/small.txt"), b"small\n")
        self.assertEqual(self.run_tool("curl", "-s", "--http1.0", self.url + "/big.txt"), self.big)
        self.assertIn(b"200 OK", self.run_tool("curl", "-sI", self.url + "/big.txt"))
        self.assertEqual(self.run_tool("curl", "-s", "-r", "10-19", self.url + "/big.txt"), self.big[10:20])
        self.assertEqual(self.run_tool("curl", "-s", "--compressed", self.url + "/chunked"), self.big)
        self.assertTrue(self.run_tool("curl", "-s", "-d", "abcde", self.url + "/echo").startswith(b"POST 5 127.0.0.1"))

    def test_curl_uses_one_connection_for_several_requests(self):
        self.run_tool("curl", "-s", *[self.url + "/small.txt"] * 10)
        self.assertEqual(self.engine.counter("requests"), 10)
        self.assertLess(self.engine.counter("accepted"), 6)  # one of curl's, and those that asked whether we listen

    def test_curl_uploads_with_expect_and_in_chunks(self):
        path = os.path.join(self.folder, "up")
        data = os.urandom(3_000_000)
        with open(path, "wb") as f:
            f.write(data)
        os.makedirs(os.path.join(self.folder, "www", "upload"), mode=0o777)
        os.chmod(os.path.join(self.folder, "www", "upload"), 0o777)
        for name, more in (("a", ["-H", "Expect: 100-continue"]), ("b", ["-H", "Transfer-Encoding: chunked"])):
            self.run_tool("curl", "-sf", "-T", path, *more, f"{self.url}/upload/{name}")
            with open(os.path.join(self.folder, "www", "upload", name), "rb") as f:
                self.assertEqual(hashlib.sha256(f.read()).digest(), hashlib.sha256(data).digest())

    def test_many_transfers_of_libcurl_at_once(self):
        out = self.run_tool("curl", "-s", "--parallel", "--parallel-max", "20", *[self.url + "/small.txt"] * 100)
        self.assertEqual(out, b"small\n" * 100)

    def test_wrk(self):
        out = self.run_tool("wrk", "-t1", "-c32", "-d1s", self.url + "/small.txt").decode()
        self.assertNotIn("Socket errors", out)
        self.assertNotIn("Non-2xx", out)

    def test_h2load_speaking_http_1(self):
        out = self.run_tool("h2load", "--h1", "-n", "500", "-c", "10", self.url + "/small.txt").decode()
        self.assertIn("500 succeeded, 0 failed, 0 errored", out)

    def test_nodes_fetch(self):
        script = ("const u=process.argv[1];const a=await Promise.all([...Array(20)].map(()=>fetch(u+'/big.txt').then(r=>r.text())));"
                  "const p=await (await fetch(u+'/echo',{method:'POST',body:'x'.repeat(1000)})).text();"
                  "console.log(a.every(t=>t===a[0]),a[0].length,p.startsWith('POST 1000'))")
        out = self.run_tool("node", "--input-type=module", "-e", script, self.url)
        self.assertEqual(out.split(), [b"true", str(len(self.big)).encode(), b"true"])

    def test_pythons_http_client(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.engine.port, timeout=20)
        for _ in range(5):
            connection.request("GET", "/big.txt")
            self.assertEqual(connection.getresponse().read(), self.big)
        connection.request("POST", "/echo", body=iter([b"a", b"bc"]), encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
        self.assertEqual(connection.getresponse().status, 200)
        connection.close()

    def test_a_browser(self):
        with tempfile.TemporaryDirectory(prefix="weir-browser-") as profile:
            out = self.run_tool("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                                "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
                                f"--user-data-dir={profile}", "--dump-dom", self.url + "/index.html", timeout=120)
        self.assertIn(b"through weir", out)
        self.assertIn(b"<title>ran</title>", out)


if __name__ == "__main__":
    unittest.main()
