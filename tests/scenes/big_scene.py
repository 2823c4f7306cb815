"""Large bodies pass unchanged, in bounded memory.

WEIR_BIG_BYTES says how large: 1 GiB in the ordinary run, 10000000000 by hand. Both ends hash what they see; the engine's
resident memory is looked at all the while, and may grow by a fixed amount whatever the length.
"""
import hashlib
import json
import os
import socket
import threading
import unittest

from props import sanitized
from stage import Scene

BYTES = int(os.environ.get("WEIR_BIG_BYTES") or 1 << 30)
GROWTH_KIB = 24 * 1024
PATIENCE = 60 + BYTES / 10e6
BLOCK = bytes(range(256)) * 4096  # 1 MiB


def blocks(total):
    """total bytes, no two blocks alike, and their hash when they are all taken."""
    left, number = total, 0
    while left > 0:
        block = (b"%016d" % number + BLOCK[16:])[:left]
        yield block
        left -= len(block)
        number += 1


def hash_of(total):
    found = hashlib.sha1()
    for block in blocks(total):
        found.update(block)
    return found.hexdigest()


class Watch:
    """The engine's resident memory while something happens: how far it rose above where it stood."""

    def __init__(self, engine):
        self.engine, self.before, self.most, self.over = engine, engine.rss_kib(), 0, threading.Event()
        self.thread = threading.Thread(target=self.look)

    def __enter__(self):
        self.thread.start()
        return self

    def look(self):
        while not self.over.wait(0.05):
            self.most = max(self.most, self.engine.rss_kib() - self.before)

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


class Big(Scene):
    def engine_before(self, script):
        """Freed memory that AddressSanitizer holds back would look like growth."""
        quiet = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=4"} if sanitized() else {}
        origin = self.origin(script)
        return self.weir(f"routes: [ {{ pool: app }} ]\npools: {{ app: {{ servers: [ {origin.address} ] }} }}\n", environment=quiet)

    def download(self, head, piece, end, length):
        """Sends blocks as `piece` frames them; what the client got, by its hash and length."""
        def script(exchange):
            exchange.record.clear()
            exchange.send(head)
            for block in blocks(length):
                exchange.send(piece(block))
            exchange.send(end)
            return False
        engine = self.engine_before(script)

        with Watch(engine) as watch, engine.connect(PATIENCE) as client:
            client.send_request()
            _, fields = client.head()
            found, got, names = hashlib.sha1(), 0, {name.lower(): value for name, value in fields}
            if "content-length" in names:
                found.update(client.buffer)
                got = len(client.buffer)
                buffer = bytearray(1 << 20)
                view = memoryview(buffer)
                while got < int(names["content-length"]):
                    count = client.socket.recv_into(view)
                    if not count:
                        break
                    found.update(view[:count])
                    got += count
            else:
                stream = client.socket.makefile("rb", 1 << 20)
                rest = client.buffer
                stream = Joined(rest, stream)
                while (size := int(stream.line(), 16)) > 0:
                    found.update(stream.take(size))
                    got += size
                    self.assertEqual(stream.take(2), b"\r\n")
                self.assertEqual(stream.line(), b"")
        self.assertEqual((got, found.hexdigest()), (length, hash_of(length)))
        self.assertLess(watch.most, GROWTH_KIB, "KiB of growth")

    def upload(self, framing, piece, end, length):
        engine = self.engine_before(sha1_digest)
        with Watch(engine) as watch, engine.connect(PATIENCE) as client:
            client.send(b"PUT / HTTP/1.1\r\nHost: a\r\n" + framing + b"\r\n\r\n")
            for block in blocks(length):
                client.send(piece(block))
            client.send(end)
            told = json.loads(client.response().body)
        self.assertEqual((told["length"], told["sha1"]), (length, hash_of(length)))
        self.assertLess(watch.most, GROWTH_KIB, "KiB of growth")

    def test_a_large_answer_with_a_length(self):
        self.download(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BYTES, lambda block: block, b"", BYTES)

    def test_a_large_answer_in_chunks(self):
        self.download(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", in_chunk, b"0\r\n\r\n", BYTES // 4)

    def test_a_large_answer_until_close(self):
        self.download(b"HTTP/1.0 200 OK\r\n\r\n", lambda block: block, b"", BYTES // 4)

    def test_a_large_upload_with_a_length(self):
        self.upload(b"Content-Length: %d" % BYTES, lambda block: block, b"", BYTES)

    def test_a_large_upload_in_chunks(self):
        self.upload(b"Transfer-Encoding: chunked", in_chunk, b"0\r\n\r\n", BYTES // 4)

    def test_large_answers_in_a_row_are_spliced_from_their_heads_on(self):
        """What is read ahead of the head has to be copied: a block at most."""
        sizes = [1 << 20, 1 << 20, 70_000, 1 << 20, 1000, 0, 4 << 20]
        left = list(sizes)

        def script(exchange):
            size = left.pop(0)
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"".join(blocks(size)))
        engine = self.engine_before(script)
        with engine.connect(PATIENCE) as client:
            for number, size in enumerate(sizes):
                before = engine.counter("splice_bytes")
                client.send_request()
                response = client.response()
                self.assertEqual(hashlib.sha1(response.body).hexdigest(), hash_of(size), number)
                if number < 2:
                    self.assertGreaterEqual(engine.counter("splice_bytes") - before, size - 16384, number)
        self.assertEqual(engine.json("pools")["servers"][0]["reused"], len(sizes) - 1)

    def test_many_large_answers_at_once(self):
        """Each moves at another speed; together they take no more than their queues."""
        length = BYTES // 32

        def script(exchange):
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length)
            for block in blocks(length):
                exchange.send(block)
        engine = self.engine_before(script)
        hashes = []

        def fetch(number):
            with engine.connect(PATIENCE) as client:
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384 << number % 6)
                client.send_request()
                client.head()
                found, got = hashlib.sha1(client.buffer), len(client.buffer)
                while got < length and (part := client.socket.recv(1 << 18)):
                    found.update(part)
                    got += len(part)
                hashes.append(found.hexdigest())
        with Watch(engine) as watch:
            threads = [threading.Thread(target=fetch, args=(number,)) for number in range(12)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        self.assertEqual(hashes, [hash_of(length)] * 12)
        self.assertLess(watch.most, GROWTH_KIB + 12 * 512, "KiB of growth")


class Joined:
    """What was read ahead, and then the rest of a stream."""

    def __init__(self, ahead, stream):
        self.ahead, self.stream = ahead, stream

    def take(self, count):
        part, self.ahead = self.ahead[:count], self.ahead[count:]
        if len(part) < count:
            part += self.stream.read(count - len(part))
        if len(part) < count:
            raise EOFError("cut")
        return part

    def line(self):
        text = b""
        while not text.endswith(b"\r\n"):
            if b"\n" in self.ahead or not self.ahead:
                text += self.take(1) if self.ahead else self.stream.readline(100)
                if not text:
                    raise EOFError("cut")
            else:
                text, self.ahead = text + self.ahead, b""
        return text[:-2]


def in_chunk(block):
    return b"%x\r\n" % len(block) + block + b"\r\n"


def sha1_digest(exchange):
    """Reads a request's content as a stream and tells its length and SHA-1."""
    exchange.record.clear()
    found, length = hashlib.sha1(), 0
    stream = Joined(exchange.buffer, exchange.connection.makefile("rb", 1 << 20))
    if exchange.fields("transfer-encoding"):
        while (size := int(stream.line(), 16)) > 0:
            found.update(stream.take(size))
            length += size
            stream.take(2)
        stream.line()
    else:
        left = int(exchange.fields("content-length")[0])
        while left > 0:
            part = stream.take(min(left, 1 << 20))
            found.update(part)
            length += len(part)
            left -= len(part)
    answer = json.dumps({"length": length, "sha1": found.hexdigest()}).encode()
    exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer)
    return False


if __name__ == "__main__":
    unittest.main()
