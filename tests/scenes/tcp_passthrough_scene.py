"""TLS passthrough: the ClientHello says which pool, the servers hold the certificates, and what is no good hello goes nowhere."""
import socket
import ssl
import time
import unittest

from props import Nginx, content, run
from proxy_props import AUTHORITY, Sender, read_header, v2
from stage import SLOW, Client, wait_for
from tcp_props import TcpScene, banner, echo, listening, pool
from tls_certificates import NAME, certificates
from tls_props import V12, TlsClient, client_context, hello, s_client, what_comes

ROWS = "{ passthrough: [ { sni: [ site.test, \"*.wild.test\" ], alpn: [ h2, postgresql ], pool: two }, { sni: [ %s, \"*.wild.test\" ], pool: one } ] }" % NAME


def named_echo(name):
    def script(connection):
        connection.sendall(name.encode() + b"\n")
        echo(connection)
    return script


class Passthrough(TcpScene):
    def tls_server(self, name, certificate=None, alpn=(), seen=None):
        certificate = certificate or certificates().site
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.chain, certificate.key)
        if alpn:
            context.set_alpn_protocols(list(alpn))

        def wrap(plain):
            if seen is not None:
                seen.append(read_header(plain))
            return context.wrap_socket(plain, server_side=True)
        return self.server(named_echo(name), wrap=wrap)

    def three(self, tcp, more="", listener="", top=""):
        self.one, self.two = self.tls_server("one", certificates().site), self.tls_server("two", certificates().wild, ("h2", "postgresql"))
        self.plain = self.server(banner)
        return self.engine(top + listening(tcp, listener) + "pools:\n" + pool("one", self.one, more=more) + pool("two", self.two, more=more) + pool("rest", self.plain, more=more))

    def asked(self, engine, name, alpn=None, **more):
        context = client_context(alpn=alpn, **more)
        context.check_hostname = False
        with TlsClient(engine.tcp, name=name, context=context) as client:
            answer = client.until(b"\n").decode()
            self.says(client, content(100_000))
            return answer, client.certificate, client.socket.selected_alpn_protocol()

    def closed(self, engine, data):
        with engine.client() as client:
            client.send(data)
            self.assertEqual(what_comes(client)[0], b"", data[:40])


class Names(Passthrough):
    def test_names_and_protocols(self):
        engine = self.three("{ passthrough: [ { sni: [ \"*.Wild.test\" ], alpn: [ h2, postgresql ], pool: two }, { sni: [ %s, \"*.wild.test\" ], pool: one } ] }" % NAME)
        for name, alpn, wanted in ((NAME, None, "one"), (NAME, ["h2"], "one"), ("a.wild.test", None, "one"), ("a.wild.test", ["http/1.1"], "one"),
                                   ("a.wild.test", ["http/1.1", "postgresql"], "two"), ("a.b.WILD.test", ["h2"], "two")):
            self.assertEqual(self.asked(engine, name, alpn)[0], wanted, (name, alpn))
        self.assertEqual(self.asked(engine, "a.wild.test", ["postgresql"])[2], "postgresql")
        self.assertEqual(self.asked(engine, NAME, least=V12, most=V12)[0], "one")
        for name in ("wild.test", "other.test", None):
            with self.assertRaises(OSError):
                self.asked(engine, name)
        self.assertEqual(engine.counter("tcp_no_match"), 3)
        self.assertEqual({line["sni"] for line in engine.logged(11) if line["why"] == "tcp_no_match" and not line["pool"]}, {"wild.test", "other.test", ""})
        self.nothing_left(engine)

    def test_the_servers_own_certificate_is_seen(self):
        engine = self.three(ROWS)
        direct = self.asked(type("Direct", (), {"tcp": self.one.port}), NAME)[1]
        self.assertEqual(self.asked(engine, NAME)[1], direct)
        self.nothing_left(engine)

    def test_a_star_takes_clients_without_a_name(self):
        engine = self.three("{ passthrough: [ { sni: %s, pool: two }, { pool: one } ] }" % NAME)
        self.assertEqual([self.asked(engine, name)[0] for name in (None, "other.test", NAME)], ["one", "one", "two"])

    def test_what_is_no_tls_goes_to_the_pool_beside(self):
        engine = self.three("{ passthrough: [ { sni: %s, pool: one } ], pool: rest }" % NAME)
        for first in (b"SSH-2.0-client\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\x08\x04\xd2\x16\x2f", b"\x80\x01"):
            with engine.client() as client:
                client.send(first)
                self.assertEqual(client.until(b"\n"), b"SSH-2.0-scene\r")
                self.assertEqual(client.exactly(len(first)), first)
            if first == b"GET / HTTP/1.1\r\n\r\n":
                self.assertEqual(engine.logged(1)[-1]["pool"], "rest")
        with self.assertRaises(OSError):
            self.asked(engine, "other.test")  # plain bytes come back
        self.nothing_left(engine)

    def test_without_it_they_are_closed(self):
        engine = self.three(ROWS)
        for data in (b"SSH-2.0-client\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\x08"):
            self.closed(engine, data)
        self.assertEqual(engine.counter("tcp_no_match"), 3)
        self.nothing_left(engine)


class Hellos(Passthrough):
    def shake(self, engine, cut):
        """A handshake whose hello is sent by cut(bytes, send)."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = client_context().wrap_bio(incoming, outgoing, server_hostname=NAME)
        with self.assertRaises(ssl.SSLWantReadError):
            tls.do_handshake()
        with engine.client() as client:
            cut(outgoing.read(), client.send)
            while True:
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    client.send(outgoing.read()) if outgoing.pending else None
                    incoming.write(client.socket.recv(65536))
            client.send(outgoing.read())
            while True:
                try:
                    return tls.read(4)
                except ssl.SSLWantReadError:
                    incoming.write(client.socket.recv(65536))

    def test_single_bytes(self):
        engine = self.three(ROWS)

        def one_by_one(data, send):
            for at in range(len(data)):
                send(data[at:at + 1])
        self.assertEqual(self.shake(engine, one_by_one), b"one\n")
        self.nothing_left(engine)

    def test_many_records(self):
        engine = self.three(ROWS)

        def in_records(data, send):
            message = data[5:]
            parts = [message[at:at + 100] for at in range(0, len(message), 100)]
            send(b"".join(b"\x16\x03\x01" + len(p).to_bytes(2, "big") + p for p in parts))
        self.assertEqual(self.shake(engine, in_records), b"one\n")
        self.nothing_left(engine)

    def test_hostile_ones(self):
        engine = self.three(ROWS.replace("] }", "], pool: rest }"))
        good = hello()
        bad = (b"\x16\x03\x01\x00\x00", b"\x16\x03\x01\xff\xff", b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + b"x" * 20000, b"\x15\x03\x01\x00\x02\x02\x00"[:0] + b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",
               good[:60] + b"\xff" * (len(good) - 60), b"\x16\x03\x01\x00\x01\x01" * 70)
        for data in bad:
            self.closed(engine, data)
        wait_for("all to be counted", lambda: engine.counter("tcp_malformed") == len(bad))
        with engine.client() as client:  # cut
            client.send(good[:100])
            client.socket.shutdown(socket.SHUT_WR)
            self.assertEqual(what_comes(client)[0], b"")
        wait_for("it to be counted", lambda: engine.counter("tcp_malformed") == len(bad) + 1)
        engine.client().close()  # who only looks is not told of as malformed
        self.nothing_left(engine)
        self.assertEqual(engine.counter("tcp_malformed"), len(bad) + 1)
        self.assertEqual(self.plain.accepted + self.one.accepted + self.two.accepted, 0)

    def test_slow_ones_are_cut_and_capped(self):
        engine = self.three(ROWS, top="timeouts: { handshake: 1s }\nlimits: { handshakes: 5 }\n")
        slow = [engine.client() for _ in range(5)]
        for client in slow:
            client.send(hello()[:20])
        wait_for("they to be there", lambda: engine.counter("tcp_open") == 5)
        self.refused(engine)
        self.assertEqual(engine.counter("handshakes_refused"), 1)
        begun = time.monotonic()
        for client in slow:
            self.assertEqual(what_comes(client), (b"", "rst"))
        self.assertLess(time.monotonic() - begun, SLOW)
        self.assertEqual(engine.counter("handshake_timeouts"), 5)
        self.assertEqual(self.asked(engine, NAME)[0], "one")
        self.nothing_left(engine)

    def test_a_hello_that_is_through_has_all_the_time_and_no_place(self):
        engine = self.three(ROWS, top="timeouts: { handshake: 500ms }\nlimits: { handshakes: 1 }\n")
        with TlsClient(engine.tcp) as client, TlsClient(engine.tcp) as another:
            client.until(b"\n")
            another.until(b"\n")
            time.sleep(1)
            self.says(client, b"still here")
            self.says(another, b"still here")
        self.nothing_left(engine)


class Real(Passthrough):
    def test_nginx_curl_and_openssl(self):
        for program in ("nginx", "curl", "openssl"):
            self.need(program)
        site, other = certificates().site, certificates().other
        ports = [socket.socket() for _ in range(2)]
        for s in ports:
            s.bind(("127.0.0.1", 0))
        numbers = [s.getsockname()[1] for s in ports]
        for s in ports:
            s.close()
        names = ((site, NAME, numbers[0]), (other, "other.test", numbers[1]))
        servers = [Nginx(self.need("nginx"), name=name, server=f"listen 127.0.0.1:{number} ssl; ssl_certificate {c.chain}; ssl_certificate_key {c.key};") for c, name, number in names]
        for server in servers:
            self.addCleanup(server.stop)
        rows = ", ".join(f"{{ sni: {name}, pool: p{i} }}" for i, (_, name, _) in enumerate(names))
        engine = self.engine(listening(f"{{ passthrough: [ {rows} ] }}") + "pools:\n" + "".join(pool(f"p{i}", f"127.0.0.1:{n}") for i, n in enumerate(numbers)))
        for _, name, _ in names:
            code, out, errors = run("curl", "-sS", "--cacert", certificates().ca.path, "--resolve", f"{name}:{engine.tcp}:127.0.0.1", f"https://{name}:{engine.tcp}/named")
            self.assertEqual((code, out), (0, name.encode()), errors)
            code, out, errors = run("curl", "-sS", "--cacert", certificates().ca.path, "--resolve", f"{name}:{engine.tcp}:127.0.0.1", f"https://{name}:{engine.tcp}/big")
            self.assertEqual((code, out), (0, content(100_000)), errors)
        out = s_client(engine.tcp, "-servername", "other.test", request=None)
        self.assertIn("Verify return code: 0", out)
        self.assertIn("CN = other.test", out.replace("CN=", "CN = "))
        self.nothing_left(engine)

    def test_the_proxy_protocol_goes_before_the_hello(self):
        seen = []
        server = self.tls_server("one", seen=seen)
        engine = self.engine(listening("{ passthrough: [ { sni: \"*\", pool: one } ] }", ", proxy-protocol: [ 127.0.0.2 ]") + "pools:\n"
                             + pool("one", server, more="    proxy-protocol: v2\n"))
        with Sender(engine.tcp, v2()) as sender:
            sender.socket = client_context().wrap_socket(sender.socket, server_hostname=NAME)
            self.assertEqual(sender.until(b"\n"), b"one")
        header, = seen
        self.assertEqual((header.source, header.fields[AUTHORITY], header.client), (("192.0.2.7", 1234), NAME.encode(), None))
        self.nothing_left(engine)


if __name__ == "__main__":
    unittest.main()
