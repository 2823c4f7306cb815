"""Which certificate a client sees, whose certificates of clients are believed, and what becomes of files that change, are wrong, or grow old."""
import json
import os
import re
import ssl
import tempfile
import threading
import time
import unittest

from stage import Client, ok, wait_for
from tls_certificates import NAME, Certificate, certificates
from tls_props import V12, V13, OneEngine, SecureWeir, TlsClient, TlsScene, before, client_context, indented, listening, s_client

BOTH = (V12, V13)


def text_of(path):
    with open(path) as file:
        return file.read()


def unchecked():
    """A client's context that takes any certificate: the scene looks at which."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class Names(OneEngine):
    @classmethod
    def config(cls, origin):
        own = certificates()
        named = f"{{ chain: {own.site_renewed.chain}, key: {own.site_renewed.key}, names: [ Extra.test, \"*.more.test\" ] }}"
        return listening(served=[own.site, own.other, own.wild, named]) + before(origin)

    def seen(self, name, context=None):
        with self.engine.connect(name=name, context=context or unchecked()) as client:
            self.assertEqual(client.ask().status, 200)
            return client.certificate

    def test_exact_names(self):
        for name in ("other.test", "second.test", "Other.TEST"):
            self.assertEqual(self.seen(name), certificates().other.fingerprint, name)
        self.assertEqual(self.seen(NAME), certificates().site.fingerprint)

    def test_wildcards_cover_one_label(self):
        for name in ("a.wild.test", "B.Wild.test", "x-1.wild.test"):
            self.assertEqual(self.seen(name), certificates().wild.fingerprint, name)
        for name in ("a.b.wild.test", "wild.test", "awild.test"):
            self.assertEqual(self.seen(name), certificates().site.fingerprint, name)

    def test_names_in_the_configuration_win_over_the_certificates_own(self):
        for name in ("extra.test", "one.more.test"):
            self.assertEqual(self.seen(name), certificates().site_renewed.fingerprint, name)

    def test_names_nobody_has_and_no_name_get_the_first(self):
        for name in ("nobody.test", "test", "127.0.0.1", None):
            self.assertEqual(self.seen(name), certificates().site.fingerprint, name)

    def test_the_client_verifies_what_it_gets(self):
        for name in (NAME, "other.test", "a.wild.test", "127.0.0.1"):
            with self.engine.connect(name=name) as client:
                self.assertEqual(client.ask().status, 200)

    def test_a_session_of_one_name_does_not_bring_another_names_certificate(self):
        for version in BOTH:
            context = client_context(version, version)
            with self.engine.connect(context=context) as client:
                client.ask()
                session = client.socket.session
            with self.engine.connect(name="other.test", context=context, session=session) as client:
                client.ask()
                if not client.socket.session_reused:
                    self.assertEqual(client.certificate, certificates().other.fingerprint)
            with self.engine.connect(name=NAME, context=context, session=session) as client:
                self.assertEqual((client.ask().status, client.socket.session_reused), (200, True))


class Kinds(TlsScene):
    def test_strict_names_answer_with_an_alert(self):
        engine = self.secure_before(self.origin(), served=[certificates().site, certificates().wild], tls="strict-names: on")
        for version in BOTH:
            for name in ("nobody.test", "wild.test"):
                self.refused(name, "UNRECOGNIZED_NAME", do=lambda: engine.connect(name=name, context=client_context(version, version)))
            for name in (NAME, "a.wild.test"):
                with engine.connect(name=name, context=client_context(version, version)) as client:
                    self.assertEqual(client.ask().status, 200)

    def test_ecdsa_and_rsa_side_by_side(self):
        own = certificates()
        for served in ([own.site, own.site_rsa], [own.site_rsa, own.site]):
            engine = self.secure_before(self.origin(), served=served)
            for version in ("-tls1_2", "-tls1_3"):
                for algorithms, said in (("ECDSA+SHA256", "ecdsa"), ("RSA-PSS+SHA256", "rsa"), ("RSA-PSS+SHA384:RSA-PSS+SHA256:RSA+SHA256", "rsa"),
                                         ("ECDSA+SHA256:RSA-PSS+SHA256:RSA+SHA256", "ecdsa")):
                    with self.subTest(version=version, algorithms=algorithms):
                        text = s_client(engine.port, version, "-sigalgs", algorithms)
                        self.assertRegex(text, "(?i)peer signature type: " + said)
                        self.assertIn("Verify return code: 0", text)
                        self.assertIn("HTTP/1.1 200", text)

    def test_a_1_2_client_that_has_only_rsa_ciphers_gets_the_rsa_certificate(self):
        """Its signature algorithms may still name ECDSA."""
        engine = self.secure_before(self.origin(), served=[certificates().site, certificates().site_rsa])
        for cipher in ("ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-CHACHA20-POLY1305"):
            self.assertIn("HTTP/1.1 200", s_client(engine.port, "-tls1_2", "-cipher", cipher))

    def test_one_kind_only_refuses_the_other(self):
        engine = self.secure_before(self.origin(), served=[certificates().site])
        for version in ("-tls1_2", "-tls1_3"):
            self.assertIn("alert handshake failure", s_client(engine.port, version, "-sigalgs", "RSA-PSS+SHA256:RSA+SHA256", request=None))

    def test_a_chain_with_an_intermediate_is_sent_whole(self):
        engine = self.secure_before(self.origin(), served=[certificates().site_chain])
        for version in BOTH:
            with engine.connect(context=client_context(version, version)) as client:
                self.assertEqual(client.ask().status, 200)

    def test_p_384_and_large_chains(self):
        p384 = certificates().between.issue(NAME, NAME, *[f"n{i}.a-name-that-is-somewhat-long.test" for i in range(100)], kind="p384", whole_chain=True)
        engine = self.secure_before(self.origin(), served=[p384])
        for version in BOTH:
            with engine.connect(context=client_context(version, version)) as client:
                self.assertEqual(client.ask().status, 200)

    def test_a_stapled_ocsp_response_is_sent_to_who_asks(self):
        site = certificates().site
        stapled = f"{{ chain: {site.chain}, key: {site.key}, ocsp: {certificates().ca.vouch(site)} }}"
        engine = self.secure_before(self.origin(), served=[stapled])
        for version in ("-tls1_2", "-tls1_3"):
            text = s_client(engine.port, version, "-status")
            self.assertIn("Cert Status: good", text)
            self.assertIn("HTTP/1.1 200", text)
        self.assertIn("HTTP/1.1 200", s_client(engine.port))
        other = certificates().ca.vouch(certificates().other)
        engine.write(listening(served=[f"{{ chain: {site.chain}, key: {site.key}, ocsp: {other} }}"]) + before(self.origin()))
        code, out, errors = engine.command("reload")
        self.assertNotEqual(code, 0)
        self.assertIn(other, out + errors)
        self.assertIn("Cert Status: good", s_client(engine.port, "-status"))

    def nonces(self, engine, *words):
        """Of each response that s_client was given: no two responses have the same."""
        return [re.search(r"OCSP Nonce:\s*(\w+)", s_client(engine.port, version, "-status", *words))[1] for version in ("-tls1_2", "-tls1_3")]

    def test_a_reload_takes_a_new_ocsp_response(self):
        site = certificates().between.issue(NAME, NAME, whole_chain=True)
        stapled = f"{{ chain: {site.chain}, key: {site.key}, ocsp: {certificates().between.vouch(site)} }}"
        engine = self.secure_before(self.origin(), served=[stapled])
        old = self.nonces(engine)
        self.assertEqual(len(set(old)), 1)
        time.sleep(1.1)  # the dates of the new one have to differ for the reload to tell of it
        path = certificates().between.vouch(site)
        self.assertEqual(self.nonces(engine), old)
        code, out, errors = engine.command("reload")
        self.assertEqual(code, 0, out + errors)
        self.assertIn(f"OCSP response {path}: new contents", out)
        new = self.nonces(engine)
        self.assertEqual((len(set(new)), new[0] != old[0]), (1, True))
        self.assertRegex(engine.command("certs", "list")[1], rf"OCSP response until \S+Z  {path}\n")
        listed = json.loads(engine.command("certs", "list", "--json")[1])["certificates"][0]["ocsp"]
        self.assertEqual((listed["file"], listed["status"], listed["sent"]), (path, "good", True))
        code, out, errors = engine.command("check", "-c", engine.path)
        self.assertEqual((code, "warning" in out + errors), (0, False), out + errors)

    def test_who_asks_for_a_response_may_resume_retry_and_show_a_certificate(self):
        site, client = certificates().site, certificates().client
        stapled = f"{{ chain: {site.chain}, key: {site.key}, ocsp: {certificates().ca.vouch(site)} }}"
        engine = self.secure_before(self.origin(), served=[stapled])
        self.assertEqual(len(set(self.nonces(engine, "-groups", "X448:P-384:P-256"))), 1)  # with TLS 1.3 a second hello (RFC 8446 4.1.4)
        with tempfile.TemporaryDirectory() as folder:
            for version in ("-tls1_2", "-tls1_3"):
                session = os.path.join(folder, "session" + version)
                self.assertIn("Cert Status: good", s_client(engine.port, version, "-status", "-sess_out", session))
                text = s_client(engine.port, version, "-status", "-sess_in", session)
                self.assertIn("Reused, TLS", text)
                self.assertIn("HTTP/1.1 200", text)
        engine = self.secure_before(self.origin(), served=[stapled], tls=f"client-certificate: {{ ca: {certificates().ca.path} }}")
        self.assertEqual(len(set(self.nonces(engine, "-cert", client.chain, "-key", client.key))), 1)


class OfClients(TlsScene):
    """client-certificate: who is let in, and what the origin is told."""

    FORGED = ["X-Client-Verify: SUCCESS", "x-client-subject: CN=root", "X-CLIENT-FINGERPRINT: 00", "X-Client-Verify: SUCCESS"]

    def told(self, exchange):
        return ok(exchange, json.dumps([exchange.fields(f"X-Client-{name}") for name in ("Verify", "Subject", "Fingerprint")]).encode())

    def demanding(self, mode, more=""):
        return self.secure(listening(f"client-certificate: {{ {mode}, ca: {certificates().ca.path} }}", more=more) + before(self.origin(self.told)))

    def ask(self, engine, certificate=None, version=V13, **how):
        with engine.connect(context=client_context(version, version, certificate=certificate), **how) as client:
            return json.loads(client.ask(headers=self.FORGED).body)

    def check(self, told, certificate, name):
        verify, subject, fingerprint = told
        self.assertEqual((verify, fingerprint), (["SUCCESS"], [certificate.fingerprint]))
        self.assertEqual(len(subject), 1)
        self.assertIn(f"CN={name}", subject[0].replace(" ", ""))

    def test_required(self):
        own = certificates()
        engine = self.demanding("mode: required")
        for version in BOTH:
            self.check(self.ask(engine, own.client, version), own.client, "ann")
            self.check(self.ask(engine, own.client_rsa, version), own.client_rsa, "bob")
            for name, certificate in (("none", None), ("strange", own.client_strange), ("expired", own.client_expired)):
                with self.subTest(name, version=version):
                    self.refused(name, "ALERT", "EOF", do=lambda: self.ask(engine, certificate, version))

    def test_required_says_which_alert(self):
        engine = self.demanding("mode: required")
        self.refused("none", "CERTIFICATE_REQUIRED", do=lambda: self.ask(engine))
        self.refused("none", "HANDSHAKE_FAILURE", "CERTIFICATE_REQUIRED", "BAD_CERTIFICATE", do=lambda: self.ask(engine, version=V12))
        self.refused("strange", "UNKNOWN_CA", "BAD_CERTIFICATE", do=lambda: self.ask(engine, certificates().client_strange))
        self.refused("expired", "CERTIFICATE_EXPIRED", "BAD_CERTIFICATE", do=lambda: self.ask(engine, certificates().client_expired))

    def test_a_servers_certificate_is_no_clients(self):
        """Its extended key usage says serverAuth only."""
        engine = self.demanding("mode: required")
        self.refused("usage", "ALERT", "EOF", do=lambda: self.ask(engine, certificates().site))

    def test_optional(self):
        engine = self.demanding("mode: optional")
        for version in BOTH:
            self.assertEqual(self.ask(engine, None, version), [["NONE"], [], []])
            self.check(self.ask(engine, certificates().client, version), certificates().client, "ann")
            for certificate in (certificates().client_strange, certificates().client_expired):
                self.refused("strange", "ALERT", "EOF", do=lambda: self.ask(engine, certificate, version))

    def test_what_a_client_claims_is_always_removed(self):
        engine = self.secure(listening(more="- { address: 127.0.0.1:{plain} }") + before(self.origin(self.told)))
        self.assertEqual(self.ask(engine), [[], [], []])
        with Client(engine.plain) as client:
            client.send_request(headers=self.FORGED)
            self.assertEqual(json.loads(client.response().body), [[], [], []])

    def test_a_resumed_session_is_who_it_was(self):
        for mode in ("mode: required", "mode: optional"):
            engine = self.demanding(mode)
            for version in BOTH:
                context = client_context(version, version, certificate=certificates().client)
                with engine.connect(context=context) as client:
                    self.check(json.loads(client.ask().body), certificates().client, "ann")
                    session = client.socket.session
                for _ in range(6):
                    with engine.connect(context=context, session=session) as client:
                        self.check(json.loads(client.ask(headers=self.FORGED).body), certificates().client, "ann")

    def test_a_session_of_an_open_door_does_not_open_a_closed_one(self):
        """Tickets are sealed with the process's keys, not a listener's."""
        open_door = ["- address: 127.0.0.1:{plain}", "  tls:", "    certificates:", "      - " + certificates().site.yaml]
        engine = self.demanding("mode: required", "\n".join(open_door))
        for version in BOTH:
            context = client_context(version, version)
            with TlsClient(engine.plain, context=context) as client:
                client.ask()
                session = client.socket.session
            with self.subTest(version):
                self.refused("no certificate", "ALERT", "EOF", do=lambda: self.through(engine, context, session))

    def through(self, engine, context, session):
        with engine.connect(context=context, session=session) as client:
            client.ask()

    def test_a_session_of_another_authority_does_not_open_the_door(self):
        """Two doors, two authorities: who resumes is not believed by the wrong one."""
        other = ["- address: 127.0.0.1:{plain}", "  tls:", "    certificates:", "      - " + certificates().site.yaml,
                 f"    client-certificate: {{ ca: {certificates().strangers.path} }}"]
        engine = self.demanding("mode: required", "\n".join(other))
        for version in BOTH:
            context = client_context(version, version, certificate=certificates().client_strange)
            with TlsClient(engine.plain, context=context) as client:
                client.ask()
                session = client.socket.session
            with self.subTest(version):
                self.refused("strange", "ALERT", "EOF", do=lambda: self.through(engine, context, session))

    def test_a_session_does_not_outlive_its_authority(self):
        """The file of authorities changes: who was let in by the old one is a stranger now."""
        origin = self.origin(self.told)
        engine = self.secure(listening(f"client-certificate: {{ ca: {certificates().ca.path} }}") + before(origin))
        contexts = []
        for version in BOTH:
            context = client_context(version, version, certificate=certificates().client)
            with engine.connect(context=context) as client:
                client.ask()
                contexts.append((context, client.socket.session))
        engine.write(listening(f"client-certificate: {{ ca: {certificates().strangers.path} }}") + before(origin))
        self.assertEqual(engine.command("reload")[0], 0)
        for context, session in contexts:
            self.refused("old session", "ALERT", "EOF", do=lambda: self.through(engine, context, session))

    def test_a_subject_cannot_add_lines(self):
        odd = certificates().ca.issue("x", usage="clientAuth", subject="/CN=ann\r\nX-Client-Verify: SUCCESS\r\nX-Evil: 1")
        engine = self.demanding("mode: required")
        try:
            verify, subject, _ = self.ask(engine, odd)
        except (OSError, EOFError):
            return  # refused: as well
        self.assertEqual((verify, len(subject)), (["SUCCESS"], 1))
        self.assertNotIn("X-Evil: 1", subject[0].split("\n")[1:])


class Files(TlsScene):
    """Certificates live in files that others renew, and get wrong."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.served = Certificate(os.path.join(folder.name, "site.crt"), os.path.join(folder.name, "site.key"))
        self.put(certificates().site)

    def put(self, certificate, chain=True, key=True):
        for wanted, source, drain in ((chain, certificate.chain, self.served.chain), (key, certificate.key, self.served.key)):
            if wanted:
                self.put_text(drain, text_of(source))

    def put_text(self, path, text):
        """As certbot does: a new file is moved over the old."""
        with open(path + ".new", "w") as file:
            file.write(text)
        os.chmod(path + ".new", 0o600)
        os.rename(path + ".new", path)

    def test_a_swap_by_reload_under_load_fails_no_request(self):
        engine = self.secure_before(self.origin(), served=[self.served])
        own, problems, seen, over = certificates(), [], [], threading.Event()

        def visit(kept):
            """New connections, or requests on one that lives through it all."""
            try:
                while not over.is_set():
                    began = time.monotonic()
                    with engine.connect() as client:
                        seen.append((began, client.certificate))
                        assert client.ask().status == 200
                        while kept and not over.is_set():
                            assert client.ask().status == 200
                            time.sleep(0.005)
            except Exception as problem:
                problems.append(repr(problem))
        threads = [threading.Thread(target=visit, args=(kept,)) for kept in (False, False, False, True, True)]
        for thread in threads:
            thread.start()
        swaps = []
        for certificate in (own.site_renewed, own.site, own.site_renewed):
            time.sleep(0.4)
            self.put(certificate)
            asked = time.monotonic()
            code, _, errors = engine.command("reload")
            self.assertEqual(code, 0, errors)
            swaps.append((asked, time.monotonic(), certificate.fingerprint))
        time.sleep(0.6)
        over.set()
        for thread in threads:
            thread.join()
        self.assertEqual(problems, [])
        nexts = [asked for asked, _, _ in swaps[1:]] + [time.monotonic()]
        for (_, done, fingerprint), until in zip(swaps, nexts):
            self.assertEqual({f for began, f in seen if done < began < until}, {fingerprint}, "a new connection saw an old certificate")
        self.assertEqual({f for _, f in seen}, {own.site.fingerprint, own.site_renewed.fingerprint})
        self.assertGreater(len(seen), 20)

    def test_a_listener_turns_to_tls_and_back_by_reload(self):
        """Connections stay what they were."""
        origin = self.origin()
        plainly = "listeners:\n  - address: 127.0.0.1:{port}\n  - { address: 127.0.0.1:{admin}, serve: admin }\n" + before(origin)
        engine = self.secure(plainly)
        with engine.connect_raw() as plain:
            plain.send_request()
            self.assertEqual(plain.response().status, 200)
            engine.write(listening(served=[self.served]) + before(origin))
            self.assertEqual(engine.command("reload")[0], 0)
            with engine.connect() as secure:
                self.assertEqual(secure.ask().status, 200)
                plain.send_request()
                self.assertEqual(plain.response().status, 200)
                engine.write(plainly)
                self.assertEqual(engine.command("reload")[0], 0)
                self.assertEqual(secure.ask().status, 200)
                with engine.connect_raw() as another:
                    another.send_request()
                    self.assertEqual(another.response().status, 200)

    def wrong_files(self):
        """(what is wrong, chain, key, the file that is named, what is said of it)"""
        own = certificates()
        site, other, chain = (text_of(path) for path in (own.site.chain, own.other.chain, own.site_chain.chain))
        key, chain_key = (text_of(path) for path in (own.site.key, own.site_chain.key))
        blocks = re.findall(r"-----BEGIN.*?-----END CERTIFICATE-----\n", chain, re.DOTALL)
        return [("no chain", None, key, "site.crt", "(?i)no such file"), ("no key", site, None, "site.key", "(?i)no such file"),
                ("an empty chain", "", key, "site.crt", "."), ("garbage", "hello\n", key, "site.crt", "."), ("a spoilt certificate", site.replace("MII", "MIQ", 1), key, "site.crt", "."),
                ("garbage for a key", site, "hello\n", "site.key", "."), ("another's key", site, text_of(own.other.key), "site", "(?i)key"),
                ("the chain upside down", blocks[1] + blocks[0], chain_key, "site.crt", "(?i)order|issue|key"), ("a chain of strangers", site + other, key, "site.crt", "(?i)order|issue"), ("a cut chain", site[:-100], key, "site.crt", ".")]

    def put_wrong(self, chain, key):
        for path, text in ((self.served.chain, chain), (self.served.key, key)):
            if text is None:
                os.unlink(path)
            else:
                self.put_text(path, text)

    def test_wrong_files_refuse_a_reload_by_name_and_reason(self):
        engine = self.secure_before(self.origin(), served=[self.served])
        for what, chain, key, file, reason in self.wrong_files():
            with self.subTest(what):
                self.put_wrong(chain, key)
                code, out, errors = engine.command("reload")
                self.assertIn(code, (1, 3), out + errors)
                line = next((line for line in (out + errors).split("\n") if file in line), "")
                self.assertRegex(line, reason, out + errors)
                code, out, errors = engine.command("check", "-c", engine.path)
                self.assertEqual(code, 3, out + errors)
                self.assertRegex(next((line for line in (out + errors).split("\n") if file in line), ""), reason, out + errors)
                with engine.connect() as client:
                    self.assertEqual((client.ask().status, client.certificate), (200, certificates().site.fingerprint))
        self.put(certificates().site_renewed)
        self.assertEqual(engine.command("reload")[0], 0)
        with engine.connect() as client:
            self.assertEqual(client.certificate, certificates().site_renewed.fingerprint)

    def test_wrong_files_refuse_a_start_by_name_and_reason(self):
        for what, chain, key, file, reason in self.wrong_files():
            with self.subTest(what):
                self.put_wrong(chain, key)
                engine = SecureWeir(listening(served=[self.served]) + before(self.origin()), wait=False)
                try:
                    wait_for("weir to give up", engine.ended)
                finally:
                    log = engine.log()
                    engine.stop(code=None)
                self.assertIn(engine.process.returncode, (1, 3), log)
                self.assertRegex(next((line for line in log.split("\n") if file in line), ""), reason, log)

    def test_wrong_files_of_authorities(self):
        engine = self.secure_before(self.origin(), served=[self.served])
        for path in (engine.path, "/nowhere/ca.crt", "/dev/null"):
            for config in (listening(f"client-certificate: {{ ca: {path} }}") + before(self.origin()), listening() + before(self.origin(), pool=f"    tls: {{ ca: {path} }}")):
                engine.write(config)
                code, out, errors = engine.command("reload")
                self.assertIn(code, (1, 3))
                self.assertIn(path, out + errors)

    def test_check_is_content_with_good_files(self):
        engine = self.secure_before(self.origin(), served=[self.served, certificates().site_chain, certificates().site_rsa])
        code, out, errors = engine.command("check", "-c", engine.path)
        self.assertEqual((code, "warning" in out + errors), (0, False), out + errors)

    def test_check_warns_of_what_soon_expires_and_of_keys_others_can_read(self):
        engine = self.secure_before(self.origin(), served=[self.served])
        engine.write(listening(served=[self.served, certificates().soon]) + before(self.origin()))
        code, out, errors = engine.command("check", "-c", engine.path)
        self.assertEqual(code, 0, out + errors)
        self.assertRegex(out + errors, r"(?i)warning.*" + re.escape(certificates().soon.chain) + r".*\b9\b.*days?")
        os.chmod(self.served.key, 0o644)
        code, out, errors = engine.command("check", "-c", engine.path)
        self.assertEqual(code, 0, out + errors)
        self.assertRegex(out + errors, r"(?i)warning.*site\.key.*|site\.key.*warning")

    def test_check_refuses_what_has_expired(self):
        engine = self.secure_before(self.origin(), served=[self.served])
        engine.write(listening(served=[certificates().expired]) + before(self.origin()))
        code, out, errors = engine.command("check", "-c", engine.path)
        self.assertEqual(code, 3, out + errors)
        self.assertRegex(out + errors, "(?i)expired")
        self.assertIn(os.path.basename(certificates().expired.chain), out + errors)


class Listed(OneEngine):
    @classmethod
    def config(cls, origin):
        own = certificates()
        more = "\n".join(["- address: 127.0.0.1:{plain}", "  tls:", "    certificates:", *indented("- " + own.other.yaml, 6)])
        return listening(served=[own.site, own.site_rsa, own.soon], more=more) + before(origin)

    def test_certs_list_shows_every_certificate(self):
        own = certificates()
        code, out, errors = self.engine.command("certs", "list")
        self.assertEqual(code, 0, errors)
        for certificate in (own.site, own.site_rsa, own.soon, own.other):
            self.assertIn(certificate.chain, out)
        for word in (NAME, "soon.test", "other.test", "second.test"):
            self.assertIn(word, out)
        self.assertRegex(out, "(?i)ecdsa")
        self.assertRegex(out, "(?i)rsa")
        self.assertRegex(next(line for line in out.split("\n") if "soon.test" in line), r"\b9\b")

    def test_certs_list_speaks_json(self):
        code, out, errors = self.engine.command("certs", "list", "--json")
        self.assertEqual(code, 0, errors)
        text = json.dumps(json.loads(out))
        for certificate in (certificates().site, certificates().site_rsa, certificates().soon, certificates().other):
            self.assertIn(certificate.fingerprint, text)
            self.assertIn(certificate.chain, text)

    def test_what_expires_is_listed_with_exit_code_1(self):
        own = certificates()
        code, out, _ = self.engine.command("certs", "list", "--expiring", "14d")
        self.assertEqual((code, own.soon.chain in out, own.site.chain in out), (1, True, False), out)
        code, out, _ = self.engine.command("certs", "list", "--expiring", "5d")
        self.assertEqual((code, own.soon.chain in out), (0, False), out)
        code, out, _ = self.engine.command("certs", "list", "--expiring", "1000d", "--json")
        self.assertEqual(code, 1)
        self.assertEqual(len(re.findall(r"[0-9a-f]{64}", out)), 4)

    def test_certs_without_an_engine(self):
        code, out, errors = self.engine.command("certs", "list", "--socket", os.path.join(self.engine.folder, "nobody.sock"))
        self.assertEqual(code, 4, out + errors)


if __name__ == "__main__":
    unittest.main()
