"""What scenes of upgrades are played with: a WebSocket server and clients of a real library, and raw handshakes whose every byte is in the scene's hands."""
import asyncio
import base64
import hashlib
import sys
import threading

try:
    import websockets
except ImportError:  # a python of somebody's own: Debian's package lies here
    sys.path.append("/usr/lib/python3/dist-packages")
    import websockets

KEY = "dGhlIHNhbXBsZSBub25jZQ=="


def accept_of(key):
    return base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()


def handshake(path="/", upgrade="websocket", version="13", key=KEY, method="GET", more=()):
    lines = [f"{method} {path} HTTP/1.1", "Host: scene", "Connection: Upgrade", f"Upgrade: {upgrade}"]
    lines += [f"Sec-WebSocket-Version: {version}"] if version else []
    lines += [f"Sec-WebSocket-Key: {key}"] if key else []
    return "\r\n".join(lines + list(more)).encode() + b"\r\n\r\n"


def switching(exchange, upgrade="websocket", more=b""):
    accept = f"Sec-WebSocket-Accept: {accept_of(exchange.fields('sec-websocket-key')[0])}\r\n" if exchange.fields("sec-websocket-key") else ""
    return f"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {upgrade}\r\n{accept}".encode() + more + b"\r\n"


def echo(exchange, data=b""):
    """Sends back what comes in the tunnel, until its end."""
    data, exchange.buffer = exchange.buffer + data, b""
    while True:
        if data:
            exchange.send(data)
        data = exchange.connection.recv(65536)
        if not data:
            return False


def echoing(upgrade="websocket", more=b"", first=b""):
    """A script: switches, with `first` right behind the head, and echoes."""
    def script(exchange):
        exchange.body()
        exchange.send(switching(exchange, upgrade, more) + first)
        return echo(exchange)
    return script


def open_tunnel(client, *arguments, behind=b"", **more):
    """The raw client's tunnel; its head of 101."""
    client.send(handshake(*arguments, **more) + behind)
    status, fields = client.head()
    assert status == 101, (status, fields, client.buffer)
    return dict((name.lower(), value) for name, value in fields)


class Server:
    """A WebSocket server of the library in a thread of its own: echoes, and ends as it is told ("close 4001 why")."""

    def __init__(self, ssl=None):
        self.loop, self.closes, ready = asyncio.new_event_loop(), [], threading.Event()
        self.stopped = self.loop.create_future()

        async def main():
            async with websockets.serve(self.serve, "127.0.0.1", 0, max_size=None, ssl=ssl, backlog=2048, ping_interval=None) as server:
                self.port = list(server.sockets)[0].getsockname()[1]
                ready.set()
                await self.stopped
        self.thread = threading.Thread(target=lambda: self.loop.run_until_complete(main()), daemon=True)
        self.thread.start()
        assert ready.wait(10)
        self.address = f"127.0.0.1:{self.port}"

    async def serve(self, connection, path=None):
        try:
            async for message in connection:
                if isinstance(message, str) and message.startswith("close "):
                    code, reason = message.split(" ", 2)[1:]
                    await connection.close(int(code), reason)
                else:
                    await connection.send(message)
        except websockets.ConnectionClosed:
            pass
        self.closes.append((connection.close_code, connection.close_reason))

    def stop(self):
        self.loop.call_soon_threadsafe(self.stopped.set_result, None)
        self.thread.join(10)
        self.loop.close()


def connect(port, path="/", scheme="ws", **more):
    more.setdefault("compression", None)
    if int(websockets.__version__.split(".")[0]) >= 15:
        more["proxy"] = None
    return websockets.connect(f"{scheme}://127.0.0.1:{port}{path}", max_size=None, open_timeout=60, ping_interval=None, **more)
