"""What scenes of TCP listeners are played with: servers that speak no HTTP, and engines before them."""
import json
import os
import socket
import struct

from stage import SLOW, Client, Listening, Scene, Weir, free_port, wait_for


def echo(connection):
    """Sends back what comes, to its end."""
    while (data := connection.recv(65536)):
        connection.sendall(data)


def lines(connection):
    """A server of lines, like Redis: PING is answered, others are errors."""
    with connection.makefile("rwb") as file:
        for line in file:
            file.write(b"+PONG\r\n" if line.strip() == b"PING" else b"-ERR\r\n")
            file.flush()


def banner(connection):
    """One that speaks first, like SSH; then it echoes."""
    connection.sendall(b"SSH-2.0-scene\r\n")
    echo(connection)


def named(name):
    def script(connection):
        connection.sendall(name.encode() + b"\n")
        echo(connection)
    return script


def silent(connection):
    while connection.recv(65536):
        pass


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


class Server(Listening):
    """A TCP server: script(connection) serves each; when it returns, FIN is sent and the rest read. `ends` has how each client's side ended."""

    def __init__(self, script=echo, port=0, wrap=None):
        self.script, self.wrap, self.ends = script, wrap, []
        super().__init__(port=port, backlog=4096)

    def serve(self, plain):
        connection = plain
        try:
            if self.wrap:
                connection = self.wrap(plain)
            if connection:
                self.script(connection)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass
            self.ends.append("fin")
        except OSError as problem:
            self.ends.append("rst" if isinstance(problem, ConnectionError) else "closed")
        finally:
            if plain in self.connections:
                self.connections.remove(plain)
            if connection:
                connection.close()


class TcpWeir(Weir):
    """An engine whose {port} shows metrics, and whose {tcp} is the listener of the scene."""

    def __init__(self, config, **more):
        self.tcp = free_port()
        super().__init__(config, tcp=self.tcp, **more)

    def client(self, **more):
        return Client(self.tcp, **more)

    def logged(self, count):
        """The lines of the access log, when there are so many."""
        found = []

        def there():
            with open(os.path.join(self.folder, "access.log")) as file:
                found[:] = [json.loads(line) for line in file.read().splitlines()]
            return len(found) >= count
        wait_for(f"{count} lines in the log", there)
        return found


def listening(tcp, more=""):
    return (f"listeners:\n  - {{ address: 127.0.0.1:{{port}}, serve: admin }}\n  - {{ address: 127.0.0.1:{{tcp}}, name: front, tcp: {tcp}{more} }}\n"
            "log: { access: {folder}/access.log }\n")


def pool(name, *servers, more=""):
    return f"  {name}:\n    servers: [ {', '.join(s if isinstance(s, str) else s.address for s in servers)} ]\n{more}\n"


class TcpScene(Scene):
    """Every scene ends with nothing left open in the engine."""

    def server(self, script=echo, **more):
        server = Server(script, **more)
        self.addCleanup(server.stop)
        return server

    def engine(self, config, **more):
        engine = TcpWeir(config, **more)
        self.addCleanup(engine.stop)
        return engine

    def before(self, *servers, tcp="app", more="", listener="", top=""):
        return self.engine(top + listening(tcp, listener) + "pools:\n" + pool("app", *servers, more=more))

    def nothing_left(self, engine):
        wait_for("the streams to end", lambda: all(engine.counter(name) == 0 for name in ("tcp_open", "tunnels", "clients", "queued")))
        for server in engine.json("pools")["servers"]:
            self.assertEqual((server["busy"], server["open"]), (0, 0), server)

    def says(self, client, data):
        """It comes back."""
        client.send(data)
        self.assertEqual(client.exactly(len(data)), data)

    def refused(self, engine, seconds=SLOW):
        """A connection that is closed without a byte, perhaps before it is known to be there."""
        try:
            with engine.client() as client:
                self.assertTrue(client.closed(seconds))
        except ConnectionResetError:
            pass
