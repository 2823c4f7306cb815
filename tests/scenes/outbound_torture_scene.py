"""Every fallible call of the forward proxy fails once: names, destinations, places, tunnels, passwords. torture_scene.py says how it goes."""
import base64
import tempfile
import unittest

import torture_scene
from dns import DnsServer
from props import content
from torture_scene import Trouble

CONFIG = """
workers: 2
pin: false
listeners:
  - { address: 127.0.0.1:{port}, serve: forward-proxy }
  - { address: 127.0.0.1:{admin}, serve: admin }
forward-proxy:
  users: {users}
  private: [ 127.0.0.0/8 ]
  connect-ports: "*"
  cache: {}
dns: { servers: [ DNS ], timeout: 500ms, tries: 2, ttl-min: 1s }
log: { access: {folder}/access.log }
"""
ONCE = (429, 502, 503, 504)  # 429: no memory for the count of what a user has
SECRET = "Proxy-Authorization: Basic " + base64.b64encode(b"joe:secret").decode()
HASH = "joe:$6$rounds=5000$weirweir$oeTJ7xgeEk45QaI52wQwtEr2kdYr45aEt9jjPRaLyHTZLdF1VNBHpLbePwek4JNl2WJHlsfjJeHRF1SB9dcVi/\n"


def answer(exchange):
    if exchange.body() is None:
        return False
    body = content(int(exchange.path.split("/")[-1]))
    exchange.send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    return None


class OutboundStory(torture_scene.Story):
    """A request is a target and how many bytes come back; with CONNECT the request goes through the tunnel."""

    def go_on(self):
        port = self.port
        for _ in range(2):
            for host in ("127.0.0.1", "named.test", "aliased.test"):
                self.twice(("GET", f"http://{host}:{port}/3000", 3000))
                self.twice(("POST", f"http://{host}:{port}/200000", 200000))
                self.twice(("CONNECT", f"{host}:{port}", 5000))
            self.refused()
            self.over_one_connection(self.weir.connect, [("GET", f"http://named.test:{port}/{n}", n) for n in (1, 2, 3)])
            self.commands()
        self.metrics()

    def ask(self, request, client):
        method, target, length = request
        host = target.split("//")[-1].split("/")[0]
        client.send(f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n{SECRET}\r\n{'' if method != 'POST' else 'Content-Length: 0' + chr(13) + chr(10)}\r\n".encode())
        if method == "CONNECT":
            status, fields = client.head()
            if status != 200:
                return str(status) if status in ONCE else self.trouble(target, status)
            client.send(f"GET /{length} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        response = client.response()
        if response.status == 200 and response.complete and response.body == content(length):
            return None
        if response.status in ONCE:
            return str(response.status)
        return "cut" if not response.complete else self.trouble(target, response.status)

    def trouble(self, target, status):
        raise Trouble(f"{target}: {status}")

    def refused(self):
        """Whatever fails, what is forbidden does not pass."""
        for target, credentials in (("http://169.254.169.254/", SECRET), ("http://inside.test/", SECRET), (f"http://127.0.0.1:{self.port}/1", "X-None: 1")):
            try:
                with self.weir.connect() as client:
                    client.send(f"GET {target} HTTP/1.1\r\nHost: {target.split('/')[2]}\r\n{credentials}\r\n\r\n".encode())
                    status = client.head()[0]
                    if status not in (403, 407) + ONCE:
                        self.trouble(target, status)
            except (OSError, EOFError):
                pass

    def commands(self):
        self.weir.write(self.config + "via: other\n")
        for words in (["status"], ["reload"], ["cache", "status"], ["config", "show"]):
            codes = [self.weir.command(*words)[0]]
            if codes[0] not in (0, 1, 3, 4, 75):
                raise Trouble(f"{words}: exit code {codes[0]}")
            if codes[0] and self.weir.command(*words)[0]:
                raise Trouble(f"{words} failed twice")


class OutboundTorture(torture_scene.Torture):
    seconds = 25

    def setUp(self):
        if not torture_scene.has_fault_points():
            self.skipTest("this binary has no fault points (make asan)")
        dns, origin = DnsServer(), self.origin(answer)
        self.addCleanup(dns.stop)
        dns.set("named.test", "127.0.0.1")
        dns.alias("aliased.test", "named.test")
        dns.set("inside.test", "10.0.0.1")
        users = tempfile.NamedTemporaryFile("w", suffix=".users")
        self.addCleanup(users.close)
        users.write(HASH)
        users.flush()
        self.config = CONFIG.replace("DNS", f'"{dns.address}"').replace("{users}", users.name)
        self.kind = OutboundStory
        OutboundStory.port = origin.port


if __name__ == "__main__":
    unittest.main()
