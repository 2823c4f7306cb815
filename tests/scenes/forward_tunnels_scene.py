"""Tunnels through the forward proxy: bytes both ways, ends of every kind, a thousand over reloads, a stop; and how many a user may have."""
import socket
import struct
import threading
import unittest

from forward_props import OUTSIDE, Echo, ForwardScene, authorization, connect_status, get, open_connect, pattern
from props import raise_descriptors
from stage import SLOW, Client, free_port, named, wait_for

THOUSAND = 1000


class Tunnels(ForwardScene):
    def settled(self, engine):
        wait_for("the tunnels to end", lambda: engine.counter("tunnels") == 0, SLOW * 3)
        wait_for("the blocks to come back", lambda: engine.counter("blocks") == 0, SLOW * 3)
        self.assertEqual(engine.counter("in_flight"), 0)

    def test_the_answer_to_connect_is_bare(self):
        echo = self.kept(Echo())
        engine = self.proxy()
        client, status, fields = open_connect(engine.port, echo.address)
        with client:
            self.assertEqual(status, 200)
            self.assertFalse({"content-length", "transfer-encoding"} & set(fields), "RFC 9110 9.3.6")
            client.send(b"ping")
            self.assertEqual(client.exactly(4), b"ping")
        self.settled(engine)

    def test_bytes_right_behind_connect_are_the_tunnels(self):
        echo = self.kept(Echo())
        engine = self.proxy()
        data = pattern(100000)
        client, status, _ = open_connect(engine.port, echo.address, behind=data)
        with client:
            self.assertEqual(status, 200)
            self.assertEqual(client.exactly(len(data)), data)
        self.settled(engine)

    def test_sites_that_speak_first(self):
        echo = self.kept(Echo(first=b"220 hello\r\n"))
        engine = self.proxy()
        client, status, _ = open_connect(engine.port, echo.address)
        with client:
            self.assertEqual((status, client.until(b"\r\n")), (200, b"220 hello"))

    def test_half_close_both_ways(self):
        echo = self.kept(Echo(last=b"the end"))
        engine = self.proxy()
        client, status, _ = open_connect(engine.port, echo.address)
        with client:
            client.send(b"last words")
            client.socket.shutdown(socket.SHUT_WR)
            self.assertEqual(client.exactly(17), b"last wordsthe end")
            self.assertTrue(client.closed())
        self.settled(engine)
        self.assertEqual(bytes(echo.received[0]), b"last words")

    def test_a_reset_passes(self):
        echo = self.kept(Echo())
        engine = self.proxy()
        client, _, _ = open_connect(engine.port, echo.address)
        client.send(b"x")
        client.exactly(1)
        client.reset()
        self.settled(engine)
        client, _, _ = open_connect(engine.port, echo.address)
        client.send(b"x")
        client.exactly(1)
        echo.connections[-1].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        echo.connections[-1].shutdown(socket.SHUT_RD)
        echo.connections[-1].close()
        with client:
            client.closed()
        self.settled(engine)

    def test_large_both_ways_at_once(self):
        echo = self.kept(Echo())
        engine = self.proxy()
        data = pattern(8 << 20)
        client, _, _ = open_connect(engine.port, echo.address)
        with client:
            sender = threading.Thread(target=client.send, args=(data,))
            client.socket.settimeout(SLOW * 6)
            sender.start()
            self.assertTrue(client.exactly(len(data)) == data)
            sender.join()
        self.settled(engine)

    def test_silence_ends_a_tunnel(self):
        echo = self.kept(Echo())
        engine = self.proxy(top="timeouts: { tunnel: 500ms }")
        client, _, _ = open_connect(engine.port, echo.address)
        with client:
            self.assertTrue(client.closed())
        self.settled(engine)

    def test_nobody_listens_there(self):
        engine = self.proxy()
        answer = connect_status(engine.port, f"{OUTSIDE}:{free_port()}")
        self.assertEqual(answer.status, 502)
        self.assertTrue(answer.complete)

    def test_a_thousand_at_once_over_reloads(self):
        if raise_descriptors(8 * THOUSAND) < 5 * THOUSAND:
            self.skipTest("too few descriptors may be had")
        echo, dns = self.kept(Echo()), self.dns()
        dns.set("echo.test", OUTSIDE)
        engine = self.proxy(dns=dns, users=True, more="limits: { per-user: 5000 }")
        more = [authorization("joe", "open sesame")]
        stop, reloads = threading.Event(), []

        def reload():
            while not stop.wait(0.1):
                reloads.append(engine.command("reload")[0])
        thread = threading.Thread(target=reload)
        thread.start()
        clients = []
        try:
            for i in range(THOUSAND):
                client, status, _ = open_connect(engine.port, f"{'echo.test' if i % 2 else OUTSIDE}:{echo.port}", more)
                clients.append(client)
                self.assertEqual(status, 200, i)
            self.assertEqual(engine.counter("tunnels"), THOUSAND)
            turn = 0
            while turn < 3 or len(reloads) < 8:
                turn += 1
                for i, client in enumerate(clients):
                    client.send(pattern(200 + i % 1000, b"%d %d" % (turn, i)))
                for i, client in enumerate(clients):
                    self.assertEqual(client.exactly(200 + i % 1000), pattern(200 + i % 1000, b"%d %d" % (turn, i)), (turn, i))
        finally:
            stop.set()
            thread.join()
            for client in clients:
                client.close()
        self.assertEqual(set(reloads), {0})
        self.settled(engine)

    def test_a_stop_lets_tunnels_end(self):
        echo = self.kept(Echo())
        engine = self.proxy(top="timeouts: { drain: 20s }")
        client, _, _ = open_connect(engine.port, echo.address)
        stopping = threading.Thread(target=engine.command, args=("stop",))
        stopping.start()
        with client:
            wait_for("the listener to close", lambda: not self.listens(engine.port))
            client.send(b"still here")
            self.assertEqual(client.exactly(10), b"still here")
        stopping.join(SLOW * 2)
        wait_for("the engine to end", engine.ended, SLOW * 2)

    def test_but_not_for_ever(self):
        echo = self.kept(Echo())
        engine = self.proxy(top="timeouts: { drain: 500ms }")
        client, _, _ = open_connect(engine.port, echo.address)
        with client:
            engine.command("stop")
            wait_for("the engine to end", engine.ended, SLOW * 2)
            self.assertTrue(client.closed())

    def test_a_reload_of_the_lists_keeps_tunnels_that_stand(self):
        echo = self.kept(Echo())
        engine = self.proxy()
        client, _, _ = open_connect(engine.port, echo.address)
        with open(engine.path) as file:
            text = file.read()
        with open(engine.path, "w") as file:
            file.write(text + f"  deny: [ {OUTSIDE} ]\n" if text.rstrip().endswith("]") else text.replace("forward-proxy:\n", f"forward-proxy:\n  deny: [ {OUTSIDE} ]\n"))
        code, out, err = engine.command("reload")
        self.assertEqual(code, 0, out + err)
        with client:
            client.send(b"kept")
            self.assertEqual(client.exactly(4), b"kept")
        self.assertEqual(connect_status(engine.port, echo.address).status, 403)

    @staticmethod
    def listens(port):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        except OSError:
            return False


class Limits(ForwardScene):
    def test_a_user_has_only_so_much_at_once(self):
        echo, site = self.kept(Echo()), self.site(named("in"))
        engine = self.proxy("limits: { per-user: 3 }", users=True)
        joe, ann = [authorization("joe", "open sesame")], [authorization("Ann", "a:b")]
        tunnels = [open_connect(engine.port, echo.address, joe) for _ in range(3)]
        self.assertEqual([status for _, status, _ in tunnels], [200] * 3)
        answer = get(engine.port, f"http://{site.address}/", joe)
        self.assertEqual(answer.status, 429)
        self.assertIn(b"3", answer.body)
        self.assertEqual(connect_status(engine.port, echo.address, joe).status, 429)
        self.assertEqual(get(engine.port, f"http://{site.address}/", ann).status, 200, "others do not pay for it")
        tunnels[0][0].close()
        wait_for("his place to be free", lambda: get(engine.port, f"http://{site.address}/", joe).status == 200)
        for client, _, _ in tunnels:
            client.close()
        self.assertGreaterEqual(engine.counter("forward_limited"), 2)

    def test_where_there_are_no_users_a_client_address_has(self):
        echo = self.kept(Echo())
        engine = self.proxy("limits: { per-user: 2 }")
        tunnels = [open_connect(engine.port, echo.address) for _ in range(2)]
        self.assertEqual(connect_status(engine.port, echo.address).status, 429)
        with Client(engine.port, source="127.0.0.9") as other:
            other.send(f"CONNECT {echo.address} HTTP/1.1\r\nHost: {echo.address}\r\n\r\n".encode())
            self.assertEqual(other.head()[0], 200)
        for client, _, _ in tunnels:
            client.close()

    def test_places_come_back_however_it_ends(self):
        echo = self.kept(Echo())
        engine = self.proxy("limits: { per-user: 4 }", users=True)
        joe = [authorization("joe", "open sesame")]
        for i in range(60):
            client, status, _ = open_connect(engine.port, echo.address if i % 3 else f"{OUTSIDE}:{free_port()}", joe)
            self.assertIn(status, (200, 502), i)
            (client.reset if i % 2 else client.close)()
            wait_for("the tunnel to end", lambda: engine.counter("tunnels") == 0)

    def test_clients_of_other_networks_may_not(self):
        site = self.site(named("in"))
        engine = self.proxy("clients: [ 127.0.0.8/30 ]")
        self.assertEqual(get(engine.port, f"http://{site.address}/").status, 403)
        self.assertEqual(connect_status(engine.port, site.address).status, 403)
        with Client(engine.port, source="127.0.0.9") as client:
            client.send_request(f"http://{site.address}/", headers=[f"Host: {site.address}"])
            self.assertEqual(client.response().body, b"in")
        self.assertEqual(len(site.requests), 1)


if __name__ == "__main__":
    unittest.main()
