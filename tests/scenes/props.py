"""Heavier props: a real nginx as origin, content that can be checked anywhere in it, a crowd of clients, other runs of the binary."""
import hashlib
import json
import os
import resource
import shutil
import signal
import subprocess
import tempfile
import threading
import time

from stage import SLOW, WEIR, answers, free_port, wait_for

HERE = os.path.dirname(os.path.abspath(__file__))

# Programs here speak to 127.0.0.1 whatever proxy their user has set.
PLAIN = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}


def content(length, start=0):
    """Letters in order, so that any piece shows where it belongs; crowd.c checks the same."""
    letters = b"abcdefghijklmnopqrstuvwxyz"
    return (letters * (length // 26 + 2))[start % 26:][:length]


def run(*command, seconds=60, **more):
    """Runs a program to its end: (exit status, output, errors)."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=seconds,
                          env=more.pop("env", PLAIN), **more)
    return done.returncode, done.stdout, done.stderr


def raise_descriptors(wanted=65536):
    """As many descriptors as may be had, for this process and its children. Answers how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limits in ((wanted, max(hard, wanted)), (hard, hard)):
        if soft >= wanted:
            break
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            break
        except (OSError, ValueError):
            continue
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def sanitized():
    """Whether the binary under test carries AddressSanitizer or ThreadSanitizer: it is slower, and has memory of its own that grows with what was touched."""
    with open(WEIR, "rb") as file:
        binary = file.read()
    return b"__asan_init" in binary or b"__tsan_init" in binary


class Nginx:
    """A real origin, one process without a master so that its pid is all of it: /small, /page (1 KiB), /big (100 KB), /chunked, /named."""

    CONFIG = """
daemon off; master_process off; pid {folder}/pid; error_log stderr crit;
events {{ worker_connections {connections}; }}
http {{
    access_log off; {keep}; client_max_body_size 0; default_type text/plain;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=16384;
        root {folder}/root;
        add_header X-Served-By "{name}" always;
        {server}
        location = /named {{ return 200 "{name}"; }}
        location = /post {{ client_body_buffer_size 64k; return 200 "taken"; }}
        location = /chunked {{ ssi on; ssi_types *; try_files /big =404; }}
    }}
}}
"""

    def __init__(self, program, name="nginx", port=None, connections=20000, server="", keep="keepalive_requests 100000; keepalive_timeout 75s"):
        """server, keep: further directives; keep those of its kept connections."""
        self.folder = tempfile.mkdtemp(prefix="weir-nginx-")
        self.port = port or free_port()
        self.address = f"127.0.0.1:{self.port}"
        os.chmod(self.folder, 0o755)
        os.mkdir(os.path.join(self.folder, "root"))
        for file, length in (("small", 26), ("page", 1024), ("big", 100000)):
            self.put(file, content(length))
        path = os.path.join(self.folder, "nginx.conf")
        with open(path, "w") as file:
            file.write(("user root;\n" if os.getuid() == 0 else "")
                       + self.CONFIG.format(folder=self.folder, port=self.port, name=name, connections=connections, server=server, keep=keep))
        self.log_path = os.path.join(self.folder, "log")
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen([program, "-c", path, "-p", self.folder, "-e", "stderr"], stdin=subprocess.DEVNULL, stderr=log)
        wait_for("nginx to listen", lambda: self.process.poll() is not None or answers(self.port))
        if self.process.poll() is not None:
            with open(self.log_path, errors="replace") as log:
                raise AssertionError(log.read())

    def put(self, name, data):
        with open(os.path.join(self.folder, "root", name), "wb") as file:
            file.write(data)

    def kill(self):
        """Dies without a word, as a machine does."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(SLOW)
            except subprocess.TimeoutExpired:
                self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def digest(exchange, wanted=None):
    """Reads a request's content as a stream and answers with its length and SHA-256 as JSON."""
    found, length, connection = hashlib.sha256(), 0, exchange.connection
    chunked = bool(exchange.fields("transfer-encoding"))
    exchange.record.clear()  # too large to be kept

    def take(count):
        nonlocal length
        while count > 0:
            if not exchange.buffer:
                exchange.buffer = connection.recv(1 << 20)
                if not exchange.buffer:
                    return False
            part, exchange.buffer = exchange.buffer[:count], exchange.buffer[count:]
            found.update(part)
            length += len(part)
            count -= len(part)
        return True

    def line():
        while b"\r\n" not in exchange.buffer:
            data = connection.recv(65536)
            if not data:
                return None
            exchange.buffer += data
        text, exchange.buffer = exchange.buffer.split(b"\r\n", 1)
        return text

    if chunked:
        while True:
            size = line()
            if size is None:
                return False
            if int(size, 16) == 0:
                break
            if not take(int(size, 16)) or line() != b"":
                return False
        while line():
            pass
    elif not take(int((exchange.fields("content-length") or ["0"])[0])):
        return False
    answer = json.dumps({"length": length, "sha256": found.hexdigest(), "method": exchange.line.split(" ")[0], "path": exchange.path,
                         "chunked": chunked, "expect": exchange.fields("expect")}).encode()
    exchange.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer)
    return None


def digest_saying_continue(exchange):
    if exchange.fields("expect"):
        exchange.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    return digest(exchange)


class Crowd:
    """Many keep-alive clients in one small program (crowd.c), compiled when first needed."""

    program = None
    making = threading.Lock()

    @classmethod
    def make(cls, scene):
        with cls.making:
            if not cls.program:
                folder = tempfile.mkdtemp(prefix="weir-crowd-")
                compiler = shutil.which("cc") or scene.need("gcc")
                program = os.path.join(folder, "crowd")
                code, _, errors = run(compiler, "-O2", "-Wall", "-o", program, os.path.join(HERE, "crowd.c"))
                scene.assertEqual(code, 0, errors.decode())
                cls.program = program
        return cls.program

    @classmethod
    def remove(cls):
        if cls.program:
            shutil.rmtree(os.path.dirname(cls.program), ignore_errors=True)
            cls.program = None

    def __init__(self, scene, port, clients, seconds, *requests, pause_ms=0):
        """requests: words of crowd.c's table, taken in turn: get=/path,LENGTH post=/path,LENGTH,ANSWER head=... chunked=... two=..."""
        command = [self.make(scene), str(port), str(clients), str(seconds), str(pause_ms), *requests]
        self.started = time.monotonic()
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.seconds = seconds
        scene.addCleanup(self.stop)

    def result(self):
        """What crowd.c counted: requests, connected, failures (of which the first hundred with their time), slowest_ms."""
        out, errors = self.process.communicate(timeout=self.seconds + 120)
        if self.process.returncode != 0:
            raise AssertionError((self.process.returncode, errors.decode()))
        return json.loads(out)

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for stream in (self.process.stdout, self.process.stderr):
            stream.close()


class Command:
    """Another run of the binary, of any verb, in a folder of its own."""

    def __init__(self, *words, environment=None, prepare=None, program=WEIR):
        self.folder = tempfile.mkdtemp(prefix="weir-scene-")
        self.socket = os.path.join(self.folder, "weir.sock")
        self.environment = dict(PLAIN, WEIR_SOCKET=self.socket, **(environment or {}))
        self.log_path = os.path.join(self.folder, "log")
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen([program, *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment, preexec_fn=prepare)

    def log(self):
        with open(self.log_path, errors="replace") as file:
            return file.read()

    def ended(self):
        return self.process.poll() is not None

    def wait_for_port(self, port):
        wait_for(f"port {port}", lambda: self.ended() or answers(port))
        if self.ended():
            raise AssertionError(self.log())

    def stop(self, number=signal.SIGTERM, code=0):
        if not self.ended():
            self.process.send_signal(number)
            try:
                self.process.wait(40)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError("did not stop: " + self.log()[-2000:])
        log = self.log()
        shutil.rmtree(self.folder, ignore_errors=True)
        for word in ("Sanitizer", "runtime error", "internal error"):
            if word in log:
                raise AssertionError(log[-6000:])
        if code is not None and self.process.returncode != code:
            raise AssertionError((self.process.returncode, log[-3000:]))
