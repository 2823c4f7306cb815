"""PROXY headers for scenes: made and read by code that shares nothing with the engine's, and origins whose connections begin with one."""
import socket
import struct

from stage import Client, Origin
from tls_props import TlsOrigin

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LOCAL = SIGNATURE + b"\x20\0\0\0"
ALPN, AUTHORITY, CRC32C, NOOP, UNIQUE_ID, SSL = 1, 2, 3, 4, 5, 0x20
SSL_VERSION, SSL_CN, SSL_CIPHER = 0x21, 0x22, 0x23


def v1(source="192.0.2.7", port=1234, destination="198.51.100.9", to=443):
    return f"PROXY TCP{6 if ':' in source else 4} {source} {destination} {port} {to}\r\n".encode()


def field(kind, value):
    return struct.pack(">BH", kind, len(value)) + value


def v2(source="192.0.2.7", port=1234, destination="198.51.100.9", to=443, fields=b""):
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    body = socket.inet_pton(family, source) + socket.inet_pton(family, destination) + struct.pack(">HH", port, to) + fields
    return SIGNATURE + b"\x21" + (b"\x21" if ":" in source else b"\x11") + struct.pack(">H", len(body)) + body


def fields_of(data):
    found = {}
    while data:
        kind, length = struct.unpack(">BH", data[:3])
        assert kind not in found and len(data) >= 3 + length, data
        found[kind], data = data[3:3 + length], data[3 + length:]
    return found


class Header:
    """One that was received: version, local, source and destination as (address, port) or None, fields, and those of TLS."""

    def __init__(self, take):
        """take(n): exactly so many bytes more."""
        first = take(12)
        self.local, self.source, self.destination, self.fields = False, None, None, {}
        self.tls, self.client, self.verify = {}, None, None
        if first == SIGNATURE:
            self.read_v2(take)
        else:
            self.read_v1(first, take)

    def read_v1(self, line, take):
        self.version = 1
        while not line.endswith(b"\r\n"):
            line += take(1)
            assert len(line) <= 107, line
        words = line[:-2].decode().split(" ")
        assert words[0] == "PROXY", line
        if words[1] != "UNKNOWN":
            assert words[1] == ("TCP6" if ":" in words[2] else "TCP4") and len(words) == 6, line
            self.source, self.destination = (words[2], int(words[4])), (words[3], int(words[5]))

    def read_v2(self, take):
        self.version = 2
        command, family, length = struct.unpack(">BBH", take(4))
        body = take(length)
        self.local = command == 0x20
        assert command in (0x20, 0x21), command
        width = {0x00: 0, 0x11: 4, 0x21: 16}[family]
        if width:
            kind = socket.AF_INET if width == 4 else socket.AF_INET6
            ports = struct.unpack(">HH", body[2 * width:2 * width + 4])
            self.source = (socket.inet_ntop(kind, body[:width]), ports[0])
            self.destination = (socket.inet_ntop(kind, body[width:2 * width]), ports[1])
        self.fields = fields_of(body[2 * width + 4 if width else 0:])
        if SSL in self.fields:
            value = self.fields[SSL]
            self.client, self.verify, self.tls = value[0], struct.unpack(">I", value[1:5])[0], fields_of(value[5:])

    @property
    def names_nobody(self):
        return self.local or (self.version == 1 and self.source is None)


def read_header(connection):
    """From a socket, not a byte too many. None: it closed before the first."""
    taken = b""

    def take(count):
        nonlocal taken
        got = b""
        while len(got) < count:
            data = connection.recv(count - len(got))
            if not data:
                raise EOFError(taken)
            got += data
            taken += data
        return got
    try:
        return Header(take)
    except EOFError:
        assert not taken, taken
        return None


class ProxyOrigin(Origin):
    """An Origin whose connections begin with a PROXY header; `headers` has them in order."""

    def __init__(self, script=None, **more):
        self.headers, self.broken = [], []
        super().__init__(script, **more)

    def serve(self, connection):
        try:
            header = read_header(connection)
        except Exception as problem:  # whatever it was, a test asks for it
            self.broken.append(repr(problem))
            connection.close()
            return
        if header:
            self.headers.append(header)
            super().serve(connection)


class ProxyTlsOrigin(TlsOrigin):
    """The same in front of TLS."""

    def __init__(self, script=None, **more):
        self.headers = []
        super().__init__(script, **more)

    def serve(self, connection):
        header = read_header(connection)
        if header:
            self.headers.append(header)
            super().serve(connection)


PROXY, STRANGER = "127.0.0.2", "127.0.0.3"


class Sender(Client):
    """A client that comes from the listed address and begins with these bytes."""

    def __init__(self, port, header, source=PROXY, **more):
        super().__init__(port, source=source, **more)
        if header:
            self.send(header)

    def ask(self, path="/", headers=()):
        self.send_request(path, headers=headers)
        return self.response()
