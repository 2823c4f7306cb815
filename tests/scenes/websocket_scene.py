"""Requests that leave HTTP: WebSocket with a real library, and every odd thing that the two ends of a tunnel may do."""
import asyncio
import hashlib
import json
import os
import signal
import socket
import ssl
import threading
import time
import unittest

from proxy_props import ProxyOrigin
from stage import SLOW, Scene, free_port, named, ok, wait_for
from tls_certificates import certificates
from tls_props import V12, V13, Session, TlsScene, client_context, cut, farewell
from websocket_props import KEY, Server, accept_of, connect, echoing, handshake, open_tunnel, switching, websockets

MIB = 1024 * 1024
MANY = int(os.environ.get("WEIR_TUNNELS") or 2000)


def pattern(length, seed=b""):
    """Bytes that do not repeat, so that a lost or swapped block shows."""
    blocks = (hashlib.sha256(seed + i.to_bytes(8, "big")).digest() for i in range(-(-length // 32)))
    return b"".join(blocks)[:length]


def half_closed(client):
    client.socket.shutdown(socket.SHUT_WR)


def rest(connection):
    """Everything up to the end; None in its last place if that was a reset."""
    data = b""
    try:
        while True:
            part = connection.recv(65536)
            if not part:
                return data, "end"
            data += part
    except ConnectionResetError:
        return data, "reset"


class Tunnels(Scene):
    """What has tunnels through an engine, and looks that none is left."""

    def settled(self, engine, **ends):
        wait_for("the tunnels to end", lambda: engine.counter("tunnels") == 0)
        status = engine.json("status")
        got = {name: status["tunnels_" + name] for name in ("closed", "reset", "idle", "stopped")}
        wanted = {name: ends.get(name, 0) for name in got}
        self.assertEqual(got, wanted)
        self.assertEqual(status["tunnels_opened"], sum(wanted.values()))
        self.assertEqual(status["in_flight"], 0)
        wait_for("the blocks to come back", lambda: engine.counter("blocks") == 0)


class Library(Tunnels):
    def setUp(self):
        self.server = Server()
        self.addCleanup(self.server.stop)
        self.engine = self.before(self.server)

    def play(self, story):
        asyncio.run(asyncio.wait_for(story(), 120))

    def test_messages_of_every_kind_come_back(self):
        async def story():
            async with connect(self.engine.port) as ws:
                for message in ("", "text äöü", b"", b"\x00\xff" * 70, pattern(65535), pattern(65536), pattern(MIB), "x" * MIB):
                    await ws.send(message)
                    self.assertEqual(await ws.recv(), message)
                await ws.send([b"in ", b"three ", b"fragments"])
                self.assertEqual(await ws.recv(), b"in three fragments")
                await ws.send([pattern(1000, bytes([i])) for i in range(200)])
                self.assertEqual(await ws.recv(), b"".join(pattern(1000, bytes([i])) for i in range(200)))
                await (await ws.ping(b"ping"))
        self.play(story)
        self.settled(self.engine, closed=1)

    def test_both_ends_settle_their_extensions_and_subprotocols(self):
        async def story():
            async with connect(self.engine.port, compression="deflate") as ws:
                headers = ws.response_headers if hasattr(ws, "response_headers") else ws.response.headers
                self.assertIn("permessage-deflate", headers["Sec-WebSocket-Extensions"])
                await ws.send("a" * MIB)
                self.assertEqual(await ws.recv(), "a" * MIB)
        self.play(story)

    def test_codes_of_closing_pass_both_ways(self):
        async def from_client(code, reason):
            ws = await connect(self.engine.port)
            await ws.close(code, reason)

        async def from_server(code, reason):
            ws = await connect(self.engine.port)
            await ws.send(f"close {code} {reason}")
            try:
                await ws.recv()
            except websockets.ConnectionClosed:
                pass
            self.assertEqual((ws.close_code, ws.close_reason), (code, reason))

        async def story():
            for code, reason in ((1000, ""), (1001, "gone"), (4001, "for a reason of ours"), (4999, "é")):
                await from_client(code, reason)
                await from_server(code, reason)
        self.play(story)
        wait_for("the server to see all", lambda: len(self.server.closes) == 8)
        self.assertEqual(sorted(set(self.server.closes)), [(1000, ""), (1001, "gone"), (4001, "for a reason of ours"), (4999, "é")])
        self.settled(self.engine, closed=8)

    def test_a_thousand_at_once(self):
        async def one(number, opened):
            async with connect(self.engine.port) as ws:
                opened.release()
                await self.all_open.wait()
                for i in range(5):
                    message = pattern(200 * (number % 50) + i, b"%d" % number)
                    await ws.send(message)
                    self.assertEqual(await ws.recv(), message)

        async def story():
            self.all_open, opened = asyncio.Event(), asyncio.Semaphore(0)
            tasks = [asyncio.ensure_future(one(i, opened)) for i in range(1000)]
            for _ in tasks:
                await opened.acquire()
            self.assertEqual(self.engine.counter("tunnels"), 1000)
            self.all_open.set()
            await asyncio.gather(*tasks)
        self.play(story)
        self.settled(self.engine, closed=1000)

    def test_no_reload_drops_one(self):
        def reload_all_the_time():
            while not self.over.is_set():
                self.assertEqual(self.engine.command("reload")[0], 0)
                self.reloads += 1
                self.over.wait(0.1)

        async def one(number, end):
            async with connect(self.engine.port) as ws:
                while time.monotonic() < end:
                    message = pattern(3000, b"%d %d" % (number, self.messages))
                    await ws.send(message)
                    self.assertEqual(await ws.recv(), message)
                    self.messages += 1
                    await asyncio.sleep(0.01)

        async def story():
            end = time.monotonic() + 4
            await asyncio.gather(*(one(i, end) for i in range(50)))
        self.over, self.reloads, self.messages = threading.Event(), 0, 0
        thread = threading.Thread(target=reload_all_the_time)
        thread.start()
        try:
            self.play(story)
        finally:
            self.over.set()
            thread.join()
        self.assertGreater(self.reloads, 5)
        self.assertGreater(self.messages, 100)
        self.settled(self.engine, closed=50)


class Handshakes(Tunnels):
    """Who is asked what, and what the answers may be."""

    def test_the_origin_is_asked_for_what_the_client_wants_and_the_rest_of_the_head_passes(self):
        origin = self.origin(echoing(more=b"X-Own: 1\r\nSec-WebSocket-Protocol: chat\r\nServer: mine\r\n"))
        engine = self.weir("routes: [ { pool: app, response-headers: { set: { X-Edge: one }, remove: Server } } ]\n"
                           f"pools: {{ app: {{ servers: [ {origin.address} ], sticky: {{ cookie: edge }} }} }}\n")
        with engine.connect() as client:
            fields = open_tunnel(client, "/chat?room=1", more=["Sec-WebSocket-Protocol: chat", "Origin: http://a", "TE: trailers", "X-Hop: 1",
                                                               "Connection: X-Hop, HTTP2-Settings, TE, keep-alive", "HTTP2-Settings: AAMA"])
            client.send(b"hello")
            self.assertEqual(client.exactly(5), b"hello")
        head = origin.requests[0].decode().lower()
        for line in ("get /chat?room=1 http/1.1", "upgrade: websocket", "connection: te, upgrade", "sec-websocket-protocol: chat", "origin: http://a",
                     "sec-websocket-version: 13", f"sec-websocket-key: {KEY.lower()}", "via: 1.1 weir"):
            self.assertEqual(head.split("\r\n").count(line), 1, head)
        for absent in ("x-hop", "http2-settings", "keep-alive", "content-length"):
            self.assertNotIn(absent, head)
        self.assertEqual({n: fields.get(n) for n in ("connection", "upgrade", "sec-websocket-accept", "sec-websocket-protocol", "x-own", "x-edge", "server", "content-length")},
                         {"connection": "Upgrade", "upgrade": "websocket", "sec-websocket-accept": accept_of(KEY), "sec-websocket-protocol": "chat", "x-own": "1",
                          "x-edge": "one", "server": None, "content-length": None})
        self.assertTrue(fields["set-cookie"].startswith("edge="))
        self.settled(engine, closed=1)

    def test_a_handshake_in_single_bytes_and_bytes_right_behind_both_heads(self):
        origin = self.origin(echoing(first=b"from the origin at once"))
        engine = self.before(origin)
        with engine.connect() as client:
            for byte in handshake():
                client.send(bytes([byte]))
            self.assertEqual(client.head()[0], 101)
            self.assertEqual(client.exactly(23), b"from the origin at once")
            client.send(b"1")
            self.assertEqual(client.exactly(1), b"1")
        early = pattern(200000)
        with engine.connect() as client:
            client.send(handshake())
            client.send(early)
            self.assertEqual(client.head()[0], 101)
            self.assertEqual(client.exactly(23 + len(early)), b"from the origin at once" + early)
            half_closed(client)
            self.assertEqual(rest(client.socket), (b"", "end"))
        self.settled(engine, closed=2)

    def test_answers_that_are_no_switch_are_relayed_and_both_connections_end(self):
        answers = {"/no": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno", "/bad": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
                   "/busy": b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\nRetry-After: 7\r\n\r\nbusy",
                   "/old": b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 8\r\nContent-Length: 0\r\n\r\n"}
        origin = self.origin(lambda exchange: exchange.send(answers[exchange.path]))
        engine = self.before(origin)
        for path, answer in answers.items():
            with engine.connect() as client:
                client.send(handshake(path) + b"GET /smuggled HTTP/1.1\r\nHost: scene\r\n\r\n")
                response = client.response()
                self.assertEqual(response.status, int(answer.split(b" ")[1]))
                self.assertEqual(response.body, answer.split(b"\r\n\r\n", 1)[1])
                self.assertEqual(response.field("connection"), "close")
                self.assertEqual(rest(client.socket)[0], b"")
        self.assertEqual([head.split(b" ")[1].decode() for head in origin.requests], list(answers))
        self.assertEqual(len(origin.received), len(answers))  # each on a connection of its own
        self.assertEqual(engine.counter("tunnels_opened"), 0)

    def test_a_101_that_grants_something_else_is_no_answer(self):
        good = f"Sec-WebSocket-Accept: {accept_of(KEY)}"
        heads = [["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Accept: " + accept_of("another" + KEY)], ["Connection: Upgrade", "Upgrade: websocket"],
                 ["Connection: Upgrade", "Upgrade: h2c", good], ["Connection: close", "Upgrade: websocket", good], ["Upgrade: websocket", good],
                 ["Connection: Upgrade", good], ["Connection: Upgrade", "Upgrade: websocket", good, good], ["Connection: Upgrade", "Upgrade: websocket, h2c", good]]
        origin = self.origin(lambda exchange: exchange.send("\r\n".join(["HTTP/1.1 101 Switching Protocols"] + heads[int(exchange.path[1:])]).encode() + b"\r\n\r\nstolen"))
        engine = self.weir(f"routes: [ {{ pool: app }} ]\npools: {{ app: {{ servers: [ {origin.address} ], passive-health: {{ fail-after: never }} }} }}\n")
        for i in range(len(heads)):
            with engine.connect() as client:
                client.send(handshake(f"/{i}"))
                response = client.response()
                self.assertEqual((response.status, b"stolen" in response.body), (502, False), heads[i])
        self.assertEqual(engine.get("/0").status, 502)  # nobody asked
        self.assertEqual(engine.counter("origin_malformed"), len(heads) + 1)
        self.settled(engine)

    def test_malformed_handshakes_get_no_further(self):
        origin = self.origin(echoing())
        engine = self.before(origin)
        for words in ({"key": ""}, {"key": "short"}, {"version": ""}, {"method": "POST"}, {"more": ["Sec-WebSocket-Key: " + KEY]}, {"more": ["Content-Length: 5"]},
                      {"more": ["Transfer-Encoding: chunked"]}):
            with engine.connect() as client:
                client.send(handshake(**words) + b"GET /smuggled HTTP/1.1\r\nHost: scene\r\n\r\n")
                response = client.response()
                self.assertEqual((response.status, response.field("connection")), (400, "close"), words)
                self.assertEqual(rest(client.socket)[0], b"")
        for version in ("8", "14", "13, 8"):
            with engine.connect() as client:
                client.send(handshake(version=version))
                response = client.response()
                self.assertEqual((response.status, response.field("sec-websocket-version"), response.field("upgrade")), (426, "13", "websocket"))
                self.assertEqual([v for n, v in response.fields if n.lower() == "connection"], ["close", "Upgrade"])
        self.assertEqual(origin.requests, [])
        self.assertEqual(engine.counter("upgrade_malformed"), 10)

    def test_a_route_says_what_may_pass(self):
        origin = self.origin(lambda exchange: (echoing(upgrade="tcp") if exchange.fields("upgrade") else ok)(exchange))
        engine = self.weir("routes:\n"
                           "  - { match: { path: /none }, pool: app, upgrade: none }\n"
                           "  - { match: { path: /tcp }, pool: app, upgrade: [ tcp, SPDY/3.1 ] }\n"
                           "  - { match: { path: /own }, respond: { body: mine } }\n"
                           "  - { pool: app }\n"
                           f"pools: {{ app: {{ servers: [ {origin.address} ] }} }}\n")
        for path in ("/none", "/tcp"):
            with engine.connect() as client:
                client.send(handshake(path))
                response = client.response()
                self.assertEqual((response.status, b"websocket" in response.body, response.field("connection")), (403, True, "close"))
        self.assertEqual(engine.counter("upgrade_refused"), 2)
        self.assertEqual(engine.get("/own", headers=["Connection: Upgrade", "Upgrade: websocket"]).body, b"mine")
        for path in ("/", "/none"):  # not offered to the origin
            self.assertEqual(engine.get(path, headers=["Connection: Upgrade", "Upgrade: tcp"]).body, b"ok\n")
        for path in ("/", "/none", "/tcp"):
            self.assertEqual(engine.get(path, headers=["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMA"]).body, b"ok\n")
        self.assertEqual(engine.get("/tcp", headers=["Connection: Upgrade", "Upgrade: tcp"], version="1.0").body, b"ok\n")
        self.assertFalse([head for head in origin.requests if b"pgrade" in head or b"http2" in head.lower()])
        with engine.connect() as client:
            open_tunnel(client, "/tcp", upgrade="h2c, TCP", version="", key="", method="POST", more=["Content-Length: 7"], behind=b"contentand more")
            self.assertEqual(client.exactly(8), b"and more")
        self.assertIn(b"\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n", origin.requests[-1] + b"\r\n")
        self.settled(engine, closed=1)

    def test_a_switch_before_the_content_is_through_is_no_answer(self):
        origin = self.origin(lambda exchange: exchange.send(switching(exchange, "tcp")))
        engine = self.weir(f"routes: [ {{ pool: app, upgrade: tcp }} ]\npools: {{ app: {{ servers: [ {origin.address} ] }} }}\n")
        with engine.connect() as client:
            client.send(handshake(upgrade="tcp", version="", key="", method="POST", more=["Content-Length: 10"]) + b"half ")
            self.assertEqual(client.response().status, 502)
        self.settled(engine)

    def test_another_server_is_asked_as_for_any_request(self):
        origin = self.origin(echoing())
        engine = self.weir("routes: [ { pool: app } ]\n"
                           f"pools: {{ app: {{ servers: [ 127.0.0.1:{free_port()}, {origin.address} ], balance: round-robin }} }}\n")
        for _ in range(4):
            with engine.connect() as client:
                open_tunnel(client)
        self.assertGreater(engine.counter("retries"), 0)
        self.settled(engine, closed=4)

    def test_explain_shows_it(self):
        engine = self.weir("routes: [ { match: { path: /no }, pool: app, upgrade: none }, { pool: app } ]\n"
                           f"pools: {{ app: {{ servers: [ 127.0.0.1:{free_port()} ] }} }}\n")
        asked = ["-H", "Connection: Upgrade", "-H", "Upgrade: websocket", "-H", "Sec-WebSocket-Version: 13", "-H", f"Sec-WebSocket-Key: {KEY}"]
        self.assertIn("Upgrade: websocket", engine.command("explain", "http://a/", *asked)[1])
        self.assertIn("403", engine.command("explain", "http://a/no", *asked)[1])
        self.assertIn("426", engine.command("explain", "http://a/", *asked[:4], "-H", "Sec-WebSocket-Version: 8")[1])


class Ends(Tunnels):
    """How a tunnel ends, by plain sockets."""

    def tunnel(self, script, **top):
        """A raw client in a tunnel, and a place where the script can be waited for."""
        self.seen = {}
        self.engine = self.before(self.origin(script), **top)
        client = self.engine.connect()
        self.addCleanup(client.close)
        open_tunnel(client)
        return client

    def test_a_client_that_has_said_all_still_hears_all(self):
        def script(exchange):
            exchange.send(switching(exchange))
            self.seen["asked"] = rest(exchange.connection)
            exchange.send(pattern(3 * MIB))
            return False
        client = self.tunnel(script)
        client.send(pattern(MIB, b"up"))
        half_closed(client)
        self.assertEqual(rest(client.socket), (pattern(3 * MIB), "end"))
        self.assertEqual(self.seen["asked"], (pattern(MIB, b"up"), "end"))
        self.settled(self.engine, closed=1)

    def test_an_origin_that_has_said_all_still_hears_all(self):
        def script(exchange):
            exchange.send(switching(exchange) + pattern(MIB))
            exchange.connection.shutdown(socket.SHUT_WR)
            self.seen["asked"] = rest(exchange.connection)
            return False
        client = self.tunnel(script)
        self.assertEqual((client.buffer + rest(client.socket)[0]), pattern(MIB))
        client.send(pattern(3 * MIB, b"up"))
        half_closed(client)
        wait_for("the origin", lambda: "asked" in self.seen)
        self.assertEqual(self.seen["asked"], (pattern(3 * MIB, b"up"), "end"))
        self.settled(self.engine, closed=1)

    def test_a_clients_reset_reaches_the_origin_as_one(self):
        def script(exchange):
            exchange.send(switching(exchange))
            self.seen["got"] = rest(exchange.connection)
            return False
        client = self.tunnel(script)
        client.send(b"last words")
        time.sleep(0.2)
        client.reset()
        wait_for("the origin", lambda: "got" in self.seen)
        self.assertEqual(self.seen["got"], (b"last words", "reset"))
        self.settled(self.engine, reset=1)

    def test_a_client_that_resets_while_the_101_is_on_its_way_reaches_the_origin_as_one(self):
        """For the origin the tunnel stands, and an end there would be an orderly one. The engine stands still meanwhile, so that it hears of both at once."""
        asked, gone = threading.Event(), threading.Event()

        def stands_still(task):
            with open(f"/proc/{engine.process.pid}/task/{task}/stat") as file:
                return file.read().rpartition(")")[2].split()[0] == "T"

        def script(exchange):
            asked.set()
            gone.wait(SLOW)
            exchange.send(switching(exchange))
            engine.process.send_signal(signal.SIGCONT)
            self.seen["got"] = rest(exchange.connection)
            return False
        self.seen = {}
        engine = self.before(self.origin(script), top="workers: 1\n")
        client = engine.connect()
        client.send(handshake())
        self.assertTrue(asked.wait(SLOW))
        engine.process.send_signal(signal.SIGSTOP)
        self.addCleanup(engine.process.send_signal, signal.SIGCONT)
        wait_for("the engine to stand still", lambda: all(stands_still(task) for task in os.listdir(f"/proc/{engine.process.pid}/task")))
        client.reset()
        gone.set()
        wait_for("the origin", lambda: "got" in self.seen)
        self.assertEqual(self.seen["got"], (b"", "reset"))
        wait_for("the request to end", lambda: engine.counter("in_flight") == 0)

    def test_an_origins_reset_reaches_the_client_as_one(self):
        def script(exchange):
            exchange.send(switching(exchange) + b"last words")
            exchange.connection.recv(1)
            return exchange.reset()
        client = self.tunnel(script)
        client.send(b"x")
        got, how = rest(client.socket)
        self.assertEqual((client.buffer + got, how), (b"last words", "reset"))
        self.settled(self.engine, reset=1)

    def test_an_origin_that_leaves_while_the_client_sends_is_heard_first(self):
        """It closes with bytes unread: our sends fail, and what it said before still counts."""
        def script(exchange):
            exchange.send(switching(exchange) + b"farewell")
            exchange.connection.recv(1000)
            return False
        client = self.tunnel(script)
        with self.assertRaises(OSError):
            for _ in range(2000):
                client.send(pattern(MIB))
        self.assertEqual(self.engine.counter("tunnels_closed"), 0)
        self.settled(self.engine, reset=1)

    def test_who_reads_slowly_stops_the_other_and_loses_nothing(self):
        total, sent = 48 * MIB, {"bytes": 0}

        def script(exchange):
            exchange.send(switching(exchange))
            piece = pattern(MIB)
            for _ in range(total // MIB):
                exchange.send(piece)
                sent["bytes"] += MIB
            return False
        client = self.tunnel(script)
        wait_for("the origin to be stopped", lambda: sent["bytes"] > 0)
        before = -1
        while before != sent["bytes"]:
            before = sent["bytes"]
            time.sleep(0.5)
        self.assertLess(before, total)
        self.assertLess(self.engine.counter("blocks"), 200)
        got, how = rest(client.socket)
        self.assertEqual(hashlib.sha256(client.buffer + got).digest(), hashlib.sha256(pattern(MIB) * (total // MIB)).digest())
        half_closed(client)
        self.settled(self.engine, closed=1)
        self.assertEqual(self.engine.counter("tunnel_sent_bytes"), total)

    def test_both_may_send_at_once(self):
        client = self.tunnel(echoing())
        data = pattern(16 * MIB)
        thread = threading.Thread(target=lambda: (client.socket.sendall(data), half_closed(client)))
        thread.start()
        got, how = rest(client.socket)
        thread.join()
        self.assertEqual((hashlib.sha256(got).digest(), how), (hashlib.sha256(data).digest(), "end"))
        self.settled(self.engine, closed=1)
        self.assertEqual((self.engine.counter("tunnel_received_bytes"), self.engine.counter("tunnel_sent_bytes")), (len(data), len(data)))

    def test_silence_ends_it_and_a_byte_either_way_does_not_let_it(self):
        client = self.tunnel(echoing(), top="timeouts: { tunnel: 1s, send: 100ms, body: 100ms, idle: 100ms }\n")
        began = time.monotonic()
        for _ in range(5):
            time.sleep(0.4)
            client.send(b"x")
            self.assertEqual(client.exactly(1), b"x")
        self.assertEqual(rest(client.socket), (b"", "end"))
        self.assertGreater(time.monotonic() - began, 2.8)
        self.settled(self.engine, idle=1)

    def test_no_deadline_of_requests_ends_it(self):
        origin = self.origin(echoing())
        engine = self.weir("timeouts: { send: 200ms, body: 200ms, idle: 200ms, head: 200ms }\nroutes: [ { pool: app } ]\n"
                           f"pools: {{ app: {{ servers: [ {origin.address} ], timeouts: {{ first-byte: 300ms, between: 300ms, total: 400ms }} }} }}\n")
        with engine.connect() as client:
            open_tunnel(client)
            time.sleep(1.2)
            client.send(b"still")
            self.assertEqual(client.exactly(5), b"still")
        self.settled(engine, closed=1)

    def test_a_stop_waits_for_its_deadline_and_then_ends_them_with_fin(self):
        def script(exchange):
            exchange.send(switching(exchange))
            self.seen["got"] = rest(exchange.connection)
            return False
        client = self.tunnel(script, top="timeouts: { drain: 1500ms }\nlog: { access: {folder}/access.log }\n")
        client.send(b"before")
        began = time.monotonic()
        stop = threading.Thread(target=lambda: self.engine.command("stop"))
        stop.start()
        time.sleep(0.5)
        client.send(b" and while")
        self.assertEqual(rest(client.socket), (b"", "end"))
        self.assertGreater(time.monotonic() - began, 1.3)
        stop.join()
        wait_for("the engine to end", self.engine.ended)
        wait_for("the origin", lambda: "got" in self.seen)
        self.assertEqual(self.seen["got"], (b"before and while", "end"))
        with open(os.path.join(self.engine.folder, "access.log")) as file:
            entry = json.loads(file.read().splitlines()[-1])
        self.assertEqual((entry["status"], entry["why"]), (101, "tunnels_stopped"))

    def test_a_stop_ends_at_once_when_the_last_is_over(self):
        client = self.tunnel(echoing())
        stop = threading.Thread(target=lambda: self.engine.command("stop"))
        stop.start()
        time.sleep(0.3)
        client.send(b"more")
        self.assertEqual(client.exactly(4), b"more")
        client.close()
        stop.join(SLOW)
        wait_for("the engine to end", self.engine.ended)

    def test_it_is_told_at_its_end(self):
        client = self.tunnel(echoing(), top="log: { access: {folder}/access.log }\n")
        self.assertEqual((self.engine.counter("tunnels"), self.engine.counter("in_flight"), self.engine.counter("responses_1xx")), (1, 0, 1))
        self.assertIn("tunnels         1 open, 1 opened", self.engine.command("status")[1])
        client.send(b"12345")
        client.exactly(5)
        client.send(b"6789")
        client.exactly(4)
        time.sleep(0.3)
        client.close()
        self.settled(self.engine, closed=1)
        path = os.path.join(self.engine.folder, "access.log")
        wait_for("the log", lambda: os.path.exists(path) and os.path.getsize(path))
        with open(path) as file:
            entry = json.loads(file.readline())
        self.assertEqual({k: entry[k] for k in ("status", "method", "target", "host", "sent", "received", "complete")},
                         {"status": 101, "method": "GET", "target": "/", "host": "scene", "sent": 9, "received": 9, "complete": True})
        self.assertGreater(entry["duration_ms"], 300)

    def test_a_tunnel_keeps_its_place_in_the_pool(self):
        origin = self.origin(echoing())
        engine = self.weir("routes: [ { pool: app } ]\n"
                           f"pools: {{ app: {{ servers: [ {{ address: {origin.address}, max-connections: 1 }} ], queue: {{ wait: 10s }} }} }}\n")
        first, second = engine.connect(), engine.connect()
        open_tunnel(first)
        second.send(handshake())
        wait_for("the second to wait", lambda: engine.counter("queued") == 1)
        self.assertEqual(engine.server(origin.port)["busy"], 1)
        first.close()
        self.assertEqual(second.head()[0], 101)
        second.close()
        self.settled(engine, closed=2)
        wait_for("the place", lambda: engine.server(origin.port)["busy"] == 0 and engine.server(origin.port)["open"] == 0)

    def test_a_server_that_leaves_the_configuration_keeps_its_tunnels(self):
        one, two = self.origin(echoing()), self.origin(named("two"))
        config = "routes: [ {{ pool: app }} ]\npools: {{ app: {{ servers: [ {} ] }} }}\n"
        engine = self.weir(config.format(one.address))
        with engine.connect() as client:
            open_tunnel(client)
            engine.write(config.format(two.address))
            self.assertEqual(engine.command("reload")[0], 0)
            self.assertEqual(engine.get().body, b"two")
            client.send(b"still")
            self.assertEqual(client.exactly(5), b"still")
        self.settled(engine, closed=1)

    def test_thousands_leave_nothing_behind(self):
        def descriptors():
            return len(os.listdir(f"/proc/{self.engine.process.pid}/fd"))

        serving = set()

        async def serve(reader, writer):
            serving.add(writer)
            head = await reader.readuntil(b"\r\n\r\n")
            key = head.lower().split(b"sec-websocket-key: ")[1].split(b"\r\n")[0]
            key = head[head.lower().index(b"sec-websocket-key: ") + 19:][:len(key)].decode()
            writer.write(f"HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept_of(key)}\r\n\r\n".encode())
            try:
                while data := await reader.read(65536):
                    writer.write(data)
            except ConnectionError:
                pass
            writer.close()
            serving.remove(writer)

        async def one(number):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.engine.port)
            data = pattern(100 * (number % 40), b"%d" % number)
            writer.write(handshake() + data)
            await reader.readuntil(b"\r\n\r\n")
            if number % 3:
                assert await reader.readexactly(len(data)) == data
            if number % 5 == 0:
                writer.transport.abort()
            elif number % 5 == 1:
                writer.write_eof()
                await reader.read()
            writer.close()

        async def story():
            server = await asyncio.start_server(serve, "127.0.0.1", self.port, backlog=2048)
            numbers = iter(range(MANY))

            async def row():
                for number in numbers:
                    await one(number)
            await asyncio.gather(*(row() for _ in range(40)))
            end = time.monotonic() + SLOW
            while serving and time.monotonic() < end:
                await asyncio.sleep(0.05)
            self.assertEqual(len(serving), 0, "the origin was not told of the end of all")
            server.close()
        self.port = free_port()
        self.engine = self.weir(f"routes: [ {{ pool: app }} ]\npools: {{ app: {{ servers: [ 127.0.0.1:{self.port} ] }} }}\n")
        self.engine.counter("tunnels")  # everything that it opens at its start is open
        before = descriptors()
        asyncio.run(story())
        wait_for("the tunnels to end", lambda: self.engine.counter("tunnels") == 0)
        status = self.engine.json("status")
        self.assertEqual(status["tunnels_opened"], MANY)
        self.assertEqual(status["tunnels_closed"] + status["tunnels_reset"], MANY)
        wait_for("the blocks to come back", lambda: self.engine.counter("blocks") == 0)
        wait_for("the descriptors to be closed", lambda: descriptors() <= before)
        self.assertEqual(self.engine.server(self.port)["open"], 0)


class Sealed(TlsScene, Tunnels):
    """The same inside TLS: from clients, to origins, and both."""

    pool = f"    tls: {{ ca: {certificates().ca.path}, server-name: origin.test }}"

    def both(self, script, **more):
        return self.secure_before(self.tls_origin(script), pool=self.pool, **more)

    def test_the_library_by_wss(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates().origin.chain, certificates().origin.key)
        server = Server(ssl=context)
        self.addCleanup(server.stop)
        engine = self.secure_before(server, pool=self.pool)

        async def story():
            async with connect(engine.port, scheme="wss", ssl=client_context()) as ws:
                for message in ("text", pattern(MIB), [pattern(70000), pattern(5)]):
                    await ws.send(message)
                    self.assertEqual(await ws.recv(), message if not isinstance(message, list) else b"".join(message))
        asyncio.run(asyncio.wait_for(story(), 60))
        wait_for("the server to see it", lambda: server.closes == [(1000, "")])
        wait_for("the tunnel to end", lambda: engine.counter("tunnels") == 0)

    def test_from_tls_to_plain_and_from_plain_to_tls(self):
        sealed = self.secure_before(self.origin(echoing()))
        plain = self.before(self.tls_origin(echoing()), pool=self.pool)
        for engine in (sealed, plain):
            with engine.connect() as client:
                open_tunnel(client, behind=b"at once")
                self.assertEqual(client.exactly(7), b"at once")
                for i in range(30):
                    data = pattern(100000 + i)
                    for at in range(0, len(data), 20000):  # by turns: one TLS session is not for two threads
                        client.send(data[at:at + 20000])
                        self.assertEqual(client.exactly(len(data[at:at + 20000])), data[at:at + 20000])

    def test_an_end_by_close_notify_is_passed_on_and_the_other_side_goes_on(self):
        seen = {}

        def script(exchange):
            exchange.send(switching(exchange))
            seen["got"] = rest(exchange.connection)
            exchange.send(pattern(MIB))
            return farewell(exchange)
        engine = self.both(script)
        for context in (client_context(least=V13), client_context(most=V12)):
            raw, session = engine.connect_raw(), Session(context)
            self.addCleanup(raw.close)
            session.shake_hands(raw)
            session.tls.write(handshake() + pattern(50000))
            raw.send(session.output.read())
            data = hear(session, raw, lambda data: b"\r\n\r\n" in data)
            with self.assertRaises(ssl.SSLWantReadError):
                session.tls.unwrap()
            raw.send(session.output.read())
            wait_for("the origin", lambda: "got" in seen)
            self.assertEqual(seen.pop("got"), (pattern(50000), "end"))
            data += hear(session, raw, lambda data: False)
            self.assertEqual(data.split(b"\r\n\r\n", 1)[1], pattern(MIB))
        self.settled(engine, closed=2)

    def test_an_origin_that_says_close_notify_still_hears_all(self):
        seen = {}

        def script(exchange):
            exchange.send(switching(exchange) + b"all of it")
            exchange.connection.settimeout(0.5)
            try:
                exchange.connection.unwrap()
            except (OSError, ValueError) as problem:
                seen["unwrap"] = problem
            exchange.connection.close()
            return False
        engine = self.both(script)
        with engine.connect() as client:
            open_tunnel(client)
            self.assertEqual(client.buffer + rest(client.socket)[0], b"all of it")
            client.farewell()
        wait_for("the tunnel to end", lambda: engine.counter("tunnels") == 0)

    def test_an_end_without_close_notify_is_passed_on_as_a_reset(self):
        seen = {}

        def script(exchange):
            exchange.send(switching(exchange))
            seen["got"] = rest(exchange.connection)
            return False
        engine = self.secure_before(self.origin(script))
        client = engine.connect()
        open_tunnel(client, behind=b"last words")
        wait_for("the bytes", lambda: engine.counter("tunnel_received_bytes") == 10)
        socket.socket.shutdown(client.socket, socket.SHUT_RDWR)
        client.close()
        wait_for("the origin", lambda: "got" in seen)
        self.assertEqual(seen["got"], (b"last words", "reset"))
        self.settled(engine, reset=1)

        engine = self.both(lambda exchange: exchange.send(switching(exchange) + b"last words") or cut(exchange))
        with engine.connect() as client:
            open_tunnel(client)
            self.assertEqual(client.exactly(10), b"last words")
            with self.assertRaises(OSError):
                client.socket.recv(1)
        self.settled(engine, reset=1)

    def test_a_pool_that_is_told_of_clients(self):
        origin = ProxyOrigin(echoing())
        self.addCleanup(origin.stop)
        engine = self.weir(f"routes: [ {{ pool: app }} ]\npools: {{ app: {{ servers: [ {origin.address} ], proxy-protocol: v2 }} }}\n")
        for _ in range(3):
            with engine.connect() as client:
                open_tunnel(client, behind=b"hello")
                self.assertEqual(client.exactly(5), b"hello")
        self.settled(engine, closed=3)


def hear(session, raw, enough):
    """What the session reads until that is enough, or the end."""
    data = b""
    while not enough(data):
        try:
            part = session.tls.read(65536)
            if not part:
                return data
            data += part
        except ssl.SSLWantReadError:
            received = raw.socket.recv(65536)
            if received:
                session.input.write(received)
            else:
                session.input.write_eof()
        except ssl.SSLZeroReturnError:
            return data
    return data


if __name__ == "__main__":
    unittest.main()
