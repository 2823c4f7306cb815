"""What scenes of the forward proxy are played with: an engine that is one, curl, users, a name server, sites that may and sites that must not be reached, squid.

Everything is on this machine. 127.0.0.2 and what lies beside it is opened by `private` and stands for the world outside; 127.0.0.1, ::1 and all else is
inside. A Trap listens there, and sees whoever gets through.
"""
import base64
import functools
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile

from dns import DnsServer
from props import PLAIN, run
from stage import SLOW, Client, Listening, Scene, answers, free_port, wait_for
from tls_certificates import certificates
from tls_props import TlsOrigin

OUTSIDE = "127.0.0.2"
WORLD = "127.0.0.2/31"  # .2 and .3
USERS = {"joe": "open sesame", "Ann": "a:b", "J\u00f6rg": "p\u00e4ss"}


@functools.lru_cache
def hash_of(password):
    code, out, err = run("openssl", "passwd", "-6", password)
    assert code == 0, err
    return out.decode().strip()


def users_file(path, users=None):
    with open(path, "w") as file:
        file.write("# who may go out\n" + "".join(f"{name}:{hash_of(password)}\n" for name, password in (users or USERS).items()))
    os.chmod(path, 0o644)
    return path


class Trap(Listening):
    """Listens where nobody may come; `accepted` counts who does. On a port of its own, or one that is given."""

    def serve(self, connection):
        try:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nsecret")
        except OSError:
            pass
        connection.close()


class Echo(Listening):
    """A TCP server that sends back what comes; `first` right away, `last` when the client has half-closed."""

    def __init__(self, host=OUTSIDE, first=b"", last=b""):
        self.first, self.last, self.received = first, last, []
        super().__init__(host, backlog=2048)

    def serve(self, connection):
        record = bytearray()
        self.received.append(record)
        try:
            connection.sendall(self.first)
            while (data := connection.recv(65536)):
                record += data
                connection.sendall(data)
            connection.sendall(self.last)
            connection.close()
        except OSError:
            connection.close()


class Answer:
    """What curl got: status of the request, status of CONNECT (0: none), fields of the last head by their small names, body."""

    def __init__(self, code, out, err, head, body):
        self.code, self.errors, self.body = code, err.decode(errors="replace"), body
        self.status, self.connect = (int(word) for word in out.split()[:2]) if code is not None and out.split()[1:] else (0, 0)
        heads = [part for part in re.split(r"\r\n\r\n", head.decode("latin-1")) if part]
        self.heads = heads
        lines = heads[-1].split("\r\n")[1:] if heads else []
        self.fields = {line.split(":", 1)[0].lower(): line.split(":", 1)[1].strip() for line in lines if ":" in line}

    @property
    def said(self):
        """The status that the proxy gave: of CONNECT, where that was refused."""
        return self.connect if self.connect >= 300 else self.status


def curl(port, url, *words, user=None, scheme="http", seconds=SLOW * 3):
    folder = tempfile.mkdtemp(prefix="weir-curl-")
    try:
        head, body = os.path.join(folder, "head"), os.path.join(folder, "body")
        open(head, "wb").close()
        open(body, "wb").close()
        command = ["curl", "-sS", "--noproxy", "", "--max-time", str(seconds), "-x", f"{scheme}://127.0.0.1:{port}", "-D", head, "-o", body,
                   "-w", "%{http_code} %{http_connect}\n"]
        if user:
            command += ["--proxy-user", user]
        code, out, err = run(*command, *words, url, seconds=seconds + SLOW)
        with open(head, "rb") as h, open(body, "rb") as b:
            return Answer(code, out, err, h.read(), b.read())
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class ForwardScene(Scene):
    def setUp(self):
        self.need("curl")

    def dns(self):
        dns = DnsServer()
        self.addCleanup(dns.stop)
        return dns

    def kept(self, thing):
        self.addCleanup(thing.stop)
        return thing

    def proxy(self, more="", dns=None, users=None, private=f"[ {WORLD} ]", ports='[ "*" ]', top="", listener="", **options):
        """An engine that is a forward proxy. private None: nothing is opened."""
        lines = [f"  connect-ports: {ports}"]
        if private:
            lines.append(f"  private: {private}")
        if users:
            self.users_folder = tempfile.mkdtemp(prefix="weir-users-")
            self.addCleanup(shutil.rmtree, self.users_folder, True)
            self.users_path = users_file(os.path.join(self.users_folder, "users"), users if isinstance(users, dict) else None)
            lines.append(f"  users: {self.users_path}")
        lines += ["  " + line for line in more.split("\n") if line]
        names = f"dns: {{ servers: [ {dns.address} ], ttl-min: 1s, timeout: 500ms, tries: 2 }}\n" if dns else ""
        return self.weir("listeners:\n  - { address: 127.0.0.1:{port}, serve: forward-proxy" + listener + " }\n"
                         "  - { address: 127.0.0.1:{admin}, serve: admin }\n"
                         f"{names}log: {{ access: {{folder}}/access.log, format: json }}\n{top}\nforward-proxy:\n" + "\n".join(lines) + "\n", **options)

    def site(self, script=None, host=OUTSIDE, **more):
        """A plain origin outside."""
        return self.origin(script, host=host, **more)

    def secure_site(self, script=None, host=OUTSIDE, **more):
        origin = TlsOrigin(script, host=host, **more)
        self.addCleanup(origin.stop)
        return origin

    def access(self, engine):
        path = os.path.join(engine.folder, "access.log")
        if not os.path.exists(path):
            return []
        with open(path) as file:
            return [json.loads(line) for line in file if line.strip()]


def ca_words():
    return "--cacert", certificates().ca.path


def open_connect(port, target, more=(), behind=b"", host=None):
    """A raw client behind CONNECT: (client, status, fields)."""
    client = Client(port)
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {host or target}", *more]
    client.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + behind)
    status, fields = client.head()
    return client, status, {name.lower(): value for name, value in fields}


def authorization(user, password):
    return "Proxy-Authorization: Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def pattern(length, seed=b""):
    return b"".join(hashlib.sha256(seed + i.to_bytes(8, "big")).digest() for i in range(-(-length // 32)))[:length]


def get(port, url, more=(), host=None, method="GET", body=b""):
    """One raw request in absolute form."""
    with Client(port) as client:
        client.send_request(url, method, [f"Host: {host or url.split('/')[2]}", *more], body)
        return client.response(method)


def connect_status(port, target, more=(), host=None):
    """Of a CONNECT that may be refused; its answer."""
    with Client(port) as client:
        client.send("\r\n".join([f"CONNECT {target} HTTP/1.1", f"Host: {host or target}", *more]).encode("latin-1") + b"\r\n\r\n")
        return client.response("GET")


class Squid:
    """A real squid on this machine, with the same users, one denied domain, and 127.0.0.1 inside."""

    CONFIG = """
http_port 127.0.0.1:{port}
pid_filename none
access_log none
cache_log {folder}/cache.log
cache_store_log none
cache_mem 8 MB
max_filedescriptors 1024
shutdown_lifetime 0 seconds
hosts_file {folder}/hosts
dns_nameservers 127.0.0.1
visible_hostname squid
auth_param basic program {ncsa} {folder}/users
auth_param basic realm Weir
acl known proxy_auth REQUIRED
acl bad dstdomain .denied.test
acl inside dst 127.0.0.1
acl tunnel_ports port {ports}
http_access deny CONNECT !tunnel_ports
http_access deny bad
http_access deny inside
http_access allow known
http_access deny all
"""

    def __init__(self, program, hosts, ports):
        self.folder = tempfile.mkdtemp(prefix="weir-squid-")
        self.port = free_port()
        os.chmod(self.folder, 0o777)
        with open(os.path.join(self.folder, "hosts"), "w") as file:
            file.write("".join(f"{address} {name}\n" for name, address in hosts.items()))
        users_file(os.path.join(self.folder, "users"), {"joe": "open sesame"})
        helper = next(path for path in ("/usr/lib/squid/basic_ncsa_auth", "/usr/lib64/squid/basic_ncsa_auth") if os.path.exists(path))
        with open(os.path.join(self.folder, "squid.conf"), "w") as file:
            file.write(self.CONFIG.format(port=self.port, folder=self.folder, ncsa=helper,
                                          ports=" ".join(str(port) for port in ports)))
        self.process = subprocess.Popen([program, "-N", "-f", os.path.join(self.folder, "squid.conf")], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=PLAIN)
        wait_for("squid to listen", lambda: self.process.poll() is not None or answers(self.port), SLOW * 3)
        assert self.process.poll() is None, open(os.path.join(self.folder, "cache.log")).read()[-2000:]

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(SLOW)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
