"""Bulk leaves room for small requests: eight downloads without end on one worker, and a thousand small requests beside them.

How long the small ones wait is measured by perf/load/run (fair-2000). Here is what does not depend on the machine: they are all answered while every download
goes on, and in one turn of the worker's loop not much more is moved than a turn's budget.
"""
import socket
import threading
import unittest

from stage import SLOW, Scene, wait_for

FLOWS = 8
SMALL = 1000
TURN_BYTES = 1024 * 1024  # what a worker moves in a turn, for all its flows together, before it looks at others
BLOCK = b"\xa5" * (1024 * 1024)
ENDLESS = 1 << 40


def script(exchange):
    exchange.body()
    if not exchange.path.startswith("/bulk"):
        text = exchange.path.encode()
        return exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(text) + text)
    exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % ENDLESS)
    while True:
        exchange.send(BLOCK)


class Download(threading.Thread):
    """Reads an answer without end until it is told to stop."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.socket = socket.create_connection(("127.0.0.1", port), SLOW)
        self.socket.sendall(b"GET /bulk HTTP/1.1\r\nHost: scene\r\n\r\n")
        self.bytes, self.over = 0, False
        self.start()

    def run(self):
        room = bytearray(len(BLOCK))
        try:
            while not self.over:
                count = self.socket.recv_into(room)
                if not count:
                    return
                self.bytes += count
        except OSError:
            pass

    def stop(self):
        self.over = True
        self.join()
        self.socket.close()


class Fairness(Scene):
    def test_small_requests_pass_beside_downloads_without_end(self):
        engine = self.weir(f"workers: 1\npin: false\nroutes: [ {{ pool: app }} ]\npools: {{ app: {{ servers: [ {self.origin(script).address} ] }} }}\n")
        downloads = [Download(engine.port) for _ in range(FLOWS)]
        for download in downloads:
            self.addCleanup(download.stop)
        wait_for("every download to be under way", lambda: all(download.bytes > 4 * len(BLOCK) for download in downloads), 3 * SLOW)
        before, moved = engine.json("status"), [download.bytes for download in downloads]
        with engine.connect() as client:
            for number in range(SMALL):
                client.send_request(f"/{number}")
                response = client.response()
                self.assertEqual((response.status, response.body), (200, b"/%d" % number))
        after = engine.json("status")
        for download, then in zip(downloads, moved):
            wait_for("every download to go on", lambda: download.bytes > then + len(BLOCK))
        spliced, turns = after["splice_bytes"] - before["splice_bytes"], after["loop_turns"] - before["loop_turns"]
        self.assertGreater(spliced, 0)
        self.assertLessEqual(spliced / turns, 2 * TURN_BYTES, (spliced, turns))
        self.assertEqual(after["responses_5xx"], 0)


if __name__ == "__main__":
    unittest.main()
