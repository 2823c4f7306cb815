"""What a client and the engine agree on: versions, ciphers, groups, ALPN, sessions that come back, early data, new keys in the middle."""
import os
import re
import ssl
import tempfile
import time
import unittest

from stage import Client, ok, wait_for
from tls_certificates import certificates
from tls_props import ASK, V12, V13, Middleman, OneEngine, Talk, TlsClient, TlsScene, alert_in, before, client_context, hello, listening, s_client, what_comes


def chosen(text):
    """(version, cipher) of an s_client run that came to a session."""
    found = re.search(r"New, (TLSv1\.[0-9]), Cipher is (\S+)|Reused, (TLSv1\.[0-9]), Cipher is (\S+)", text)
    return (found.group(1) or found.group(3), found.group(2) or found.group(4)) if found else None


class Versions(OneEngine):
    @classmethod
    def config(cls, origin):
        served = [certificates().site, certificates().site_rsa]
        return listening(served=served) + before(origin)

    def test_1_2_and_1_3_are_spoken(self):
        for version, said in ((V12, "TLSv1.2"), (V13, "TLSv1.3")):
            with self.engine.connect(context=client_context(version, version)) as client:
                self.assertEqual((client.ask().body, client.ask().body, client.socket.version()), (b"ok\n", b"ok\n", said))

    def test_1_3_is_preferred(self):
        with self.engine.connect() as client:
            self.assertEqual(client.socket.version(), "TLSv1.3")

    def test_1_1_and_1_0_are_refused_with_an_alert(self):
        for version in ("-tls1_1", "-tls1"):
            text = s_client(self.engine.port, version, "-cipher", "ALL:@SECLEVEL=0", request=None)
            self.assertIn("alert protocol version", text)
            self.assertEqual(chosen(text), None)

    def test_ssl_2_and_ssl_3_are_refused(self):
        ssl_3 = bytearray(hello(client_context(V12, V12)))
        ssl_3[1:3], ssl_3[9:11] = b"\3\0", b"\3\0"
        ssl_2 = b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10\x01\x00\x80\x02\x00\x80\x03\x00\x80\x04\x00\x80\x05\x00\x80\x06\x00\x40\x07" + bytes(range(16)) + b"\0"
        for data in (bytes(ssl_3), ssl_2):
            with self.engine.connect_raw() as client:
                client.send(data)
                received, how = what_comes(client)
                self.assertNotEqual(how, "open")
                self.assertIn(alert_in(received), ("protocol_version", "handshake_failure", None))
                self.assertLess(len(received), 8)

    def test_default_ciphers_of_1_2_are_forward_secret(self):
        for cipher in ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305",
                       "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305"):
            with self.subTest(cipher):
                text = s_client(self.engine.port, "-tls1_2", "-cipher", cipher)
                self.assertEqual(chosen(text), ("TLSv1.2", cipher), text[-1500:])
                self.assertIn("HTTP/1.1 200", text)

    def test_weak_ciphers_are_refused(self):
        for cipher in ("AES128-GCM-SHA256", "AES256-SHA", "ECDHE-RSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA384", "DHE-RSA-AES128-GCM-SHA256", "AECDH-AES128-SHA", "ECDHE-RSA-NULL-SHA",
                       "PSK-AES128-GCM-SHA256:ECDHE-PSK-CHACHA20-POLY1305"):
            with self.subTest(cipher):
                more = ("-psk", "00112233") if cipher.startswith("PSK") else ()
                text = s_client(self.engine.port, "-tls1_2", "-cipher", cipher + ":@SECLEVEL=0", *more, request=None)
                self.assertIn("alert handshake failure", text)

    def test_all_ciphers_of_1_3_are_spoken(self):
        for cipher in ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"):
            with self.subTest(cipher):
                text = s_client(self.engine.port, "-tls1_3", "-ciphersuites", cipher)
                self.assertEqual(chosen(text), ("TLSv1.3", cipher))
                self.assertIn("HTTP/1.1 200", text)

    def test_default_groups(self):
        for version in ("-tls1_2", "-tls1_3"):
            for group, said in (("X25519", "X25519"), ("P-256", "prime256v1|P-256|secp256r1"), ("P-384", "secp384r1|P-384")):
                with self.subTest(version=version, group=group):
                    # The certificate's own curve has to be among the groups of a 1.2 client: RSA's is not one.
                    text = s_client(self.engine.port, version, "-groups", group, "-sigalgs", "RSA-PSS+SHA256")
                    self.assertRegex(text, f"Temp Key: .*({said})")
                    self.assertIn("HTTP/1.1 200", text)

    def test_a_group_that_nobody_has_is_refused(self):
        self.assertRegex(s_client(self.engine.port, "-tls1_3", "-groups", "P-521", request=None), "alert (handshake failure|illegal parameter|insufficient security)")

    def test_a_hello_with_one_key_share_too_few_is_asked_again(self):
        """The first of a client's groups, for which it sends a share, is not ours: HelloRetryRequest."""
        text = s_client(self.engine.port, "-tls1_3", "-groups", "P-521:P-384")
        self.assertRegex(text, "Temp Key: .*(secp384r1|P-384)")
        self.assertIn("HTTP/1.1 200", text)

    def test_compression_is_not_offered(self):
        self.assertIn("Compression: NONE", s_client(self.engine.port, "-tls1_2", "-comp"))


class Configured(TlsScene):
    def test_min_version_1_3_refuses_1_2(self):
        engine = self.secure_before(self.origin(), tls="min-version: 1.3")
        self.refused("1.2", "PROTOCOL_VERSION", do=lambda: engine.connect(context=client_context(V12, V12)))
        with engine.connect() as client:
            self.assertEqual((client.ask().status, client.socket.version()), (200, "TLSv1.3"))

    def test_ciphers_as_configured(self):
        engine = self.secure_before(self.origin(), tls="ciphers: [ TLS_AES_256_GCM_SHA384, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 ]")
        self.assertEqual(chosen(s_client(engine.port, "-tls1_3")), ("TLSv1.3", "TLS_AES_256_GCM_SHA384"))
        self.assertEqual(chosen(s_client(engine.port, "-tls1_2")), ("TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384"))
        self.assertIn("alert handshake failure", s_client(engine.port, "-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256", request=None))
        self.assertIn("alert handshake failure", s_client(engine.port, "-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305", request=None))

    def test_groups_as_configured(self):
        engine = self.secure_before(self.origin(), tls="groups: [ P-384 ]")
        for version in ("-tls1_2", "-tls1_3"):
            self.assertRegex(s_client(engine.port, version, "-groups", "X25519:P-256:P-384"), "Temp Key: .*(secp384r1|P-384)")
            self.assertRegex(s_client(engine.port, version, "-groups", "X25519:P-256", request=None), "alert (handshake failure|illegal parameter|insufficient security)")

    def test_words_that_mean_nothing_are_refused(self):
        engine = self.secure_before(self.origin())
        for tls, word in (("ciphers: [ TLS_AES_129_GCM ]", "TLS_AES_129_GCM"), ("ciphers: [ TLS_RSA_WITH_RC4_128_MD5 ]", "TLS_RSA_WITH_RC4_128_MD5"),
                          ("groups: [ P-25519 ]", "P-25519"), ("min-version: 1.1", "1.1"), ("ciphers: []", "ciphers"), ("client-certificate: { mode: maybe }", "maybe"),
                          ("early-data: some", "some"), ("hstz: on", "hstz")):
            with self.subTest(tls):
                engine.write(listening(tls) + before(self.origin()))
                code, out, errors = engine.command("check", "-c", engine.path)
                self.assertEqual(code, 3, out + errors)
                self.assertRegex(out + errors, r"weir\.yaml:\d+:\d+: error: .*" + re.escape(word))

    def test_hsts_is_on_every_response_of_its_listener(self):
        more = "- { address: 127.0.0.1:{plain} }"
        engine = self.secure(listening("hsts: 365d", more=more) + "routes:\n  - match: { path: /own }\n    respond: { body: own }\n"
                             "  - match: { path: /no }\n    respond: { status: 404 }\n  - pool: app\n"
                             f"pools: {{ app: {{ servers: [ {self.origin().address} ] }} }}\n")
        with engine.connect() as client:
            for path in ("/", "/own", "/no"):
                self.assertRegex(client.ask(path).field("Strict-Transport-Security") or "", "^max-age=31536000")
            client.send(b"nonsense\r\n\r\n")
            response = client.response()
            self.assertEqual((response.status, response.field("Strict-Transport-Security")), (400, "max-age=31536000"))
        with Client(engine.plain) as client:
            client.send_request()
            self.assertIsNone(client.response().field("Strict-Transport-Security"))

    def test_hsts_comes_once_and_is_off_without_the_key(self):
        origin = self.origin(lambda e: e.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nStrict-Transport-Security: max-age=1\r\n\r\n"))
        engine = self.secure_before(origin, tls="hsts: 2d")
        with engine.connect() as client:
            self.assertEqual([v for n, v in client.ask().fields if n.lower() == "strict-transport-security"], ["max-age=172800"])
        engine = self.secure_before(self.origin())
        with engine.connect() as client:
            self.assertIsNone(client.ask().field("Strict-Transport-Security"))

    def test_a_plain_listener_redirects_to_https(self):
        engine = self.secure(listening(more="- { address: 127.0.0.1:{plain}, redirect-to-https: on }") + before(self.origin()))
        with Client(engine.plain) as client:
            for method, host, path, where in (("GET", "scene.test", "/a?b=c", "https://scene.test/a?b=c"), ("POST", "scene.test", "/a%20b", "https://scene.test/a%20b"),
                                              ("HEAD", "other.test", "/", "https://other.test/")):
                client.send_request(path, method, [f"Host: {host}"], b"abc" if method == "POST" else b"")
                response = client.response(method)
                self.assertEqual((response.status, response.field("Location")), (308, where))
        with engine.connect() as client:
            self.assertEqual(client.ask().status, 200)

    def test_a_redirect_needs_a_host_and_has_no_room_for_tricks(self):
        engine = self.secure(listening(more="- { address: 127.0.0.1:{plain}, redirect-to-https: on }") + before(self.origin()))
        for host in (b"", b"Host: a b\r\n", b"Host: a\r\nHost: b\r\n", b"Host: a/b\r\n", b"Host: u@a\r\n"):
            with self.subTest(host), Client(engine.plain) as client:
                client.send(b"GET /x HTTP/1.1\r\n" + host + b"\r\n")
                self.assertEqual(client.response().status, 400)
        with Client(engine.plain) as client:
            client.send(b"GET //elsewhere.test/x HTTP/1.1\r\nHost: a.test\r\n\r\n")
            self.assertEqual(client.response().field("Location"), "https://a.test//elsewhere.test/x")

    def test_a_listener_cannot_have_tls_and_redirect_to_it(self):
        engine = self.secure_before(self.origin())
        engine.write(listening(listener="redirect-to-https: on") + before(self.origin()))
        code, out, errors = engine.command("check", "-c", engine.path)
        self.assertEqual((code, "redirect-to-https" in out + errors), (3, True), out + errors)


class Alpn(OneEngine):
    def test_http_1_1_is_chosen(self):
        for version in (V12, V13):
            for offered in (["http/1.1"], ["h2", "http/1.1"], ["spdy/3", "http/1.1", "h3"]):
                with self.engine.connect(context=client_context(version, version, offered)) as client:
                    self.assertEqual((client.socket.selected_alpn_protocol(), client.ask().status), ("http/1.1", 200))

    def test_none_is_fine(self):
        with self.engine.connect() as client:
            self.assertEqual((client.socket.selected_alpn_protocol(), client.ask().status), (None, 200))

    def test_nothing_in_common_is_an_alert(self):
        for version in (V12, V13):
            for offered in (["imap"], ["http/2", "http/1.11"]):
                self.refused(offered, "NO_APPLICATION_PROTOCOL", do=lambda: self.engine.connect(context=client_context(version, version, offered)))


class Resumption(TlsScene):
    def resumed(self, engine, version, times=1, context=None, session=None, port=None):
        """(which of these connections were resumed, the context, the last session)."""
        context, found = context or client_context(version, version), []
        for _ in range(times):
            with TlsClient(port or engine.port, context=context, session=session) as client:
                self.assertEqual(client.ask().status, 200)
                found.append(client.socket.session_reused)
                session = session or client.socket.session
        return found, context, session

    def test_sessions_come_back_on_any_worker(self):
        engine = self.secure_before(self.origin())
        for version in (V12, V13):
            with self.subTest(version):
                self.assertEqual(self.resumed(engine, version, 13)[0], [False] + [True] * 12)

    def test_s_client_comes_back(self):
        engine = self.secure_before(self.origin())
        self.assertEqual(s_client(engine.port, "-tls1_2", "-reconnect", request=None).count("\nReused, TLSv1.2"), 5)
        for version in ("-tls1_2", "-tls1_3"):
            with self.subTest(version), tempfile.TemporaryDirectory() as folder:
                kept = os.path.join(folder, "session")
                s_client(engine.port, version, "-sess_out", kept)
                text = s_client(engine.port, version, "-sess_in", kept)
                self.assertIn("\nReused, ", text)
                self.assertIn("HTTP/1.1 200", text)

    def test_a_resumed_1_3_session_has_forward_secrecy(self):
        """psk_dhe_ke: a new key exchange, though no certificate is sent."""
        engine = self.secure_before(self.origin())
        with tempfile.TemporaryDirectory() as folder:
            kept = os.path.join(folder, "session")
            s_client(engine.port, "-tls1_3", "-sess_out", kept)
            self.assertRegex(s_client(engine.port, "-tls1_3", "-sess_in", kept), "Temp Key: ")

    def test_sessions_survive_a_reload(self):
        origin = self.origin()
        engine = self.secure_before(origin)
        sessions = [(version, *self.resumed(engine, version)[1:]) for version in (V12, V13)]
        engine.write("via: another\n" + listening() + before(origin))
        self.assertEqual(engine.command("reload")[0], 0)
        for version, context, session in sessions:
            self.assertEqual(self.resumed(engine, version, 6, context, session)[0], [True] * 6)

    def test_no_tickets_no_resumption(self):
        engine = self.secure_before(self.origin(), tls="tickets: off")
        for version in (V12, V13):
            self.assertEqual(self.resumed(engine, version, 3)[0], [False] * 3)
        self.assertNotIn("TLS session ticket:", s_client(engine.port, "-tls1_3"))

    def test_a_file_of_ticket_keys_is_shared_by_engines(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "keys")
            with open(path, "wb") as file:
                file.write(os.urandom(48))
            os.chmod(path, 0o600)
            one, two = (self.secure_before(self.origin(), top=f"tls: {{ ticket-keys: {path}, ticket-lifetime: 1h }}") for _ in range(2))
            for version in (V12, V13):
                _, context, session = self.resumed(one, version)
                self.assertEqual(self.resumed(two, version, 1, context, session)[0], [True])
            with open(path, "wb") as file:
                file.write(os.urandom(7))
            code, out, errors = two.command("reload")
            self.assertNotEqual(code, 0)
            self.assertIn(path, out + errors)

    def test_engines_without_a_file_do_not_open_each_others_tickets(self):
        one, two = self.secure_before(self.origin()), self.secure_before(self.origin())
        for version in (V12, V13):
            _, context, session = self.resumed(one, version)
            self.assertEqual(self.resumed(two, version, 1, context, session)[0], [False])

    def test_tickets_end_with_their_lifetime(self):
        engine = self.secure_before(self.origin(), top="tls: { ticket-lifetime: 1s }")
        sessions = [(version, *self.resumed(engine, version)[1:]) for version in (V12, V13)]
        time.sleep(2.1)
        for version, context, session in sessions:
            self.assertEqual(self.resumed(engine, version, 1, context, session)[0], [False])

    def test_a_spoilt_ticket_means_a_whole_handshake(self):
        engine = self.secure_before(self.origin())
        with tempfile.TemporaryDirectory() as folder:
            kept = os.path.join(folder, "session")
            s_client(engine.port, "-tls1_2", "-sess_out", kept)
            with open(kept) as file:
                body = bytearray(ssl.PEM_cert_to_DER_cert(file.read().replace("SSL SESSION PARAMETERS", "CERTIFICATE")))
            ticket = re.search(rb"\xaa(?:\x81.|\x82..)\x04(?:\x81.|\x82..)", body, re.DOTALL).end() + 40  # [10] OCTET STRING
            body[ticket] ^= 1
            with open(kept, "w") as file:
                file.write(ssl.DER_cert_to_PEM_cert(bytes(body)).replace("CERTIFICATE", "SSL SESSION PARAMETERS"))
            text = s_client(engine.port, "-tls1_2", "-sess_in", kept)
            self.assertIn("\nNew, TLSv1.2", text)
            self.assertIn("HTTP/1.1 200", text)


class EarlyData(TlsScene):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.origin_here = self.origin(lambda e: ok(e, str(e.fields("Early-Data")).encode()))

    def again(self, engine, request, port=None, spare=b""):
        """What s_client says when it comes back with the request as early data. The session is from a first visit."""
        kept, early = (os.path.join(self.folder.name, name) for name in ("session", "early"))
        s_client(engine.port, "-tls1_3", "-sess_out", kept)
        with open(early, "wb") as file:
            file.write(request)
        return s_client(port or engine.port, "-tls1_3", "-sess_in", kept, "-early_data", early, request=spare)

    def first_flight(self, engine, request):
        """A hello with the request behind it, as somebody on the way could have kept it."""
        middle = Middleman(self, engine.port)
        text = self.again(engine, request, middle.own_port)
        return middle.first, text

    def asked(self, method):
        return [head for head in self.origin_here.requests if head.startswith(method)]

    def test_it_is_off_by_default(self):
        engine = self.secure_before(self.origin_here)
        text = self.again(engine, b"", spare=ASK)
        self.assertIn("\nReused, ", text)
        self.assertIn("Early data was not sent", text)
        self.assertIn("HTTP/1.1 200", text)
        self.assertIn("\n[]", text)

    def test_a_get_goes_early_and_says_so(self):
        engine = self.secure_before(self.origin_here, tls="early-data: 16KiB")
        text = self.again(engine, ASK)
        self.assertIn("Early data was accepted", text)
        self.assertIn("HTTP/1.1 200", text)
        self.assertIn("\n['1']", text)
        with engine.connect() as client:
            self.assertEqual([client.ask().body, client.ask().body], [b"[]"] * 2)

    def test_an_early_hello_is_no_way_round_a_clients_certificate(self):
        giver = self.secure_before(self.origin_here, tls="early-data: 16KiB")
        behind = self.origin()
        guarded = self.secure_before(behind, tls=f"client-certificate: {{ mode: required, ca: {certificates().ca.path} }}")
        text = self.again(giver, ASK, guarded.port, spare=ASK)
        self.assertNotIn("HTTP/1.1", text)
        self.assertEqual(behind.requests, [])

    def test_what_follows_the_handshake_is_not_early(self):
        engine = self.secure_before(self.origin_here, tls="early-data: 16KiB")
        text = self.again(engine, ASK.replace(b"Connection: close\r\n", b""), spare=ASK)
        self.assertIn("Early data was accepted", text)
        self.assertEqual(text.count("HTTP/1.1 200"), 2, text[-2000:])
        self.assertTrue(all(b"\r\nEarly-Data: 1" in head or i != 1 for i, head in enumerate(self.asked(b"GET"))))

    def test_a_post_does_not_go_early(self):
        engine = self.secure_before(self.origin_here, tls="early-data: 16KiB")
        flight, text = self.first_flight(engine, ASK.replace(b"GET", b"POST").replace(b"\r\n\r\n", b"\r\nContent-Length: 2\r\n\r\nxy"))
        self.assertRegex(text, r"HTTP/1\.1 (425|200)")
        self.assertGreater(len(flight), 500)
        came = len(self.asked(b"POST"))
        for head in self.asked(b"POST"):
            self.assertNotIn(b"\r\nEarly-Data", head)
        for _ in range(3):  # the same bytes again, from somebody who cannot end the handshake
            with engine.connect_raw() as client:
                client.send(flight)
                what_comes(client, 0.5)
        self.assertEqual(len(self.asked(b"POST")), came)

    def test_an_early_get_that_is_replayed_says_that_it_is_early(self):
        engine = self.secure_before(self.origin_here, tls="early-data: 16KiB")
        flight, text = self.first_flight(engine, ASK)
        self.assertIn("Early data was accepted", text)
        seen = len(self.asked(b"GET"))
        with engine.connect_raw() as client:
            client.send(flight)
            what_comes(client, 0.5)
        for head in self.asked(b"GET")[seen:]:
            self.assertIn(b"\r\nEarly-Data: 1", head)

    def test_an_early_answer_whose_client_never_ends_the_handshake_outlasts_the_total_timeout(self):
        engine = self.secure_before(self.origin_here, tls="early-data: 16KiB", pool="    timeouts: { total: 100ms }\n")
        flight, _ = self.first_flight(engine, ASK)
        seen = len(self.asked(b"GET"))
        with engine.connect_raw() as client:
            client.send(flight)
            wait_for("it to be asked again", lambda: len(self.asked(b"GET")) > seen)
            what_comes(client, 0.4)
            self.assertEqual(engine.counter("origin_timeout"), 0)
            with engine.connect() as other:
                self.assertEqual(other.ask().status, 200)

    def test_an_early_answer_whose_client_never_ends_the_handshake_holds_no_place(self):
        engine = self.secure_before(self.origin_here, tls="early-data: 16KiB", pool="    limits: { requests: 1, connections: 1 }\n    queue: { max: 0 }\n")
        flight, _ = self.first_flight(engine, ASK)
        seen = len(self.asked(b"GET"))
        with engine.connect_raw() as client:
            client.send(flight)
            wait_for("it to be asked again", lambda: len(self.asked(b"GET")) > seen)
            what_comes(client, 0.2)
            with engine.connect() as other:
                self.assertEqual(other.ask().status, 200)

    def test_early_data_that_cannot_be_read_is_passed_over(self):
        """Its ticket is another engine's, or was sealed when early data was welcome: the handshake goes on without (RFC 8446 4.2.10)."""
        engine = self.secure_before(self.origin_here, tls="early-data: 16KiB")
        unwanting = self.secure_before(self.origin_here)
        another = self.secure_before(self.origin_here, tls="early-data: 16KiB")
        early = ASK.replace(b"GET /", b"GET /early")
        for port in (another.port, unwanting.port):
            text = self.again(engine, early, port, ASK)
            self.assertIn("Early data was rejected", text)
            self.assertIn("HTTP/1.1 200", text)
        engine.write(listening() + before(self.origin_here))
        self.assertEqual(engine.command("reload")[0], 0)
        text = s_client(engine.port, "-tls1_3", "-sess_in", os.path.join(self.folder.name, "session"), "-early_data", os.path.join(self.folder.name, "early"))
        self.assertIn("Early data was rejected", text)
        self.assertIn("HTTP/1.1 200", text)
        self.assertEqual(self.asked(b"GET /early"), [])

    def test_more_than_was_allowed_ends_the_connection_only(self):
        engine = self.secure_before(self.origin_here, tls="early-data: 2KiB")
        self.again(engine, b"GET / HTTP/1.1\r\nX: " + b"y" * 6000 + b"\r\n\r\n")
        with engine.connect() as client:
            self.assertEqual(client.ask().status, 200)


class InTheMiddle(OneEngine):
    """What a client may ask of a session while it lives."""

    @staticmethod
    def script(exchange):
        if exchange.path == "/large":
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3000003\r\n\r\n" + b"x" * 3000000 + b"END")
            return None
        return ok(exchange)

    KEPT = ASK.replace(b"Connection: close\r\n", b"")

    def ask(self, talk, request=KEPT, mark=b"\r\n\r\nok\n"):
        talk.say(request)
        self.assertIn(b"HTTP/1.1 200", talk.hear(mark))

    def test_new_keys_are_taken_and_given(self):
        talk = Talk(self, self.engine.port, "-tls1_3")
        self.ask(talk)
        for letter in b"KkkKKk" * 3:
            talk.say(bytes([letter]) + b"\n")
            talk.hear(b"KEYUPDATE\n")
            self.ask(talk)

    def test_new_keys_while_a_response_is_on_its_way(self):
        talk = Talk(self, self.engine.port, "-tls1_3")
        for letter in b"KkK":
            talk.say(self.KEPT.replace(b"GET /", b"GET /large"))
            talk.hear(b"HTTP/1.1 200")
            talk.say(bytes([letter]) + b"\n")
            talk.hear(b"KEYUPDATE\n")
            talk.hear(b"END")
        self.ask(talk)

    def test_renegotiation_is_refused(self):
        talk = Talk(self, self.engine.port, "-tls1_2")
        self.ask(talk)
        talk.say(b"R\n")
        talk.hear(b"RENEGOTIATING\n")
        wait_for("s_client to give up", lambda: talk.process.poll() is not None)
        self.assertNotIn(b"Certificate chain", talk.text)
        with self.engine.connect() as client:
            self.assertEqual(client.ask().status, 200)

    def test_renegotiation_is_known_to_be_secure(self):
        """RFC 5746: clients of today do not speak to a server that is silent about it."""
        self.assertIn("Secure Renegotiation IS supported", s_client(self.engine.port, "-tls1_2"))

    def test_extended_master_secret(self):
        """RFC 7627."""
        self.assertIn("Extended master secret: yes", s_client(self.engine.port, "-tls1_2"))

    def test_heartbeats_are_not_answered(self):
        with self.engine.connect_raw() as client:
            client.send(b"\x18\x03\x02\x00\x03\x01\x40\x00")
            received, how = what_comes(client)
        self.assertLess(len(received), 200)
        self.assertNotEqual(how, "open")


if __name__ == "__main__":
    unittest.main()
