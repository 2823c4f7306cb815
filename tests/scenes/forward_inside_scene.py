"""What the forward proxy must never reach: what lies inside, in every spelling, by names that point there, by answers that change; and requests that are none."""
import threading
import time
import unittest

from forward_props import OUTSIDE, WORLD, ForwardScene, Trap, connect_status, curl, get, open_connect
from stage import Client, free_port, named, wait_for

# What people write to reach what lies behind a proxy.
LOOPBACK = ["127.0.0.1", "127.1", "127.0.1", "0177.0.0.1", "0177.1", "0x7f.0.0.1", "0x7f000001", "0X7F.1", "2130706433", "017700000001", "127.0.0.1.", "0", "0.0.0.0",
            "0x0", "00000000", "localhost", "LocalHost", "localhost.", "a.localhost", "[::1]", "[0:0:0:0:0:0:0:1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
            "[::127.0.0.1]", "[64:ff9b::127.0.0.1]", "[2002:7f00:1::]", "[::ffff:0:127.0.0.1]"]
ELSEWHERE = ["169.254.169.254", "0xa9fea9fe", "2852039166", "0251.0376.0251.0376", "169.254.43518", "[::ffff:169.254.169.254]", "[64:ff9b::a9fe:a9fe]", "[fd00:ec2::254]",
             "100.100.100.200", "192.0.0.192", "168.63.129.16", "10.0.0.1", "10.1", "172.16.0.1", "192.168.0.1", "192.168.257", "[fe80::1]", "[fc00::1]", "[ff02::1]",
             "255.255.255.255", "224.0.0.1", "192.0.2.1", "198.18.0.1", "[2001:db8::1]", "[2001::1]", "[100::1]", "[5f00::1]", "[3fff::1]"]
NO_HOSTS = ["127.0.0.1%00.example.com", "127.0.0.1%2eexample.com", "%31%32%37.0.0.1", "256.1.1.1", "1.2.3.4.5", "08.1.1.1", "0x", "a..b", "a_b..", "[fe80::1%25eth0]", "[::1", "::1",
            "[127.0.0.1]", "user@127.0.0.1", "user:pw@127.0.0.1", "127.0.0.1:80:80", "example.1", "\xef\xbc\x91\xef\xbc\x92\xef\xbc\x97.0.0.1", "b\xc3\xbccher.example"]


class Inside(ForwardScene):
    """The list of what people write to reach what is behind a proxy. Nothing of it may connect, whatever the answer says."""

    def setUp(self):
        super().setUp()
        while True:
            self.trap = self.kept(Trap())
            self.port = self.trap.port
            try:
                self.trap6 = self.kept(Trap("::1", self.port))
                break
            except OSError:  # somebody has it there
                continue

    def refused(self, engine, hosts, statuses=(403,)):
        for host in hosts:
            for what in ("CONNECT", "GET"):
                with Client(engine.port) as client:
                    target = f"{host}:{self.port}" if what == "CONNECT" else f"http://{host}:{self.port}/latest/meta-data/"
                    client.send(f"{what} {target} HTTP/1.1\r\nHost: {host}:{self.port}\r\n\r\n".encode("latin-1"))
                    answer = client.response()
                    self.assertIn(answer.status, statuses, (what, host))
                    self.assertNotIn(b"secret", answer.body)
        self.assertEqual((self.trap.accepted, self.trap6.accepted), (0, 0))

    def test_loopback_in_every_spelling(self):
        self.refused(self.proxy(private=None), LOOPBACK)

    def test_metadata_private_and_special_addresses(self):
        engine = self.proxy(private=None)
        self.refused(engine, ELSEWHERE)
        self.assertEqual(engine.counter("forward_private"), 2 * len(ELSEWHERE))

    def test_what_is_no_host_is_none(self):
        self.refused(self.proxy(private=None), NO_HOSTS, (400, 403))

    def test_allow_does_not_open_it(self):
        self.refused(self.proxy("allow: [ '*', localhost, 127.0.0.0/8, '::/0', 0.0.0.0/0 ]", private=None), LOOPBACK + ELSEWHERE)

    def test_what_is_opened_beside_it_does_not_open_it(self):
        self.refused(self.proxy(private=f"[ {WORLD}, 10.2.0.0/16 ]"), LOOPBACK + ELSEWHERE)

    def test_what_is_opened_is_reached_in_every_spelling(self):
        engine = self.proxy(private="[ 127.0.0.1 ]")
        hosts = ["127.0.0.1", "127.1", "0177.0.0.1", "0x7f000001", "2130706433", "[::ffff:127.0.0.1]", "127.0.0.1."]
        for number, host in enumerate(hosts, 1):
            self.assertEqual(get(engine.port, f"http://{host}:{self.port}/").body, b"secret", host)
        self.assertEqual((self.trap.accepted, self.trap6.accepted), (len(hosts), 0))

    def test_curl_is_refused_as_well(self):
        engine = self.proxy(private=None)
        for host in ("127.0.0.1", "127.1", "0x7f000001", "[::1]", "localhost", "169.254.169.254", "[::ffff:127.0.0.1]"):
            for scheme in ("http", "https"):
                self.assertEqual(curl(engine.port, f"{scheme}://{host}:{self.port}/").said, 403, (scheme, host))
        self.assertEqual((self.trap.accepted, self.trap6.accepted), (0, 0))


class Names(ForwardScene):
    """127.0.0.2 is outside, 127.0.0.1 and ::1 are inside, on one port."""

    def setUp(self):
        super().setUp()
        self.outside, self.trap, self.trap6 = self.on_one_port()
        self.port = self.outside.port
        self.names = self.dns()
        self.engine = self.proxy(dns=self.names)

    def on_one_port(self):
        while True:
            outside = self.site(named("outside"))
            try:
                trap = self.kept(Trap(port=outside.port))
                return outside, trap, self.kept(Trap("::1", outside.port))
            except OSError:  # somebody has it there
                continue

    def both(self, name, status):
        answer = get(self.engine.port, f"http://{name}:{self.port}/")
        self.assertEqual(answer.status, status, name)
        client, said, _ = open_connect(self.engine.port, f"{name}:{self.port}")
        client.close()
        self.assertEqual(said, status, name)
        return answer

    def tearDown(self):
        self.assertEqual((self.trap.accepted, self.trap6.accepted), (0, 0), "somebody got inside")

    def test_names_that_point_inside(self):
        self.names.set("in4.test", "127.0.0.1")
        self.names.set("in6.test", "::1")
        self.names.set("meta.test", "169.254.169.254")
        self.names.set("nat64.test", "64:ff9b::7f00:1")
        self.names.set("ula.test", "fd00:ec2::254")
        self.names.set("many.test", "127.0.0.1", "10.0.0.1", "::1", "fe80::1")
        for name in ("in4", "in6", "meta", "nat64", "ula", "many"):
            self.assertIn(b"inside", self.both(name + ".test", 403).body)

    def test_answers_that_are_no_addresses_of_hosts(self):
        """A resolver may leave them out of what a name stands for; Linux connects to itself by them."""
        self.names.set("zero.test", "0.0.0.0")
        self.names.set("any6.test", "::")
        self.names.set("mapped.test", "::ffff:7f00:1")
        for name in ("zero.test", "any6.test", "mapped.test"):
            self.assertIn(get(self.engine.port, f"http://{name}:{self.port}/").status, (403, 502), name)
            self.assertIn(connect_status(self.engine.port, f"{name}:{self.port}").status, (403, 502), name)

    def test_aliases_that_lead_inside(self):
        self.names.set("target.test", "127.0.0.1")
        self.names.alias("alias.test", "target.test")
        self.names.alias("to-localhost.test", "localhost")
        self.both("alias.test", 403)
        self.assertIn(get(self.engine.port, f"http://to-localhost.test:{self.port}/").status, (403, 502))

    def test_of_a_mixed_answer_only_what_may_be_reached_is_used(self):
        self.names.set("mixed.test", "127.0.0.1", OUTSIDE, "::1", "10.0.0.1")
        for _ in range(10):
            self.assertEqual(self.both("mixed.test", 200).body, b"outside")

    def test_nor_when_that_fails(self):
        port = free_port()
        trap = self.kept(Trap(port=port))
        self.names.set("mixed.test", "127.0.0.1", OUTSIDE, "::1")
        for _ in range(3):
            self.assertEqual(get(self.engine.port, f"http://mixed.test:{port}/").status, 502)
            self.assertEqual(connect_status(self.engine.port, f"mixed.test:{port}").status, 502)
        self.assertEqual(trap.accepted, 0)

    def test_a_name_that_is_bound_anew(self):
        self.names.set("rebind.test", OUTSIDE, ttl=0)
        self.both("rebind.test", 200)
        self.names.set("rebind.test", "127.0.0.1", ttl=0)
        ask = lambda: get(self.engine.port, f"http://rebind.test:{self.port}/").status
        wait_for("the new answer to count on every worker", lambda: {ask() for _ in range(16)} == {403})
        self.both("rebind.test", 403)

    def test_a_name_that_changes_with_each_look(self):
        turn = [0]
        plain = self.names.answer

        def answer(data, most):
            turn[0] += 1
            self.names.set("flip.test", OUTSIDE if turn[0] % 2 else "127.0.0.1", ttl=0)
            return plain(data, most)
        self.names.answer = answer
        seen = set()
        end = time.monotonic() + 4
        while time.monotonic() < end:
            seen.add(get(self.engine.port, f"http://flip.test:{self.port}/").status)
            client, status, _ = open_connect(self.engine.port, f"flip.test:{self.port}")
            client.close()
            seen.add(status)
            time.sleep(0.05)
        self.assertLessEqual(seen, {200, 403})

    def test_a_kept_connection_does_not_outlive_a_reload_that_closes_its_way(self):
        self.names.set("open.test", OUTSIDE)
        with self.engine.connect() as client:
            client.send_request(f"http://open.test:{self.port}/", headers=[f"Host: open.test:{self.port}"])
            self.assertEqual(client.response().status, 200)
            with open(self.engine.path) as file:
                text = file.read()
            with open(self.engine.path, "w") as file:
                file.write(text.replace(f"private: [ {WORLD} ]", "private: [ 10.0.0.0/8 ]"))
            self.assertEqual(self.engine.command("reload")[0], 0)
            client.send_request(f"http://open.test:{self.port}/", headers=[f"Host: open.test:{self.port}"])
            self.assertEqual(client.response().status, 403)

    def test_what_name_servers_may_do(self):
        self.names.mood = "servfail"
        self.assertEqual(get(self.engine.port, f"http://sf.test:{self.port}/").status, 502)
        self.names.mood = "garbage"
        self.assertIn(get(self.engine.port, f"http://garbage.test:{self.port}/").status, (502, 504))
        self.names.mood = "silent"
        self.assertIn(get(self.engine.port, f"http://silent.test:{self.port}/").status, (502, 504))
        self.names.mood = "well"
        self.names.set("late.test", OUTSIDE)
        self.both("late.test", 200)

    def test_many_who_ask_for_one_name_make_one_question(self):
        self.names.set("busy.test", OUTSIDE, ttl=30)
        said = []

        def one():
            said.append(get(self.engine.port, f"http://busy.test:{self.port}/").status)
        threads = [threading.Thread(target=one) for _ in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(said, [200] * 40)
        self.assertLessEqual(self.names.count("busy.test"), 8, "two kinds, two workers, and a second try")


class Requests(ForwardScene):
    def setUp(self):
        super().setUp()
        self.outside = self.site(named("outside"))
        self.engine = self.proxy("deny: [ bad.test, 127.0.0.3 ]")

    def test_the_target_counts_and_host_must_not_disagree(self):
        """RFC 9112 3.2.2: an absolute target is the host; the engine refuses a Host that says another."""
        for host in ("other.test", "bad.test", f"{OUTSIDE}:1"):
            answer = get(self.engine.port, f"http://{self.outside.address}/", host=host)
            if answer.status == 200:
                self.assertIn(f"Host: {self.outside.address}".encode(), self.outside.requests[-1])
            else:
                self.assertEqual(answer.status, 400, host)
            self.assertIn(connect_status(self.engine.port, f"bad.test:{self.outside.port}", host=self.outside.address).status, (400, 403))
        answer = get(self.engine.port, f"http://127.0.0.3:{self.outside.port}/", host=self.outside.address)
        self.assertIn(answer.status, (400, 403))

    def test_other_forms_are_refused(self):
        for request, statuses in (("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", (400,)), ("OPTIONS * HTTP/1.1\r\nHost: example.com\r\n\r\n", (400,)),
                                  (f"GET https://{self.outside.address}/ HTTP/1.1\r\nHost: {self.outside.address}\r\n\r\n", (400, 501)),
                                  ("GET ftp://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n", (400, 501)), ("GET file:///etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n", (400, 501)),
                                  ("CONNECT example.com HTTP/1.1\r\nHost: example.com\r\n\r\n", (400,)), ("CONNECT http://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n", (400,)),
                                  ("CONNECT / HTTP/1.1\r\nHost: example.com\r\n\r\n", (400,)), ("CONNECT :443 HTTP/1.1\r\nHost: a\r\n\r\n", (400,)),
                                  ("CONNECT a:0 HTTP/1.1\r\nHost: a:0\r\n\r\n", (400,)), ("CONNECT a:65536 HTTP/1.1\r\nHost: a\r\n\r\n", (400,)),
                                  (f"CONNECT {self.outside.address} HTTP/1.1\r\nHost: {self.outside.address}\r\nContent-Length: 5\r\n\r\nhello", (400,)),
                                  (f"CONNECT {self.outside.address} HTTP/1.1\r\nHost: {self.outside.address}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", (400,)),
                                  (f"GET http://u:p@{self.outside.address}/ HTTP/1.1\r\nHost: {self.outside.address}\r\n\r\n", (400,)),
                                  ("TRACE http://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n", (403, 405, 501))):
            with Client(self.engine.port) as client:
                client.send(request.encode())
                self.assertIn(client.response().status, statuses, request)
        self.assertFalse(self.outside.requests)

    def test_what_follows_a_refused_connect_is_no_request(self):
        with Client(self.engine.port) as client:
            client.send(f"CONNECT bad.test:443 HTTP/1.1\r\nHost: bad.test:443\r\n\r\nGET http://{self.outside.address}/ HTTP/1.1\r\nHost: {self.outside.address}\r\n\r\n".encode())
            self.assertEqual(client.response().status, 403)
            self.assertTrue(client.closed())
        self.assertFalse(self.outside.requests)

    def test_hop_by_hop_fields_stay_here(self):
        answer = get(self.engine.port, f"http://{self.outside.address}/", ["Proxy-Connection: keep-alive", "Connection: X-Mine", "X-Mine: 1", "Proxy-Authorization: Basic eDp5", "TE: gzip"])
        self.assertEqual(answer.status, 200)
        head = self.outside.requests[-1].lower()
        for name in (b"proxy-connection", b"x-mine", b"proxy-authorization", b"te:"):
            self.assertNotIn(b"\r\n" + name, head)

    def test_http_1_0(self):
        with Client(self.engine.port) as client:
            client.send(f"GET http://{self.outside.address}/ HTTP/1.0\r\n\r\n".encode())
            answer = client.response()
            self.assertEqual((answer.status, answer.body), (200, b"outside"))


if __name__ == "__main__":
    unittest.main()
