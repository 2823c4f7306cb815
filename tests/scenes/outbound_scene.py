"""The forward proxy from inside: names, destinations, limits, and clients who mean no good.

What it is for its users, beside a client like curl, is forward_scene.py's.
"""
import os
import socket
import tempfile
import threading
import unittest

from dns import DnsServer
from forward_props import Echo, users_file
from stage import Client, Scene, wait_for

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
CONFIG = """
listeners: [ { address: "127.0.0.1:{port}", serve: forward-proxy } ]
forward-proxy:
  private: [ 127.0.0.0/8 ]
  connect-ports: "*"
  %s
dns: { servers: [ %s ], timeout: 1s, tries: 5 }
log: { access: "{folder}/access.log", level: info }
"""


class Deaf(DnsServer):
    """Says nothing of some names."""

    def answer(self, data, most):
        return None if b"dead" in data else super().answer(data, most)


class Outbound(Scene):
    def proxy(self, more="", top=""):
        self.dns = Deaf()
        self.addCleanup(self.dns.stop)
        return self.weir(CONFIG % (more, f'"{self.dns.address}"') + top)

    def echo(self):
        """Sends back what comes, and ends when it ends."""
        echo = Echo("127.0.0.1")
        self.addCleanup(echo.stop)
        return echo.port

    def connect(self, weir, target, more=b""):
        client = Client(weir.port)
        self.addCleanup(client.close)
        client.send(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode() + more)
        return client

    def ask(self, weir, target, *headers, method="GET", body=b""):
        host = target.split("//", 1)[1].split("/", 1)[0]
        with Client(weir.port) as client:
            client.send_request(target, method=method, headers=(f"Host: {host}",) + headers, body=body)
            return client.response(method)

    def text(self, weir):
        with open(weir.path) as file:
            return file.read()

    def rest(self, client):
        try:
            while client.fill():
                pass
        except ConnectionError:
            pass
        return client.buffer

    def log_lines(self, weir, count):
        path = os.path.join(weir.folder, "access.log")

        def lines():
            with open(path) as file:
                return file.read().splitlines()

        wait_for("the log's lines", lambda: os.path.exists(path) and len(lines()) >= count)
        return lines()


class Tunnels(Outbound):
    def test_bytes_behind_the_head_go_first(self):
        weir, port = self.proxy(), self.echo()
        self.dns.set("echo.test", "127.0.0.1")
        for target in (f"127.0.0.1:{port}", f"echo.test:{port}", f"ECHO.test.:{port}"):
            client = self.connect(weir, target, b"early ")
            client.send(b"late")
            self.assertEqual(client.exactly(len(ESTABLISHED)), ESTABLISHED)
            self.assertEqual(client.exactly(10), b"early late")
            client.socket.shutdown(socket.SHUT_WR)
            self.assertTrue(client.closed())
        self.assertEqual(weir.counter("tunnels_closed"), 3)
        line = next(line for line in self.log_lines(weir, 3) if f'"target":"127.0.0.1:{port}"' in line)
        for part in ('"method":"CONNECT"', '"status":200', '"sent":10', '"received":10'):
            self.assertIn(part, line)

    def test_what_follows_a_refused_connect_is_no_request(self):
        weir, origin = self.proxy("deny: [ 127.0.0.9 ]"), self.origin()
        smuggled = f"GET http://127.0.0.1:{origin.port}/ HTTP/1.1\r\nHost: 127.0.0.1:{origin.port}\r\n\r\n".encode()
        for target in ("127.0.0.9:443", "169.254.169.254:80", "nosuch.test:443"):
            client = self.connect(weir, target, smuggled)
            response = client.response()
            self.assertIn(response.status, (403, 502))
            self.assertEqual(response.field("connection"), "close")
            self.assertTrue(client.closed())
        self.assertEqual(origin.requests, [])

    def test_targets_that_are_none(self):
        weir, port = self.proxy(), self.echo()
        for target in ("127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", f"u@127.0.0.1:{port}", f"[fe80::1%lo]:{port}", f"/:{port}",
                       f"http://127.0.0.1:{port}", f"%31.test:{port}", f"a..test:{port}", "a" * 64 + f".test:{port}"):
            with self.subTest(target=target):
                client = self.connect(weir, target)
                self.assertEqual(client.response().status, 400)
        for more in (b"Content-Length: 3\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"):
            client = Client(weir.port)
            self.addCleanup(client.close)
            client.send(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n".encode() + more)
            self.assertEqual(client.response().status, 400)
        client = Client(weir.port)
        self.addCleanup(client.close)
        client.send(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n".encode())
        self.assertEqual(client.response().status, 400)

    def test_a_stop_cuts_what_is_left_and_a_reload_nothing(self):
        weir, port = self.proxy(top="timeouts: { drain: 500ms }\n"), self.echo()
        client = self.connect(weir, f"127.0.0.1:{port}")
        client.until(b"\r\n\r\n")
        for _ in range(3):
            self.assertEqual(weir.command("reload")[0], 0)
            client.send(b"still")
            self.assertEqual(client.exactly(5), b"still")
        weir.process.terminate()
        self.assertTrue(client.closed())

    def test_a_reload_takes_the_forward_proxy_out_and_puts_it_back(self):
        weir, port, origin = self.proxy(), self.echo(), self.origin()
        config = self.text(weir)
        client = self.connect(weir, f"127.0.0.1:{port}")
        client.until(b"\r\n\r\n")
        kept = Client(weir.port)
        self.addCleanup(kept.close)
        target = f"http://127.0.0.1:{origin.port}/"
        request = f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{origin.port}\r\n\r\n".encode()
        kept.send(request)
        self.assertEqual(kept.response().status, 200)
        for _ in range(2):
            with open(weir.path, "w") as file:
                file.write(f"workers: 2\npin: false\nlisteners: [ {{ address: 127.0.0.1:{weir.admin} }} ]\nroutes: [ {{ respond: {{ body: mine }} }} ]\n"
                           f"control: {{ socket: {weir.socket} }}\nlog: {{ level: info }}\n")
            code, out, err = weir.command("reload")
            self.assertEqual(code, 0, out + err)
            kept.send(request)
            self.assertEqual(kept.response().status, 404)
            client.send(b"still")
            self.assertEqual(client.exactly(5), b"still")
            with open(weir.path, "w") as file:
                file.write(config)
            self.assertEqual(weir.command("reload")[0], 0)
            self.assertEqual(self.ask(weir, target).status, 200)
            self.assertEqual(self.connect(weir, f"127.0.0.1:{port}").head()[0], 200)
            kept.send(request)
            self.assertEqual(kept.response().status, 200)

    def test_a_hundred_clients_that_leave_while_names_are_looked_up(self):
        weir = self.proxy("timeouts: { lookup: 30s }")
        self.dns.mood = "silent"
        clients = [self.connect(weir, f"slow{i % 7}.test:443") for i in range(100)]
        wait_for("the look-ups", lambda: weir.counter("forward_connects") == 100)
        for i, client in enumerate(clients):
            client.reset() if i % 2 else client.close()
        wait_for("all to be gone", lambda: weir.counter("in_flight") == 0)


class Keys(Outbound):
    """What stands in the file is what happens."""

    def test_the_realm(self):
        folder = tempfile.TemporaryDirectory(prefix="weir-users-")
        self.addCleanup(folder.cleanup)
        weir = self.proxy(f'users: {users_file(os.path.join(folder.name, "users"))}\n  realm: Head office')
        response = self.ask(weir, "http://127.0.0.1:1/")
        self.assertEqual((response.status, response.field("proxy-authenticate")), (407, 'Basic realm="Head office", charset="UTF-8"'))

    def test_how_long_a_site_may_take(self):
        """Long for all but the one that is looked at: each must end by its own."""
        over = threading.Event()
        self.addCleanup(over.set)

        def silent(exchange):
            over.wait(60)

        def halting(exchange):
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
            over.wait(60)
        weir = self.proxy("timeouts: { first-byte: 300ms, between: 1h }")
        self.assertEqual(self.ask(weir, f"http://{self.origin(silent).address}/").status, 504)
        weir = self.proxy("timeouts: { first-byte: 1h, between: 300ms }")
        with self.assertRaises(ConnectionResetError):
            self.ask(weir, f"http://{self.origin(halting).address}/")

    def test_how_long_a_connection_may_take(self):
        """The backlog is full, and the kernel says nothing to who comes then."""
        listener = socket.socket()
        self.addCleanup(listener.close)
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        for _ in range(8):
            filler = socket.socket()
            self.addCleanup(filler.close)
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        weir = self.proxy("timeouts: { connect: 300ms, first-byte: 1h }")
        self.assertEqual(self.connect(weir, f"127.0.0.1:{port}").head()[0], 502)


class Names(Outbound):
    def test_a_name_that_points_inside_is_refused(self):
        weir, origin = self.proxy("deny: [ 127.0.0.7 ]"), self.origin()
        self.dns.set("rebound.test", "10.0.0.1")
        self.dns.set("metadata.test", "169.254.169.254")
        self.dns.set("mapped.test", "::ffff:a00:1")
        self.dns.set("listed.test", "127.0.0.7")
        self.dns.set("both.test", "10.0.0.1", "127.0.0.1")
        for name in ("rebound.test", "metadata.test", "mapped.test", "listed.test"):
            response = self.ask(weir, f"http://{name}:{origin.port}/")
            self.assertEqual(response.status, 403, name)
            self.assertIn(name.encode(), response.body)
        self.assertEqual(self.ask(weir, f"http://both.test:{origin.port}/").status, 200)  # to the one that may be reached
        self.assertEqual(len(origin.requests), 1)

    def test_one_question_serves_all_who_wait_and_its_answer_is_kept(self):
        weir, origin = self.proxy("timeouts: { lookup: 60s }", top="workers: 1\n"), self.origin()
        self.dns.set("one.test", "127.0.0.1", ttl=60)
        self.dns.mood = "silent"
        results, threads = [], []
        for _ in range(20):
            threads.append(threading.Thread(target=lambda: results.append(self.ask(weir, f"http://one.test:{origin.port}/").status)))
            threads[-1].start()
        wait_for("them to wait", lambda: weir.counter("forward_requests") == 20)
        self.assertEqual(weir.counter("forward_lookups"), 1)
        self.dns.mood = "well"
        for thread in threads:
            thread.join()
        self.assertEqual(results, [200] * 20)
        before = len(self.dns.asked)
        self.assertEqual(self.ask(weir, f"http://one.test:{origin.port}/").status, 200)
        self.assertEqual(len(self.dns.asked), before)

    def test_answers_that_are_none(self):
        weir = self.proxy("timeouts: { lookup: 300ms }")
        response = self.ask(weir, "http://nosuch.test/")
        self.assertEqual(response.status, 502)
        self.assertIn(b"nosuch.test", response.body)
        self.dns.mood = "silent"
        response = self.ask(weir, "http://silent.test/")
        self.assertEqual(response.status, 504)
        self.assertIn(b"silent.test", response.body)
        self.dns.mood = "garbage"
        self.assertIn(self.ask(weir, "http://garbage.test/").status, (502, 504))
        self.dns.mood = "servfail"
        self.assertIn(self.ask(weir, "http://servfail.test/").status, (502, 504))

    def test_a_name_with_a_thousand_addresses(self):
        weir, origin = self.proxy(), self.origin()
        self.dns.set("many.test", *[f"10.{i // 250}.0.{i % 250}" for i in range(1000)], "127.0.0.1")
        self.assertIn(self.ask(weir, f"http://many.test:{origin.port}/").status, (200, 403))  # the first 64 are looked at
        self.dns.set("loop.test", *[f"127.0.{i // 250 + 1}.{i % 250 + 1}" for i in range(1000)])
        self.assertIn(self.ask(weir, f"http://loop.test:{origin.port}/").status, (502,))

    def test_names_that_nobody_answers_hold_up_no_other(self):
        weir, origin = self.proxy("limits: { per-user: 500 }\n  timeouts: { lookup: 60s }"), self.origin()
        self.dns.set("well.test", "127.0.0.1")
        clients = [self.connect(weir, f"dead{i}.test:443") for i in range(700)]
        wait_for("the look-ups", lambda: weir.counter("forward_connects") == 700)
        self.assertEqual(weir.counter("forward_limited"), 200)
        with Client(weir.port, source="127.0.0.2") as client:
            client.send(f"GET http://well.test:{origin.port}/ HTTP/1.1\r\nHost: well.test:{origin.port}\r\n\r\n".encode())
            self.assertEqual(client.response().status, 200)
        self.assertEqual(weir.counter("forward_lookup_timeouts"), 0)  # they still wait
        for client in clients:
            client.close()

    def test_a_reload_loses_no_question(self):
        weir, origin = self.proxy("timeouts: { lookup: 60s }"), self.origin()
        self.dns.set("late.test", "127.0.0.1")
        self.dns.mood = "silent"
        result = []
        thread = threading.Thread(target=lambda: result.append(self.ask(weir, f"http://late.test:{origin.port}/").status))
        thread.start()
        wait_for("it to be asked", lambda: self.dns.count("late.test") > 0)
        self.assertEqual(weir.command("reload")[0], 0)
        self.dns.mood = "well"
        thread.join()
        self.assertEqual(result, [200])

    def test_it_stops_while_names_are_looked_up(self):
        weir = self.proxy("timeouts: { lookup: 60s }", top="timeouts: { drain: 100ms }\n")
        self.dns.mood = "silent"
        clients = [self.connect(weir, f"never{i}.test:443") for i in range(600)]
        wait_for("the look-ups", lambda: weir.counter("forward_lookups") == 600)
        weir.process.terminate()
        wait_for("the end", weir.ended, 20)  # and not 60 s
        for client in clients:
            self.assertNotIn(b" 200 ", self.rest(client))

    def test_a_name_that_moves_is_followed(self):
        weir, first = self.proxy(top="workers: 1\n"), self.origin()
        second = self.origin(port=first.port, host="127.0.0.2")
        self.dns.set("moving.test", "127.0.0.1", ttl=0)
        self.assertEqual(self.ask(weir, f"http://moving.test:{first.port}/").status, 200)
        self.dns.set("moving.test", "127.0.0.2", ttl=0)

        def moved():
            self.ask(weir, f"http://moving.test:{first.port}/")
            return len(second.requests) > 0

        wait_for("it to be followed", moved, 20)  # dns.ttl-min


class Requests(Outbound):
    def test_host_is_the_targets_and_the_client_is_hidden(self):
        weir, origin = self.proxy(), self.origin()
        for host, status in ((f"127.0.0.1:{origin.port}", 200), ("other.test", 400), (f"127.0.0.1:{origin.port + 1}", 400)):
            with Client(weir.port) as client:
                client.send(f"GET http://127.0.0.1:{origin.port}/a?b HTTP/1.1\r\nHost: {host}\r\nProxy-Connection: keep-alive\r\nVia: 1.1 inner\r\n"
                            f"Proxy-Authorization: Basic YTpi\r\nX-Forwarded-For: 10.9.9.9\r\nForwarded: for=10.9.9.9\r\n\r\n".encode())
                self.assertEqual(client.response().status, status)
        self.assertEqual(len(origin.requests), 1)
        head = origin.requests[0].decode().lower() + "\r\n"
        self.assertTrue(head.startswith(f"get /a?b http/1.1\r\nhost: 127.0.0.1:{origin.port}\r\n"))
        for gone in ("proxy-", "via", "10.9.9.9", "forwarded", "127.0.0.1\r\n", "weir"):
            self.assertNotIn(gone, head)

    def test_forms_that_are_not_for_a_forward_proxy(self):
        weir, origin = self.proxy(), self.origin()
        for target, status in (("/", 400), ("*", 400), (f"https://127.0.0.1:{origin.port}/", 501), (f"ftp://127.0.0.1:{origin.port}/", 400),
                               (f"http://u:p@127.0.0.1:{origin.port}/", 400), (f"http://[fe80::1%25lo]:{origin.port}/", 400), ("http://127.0.0.1:0/", 400),
                               ("http://127.0.0.1:99999/", 400)):
            with self.subTest(target=target), Client(weir.port) as client:
                client.send(f"{'OPTIONS' if target == '*' else 'GET'} {target} HTTP/1.1\r\nHost: 127.0.0.1:{origin.port}\r\n\r\n".encode())
                response = client.response()
                self.assertEqual(response.status, status)
                self.assertTrue(response.body)
        self.assertEqual(origin.requests, [])

    def test_connections_to_origins_are_used_again_and_content_passes(self):
        weir, origin = self.proxy(top="workers: 1\n"), self.origin()
        self.dns.set("kept.test", "127.0.0.1", ttl=60)
        for i in range(5):
            self.assertEqual(self.ask(weir, f"http://kept.test:{origin.port}/{i}", method="POST", body=b"x" * 1000).status, 200)
        self.assertEqual(len(origin.connections), 1)
        self.assertEqual(weir.command("reload")[0], 0)
        self.assertEqual(self.ask(weir, f"http://kept.test:{origin.port}/").status, 200)
        self.assertEqual(len(origin.connections), 2)  # the rules may be others

    def test_who_signs_on_for_a_connection_shares_it_with_nobody(self):
        weir, origin = self.proxy(top="workers: 1\n"), self.origin()
        for scheme in ("Basic YTpi", "Basic YTpi", "Negotiate YTpi", "NTLM YTpi", "Basic YTpi"):
            self.assertEqual(self.ask(weir, f"http://127.0.0.1:{origin.port}/", f"Authorization: {scheme}").status, 200)
        self.assertEqual(len(origin.connections), 3)

    def test_a_websocket_passes(self):
        weir = self.proxy()
        origin = self.origin(lambda exchange: exchange.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                                            b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nhello"))
        with Client(weir.port) as client:
            host = f"127.0.0.1:{origin.port}"
            client.send(f"GET http://{host}/chat HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
            self.assertEqual(client.head()[0], 101)
            self.assertEqual(client.exactly(5), b"hello")

    def test_an_origin_that_is_not_there(self):
        weir = self.proxy()
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        self.assertEqual(self.ask(weir, f"http://127.0.0.1:{port}/").status, 502)
        self.assertEqual(self.connect(weir, f"127.0.0.1:{port}").response().status, 502)

    def test_max_forwards(self):
        weir, origin = self.proxy(), self.origin()
        target = f"http://127.0.0.1:{origin.port}/"
        self.assertEqual(self.ask(weir, target, "Max-Forwards: 0", method="OPTIONS").status, 204)
        self.assertEqual(self.ask(weir, target, "Max-Forwards: 3", method="OPTIONS").status, 200)
        self.assertEqual(self.ask(weir, target, "Max-Forwards: 3", method="TRACE").status, 405)
        self.assertEqual(len(origin.requests), 1)
        self.assertIn(b"Max-Forwards: 2", origin.requests[0])

    def test_a_thousand_destinations_come_and_go(self):
        weir, origin = self.proxy(top="workers: 1\n"), self.origin()
        with Client(weir.port) as client:
            for i in range(1300):
                host = f"127.0.{i // 250}.{i % 250 + 1}:{origin.port}"
                client.send(f"GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
                self.assertEqual(client.response().status, 502 if not host.startswith("127.0.0.1:") else 200)


class Who(Outbound):
    def test_networks_that_may_not_use_it(self):
        weir, origin = self.proxy("clients: [ 127.0.0.2 ]"), self.origin()
        self.assertEqual(self.ask(weir, f"http://127.0.0.1:{origin.port}/").status, 403)
        with Client(weir.port, source="127.0.0.2") as client:
            client.send(f"GET http://127.0.0.1:{origin.port}/ HTTP/1.1\r\nHost: 127.0.0.1:{origin.port}\r\n\r\n".encode())
            self.assertEqual(client.response().status, 200)

    def test_places_of_one_client(self):
        weir, port = self.proxy("limits: { per-user: 2 }"), self.echo()
        held = [self.connect(weir, f"127.0.0.1:{port}") for _ in range(2)]
        for client in held:
            client.until(b"\r\n\r\n")
        self.assertEqual(self.connect(weir, f"127.0.0.1:{port}").response().status, 429)
        with Client(weir.port, source="127.0.0.2") as other:
            other.send(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
            self.assertEqual(other.head()[0], 200)
        held[0].close()

        def free():
            client = self.connect(weir, f"127.0.0.1:{port}")
            status = client.head()[0]
            client.close()
            return status == 200

        wait_for("a place", free)

    def test_an_ordinary_listener_is_no_forward_proxy(self):
        origin = self.origin()
        weir = self.before(origin)
        for method, target, status in (("CONNECT", "127.0.0.1:443", 501), ("GET", "http://169.254.169.254/", 200)):
            with Client(weir.port) as client:
                host = target.replace("http://", "").strip("/")
                client.send_request(target, method=method, headers=(f"Host: {host}",))
                self.assertEqual(client.response().status, status)
        self.assertTrue(origin.requests[0].startswith(b"GET / HTTP/1.1\r\nHost: 169.254.169.254"))  # asked of the route's pool


if __name__ == "__main__":
    unittest.main()
