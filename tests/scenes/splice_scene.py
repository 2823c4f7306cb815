"""Content and tunnels that move inside the kernel: every byte of them, both ways, by each mover and by copying, and however it ends."""
import contextlib
import fcntl
import hashlib
import os
import random
import signal
import socket
import struct
import termios
import threading
import time
import unittest

from stage import SLOW, Scene, ok, wait_for
from websocket_props import open_tunnel, switching

KIB, MIB = 1024, 1024 * 1024
BOUNDS = "limits: { body: 1GiB }\n"
SEED = int(os.environ.get("WEIR_SEED") or random.randrange(1 << 32))
WARM = 16 * MIB  # after that both kernels take much at a time
BLOCK = random.Random(SEED).randbytes(MIB + 4096)


def content(length, salt=0):
    """Bytes of which no two blocks are alike."""
    out = bytearray()
    while len(out) < length:
        at = (salt * 131 + len(out) // MIB * 17) % 4096
        out += BLOCK[at:at + MIB]
    return bytes(out[:length])


def digest(data):
    return hashlib.sha1(data).hexdigest()


def read_exactly(connection, length, pause=0.0, part=65536):
    data = bytearray()
    while len(data) < length:
        got = connection.recv(min(part, length - len(data)))
        if not got:
            break
        data += got
        if pause:
            time.sleep(pause)
    return bytes(data)


def abort(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def arrived(connection, data):
    """Sends what can be sent without waiting: so many bytes of it have reached the other side's kernel."""
    sent = 0
    try:
        while sent < len(data):
            sent += connection.send(memoryview(data)[sent:sent + 65536], socket.MSG_DONTWAIT)
    except BlockingIOError:
        pass
    time.sleep(0.2)
    return sent - struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, b"    "))[0]


def small_buffers(client):
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 200000)


def mirror(exchange):
    """Answers /N with N bytes, and says what it was sent."""
    length = int((exchange.fields("content-length") or ["0"])[0])
    if exchange.fields("expect"):
        exchange.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    taken, exchange.buffer = exchange.buffer[:length], exchange.buffer[length:]
    taken += read_exactly(exchange.connection, length - len(taken))
    if len(taken) < length:
        exchange.origin.cuts += 1
        return False
    size = int(exchange.path.split("/")[1])
    exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nTaken: %s\r\n\r\n" % (size, digest(taken).encode()))
    exchange.connection.sendall(content(size, size))
    return None


class Splicing(Scene):
    """How the engine is set is told by the classes below; descriptors are counted at the end of every story."""
    setting = None

    def setUp(self):
        if self.setting is None:
            self.skipTest("a base of others")
        print(f"WEIR_SEED={SEED}", flush=True) if self.setting == "poll" else None

    def play(self, script, **more):
        self.server = self.origin(script)
        self.server.cuts = 0
        self.engine = self.before(self.server, top=f"zero-copy: {self.setting}\nworkers: 1\npin: false\n{BOUNDS}", **more)
        self.descriptors, self.before_names = self.count(), self.names()

    def count(self):
        return sum(1 for fd in os.listdir(f"/proc/{self.engine.process.pid}/fd") if self.is_ours(fd))

    def names(self):
        folder, found = f"/proc/{self.engine.process.pid}/fd", []
        for fd in os.listdir(folder):
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                found.append((fd, os.readlink(f"{folder}/{fd}")))
        return found

    def is_ours(self, fd):
        """Pipes and connections: what a leak would be of."""
        try:
            name = os.readlink(f"/proc/{self.engine.process.pid}/fd/{fd}")
        except OSError:
            return False
        return name.startswith(("pipe:", "socket:"))

    def settled(self):
        """Nothing is left: no connection of a client, no pipe, no block."""
        self.server.stop()
        wait_for("requests to end", lambda: self.engine.counter("in_flight") == 0 and self.engine.counter("tunnels") == 0)
        wait_for("blocks to come back", lambda: self.engine.counter("blocks") == 0)
        try:
            wait_for("descriptors to be closed", lambda: self.count() <= self.descriptors, 20)
        except AssertionError:
            self.fail(f"{self.count()} descriptors, not {self.descriptors}: {self.engine.command('status')} {self.names()} {self.before_names}")

    def stopped(self):
        """The engine sleeps, and what happens meanwhile it will hear of at once."""
        self.engine.process.send_signal(signal.SIGSTOP)
        self.addCleanup(self.engine.process.send_signal, signal.SIGCONT)
        time.sleep(0.1)

    def was_spliced(self, at_least=1):
        moved = self.engine.counter("splice_bytes")
        if self.setting == "off":
            self.assertEqual(moved, 0)
        else:
            self.assertGreaterEqual(moved, at_least)

    def ask(self, client, size, sent=b"", more=()):
        if sent:
            client.send_request(f"/{size}", "POST", more, sent)
        else:
            client.send_request(f"/{size}", headers=more)

    def check(self, client, size, sent=b""):
        response = client.response()
        self.assertEqual((response.status, response.complete, len(response.body)), (200, True, size))
        self.assertEqual(digest(response.body), digest(content(size, size)))
        if sent:
            self.assertEqual(response.field("taken"), digest(sent))


class Content(Splicing):
    SIZES = (65535, 65536, 65537, 100000, 262143, 262144, 262145, 300001, MIB, 3 * MIB + 7)

    def test_every_size_arrives_both_ways_on_one_connection(self):
        self.play(mirror)
        with self.engine.connect() as client:
            for size in self.SIZES:
                self.ask(client, size, content(size, 5))
                self.check(client, size, content(size, 5))
                self.ask(client, size % 1000)
                self.check(client, size % 1000)
        self.was_spliced(2 * MIB)
        self.settled()

    def test_many_at_once(self):
        self.play(mirror)
        wrong = []

        def client(number):
            random_of = random.Random(SEED + number)
            try:
                with self.engine.connect(60) as one:
                    for _ in range(6):
                        size, sent = random_of.randrange(2 * MIB), content(random_of.randrange(2 * MIB), number)
                        self.ask(one, size, sent)
                        self.check(one, size, sent)
            except Exception as e:  # noqa: told below
                wrong.append(e)
        threads = [threading.Thread(target=client, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [], [line for line in self.engine.log().splitlines() if '"status":200' not in line or '"complete":true' not in line])
        self.was_spliced()
        self.settled()

    def test_a_slow_client_and_a_slow_origin(self):
        def slow(exchange):
            data = content(700000, 700000)
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 700000\r\n\r\n")
            for at in range(0, len(data), 50000):
                exchange.send(data[at:at + 50000])
                time.sleep(0.02)
        self.play(lambda exchange: slow(exchange) if exchange.path == "/slow" else mirror(exchange))
        with self.engine.connect() as client:
            client.send_request("/slow")
            self.check(client, 700000)
            small_buffers(client)
            self.ask(client, 6 * MIB)
            status, _ = client.head()
            self.assertEqual(status, 200)
            head = len(client.buffer)
            rest = client.buffer + read_exactly(client.socket, 6 * MIB - head, 0.001, 20000)
            self.assertEqual(digest(rest), digest(content(6 * MIB, 6 * MIB)))
            client.buffer = b""
            self.ask(client, 10)
            self.check(client, 10)
        self.was_spliced()
        self.settled()

    def test_a_slow_origin_takes_a_request(self):
        def slow(exchange):
            exchange.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 200000)
            time.sleep(0.3)
            return mirror(exchange)
        self.play(slow)
        with self.engine.connect() as client:
            self.ask(client, 5, content(4 * MIB, 9))
            self.check(client, 5, content(4 * MIB, 9))
        self.settled()

    def test_a_request_right_behind_spliced_content(self):
        self.play(mirror)
        with self.engine.connect() as client:
            sent = content(2 * MIB, 3)
            head = b"POST /%d HTTP/1.1\r\nHost: scene\r\nContent-Length: %d\r\n\r\n"
            threading.Thread(target=client.socket.sendall, daemon=True, args=(
                head % (2 * MIB, len(sent)) + sent + head % (7, 100000) + sent[:100000] + b"GET /8 HTTP/1.1\r\nHost: scene\r\n\r\n",)).start()
            self.check(client, 2 * MIB, sent)
            self.check(client, 7, sent[:100000])
            self.check(client, 8)
        self.settled()

    def test_an_origin_that_sends_more_than_it_said(self):
        def more(exchange):
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + content(1000000, 1000000) + b"HTTP/1.1 200 EVIL\r\n\r\n")
        self.play(more)
        with self.engine.connect() as client:
            for _ in range(3):
                self.ask(client, 1000000)
                self.check(client, 1000000)
        self.settled()

    def test_content_that_is_cut_never_looks_complete(self):
        for how in ("end", "reset"):
            def cut(exchange, how=how):
                exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + content(1500000))
                time.sleep(0.1)
                return exchange.reset() if how == "reset" else False
            self.play(cut)
            with self.engine.connect() as client:
                client.send_request("/")
                try:
                    got = client.response()
                    self.assertFalse(got.complete)
                except (ConnectionResetError, AssertionError, EOFError):
                    pass
            self.assertEqual(self.engine.counter("response_cuts"), 1)
            self.settled()

    def test_a_client_that_leaves_while_it_is_sent_content(self):
        self.play(mirror)
        for way in ("end", "reset"):
            client = self.engine.connect()
            small_buffers(client)
            self.ask(client, 20 * MIB)
            read_exactly(client.socket, 300000)
            abort(client.socket) if way == "reset" else client.close()
        wait_for("both to be noticed", lambda: self.engine.counter("client_aborts") == 2)
        self.settled()

    def test_a_client_that_leaves_while_it_sends(self):
        self.play(mirror)
        for way in ("end", "half", "reset"):
            client = self.engine.connect()
            client.send(b"POST /5 HTTP/1.1\r\nHost: scene\r\nContent-Length: 3000000\r\n\r\n" + content(1500000))
            time.sleep(0.05)
            if way == "reset":
                abort(client.socket)
            elif way == "half":
                client.socket.shutdown(socket.SHUT_WR)
                self.assertEqual(self.rest(client.socket), b"")
                client.close()
            else:
                client.close()
        wait_for("all to be noticed", lambda: self.engine.counter("client_aborts") == 3)
        wait_for("the origin to be told", lambda: self.server.cuts + sum(c.fileno() < 0 for c in self.server.connections) >= 3)
        self.settled()

    def rest(self, connection):
        try:
            data = b""
            while True:
                part = connection.recv(65536)
                if not part:
                    return data
                data += part
        except ConnectionResetError:
            return data

    def test_an_origin_that_leaves_while_it_is_sent_content(self):
        for how in ("end", "reset"):
            def leave(exchange, how=how):
                read_exactly(exchange.connection, 200000)
                return exchange.reset() if how == "reset" else False
            self.play(leave)
            with self.engine.connect() as client:
                client.send(b"POST /5 HTTP/1.1\r\nHost: scene\r\nContent-Length: 30000000\r\n\r\n")
                self.push(client, content(30000000))
                self.assertEqual(client.head()[0], 502)
            self.assertEqual(len(self.server.requests), 1)  # content that is gone is not sent again
            self.settled()

    def push(self, client, data):
        def run():
            try:
                client.socket.sendall(data)
            except OSError:
                pass
        threading.Thread(target=run, daemon=True).start()

    def test_an_early_answer_while_content_is_on_its_way(self):
        def early(exchange):
            read_exactly(exchange.connection, 500000)
            exchange.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbig\n")
            time.sleep(0.2)
            return False
        self.play(early)
        with self.engine.connect() as client:
            client.send(b"POST /5 HTTP/1.1\r\nHost: scene\r\nContent-Length: 30000000\r\n\r\n")
            self.push(client, content(600000))
            response = client.response()
            self.assertEqual((response.status, response.body), (413, b"big\n"))
        self.settled()

    def test_an_answer_while_content_still_goes_out(self):
        """Both at once: the origin echoes as it reads."""
        size = 3 * MIB

        def echo(exchange):
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            data, left = exchange.buffer, size
            exchange.buffer = b""
            while left:
                exchange.send(data)
                left -= len(data)
                data = exchange.connection.recv(65536) if left else b""
        self.play(echo)
        with self.engine.connect() as client:
            sent = content(size, 1)
            client.send(b"POST /5 HTTP/1.1\r\nHost: scene\r\nContent-Length: %d\r\n\r\n" % size)
            self.push(client, sent)
            self.assertEqual(digest(client.response().body), digest(sent))
        self.settled()

    def test_what_an_origin_said_before_it_broke_is_not_lost_with_what_it_is_sent(self):
        go, came = threading.Event(), []

        def early(exchange):
            read_exactly(exchange.connection, 100000)
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 90000000\r\n\r\n" + content(WARM))
            go.wait(SLOW)
            came.append(arrived(exchange.connection, content(20 * MIB, 7)))
            return exchange.reset()
        self.play(early)
        with self.engine.connect() as client:
            client.send(b"POST /5 HTTP/1.1\r\nHost: scene\r\nContent-Length: 90000000\r\n\r\n")
            self.push(client, content(60 * MIB))
            self.assertEqual(client.head()[0], 200)
            before = client.buffer + read_exactly(client.socket, WARM - len(client.buffer))
            self.assertEqual(digest(before), digest(content(WARM)))
            self.stopped()
            go.set()
            wait_for("the origin to have said what it can", lambda: came)
            time.sleep(0.2)
            self.engine.process.send_signal(signal.SIGCONT)
            rest = self.rest(client.socket)
            client.buffer = b""
            self.assertEqual(digest(rest), digest(content(len(rest), 7)))
        wait_for("all of it to be passed on", lambda: self.engine.counter("client_sent_bytes") >= WARM + came[0])  # our own reset may overtake it
        self.settled()

    def test_100_continue(self):
        self.play(mirror)
        with self.engine.connect() as client:
            client.send(b"POST /9 HTTP/1.1\r\nHost: scene\r\nExpect: 100-continue\r\nContent-Length: 1000000\r\n\r\n")
            self.assertEqual(client.head()[0], 100)
            client.send(content(1000000))
            self.check(client, 9, content(1000000))
            self.ask(client, 9)
            self.check(client, 9)
        self.was_spliced(900000)
        self.settled()

    def test_a_retry_happens_only_before_content_is_gone(self):
        first, second = self.origin(lambda exchange: False), self.origin(mirror)
        second.cuts = 0
        self.server = second
        self.engine = self.before(first, second, top=f"zero-copy: {self.setting}\nworkers: 1\npin: false\n")
        self.descriptors = self.count() + 2
        for _ in range(4):
            response = self.engine.get("/5", "PUT", (), content(300000))
            self.assertIn(response.status, (200, 502))
            if response.status == 200:
                self.assertEqual(response.field("taken"), digest(content(300000)))

    def test_a_reload_changes_how(self):
        self.play(mirror)
        with open(self.engine.path) as f:
            text = f.read()
        for setting in ("off", "poll", "ring", "auto", self.setting):
            with self.engine.connect() as client:
                small_buffers(client)
                self.ask(client, 5 * MIB)  # begins by the old, ends after the reload
                with open(self.engine.path, "w") as f:
                    f.write(text.replace(f"zero-copy: {self.setting}", f"zero-copy: {setting}"))
                code, out, err = self.engine.command("reload")
                self.assertEqual(code, 0, out + err)
                self.check(client, 5 * MIB)
                self.ask(client, MIB, content(MIB))
                self.check(client, MIB, content(MIB))
        self.settled()

    def test_a_stop_with_content_under_way(self):
        self.play(mirror)
        client = self.engine.connect()
        small_buffers(client)
        self.ask(client, 50 * MIB)
        read_exactly(client.socket, 400000)
        sender = self.engine.connect()
        sender.send(b"POST /5 HTTP/1.1\r\nHost: scene\r\nContent-Length: 3000000\r\n\r\n" + content(1500000))
        code, out, err = self.engine.command("stop", "--deadline", "300ms")
        self.assertEqual(code, 0, out + err)
        self.engine.process.wait(20)
        with self.assertRaises((ConnectionResetError, AssertionError)):
            self.assertEqual(len(read_exactly(client.socket, 50 * MIB)), 50 * MIB)
        client.close()
        sender.close()


class Tunnels(Splicing):
    def hold(self, handler):
        """An origin that switches and then does as it is told, in the tunnel."""
        def script(exchange):
            exchange.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 200000)
            exchange.send(switching(exchange))
            handler(exchange.connection)
            return False
        self.play(script)

    def tunnel(self):
        client = self.engine.connect(60)
        small_buffers(client)
        self.addCleanup(client.close)
        open_tunnel(client)
        client.socket.settimeout(None)  # else a send without waiting waits all the same, in poll(2), and a close is put off by it
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 60, 0))
        return client

    def send_later(self, connection, data, shut=True):
        """By a thread that never stands in the kernel: what is closed under it is closed."""
        def run():
            at, view = 0, memoryview(data)
            try:
                while at < len(data):
                    try:
                        at += connection.send(view[at:at + 262144], socket.MSG_DONTWAIT)
                    except BlockingIOError:
                        time.sleep(0.002)
                if shut:
                    connection.shutdown(socket.SHUT_WR)
            except OSError:
                pass
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread

    def everything(self, connection):
        found, length = hashlib.sha1(), 0
        try:
            while True:
                part = connection.recv(65536)
                if not part:
                    return found.hexdigest(), length, "end"
                found.update(part)
                length += len(part)
        except ConnectionResetError:
            return found.hexdigest(), length, "reset"

    def test_bulk_both_ways_at_once_with_half_closes(self):
        heard = []

        def handler(connection):
            sender = self.send_later(connection, content(9 * MIB, 2))
            heard.append(self.everything(connection))
            sender.join(60)
        self.hold(handler)
        client = self.tunnel()
        self.send_later(client.socket, content(7 * MIB, 1))
        self.assertEqual(self.everything(client.socket), (digest(content(9 * MIB, 2)), 9 * MIB, "end"))
        wait_for("the origin", lambda: heard)
        self.assertEqual(heard, [(digest(content(7 * MIB, 1)), 7 * MIB, "end")])
        self.was_spliced(MIB)
        wait_for("the tunnel to end", lambda: self.engine.counter("tunnels_closed") == 1)
        self.settled()

    def test_a_half_close_with_bytes_that_nobody_takes_yet(self):
        """What lies in the pipe at the end is delivered, and then the end."""
        go, heard = threading.Event(), []

        def handler(connection):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 200000)
            go.wait(SLOW)
            heard.append(self.everything(connection))
            connection.sendall(b"farewell")
        self.hold(handler)
        client = self.tunnel()
        thread = self.send_later(client.socket, content(12 * MIB, 4))
        time.sleep(0.4)
        go.set()
        thread.join(30)
        self.assertEqual(self.everything(client.socket)[1:], (8, "end"))
        self.assertEqual(heard, [(digest(content(12 * MIB, 4)), 12 * MIB, "end")])
        wait_for("the tunnel to end", lambda: self.engine.counter("tunnels_closed") == 1)
        self.settled()

    def test_a_reset_with_full_pipes_the_other_way(self):
        """Neither side takes anything, both have sent much; then one resets: the other is reset too, and nothing is left."""
        for who in ("client", "origin"):
            gone = threading.Event()

            def handler(connection, who=who, gone=gone):
                self.send_later(connection, content(20 * MIB, 2), False)
                gone.wait(SLOW)
                if who == "origin":
                    abort(connection)
                else:
                    self.everything(connection)
            self.hold(handler)
            client = self.tunnel()
            self.send_later(client.socket, content(20 * MIB, 1), False)
            time.sleep(0.3)
            gone.set()
            if who == "client":
                abort(client.socket)
            else:
                self.everything(client.socket)
            try:
                wait_for("the tunnel to end", lambda: self.engine.counter("tunnels_reset") == 1)
            except AssertionError:
                self.fail(f"{who} {[(k, v) for k, v in self.engine.json('status').items() if k.startswith('tunnel')]}")
            self.settled()

    def test_what_a_side_said_before_it_broke_is_not_lost_with_what_it_is_sent(self):
        go, came = threading.Event(), []

        def handler(connection):
            connection.sendall(content(WARM))
            go.wait(SLOW)
            came.append(arrived(connection, content(20 * MIB, 7)))
            abort(connection)
        self.hold(handler)
        client = self.engine.connect(60)
        self.addCleanup(client.close)
        open_tunnel(client)
        before = client.buffer + read_exactly(client.socket, WARM - len(client.buffer))
        self.assertEqual(digest(before), digest(content(WARM)))
        self.stopped()
        go.set()
        wait_for("the origin to have said what it can", lambda: came)
        client.socket.sendall(b"this breaks")
        time.sleep(0.2)
        self.engine.process.send_signal(signal.SIGCONT)
        found, length, how = self.everything(client.socket)
        self.assertEqual((found, how), (digest(content(length, 7)), "reset"))
        wait_for("the tunnel to end", lambda: self.engine.counter("tunnels_reset") == 1)
        self.assertEqual(self.engine.counter("tunnel_sent_bytes"), WARM + came[0])  # our own reset may overtake it
        self.settled()

    def test_quiet_again_after_bulk_and_bulk_again(self):
        def handler(connection):
            while True:
                head = read_exactly(connection, 4)
                if len(head) < 4:
                    return
                length = int.from_bytes(head, "big")
                connection.sendall(read_exactly(connection, length))
        self.hold(handler)
        client = self.tunnel()

        def say(length):
            said = content(length, length)
            self.send_later(client.socket, length.to_bytes(4, "big") + said, False)
            self.assertEqual(digest(read_exactly(client.socket, length)), digest(said))
        for length in (4 * MIB, 5, 100, 7, 12, 30000, 9, 6, 3 * MIB, 11):
            say(length)
        for _ in range(20):
            say(20)
        wait_for("the pipes to be given back", lambda: self.count() <= self.descriptors + 2, 20)
        for _ in range(5):
            say(33)
        say(2 * MIB)
        client.socket.shutdown(socket.SHUT_WR)
        self.assertEqual(self.everything(client.socket)[1:], (0, "end"))
        wait_for("the tunnel to end", lambda: self.engine.counter("tunnels_closed") == 1)
        self.was_spliced(3 * MIB)
        self.settled()

    def test_a_stop_with_full_pipes(self):
        go = threading.Event()
        self.hold(lambda connection: (self.send_later(connection, content(20 * MIB), False), go.wait(SLOW)))
        client = self.tunnel()
        self.send_later(client.socket, content(20 * MIB), False)
        time.sleep(0.3)
        code, out, err = self.engine.command("stop", "--deadline", "200ms")
        self.assertEqual(code, 0, out + err)
        self.engine.process.wait(20)
        go.set()
        self.assertLess(self.everything(client.socket)[1], 20 * MIB)  # who sends too may find out there that it was a reset

    def test_a_tunnel_that_nobody_reads_is_idle(self):
        go = threading.Event()

        def script(exchange):
            exchange.send(switching(exchange))
            self.send_later(exchange.connection, content(20 * MIB), False)
            go.wait(SLOW)
            return False
        self.server = self.origin(script)
        self.engine = self.before(self.server, top=f"zero-copy: {self.setting}\nworkers: 1\npin: false\ntimeouts: {{ tunnel: 1s }}\n")
        self.descriptors = self.count()
        client = self.tunnel()
        wait_for("the tunnel to be ended", lambda: self.engine.counter("tunnels_idle") == 1)
        go.set()
        self.assertLess(self.everything(client.socket)[1], 20 * MIB)
        self.settled()


def with_settings(*bases):
    for base in bases:
        for setting in ("auto", "ring", "poll", "off"):
            name = base.__name__ + setting.capitalize()
            globals()[name] = type(name, (base,), {"setting": setting, "__module__": __name__})


with_settings(Content, Tunnels)
del Content, Tunnels, Splicing

if __name__ == "__main__":
    unittest.main()
