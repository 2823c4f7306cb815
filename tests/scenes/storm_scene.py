"""Everything at once: hedges, retries by status and time, limits, a queue, cookies, connections that are warmed and borrowed, slow starts and capped
loads, over two workers; origins that fail as dice have it, clients that leave when they like, and an operator who reloads and changes servers meanwhile.

Nothing is asked of single requests but that what says it is whole is. In the end everything that was taken must have been given back."""
import collections
import os
import random
import threading
import time
import unittest

from stage import Scene, wait_for

REQUESTS, CONNECTIONS, RETRIES = 16, 14, 6
SKEW = 6  # gauges of two workers are not read at one moment
SECONDS = 7
POOL = """
pin: false
workers: 2
routes: [ { pool: app } ]
pools:
  app:
    servers: [ %s ]
    %s
    timeouts: { connect: 300ms, first-byte: 400ms, between: 400ms, total: 1s }
    retries: 2
    retry: { causes: [ connect, closed, timeout, malformed, 502, 503 ], per-try: 60ms, budget: none }
    hedge: { percentile: 60, after: 3ms }
    limits: { requests: %d, connections: %d, retries: %d }
    queue: { max: 12, wait: 200ms }
    sticky: { cookie: edge }
    keep-alive: { warm: 3, borrow: on, idle: 300ms }
    slow-start: 1s
    panic-threshold: 40 %%
    passive-health: { fail-after: 3, back-off: 50ms, back-off-max: 400ms, status: 500-599, max-ejected: 70 %% }
"""
BALANCES = ("balance: consistent-hash\n    hash-balance: ring\n    load-cap: 125 %", "balance: peak-ewma", "balance: least-load", "balance: consistent-hash\n    load-cap: 150 %")


class Storm(Scene):
    def setUp(self):
        self.seed = int(os.environ.get("SEED", random.randrange(1 << 32)))
        self.over = threading.Event()
        self.found, self.wrong = collections.Counter(), []
        print(f"storm: SEED={self.seed}")

    def dice(self, name):
        return random.Random(f"{self.seed} {name}")

    def script(self, number):
        dice = self.dice(f"origin {number}")
        def run(exchange):
            fate = "well" if self.over.is_set() else dice.choices(
                ("well", "slow", "late", "close", "reset", "503", "half", "nonsense", "interim", "eager", "leave"), (60, 8, 2, 4, 4, 6, 3, 2, 4, 3, 4))[0]
            if fate in ("slow", "late"):
                time.sleep(dice.uniform(0, 0.05 if fate == "slow" else 0.6))
            if fate == "close":
                return False
            if fate == "reset":
                return exchange.reset()
            if fate == "eager" or (exchange.fields("Expect") and dice.random() < 0.5):
                exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nwhole")
                return False
            if exchange.fields("Expect") or fate == "interim":
                exchange.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
            if exchange.body() is None:
                return False
            if fate == "nonsense":
                exchange.send(b"HTTP/1.1 two hundred\r\n\r\n")
                return False
            if fate == "503":
                exchange.send(b"HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno")
                return None
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + (b"who" if fate == "half" else b"whole"))
            return False if fate in ("half", "leave") else None
        return run

    # ---- Those who act ----------------------------------------------------------------------------------------------------

    def ask(self, engine, dice):
        method = dice.choice(("GET", "GET", "GET", "HEAD", "PUT", "POST"))
        body = b"x" * dice.randrange(1, 3000) if method in ("PUT", "POST") else b""
        headers = [f"Cookie: edge={self.cookie}"] if dice.random() < 0.3 and self.cookie else []
        if body and dice.random() < 0.3:
            headers.append("Expect: 100-continue")
        with engine.connect(20) as client:
            for _ in range(dice.randrange(1, 8)):
                client.send_request(f"/{dice.randrange(50)}", method, headers, body)
                if dice.random() < 0.15:
                    time.sleep(dice.choice((0, 0.001, 0.01, 0.05)))
                    client.reset() if dice.random() < 0.5 else client.close()
                    self.found["left"] += 1
                    return
                response = client.response(method)
                self.found[response.status if response.complete else "cut"] += 1
                if response.status == 200 and response.complete and method != "HEAD" and response.body != b"whole":
                    self.wrong.append((method, response.body))
                cookie = response.field("Set-Cookie")
                self.cookie = cookie.split(";")[0][5:] if cookie else self.cookie
                if not response.complete or response.field("Connection") == "close":
                    return

    def client(self, engine, number):
        dice = self.dice(f"client {number}")
        while not self.over.is_set():
            try:
                self.ask(engine, dice)
            except (EOFError, ConnectionError):
                self.found["closed"] += 1
            except Exception as e:
                self.wrong.append(repr(e))

    def text(self, servers, balance):
        first = [f"{{ address: {s}, max-connections: 6 }}" for s in servers[:2]]
        rest = [f"{{ address: {s}, group: {i % 2}, weight: {i + 1} }}" for i, s in enumerate(servers[2:])]
        return POOL % (", ".join(first + rest), balance, REQUESTS, CONNECTIONS, RETRIES)

    def operate(self, engine, dice, addresses):
        act, server = dice.randrange(7), dice.choice(addresses)
        if act < 2:
            engine.write(self.text(dice.sample(addresses, dice.randrange(3, 6)), dice.choice(BALANCES)))
            engine.command("reload")
        elif act == 2:
            engine.command("server", dice.choice(("add", "remove")), *dice.choice((("app", server), (f"app/{server}",))))
        elif act == 3:
            engine.command("server", "weight", f"app/{server}", str(dice.randrange(1, 20)))
        elif act == 4:
            engine.command("server", dice.choice(("up", "down", "auto", "auto")), f"app/{server}")
        else:
            engine.command(dice.choice(("drain", "undrain", "undrain")), server)

    # ---- The story --------------------------------------------------------------------------------------------------------

    def test_everything_at_once_gives_everything_back(self):
        self.cookie = None
        addresses = [self.origin(self.script(i)).address for i in range(6)]
        engine = self.weir(self.text(addresses[:4], BALANCES[0]))
        threads = [threading.Thread(target=self.client, args=(engine, i), daemon=True) for i in range(24)]
        for thread in threads:
            thread.start()
        dice, end = self.dice("operator"), time.monotonic() + SECONDS
        while time.monotonic() < end:
            self.operate(engine, dice, addresses)
            self.assertFalse(engine.ended(), engine.log()[-4000:])
            servers = engine.json("pools")["servers"]
            self.assertLessEqual(sum(s["open"] for s in servers), CONNECTIONS + SKEW)
            self.assertLessEqual(sum(s["busy"] for s in servers), REQUESTS + RETRIES + SKEW)
        self.over.set()
        for thread in threads:
            thread.join(30)
            self.assertFalse(thread.is_alive(), "a client got no answer")
        self.assertEqual(self.wrong, [], self.found)
        self.assertGreater(self.found[200], 100, self.found)
        self.assertTrue(all(n in (200, 502, 503, 504, 100) or isinstance(n, str) for n in self.found), self.found)
        wait_for("all to be given back", lambda: (engine.counter("in_flight"), engine.counter("queued")) == (0, 0))
        wait_for("servers to be left", lambda: all(s["busy"] == 0 for s in engine.json("pools")["servers"]))
        wait_for("connections to be kept or closed", lambda: all(s["open"] == s["idle"] for s in engine.json("pools")["servers"]))
        self.all_places_are_free(engine, addresses)

    def all_places_are_free(self, engine, addresses):
        """As many requests at once as there are places find one each, without a queue."""
        for address in addresses:
            engine.command("undrain", address)
            engine.command("server", "auto", f"app/{address}")
        plain = (POOL % (", ".join(addresses), "balance: round-robin", REQUESTS, REQUESTS, RETRIES)).replace("max: 12, wait: 200ms", "max: 0")
        engine.write("".join(line for line in plain.splitlines(True) if "hedge" not in line and "retry:" not in line and "warm:" not in line and "timeouts" not in line))
        self.assertEqual(engine.command("reload")[0], 0)
        before = engine.counter("pool_full")
        clients = [engine.connect(20) for _ in range(REQUESTS)]
        for client in clients:
            client.send_request()
        self.assertEqual(collections.Counter(client.response().status for client in clients), {200: REQUESTS})
        self.assertEqual(engine.counter("pool_full"), before)
        for client in clients:
            client.close()


if __name__ == "__main__":
    unittest.main()
