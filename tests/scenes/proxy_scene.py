"""The PROXY protocol: who is believed, what a header names, and what servers are told. Real proxies and servers: nginx, HAProxy, curl."""
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import unittest

from props import Nginx, run
from proxy_props import (ALPN, AUTHORITY, LOCAL, PROXY, SSL_CIPHER, SSL_CN, SSL_VERSION, STRANGER, NOOP, ProxyOrigin, ProxyTlsOrigin, Sender, field, v1, v2)
from stage import SLOW, Scene, answers, free_port, ok, wait_for
from tls_certificates import NAME, certificates
from tls_props import V12, TlsScene, client_context, listening

LISTENER = "listeners:\n  - { address: 127.0.0.1:{port}, proxy-protocol: [ 127.0.0.2 ] }\n  - { address: 127.0.0.1:{admin}, serve: admin }\n"
SHOWN = """
routes: [ { pool: app } ]
pools:
  app:
    servers: [ "ORIGIN" ]
"""


def shown(exchange):
    """Answers with what the origin was told of the client."""
    told = {name: exchange.fields(name) for name in ("x-forwarded-for", "x-forwarded-proto", "x-client-verify")}
    return ok(exchange, json.dumps(told).encode())


def forwarded(response):
    return json.loads(response.body)["x-forwarded-for"]


class Receiving(Scene):
    def before(self, top="", listener=LISTENER, **more):
        self.origin_here = self.origin(shown)
        return self.weir(top + "\n" + listener + SHOWN.replace("ORIGIN", self.origin_here.address), **more)

    def refused(self, engine, header, count):
        with Sender(engine.port, header) as client:
            self.assertTrue(client.closed())
        wait_for("the counter", lambda: engine.counter("proxy_refused") == count)


class Named(Receiving):
    def test_the_named_address_is_the_clients(self):
        engine = self.before("log: { access: {folder}/access.log }")
        for header, address in ((v1(), "192.0.2.7"), (v2(), "192.0.2.7"), (v1("2001:db8::7", destination="2001:db8::1"), "2001:db8::7"),
                                (v2("2001:db8::7", destination="2001:db8::1", fields=field(NOOP, b"x" * 900)), "2001:db8::7"),
                                (v2("::ffff:192.0.2.8", destination="::ffff:192.0.2.1"), "192.0.2.8")):
            with Sender(engine.port, header) as client:
                self.assertEqual([forwarded(client.ask()) for _ in range(2)], [[address]] * 2, header)
        self.assertEqual(engine.counter("proxy_headers"), 5)
        path = os.path.join(engine.folder, "access.log")

        def logged():
            with open(path) as file:
                return [json.loads(line)["client"] for line in file]
        wait_for("the log", lambda: len(logged()) == 10)
        self.assertEqual(sorted(set(logged())), ["192.0.2.7", "192.0.2.8", "2001:db8::7"])

    def test_who_names_nobody_is_asked_for_himself(self):
        engine = self.before()
        for header in (b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN ::1 ::2 3 4\r\n", LOCAL):
            with Sender(engine.port, header) as client:
                self.assertEqual(forwarded(client.ask()), [PROXY], header)

    def test_byte_by_byte_and_in_one_packet_with_the_request(self):
        engine = self.before()
        for header in (v1(), v2(fields=field(AUTHORITY, b"a.test"))):
            with Sender(engine.port, None) as client:
                for i in range(len(header)):
                    client.send(header[i:i + 1])
                self.assertEqual(forwarded(client.ask()), ["192.0.2.7"])
            with Sender(engine.port, header + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 2) as client:
                self.assertEqual([forwarded(client.response()) for _ in range(2)], [["192.0.2.7"]] * 2)

    def test_trusted_proxies_are_judged_by_the_named_address(self):
        """The request was written by whom the header names; who sent the header only passed it on."""
        engine = self.before("trusted-proxies: [ 192.0.2.0/24, 127.0.0.2 ]")
        with Sender(engine.port, v1("192.0.2.7")) as client:
            self.assertEqual(forwarded(client.ask(headers=["X-Forwarded-For: 203.0.113.1"])), ["203.0.113.1, 192.0.2.7"])
        with Sender(engine.port, v1("203.0.113.9")) as client:
            self.assertEqual(forwarded(client.ask(headers=["X-Forwarded-For: 203.0.113.1"])), ["203.0.113.9"])
        with Sender(engine.port, LOCAL) as client:
            self.assertEqual(forwarded(client.ask(headers=["X-Forwarded-For: 203.0.113.1"])), ["203.0.113.1, 127.0.0.2"])

    def test_a_client_of_tls_in_front_came_by_https(self):
        listener = LISTENER.replace("proxy-protocol:", "redirect-to-https: on, proxy-protocol:")
        engine = self.before(listener=listener)
        with Sender(engine.port, v2(fields=field(0x20, b"\1\0\0\0\1"))) as client:
            self.assertEqual(json.loads(client.ask().body)["x-forwarded-proto"], ["https"])
        for fields in (b"", field(0x20, b"\0\0\0\0\1")):
            with Sender(engine.port, v2(fields=fields)) as client:
                self.assertEqual(client.ask().status, 308)

    def test_explain_says_so(self):
        engine = self.before(listener=LISTENER)
        url = f"http://127.0.0.1:{engine.port}/"
        self.assertIn(f"listener  127.0.0.1:{engine.port}, where a PROXY header may name the client\n", engine.command("explain", url, "--from", "192.0.2.7")[1])
        told = engine.json("explain", url)
        self.assertEqual((told["listener"]["proxy_protocol"], told["pool"]["proxy_protocol"]), (True, 0))

    def test_a_unix_listener(self):
        engine = self.before(listener="listeners:\n  - address: 127.0.0.1:{port}\n  - { address: \"unix:{folder}/sock\", proxy-protocol: [ \"unix:\" ] }\n")
        path = os.path.join(engine.folder, "sock")
        for header, text in ((v2(), b"192.0.2.7"), (b"GET / HTTP/1.1\r\n\r\n", None)):
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(SLOW)
                client.connect(path)
                client.sendall(header + b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                data = b""
                try:
                    while part := client.recv(65536):
                        data += part
                except ConnectionError:
                    pass
                self.assertEqual(text in data if text else data == b"", True, data)

    def test_reload_puts_it_in_force_and_takes_it_back(self):
        engine = self.before()
        kept = Sender(engine.port, v1())
        self.addCleanup(kept.close)
        self.assertEqual(forwarded(kept.ask()), ["192.0.2.7"])
        with open(engine.path) as file:
            text = file.read()
        with open(engine.path, "w") as file:
            file.write(text.replace("proxy-protocol: [ 127.0.0.2 ]", "backlog: 4096"))
        code, out, err = engine.command("reload")
        self.assertEqual((code, "proxy-protocol: removed" in out + err), (0, True), out + err)
        self.assertEqual(forwarded(kept.ask()), ["192.0.2.7"])
        with Sender(engine.port, None) as client:
            self.assertEqual(forwarded(client.ask()), [PROXY])
        with open(engine.path, "w") as file:
            file.write(text)
        self.assertEqual(engine.command("reload")[0], 0)
        self.refused(engine, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 1)


class Refused(Receiving):
    def test_whoever_is_listed_must_begin_with_one(self):
        engine = self.before()
        wrong = (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\x16\x03\x01\0\x05abcde", v1().replace(b"TCP4", b"TCP5"), v1().replace(b"\r\n", b"\n"), v1("192.0.2.07"),
                 b"PROXY TCP4 " + b"1" * 200, v2()[:14] + b"\xff\xff" + v2()[16:], v2()[:14] + b"\0\x05" + v2()[16:], v2(fields=b"\2\0\x09abc"),
                 v2(fields=field(3, b"abcd")), v2()[:12] + b"\x31" + v2()[13:], b"\0")
        began = time.monotonic()
        for count, header in enumerate(wrong, 1):
            self.refused(engine, header, count)
        seconds = time.monotonic() - began
        self.assertEqual(self.origin_here.requests, [])
        log = engine.log()
        self.assertIn(f'connection from {PROXY} to "127.0.0.1:{engine.port}" closed, PROXY header: no PROXY header', log)
        self.assertLessEqual(log.count("PROXY header:"), 2 * (int(seconds) + 1), "at most once a second and worker")
        self.assertEqual(engine.counter("requests"), 0)
        self.assertEqual(engine.counter("clients"), 0)

    def test_a_cut_one_and_none_at_all(self):
        engine = self.before()
        for count, header in enumerate((v1()[:20], v2()[:20], v2()[:3]), 1):
            with Sender(engine.port, header) as client:
                client.socket.shutdown(socket.SHUT_WR)
                self.assertTrue(client.closed())
            wait_for("the counter", lambda: engine.counter("proxy_refused") == count)
        with Sender(engine.port, None) as client: # a check whether somebody listens
            client.socket.shutdown(socket.SHUT_WR)
            self.assertTrue(client.closed())
        wait_for("it to be gone", lambda: engine.counter("clients") == 0)
        self.assertEqual(engine.counter("proxy_refused"), 3)

    def test_a_second_one_is_a_malformed_request(self):
        engine = self.before()
        for second in (v1(), v2()):
            with Sender(engine.port, v1() + second) as client:
                self.assertEqual(client.response().status, 400)
            with Sender(engine.port, v1()) as client:
                self.assertEqual(client.ask().status, 200)
                client.send(second + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                self.assertEqual(client.response().status, 400)

    def test_a_stranger_is_served_and_his_header_is_a_malformed_request(self):
        engine = self.before()
        with Sender(engine.port, None, source=STRANGER) as client:
            self.assertEqual(forwarded(client.ask()), [STRANGER])
        for header in (v1(), v2()):
            with Sender(engine.port, header, source=STRANGER) as client:
                client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                self.assertEqual(client.response().status, 400)
        self.assertEqual(engine.counter("proxy_headers"), 0)

    def test_one_that_does_not_come_in_time(self):
        engine = self.before("timeouts: { head: 300ms }")
        for header in (b"", v1()[:9], v2()[:20]):
            with Sender(engine.port, header) as client:
                self.assertTrue(client.closed())
        self.assertEqual(engine.counter("proxy_timeouts"), 3)
        with Sender(engine.port, v1()) as client: # then it is an idle connection like any other
            time.sleep(0.6)
            self.assertEqual(client.ask().status, 200)


class InFrontOfTls(TlsScene):
    def engine(self, top=""):
        origin = self.origin(shown)
        return self.secure(top + "\n" + listening(listener="proxy-protocol: [ 127.0.0.2 ]") + SHOWN.replace("ORIGIN", origin.address))

    def inside(self, client):
        client.socket = client_context().wrap_socket(client.socket, server_hostname=NAME)
        return client

    def test_the_header_stands_before_the_handshake(self):
        engine = self.engine()
        for header in (v1(), v2(fields=field(AUTHORITY, b"other.test"))):
            with self.inside(Sender(engine.port, header)) as client:
                told = json.loads(client.ask().body)
                self.assertEqual((told["x-forwarded-for"], told["x-forwarded-proto"]), (["192.0.2.7"], ["https"]))
        with self.inside(Sender(engine.port, None, source=STRANGER)) as client:
            self.assertEqual(forwarded(client.ask()), [STRANGER])
        self.assertEqual(engine.counter("handshakes"), 3)

    def test_without_one_there_is_no_handshake(self):
        engine = self.engine()
        with Sender(engine.port, None) as client:
            with self.assertRaises(OSError):
                self.inside(client)
        self.assertEqual((engine.counter("proxy_refused"), engine.counter("handshakes")), (1, 0))

    def test_a_strangers_header_is_no_tls(self):
        engine = self.engine()
        with Sender(engine.port, v1() + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", source=STRANGER) as client:
            self.assertNotIn(b" 200 ", client.socket.recv(65536))
        self.assertEqual(engine.counter("proxy_headers"), 0)

    def test_it_must_come_in_the_handshakes_time(self):
        engine = self.engine("timeouts: { handshake: 300ms }")
        with Sender(engine.port, v2()[:20]) as client:
            self.assertTrue(client.closed())
        self.assertEqual((engine.counter("proxy_timeouts"), engine.counter("handshake_timeouts")), (1, 0))

    def test_what_follows_a_header_that_is_no_tls(self):
        engine = self.engine()
        with Sender(engine.port, v1() + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") as client:
            self.assertEqual(client.response().status, 400)


class Sending(TlsScene):
    def proxied(self, script=None, **more):
        origin = ProxyOrigin(script, **more)
        self.addCleanup(origin.stop)
        return origin

    def towards(self, origin, version="v2", pool="", top="", listeners=""):
        return self.weir(f"{top}\n{listeners}\nroutes: [ {{ pool: app }} ]\npools:\n  app:\n    servers: [ \"{origin.address}\" ]\n"
                         f"    proxy-protocol: {version}\n{pool}\n")

    def test_each_connection_names_its_client(self):
        for version in (1, 2):
            origin = self.proxied()
            engine = self.towards(origin, f"v{version}")
            with Sender(engine.port, None, source=STRANGER) as client:
                own = client.socket.getsockname()
                self.assertEqual([client.ask().status for _ in range(3)], [200] * 3)
            self.assertEqual(len(origin.headers), 1, "its requests share a connection")
            header = origin.headers[0]
            self.assertEqual((header.version, header.source, header.destination), (version, own, ("127.0.0.1", engine.port)))
            self.assertEqual((header.fields, origin.broken), ({}, []))

    def test_no_connection_serves_two_clients(self):
        origin = self.proxied()
        engine = self.towards(origin)
        first, second = (Sender(engine.port, None, source=STRANGER) for _ in range(2))
        for _ in range(3):
            for client in (first, second):
                self.assertEqual(client.ask().status, 200)
        self.assertEqual([h.source for h in origin.headers], [c.socket.getsockname() for c in (first, second)])
        first.close()
        wait_for("the first one's connection to end", lambda: engine.server(origin.port)["idle"] == 1)
        self.assertEqual(second.ask().status, 200)
        second.close()
        wait_for("the second one's too", lambda: engine.server(origin.port)["idle"] == 0)
        self.assertEqual(len(origin.headers), 2)

    def test_one_is_kept_for_each_client(self):
        origins = [self.proxied(), self.proxied()]
        engine = self.weir("routes: [ { match: { path: /b }, pool: b }, { pool: a } ]\npools:\n"
                           + "".join(f"  {name}: {{ servers: [ \"{o.address}\" ], proxy-protocol: v1 }}\n" for name, o in zip("ab", origins)))
        with Sender(engine.port, None) as client:
            for path in ("/a", "/b", "/b", "/a"):
                self.assertEqual(client.ask(path).status, 200)
            self.assertEqual([len(o.headers) for o in origins], [2, 1])
            wait_for("one to be left", lambda: [engine.server(o.port)["idle"] for o in origins] == [1, 0])

    def test_a_kept_one_that_closed_is_replaced(self):
        origin = self.proxied(lambda exchange: (ok(exchange), False)[1])
        engine = self.towards(origin)
        with Sender(engine.port, None) as client:
            for _ in range(5):
                self.assertEqual(client.ask().status, 200)
        self.assertEqual(len({h.source for h in origin.headers}), 1)
        self.assertEqual(origin.broken, [])

    def test_clients_by_ipv6_and_by_a_unix_socket(self):
        for version in ("v1", "v2"):
            origin = self.proxied()
            port = free_port()
            engine = self.towards(origin, version, listeners=f"listeners:\n  - address: 127.0.0.1:{{port}}\n  - address: \"[::1]:{port}\"\n"
                                                             "  - address: \"unix:{folder}/web\"\n")
            for family, to in ((socket.AF_INET6, ("::1", port)), (socket.AF_UNIX, os.path.join(engine.folder, "web"))):
                with socket.socket(family) as client:
                    client.settimeout(SLOW)
                    client.connect(to)
                    client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                    self.assertIn(b" 200 ", client.recv(65536))
                    if family == socket.AF_INET6:
                        self.assertEqual(origin.headers[-1].source, client.getsockname()[:2])
            self.assertEqual(origin.headers[0].destination, ("::1", port))
            self.assertEqual((origin.headers[1].source, origin.headers[1].local), (None, False))

    def test_what_came_in_goes_out(self):
        origin = self.proxied()
        engine = self.towards(origin, listeners=LISTENER)
        for source, destination in (("192.0.2.7", "198.51.100.9"), ("2001:db8::7", "2001:db8::9")):
            with Sender(engine.port, v2(source, 7, destination, 8, field(0x20, b"\1\0\0\0\1"))) as client:
                self.assertEqual(client.ask().status, 200)
            header = origin.headers[-1]
            self.assertEqual((header.source, header.destination, header.client, header.verify), ((source, 7), (destination, 8), 1, 1))
        with Sender(engine.port, v1("192.0.2.7", 9)) as client:
            client.ask()
        self.assertEqual((origin.headers[-1].source, origin.headers[-1].client), (("192.0.2.7", 9), None))

    def test_of_tls_version_2_tells(self):
        origin = self.proxied()
        text = (listening(f"client-certificate: {{ mode: optional, ca: {certificates().ca.path} }}")
                + f"routes: [ {{ pool: app }} ]\npools: {{ app: {{ servers: [ \"{origin.address}\" ], proxy-protocol: v2 }} }}\n")
        engine = self.secure(text)
        for context, verify, bits, version in ((client_context(certificate=certificates().client, alpn=["http/1.1"]), 0, 7, b"TLSv1.3"),
                                               (client_context(), 1, 1, b"TLSv1.3"), (client_context(most=V12), 1, 1, b"TLSv1.2")):
            with engine.connect(context=context) as client:
                own, cipher = client.socket.getsockname(), client.socket.cipher()[0]
                self.assertEqual(client.ask().status, 200)
            header = origin.headers[-1]
            self.assertEqual((header.source, header.client, header.verify, header.tls[SSL_VERSION]), (own, bits, verify, version))
            self.assertEqual(header.fields[AUTHORITY], NAME.encode())
            self.assertEqual(header.fields.get(ALPN), b"http/1.1" if bits == 7 else None)
            self.assertEqual(header.tls.get(SSL_CN), b"ann" if bits == 7 else None)
            self.assertEqual(header.tls[SSL_CIPHER].decode(), cipher)

    def test_before_tls_towards_the_server(self):
        for version in ("v1", "v2"):
            origin = ProxyTlsOrigin()
            self.addCleanup(origin.stop)
            engine = self.towards(origin, version, f"    tls: {{ ca: {certificates().ca.path}, server-name: origin.test }}\n    health: {{ interval: 200ms, path: / }}\n")
            with Sender(engine.port, None, source=STRANGER) as client:
                own = client.socket.getsockname()
                self.assertEqual([client.ask().status for _ in range(3)], [200] * 3)
            self.assertEqual([h.source for h in origin.headers if not h.names_nobody], [own])
            wait_for("a check", lambda: any(h.names_nobody for h in origin.headers))
            wait_for("its result", lambda: engine.server(origin.port)["checked"] == "up")

    def test_health_checks_name_nobody(self):
        for version in ("v1", "v2"):
            origin = self.proxied()
            engine = self.towards(origin, version, "    health: { interval: 200ms, path: /healthz }\n")
            wait_for("a check", lambda: engine.server(origin.port)["checked"] == "up")
            self.assertTrue(all(h.names_nobody for h in origin.headers))
            self.assertEqual({h.version for h in origin.headers}, {int(version[1])})
            self.assertIn(b"GET /healthz", origin.requests[0])

    def test_no_header_goes_to_a_port_of_the_checks_own(self):
        origin, other = self.proxied(), self.origin()
        engine = self.towards(origin, "v2", f"    health: {{ interval: 200ms, path: /healthz, port: {other.port} }}\n")
        wait_for("a check", lambda: engine.server(origin.port)["checked"] == "up")
        self.assertEqual((origin.headers, bytes(other.received[0][:4])), ([], b"GET "))

    def test_a_hedge_and_a_retry_carry_it(self):
        slow, quick = self.proxied(lambda exchange: (time.sleep(1), ok(exchange))[1]), self.proxied()
        engine = self.weir(f"routes: [ {{ pool: app }} ]\npools:\n  app:\n    servers: [ \"{slow.address}\", {{ address: \"{quick.address}\", backup: true }} ]\n"
                           "    proxy-protocol: v2\n    retry: { budget-least: 100 }\n    hedge: { percentile: 50, after: 50ms }\n")
        with Sender(engine.port, None) as client:
            self.assertEqual(client.ask().status, 200)
        self.assertEqual({h.source for h in slow.headers + quick.headers}, {slow.headers[0].source})
        self.assertEqual(slow.broken + quick.broken, [])

    def test_a_server_with_several_addresses(self):
        origin = self.proxied()
        origin.address = f"localhost:{origin.port}"
        engine = self.towards(origin, "v2", "    addresses: any\n")
        with Sender(engine.port, None) as client:
            self.assertEqual([client.ask().status for _ in range(2)], [200] * 2)
            self.assertEqual([h.source for h in origin.headers], [client.socket.getsockname()])

    def test_a_reload_leaves_no_connection_that_begins_otherwise(self):
        """The one that is kept for a client began in the old way, and is not used again."""
        origin = self.proxied()
        engine = self.towards(origin, "v1", "    retries: 0")
        with open(engine.path) as file:
            text = file.read()
        with Sender(engine.port, None) as client:
            for count, version in enumerate((1, 2, 1), 1):
                with open(engine.path, "w") as file:
                    file.write(text.replace("proxy-protocol: v1", f"proxy-protocol: v{version}"))
                code, out, err = engine.command("reload")
                self.assertEqual((code, "proxy-protocol: v" in out), (0, count > 1), out + err)
                self.assertEqual([client.ask().status for _ in range(2)], [200] * 2)
                self.assertEqual([h.version for h in origin.headers], [1, 2, 1][:count])
            with open(engine.path, "w") as file:
                file.write(text.replace("proxy-protocol: v1", "proxy-protocol: off"))
            self.assertEqual(engine.command("reload")[0], 0)
            client.send_request("/")
            wait_for("a connection that begins with a request", lambda: len(origin.broken) == 1)


class Programs(TlsScene):
    """Others' implementations on both sides."""

    @classmethod
    def setUpClass(cls):
        cls.nginx_path, cls.haproxy_path, cls.curl_path = (shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin") for name in ("nginx", "haproxy", "curl"))

    def setUp(self):
        for name in ("nginx", "haproxy", "curl"):
            self.need(name)

    def nginx(self, server, keep="keepalive_timeout 75s"):
        nginx = Nginx(self.nginx_path, server=server, keep=keep)
        self.addCleanup(nginx.stop)
        return nginx

    def haproxy(self, config):
        folder = tempfile.mkdtemp(prefix="weir-haproxy-")
        self.addCleanup(shutil.rmtree, folder, True)
        path = os.path.join(folder, "haproxy.cfg")
        with open(path, "w") as file:
            file.write("global\n  maxconn 100\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n" + config)
        with open(os.path.join(folder, "log"), "wb") as log:
            process = subprocess.Popen([self.haproxy_path, "-db", "-f", path], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.addCleanup(process.wait, SLOW)
        self.addCleanup(process.kill)

    def test_curl_names_its_client(self):
        origin = self.origin(shown)
        engine = self.weir("listeners: [ { address: 127.0.0.1:{port}, proxy-protocol: [ 127.0.0.1 ] } ]\n" + SHOWN.replace("ORIGIN", origin.address))
        code, out, err = run(self.curl_path, "-sS", "--haproxy-protocol", f"http://127.0.0.1:{engine.port}/")
        self.assertEqual((code, json.loads(out)["x-forwarded-for"]), (0, ["127.0.0.1"]), err)
        self.assertNotEqual(run(self.curl_path, "-sS", f"http://127.0.0.1:{engine.port}/")[0], 0)
        self.assertEqual(engine.counter("proxy_headers"), 1)

    def test_nginx_reads_what_we_write(self):
        for version in ("v1", "v2"):
            port = free_port()
            nginx = self.nginx(f"listen 127.0.0.1:{port} proxy_protocol; location = /who {{ return 200 \"$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_port\"; }}")
            engine = self.weir(f"routes: [ {{ pool: app }} ]\npools:\n  app:\n    servers: [ 127.0.0.1:{port} ]\n    proxy-protocol: {version}\n"
                               "    health: { interval: 200ms, path: /small }\n")
            with Sender(engine.port, None, source=STRANGER) as client:
                who = f"{STRANGER} {client.socket.getsockname()[1]} {engine.port}".encode()
                self.assertEqual([client.ask("/who").body for _ in range(3)], [who] * 3)
            wait_for("a check", lambda: engine.server(port)["checked"] == "up")
            nginx.stop()

    def test_haproxy_passes_tls_through_and_terminates_it(self):
        """As a balancer of connections in front: TLS ends at the engine, or at HAProxy, which then tells of it."""
        origin = self.origin(shown)
        passed, ended, plain = free_port(), free_port(), free_port()
        secure = f"  - {{ address: 127.0.0.1:{{plain}}, proxy-protocol: {{ from: 127.0.0.2 }}, redirect-to-https: on }}\n"
        engine = self.secure(listening(listener="proxy-protocol: [ 127.0.0.2 ]", more=secure[2:]).replace("\n  { ", "\n  - { ") + SHOWN.replace("ORIGIN", origin.address))
        bundle = os.path.join(engine.folder, "bundle.pem")
        with open(bundle, "wb") as file:
            for path in (certificates().site.chain, certificates().site.key):
                with open(path, "rb") as part:
                    file.write(part.read())
        source = "source 127.0.0.2"
        self.haproxy(f"listen passed\n  bind 127.0.0.1:{passed}\n  server weir 127.0.0.1:{engine.port} send-proxy-v2 {source}\n"
                     f"listen ended\n  bind 127.0.0.1:{ended} ssl crt {bundle}\n  server weir 127.0.0.1:{engine.plain} send-proxy-v2-ssl-cn proxy-v2-options "
                     f"authority,crc32c,unique-id {source}\n"
                     f"listen plain\n  bind 127.0.0.1:{plain}\n  server weir 127.0.0.1:{engine.plain} send-proxy {source}\n")
        wait_for("haproxy to listen", lambda: answers(plain))
        with Sender(plain, None, source=STRANGER) as client:
            self.assertEqual(client.ask().status, 308)
        for port in (passed, ended):
            with Sender(port, None, source=STRANGER) as client:
                client.socket = client_context().wrap_socket(client.socket, server_hostname=NAME)
                told = json.loads(client.ask().body)
            self.assertEqual((told["x-forwarded-for"], told["x-forwarded-proto"]), ([STRANGER], ["https"]))
        self.assertEqual((engine.counter("proxy_refused"), engine.counter("handshakes")), (0, 1))

    def test_haproxy_reads_what_we_write(self):
        """HAProxy in HTTP mode behind the engine: what it understood stands in fields of its own."""
        origin = self.origin(lambda exchange: ok(exchange, " ".join(exchange.fields("x-src") + exchange.fields("x-dst") + exchange.fields("x-name")).encode()))
        port = free_port()
        self.haproxy(f"frontend f\n  mode http\n  bind 127.0.0.1:{port} accept-proxy\n  http-request set-header X-Src %[src]:%[src_port]\n  http-request set-header X-Dst %[dst_port]\n"
                     f"  http-request set-header X-Name %[fc_pp_authority]\n  default_backend b\nbackend b\n  mode http\n  server o 127.0.0.1:{origin.port}\n")
        wait_for("haproxy to listen", lambda: answers(port))
        engine = self.secure(listening() + f"routes: [ {{ pool: app }} ]\npools: {{ app: {{ servers: [ 127.0.0.1:{port} ], proxy-protocol: v2 }} }}\n")
        with engine.connect() as client:
            own = client.socket.getsockname()
            self.assertEqual(client.ask().body.decode(), f"{own[0]}:{own[1]} {engine.port} {NAME}")


if __name__ == "__main__":
    unittest.main()
