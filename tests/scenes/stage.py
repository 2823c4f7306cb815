"""What scenes are played with: the real binary, scripted clients and origins, and real nginx where one is wanted.

WEIR names the binary (the ordinary test run gives the one with sanitizers). A Weir started here must end with code 0 after
SIGTERM and leave no sanitizer report; that is checked when it is stopped. Only processes started here are ended, by pid.
"""
import json
import os
import re
import resource
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
WEIR = os.path.abspath(os.environ.get("WEIR", os.path.join(ROOT, "build", "weir")))
SLOW = 10  # seconds a healthy thing may take on a busy machine


ports_given = set()


def free_port():
    """Each once: what was given may not be taken yet when the next is asked for."""
    while True:
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        if port not in ports_given:
            ports_given.add(port)
            return port


def wait_for(what, true, seconds=SLOW):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return
        time.sleep(0.02)
    raise AssertionError(f"waited {seconds} s for {what}")


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


class Weir:
    """One engine. `config` may hold {port}, {admin}, {folder}; listeners and control socket are added when missing."""

    def __init__(self, config, wait=True, environment=None, files=None, **names):
        self.folder = tempfile.mkdtemp(prefix="weir-scene-")
        self.port, self.admin = free_port(), free_port()
        self.path = os.path.join(self.folder, "weir.yaml")
        self.socket = os.path.join(self.folder, "weir.sock")
        self.names = dict(names, port=self.port, admin=self.admin, folder=self.folder)
        self.write(config)
        self.log_path = os.path.join(self.folder, "log")
        self.environment = dict(os.environ, WEIR_SOCKET=self.socket, **(environment or {}))
        limit = (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))) if files else None
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen([WEIR, "run", "-c", self.path], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                            env=self.environment, preexec_fn=limit)
        if wait:
            try:
                wait_for("weir to listen", lambda: self.ended() or answers(self.port))
            except AssertionError:
                self.process.kill()
                raise
            if self.ended():
                raise AssertionError("weir did not start: " + self.log())

    def write(self, config):
        text = config
        for name, value in self.names.items():
            text = text.replace("{" + name + "}", str(value))
        if "listeners:" not in text:
            text = (f"listeners:\n  - address: 127.0.0.1:{self.port}\n"
                    f"  - {{ address: 127.0.0.1:{self.admin}, serve: admin }}\n") + text
        if "\ncontrol:" not in "\n" + text:
            text += f"\ncontrol: {{ socket: {self.socket} }}\n"
        if "workers:" not in text:
            text += "workers: 2\npin: false\n"
        with open(self.path, "w") as f:
            f.write(text)

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def ended(self):
        return self.process.poll() is not None

    def command(self, *words, timeout=60):
        done = subprocess.run([WEIR, *words], env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=timeout)
        return done.returncode, done.stdout, done.stderr

    def json(self, *words):
        code, out, err = self.command(*words, "--json")
        assert code == 0, (code, out, err)
        return json.loads(out)

    def counter(self, name):
        return self.json("status")[name]

    def server(self, address):
        return next(s for s in self.json("pools")["servers"] if s["address"] == str(address) or s["address"].endswith(":" + str(address)))

    def rss_kib(self):
        with open(f"/proc/{self.process.pid}/status") as f:
            return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))

    def connect(self, timeout=SLOW):
        return Client(self.port, timeout)

    def get(self, path="/", method="GET", headers=(), body=b"", version="1.1"):
        with self.connect() as client:
            client.send_request(path, method, headers, body, version)
            return client.response(method)

    def stop(self, code=0):
        """Ends it and checks how it ended."""
        if not self.ended():
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(40)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError("weir did not stop: " + self.log()[-2000:])
        log = self.log()
        shutil.rmtree(self.folder, ignore_errors=True)
        for word in ("Sanitizer", "runtime error", "internal error"):
            assert word not in log, log[-6000:]
        assert code is None or self.process.returncode == code, (self.process.returncode, log[-3000:])


class Response:
    def __init__(self, status, fields, body, interim, complete):
        self.status, self.fields, self.body, self.interim, self.complete = status, fields, body, interim, complete

    def field(self, name):
        values = [v for n, v in self.fields if n.lower() == name.lower()]
        return values[0] if values else None


class Client:
    """A raw HTTP/1.1 client that believes nothing it does not read."""

    def __init__(self, port, timeout=SLOW, source=None):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout, (source, 0) if source else None)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def send_request(self, path="/", method="GET", headers=(), body=b"", version="1.1"):
        lines = [f"{method} {path} HTTP/{version}"]
        if not any(h.lower().startswith("host:") for h in headers):
            lines.append("Host: scene")
        lines += headers
        if body and not any(h.lower().startswith(("content-length", "transfer-encoding")) for h in headers):
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)

    def fill(self):
        data = self.socket.recv(65536)
        self.buffer += data
        return bool(data)

    def until(self, mark):
        while mark not in self.buffer:
            if not self.fill():
                raise EOFError(self.buffer[:200])
        part, self.buffer = self.buffer.split(mark, 1)
        return part

    def exactly(self, length):
        while len(self.buffer) < length:
            if not self.fill():
                return None
        part, self.buffer = self.buffer[:length], self.buffer[length:]
        return part

    def head(self):
        lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        fields = [tuple(part.strip() for part in line.split(":", 1)) for line in lines[1:]]
        return int(lines[0].split(" ")[1]), fields

    def chunks(self):
        """The content and its trailers; None when it is cut."""
        content = b""
        try:
            while True:
                size = int(self.until(b"\r\n").split(b";")[0], 16)
                if size == 0:
                    trailers = []
                    while (line := self.until(b"\r\n")):
                        trailers.append(line.decode("latin-1"))
                    return content, trailers
                part = self.exactly(size + 2)
                if part is None or part[-2:] != b"\r\n":
                    return None
                content += part[:-2]
        except EOFError:
            return None

    def response(self, method="GET"):
        interim = []
        status, fields = self.head()
        while status < 200:
            interim.append((status, fields))
            status, fields = self.head()
        names = {n.lower(): v for n, v in fields}
        complete, body = True, b""
        if method == "HEAD" or status in (204, 304):
            pass
        elif names.get("transfer-encoding") == "chunked":
            got = self.chunks()
            complete = got is not None
            body = got[0] if complete else b""
        elif "content-length" in names:
            body = self.exactly(int(names["content-length"]))
            complete = body is not None
        else:
            try:
                while self.fill():
                    pass
            except OSError:
                complete = False
            body, self.buffer = self.buffer, b""
        return Response(status, fields, body, interim, complete)

    def closed(self, seconds=SLOW):
        """True when the other side closes within that time."""
        self.socket.settimeout(seconds)
        try:
            return self.socket.recv(1) == b""
        except ConnectionError:
            return True
        except OSError:
            return False


class Listening:
    """A socket with a thread for each connection that comes: `serve(connection)` of who inherits. `host` with a colon is IPv6."""

    def __init__(self, host="127.0.0.1", port=0, path=None, backlog=512):
        self.listener = socket.socket(socket.AF_UNIX if path else socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(path or (host, port))
        self.listener.listen(backlog)
        self.port = None if path else self.listener.getsockname()[1]
        self.address = f"unix:{path}" if path else f"{host}:{self.port}"
        self.connections, self.accepted = [], 0
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.accepted += 1
            self.connections.append(connection)
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def stop(self):
        for s in [self.listener] + list(self.connections):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            s.close()


class Origin(Listening):
    """A scripted origin. `script(connection, head, origin)` answers one request; every byte received is kept.

    A script gets the raw head (bytes) and may use connection.sendall; answering False closes the connection.
    """

    def __init__(self, script=None, port=None, path=None, host="127.0.0.1"):
        self.script = script or ok
        self.received = []  # per connection: all bytes
        self.requests = []  # heads, in order of arrival
        self.stopping = False
        super().__init__(host, port or 0, path)

    def serve(self, connection):
        record = bytearray()
        self.received.append(record)
        buffer = b""
        try:
            while True:
                while b"\r\n\r\n" not in buffer:
                    data = connection.recv(65536)
                    if not data:
                        connection.close()
                        return
                    record += data
                    buffer += data
                head, buffer = buffer.split(b"\r\n\r\n", 1)
                self.requests.append(head)
                exchange = Exchange(connection, head, buffer, record, self)
                if self.script(exchange) is False:
                    connection.close()
                    return
                buffer = exchange.buffer
        except OSError:
            connection.close()


class Exchange:
    """One request at a scripted origin."""

    def __init__(self, connection, head, buffer, record, origin):
        self.connection, self.head, self.buffer, self.record, self.origin = connection, head, buffer, record, origin

    @property
    def line(self):
        return self.head.split(b"\r\n")[0].decode("latin-1")

    @property
    def path(self):
        return self.line.split(" ")[1]

    def fields(self, name):
        wanted = name.lower() + ":"
        return [line.split(":", 1)[1].strip() for line in self.head.decode("latin-1").split("\r\n")[1:] if line.lower().startswith(wanted)]

    def more(self):
        data = self.connection.recv(65536)
        self.record += data
        self.buffer += data
        return bool(data)

    def body(self):
        """Reads the request's content to its end by its one framing."""
        if self.fields("transfer-encoding"):
            content = b""
            while True:
                while b"\r\n" not in self.buffer:
                    if not self.more():
                        return None
                line, self.buffer = self.buffer.split(b"\r\n", 1)
                size = int(line, 16)
                while len(self.buffer) < size + 2:
                    if not self.more():
                        return None
                content += self.buffer[:size]
                self.buffer = self.buffer[size + 2:]
                if size == 0:
                    return content
        length = int((self.fields("content-length") or ["0"])[0])
        while len(self.buffer) < length:
            if not self.more():
                return None
        content, self.buffer = self.buffer[:length], self.buffer[length:]
        return content

    def send(self, data):
        self.connection.sendall(data)

    def reset(self):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        return False


def ok(exchange, text=b"ok\n"):
    if exchange.body() is None:
        return False
    exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(text) + text)
    return None


def named(name):
    return lambda exchange: ok(exchange, name.encode())


def raw(data, close=False):
    """Answers these bytes to every request."""
    def script(exchange):
        exchange.body()
        exchange.send(data)
        return False if close else None
    return script


class Scene(unittest.TestCase):
    """Starts things and ends them when the test is over, the engine first."""

    def weir(self, config, **more):
        weir = Weir(config, **more)
        self.addCleanup(weir.stop)
        return weir

    def origin(self, script=None, **more):
        origin = Origin(script, **more)
        self.addCleanup(origin.stop)
        return origin

    def before(self, *origins, pool="", top=""):
        """An engine before these origins."""
        servers = ", ".join(f'"{o.address}"' for o in origins)
        return self.weir(f"{top}\nroutes: [ {{ pool: app }} ]\npools:\n  app:\n    servers: [ {servers} ]\n{pool}\n")

    def need(self, program):
        found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin:/usr/local/sbin")
        if not found:
            self.fail(f"{program} is missing: make test installs it")
        return found
