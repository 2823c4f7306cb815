"""Every fallible call fails once; the engine copes.

A binary with fault points (engine/base/check.h) lets the nth fallible call of the process fail when WEIR_FAULT_AT=n is in its
environment. One small story is played for n = 1, 2, 3... until a run in which nothing failed any more: then every call that the story makes
has failed once. In each run: the process neither crashes nor leaks nor hangs; it starts, or ends with code 1 and says why; a request
succeeds, or gets an answer of 5xx, or its connection is cut; and the same request made again succeeds.

WEIR_TORTURE_SECONDS (here 40) bounds the time; when that is not enough for all, every kth n is played, and at its end no other is begun.
"""
import concurrent.futures
import json
import os
import re
import signal
import time
import unittest

from compress_scene import DECODERS
from props import content
from proxy_props import AUTHORITY, ProxyOrigin, Sender, field, v2
from stage import SLOW, WEIR, Client, Weir, answers, free_port, wait_for
from tls_certificates import certificates
from tls_props import TlsClient, TlsScene, client_context

SECONDS = os.environ.get("WEIR_TORTURE_SECONDS")
LEAST = 10  # runs, however long they take
FAILED = re.compile(r'weir: fault (\d+): "(\w+)" fails on purpose')

CONFIG = """
workers: 2
pin: false
listeners:
  - address: 127.0.0.1:{port}
  - { address: 127.0.0.1:{admin}, serve: admin }
  - address: 127.0.0.1:{secure}
    tls: { certificates: [ CERTIFICATE ], client-certificate: { mode: optional, ca: AUTHORITY } }
  - { address: 127.0.0.1:{behind}, proxy-protocol: [ 127.0.0.1 ] }
  - { address: 127.0.0.1:{tcp}, tcp: { passthrough: [ { sni: origin.test, pool: passed } ], pool: least } }
log: { access: {folder}/access.log }
routes:
  - match: { path: /own }
    respond: { body: mine, headers: { X-Own: "{request-id}" } }
  - match: { path: /one }
    pool: least
  - match: { path: /coded/* }
    pool: app
    compress: {}
  - match: { path: /two }
    pool: hash
    rewrite: { add-prefix: /base }
    request-headers: { set: { X-Client: "{client-address}" } }
  - match: { path: /sealed/* }
    pool: sealed
    rewrite: { strip-prefix: /sealed }
  - match: { path: /named/* }
    pool: named
    rewrite: { strip-prefix: /named }
  - pool: app
pools:
  app:
    servers: [ ORIGIN ]
    health: { path: /healthz, interval: 200ms }
    keep-alive: { warm: 2, borrow: on }
    passive-health: { fail-after: never }
    limits: { requests: 1000, connections: 1000, retries: 100 }
    sticky: { cookie: edge }
  least:
    servers: [ ORIGIN, { address: ORIGIN2, backup: true } ]
    balance: least-load
    slow-start: 5s
    panic-threshold: 10%
    passive-health: { fail-after: never, max-ejected: 50% }
    retry: { causes: [ connect, closed, timeout, 503 ], per-try: 5s }
  hash: { servers: [ ORIGIN, ORIGIN2 ], balance: consistent-hash, hash-balance: ring, load-cap: 150%, passive-health: { fail-after: never } }
  named: { servers: [ NAMED ], proxy-protocol: v2, health: { path: /healthz, interval: 200ms }, passive-health: { fail-after: never } }
  passed: { servers: [ SEALED ], passive-health: { fail-after: never } }
  sealed: { servers: [ SEALED ], tls: { ca: AUTHORITY, server-name: origin.test }, passive-health: { fail-after: never } }
"""


def has_fault_points():
    with open(WEIR, "rb") as file:
        return b"fails on purpose" in file.read()


class Trouble(Exception):
    """What is not allowed to happen."""


def answer(exchange):
    if exchange.body() is None:
        return False
    if exchange.path == "/large":
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n" + content(400000))
    elif exchange.path.startswith("/coded/"):
        head, body = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n", content(100000)
        exchange.send(head + b"".join(b"4e20\r\n" + body[at:at + 20000] + b"\r\n" for at in range(0, 100000, 20000)) + b"0\r\n\r\n")
    elif exchange.path == "/chunked":
        exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\nX-Sum: 4\r\n\r\n")
    else:
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    return None


# path, method, content, chunked, what must come back
REQUESTS = [("/own", "GET", b"", False, b"mine"), ("/", "GET", b"", False, b"ok"), ("/one", "POST", b"x" * 9000, False, b"ok"), ("/two", "GET", b"", False, b"ok"),
            ("/large", "GET", b"", False, content(400000)), ("/large", "POST", b"w" * 400000, False, content(400000)), ("/chunked", "POST", b"y" * 3000, True, b"abcd"), ("/own", "POST", b"z" * 50000, False, b"mine")] + [
    (f"/coded/{coding}", "GET", b"", False, content(100000)) for coding in DECODERS]  # or plain, where there is no memory for a coder
# Inside TLS, from the client, to the origin, or both.
SEALED = [("/own", "GET", b"", False, b"mine"), ("/sealed/large", "GET", b"", False, content(400000)), ("/sealed/chunked", "POST", b"y" * 30000, True, b"abcd")]
# By a proxy in front, to an origin that is told of the client.
NAMED = [("/named/", "GET", b"", False, b"ok"), ("/named/large", "GET", b"", False, content(400000)), ("/named/chunked", "POST", b"y" * 3000, True, b"abcd")]
# By a listener that passes connections.
PASSED = [("/large", "GET", b"", False, content(400000)), ("/chunked", "POST", b"y" * 3000, True, b"abcd")]


class Story:
    """One run with the nth call failing."""

    def __init__(self, nth, config):
        self.nth, self.config, self.weir, self.tolerated = nth, config, None, []

    def fails(self):
        """What the log says has failed; None when nothing did."""
        found = FAILED.search(getattr(self, "log", ""))
        return found.group(2) if found else None

    def play(self):
        self.secure, self.behind, self.tcp = free_port(), free_port(), free_port()
        self.weir = Weir(self.config, wait=False, environment={"WEIR_FAULT_AT": str(self.nth)}, secure=self.secure, behind=self.behind, tcp=self.tcp)
        try:
            wait_for("weir to listen or to give up", lambda: self.weir.ended() or self.all_listen())
            if not self.weir.ended():
                self.go_on()
        finally:
            self.end()
        return self

    def all_listen(self):
        return answers(self.weir.port) and "listening on" in self.weir.log()

    def go_on(self):
        for request in REQUESTS:
            self.twice(request)
        self.inside_tls()
        self.behind_a_proxy()
        self.by_tcp()
        self.commands()
        for request in REQUESTS[:3]:
            self.twice(request)
        self.inside_tls()
        self.behind_a_proxy()
        self.by_tcp()
        self.metrics()
        self.over_one_connection(self.weir.connect, REQUESTS[:5])
        self.over_one_connection(self.sender, NAMED)

    def inside_tls(self):
        """Connections of their own, of which the later ones resume the first one's session when it gave them one."""
        context, session = client_context(certificate=certificates().client), None

        def connect():
            return TlsClient(self.secure, context=context, session=session)
        for request in SEALED:
            self.twice(request, connect)
        try:
            with connect() as client:
                if self.ask(SEALED[0], client) is None:
                    session = client.socket.session
        except (OSError, EOFError):
            pass
        self.twice(SEALED[0], connect)
        self.twice(SEALED[1])

    def sender(self):
        return Sender(self.behind, v2(fields=field(AUTHORITY, b"a.test")), source="127.0.0.1")

    def behind_a_proxy(self):
        for request in NAMED:
            self.twice(request, self.sender)

    def by_tcp(self):
        """Whole connections passed on: plain ones, and TLS that the origin ends."""
        for request in PASSED:
            self.twice(request, lambda: Client(self.tcp))
            self.twice(request, lambda: TlsClient(self.tcp, name="origin.test"))

    def ask(self, request, client):
        path, method, body, chunked, wanted = request
        if chunked:
            client.send(b"%s %s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % (method.encode(), path.encode(), len(body)) + body + b"\r\n0\r\n\r\n")
        else:
            client.send_request(path, method, [f"Accept-Encoding: {path[7:]}"] if path.startswith("/coded/") else [], body=body)
        response = client.response()
        decode = DECODERS.get(response.field("Content-Encoding"), bytes)
        if response.status == 200 and response.complete and decode(response.body) == wanted:
            return None
        if response.status in (502, 503, 504):
            return str(response.status)
        if response.status == 200 and not response.complete:
            return "cut"
        raise Trouble(f"{path}: {response.status}, {len(response.body or b'')} bytes that are not the right ones")

    def twice(self, request, connect=None):
        """A failure is fine, once."""
        for attempt in range(2):
            try:
                with (connect or self.weir.connect)() as client:
                    why = self.ask(request, client)
            except TimeoutError:
                raise Trouble(f"{request[0]}: no answer")
            except (OSError, EOFError) as problem:
                why = repr(problem)
            if self.weir.ended():
                raise Trouble(f"it died of {request[0]}")
            if why is None:
                return
            self.tolerated.append((request[0], why))
        raise Trouble(f"{request[0]} failed twice: {self.tolerated}")

    def commands(self):
        self.weir.write(self.config + "via: other\n")
        for words in (["status"], ["pools"], ["reload"], ["drain", "least/" + self.weir.second], ["undrain", "least/" + self.weir.second], ["config", "show"], ["top", "--once"],
                      ["certs", "list"], ["explain", "PUT", "http://a/two?y", "-H", "X-A: b"], ["explain", "http://a/one"]):
            codes = [self.weir.command(*words)[0]]
            if codes[0] not in ((0, 1, 3, 4, 75) if words == ["reload"] else (0, 1, 4, 75)):  # 3: its file could not be read
                raise Trouble(f"{words}: exit code {codes[0]}")
            if codes[0]:
                codes.append(self.weir.command(*words)[0])
            if codes[-1]:
                raise Trouble(f"{words}: exit codes {codes}")

    def metrics(self):
        for attempt in range(2):
            try:
                with Client(self.weir.admin) as client:
                    client.send_request("/metrics")
                    response = client.response()
                if response.status == 200 and b"weir_requests_total" in response.body:
                    return
                if response.status != 503:
                    raise Trouble(f"/metrics: {response.status}")
            except (OSError, EOFError):
                pass
        raise Trouble("/metrics failed twice")

    def over_one_connection(self, connect, requests):
        try:
            with connect() as client:
                for request in requests:
                    if self.ask(request, client):
                        return
        except TimeoutError:
            raise Trouble("no answer on a kept connection")
        except (OSError, EOFError):
            pass

    def end(self):
        weir = self.weir
        started = not weir.ended()
        if started:
            weir.process.send_signal(signal.SIGTERM)
            try:
                weir.process.wait(SLOW * 2)
            except Exception:
                weir.process.kill()
                weir.process.wait()
                raise Trouble("it does not stop: " + weir.log()[-1500:])
        self.log, code = weir.log(), weir.process.returncode
        weir.stop(code=None)  # no report of a sanitizer, no internal error
        if started and code != 0:
            raise Trouble(f"it ends with {code}: {self.log[-1500:]}")
        if not started and (code not in (1, 3) or not re.search(r"cannot start: \S|error: \S", self.log)):
            raise Trouble(f"it does not start and ends with {code}: {self.log[-1500:]}")


class Torture(TlsScene):
    seconds = 40

    def setUp(self):
        if not has_fault_points():
            self.skipTest("this binary has no fault points (make asan)")
        one, two, sealed, named = self.origin(answer), self.origin(answer), self.tls_origin(answer), ProxyOrigin(answer)
        self.addCleanup(named.stop)
        self.config = CONFIG
        for name, value in (("ORIGIN2", two.address), ("ORIGIN", one.address), ("SEALED", sealed.address), ("NAMED", named.address), ("AUTHORITY", certificates().ca.path),
                            ("CERTIFICATE", certificates().site.yaml)):
            self.config = self.config.replace(name, value)
        Weir.second = two.address
        self.kind = Story

    def story(self, nth):
        story = self.kind(nth, self.config)
        try:
            story.play()
            return nth, story, None
        except Exception as problem:
            failed = FAILED.search(getattr(story, "log", "") or (story.weir.log() if story.weir and os.path.exists(story.weir.log_path) else ""))
            return nth, story, f'WEIR_FAULT_AT={nth} ({failed.group(2) if failed else "?"}): {type(problem).__name__}: {str(problem)[-1500:]}'

    def length_of_the_story(self):
        """How many calls may fail: the first n at which nothing does, found by doubling and halving."""
        low, high = 0, 256
        while self.story(high)[1].fails():
            low, high = high, high * 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.story(middle)[1].fails() else (low, middle)
        return low

    def test_every_call_that_can_fail_fails_once_and_nothing_worse_happens(self):
        began = time.monotonic()
        nth, story, trouble = self.story(0)
        self.assertIsNone(trouble)
        one_takes = time.monotonic() - began
        length = self.length_of_the_story()
        self.assertGreater(length, 20)
        until = began + float(SECONDS or self.seconds)
        room = max(LEAST, int((until - time.monotonic()) / one_takes * 2))
        numbers = range(1, length + 1, max(1, -(-length // room)))
        numbers = [n for first in range(8) for n in numbers[first::8]]  # from all over the story, wherever it has to stop
        troubles, failed, played = [], {}, 0

        def play(turn):
            return self.story(numbers[turn]) if turn < LEAST or time.monotonic() < until else None
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for nth, story, trouble in filter(None, pool.map(play, range(len(numbers)))):
                played += 1
                name = None if trouble else story.fails()
                if trouble:
                    troubles.append(trouble)
                elif name:
                    failed[name] = failed.get(name, 0) + 1
        print(f"torture: {played} of {length} calls failed, {len(failed)} kinds: {json.dumps(failed)}")
        self.assertEqual(troubles, [], f"{len(troubles)} of {played}:\n" + "\n".join(troubles[:20]))


class Ring(Torture):
    """What is spliced, by the ring."""
    seconds = 20

    def setUp(self):
        super().setUp()
        self.config += "zero-copy: ring\n"


if __name__ == "__main__":
    unittest.main()
