"""The forward proxy as its users know it: curl through it by http and https, passwords, lists, log lines, cached content; and squid beside it."""
import base64
import os
import socket
import struct
import threading
import unittest

from forward_props import (OUTSIDE, USERS, Echo, ForwardScene, Squid, authorization, ca_words, connect_status, curl, get, open_connect, users_file)
from props import content
from stage import SLOW, free_port, named, raw, wait_for
from tls_certificates import certificates


# ---- curl ---------------------------------------------------------------------------------------------------------------

class Curl(ForwardScene):
    def test_http_passes_and_the_site_learns_nothing_of_the_client(self):
        site = self.site(named("hello"))
        engine = self.proxy()
        answer = curl(engine.port, f"http://{site.address}/a/b?c=d", "-H", "X-Forwarded-For: 10.9.8.7", "-H", "Forwarded: for=10.9.8.7", "-H", "Via: 1.1 me")
        self.assertEqual((answer.code, answer.status, answer.body), (0, 200, b"hello"), answer.errors)
        head = site.requests[0].decode("latin-1")
        self.assertEqual(head.split("\r\n")[0], "GET /a/b?c=d HTTP/1.1")
        names = {line.split(":")[0].lower() for line in head.split("\r\n")[1:]}
        self.assertIn(f"Host: {site.address}".lower(), head.lower())
        self.assertFalse(names & {"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded", "via", "x-real-ip", "proxy-connection", "proxy-authorization"}, head)
        self.assertNotIn("10.9.8.7", head)

    def test_sites_are_told_only_if_asked(self):
        site = self.site(named("hello"))
        engine = self.proxy("forwarded: true")
        self.assertEqual(curl(engine.port, f"http://{site.address}/").status, 200)
        head = site.requests[0].decode("latin-1").lower()
        self.assertIn("via: 1.1 weir", head)
        self.assertIn("127.0.0.1", head.split("x-forwarded-for:")[1].split("\r\n")[0] if "x-forwarded-for:" in head else head.split("forwarded:")[1])

    def test_https_passes_through_a_tunnel(self):
        site, dns = self.secure_site(named("secret page")), self.dns()
        dns.set("origin.test", OUTSIDE)
        engine = self.proxy(dns=dns)
        answer = curl(engine.port, f"https://origin.test:{site.port}/x", *ca_words())
        self.assertEqual((answer.code, answer.connect, answer.status, answer.body), (0, 200, 200, b"secret page"), answer.errors)
        self.assertEqual(site.requests[0].split(b"\r\n")[0], b"GET /x HTTP/1.1")
        self.assertEqual(site.names, ["origin.test"])
        wait_for("the tunnel to end", lambda: engine.counter("tunnels") == 0)
        self.assertEqual((engine.counter("forward_connects"), engine.counter("tunnels_opened")), (1, 1))

    def test_a_proxy_that_speaks_tls_itself(self):
        site, secure, dns = self.site(named("plain")), self.secure_site(named("sealed")), self.dns()
        dns.set("origin.test", OUTSIDE)
        engine = self.proxy(dns=dns, users=True, listener=f", tls: {{ certificates: [ {certificates().site.yaml} ] }}")
        words = ("--proxy-cacert", certificates().ca.path)
        for url, body in ((f"http://{site.address}/", b"plain"), (f"https://origin.test:{secure.port}/", b"sealed")):
            answer = curl(engine.port, url, *words, *ca_words(), user="joe:open sesame", scheme="https")
            self.assertEqual((answer.code, answer.status, answer.body), (0, 200, body), answer.errors)

    def test_what_is_sent_and_what_comes_is_whole(self):
        data = content(3 << 20)

        def script(exchange):
            body = exchange.body()
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

        site, secure, dns = self.site(script), self.secure_site(script), self.dns()
        dns.set("origin.test", OUTSIDE)
        engine = self.proxy(dns=dns, users=True)
        path = os.path.join(engine.folder, "data")
        with open(path, "wb") as file:
            file.write(data)
        for url in (f"http://origin.test:{site.port}/", f"https://origin.test:{secure.port}/"):
            answer = curl(engine.port, url, "--data-binary", f"@{path}", *ca_words(), user="joe:open sesame")
            self.assertEqual((answer.code, answer.status, answer.body == data), (0, 200, True), answer.errors)

    def test_sites_by_ipv6(self):
        dns = self.dns()
        dns.set("six.test", "::1")
        echo = self.kept(Echo("::1", first=b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nsix"))
        engine = self.proxy(dns=dns, private="[ '::1' ]")
        for host in ("[::1]", "[0:0:0::1]", "six.test"):
            answer = curl(engine.port, f"http://{host}:{echo.port}/")
            self.assertEqual((answer.status, answer.body), (200, b"six"), host)
            client, status, _ = open_connect(engine.port, f"{host}:{echo.port}")
            with client:
                self.assertEqual((status, client.response().body), (200, b"six"), host)

    def test_connections_are_kept_on_both_sides(self):
        site = self.site(named("again"))
        engine = self.proxy()
        with engine.connect() as client:
            for _ in range(5):
                client.send_request(f"http://{site.address}/", headers=[f"Host: {site.address}"])
                self.assertEqual(client.response().body, b"again")
        self.assertEqual(len(site.received), 1)


class Users(ForwardScene):
    def setUp(self):
        super().setUp()
        self.plain, self.secure, self.names = self.site(named("in")), self.secure_site(named("in")), self.dns()
        self.names.set("origin.test", OUTSIDE)
        self.engine = self.proxy(dns=self.names, users=True)
        self.urls = (f"http://origin.test:{self.plain.port}/", f"https://origin.test:{self.secure.port}/")

    def ask(self, url, user=None):
        return curl(self.engine.port, url, *ca_words(), user=user)

    def test_who_has_a_password_passes(self):
        for name, password in USERS.items():
            for url in self.urls * 2:
                answer = self.ask(url, f"{name}:{password}")
                self.assertEqual((answer.code, answer.status, answer.body), (0, 200, b"in"), (name, answer.errors))
        for origin in (self.plain, self.secure):
            self.assertFalse([head for head in origin.requests if b"proxy-auth" in head.lower()])

    def test_who_has_none_is_asked_for_it(self):
        for url in self.urls:
            answer = self.ask(url)
            self.assertEqual(answer.said, 407)
            self.assertIn('Proxy-Authenticate: Basic realm="Weir"', answer.heads[-1])
        self.assertFalse(self.plain.requests or self.secure.requests)
        self.assertFalse([name for name, _ in self.names.asked], "nothing is looked up for strangers")

    def test_who_has_a_wrong_one_is_asked_again(self):
        for user in ("joe:open", "joe:", "joe:open sesame ", "Joe:open sesame", "nobody:open sesame", ":open sesame", "Ann:a", "joe:" + "x" * 255, "j" * 128 + ":x"):
            for url in self.urls:
                self.assertEqual(self.ask(url, user).said, 407, user)
        self.assertFalse(self.plain.requests or self.secure.requests)
        self.assertGreaterEqual(self.engine.counter("forward_wrong"), 9)

    def test_the_page_says_why(self):
        answer = get(self.engine.port, self.urls[0])
        self.assertEqual(answer.status, 407)
        self.assertIn(b"user name and a password", answer.body)
        self.assertTrue(answer.complete)

    def test_credentials_that_are_none(self):
        good = base64.b64encode(b"joe:open sesame").decode()
        for value in ("Basic", "Basic ", "Bearer " + good, "Basic " + good[:-1], "Basic " + good + "=", "Basic " + good + ", Basic " + good, "Basic joe:open sesame",
                      "Basic " + base64.b64encode(b"joe").decode(), "Basic " + base64.b64encode(b"joe:open sesame\r\n").decode(), "Basic " + base64.b64encode(b"x" * 600).decode(),
                      "Digest " + good, good, '"' + good + '"', "Basic\t" + good):
            answer = get(self.engine.port, self.urls[0], ["Proxy-Authorization: " + value])
            self.assertIn(answer.status, (400, 407), value)
            answer = connect_status(self.engine.port, f"origin.test:{self.plain.port}", ["Proxy-Authorization: " + value])
            self.assertIn(answer.status, (400, 407), value)
        self.assertFalse(self.plain.requests)
        for value in ("Basic " + good, "basic " + good, "BASIC   " + good):
            self.assertEqual(get(self.engine.port, self.urls[0], ["Proxy-Authorization: " + value]).status, 200, value)

    def test_two_fields_are_not_twice_as_good(self):
        both = [authorization("joe", "wrong"), authorization("joe", "open sesame")]
        for more in (both, both[::-1]):
            answer = get(self.engine.port, self.urls[0], more)
            self.assertIn(answer.status, (200, 400, 407))
        self.assertIn(get(self.engine.port, self.urls[0], both).status, (400, 407), "the first one counts, or neither")

    def test_authorization_is_the_sites_affair(self):
        answer = get(self.engine.port, self.urls[0], ["Authorization: Basic am9lOm9wZW4gc2VzYW1l"])
        self.assertEqual(answer.status, 407)
        answer = get(self.engine.port, self.urls[0], ["Authorization: Basic eDp5", authorization("joe", "open sesame")])
        self.assertEqual(answer.status, 200)
        self.assertIn(b"Authorization: Basic eDp5", self.plain.requests[-1])

    def test_a_reload_reads_the_file_anew(self):
        self.assertEqual(self.ask(self.urls[0], "joe:open sesame").status, 200)
        users_file(self.users_path, {"joe": "another", "new": "one"})
        self.assertEqual(self.ask(self.urls[0], "joe:another").said, 407, "not before the reload")
        self.assertEqual(self.engine.command("reload")[0], 0)
        self.assertEqual(self.ask(self.urls[0], "joe:open sesame").said, 407, "what was proven is forgotten")
        self.assertEqual(self.ask(self.urls[0], "joe:another").status, 200)
        self.assertEqual(self.ask(self.urls[1], "new:one").status, 200)

    def test_a_file_that_is_malformed_changes_nothing(self):
        with open(self.users_path, "a") as file:
            file.write("eve:plain text\n")
        code, out, err = self.engine.command("reload")
        self.assertNotEqual(code, 0)
        self.assertIn("line 5", out + err)
        self.assertEqual(self.ask(self.urls[0], "joe:open sesame").status, 200)

    def test_a_page_of_many_requests_hashes_once(self):
        answers, head = [], [f"Host: origin.test:{self.plain.port}", authorization("joe", "open sesame")]

        def one():
            with self.engine.connect(SLOW * 3) as client:
                client.send_request(self.urls[0], headers=head)
                answers.append(client.response().status)
        threads = [threading.Thread(target=one) for _ in range(60)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(answers, [200] * 60)

    def guessing(self, stop, said):
        """Threads that try one password after the other."""
        def guess(number):
            count = 0
            while not stop.is_set():
                count += 1
                try:
                    said.append(get(self.engine.port, self.urls[0], [authorization("joe", f"guess {number} {count}")]).status)
                except (OSError, EOFError):  # the engine ends
                    pass
        threads = [threading.Thread(target=guess, args=(i,)) for i in range(12)]
        for thread in threads:
            thread.start()
        return threads

    def test_reloads_with_other_users_while_passwords_are_in_line(self):
        stop, said = threading.Event(), []
        threads = self.guessing(stop, said)
        try:
            for i in range(12):
                users_file(self.users_path, {"joe": "one" if i % 2 else "two"})
                self.assertEqual(self.engine.command("reload")[0], 0)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        self.assertLessEqual(set(said), {407, 503})
        self.assertEqual(self.ask(self.urls[0], "joe:one").status, 200)
        self.assertEqual(self.ask(self.urls[0], "joe:two").said, 407)

    def test_a_stop_waits_for_no_line(self):
        stop, said = threading.Event(), []
        threads = self.guessing(stop, said)
        try:
            wait_for("guesses to be refused", lambda: 407 in said, SLOW * 3)
            self.engine.command("stop", "--now")
            wait_for("the engine to end", self.engine.ended, SLOW * 2)
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def test_who_leaves_while_he_is_waited_for(self):
        """While his password is hashed, the name is looked up, and the site is connected to."""
        good = authorization("joe", "open sesame")
        self.names.mood = "silent"
        for i in range(120):
            client = self.engine.connect()
            more = authorization("joe", f"wrong {i}") if i % 3 == 0 else good
            target = f"name{i}.test:80" if i % 3 == 1 else f"origin.test:{self.plain.port}"
            client.send(f"{'CONNECT' if i % 2 else 'GET'} {'' if i % 2 else 'http://'}{target}{'' if i % 2 else '/'} HTTP/1.1\r\nHost: {target}\r\n{more}\r\n\r\n".encode())
            (client.reset if i % 4 < 2 else client.close)()
        self.names.mood = "well"
        wait_for("all to be forgotten", lambda: self.engine.counter("in_flight") == 0 and self.engine.counter("tunnels") == 0, SLOW * 3)
        wait_for("requests to pass again", lambda: self.ask(self.urls[0], "joe:open sesame").status == 200, SLOW * 3)

    def test_guesses_do_not_keep_others_out(self):
        stop, said = threading.Event(), []
        threads = self.guessing(stop, said)
        try:
            wait_for("guesses to be refused", lambda: 407 in said, SLOW * 3)
            answer = None
            for _ in range(20):
                answer = curl(self.engine.port, self.urls[0], user="joe:open sesame")
                if answer.status != 503:
                    break
            self.assertEqual(answer.status, 200)
            for _ in range(5):
                self.assertEqual(curl(self.engine.port, self.urls[0], user="joe:open sesame").status, 200)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        self.assertLessEqual(set(said), {407, 503})


# ---- Where it goes --------------------------------------------------------------------------------------------------------

class Lists(ForwardScene):
    def test_denied_hosts_are_refused_by_name_and_by_address(self):
        site, third, dns = self.site(named("in")), self.site(named("third"), host="127.0.0.3"), self.dns()
        for name in ("good.test", "bad.test", "a.b.ads.test", "ads.test"):
            dns.set(name, OUTSIDE)
        dns.set("third.test", "127.0.0.3")
        engine = self.proxy(f"deny: [ bad.test, '*.ads.test', 127.0.0.3, 'good.test:{third.port}' ]", dns=dns)
        port = site.port
        for host, status in (("good.test", 200), ("ads.test", 200), ("bad.test", 403), ("BAD.test.", 403), ("a.b.ads.test", 403), ("A.ADS.TEST", 403)):
            answer = curl(engine.port, f"http://{host}:{port}/")
            self.assertEqual(answer.status, status, host)
            self.assertEqual(connect_status(engine.port, f"{host}:{port}").status if status == 403 else 403, 403, host)
        for host in ("third.test", "127.0.0.3", "127.3", "0x7f000003", "[::ffff:127.0.0.3]"):
            self.assertEqual(get(engine.port, f"http://{host}:{third.port}/").status, 403, host)
            self.assertEqual(connect_status(engine.port, f"{host}:{third.port}").status, 403, host)
        self.assertEqual(get(engine.port, f"http://good.test:{third.port}/").status, 403)
        self.assertFalse(third.requests or third.received)
        self.assertEqual(dns.count("bad.test"), 0, "what is denied by name is not looked up")
        self.assertGreater(engine.counter("forward_denied"), 10)

    def test_with_a_list_nothing_else_is_reached(self):
        site, dns = self.site(named("in")), self.dns()
        for name in ("www.allowed.test", "else.test", "allowed.test.else.test"):
            dns.set(name, OUTSIDE)
        engine = self.proxy("allow: [ '*.allowed.test', 'denied.allowed.test' ]\ndeny: [ denied.allowed.test ]", dns=dns)
        for host, status in (("www.allowed.test", 200), ("WWW.allowed.TEST.", 200), ("else.test", 403), ("allowed.test.else.test", 403), ("allowed.test", 403),
                             ("denied.allowed.test", 403), (OUTSIDE, 403)):
            self.assertEqual(get(engine.port, f"http://{host}:{site.port}/").status, status, host)
        self.assertEqual(engine.counter("forward_not_allowed"), 4)
        self.assertEqual(dns.count("else.test"), 0)

    def test_a_network_on_the_list_allows_by_address(self):
        site, dns = self.site(named("in")), self.dns()
        dns.set("some.test", OUTSIDE)
        dns.set("other.test", "127.0.0.3")
        engine = self.proxy(f"allow: [ {OUTSIDE}/32 ]", dns=dns)
        self.assertEqual(get(engine.port, f"http://some.test:{site.port}/").status, 200)
        self.assertEqual(get(engine.port, f"http://other.test:{site.port}/").status, 403)

    def test_tunnels_go_to_their_ports_only(self):
        site, secure = self.site(named("in")), self.kept(Echo())
        engine = self.proxy(ports=f"[ 443, {secure.port} ]")
        answer = connect_status(engine.port, site.address)
        self.assertEqual(answer.status, 403)
        self.assertIn(b"port", answer.body)
        client, status, _ = open_connect(engine.port, secure.address)
        self.assertEqual(status, 200)
        client.close()
        self.assertEqual(get(engine.port, f"http://{site.address}/").status, 200, "of CONNECT only")
        self.assertEqual(curl(engine.port, f"https://{site.address}/").said, 403)
        self.assertEqual(engine.counter("forward_port"), 2)

    def test_pages_say_why(self):
        dns = self.dns()
        engine = self.proxy("deny: [ bad.test ]\nallow: [ bad.test, gone.test, 127.0.0.0/8, 10.0.0.0/8 ]", dns=dns, ports="[ 443 ]")
        for url, status, words in (("http://bad.test/", 403, b"denied"), ("http://8.8.8.8/", 403, b"not on the list"), ("http://10.0.0.1/", 403, b"inside"),
                                   ("http://gone.test/", 502, b"gone.test"), (f"http://{OUTSIDE}:{free_port()}/", 502, b"")):
            answer = get(engine.port, url)
            self.assertEqual(answer.status, status, url)
            self.assertIn(words, answer.body, url)
        answer = connect_status(engine.port, f"{OUTSIDE}:25")
        self.assertEqual(answer.status, 403)
        self.assertIn(b"port 25", answer.body)


class Log(ForwardScene):
    def test_lines_say_who_went_where(self):
        site, echo = self.site(named("in")), self.kept(Echo())
        engine = self.proxy("deny: [ bad.test ]", users=True)
        joe = [authorization("joe", "open sesame")]
        get(engine.port, f"http://{site.address}/page", joe)
        client, _, _ = open_connect(engine.port, echo.address, joe)
        client.send(b"12345")
        client.exactly(5)
        client.close()
        get(engine.port, "http://bad.test/", joe)
        get(engine.port, f"http://{site.address}/", [authorization("joe", "wrong")])
        wait_for("four lines", lambda: len(self.access(engine)) >= 4)
        lines = self.access(engine)
        self.assertEqual(sorted((line["status"], line.get("user")) for line in lines), [(200, "joe"), (200, "joe"), (403, "joe"), (407, None)], lines)
        text = str(lines)
        self.assertIn(f"{site.port}", text)
        self.assertIn("bad.test", text)
        self.assertIn(str(echo.port), text)
        self.assertNotIn("sesame", text + engine.log())
        self.assertNotIn(base64.b64encode(b"joe:open sesame").decode(), text + engine.log())

    def test_nobody_is_named_before_he_has_shown_it(self):
        """A client that leaves while its password is in line."""
        engine = self.proxy(users=True)
        for number in range(20):
            client = engine.connect()
            host = f"{OUTSIDE}:9"
            client.send(f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n{authorization('joe', f'guess {number}')}\r\n\r\n".encode())
            client.close()
        wait_for("the lines", lambda: len(self.access(engine)) >= 20)
        self.assertEqual({line.get("user") for line in self.access(engine)}, {None})

    def test_names_cannot_break_a_line(self):
        engine = self.proxy(users={"joe": "x"}, top="")
        get(engine.port, f"http://{OUTSIDE}:1/", [authorization('a" 200 "b\\', "x")])
        wait_for("a line", lambda: self.access(engine))
        self.assertEqual(len(self.access(engine)), 1)


class Cache(ForwardScene):
    def test_plain_content_is_kept(self):
        site = self.site(raw(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 5\r\n\r\nfresh"))
        engine = self.proxy("cache: {}", users=True)
        for user in ("joe:open sesame", "Ann:a:b", "joe:open sesame"):
            self.assertEqual(curl(engine.port, f"http://{site.address}/x", user=user).body, b"fresh")
        self.assertEqual(len(site.requests), 1)

    def test_a_hit_is_for_who_may(self):
        site = self.site(raw(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 5\r\n\r\nfresh"))
        engine = self.proxy("cache: {}", users=True)
        self.assertEqual(curl(engine.port, f"http://{site.address}/x", user="joe:open sesame").status, 200)
        self.assertEqual(curl(engine.port, f"http://{site.address}/x").status, 407)
        self.assertEqual(curl(engine.port, f"http://{site.address}/x", user="joe:wrong").status, 407)

    def test_sites_are_kept_apart(self):
        one, two = (self.site(raw(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 3\r\n\r\n" + body)) for body in (b"one", b"two"))
        engine = self.proxy("cache: {}")
        for _ in range(2):
            self.assertEqual(get(engine.port, f"http://{one.address}/x").body, b"one")
            self.assertEqual(get(engine.port, f"http://{two.address}/x").body, b"two")
        self.assertEqual((len(one.requests), len(two.requests)), (1, 1))

    def test_what_is_kept_is_not_shown_once_it_is_denied(self):
        site = self.site(raw(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 5\r\n\r\nfresh"))
        engine = self.proxy("cache: {}")
        self.assertEqual(get(engine.port, f"http://{site.address}/x").status, 200)
        with open(engine.path) as file:
            text = file.read()
        with open(engine.path, "w") as file:
            file.write(text.replace("forward-proxy:\n", f"forward-proxy:\n  deny: [ {OUTSIDE} ]\n"))
        self.assertEqual(engine.command("reload")[0], 0)
        self.assertEqual(get(engine.port, f"http://{site.address}/x").status, 403)

    def test_an_unsafe_request_takes_out_what_is_kept(self):
        site = self.site(raw(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 5\r\n\r\nfresh"))
        engine = self.proxy("cache: {}")
        for method, seen in (("GET", 1), ("GET", 1), ("POST", 2), ("GET", 3), ("GET", 3)):
            self.assertEqual(get(engine.port, f"http://{site.address}/x", method=method).status, 200)
            self.assertEqual(len(site.requests), seen, method)

    def test_a_url_or_a_host_is_purged(self):
        site = self.site(raw(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 5\r\n\r\nfresh"))
        engine = self.proxy("cache: {}")
        url = f"http://{site.address}/x?q=1"
        for number, words in enumerate(((url,), ("--host", site.address), (url.replace("/x", "/none/../x"),)), 1):
            for _ in range(2):
                self.assertEqual(get(engine.port, url).body, b"fresh")
            self.assertEqual(len(site.requests), number)
            code, out, err = engine.command("purge", *words)
            self.assertEqual((code, out.split(",")[0]), (0, "purged: 1 objects"), err)
        self.assertEqual(engine.command("purge", "no url")[0], 2)

    def test_plain_sites_are_what_they_are_by_tls_too(self):
        """What is kept is http://, however a client came: a purge by its URL finds it."""
        site = self.site(raw(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 5\r\n\r\nfresh"))
        engine = self.proxy("cache: {}", listener=f", tls: {{ certificates: [ {certificates().site.yaml} ] }}")
        url = f"http://{site.address}/x"
        for _ in range(2):
            self.assertEqual(curl(engine.port, url, "--proxy-cacert", certificates().ca.path, scheme="https").body, b"fresh")
        code, out, err = engine.command("purge", "--prefix", f"http://{site.address}/")
        self.assertEqual(code, 0, err)
        self.assertIn("1 object", out)
        self.assertEqual(curl(engine.port, url, "--proxy-cacert", certificates().ca.path, scheme="https").body, b"fresh")
        self.assertEqual(len(site.requests), 2)

    def test_a_fetch_of_the_caches_own_signs_on_alone(self):
        """A part is asked for, so the cache fetches the whole, with the client's sign-on: that connection is nobody's afterwards."""
        site = self.site(raw(b"HTTP/1.1 200 OK\r\nCache-Control: public, max-age=600\r\nContent-Length: 5\r\n\r\nfresh"))
        engine = self.proxy("cache: {}", top="workers: 1")
        get(engine.port, f"http://{site.address}/part", ["Range: bytes=0-1", "Authorization: Negotiate YTpi"])
        self.assertEqual(len(site.requests), 1)
        get(engine.port, f"http://{site.address}/other")
        self.assertEqual((len(site.requests), len(site.connections)), (2, 2))

    def test_nor_does_it_share_the_connection_of_one_who_left(self):
        head, go = threading.Event(), threading.Event()

        def script(exchange):
            if b"/slow" not in exchange.head.split(b"\r\n")[0]:
                exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                return
            exchange.send(b"HTTP/1.1 200 OK\r\nCache-Control: public, max-age=600\r\nContent-Length: 5\r\n\r\nfr")
            head.set()
            go.wait(SLOW)
            exchange.send(b"esh")

        site = self.site(script)
        engine = self.proxy("cache: {}", top="workers: 1")
        with engine.connect() as client:
            client.send_request(f"http://{site.address}/slow", headers=[f"Host: {site.address}", "Authorization: Negotiate YTpi"])
            self.assertTrue(head.wait(SLOW))
            client.head()
            client.exactly(2)
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wait_for("the client to be gone", lambda: engine.counter("client_aborts") or engine.counter("response_cuts"))
        go.set()
        wait_for("the whole to be stored", lambda: get(engine.port, f"http://{site.address}/slow", ["Authorization: Negotiate YTpi"]).body == b"fresh")
        get(engine.port, f"http://{site.address}/other")
        self.assertEqual(len(site.connections), 2)


# ---- Beside squid -----------------------------------------------------------------------------------------------------------

class BesideSquid(ForwardScene):
    """
    The same commands of curl through squid and through the engine: the same statuses, and what matters of the fields. Differs on purpose:

    what                                 squid 5, as configured here           the engine
    what is inside                       reached, unless an acl says `dst`     refused, unless `private` opens it
    CONNECT to a port that may not be    403, before it asks who               407 first: strangers learn no rule
    denied host, no password             403 (acls count in their order)       407 first, likewise
    name that does not resolve           503                                   502, RFC 9110 15.6.3
    nobody listens there                 503                                   502
    Via, X-Forwarded-For to sites        sent unless switched off              not sent unless `forwarded: true`
    address whose reverse look-up        403                                   reached: lists are of names that are asked for, and of addresses
    names a denied host
    pages                                HTML, with Server and Via             a sentence of plain text
    """
    SAME = [  # user, url, status
        (None, "http://origin.test:{plain}/", 407), (None, "https://origin.test:{secure}/", 407), ("joe:wrong", "http://origin.test:{plain}/", 407),
        ("joe:wrong", "https://origin.test:{secure}/", 407), ("eve:open sesame", "http://origin.test:{plain}/", 407), ("joe:open sesame", "http://origin.test:{plain}/", 200),
        ("joe:open sesame", "https://origin.test:{secure}/", 200), ("joe:open sesame", "http://a.denied.test:{plain}/", 403), ("joe:open sesame", "https://a.denied.test:{secure}/", 403),
        ("joe:open sesame", "http://inside.test:{plain}/", 403), ("joe:open sesame", "https://inside.test:{secure}/", 403), ("joe:open sesame", "https://origin.test:{plain}/", 403),
        ("joe:open sesame", "http://127.0.0.1:{plain}/", 403), ("joe:open sesame", "http://127.0.0.2:{plain}/", 200),
    ]
    DIFFERENT = [  # user, url, squid's status, ours
        ("joe:open sesame", "http://origin.test:{nobody}/", 503, 502), (None, "https://origin.test:{plain}/", 403, 407), (None, "http://a.denied.test:{plain}/", 403, 407),
    ]

    def setUp(self):
        super().setUp()
        self.plain, self.secure, names = self.site(named("hello")), self.secure_site(named("hello")), self.dns()
        hosts = {"origin.test": OUTSIDE, "a.denied.test": "127.0.0.3", "inside.test": "127.0.0.1"}
        for name, address in hosts.items():
            names.set(name, address)
        self.squid = self.kept(Squid(self.need("squid"), hosts, [443, self.secure.port]))
        self.engine = self.proxy("deny: [ '*.denied.test' ]", dns=names, users={"joe": "open sesame"}, ports=f"[ 443, {self.secure.port} ]")
        self.ports = {"plain": self.plain.port, "secure": self.secure.port, "nobody": free_port()}

    def ask(self, port, user, url):
        return curl(port, url.format(**self.ports), *ca_words(), user=user)

    def test_statuses_and_fields(self):
        for user, url, status in self.SAME:
            squid, ours = self.ask(self.squid.port, user, url), self.ask(self.engine.port, user, url)
            self.assertEqual((squid.said, ours.said), (status, status), (user, url))
            self.assertEqual(squid.code, ours.code, (user, url, squid.errors, ours.errors))
            self.assertEqual(squid.body if status == 200 else b"", ours.body if status == 200 else b"")
            if status == 407:
                realm = squid.heads[-1].split("Proxy-Authenticate: ")[1].split("\r\n")[0]
                self.assertTrue(ours.heads[-1].split("Proxy-Authenticate: ")[1].startswith(realm), (realm, ours.heads))

    def test_what_differs_on_purpose(self):
        for user, url, theirs, status in self.DIFFERENT:
            self.assertEqual((self.ask(self.squid.port, user, url).said, self.ask(self.engine.port, user, url).said), (theirs, status), (user, url))

    def test_what_sites_see(self):
        for port in (self.squid.port, self.engine.port):
            self.ask(port, "joe:open sesame", "http://origin.test:{plain}/path?query")
        theirs, ours = ({line.split(b":")[0].lower(): line.split(b":", 1)[1].strip() for line in head.split(b"\r\n")[1:]} for head in self.plain.requests)
        self.assertEqual(self.plain.requests[0].split(b"\r\n")[0], self.plain.requests[1].split(b"\r\n")[0])
        self.assertEqual(set(theirs) - set(ours) - {b"cache-control", b"connection"}, {b"via", b"x-forwarded-for"})
        for name in (b"host", b"user-agent", b"accept"):
            self.assertEqual(theirs[name], ours[name])


if __name__ == "__main__":
    unittest.main()
