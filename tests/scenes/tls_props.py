"""What scenes of TLS are played with: clients and origins that speak TLS, and openssl's own s_client. Certificates: tls_certificates.py.

Python's ssl is the client and the
origin of most scenes; it is told to believe no end of stream without a close_notify. What it cannot do (early data, KeyUpdate, a choice of
groups) s_client does, and what no well-behaved program does is done with a session in memory, whose every byte is in the scene's hands.
"""
import hashlib
import os
import re
import socket
import ssl
import subprocess
import threading
import time

from props import PLAIN
from stage import SLOW, Client, Origin, Scene, Weir, free_port
from tls_certificates import NAME, certificates

V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


# ---- Clients ------------------------------------------------------------------------------------------------------------

def client_context(least=V12, most=V13, alpn=None, certificate=None, ca=None, ciphers=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(ca or certificates().ca.path)
    if ciphers:
        context.set_ciphers(ciphers)
    context.minimum_version, context.maximum_version = least, most
    if alpn:
        context.set_alpn_protocols(alpn)
    if certificate:
        context.load_cert_chain(certificate.chain, certificate.key)
    return context


class TlsClient(Client):
    """A Client inside TLS. An end without close_notify is an error (ssl.SSLEOFError), not an end."""

    def __init__(self, port, timeout=SLOW, name=NAME, context=None, session=None, buffer_bytes=None):
        if buffer_bytes:
            plain = socket.socket()
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
            plain.settimeout(timeout)
            plain.connect(("127.0.0.1", port))
            self.socket, self.buffer = plain, b""
        else:
            super().__init__(port, timeout)
        plain = self.socket
        try:
            self.socket = (context or client_context()).wrap_socket(plain, server_hostname=name, session=session, suppress_ragged_eofs=False)
        except Exception:
            plain.close()
            raise

    def ask(self, path="/", method="GET", headers=(), body=b""):
        self.send_request(path, method, headers, body)
        return self.response(method)

    def farewell(self):
        """Says close_notify and waits for the other side's."""
        return self.socket.unwrap()

    @property
    def certificate(self):
        """The server's, as the SHA-256 of its DER."""
        return hashlib.sha256(self.socket.getpeercert(True)).hexdigest()


class Session:
    """A client's TLS session in memory: what it would send is taken out, what it would receive is put in."""

    def __init__(self, context=None, name=NAME):
        self.input, self.output, self.done = ssl.MemoryBIO(), ssl.MemoryBIO(), False
        self.tls = (context or client_context()).wrap_bio(self.input, self.output, server_hostname=name)

    def step(self, received=b""):
        """What the client says next in its handshake."""
        self.input.write(received)
        try:
            self.tls.do_handshake()
            self.done = True
        except ssl.SSLWantReadError:
            pass
        return self.output.read()

    def shake_hands(self, client, first=None):
        """The whole handshake over a raw client's connection, after `first` when that was sent already."""
        if first is None:
            client.send(self.step())
        while not self.done:
            data = client.socket.recv(65536)
            if not data:
                raise EOFError("the handshake ended")
            client.send(self.step(data))

    def ask(self, client, path="/", mark=b"ok\n"):
        client.send(self.seal(b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % path.encode()))
        return self.hear(client, mark)

    def hear(self, client, mark):
        text = b""
        while mark not in text and (data := self.read(client)):
            text += data
        return text

    def seal(self, data):
        self.tls.write(data)
        return self.output.read()

    def verdict(self, client):
        """How the other side ends the session, in the words of the error it makes here; "close_notify", "fin" or "rst" when it makes none."""
        received, how = what_comes(client)
        self.input.write(received)
        try:
            if not self.done:
                self.tls.do_handshake()
                self.done = True
            while True:
                self.tls.read(65536)
        except ssl.SSLWantReadError:
            return how
        except ssl.SSLZeroReturnError:
            return "close_notify"
        except ssl.SSLError as problem:
            return str(problem)

    def read(self, client):
        """Application data, from a raw client's connection; b"" at close_notify."""
        while True:
            try:
                return self.tls.read(65536)
            except ssl.SSLWantReadError:
                data = client.socket.recv(65536)
                if not data:
                    raise EOFError("no close_notify")
                self.input.write(data)
            except ssl.SSLZeroReturnError:
                return b""


def hello(context=None, name=NAME):
    """The bytes of a ClientHello, in its record."""
    return Session(context, name).step()


def what_comes(client, seconds=SLOW):
    """(all bytes, "fin" or "rst" or "open") from a raw client's connection until it ends."""
    received, end = client.buffer, time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            client.socket.settimeout(max(0.01, end - time.monotonic()))
            data = client.socket.recv(65536)
            if not data:
                return received, "fin"
            received += data
    except ConnectionError:
        return received, "rst"
    except TimeoutError:
        pass
    return received, "open"


def half_close(client):
    """No more will come from this raw client; it may have been reset meanwhile."""
    try:
        client.socket.shutdown(socket.SHUT_WR)
    except OSError:
        pass


ALERTS = {0: "close_notify", 10: "unexpected_message", 20: "bad_record_mac", 22: "record_overflow", 40: "handshake_failure", 47: "illegal_parameter", 50: "decode_error",
          70: "protocol_version", 100: "no_renegotiation", 112: "unrecognized_name", 116: "certificate_required", 120: "no_application_protocol"}


def alert_in(received):
    """The name of a plain alert record that the bytes end in."""
    if len(received) < 7 or received[-7] != 21:
        return None
    return ALERTS.get(received[-1], received[-1])


class Talk:
    """A running s_client, to be spoken to: say() and hear()."""

    def __init__(self, scene, port, *words):
        self.process = subprocess.Popen(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *s_client_words(words)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, env=PLAIN)
        scene.addCleanup(self.stop)
        self.text, self.turned = b"", threading.Condition()
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        while data := os.read(self.process.stdout.fileno(), 65536):
            with self.turned:
                self.text += data
                self.turned.notify_all()

    def say(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def hear(self, mark, seconds=SLOW):
        """All that was said up to and with mark."""
        with self.turned:
            if not self.turned.wait_for(lambda: mark in self.text or self.process.poll() is not None, seconds) or mark not in self.text:
                raise AssertionError(f"s_client did not say {mark}: {self.text.decode(errors='replace')[-2000:]}")
            heard, self.text = self.text[:self.text.index(mark) + len(mark)], self.text[self.text.index(mark) + len(mark):]
            return heard

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            try:
                stream.close()
            except OSError:
                pass


def s_client_words(words):
    words = list(words)
    if "-servername" not in words and "-noservername" not in words:
        words += ["-servername", NAME]
    return words + ["-CAfile", certificates().ca.path]


ASK = b"GET / HTTP/1.1\r\nHost: " + NAME.encode() + b"\r\nConnection: close\r\n\r\n"


def s_client(port, *words, request=ASK, seconds=SLOW * 2):
    """One run of s_client, with a request unless None: all that it printed but certificates and dumps."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *s_client_words(words)]
    if request is not None:
        command.append("-ign_eof")
    done = subprocess.run(command, input=request or b"", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds, env=PLAIN)
    return re.sub(r"(?ms)^-----BEGIN.*?^-----END[^\n]*\n|^    [0-9a-f]{4} - [^\n]*\n", "", done.stdout.decode(errors="replace"))


class Middleman:
    """Stands between a client and a port, passes everything on, and remembers what the client said first: what it says before it has heard anything."""

    def __init__(self, scene, port, pause=0.3):
        self.port, self.first, self.pause = port, b"", pause
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.own_port = self.listener.getsockname()[1]
        scene.addCleanup(self.listener.close)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        try:
            client, _ = self.listener.accept()
            client.settimeout(self.pause)
            try:
                while data := client.recv(65536):
                    self.first += data
            except TimeoutError:
                pass
            client.settimeout(None)
            server = socket.create_connection(("127.0.0.1", self.port))
            server.sendall(self.first)
            back = threading.Thread(target=self.carry, args=(server, client), daemon=True)
            back.start()
            self.carry(client, server)
            back.join()
            client.close()
            server.close()
        except OSError:
            pass

    @staticmethod
    def carry(source, drain):
        try:
            while data := source.recv(65536):
                drain.sendall(data)
            drain.shutdown(socket.SHUT_WR)
        except OSError:
            pass


# ---- Origins ------------------------------------------------------------------------------------------------------------

class TlsOrigin(Origin):
    """An Origin inside TLS; it remembers what each handshake said."""

    def __init__(self, script=None, certificate=None, client_ca=None, least=V12, most=V13, **more):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version, self.context.maximum_version = least, most
        certificate = certificate or certificates().origin
        self.context.load_cert_chain(certificate.chain, certificate.key)
        self.context.sni_callback = lambda tls, name, context: self.names.append(name)
        if client_ca:
            self.context.verify_mode = ssl.CERT_REQUIRED
            self.context.load_verify_locations(client_ca)
        self.names, self.handshakes, self.clients, self.refusals = [], [], [], []
        super().__init__(script, **more)

    def serve(self, connection):
        try:
            secure = self.context.wrap_socket(connection, server_side=True, suppress_ragged_eofs=False)
        except OSError as problem:
            self.refusals.append(str(problem))
            connection.close()
            return
        self.connections.append(secure)
        self.clients.append(secure.getpeercert())
        self.handshakes.append((secure.version(), secure.session_reused))
        super().serve(secure)


def farewell(exchange):
    """Ends an origin's connection as TLS wants it: close_notify, then FIN. For scripts: `return farewell(exchange)`."""
    try:
        exchange.connection.settimeout(2)
        exchange.connection.unwrap()
    except (OSError, ValueError):
        pass
    exchange.connection.close()
    return False


def cut(exchange):
    """Ends an origin's connection as an attacker would: FIN and no close_notify."""
    exchange.connection.shutdown(socket.SHUT_RDWR)
    exchange.connection.close()
    return False


# ---- The engine ---------------------------------------------------------------------------------------------------------

class SecureWeir(Weir):
    """An engine whose {port} speaks TLS; {plain} is a free port for another listener."""

    def __init__(self, config, **more):
        self.plain = free_port()
        super().__init__(config, plain=self.plain, **more)

    def connect(self, timeout=SLOW, **how):
        return TlsClient(self.port, timeout, **how)

    def connect_raw(self, timeout=SLOW):
        return Client(self.port, timeout)


def listening(tls="", served=None, listener="", more=""):
    """The listeners of a configuration: {port} with TLS and these certificates, {admin}, and more."""
    served = served or [certificates().site]
    lines = ["listeners:", "  - address: 127.0.0.1:{port}", *indented(listener, 4), "    tls:", "      certificates:"]
    lines += [f"        - {c if isinstance(c, str) else c.yaml}" for c in served]
    lines += indented(tls, 6)
    return "\n".join(lines + ["  - { address: 127.0.0.1:{admin}, serve: admin }", *indented(more, 2)]) + "\n"


def indented(text, width):
    return [" " * width + line for line in text.split("\n") if line]


def before(*origins, pool=""):
    """Routes and one pool of these origins."""
    servers = ", ".join(f'"{o.address}"' for o in origins)
    return f"routes: [ {{ pool: app }} ]\npools:\n  app:\n    servers: [ {servers} ]\n{pool}\n"


class TlsScene(Scene):
    def secure(self, config, **more):
        engine = SecureWeir(config, **more)
        self.addCleanup(engine.stop)
        return engine

    def secure_before(self, *origins, tls="", served=None, pool="", top="", listener=""):
        return self.secure(top + "\n" + listening(tls, served, listener) + before(*origins, pool=pool))

    def tls_origin(self, script=None, **more):
        origin = TlsOrigin(script, **more)
        self.addCleanup(origin.stop)
        return origin

    def refused(self, problem, *words, do):
        """do() fails with an error of TLS that holds one of these words."""
        with self.assertRaises((OSError, EOFError)) as caught:
            do()
        self.assertRegex(str(caught.exception).upper().replace(" ", "_"), "|".join(words), problem)


class OneEngine(TlsScene):
    """Scenes that share one engine, made by the class's config(origin)."""

    script = None

    @classmethod
    def config(cls, origin):
        return listening() + before(origin)

    @classmethod
    def setUpClass(cls):
        cls.origin_here = Origin(cls.script)
        cls.addClassCleanup(cls.origin_here.stop)
        cls.engine = SecureWeir(cls.config(cls.origin_here))
        cls.addClassCleanup(cls.engine.stop)
