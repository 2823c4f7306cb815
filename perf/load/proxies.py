"""The proxies that perf/load/run compares: how each is configured, started and found. No program by itself.

A *flavour* is a way to configure them, with a process of its own: plain, tls, cache, tcp, fair. Templates have gaps which a flavour
fills. Nobody logs, everybody has one worker, keeps connections to the origin, and has what it offers for the case switched on.
"""

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get("BUILD", "build"))
WEIR = os.path.join(BUILD, "weir")
MEMORY_FILES = "/dev/shm" if os.path.isdir("/dev/shm") else None  # where files are no disk's
NGINX_MODULES = "/usr/lib/nginx/modules"

NGINX = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx.err warn;
worker_rlimit_nofile {files};
events {{ worker_connections 16384; }}
http {{
    access_log off;{http}
    keepalive_requests 1000000000;
    keepalive_timeout 3600s;
    proxy_max_temp_file_size 0;
    proxy_request_buffering off;
    client_max_body_size 0;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream app {{
        server 127.0.0.1:{origin} max_fails=0;
        keepalive 512;
        keepalive_requests 1000000000;
        keepalive_timeout 3600s;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096{tls};
        location / {{
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;{location}
        }}{more}
    }}
}}
"""
NGINX_STREAM = """
{module}daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx.err warn;
worker_rlimit_nofile {files};
events {{ worker_connections 16384; }}
stream {{
    upstream app {{ server 127.0.0.1:{origin} max_fails=0; }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        proxy_pass app;
        proxy_timeout 3600s;
    }}
}}
"""

# HAProxy refuses to start below about 2.6 descriptors per connection (two ends, and pipes for splicing).
HAPROXY = """
global
    nbthread 1
    maxconn {connections}{top}
defaults
    mode http
    timeout connect 5s
    timeout client 3600s
    timeout server 3600s
    timeout http-keep-alive 3600s
    option splice-response
    option splice-request
    option forwardfor
    http-reuse always
frontend front
    bind 127.0.0.1:{port} backlog 4096{tls}
    default_backend app{front}
backend app
    server one 127.0.0.1:{origin} pool-max-conn 512{back}
"""
HAPROXY_TCP = """
global
    nbthread 1
    maxconn {connections}
defaults
    mode tcp
    timeout connect 5s
    timeout client 3600s
    timeout server 3600s
    option splice-auto
listen app
    bind 127.0.0.1:{port} backlog 4096
    server one 127.0.0.1:{origin}
"""

WEIR_YAML = """
workers: {workers}
pin: false
{cache}listeners:
  - address: 127.0.0.1:{port}{tls}
routes:{routes}
  - pool: app{route}
pools:
  app:
    servers: [ 127.0.0.1:{origin} ]
    keep-alive: {{ connections: 512 }}{pools}
control: {{ socket: {folder}/weir.sock }}
"""

# What takes the place of {http}, {location} and the like in the templates: the cache- cases. README.md says what else was tried.
# nginx's files lie in memory and stay open. It reads small ones into a buffer and sends large ones from the file, whichever costs it less.
NGINX_CACHE = {"http": """
    proxy_cache_path {shared}/cache levels=1:2 keys_zone=store:16m max_size=1g inactive=2h use_temp_path=off;
    open_file_cache max=1000 inactive=1h;
    open_file_cache_valid 1h;
    open_file_cache_min_uses 1;
    output_buffers 1 128k;""", "location": """
            proxy_cache store;
            proxy_cache_lock on;""", "more": """
        location /downloads/ {{
            sendfile on;
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_cache store;
            proxy_cache_lock on;
        }}"""}
HAPROXY_CACHE = {"top": """
cache store
    total-max-size 256
    max-object-size 4194304
    max-age 3600""", "front": """
    http-request cache-use store
    http-response cache-store store"""}
WEIR_CACHE = {"cache": "cache: {{ memory: 256MiB }}\n", "route": "\n    cache: {{}}"}
VARNISH_VCL = """
vcl 4.1;
backend app {{ .host = "127.0.0.1"; .port = "{origin}"; }}
"""
VARNISH_PARAMETERS = {"thread_pools": 1, "thread_pool_min": 200, "thread_pool_max": 1000, "timeout_idle": 3600, "listen_depth": 4096}

WEIR_TCP = """
workers: {workers}
pin: false
listeners:
  - address: 127.0.0.1:{port}
    tcp: {{ pool: app }}
pools:
  app:
    servers: [ 127.0.0.1:{origin} ]
control: {{ socket: {folder}/weir.sock }}
"""

# For fair-2000: what is below /bulk/ has an origin of its own, and so a load of its own.
NGINX_FAIR = {"http": """
    upstream bulk {{ server 127.0.0.1:{bulk_origin} max_fails=0; keepalive 64; }}""", "more": """
        location /bulk/ {{
            proxy_pass http://bulk;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }}"""}
HAPROXY_FAIR = {"front": """
    use_backend bulk if {{ path_beg /bulk/ }}""", "back": """
backend bulk
    server one 127.0.0.1:{bulk_origin} pool-max-conn 64"""}
WEIR_FAIR = {"routes": """
  - match: {{ path: /bulk/* }}
    pool: bulk""", "pools": """
  bulk:
    servers: [ 127.0.0.1:{bulk_origin} ]"""}

# What takes the place of {tls} in the templates. Tickets without a cache for all; the load decides cipher and group.
NGINX_TLS = {"tls": """ ssl;
        ssl_certificate {folder}/tls.crt;
        ssl_certificate_key {folder}/tls.key;
        ssl_protocols TLSv1.3;
        ssl_session_tickets on;
        ssl_session_cache off"""}
HAPROXY_TLS = {"tls": " ssl crt {folder}/tls.pem alpn http/1.1 ssl-min-ver TLSv1.3"}
WEIR_TLS = {"tls": """
    tls: {{ certificates: [ {{ chain: {folder}/tls.crt, key: {folder}/tls.key }} ] }}"""}
CERTIFICATE = """req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=www.example.com
    -addext subjectAltName=DNS:www.example.com"""

children = []  # every process started and not yet ended


def note(text):
    print(text, file=sys.stderr, flush=True)


def start(command, cores, turn=None, **more):
    """A child pinned to these cores, mostly one; `more` goes to Popen. `turn`: when it gets its core: "first" before others, if we may
    say so, "last" when nobody else wants it."""

    def pin():
        os.sched_setaffinity(0, set(cores))
        if turn == "last":
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        elif turn == "first" and os.geteuid() == 0:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C is ours to pass on

    child = subprocess.Popen(command, preexec_fn=pin, **more)
    children.append(child)
    return child


def end(child, with_signal=signal.SIGTERM):
    if child.poll() is None:
        child.send_signal(with_signal)
        try:
            child.wait(3)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    if child in children:
        children.remove(child)


def build_program(name, sources, libraries=()):
    """A program of this folder, in BUILD; its path. Built again when a source is younger."""
    program, paths = os.path.join(BUILD, name), [os.path.join(ROOT, "perf", "load", source) for source in sources]
    if not os.path.exists(program) or os.path.getmtime(program) < max(map(os.path.getmtime, paths)):
        os.makedirs(BUILD, exist_ok=True)
        subprocess.run([os.environ.get("CC", "cc"), "-O2", "-g", "-Wall", "-Wextra", "-o", program]
                       + [path for path in paths if path.endswith(".c")] + list(libraries), check=True)
    return program


def free_port():
    """Below those that the kernel gives to whoever connects: an origin listens again in each run, and must find its port as it left it."""
    first = int((read_file("/proc/sys/net/ipv4/ip_local_port_range").split() or ["32768"])[0])
    while True:
        port = random.randrange(10000, max(10001, min(first, 32768)))
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def read_file(path):
    try:
        with open(path) as f:
            return f.read()
    except OSError:
        return ""


def children_of(pid):
    return [int(word) for word in read_file(f"/proc/{pid}/task/{pid}/children").split()]


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), 0.5).close()
        return True
    except OSError:
        return False


def make_certificate(folder):
    """tls.crt and tls.key, ECDSA P-256, and tls.pem with both."""
    pem, key = os.path.join(folder, "tls.crt"), os.path.join(folder, "tls.key")
    done = subprocess.run(["openssl"] + CERTIFICATE.split() + ["-out", pem, "-keyout", key], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"openssl made no certificate: {done.stdout.strip()[-400:]}")
    with os.fdopen(os.open(os.path.join(folder, "tls.pem"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as f:
        f.write(read_file(pem) + read_file(key))


class Proxy:
    """One proxy under test: writes its configuration, starts it, knows the process whose CPU counts."""

    name = binary = version_option = template = ""
    templates = {}  # flavour -> its own template, where it has one
    flavours = {"plain": {}}  # flavour -> what it puts into the template's gaps
    gaps = ("tls",)
    cases = None  # names of those it can do; None: all of its flavours
    on_request = False  # only where --only names it

    def __init__(self, folder, files, flavour="plain", workers=1):
        self.folder, self.files, self.flavour, self.workers = os.path.join(folder, f"{self.name}-{flavour}-{workers}"), files, flavour, workers
        self.port, self.origin, self.bulk_origin = free_port(), free_port(), free_port()
        self.child = self.log = self.shared = None

    def find(self):
        return shutil.which(self.binary) or shutil.which(self.binary, path="/usr/sbin:/sbin:/usr/local/sbin")

    def version(self):
        done = subprocess.run([self.find()] + self.version_option.split(), stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False)
        found = re.search(r"\d+\.\d+[^\s,]*", done.stdout)
        return found.group(0) if found else "?"

    def command(self, config):
        raise NotImplementedError

    def worker(self):
        return self.child.pid

    def module(self):
        return ""

    def configuration(self):
        words = {"port": self.port, "origin": self.origin, "bulk_origin": self.bulk_origin, "folder": self.folder, "files": self.files, "shared": self.shared,
                 "workers": self.workers, "module": self.module(), "connections": min(20000, int((self.files - 200) / 3))}
        gaps = {gap: self.flavours[self.flavour].get(gap, "").format(**words) for gap in self.gaps}
        return self.templates.get(self.flavour, self.template).format(**words, **gaps).lstrip()

    def start(self, *cores):
        os.makedirs(self.folder, mode=0o755, exist_ok=True)
        config = os.path.join(self.folder, f"{self.name}.conf")
        if self.flavour == "tls":
            make_certificate(self.folder)
        if self.flavour == "cache" and not self.shared:
            self.shared = tempfile.mkdtemp(prefix="weir-load-", dir=MEMORY_FILES)
            os.chmod(self.shared, 0o777)  # nginx's worker is another user
        with open(config, "w") as f:
            f.write(self.configuration())
        self.log = os.path.join(self.folder, f"{self.name}.log")
        with open(self.log, "w") as log:
            self.child = start(self.command(config), cores, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        for _ in range(100):
            if self.child.poll() is not None:
                break
            if answers(self.port):
                return
            time.sleep(0.05)
        raise RuntimeError(f"{self.name} did not start: {read_file(self.log).strip()[-800:]}")

    def stop(self):
        if self.child:
            end(self.child)
            self.child = None
        if self.shared:
            shutil.rmtree(self.shared, ignore_errors=True)
            self.shared = None


class Nginx(Proxy):
    name = binary = "nginx"
    version_option, template = "-v", NGINX
    templates = {"tcp": NGINX_STREAM}
    flavours = {"plain": {}, "tls": NGINX_TLS, "cache": NGINX_CACHE, "tcp": {}, "fair": NGINX_FAIR}
    gaps = ("tls", "http", "location", "more")

    def module(self):
        path = os.path.join(NGINX_MODULES, "ngx_stream_module.so")
        return f"load_module {path};\n" if os.path.exists(path) else ""

    def command(self, config):
        return [self.find(), "-c", config, "-p", self.folder, "-e", f"{self.folder}/nginx.err"]

    def worker(self):
        return children_of(self.child.pid)[0]


class Haproxy(Proxy):
    name = binary = "haproxy"
    version_option, template = "-v", HAPROXY
    templates = {"tcp": HAPROXY_TCP}
    flavours = {"plain": {}, "tls": HAPROXY_TLS, "cache": HAPROXY_CACHE, "tcp": {}, "fair": HAPROXY_FAIR}
    gaps = ("tls", "top", "front", "back")

    def command(self, config):
        return [self.find(), "-db", "-f", config]


class Weir(Proxy):
    name = binary = "weir"
    version_option, template = "--version", WEIR_YAML
    templates = {"tcp": WEIR_TCP}
    flavours = {"plain": {}, "tls": WEIR_TLS, "cache": WEIR_CACHE, "tcp": {}, "fair": WEIR_FAIR}
    gaps = ("tls", "cache", "routes", "route", "pools")

    def find(self):
        return WEIR if os.access(WEIR, os.X_OK) else None

    def command(self, config):
        return [WEIR, "run", "-c", config]


class Varnish(Proxy):
    """Only a cache. Its worker is one process with a thread for each busy connection, all on the one core."""

    name, binary = "varnish", "varnishd"
    version_option, template = "-V", VARNISH_VCL
    flavours = {"cache": {}}
    gaps = ()

    def silence(self):
        """Masks every record of the log in memory: no other proxy here writes one."""
        done = subprocess.run([self.find(), "-x", "vsl"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
        return ",".join("-" + tag for tag in re.findall(r"^(\w+)\n-+$", done.stdout, re.M))

    def command(self, config):
        parameters = dict(VARNISH_PARAMETERS, vsl_mask=self.silence())
        return [self.find(), "-F", "-j", "none", "-n", os.path.join(self.shared, "varnish"), "-a", f"127.0.0.1:{self.port}", "-f", config,
                "-s", "malloc,256m", *(word for name, value in parameters.items() for word in ("-p", f"{name}={value}"))]

    def worker(self):
        return children_of(self.child.pid)[0]


class Floor(Proxy):
    """No proxy: it answers or relays without reading (floor.c, floor_relay.c). What it costs nobody can undercut."""

    name = "floor"
    flavours = {"cache": {}, "plain": {}}
    gaps = ()
    cases = ("cache-1KiB", "1MiB-8", "16MiB-4", "100MB-2")
    on_request = True

    def find(self):
        program = "floor" if self.flavour == "cache" else "floor_relay"
        return build_program(program, [program + ".c"])

    def version(self):
        return "no server: a receive and a send, or splices"

    def command(self, config):
        return [self.find(), str(self.port), "1024" if self.flavour == "cache" else str(self.origin)]


PROXIES = [Weir, Nginx, Haproxy, Varnish, Floor]
