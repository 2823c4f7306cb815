"""TLS towards origins: whom the engine believes, what it says of itself, and that what an origin cut off never looks complete."""
import collections
import hashlib
import os
import re
import time
import unittest

from props import content, digest
from stage import free_port, named, ok, raw, wait_for
from tls_certificates import certificates
from tls_props import V12, V13, TlsScene, cut, farewell

BOTH = (V12, V13)
UNTRUSTED = r"authority|issuer|signer|\bca\b|trust"
NEVER_MARKED = "    passive-health: { fail-after: never }\n    retries: 0\n"


class OriginScene(TlsScene):
    def towards(self, *origins, tls="server-name: origin.test", pool=NEVER_MARKED, ca=True, **more):
        """A plain engine before TLS origins."""
        words = ", ".join(([f"ca: {certificates().ca.path}"] if ca else []) + ([tls] if tls else []))
        servers = ", ".join(o if isinstance(o, str) else f'"{o.address}"' for o in origins)
        return self.weir(f"{more.get('top', '')}\nroutes: [ {{ pool: app }} ]\npools:\n  app:\n    servers: [ {servers} ]\n    tls: {{ {words} }}\n{pool}\n")


class Believed(OriginScene):
    def test_an_origin_whose_name_and_authority_are_right(self):
        for version in BOTH:
            origin = self.tls_origin(named("well"), least=version, most=version)
            engine = self.towards(origin)
            self.assertEqual([engine.get().body for _ in range(3)], [b"well"] * 3)
            self.assertEqual(origin.names[0], "origin.test")
            self.assertEqual(origin.handshakes[0][0], "TLSv1.2" if version == V12 else "TLSv1.3")

    def test_a_name_in_the_address_is_asked_for_and_verified(self):
        origin = self.tls_origin(named("well"), certificate=certificates().ca.issue("localhost", "localhost"))
        engine = self.towards(f'"localhost:{origin.port}"', tls="")
        self.assertEqual((engine.get().body, origin.names[0]), (b"well", "localhost"))

    def test_an_address_without_a_name_is_verified_as_an_address(self):
        """RFC 6066 3: no literal addresses in SNI."""
        origin = self.tls_origin(named("well"))
        engine = self.towards(origin, tls="")
        self.assertEqual((engine.get().body, origin.names[0]), (b"well", None))
        other = self.tls_origin(named("well"), certificate=certificates().ca.issue("x", "x.test", "IP:127.0.0.2"))
        self.assertEqual(self.towards(other, tls="").get().status, 502)

    def test_wildcards(self):
        origin = self.tls_origin(named("well"))
        self.assertEqual(self.towards(origin, tls="server-name: a.origins.test").get().body, b"well")
        for name in ("origins.test", "a.b.origins.test"):
            self.assertEqual(self.towards(origin, tls=f"server-name: {name}").get().status, 502, name)

    def test_a_chain_with_an_intermediate(self):
        origin = self.tls_origin(named("well"), certificate=certificates().between.issue("origin.test", "origin.test", kind="rsa", whole_chain=True))
        self.assertEqual(self.towards(origin).get().body, b"well")

    def test_several_origins_take_turns(self):
        origins = [self.tls_origin(named(n)) for n in "abc"]
        engine = self.towards(*origins, pool="    balance: round-robin", top="workers: 1\npin: false")
        self.assertEqual(collections.Counter(engine.get().body for _ in range(30)), {b"a": 10, b"b": 10, b"c": 10})

    def test_a_client_with_tls_and_an_origin_with_tls(self):
        origin = self.tls_origin(digest)
        engine = self.secure_before(origin, pool=f"    tls: {{ ca: {certificates().ca.path}, server-name: origin.test }}")
        data = os.urandom(3000000)
        with engine.connect(30) as client:
            for _ in range(3):
                self.assertIn(hashlib.sha256(data).hexdigest().encode(), client.ask("/", "PUT", body=data).body)

    def test_health_is_asked_over_tls(self):
        origin = self.tls_origin(named("well"))
        engine = self.towards(origin, pool="    health: { path: /healthz, interval: 100ms }")
        wait_for("a probe", lambda: any(b"/healthz" in head for head in origin.requests))
        wait_for("the server to be up", lambda: engine.server(origin.port)["state"] == "up")
        self.assertEqual(engine.get().body, b"well")


class NotBelieved(OriginScene):
    """502, the origin never sees the request, and the log says why."""

    def refused(self, origin, reason, tls="server-name: origin.test", ca=True):
        engine = self.towards(origin, tls=tls, ca=ca)
        response = engine.get("/secret", headers=["X-Secret: 1"])
        self.assertEqual(response.status, 502)
        self.assertEqual(origin.requests, [])
        line = re.compile(rf"(?i)server \S*:{origin.port}\b.*({reason})")
        try:
            wait_for("a line in the log", lambda: line.search(engine.log()), 3)
        except AssertionError:
            self.fail(f"no line says {reason}: " + "\n".join(line for line in engine.log().split("\n") if str(origin.port) in line))

    def test_a_name_that_is_wrong(self):
        for version in BOTH:
            self.refused(self.tls_origin(most=version, least=version), "name|host|domain", tls="server-name: elsewhere.test")

    def test_an_authority_nobody_knows(self):
        for version in BOTH:
            self.refused(self.tls_origin(certificate=certificates().origin_strange, most=version, least=version), UNTRUSTED)

    def test_a_certificate_that_has_expired(self):
        self.refused(self.tls_origin(certificate=certificates().origin_expired), "expired|current date after")

    def test_a_certificate_that_is_not_yet_valid(self):
        self.refused(self.tls_origin(certificate=certificates().origin_early), "not yet|before")

    def test_a_certificate_that_signed_itself(self):
        own = certificates()
        self.refused(self.tls_origin(certificate=type(own.origin)(own.strangers.path, own.strangers.key)), UNTRUSTED + "|self|name")

    def test_a_certificate_of_a_client(self):
        """Its extended key usage says clientAuth only."""
        certificate = certificates().ca.issue("origin.test", "origin.test", usage="clientAuth")
        self.refused(self.tls_origin(certificate=certificate), r"\buse\b|usage|purpose")

    def test_a_certificate_whose_intermediate_is_missing(self):
        certificate = certificates().between.issue("origin.test", "origin.test")
        self.refused(self.tls_origin(certificate=certificate), UNTRUSTED)

    def test_a_certificate_that_a_mere_server_signed(self):
        """basicConstraints: CA:FALSE in the middle of the chain."""
        own = certificates()
        leaf = own.ca.issue("leaf.test", "leaf.test")
        forged = type(own.ca).__new__(type(own.ca))
        forged.folder, forged.config, forged.made = leaf.chain + ".ca", leaf.chain + ".ca/ca.conf", 0
        os.mkdir(forged.folder)
        forged.path, forged.key = os.path.join(forged.folder, "ca.crt"), os.path.join(forged.folder, "ca.key")
        for source, drain in ((leaf.chain, forged.path), (leaf.key, forged.key)):
            with open(source) as file, open(drain, "w") as copy:
                copy.write(file.read())
        with open(forged.config, "w") as file:
            file.write(forged.CONFIG.format(folder=forged.folder))
        open(os.path.join(forged.folder, "index.txt"), "w").close()
        self.refused(self.tls_origin(certificate=forged.issue("origin.test", "origin.test", whole_chain=True)), UNTRUSTED + "|chain")

    def test_the_systems_authorities_are_the_default(self):
        self.refused(self.tls_origin(), UNTRUSTED, ca=False)

    def test_an_origin_that_speaks_no_tls(self):
        origin = self.origin()
        origin.serve = lambda connection: (connection.recv(100), connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"), connection.recv(100))
        engine = self.towards(origin)
        self.assertEqual((engine.get().status, origin.requests), (502, []))
        wait_for("a line in the log", lambda: str(origin.port) in engine.log())

    def test_an_origin_that_is_too_old(self):
        origin = self.tls_origin(least=V12, most=V12)
        self.refused(origin, "version|protocol|alert", tls="server-name: origin.test, min-version: 1.3")

    def test_an_origin_that_says_nothing(self):
        listener = self.origin(lambda e: time.sleep(3) or False)
        engine = self.towards(listener, pool=NEVER_MARKED + "    timeouts: { connect: 300ms, first-byte: 300ms }")
        began = time.monotonic()
        self.assertIn(engine.get().status, (502, 504))
        self.assertLess(time.monotonic() - began, 2.5)

    def test_an_origin_that_leaves_in_the_handshake(self):
        origin = self.origin(lambda e: False)
        origin.serve = lambda connection: (connection.recv(100), connection.close())
        engine = self.towards(origin)
        self.assertEqual(engine.get().status, 502)
        origin.serve = lambda connection: (connection.recv(100), connection.sendall(b"\x16\x03\x03\x00\x7a\x02\0\0\x76"), connection.close())
        self.assertEqual(engine.get().status, 502)

    def test_a_refused_handshake_is_a_failed_connection_that_is_retried_elsewhere(self):
        """Nothing was sent yet: even a POST may go to the next one."""
        bad, good = self.tls_origin(certificate=certificates().origin_strange), self.tls_origin(named("well"))
        engine = self.towards(bad, good, pool="    balance: round-robin\n    passive-health: { fail-after: 2, back-off: 30s }", top="workers: 1\npin: false")
        self.assertEqual([engine.get(method="POST", body=b"x").body for _ in range(10)], [b"well"] * 10)
        self.assertEqual(engine.server(bad.port)["state"], "marked")

    def test_verify_off_believes_anybody(self):
        own = certificates()
        for certificate in (own.origin_strange, own.origin_expired, own.other):
            origin = self.tls_origin(named("anybody"), certificate=certificate)
            engine = self.towards(origin, tls="verify: off, server-name: origin.test", ca=False)
            self.assertEqual((engine.get().body, origin.names[0]), (b"anybody", "origin.test"))


class Said(OriginScene):
    def test_a_client_certificate_is_shown(self):
        own = certificates()
        for version in BOTH:
            for certificate, name in ((own.client, "ann"), (own.client_rsa, "bob")):
                origin = self.tls_origin(named("known"), client_ca=own.ca.path, least=version, most=version)
                engine = self.towards(origin, tls=f"server-name: origin.test, certificate: {certificate.yaml}")
                self.assertEqual(engine.get().body, b"known")
                self.assertIn((("commonName", name),), origin.clients[0]["subject"])

    def test_without_a_certificate_an_origin_that_wants_one_refuses(self):
        for version in BOTH:
            origin = self.tls_origin(client_ca=certificates().ca.path, least=version, most=version)
            self.assertEqual(self.towards(origin).get().status, 502)
            self.assertEqual(origin.requests, [])

    def test_sessions_are_taken_up_again(self):
        """An origin that closes after each answer is met again with its ticket."""
        def script(exchange):
            exchange.body()
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return farewell(exchange)
        for version in BOTH:
            origin = self.tls_origin(script, least=version, most=version)
            engine = self.towards(origin, top="workers: 1\npin: false")
            for _ in range(6):
                self.assertEqual(engine.get().status, 200)
            reused = [reused for _, reused in origin.handshakes]
            self.assertGreaterEqual(reused.count(True), 4, reused)

    def test_connections_are_kept(self):
        origin = self.tls_origin()
        engine = self.towards(origin, top="workers: 1\npin: false")
        for _ in range(10):
            self.assertEqual(engine.get().status, 200)
        self.assertEqual(len(origin.handshakes), 1)

    def test_an_origin_that_forgets_its_sessions(self):
        port = free_port()
        first = self.tls_origin(port=port)
        engine = self.towards(first, top="workers: 1\npin: false")
        self.assertEqual(engine.get().status, 200)
        first.stop()
        second = self.tls_origin(named("second"), port=port)
        wait_for("the new origin", lambda: engine.get().body == b"second")
        self.assertEqual(second.handshakes[0][1], False)

    def test_a_reload_switches_tls_on_and_off(self):
        plain, secure = self.origin(named("plain")), self.tls_origin(named("secure"))
        config = "workers: 2\npin: false\nroutes: [ { pool: app } ]\npools: { app: { servers: [ %s ] %s } }\n"
        engine = self.weir(config % (plain.address, ""))
        self.assertEqual(engine.get().body, b"plain")
        engine.write(config % (secure.address, f", tls: {{ ca: {certificates().ca.path}, server-name: origin.test }}"))
        self.assertEqual(engine.command("reload")[0], 0)
        self.assertEqual(engine.get().body, b"secure")
        engine.write(config % (secure.address, f", tls: {{ ca: {certificates().strangers.path}, server-name: origin.test }}, retries: 0"))
        self.assertEqual(engine.command("reload")[0], 0)
        self.assertEqual(engine.get().status, 502, "a kept connection, or a session, of another trust was used")
        engine.write(config % (plain.address, ""))
        self.assertEqual(engine.command("reload")[0], 0)
        self.assertEqual(engine.get().body, b"plain")


class Content(OriginScene):
    LARGE = content(8000000)

    def test_large_bodies_both_ways(self):
        def script(exchange):
            if exchange.path == "/up":
                return digest(exchange)
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(self.LARGE) + self.LARGE)
            return None
        for version in BOTH:
            engine = self.towards(self.tls_origin(script, least=version, most=version))
            with engine.connect(30) as client:
                client.send_request("/down")
                self.assertEqual(client.response().body, self.LARGE)
                client.send_request("/up", "PUT", body=self.LARGE)
                self.assertIn(hashlib.sha256(self.LARGE).hexdigest().encode(), client.response().body)

    def test_an_origin_of_a_byte_a_record(self):
        answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"

        def script(exchange):
            for byte in answer:
                exchange.send(bytes([byte]))
        engine = self.towards(self.tls_origin(script))
        with engine.connect() as client:
            for _ in range(2):
                client.send_request()
                self.assertEqual(client.response().body, b"hello world")

    def test_an_answer_until_close_notify_is_complete(self):
        for version in BOTH:
            def script(exchange):
                exchange.send(b"HTTP/1.1 200 OK\r\n\r\nall of it")
                return farewell(exchange)
            response = self.towards(self.tls_origin(script, least=version, most=version)).get()
            self.assertEqual((response.complete, response.body), (True, b"all of it"))

    def broken_off(self, data, end):
        def script(exchange):
            exchange.send(data)
            time.sleep(0.1)
            return end(exchange)
        return script

    def test_an_answer_until_close_that_is_truncated_is_not_complete(self):
        """FIN without close_notify: anybody on the way can do that."""
        cases = [(data, end) for end in (cut, lambda exchange: exchange.reset())
                 for data in (b"HTTP/1.1 200 OK\r\n\r\nsome of it", b"HTTP/1.1 200 OK\r\n\r\n" + content(300000), b"HTTP/1.1 200 OK\r\n\r\n")]
        for version in BOTH:
            engine = self.towards(self.tls_origin(lambda exchange: self.broken_off(*cases[int(exchange.path[1:])])(exchange), least=version, most=version))
            for number in range(len(cases)):
                for spoken in ("1.1", "1.0"):
                    with self.subTest(version=version, spoken=spoken, case=number), engine.connect() as client:
                        client.send_request(f"/{number}", version=spoken)
                        self.never_complete(client)

    def never_complete(self, client):
        status, fields = client.head()
        ended = "fin"
        try:
            while b"0\r\n\r\n" not in client.buffer and client.fill():
                pass
        except ConnectionError:
            ended = "rst"
        if status == 200:
            self.assertNotIn(b"0\r\n\r\n", client.buffer)
            if "transfer-encoding" not in {name.lower() for name, _ in fields}:
                self.assertEqual(ended, "rst", client.buffer[-50:])

    def test_answers_that_are_cut_short_are_never_complete(self):
        for data in (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwxyz\r\n"):
            for end in (cut, farewell):
                engine = self.towards(self.tls_origin(self.broken_off(data, end)))
                with self.subTest(data[20:50], end=end.__name__):
                    try:
                        self.assertFalse(engine.get().complete)
                    except (OSError, EOFError):
                        pass

    def test_a_length_that_is_fulfilled_needs_no_goodbye(self):
        engine = self.towards(self.tls_origin(raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole", close=True)))
        for _ in range(5):
            self.assertEqual(engine.get().body, b"whole")

    def test_heads_that_are_cut_are_a_502(self):
        for data in (b"", b"HTTP/1.1 200 OK\r\nContent-"):
            for end in (cut, farewell):
                engine = self.towards(self.tls_origin(self.broken_off(data, end)))
                self.assertEqual(engine.get(method="POST", body=b"x").status, 502)

    def test_a_stale_kept_connection_costs_no_request(self):
        def script(exchange):
            ok(exchange)
            return farewell(exchange)
        engine = self.towards(self.tls_origin(script), pool="")
        with engine.connect() as client:
            for _ in range(20):
                client.send_request()
                self.assertEqual(client.response().status, 200)


if __name__ == "__main__":
    unittest.main()
