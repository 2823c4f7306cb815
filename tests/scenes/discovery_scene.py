"""Names of servers, followed while requests go on: a scripted name server whose answers change, vanish, lie and grow."""
import os
import shutil
import socket
import tempfile
import threading
import time
import unittest

from dns import AAAA, DnsServer
from servers_scene import Load, servers
from stage import Origin, Scene, free_port, named, wait_for
from tls_certificates import certificates
from tls_props import TlsClient, TlsScene, client_context

TOP = "workers: 2\npin: false\ndns: { servers: [ %s ], ttl-min: 1s, timeout: 300ms, tries: 2%s }\nroutes: [ { pool: app } ]\n"


class Names(Scene):
    def dns(self, **more):
        dns = DnsServer(**more)
        self.addCleanup(dns.stop)
        return dns

    def pair(self):
        """Two origins on one port, of 127.0.0.1 and 127.0.0.2."""
        return [self.on(a, self.port) for a in ("127.0.0.1", "127.0.0.2")]

    def setUp(self):
        self.port = free_port()

    def on(self, address, port, script=None):
        origin = Origin(script or named(address), host=address, port=port)
        self.addCleanup(origin.stop)
        return origin

    def engine(self, dns, servers=None, pool="", more="", top="", **options):
        servers = servers or f"\"app.test:{self.port}\""
        return self.weir(TOP % (dns.address, more) + top + f"pools: {{ app: {{ servers: [ {servers} ]{pool} }} }}\n", **options)

    def bodies(self, engine, count=8):
        return {(r.status, r.body) for r in (engine.get() for _ in range(count))}

    def served_by(self, engine, *addresses):
        want = {(200, a.encode()) for a in addresses}
        wait_for(f"requests to go to {addresses}", lambda: self.bodies(engine) == want)

    def addresses(self, engine):
        return sorted(servers(engine))


class Follow(Names):
    def test_a_change_under_load_fails_no_request(self):
        self.pair()
        dns = self.dns()
        dns.set("app.test", "127.0.0.1")
        engine = self.engine(dns)
        with Load(engine) as load:
            for addresses in (("127.0.0.2",), ("127.0.0.1", "127.0.0.2"), ("127.0.0.1",), ("127.0.0.2",)):
                dns.set("app.test", *addresses)
                self.served_by(engine, *addresses)
        self.assertEqual(load.failures, [])
        self.assertGreater(len(load.bodies), 1)

    def test_every_address_is_a_server_called_by_its_name(self):
        self.pair()
        dns = self.dns()
        dns.set("app.test", "127.0.0.1", "127.0.0.2")
        engine = self.engine(dns)
        found = servers(engine)
        self.assertEqual(sorted(found), [f"127.0.0.1:{self.port}", f"127.0.0.2:{self.port}"])
        self.assertEqual({s["name"] for s in found.values()}, {f"app.test:{self.port}"})
        self.assertIn(f"app.test:{self.port}", engine.command("pools")[1])
        self.assertEqual(engine.command("drain", f"app/app.test:{self.port}")[0], 0)
        self.assertEqual({s["state"] for s in servers(engine).values()}, {"drained"})
        self.assertEqual(engine.command("server", "remove", f"app/127.0.0.1:{self.port}")[0], 0)
        engine.command("undrain", f"app/127.0.0.2:{self.port}")
        self.assertEqual(self.bodies(engine), {(200, b"127.0.0.2")})

    def test_a_name_that_appears_after_the_start(self):
        self.pair()
        dns = self.dns()
        engine = self.engine(dns)
        self.assertEqual(engine.get().status, 503)
        self.assertEqual([s["state"] for s in servers(engine).values()], ["no-address"])
        dns.set("app.test", "127.0.0.1")
        self.served_by(engine, "127.0.0.1")

    def test_silent_name_servers_hold_up_no_start(self):
        dns = self.dns()
        dns.mood = "silent"
        before = time.monotonic()
        engine = self.engine(dns)
        self.assertEqual(engine.get().status, 503)
        self.assertLess(time.monotonic() - before, 9)
        dns.set("app.test", "127.0.0.1")
        self.pair()
        dns.mood = "well"
        self.served_by(engine, "127.0.0.1")

    def test_the_last_answer_serves_while_name_servers_are_dead_or_lie(self):
        self.pair()
        dns = self.dns()
        dns.set("app.test", "127.0.0.1")
        engine = self.engine(dns)
        for mood in ("silent", "garbage", "servfail"):
            dns.mood = mood
            asked = dns.count("app.test")
            wait_for("further questions", lambda: dns.count("app.test") > asked + 4, 30)
            self.assertEqual(self.bodies(engine), {(200, b"127.0.0.1")})
        dns.set("app.test", "127.0.0.2")
        dns.mood = "well"
        wait_for("the new answer", lambda: self.bodies(engine) == {(200, b"127.0.0.2")}, 40)

    def test_or_refuse_and_come_back(self):
        self.pair()
        dns = self.dns()
        dns.set("app.test", "127.0.0.1")
        engine = self.engine(dns)
        dns.stop()
        wait_for("it to be seen", lambda: "the last answer is used" in engine.log(), 20)
        self.assertEqual(self.bodies(engine), {(200, b"127.0.0.1")})
        again = self.dns(port=dns.port)
        again.set("app.test", "127.0.0.2")
        wait_for("the new answer", lambda: self.bodies(engine) == {(200, b"127.0.0.2")}, 40)

    def test_a_name_that_is_gone_keeps_its_addresses(self):
        self.pair()
        dns = self.dns()
        dns.set("app.test", "127.0.0.1")
        engine = self.engine(dns)
        dns.gone("app.test")
        wait_for("it to be seen", lambda: "does not resolve" in engine.log())
        self.assertEqual(self.bodies(engine), {(200, b"127.0.0.1")})

    def test_or_loses_them_when_the_file_says_so(self):
        self.pair()
        dns = self.dns()
        dns.set("app.test", "127.0.0.1")
        engine = self.engine(dns, more=", keep-stale: 1s")
        dns.gone("app.test")
        wait_for("503", lambda: engine.get().status == 503)
        dns.set("app.test", "127.0.0.1")
        self.served_by(engine, "127.0.0.1")

    def test_a_server_that_left_without_an_address_comes_back_with_one(self):
        """Under its name it had none; then its addresses stood for it, and as there is only one it is called by its name again."""
        self.pair()
        dns = self.dns()
        dns.set("app.test", "127.0.0.1")
        engine = self.engine(dns, more=", keep-stale: 1s")
        dns.gone("app.test")
        wait_for("503", lambda: engine.get().status == 503)
        dns.set("app.test", "127.0.0.1", "127.0.0.2")
        self.served_by(engine, "127.0.0.1", "127.0.0.2")
        with Load(engine) as load:
            dns.set("app.test", "127.0.0.2")
            self.served_by(engine, "127.0.0.2")
        self.assertEqual(load.failures, [])

    def test_of_200_addresses_64_are_taken(self):
        dns = self.dns()
        dns.set("app.test", *(f"127.9.{i // 100}.{i % 100 + 1}" for i in range(200)))
        engine = self.engine(dns)
        found = self.addresses(engine)
        self.assertEqual(len(found), 64)
        self.assertEqual(found, sorted(f"127.9.0.{i + 1}:{self.port}" for i in range(64)))

    def test_records_of_a_service(self):
        ports = [free_port() for _ in range(3)]
        for i, port in enumerate(ports):
            self.on("127.0.0.1", port, named(str(i)))
        dns = self.dns()
        dns.set("a.test", "127.0.0.1")
        dns.set("b.test", "127.0.0.1")
        dns.service("_http._tcp.app.test", (10, 1000, ports[0], "a.test"), (10, 3000, ports[1], "b.test"), (20, 5, ports[2], "a.test"),
                    (20, 1, 80, "bad name.test"), (30, 1, 80, "127.0.0.1"))
        engine = self.engine(dns, servers='"srv:_http._tcp.app.test"')
        found = servers(engine)
        self.assertEqual({a: (s["weight"], s["group"]) for a, s in found.items()},
                         {f"a.test:{ports[0]}": (85, 0), f"b.test:{ports[1]}": (256, 0), f"a.test:{ports[2]}": (5, 1)})
        self.assertEqual(engine.get().status, 200)
        dns.service("_http._tcp.app.test", (10, 0, ports[2], "b.test"))
        self.served_by(engine, "2")

    def test_checks_do_not_hold_against_a_server_that_it_had_no_address(self):
        self.pair()
        dns = self.dns()
        engine = self.engine(dns, pool=", health: { path: /, interval: 100ms, rise: 100, fall: 1 }")
        time.sleep(0.5)
        dns.set("app.test", "127.0.0.1")
        self.served_by(engine, "127.0.0.1")

    def test_an_end_with_many_checks_and_names(self):
        """Their timers stand in one wheel: what is freed first leaves nothing behind there."""
        dns = self.dns()
        names = [f"n{i}.test" for i in range(40)]
        for name in names:
            dns.set(name, *(f"127.9.0.{i + 1}" for i in range(20)))
        engine = self.engine(dns, servers=", ".join(f"'{name}:{self.port}'" for name in names), pool=", health: { interval: 1s, path: / }")
        wait_for("answers", lambda: len(self.addresses(engine)) == 20)
        self.assertEqual(engine.command("stop", "--now")[0], 0)
        self.assertEqual(engine.process.wait(20), 0)

    def test_an_alias_is_followed(self):
        self.pair()
        dns = self.dns()
        dns.alias("app.test", "real.test")
        dns.set("real.test", "127.0.0.2")
        self.served_by(self.engine(dns), "127.0.0.2")

    def test_the_hosts_file_needs_no_name_server(self):
        self.on("127.0.0.1", self.port)
        dns = self.dns()
        dns.mood = "silent"
        engine = self.engine(dns, servers=f"\"localhost:{self.port}\"")
        self.assertEqual(self.bodies(engine), {(200, b"127.0.0.1")})

    def test_a_reload_waits_for_new_names(self):
        self.pair()
        dns = self.dns()
        dns.set("app.test", "127.0.0.1")
        dns.set("other.test", "127.0.0.2")
        engine = self.engine(dns)
        self.assertEqual(self.bodies(engine), {(200, b"127.0.0.1")})
        engine.write(TOP % (dns.address, "") + f"pools: {{ app: {{ servers: [ \"other.test:{self.port}\" ] }} }}\n")
        code, out, err = engine.command("reload")
        self.assertEqual(code, 0, err)
        self.assertIn("other.test", out)
        self.assertEqual(self.bodies(engine), {(200, b"127.0.0.2")})
        asked = dns.count("app.test")
        time.sleep(2.5)
        self.assertLessEqual(dns.count("app.test"), asked + 2, "the old name is not followed any more")

    def test_a_reload_that_waits_for_names_is_told_of_a_stop(self):
        self.pair()
        dns = self.dns()
        dns.set("app.test", "127.0.0.1")
        engine = self.engine(dns)
        dns.mood = "silent"
        with open(engine.path) as file:
            text = file.read().replace("app.test", "other.test")
        with open(engine.path, "w") as file:
            file.write(text)
        said = {}
        asking = []
        for words in ("reload",), ("server", "add", "app", "127.0.0.3:1"):
            asking.append(threading.Thread(target=lambda words=words: said.update({words[0]: engine.command(*words)})))
            asking[-1].start()
            wait_for("it to be looked up", lambda: dns.count("other.test") > 0)
        time.sleep(0.1)  # for the second, which is seen nowhere while it stands in line; if it is late it is refused the same way
        with engine.connect() as client:  # holds the engine until it has answered
            client.send(b"GET / HTTP/1.1\r\n")
            self.assertEqual(engine.command("stop", "--deadline", "1s")[0], 0)
            [a.join() for a in asking]
        self.assertEqual([said[w][0] for w in ("reload", "server")], [75, 75], said)
        self.assertEqual(engine.process.wait(20), 0)

    def test_a_server_that_is_added_may_be_a_name(self):
        self.pair()
        dns = self.dns()
        dns.set("app.test", "127.0.0.1")
        dns.set("more.test", "127.0.0.2")
        engine = self.engine(dns)
        self.assertEqual(engine.command("server", "add", "app", f"more.test:{self.port}")[0], 0)
        self.served_by(engine, "127.0.0.1", "127.0.0.2")
        dns.set("more.test", "127.0.0.1")
        self.served_by(engine, "127.0.0.1")

    def test_what_was_added_and_stands_in_an_answer_too_is_removed_from_both(self):
        self.pair()
        dns = self.dns()
        dns.set("app.test", "127.0.0.1")
        engine = self.engine(dns, pool=", addresses: each")
        other = f"127.0.0.2:{self.port}"
        self.assertEqual(engine.command("server", "add", "app", other)[0], 0)
        dns.set("app.test", "127.0.0.1", "127.0.0.2")
        wait_for("the name to bring it too", lambda: servers(engine)[other].get("source") == "dns")
        self.assertEqual(engine.command("server", "remove", "app/" + other)[0], 0)
        self.assertEqual(servers(engine)[other]["state"], "removed")
        self.assertEqual(self.bodies(engine), {(200, b"127.0.0.1")})
        self.assertEqual(engine.command("server", "remove", "app/" + other)[0], 1)

    def test_addresses_that_no_server_has_are_no_answer(self):
        """Filtering name servers answer 0.0.0.0, which a connect takes for this very machine."""
        self.pair()
        dns = self.dns()
        dns.set("app.test", "127.0.0.1")
        engine = self.engine(dns)
        dns.set("app.test", "0.0.0.0")
        wait_for("it to be seen", lambda: "does not resolve" in engine.log())
        self.assertEqual(self.addresses(engine), [f"app.test:{self.port}"])
        self.assertEqual(self.bodies(engine), {(200, b"127.0.0.1")})
        dns.set("app.test", "127.0.0.2", "255.255.255.255", "224.0.0.1")
        self.served_by(engine, "127.0.0.2")

    def test_a_reload_and_commands_while_names_change(self):
        self.pair()
        dns = self.dns()
        dns.set("app.test", "127.0.0.1")
        engine = self.engine(dns)
        third = self.on("127.0.0.3", self.port).address
        with Load(engine, 3) as load:
            for i in range(12):
                dns.set("app.test", "127.0.0.1", *(["127.0.0.2"] if i % 2 else []))
                self.assertEqual(engine.command("reload")[0], 0)
                self.assertEqual(engine.command("server", "add", "app", third)[0], 0)
                self.assertEqual(engine.command("server", "remove", "app/" + third)[0], 0)
                time.sleep(0.2)
        self.assertEqual(load.failures, [])


class Tls(Names, TlsScene):
    """Pools that speak TLS, and listeners that do, while names move."""

    def test_each_address_is_asked_for_and_verified_by_the_name(self):
        certificate = certificates().ca.issue("app.test", "app.test")
        origins = [self.tls_origin(named(a), certificate=certificate, host=a, port=self.port) for a in ("127.0.0.1", "127.0.0.2")]
        dns = self.dns()
        dns.set("app.test", "127.0.0.1")
        engine = self.engine(dns, pool=f", addresses: each, tls: {{ ca: {certificates().ca.path} }}")
        self.assertEqual(self.bodies(engine), {(200, b"127.0.0.1")})
        dns.set("app.test", "127.0.0.1", "127.0.0.2")
        self.served_by(engine, "127.0.0.1", "127.0.0.2")
        self.assertEqual({n for o in origins for n in o.names}, {"app.test"})

    def text(self, path):
        with open(path) as f:
            return f.read()

    def test_a_derived_configuration_reads_no_file(self):
        self.pair()
        folder = tempfile.mkdtemp(prefix="weir-names-")
        self.addCleanup(shutil.rmtree, folder, True)
        mine = certificates().ca.issue("mine", "scene.test")
        for what, path in (("chain", mine.chain), ("key", mine.key)):
            shutil.copy(path, os.path.join(folder, what))
        port, log = free_port(), os.path.join(folder, "access")
        dns = self.dns()
        dns.set("app.test", "127.0.0.1")
        engine = self.weir(f"log: {{ access: {log} }}\nlisteners:\n  - address: 127.0.0.1:{{port}}\n  - address: 127.0.0.1:{port}\n"
                           f"    tls: {{ certificates: [ {{ chain: {folder}/chain, key: {folder}/key }} ] }}\n" + TOP % (dns.address, "") +
                           f"pools: {{ app: {{ servers: [ 'app.test:{self.port}' ] }} }}\n")
        with TlsClient(port, context=client_context()) as kept:
            self.assertEqual(kept.ask("/").body, b"127.0.0.1")
            os.unlink(os.path.join(folder, "chain"))
            os.unlink(os.path.join(folder, "key"))
            os.rename(log, log + ".old")
            for _ in range(3):
                dns.set("app.test", "127.0.0.2")
                wait_for("the new address", lambda: kept.ask("/").body == b"127.0.0.2")
                dns.set("app.test", "127.0.0.1")
                wait_for("the old address", lambda: kept.ask("/").body == b"127.0.0.1")
            with TlsClient(port, context=client_context()) as other:
                self.assertEqual(other.ask("/after").body, b"127.0.0.1")
        wait_for("the line in the old file", lambda: "/after" in self.text(log + ".old"))
        self.assertFalse(os.path.exists(log))
        self.assertNotEqual(engine.command("reload")[0], 0)


class Connect(Names):
    """A server with several addresses."""

    def test_an_address_that_refuses_costs_nothing(self):
        self.on("127.0.0.2", self.port)
        dns = self.dns()
        dns.set("app.test", "127.0.0.1", "127.0.0.2")
        engine = self.engine(dns, pool=", addresses: any, retries: 0")
        self.assertEqual(self.addresses(engine), [f"app.test:{self.port}"])
        self.assertEqual(self.bodies(engine), {(200, b"127.0.0.2")})
        self.assertEqual(engine.server(f"app.test:{self.port}")["connect_failures"], 0)

    def test_ipv6_that_refuses_gives_way_to_ipv4(self):
        self.on("127.0.0.1", self.port)
        dns = self.dns()
        dns.set("app.test", "127.0.0.1", "::1")
        engine = self.engine(dns, pool=", retries: 0")
        self.assertEqual(self.bodies(engine), {(200, b"127.0.0.1")})
        self.assertTrue(any(kind == AAAA for _, kind in dns.asked))

    def silent(self, address):
        """A socket that takes no connection and refuses none: its queue is full."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, self.port))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(3)]
        for one in fillers:
            one.setblocking(False)
            one.connect_ex((address, self.port))
        for one in [listener] + fillers:
            self.addCleanup(one.close)

    def test_an_address_that_is_silent_is_overtaken(self):
        self.silent("127.0.0.1")
        self.on("127.0.0.2", self.port)
        dns = self.dns()
        dns.set("app.test", "127.0.0.1", "127.0.0.2")
        engine = self.engine(dns, pool=", addresses: any, retries: 0, timeouts: { connect: 20s }")
        self.assertEqual(self.bodies(engine), {(200, b"127.0.0.2")})

    def test_clients_that_leave_meanwhile_leave_nothing_behind(self):
        for address in ("127.0.0.1", "127.0.0.2", "127.0.0.3"):
            self.silent(address)
        dns = self.dns()
        dns.set("app.test", "127.0.0.1", "127.0.0.2", "127.0.0.3")
        engine = self.engine(dns, pool=", addresses: any, retries: 0, timeouts: { connect: 1s }")
        clients = [engine.connect() for _ in range(20)]
        for client in clients:
            client.send_request()
        for client in clients[:10]:
            client.reset()
        for client in clients[10:]:
            self.assertEqual(client.response().status, 502)
            client.close()
        wait_for("all to be closed", lambda: engine.server(f"app.test:{self.port}")["open"] == 0)

    def test_a_check_finds_the_address_that_answers(self):
        self.on("127.0.0.2", self.port)
        dns = self.dns()
        dns.set("app.test", "127.0.0.1", "127.0.0.2")
        engine = self.engine(dns, pool=", addresses: any, health: { path: /, interval: 100ms, rise: 1, fall: 1 }")
        wait_for("the check", lambda: engine.server(f"app.test:{self.port}")["checked"] == "up")

    def test_reloads_while_connections_are_opened_ahead(self):
        """Those outlive the configuration that they began with."""
        addresses = [f"127.0.0.{i}" for i in range(1, 7)]
        for address in addresses:
            self.silent(address)
        dns = self.dns()
        dns.set("app.test", *addresses)
        engine = self.engine(dns, pool=", addresses: any, keep-alive: { warm: 4 }, timeouts: { connect: 900ms }", top="congestion-control: cubic\ncontrol: { socket: \"{folder}/weir.sock\" }\n")
        for _ in range(25):
            self.assertEqual(engine.command("reload")[0], 0)
            time.sleep(0.02)

    def test_a_connection_that_was_in_use_when_the_name_changed_is_not_kept(self):
        release = threading.Event()
        self.addCleanup(release.set)
        def held(exchange):
            if exchange.path == "/held":
                release.wait(30)
            return named("127.0.0.1")(exchange)
        self.on("127.0.0.1", self.port, held)
        self.on("127.0.0.2", self.port)
        dns = self.dns()
        dns.set("app.test", "127.0.0.1")
        engine = self.engine(dns, pool=", addresses: any")
        clients = [engine.connect(30) for _ in range(8)]
        for client in clients:
            client.send_request("/held")
        wait_for("them to be under way", lambda: engine.counter("in_flight") == 8)
        dns.set("app.test", "127.0.0.2")
        wait_for("the new address", lambda: self.bodies(engine) == {(200, b"127.0.0.2")})
        release.set()
        for client in clients:
            self.assertEqual(client.response().body, b"127.0.0.1")
            client.close()
        self.assertEqual(self.bodies(engine, 16), {(200, b"127.0.0.2")})

    def test_a_changed_name_closes_what_was_kept(self):
        first = self.on("127.0.0.1", self.port)
        self.on("127.0.0.2", self.port)
        dns = self.dns()
        dns.set("app.test", "127.0.0.1")
        engine = self.engine(dns)
        self.assertEqual(self.bodies(engine), {(200, b"127.0.0.1")})
        dns.set("app.test", "127.0.0.2")
        wait_for("the new address", lambda: engine.get().body == b"127.0.0.2")
        self.assertEqual(self.bodies(engine), {(200, b"127.0.0.2")})
        self.assertEqual(self.addresses(engine), [f"app.test:{self.port}"])
        self.assertTrue(first.connections)


if __name__ == "__main__":
    unittest.main()
