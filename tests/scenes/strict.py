"""A reader of recorded requests that has no mercy: what it takes can be read in one way only.

It is what a scene holds against the bytes that an origin recorded. It knows nothing of the engine's own parser and shares no line
with it: every rule is RFC 9112's, read in the narrowest way that an engine's output has to meet.
"""
import dataclasses
import re

TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
REQUEST_LINE = re.compile(rb"(" + TOKEN + rb") ([!-~]+) HTTP/1\.1")
FIELD_LINE = re.compile(rb"(" + TOKEN + rb"):([\t ]*)((?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?)[\t ]*")
CHUNK_SIZE = re.compile(rb"0|[1-9a-fA-F][0-9a-fA-F]{0,15}")

# RFC 9110 7.6.1: these are about one connection and must not come over another.
HOP_BY_HOP = {b"connection", b"keep-alive", b"proxy-connection", b"upgrade", b"te", b"proxy-authenticate", b"http2-settings"}
FRAMING = {b"content-length", b"transfer-encoding"}
ONCE = {b"host", b"content-length", b"transfer-encoding", b"content-type", b"max-forwards"}


class Unclear(Exception):
    """These bytes could be read in two ways, or in none."""


@dataclasses.dataclass
class Request:
    method: bytes
    target: bytes
    fields: list  # of (name in small letters, value)
    body: bytes = b""
    trailers: list = dataclasses.field(default_factory=list)
    complete: bool = True
    framing: str = "none"

    def values(self, name):
        return [value for field, value in self.fields if field == name.lower()]


def field_lines(block):
    fields = []
    for line in block.split(b"\r\n") if block else []:
        match = FIELD_LINE.fullmatch(line)
        if not match:
            raise Unclear(f"field line {line!r}")
        name, value = match.group(1).lower(), match.group(3)
        if name in FRAMING and line != match.group(1) + b": " + value:
            raise Unclear(f"{line!r} leaves room for a reader who is not strict")
        fields.append((name, value))
    return fields


def read_head(head):
    line, _, rest = head.partition(b"\r\n")
    match = REQUEST_LINE.fullmatch(line)
    if not match:
        raise Unclear(f"request line {line!r}")
    request = Request(match.group(1), match.group(2), field_lines(rest))
    names = [name for name, _ in request.fields]
    for name in ONCE:
        if names.count(name) > 1:
            raise Unclear(f"{name!r} twice in {head!r}")
    for name in HOP_BY_HOP.intersection(names):
        if name == b"te" and request.values(b"te") == [b"trailers"] and request.values(b"connection") == [b"TE"]:
            continue
        if name == b"connection" and request.values(b"connection") in ([b"TE"], [b"close"]):
            continue
        raise Unclear(f"{name!r} came over: {head!r}")
    if names.count(b"host") != 1:
        raise Unclear(f"no Host in {head!r}")
    if b"content-length" in names and b"transfer-encoding" in names:
        raise Unclear(f"two framings in {head!r}")
    if set(request.values(b"expect")) - {b"100-continue"}:
        raise Unclear(f"expectation in {head!r}")
    return request


def read_chunks(request, data):
    """Reads a chunked body; answers what is left, or None when it is cut (then it must have been right so far)."""
    while True:
        line, end, rest = data.partition(b"\r\n")
        if not end:
            if not re.fullmatch(rb"[0-9a-fA-F]{0,16}\r?", data):
                raise Unclear(f"chunk size {data[:40]!r}")
            return None
        if not CHUNK_SIZE.fullmatch(line):
            raise Unclear(f"chunk size {line[:40]!r}")
        size = int(line, 16)
        if size == 0:
            return read_trailers(request, rest)
        request.body += rest[:size]
        if len(rest) < size + 2:
            if not b"\r\n".startswith(rest[size:]):
                raise Unclear(f"chunk end {rest[size:]!r}")
            return None
        if rest[size:size + 2] != b"\r\n":
            raise Unclear(f"chunk end {rest[size:size + 2]!r}")
        data = rest[size + 2:]


def read_trailers(request, data):
    if data.startswith(b"\r\n"):
        return data[2:]
    block, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        return None
    request.trailers = field_lines(block)
    for name, _ in request.trailers:
        if name in HOP_BY_HOP | ONCE:
            raise Unclear(f"trailer {name!r}")
    return rest


def read_requests(data):
    """Every request in what one connection brought. The last may be cut short (complete is False then), no other."""
    data, requests = bytes(data), []
    while data:
        head, end, rest = data.partition(b"\r\n\r\n")
        if not end:
            raise Unclear(f"a head without an end: {data[:200]!r}")
        request = read_head(head)
        requests.append(request)
        if request.values(b"transfer-encoding"):
            if request.values(b"transfer-encoding") != [b"chunked"]:
                raise Unclear(f"coding in {head!r}")
            request.framing = "chunked"
            data = read_chunks(request, rest)
        elif request.values(b"content-length"):
            value = request.values(b"content-length")[0]
            if not re.fullmatch(rb"0|[1-9][0-9]{0,18}", value):
                raise Unclear(f"length {value!r}")
            request.framing = "length"
            request.body, data = rest[:int(value)], rest[int(value):] if len(rest) >= int(value) else None
        else:
            data = rest
        if data is None:
            request.complete = False
            return requests
    return requests
