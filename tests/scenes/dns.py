"""A name server whose answers a test writes while it runs: UDP, and TCP for what does not fit.

    dns = DnsServer()
    dns.set("app.test", "127.0.0.1", "127.0.0.2", ttl=1)
    dns.service("_http._tcp.app.test", (0, 10, 8080, "one.test"))
    dns.gone("app.test")            # NXDOMAIN from now on
    dns.mood = "silent"             # or "garbage", "servfail"; "well" again

Names that were never set do not exist.
"""
import ipaddress
import os
import random
import socket
import struct
import threading

A, CNAME, AAAA, SRV = 1, 5, 28, 33
UDP_BYTES = 512


def encode_name(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label) + b"\0"


def decode_name(data, at):
    labels = []
    while data[at]:
        labels.append(data[at + 1:at + 1 + data[at]].decode("latin-1"))
        at += 1 + data[at]
    return ".".join(labels).lower(), at + 1


class DnsServer:
    def __init__(self, port=None):
        self.records, self.mood, self.asked, self.lock = {}, "well", [], threading.Lock()
        while True:
            self.udp, self.tcp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket()
            self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                self.udp.bind(("127.0.0.1", port or 0))
                self.port = self.udp.getsockname()[1]
                self.tcp.bind(("127.0.0.1", self.port))
                break
            except OSError:
                self.udp.close()
                self.tcp.close()
                if port:
                    raise
        self.tcp.listen(16)
        self.address = f"127.0.0.1:{self.port}"
        self.stopped = False
        for target in (self.serve_udp, self.serve_tcp):
            threading.Thread(target=target, daemon=True).start()

    def set(self, name, *addresses, ttl=1):
        with self.lock:
            found = [ipaddress.ip_address(a) for a in addresses]
            self.records[name] = [(A if a.version == 4 else AAAA, ttl, a.packed) for a in found]

    def service(self, name, *targets, ttl=1):
        """targets: (priority, weight, port, host)"""
        with self.lock:
            self.records[name] = [(SRV, ttl, struct.pack("!HHH", *t[:3]) + encode_name(t[3])) for t in targets]

    def alias(self, name, to, ttl=1):
        with self.lock:
            self.records[name] = [(CNAME, ttl, encode_name(to))]

    def gone(self, name):
        with self.lock:
            self.records.pop(name, None)

    def count(self, name):
        return sum(1 for asked, _ in list(self.asked) if asked == name)

    def stop(self):
        self.stopped = True
        for one in (self.udp, self.tcp):
            try:
                one.shutdown(socket.SHUT_RDWR)  # whoever waits in it wakes
            except OSError:
                pass
            one.close()

    def serve_udp(self):
        while not self.stopped:
            try:
                data, peer = self.udp.recvfrom(4096)
                answer = self.answer(data, UDP_BYTES) if data else None
                if answer:
                    self.udp.sendto(answer, peer)
            except OSError:
                return

    def serve_tcp(self):
        while not self.stopped:
            try:
                connection, _ = self.tcp.accept()
            except OSError:
                return
            threading.Thread(target=self.serve_stream, args=(connection,), daemon=True).start()

    def serve_stream(self, connection):
        with connection:
            try:
                while True:
                    head = connection.recv(2, socket.MSG_WAITALL)
                    if len(head) < 2:
                        return
                    data = connection.recv(struct.unpack("!H", head)[0], socket.MSG_WAITALL)
                    answer = self.answer(data, 65535)
                    if answer:
                        connection.sendall(struct.pack("!H", len(answer)) + answer)
            except OSError:
                return

    def answer(self, data, most):
        name, at = decode_name(data, 12)
        kind = struct.unpack("!H", data[at:at + 2])[0]
        self.asked.append((name, kind))
        mood = self.mood
        if mood == "silent":
            return None
        if mood == "garbage":
            return data[:2] + bytes([0x81, 0x80]) + os.urandom(random.randrange(0, 300))
        question, code = data[12:at + 4], 0
        with self.lock:
            known = self.records.get(name)
        answers = []
        if mood == "servfail":
            code = 2
        elif known is None:
            code = 3
        else:
            answers = [encode_name(name) + struct.pack("!HHIH", k, 1, ttl, len(rest)) + rest for k, ttl, rest in known if k in (kind, CNAME)]
            for k, ttl, rest in known:
                if k == CNAME:
                    alias = decode_name(rest, 0)[0]
                    answers += [encode_name(alias) + struct.pack("!HHIH", k2, 1, t2, len(r2)) + r2 for k2, t2, r2 in self.records.get(alias, []) if k2 == kind]
        head = lambda flags, count: data[:2] + struct.pack("!HHHHH", 0x8180 | flags | code, 1, count, 0, 0) + question
        whole = head(0, len(answers)) + b"".join(answers)
        return whole if len(whole) <= most else head(0x0200, 0)
