"""TCP listeners: bytes to a server of a pool and back, and every odd thing that both ends, the pool and an operator may do meanwhile."""
import contextlib
import hashlib
import os
import random
import socket
import ssl
import threading
import time
import unittest

from props import content, raise_descriptors
from proxy_props import PROXY, ProxyOrigin, Sender, read_header, v1, v2
from stage import SLOW, Client, free_port, wait_for
from tcp_props import TcpScene, banner, echo, lines, listening, named, pool, reset, silent
from tls_certificates import NAME, certificates
from tls_props import TlsClient, client_context, what_comes


class Passing(TcpScene):
    def test_what_is_said_comes_back(self):
        engine = self.before(self.server(echo))
        with engine.client() as client:
            for length in (1, 1024, 65536, 1):
                self.says(client, content(length))
        line, = engine.logged(1)
        self.assertEqual({k: line[k] for k in ("client", "listener", "sni", "pool", "sent", "received", "attempts", "connected", "why")},
                         {"client": "127.0.0.1", "listener": "front", "sni": "", "pool": "app", "sent": 66562, "received": 66562, "attempts": 1, "connected": True, "why": ""})
        self.nothing_left(engine)

    def test_servers_that_speak_first_and_lines(self):
        for script, first, asks in ((banner, b"SSH-2.0-scene\r\n", b"key exchange"), (lines, b"", b"PING\r\n")):
            engine = self.before(self.server(script))
            with engine.client() as client:
                self.assertEqual(client.exactly(len(first)), first)
                client.send(asks)
                self.assertEqual(client.exactly(len(asks) if first else 7), asks if first else b"+PONG\r\n")
            self.nothing_left(engine)

    def test_a_large_flow_both_ways_at_once(self):
        engine = self.before(self.server(echo))
        sent, got = hashlib.sha256(), hashlib.sha256()
        with engine.client() as client:
            def send():
                for i in range(64):
                    part = content(500_000, i)
                    sent.update(part)
                    client.send(part)
                client.socket.shutdown(socket.SHUT_WR)
            sender = threading.Thread(target=send)
            sender.start()
            while (data := client.socket.recv(65536)):
                got.update(data)
            sender.join()
        self.assertEqual(sent.hexdigest(), got.hexdigest())
        self.nothing_left(engine)

    def test_a_unix_socket_on_both_sides(self):
        server = self.server(echo)
        engine = self.engine("listeners:\n  - { address: 127.0.0.1:{port}, serve: admin }\n  - { address: \"unix:{folder}/tcp.sock\", tcp: app }\npools:\n"
                             + pool("app", server, more="    balance: consistent-hash\n    hash-key: client-address\n"))
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(SLOW)
            client.connect(os.path.join(engine.folder, "tcp.sock"))
            client.sendall(b"hello")
            self.assertEqual(client.recv(5), b"hello")
        self.nothing_left(engine)

    def test_routes_and_tcp_share_a_pool(self):
        origin = self.origin()
        engine = self.engine("listeners:\n  - { address: 127.0.0.1:{port} }\n  - { address: 127.0.0.1:{tcp}, tcp: app }\nroutes: [ { pool: app } ]\npools:\n"
                             + pool("app", origin.address))
        self.assertEqual(engine.get().body, b"ok\n")
        with engine.client() as client:
            client.send_request("/by-tcp")
            self.assertEqual(client.response().body, b"ok\n")
        wait_for("it to end", lambda: engine.counter("tcp_open") == 0)
        self.assertEqual(engine.json("pools")["servers"][0]["requests"], 2)

    def test_the_combined_log(self):
        engine = self.engine(listening("app").replace("access.log }", "access.log, format: combined }") + "pools:\n" + pool("app", self.server(echo)))
        with engine.client() as client:
            self.says(client, b"four")
        path = os.path.join(engine.folder, "access.log")
        wait_for("a line", lambda: os.path.getsize(path) > 0)
        with open(path) as file:
            self.assertRegex(file.read(), r'^127\.0\.0\.1 - - \[.*\] "TCP front" 200 4 "-" "-"\n$')


class Ends(TcpScene):
    def test_half_closes_and_what_comes_behind_them(self):
        def late(connection):  # reads to the end, then answers
            got = b""
            while (data := connection.recv(65536)):
                got += data
            time.sleep(0.1)
            connection.sendall(b"got %d" % len(got))
        engine = self.before(self.server(late))
        with engine.client() as client:
            client.send(b"x" * 100_000)
            client.socket.shutdown(socket.SHUT_WR)
            self.assertEqual(what_comes(client), (b"got 100000", "fin"))
        self.nothing_left(engine)

    def test_the_servers_end_first(self):
        got = []

        def early(connection):
            connection.sendall(b"bye")
            connection.shutdown(socket.SHUT_WR)
            got.append(connection.recv(100))
        engine = self.before(self.server(early))
        with engine.client() as client:
            self.assertEqual(what_comes(client, 1), (b"bye", "fin"))
            client.send(b"still here")
            client.socket.shutdown(socket.SHUT_WR)
            wait_for("the server to get it", lambda: got == [b"still here"])
        self.nothing_left(engine)

    def test_an_end_before_the_server_is_there(self):
        engine = self.before(self.server(banner))
        with engine.client() as client:
            client.send(b"all of it")
            client.socket.shutdown(socket.SHUT_WR)
            self.assertEqual(what_comes(client), (b"SSH-2.0-scene\r\nall of it", "fin"))
        with engine.client() as client:
            client.socket.shutdown(socket.SHUT_WR)
            self.assertEqual(what_comes(client), (b"SSH-2.0-scene\r\n", "fin"))
        self.nothing_left(engine)

    def test_resets_are_passed_on(self):
        server = self.server(echo)
        engine = self.before(server)
        client = engine.client()
        self.says(client, b"a")
        client.reset()
        wait_for("the server's", lambda: server.ends == ["rst"])
        server.script = lambda connection: (connection.recv(1), reset(connection))
        with engine.client() as client:
            client.send(b"b")
            self.assertEqual(what_comes(client), (b"", "rst"))
        self.assertEqual([line["why"] for line in engine.logged(2)], ["tunnels_reset"] * 2)
        self.nothing_left(engine)

    def test_silence_and_age(self):
        engine = self.before(self.server(echo), tcp="{ pool: app, idle: 300ms }")
        with engine.client() as client:
            for _ in range(6):  # longer than idle, but not silent
                self.says(client, b"x")
                time.sleep(0.1)
            self.assertEqual(what_comes(client), (b"", "fin"))
        self.assertEqual(engine.logged(1)[0]["why"], "tunnels_idle")
        self.nothing_left(engine)
        engine = self.before(self.server(echo), tcp="{ pool: app, total: 500ms }")
        with engine.client() as client, self.assertRaises(OSError):
            for _ in range(100):
                self.says(client, b"x")
                time.sleep(0.05)
        self.assertEqual(engine.logged(1)[0]["why"], "tcp_total")
        self.assertEqual(engine.counter("tcp_total"), 1)
        self.nothing_left(engine)

    def test_the_total_ends_a_connection_that_is_being_spliced(self):
        """To a client that takes nothing more, so that bytes wait in a pipe."""
        def pour(sock):
            with contextlib.suppress(OSError):
                while True:
                    sock.sendall(bytes(1 << 20))
        engine = self.before(self.server(pour), tcp="{ pool: app, total: 2s }")
        with engine.client() as client:
            while engine.counter("splice_bytes") == 0:
                client.socket.recv(1 << 18)
            self.assertEqual(engine.logged(1)[0]["why"], "tcp_total")
        self.nothing_left(engine)
        self.assertEqual((engine.counter("tunnels_opened"), engine.counter("tunnels_abandoned")), (1, 1))

    def test_clients_that_leave_at_any_moment(self):
        seed = int(os.environ.get("WEIR_SEED", random.randrange(1 << 30)))
        print("WEIR_SEED", seed)
        dice = random.Random(seed)
        engine = self.before(self.server(banner), self.server(silent), self.server(reset), f"127.0.0.1:{free_port()}")
        for _ in range(150):
            try:
                client = engine.client()
            except ConnectionResetError:
                continue  # that server's doing
            time.sleep(dice.choice((0, 0, 0.001, 0.005)))
            try:
                client.send(b"x" * dice.choice((1, 5000, 200_000)))
                if dice.random() < 0.3:
                    client.socket.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            client.reset() if dice.random() < 0.5 else client.close()
        self.nothing_left(engine)

    def test_more_than_fits_waits_for_the_server(self):
        """Bytes that come before there is a server are bounded, and none is lost."""
        port = free_port()
        engine = self.before(f"127.0.0.1:{port}", more="    health: { type: tcp, interval: 100ms, rise: 1 }\n    limits: { requests: 1 }\n    queue: { wait: 30s }\n",)
        server = self.server(echo, port=port)
        wait_for("it to be up", lambda: engine.server(port)["state"] == "up")
        first = engine.client()
        self.says(first, b"x")
        with engine.client() as second:
            data = content(3_000_000)
            sender = threading.Thread(target=second.send, args=(data,))
            sender.start()
            wait_for("it to wait", lambda: engine.counter("queued") == 1)
            first.close()
            self.assertEqual(second.exactly(len(data)), data)
            sender.join()
        self.nothing_left(engine)
        self.assertEqual(server.accepted >= 2, True)


class Pools(TcpScene):
    def ask(self, engine, **more):
        with engine.client(**more) as client:
            return client.until(b"\n").decode()

    def test_a_server_that_is_down_and_the_next(self):
        dead = free_port()
        engine = self.before(f"127.0.0.1:{dead}", self.server(named("one")))
        self.assertEqual({self.ask(engine) for _ in range(8)}, {"one"})
        self.assertGreaterEqual(engine.counter("retries"), 1)
        self.assertGreaterEqual(engine.server(dead)["connect_failures"], 1)
        self.assertIn(2, [line["attempts"] for line in engine.logged(8)])
        self.nothing_left(engine)

    def test_all_down(self):
        engine = self.before(*[f"127.0.0.1:{free_port()}" for _ in range(2)])
        for _ in range(8):
            self.refused(engine)
        self.assertEqual({(line["why"], line["connected"]) for line in engine.logged(8)}, {("origin_connect", False)})
        self.assertIn("attempt 2 of 3, listener \"front\"", engine.log())
        self.assertIn("is marked as dead: connect", engine.log())
        self.assertEqual(engine.counter("origin_connect"), 8)
        self.nothing_left(engine)

    def test_no_server_is_tried_twice(self):
        """By a hash the same one would be picked again and again."""
        engine = self.before(*[f"127.0.0.1:{free_port()}" for _ in range(2)], self.server(named("one")), top="workers: 1\n",
                             more="    balance: consistent-hash\n    hash-key: client-address\n    passive-health: { fail-after: never }\n")
        self.assertEqual({self.ask(engine, source=f"127.0.0.{last}") for last in range(2, 12)}, {"one"})
        self.assertGreater(engine.counter("retries"), 2)
        self.nothing_left(engine)

    def test_no_retries(self):
        engine = self.before(f"127.0.0.1:{free_port()}", self.server(named("one")), more="    retries: 0\n    passive-health: { fail-after: never }\n", top="workers: 1\n")
        results = []
        for _ in range(4):
            try:
                results.append(self.ask(engine))
            except (EOFError, ConnectionError):
                results.append("closed")
        self.assertEqual(sorted(results), ["closed", "closed", "one", "one"])

    def test_checks_take_a_server_out_and_bring_it_back(self):
        first, second = self.server(named("one")), self.server(named("two"))
        engine = self.before(first, second, more="    health: { type: tcp, interval: 100ms, fall: 1, rise: 1 }\n")
        wait_for("checks", lambda: all(s["checked"] == "up" for s in engine.json("pools")["servers"]))
        self.assertEqual({self.ask(engine) for _ in range(4)}, {"one", "two"})
        first.stop()
        wait_for("it to be out", lambda: engine.server(first.port)["state"] == "down")
        self.assertEqual({self.ask(engine) for _ in range(4)}, {"two"})
        self.server(named("one again"), port=first.port)
        wait_for("it to be back", lambda: engine.server(first.port)["state"] == "up")
        self.assertEqual({self.ask(engine) for _ in range(4)}, {"one again", "two"})

    def test_spread(self):
        engine = self.before(*[self.server(named(n)) for n in ("one", "two", "three")], top="workers: 1\n")
        got = [self.ask(engine) for _ in range(12)]
        self.assertEqual({name: got.count(name) for name in set(got)}, {"one": 4, "two": 4, "three": 4})

    def test_the_least_loaded(self):
        engine = self.before(self.server(named("one")), self.server(named("two")), more="    balance: least-load\n", top="workers: 1\n")
        held = [engine.client() for _ in range(6)]
        names = [client.until(b"\n") for client in held]
        self.assertEqual((names.count(b"one"), names.count(b"two")), (3, 3))
        for client, name in zip(held, names):
            if name == b"one":
                client.close()
        wait_for("they to be gone", lambda: engine.counter("tcp_open") == 3)
        more = [engine.client() for _ in range(3)]
        self.assertEqual([client.until(b"\n") for client in more], [b"one"] * 3)
        for client in held + more:
            client.close()
        self.nothing_left(engine)

    def test_a_client_keeps_its_server(self):
        engine = self.before(*[self.server(named(str(n))) for n in range(5)], more="    balance: consistent-hash\n    hash-key: client-address\n")
        seen = set()
        for last in range(2, 20):
            names = {self.ask(engine, source=f"127.0.0.{last}") for _ in range(3)}
            self.assertEqual(len(names), 1)
            seen |= names
        self.assertGreater(len(seen), 2)

    def test_a_drained_server_keeps_what_it_has(self):
        first, second = self.server(named("one")), self.server(named("two"))
        engine = self.before(first, second)
        held = {}
        while len(held) < 2:
            client = engine.client()
            held[client.until(b"\n")] = client
        self.assertEqual(engine.command("drain", f"app/{first.address}")[0], 0)
        self.assertEqual({self.ask(engine) for _ in range(4)}, {"two"})
        self.says(held[b"one"], b"still here")
        self.assertEqual(engine.server(first.port)["busy"], 1)
        for client in held.values():
            client.close()
        wait_for("it to be empty", lambda: engine.server(first.port)["busy"] == 0)

    def test_a_full_pool_and_its_line(self):
        for limit in ("    limits: { requests: 1 }\n", "    limits: { connections: 1 }\n", None):
            server = self.server(named("one"))
            servers = [server] if limit else ["{ address: %s, max-connections: 1 }" % server.address]
            engine = self.before(*servers, more=(limit or "") + "    queue: { max: 1, wait: 500ms }\n")
            first, second = engine.client(), None
            self.assertEqual(first.until(b"\n"), b"one")
            second = engine.client()
            wait_for("it to wait", lambda: engine.counter("queued") == 1)
            self.refused(engine)  # the line is full
            self.assertTrue(second.closed(), limit)  # it has waited long enough
            third = engine.client()
            wait_for("it to wait", lambda: engine.counter("queued") == 1)
            first.close()
            self.assertEqual(third.until(b"\n"), b"one", limit)
            third.close()
            second.close()
            self.assertEqual(sorted(line["why"] for line in engine.logged(4)), ["", "", "pool_full", "queue_timeouts"])
            self.nothing_left(engine)

    def test_who_leaves_the_line_gives_its_place(self):
        engine = self.before(self.server(named("one")), more="    limits: { requests: 1 }\n    queue: { max: 1, wait: 20s }\n")
        first = engine.client()
        first.until(b"\n")
        for leave in (lambda c: c.close(), lambda c: c.reset()):
            second = engine.client()
            wait_for("it to wait", lambda: engine.counter("queued") == 1)
            leave(second)
            wait_for("its place to be free", lambda: engine.counter("queued") == 0)
        first.close()
        self.nothing_left(engine)

    def test_who_has_most_in_the_line_gives_way(self):
        engine = self.before(self.server(named("one")), more="    limits: { requests: 1 }\n    queue: { max: 2, wait: 20s }\n", top="workers: 1\n")
        first = engine.client()
        first.until(b"\n")
        greedy = [engine.client() for _ in range(2)]
        wait_for("they to wait", lambda: engine.counter("queued") == 2)
        modest = engine.client(source="127.0.0.9")
        self.assertTrue(greedy[1].closed())
        self.assertEqual((engine.counter("queued"), engine.counter("queue_sheds")), (2, 1))
        for client in (first, greedy[0], modest):
            if client is not first:
                self.assertEqual(client.until(b"\n"), b"one")
            client.close()
        self.nothing_left(engine)

    def test_requests_and_connections_stand_in_one_line(self):
        origin = self.origin()
        engine = self.engine("workers: 1\nlisteners:\n  - { address: 127.0.0.1:{port} }\n  - { address: 127.0.0.1:{tcp}, tcp: app }\nroutes: [ { pool: app } ]\npools:\n"
                             + pool("app", origin.address, more="    limits: { requests: 1 }\n    queue: { wait: 20s }\n"))
        first = engine.client()
        first.send_request("/tcp")
        self.assertEqual(first.response().status, 200)
        waiting = []
        for count, connect in enumerate((engine.connect, engine.client, engine.connect)):
            waiting.append(connect())
            waiting[-1].send_request(f"/{count}")
            wait_for("it to wait", lambda: engine.counter("queued") == count + 1)
        first.close()
        self.assertEqual([client.response().status for client in waiting[:2]], [200, 200])
        self.assertEqual(engine.counter("queued"), 1)
        waiting[1].close()
        self.assertEqual(waiting[2].response().status, 200)
        for client in waiting:
            client.close()
        self.assertEqual([head.split(b" ")[1] for head in origin.requests], [b"/tcp", b"/0", b"/1", b"/2"])
        wait_for("it to end", lambda: engine.counter("tcp_open") == 0)

    def test_tls_to_the_server(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates().origin.chain, certificates().origin.key)
        server = self.server(echo, wrap=lambda plain: context.wrap_socket(plain, server_side=True))
        tls = f"    tls: {{ ca: {certificates().ca.path}, server-name: origin.test }}\n"
        engine = self.before(server, more=tls)
        with engine.client() as client:
            self.says(client, content(200_000))
        self.nothing_left(engine)
        engine = self.before(server, more=tls.replace("origin.test", "another.test") + "    retries: 0\n")
        self.refused(engine)
        self.assertEqual(engine.counter("origin_tls"), 1)
        engine = self.before(self.server(silent), more=tls + "    timeouts: { connect: 300ms }\n    retries: 0\n")
        self.refused(engine)
        self.assertEqual(engine.counter("origin_connect"), 1)
        self.nothing_left(engine)


class Headers(TcpScene):
    """The PROXY protocol on both sides."""

    def seen(self, server, wrap=None):
        got = []

        def script(connection):
            got.append(read_header(connection))
            server(connection)
        return self.server(script), got

    def test_from_listed_proxies_only(self):
        engine = self.before(self.server(banner), listener=", proxy-protocol: [ 127.0.0.2 ]")
        for header in (v1(), v2()):
            with Sender(engine.tcp, None) as client:
                for at in range(len(header)):
                    client.send(header[at:at + 1])
                self.assertEqual(client.until(b"\n"), b"SSH-2.0-scene\r")
                self.says(client, b"more")
        with Client(engine.tcp) as client:
            self.assertEqual(client.until(b"\n"), b"SSH-2.0-scene\r")
        with Sender(engine.tcp, b"no header at all\r\n") as client:
            self.assertTrue(client.closed())
        self.assertEqual(sorted(line["client"] for line in engine.logged(3)), ["127.0.0.1"] + ["192.0.2.7"] * 2)
        self.assertEqual(engine.counter("proxy_refused"), 1)
        self.nothing_left(engine)

    def test_to_servers_that_speak_first(self):
        server, got = self.seen(banner)
        engine = self.before(server, more="    proxy-protocol: v1\n")
        with engine.client() as client:
            self.assertEqual(client.until(b"\n"), b"SSH-2.0-scene\r")
        self.assertEqual(len(got), 1)
        self.nothing_left(engine)

    def test_to_servers(self):
        for version in ("v1", "v2"):
            server, got = self.seen(echo)
            engine = self.before(server, more=f"    proxy-protocol: {version}\n", listener=", proxy-protocol: [ 127.0.0.2 ]")
            with Client(engine.tcp) as client, Sender(engine.tcp, v2()) as sender:
                self.says(client, b"one")
                port = client.socket.getsockname()[1]
                self.says(sender, b"two")
            self.assertIn((("127.0.0.1", port), ("127.0.0.1", engine.tcp)), [(h.source, h.destination) for h in got])
            self.assertIn((("192.0.2.7", 1234), ("198.51.100.9", 443)), [(h.source, h.destination) for h in got])
            self.nothing_left(engine)


class Secured(TcpScene):
    """TLS that ends here."""

    def engine_with_tls(self, *servers, more="", tls=""):
        config = ("listeners:\n  - { address: 127.0.0.1:{port}, serve: admin }\n  - address: 127.0.0.1:{tcp}\n    name: front\n    tcp: app\n    tls:\n"
                  f"      certificates: [ {certificates().site.yaml} ]\n{tls}log: {{ access: {{folder}}/access.log }}\n")
        return self.engine(config + "pools:\n" + pool("app", *servers, more=more))

    def test_plain_bytes_to_the_server(self):
        engine = self.engine_with_tls(self.server(banner))
        for alpn in (None, ["postgresql"], ["h2", "http/1.1"]):
            with TlsClient(engine.tcp, context=client_context(alpn=alpn)) as client:
                self.assertEqual(client.until(b"\n"), b"SSH-2.0-scene\r")
                self.says(client, content(100_000))
                client.farewell()
        line = engine.logged(3)[0]
        self.assertEqual((line["sni"], line["why"], line["received"]), (NAME, "", 100_000))
        self.nothing_left(engine)

    def test_no_tls(self):
        engine = self.engine_with_tls(self.server(banner))
        with engine.client() as client:
            client.send_request()
            data, _ = what_comes(client)
        self.assertEqual(data[:1], b"\x15")
        self.assertNotIn(b"HTTP", data)

    def test_what_the_server_is_told(self):
        got = []

        def script(connection):
            got.append(read_header(connection))
            echo(connection)
        engine = self.engine_with_tls(self.server(script), more="    proxy-protocol: v2\n")
        with TlsClient(engine.tcp) as client:
            self.says(client, b"x")
        header, = got
        self.assertEqual((header.client & 1, header.fields[2]), (1, NAME.encode()))


class Running(TcpScene):
    def test_a_thousand_at_once(self):
        raise_descriptors()
        engine = self.before(self.server(echo), self.server(echo))
        clients = [engine.client() for _ in range(1000)]
        for turn in range(2):
            for i, client in enumerate(clients):
                client.send(b"%d of %d\n" % (turn, i))
            for i, client in enumerate(clients):
                self.assertEqual(client.until(b"\n"), b"%d of %d" % (turn, i))
        self.assertEqual(engine.counter("tcp_open"), 1000)
        for client in clients:
            client.close()
        self.nothing_left(engine)

    def test_reloads_drop_none(self):
        server = self.server(echo)
        engine = self.before(server)
        clients = [engine.client() for _ in range(20)]
        with open(engine.path) as file:
            text = file.read()
        end, reloads = time.monotonic() + 2, 0
        while time.monotonic() < end:
            reloads += 1
            with open(engine.path, "w") as file:
                file.write(text.replace("tcp: app", f"tcp: {{ pool: app, idle: {reloads + 10}s }}"))
            code, out, err = engine.command("reload")
            self.assertEqual(code, 0, err)
            self.assertIn("listener front: tcp.idle:", out)
            for client in clients:
                self.says(client, b"x" * 1000)
            time.sleep(0.1)
        for client in clients:
            client.close()
        self.nothing_left(engine)

    def test_a_file_without_routes_is_one_that_commands_understand(self):
        engine = self.before(self.server(echo))
        for words in (["status"], ["pools"], ["top", "--once"], ["config", "show"], ["reload"], ["explain", "http://a/"]):
            code, out, err = engine.command(*words)
            self.assertEqual(code, 0, (words, err))
            self.assertTrue(out)
        with engine.client() as client:
            self.says(client, b"x")
            self.assertRegex(engine.command("status")[1], r"tcp +1 open, 1 taken up\n")
            metrics = Client(engine.port)
            metrics.send_request("/metrics")
            self.assertRegex(metrics.response().body.decode(), r"weir_tcp_open\{[^}]*\} 1\n")
            metrics.close()
        self.nothing_left(engine)

    def test_what_a_reload_changes(self):
        first, second = self.server(named("one")), self.server(named("two"))
        engine = self.engine(listening("one") + "pools:\n" + pool("one", first) + pool("two", second))
        with open(engine.path) as file:
            text = file.read()

        def reload(new):
            with open(engine.path, "w") as file:
                file.write(new)
            code, out, err = engine.command("reload")
            self.assertEqual(code, 0, err)
            return out
        held = engine.client()
        self.assertEqual(held.until(b"\n"), b"one")
        self.assertIn("listener front: tcp.pool: one -> two", reload(text.replace("tcp: one", "tcp: two")))
        with engine.client() as client:
            self.assertEqual(client.until(b"\n"), b"two")
        self.assertIn("tcp.passthrough: changed", reload(text.replace("tcp: one", "tcp: { passthrough: [ { sni: a.test, pool: two } ], pool: one }")))
        self.assertIn("tcp: removed", reload(text.replace(", tcp: one", "") + "routes: [ { respond: { status: 200, body: http } } ]\n"))
        with engine.client() as client:
            client.send_request()
            self.assertEqual(client.response().body, b"http")
        self.says(held, b"still here")
        held.close()
        wait_for("it to end", lambda: engine.counter("tcp_open") == 0)

    def test_a_stop_waits_and_then_cuts(self):
        server = self.server(echo)
        engine = self.engine("timeouts: { drain: 1s }\n" + listening("app") + "pools:\n" + pool("app", server))
        ending, staying = engine.client(), engine.client()
        for client in (ending, staying):
            self.says(client, b"x")
        engine.process.terminate()
        wait_for("no more to be accepted", lambda: "stop" in engine.log().lower() or engine.ended())
        self.says(ending, b"goes on")
        ending.close()
        self.says(staying, b"goes on too")
        self.assertEqual(what_comes(staying)[1] in ("fin", "rst"), True)
        engine.process.wait(SLOW)

    def test_nothing_is_left(self):
        engine = self.before(self.server(echo))
        folder = f"/proc/{engine.process.pid}/fd"
        with engine.client() as client:
            self.says(client, b"x")
        self.nothing_left(engine)
        before = len(os.listdir(folder))
        for _ in range(200):
            with engine.client() as client:
                self.says(client, b"x")
        self.nothing_left(engine)
        wait_for("descriptors to be given back", lambda: len(os.listdir(folder)) <= before + 2)

    def test_the_cap_of_connections(self):
        engine = self.engine("limits: { connections: 3 }\n" + listening("app") + "pools:\n" + pool("app", self.server(banner)))
        held = [engine.client() for _ in range(2)]
        for client in held:
            client.until(b"\n")
        wait_for("one place", lambda: engine.counter("clients") == 2)
        held.append(engine.client())
        held[2].until(b"\n")
        self.refused(engine)
        for client in held:
            client.close()
        self.nothing_left(engine)


if __name__ == "__main__":
    unittest.main()
