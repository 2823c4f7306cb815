"""What scenes of the cache are played with: an origin that answers as it was told, path by path, and readers of what a cache says.

The origin keeps every request under its path, so that a scene can say how often the origin was asked and with which fields. The reader of Cache-Status
believes nothing: it takes what RFC 8941 and RFC 9211 allow, in the narrowest way, and shares no line with the engine.
"""
import collections
import email
import email.policy
import re
import threading
import time
from email.utils import formatdate

from stage import SLOW, Origin, Scene, Weir


def date(seconds=0):
    """An HTTP date so far from now."""
    return formatdate(time.time() + seconds, usegmt=True)


class Answer:
    """One answer of the origin. framing: length, chunked, close (the end of the connection ends it), none (no answer at all). cut: it breaks off half way. early: a 103 comes first."""

    def __init__(self, status=200, fields=(), body=b"ok", framing="length", trailers=(), dated=True, cut=False, early=False):
        self.status, self.fields, self.body, self.framing, self.trailers = status, list(fields), body, framing, list(trailers)
        self.cut, self.early = cut, early
        if dated and not self.value("date"):
            self.fields.insert(0, "Date: " + date())

    def value(self, name):
        found = [line.split(":", 1)[1].strip() for line in self.fields if line.lower().startswith(name + ":")]
        return found[0] if found else None

    def send(self, exchange):
        """False: the connection is to be closed."""
        if self.framing == "none":
            return False
        bare = self.status in (204, 304) or exchange.line.startswith("HEAD ")
        lines = [f"HTTP/1.1 {self.status} Said", *self.fields]
        if self.framing == "length" and self.status not in (204, 304) and not self.value("content-length"):
            lines.append(f"Content-Length: {len(self.body)}")
        if self.framing == "chunked":
            lines.append("Transfer-Encoding: chunked")
        head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
        if self.early:
            head = b"HTTP/1.1 103 Early Hints\r\nX-Early: 1\r\n\r\n" + head
        content = b"" if bare else chunks(self.body, self.trailers) if self.framing == "chunked" else self.body
        exchange.send(head + (content[:len(content) // 2] if self.cut else content))
        return False if self.cut or self.framing == "close" else None


def chunks(body, trailers=()):
    pieces = [body[at:at + 16000] for at in range(0, len(body), 16000)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n" + "".join(t + "\r\n" for t in trailers).encode() + b"\r\n"


class Asked:
    """A request as it came to the origin."""

    def __init__(self, exchange, body):
        self.line, self.method, self.body = exchange.line, exchange.line.split(" ")[0], body
        self.path = exchange.path.removesuffix("?")  # an empty query may be passed on or not
        lines = exchange.head.decode("latin-1").split("\r\n")[1:]
        self.fields = [tuple(part.strip() for part in line.split(":", 1)) for line in lines]

    def field(self, name):
        values = [value for field, value in self.fields if field.lower() == name.lower()]
        return ", ".join(values) if values else None


class Shelf:
    """The script of an origin. What is not told otherwise is answered by `usual(asked)`."""

    def __init__(self, usual=None):
        self.usual = usual or (lambda asked: Answer(500, body=b"the origin was not to be asked"))
        self.told = collections.defaultdict(collections.deque)  # path -> answers, each given once
        self.kept = {}  # path -> answer for as often as it is asked
        self.asked = collections.defaultdict(list)  # path -> requests
        self.lock = threading.Lock()

    def put(self, path, *answers):
        with self.lock:
            self.told[path].extend(answers)

    def keep(self, path, answer):
        with self.lock:
            self.kept[path] = answer

    def count(self, path):
        with self.lock:
            return len(self.asked[path])

    def total(self):
        with self.lock:
            return sum(len(requests) for requests in self.asked.values())

    def last(self, path):
        with self.lock:
            return self.asked[path][-1]

    def __call__(self, exchange):
        asked = Asked(exchange, exchange.body())
        with self.lock:
            self.asked[asked.path].append(asked)
            queue = self.told[asked.path]
            answer = queue.popleft() if queue else self.kept.get(asked.path)
        answer = answer or self.usual(asked)
        if callable(answer) and not isinstance(answer, Answer):
            return answer(exchange, asked)
        return answer.send(exchange)


def caching(lifetime=60, *fields, body=b"ok", **more):
    return Answer(fields=[f"Cache-Control: max-age={lifetime}", *fields], body=body, **more)


GATE_HEAD = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\n"


class Gate:
    """An origin's answer in pieces, each sent when the scene says go(). `end`: how it ends after them, "close" breaks it off."""

    def __init__(self, *pieces, head=GATE_HEAD, framing="chunked", first=True):
        self.pieces, self.head, self.framing, self.first = pieces, head, framing, first
        self.turns, self.arrived, self.cut = threading.Semaphore(0), threading.Semaphore(0), False

    def go(self, count=1):
        for _ in range(count):
            self.turns.release()

    def wait(self):
        return self.turns.acquire(timeout=SLOW)

    def __call__(self, exchange, asked):
        self.arrived.release()
        if not self.first:
            self.wait()
        length = sum(len(piece) for piece in self.pieces)
        exchange.send(self.head + (b"Transfer-Encoding: chunked\r\n\r\n" if self.framing == "chunked" else b"Content-Length: %d\r\n\r\n" % length))
        for piece in self.pieces:
            self.wait()
            if self.cut:
                return False
            exchange.send(b"%x\r\n%s\r\n" % (len(piece), piece) if self.framing == "chunked" else piece)
        if self.framing == "chunked":
            self.wait()
            if self.cut:
                return False
            exchange.send(b"0\r\n\r\n")
        return None


class Reader:
    """A client on a thread of its own."""

    def __init__(self, scene, path, headers=(), method="GET"):
        self.client, self.response, self.problem, self.received = scene.engine.connect(), None, None, 0
        fill = self.client.fill
        self.client.fill = lambda: self.count(fill)
        scene.addCleanup(self.client.close)
        self.client.send_request(path, method, headers)
        self.thread = threading.Thread(target=self.read, args=(method,), daemon=True)
        self.thread.start()

    def read(self, method):
        try:
            self.response = self.client.response(method)
        except (OSError, EOFError, ValueError) as problem:
            self.problem = problem

    def count(self, fill):
        before = len(self.client.buffer)
        more = fill()
        self.received += len(self.client.buffer) - before
        return more

    def done(self):
        self.thread.join(3 * SLOW)
        assert not self.thread.is_alive(), "no answer"
        return self.response


# ---- What a cache says ----------------------------------------------------------------------------------------------------

TOKEN = r"[A-Za-z*][A-Za-z0-9!#$%&'*+.^_`|~:/-]*"
ITEM = rf'(?:{TOKEN}|"(?:[ !#-\[\]-~]|\\["\\])*")'
MEMBER = re.compile(rf'({ITEM})((?:; *[a-z*][a-z0-9_.*-]*(?:=(?:{ITEM}|-?[0-9]{{1,15}}|\?[01]))?)*)')
PARAMETER = re.compile(rf'; *([a-z*][a-z0-9_.*-]*)(?:=({ITEM}|-?[0-9]{{1,15}}|\?[01]))?')
FORWARDS = {"bypass", "method", "uri-miss", "vary-miss", "miss", "request", "stale", "partial"}


def read_status(value):
    """The members of a Cache-Status as (name, parameters), nearest to the origin first. Anything unclear raises."""
    members, rest = [], value
    while True:
        match = MEMBER.match(rest)
        assert match, f"no Cache-Status: {value!r}"
        members.append((match.group(1), read_parameters(match.group(2))))
        rest = rest[match.end():]
        if not rest:
            return members
        comma = re.match(r"[ \t]*,[ \t]*(?=[^ \t])", rest)
        assert comma, f"no list: {value!r}"
        rest = rest[comma.end():]


def read_parameters(text):
    found = {}
    for name, value in PARAMETER.findall(text):
        assert name not in found, f"{name} twice: {text!r}"
        if not value:
            found[name] = True
        elif value.startswith("?"):
            found[name] = value == "?1"
        elif re.fullmatch(r"-?[0-9]+", value):
            found[name] = int(value)
        else:
            found[name] = value
    return found


def check_parameters(found):
    """RFC 9211 2: which parameter has which type, and which go together."""
    for name, kind in (("hit", bool), ("stored", bool), ("collapsed", bool), ("fwd", str), ("fwd-status", int), ("ttl", int)):
        assert name not in found or type(found[name]) is kind, f"{name}: {found}"
    assert ("hit" in found) + ("fwd" in found) <= 1, f"hit and fwd exclude each other: {found}"
    assert "fwd" not in found or found["fwd"] in FORWARDS, found
    assert "fwd" in found or not {"fwd-status", "stored", "collapsed"} & set(found), f"only of what was forwarded: {found}"
    return found


def status_of(response):
    """What our cache says of this response: the last member, which is the one nearest to the client."""
    values = [value for name, value in response.fields if name.lower() == "cache-status"]
    assert values, f"no Cache-Status: {response.fields}"
    return check_parameters(read_status(", ".join(values))[-1][1])


def is_hit(response):
    return status_of(response).get("hit") is True


def parts_of(response):
    """The parts of a multipart/byteranges answer as (Content-Range, Content-Type, content), by Python's reader of mail."""
    head = b"Content-Type: " + response.field("Content-Type").encode() + b"\r\n\r\n"
    message = email.message_from_bytes(head + response.body, policy=email.policy.HTTP)
    assert message.is_multipart() and not message.defects, message.defects
    return [(part["Content-Range"], part["Content-Type"], part.get_payload(decode=True)) for part in message.iter_parts()]


# ---- The scene ------------------------------------------------------------------------------------------------------------

class CacheScene(Scene):
    """An engine with a cache before a Shelf. `routes` are lines of YAML that stand before the usual route, which has `rule`."""

    MEMORY = "32MiB"

    @classmethod
    def begin(cls, owner, clean, rule="{}", routes="", top="", usual=None, route="", pools="", cache=""):
        """usual: what the origin answers when it was not told otherwise; route: further lines of the usual route."""
        owner.shelf = Shelf(usual or (lambda asked: caching(body=asked.path.encode())))
        owner.source = Origin(owner.shelf)
        clean(owner.source.stop)
        owner.config = (f"cache: {{ memory: {cls.MEMORY}{cache} }}\n{top}\nroutes:\n{routes}\n  - name: usual\n    pool: app\n    cache: {rule}\n{route}\n"
                        f"pools:\n  app: {{ retries: 0, passive-health: {{ fail-after: 1000 }}, servers: [ {owner.source.address} ] }}\n{pools}\n")
        owner.engine = Weir(owner.config)
        clean(owner.engine.stop)
        return owner.engine

    def play(self, **more):
        return self.begin(self, self.addCleanup, **more)

    @classmethod
    def play_for_all(cls, **more):
        """One engine for all tests of the class, from setUpClass."""
        return cls.begin(cls, cls.addClassCleanup, **more)

    def hit(self, path="/", headers=(), **more):
        """The answer, which came from the store: the origin was not asked."""
        before = self.shelf.total()
        response = self.engine.get(path, headers=headers, **more)
        self.assertTrue(is_hit(response), (path, response.status, response.fields))
        self.assertEqual(self.shelf.total(), before, (path, response.status, response.fields))
        return response

    def miss(self, path="/", headers=(), **more):
        """The answer, which came from the origin."""
        before = self.shelf.total()
        response = self.engine.get(path, headers=headers, **more)
        self.assertEqual(self.shelf.total(), before + 1, (path, response.status, response.fields))
        self.assertFalse(is_hit(response), (path, response.status, response.fields))
        return response

    def url(self, path="/", host="scene"):
        return f"http://{host}{path}"
