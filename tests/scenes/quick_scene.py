"""What a newcomer types first works, and what the pages show is true."""
import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import termios
import time
import unittest

from props import PLAIN, Command, run
from outbound_torture_scene import HASH
from stage import ROOT, WEIR, Client, Scene, answers, free_port, named, ok, wait_for
from tls_certificates import certificates


def page(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as file:
        return file.read()


class OneLine(Scene):
    def start(self, *words, **more):
        command = Command(*words, **more)
        self.addCleanup(command.stop)
        return command

    def get(self, port, path="/"):
        with Client(port) as client:
            client.send_request(path)
            return client.response()

    def test_proxy_forwards_and_can_be_asked(self):
        port = free_port()
        command = self.start("proxy", f"127.0.0.1:{port}", "--to", self.origin(named("there")).address)
        command.wait_for_port(port)
        self.assertEqual(self.get(port).body, b"there")
        code, out, errors = run(WEIR, "status", "--json", env=command.environment)
        self.assertEqual(code, 0, errors)
        self.assertEqual(json.loads(out)["servers"], 1)

    def test_proxy_without_an_address_takes_every_one(self):
        port = free_port()
        command = self.start("proxy", f":{port}", "--to", self.origin(named("there")).address)
        command.wait_for_port(port)
        self.assertEqual(self.get(port).body, b"there")

    def test_proxy_balances_over_several(self):
        port, origins = free_port(), [self.origin(named(name)) for name in ("one", "two")]
        command = self.start("proxy", f"127.0.0.1:{port}", "--to", origins[0].address, "--to", origins[1].address)
        command.wait_for_port(port)
        self.assertEqual({self.get(port).body for _ in range(20)}, {b"one", b"two"})

    def test_proxy_says_what_is_wrong_with_its_words(self):
        for words, code, said in ((["proxy"], 2, b"usage"), (["proxy", ":1"], 2, b"--to"), (["proxy", "nonsense:x", "--to", "127.0.0.1:1"], 3, b"error"),
                                  (["proxy", "127.0.0.1:1", "--to", "a b"], 3, b"error")):
            with self.subTest(words):
                status, _, errors = run(WEIR, *words)
                self.assertEqual(status, code, errors)
                self.assertIn(said, errors)

    def test_a_taken_port_is_told_and_ends_with_1(self):
        origin = self.origin(ok)
        command = Command("proxy", origin.address, "--to", "127.0.0.1:1")
        command.process.wait(20)
        self.assertRegex(command.log(), r"cannot start.*" + re.escape(origin.address) + r".*in use")
        command.stop(code=1)

    def test_a_reload_without_a_file_is_refused_with_its_reason(self):
        port = free_port()
        command = self.start("proxy", f"127.0.0.1:{port}", "--to", self.origin(ok).address)
        command.wait_for_port(port)
        code, _, errors = run(WEIR, "reload", env=command.environment)
        self.assertEqual((code, b"without a file" in errors), (1, True), errors)

    def demo(self):
        """The demo, and a function that asks its engine with a verb for JSON."""
        if any(answers(port) for port in (8080, 8081, 9101, 9102, 9103)):
            self.skipTest("the demo's ports are in use")
        folder = tempfile.mkdtemp(prefix="weir-demo-")
        self.addCleanup(shutil.rmtree, folder)
        demo = self.start("demo", environment={"XDG_RUNTIME_DIR": folder})
        demo.wait_for_port(8080)
        wait_for("it to tell what to try", lambda: "curl http" in demo.log())
        for port in (9101, 9102, 9103):
            demo.wait_for_port(port)
        self.environment = dict(PLAIN, WEIR_SOCKET=os.path.join(folder, "weir-demo.sock"))
        return demo, lambda verb: json.loads(run(WEIR, verb, "--json", env=self.environment)[1])

    def states(self, ask):
        return {server["pool"] + "/" + server["address"]: server["state"] for server in ask("pools")["servers"]}

    def test_the_demo_walked_through(self):
        """What the README tells to try, in its order: turns, hashing, an origin that goes, no failed request, and its return."""
        demo, ask = self.demo()
        self.assertEqual(len({self.get(8080).body for _ in range(12)}), 3)
        homes = {path: self.get(8080, path).body for path in (f"/hash/{n}" for n in range(1, 20))}
        self.assertEqual(len(set(homes.values())), 3)
        for path, home in homes.items():
            self.assertEqual({self.get(8080, path).body for _ in range(3)}, {home})
        self.assertEqual((ask("status")["servers"], set(self.states(ask).values())), (6, {"up"}))

        stop = re.search(r"stop --now --socket (\S+)", demo.log()).group(1)
        self.assertEqual(run(WEIR, "stop", "--now", "--socket", stop)[0], 0)
        for _ in range(300):
            self.assertEqual(self.get(8080).status, 200)
        for path, home in homes.items():
            answer = self.get(8080, path)
            self.assertEqual(answer.status, 200)
            self.assertTrue(answer.body == home or b"origin one" in home, path)
        self.assertEqual({self.get(8080).body[:17] for _ in range(12)}, {b"Hello from origin"})
        wait_for("it to be seen", lambda: self.states(ask)["demo/127.0.0.1:9101"] in ("marked", "trial", "down"))
        wait_for("the checks to find it down", lambda: {self.states(ask)[pool + "/127.0.0.1:9101"] for pool in ("demo", "hash")} == {"down"}, 60)
        self.assertEqual(len({self.get(8080).body for _ in range(12)}), 2)
        self.assertIn("origin one ended", demo.log())

        wait_for("it to come back", lambda: set(self.states(ask).values()) == {"up"}, 90)
        self.assertEqual(len({self.get(8080).body for _ in range(12)}), 3)
        for path, home in homes.items():
            self.assertEqual(self.get(8080, path).body, home)

    def shape(self, text):
        """Without what is another each time: numbers, whose turn it was."""
        for varying, name in (("\r", ""), (r"X-Made: \w+", "X-Made: N"), (r"-?\d+(\.\d+)?", "N"), ("origin (one|two|three)", "origin X"), (" +", " ")):
            text = re.sub(varying, name, text)
        return text.split("\n")

    def test_the_cache_walked_through(self):
        """The lines of the README, one by one, say what stands below them there."""
        self.demo()
        section = re.search(r"^## See it cache\n(.*?)^## ", page("README.md"), re.DOTALL | re.MULTILINE).group(1)
        steps = re.findall(r"^    \$ (.*\n)((?:    (?!\$ ).*\n)*)", section, re.MULTILINE)
        self.assertEqual(len(steps), 8)
        found = []
        for line, wanted in steps:
            code, out, errors = run("bash", "-c", line.replace("build/weir", WEIR), env=self.environment)
            self.assertEqual((code, errors), (0, b""), line)
            found.append(out.decode())
            self.assertEqual(self.shape(found[-1]), self.shape(re.sub("^    ", "", wanted, flags=re.MULTILINE)), line)
        self.assertIn(found[0].splitlines()[-1], found[1])
        self.assertRegex(found[1], r"hit; ttl=(600|5\d\d)")
        made = re.findall(r"X-Made: (\w+)", found[6])
        self.assertEqual(made[0], made[1])
        wait_for("it to be renewed", lambda: made[0].encode() not in run("curl", "-si", "http://127.0.0.1:8080/cached/brief")[1])


class Pages(Scene):
    """README.md and cli/example.yaml: their configurations are taken and their commands exist."""

    def check(self, text):
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write(text)
            file.flush()
            return run(WEIR, "check", "-c", file.name)

    def test_every_configuration_in_the_readme_is_taken(self):
        found = [block for block in re.findall(r"```yaml\n(.*?)```", page("README.md"), re.DOTALL) if "listeners:" in block]
        self.assertTrue(found)
        for block in found:
            for name, made in (("other", certificates().other), (r"[\w-]+", certificates().site)):  # its files are nobody's
                block = re.sub(rf"/etc/weir/{name}\.key", made.key, re.sub(rf"/etc/weir/{name}\.(crt|pem)", made.chain, block))
            with tempfile.NamedTemporaryFile("w") as users:
                users.write(HASH)
                users.flush()
                code, _, errors = self.check(block.replace("/etc/weir/users", users.name))
            self.assertEqual(code, 0, errors.decode())

    def test_every_command_in_the_readme_exists(self):
        verbs = re.findall(r"^  (\w+) ", run(WEIR, "help")[1].decode(), re.MULTILINE)
        self.assertIn("run", verbs)
        used = set(re.findall(r"(?:^|`|\s)(?:build/)?weir ([a-z]+)(?=[ `\n])", "\n".join(re.findall(r"^    .*$|`[^`\n]+`", page("README.md"), re.MULTILINE)), re.MULTILINE))
        self.assertTrue(used)
        self.assertLessEqual(used, set(verbs))

    def test_every_file_the_readme_names_is_there(self):
        named_files = set(re.findall(r"\b((?:engine|proto|pool|cli|tests|perf)/[\w./-]*\w)", page("README.md")))
        self.assertEqual([name for name in named_files if not os.path.exists(os.path.join(ROOT, name))], [])

    def test_the_readme_holds_no_blank_to_be_filled_in(self):
        self.assertNotRegex(page("README.md"), r"\bMEASURED|\bTBD\b|\?\?\?")

    def test_the_example_is_taken_and_runs(self):
        text = page("cli", "example.yaml")
        code, _, errors = self.check(text)
        self.assertEqual(code, 0, errors.decode())
        ports = {"8080": free_port(), "9090": free_port(), "3000": self.origin(named("app")).port}
        text = text.replace(":8080", f"127.0.0.1:{ports['8080']}").replace("127.0.0.1:9090", f"127.0.0.1:{ports['9090']}").replace("127.0.0.1:3000", f"127.0.0.1:{ports['3000']}")
        engine = self.weir(text.replace("/run/weir/", "{folder}/"), wait=False)
        wait_for("it to listen", lambda: answers(ports["8080"]))
        for path, body in (("/robots.txt", b"User-agent: *\nDisallow:\n"), ("/", b"app")):
            with Client(ports["8080"]) as client:
                client.send_request(path)
                self.assertEqual(client.response().body, body)
        self.assertFalse(engine.ended())

    def test_a_configuration_with_every_default_says_the_same_again(self):
        with tempfile.TemporaryDirectory() as folder:
            first, second = os.path.join(folder, "first.yaml"), os.path.join(folder, "second.yaml")
            with open(first, "w") as file:
                file.write(page("cli", "example.yaml"))
            code, out, errors = run(WEIR, "config", "show", "--effective", "-c", first)
            self.assertEqual(code, 0, errors)
            with open(second, "wb") as file:
                file.write(out)
            self.assertEqual(run(WEIR, "check", "-c", second)[0], 0)
            self.assertEqual(run(WEIR, "config", "show", "--effective", "-c", second)[1], out)

    def test_the_completion_is_shell(self):
        for shell in ("bash", "zsh", "fish"):
            code, out, _ = run(WEIR, "completion", shell)
            self.assertEqual(code, 0)
            if shutil.which(shell):
                self.assertEqual(subprocess.run([shell, "-n", "/dev/stdin"], input=out).returncode, 0, shell)

    def test_help_tells_of_every_verb(self):
        for verb in re.findall(r"^  (\w+) ", run(WEIR, "help")[1].decode(), re.MULTILINE):
            code, out, _ = run(WEIR, "help", verb)
            self.assertEqual(code, 0, verb)
            self.assertIn(f"usage: weir {verb}".encode(), out)


class Machines(Scene):
    """What programs read: JSON from everything that prints, and the code behind it."""

    def takers(self):
        for verb in re.findall(r"^  (\w+) ", run(WEIR, "help")[1].decode(), re.MULTILINE):
            if b"--json" in run(WEIR, "help", verb)[1]:
                yield verb

    def words(self, verb, engine):
        """Lines to try of this verb."""
        server = "127.0.0.1:1"
        more = {"check": [["-c", engine.path]], "drain": [[server]], "undrain": [["app/" + server]], "stop": [["--deadline", "1s"]],
                "server": [["list"], ["list", "app"], ["add", "app", "127.0.0.1:2", "--weight", "2"], ["weight", "app/127.0.0.1:2", "3"], ["drain", server],
                           ["undrain", server], ["state", server, "auto"], ["remove", "app/127.0.0.1:2"], ["save"], ["reset"]],
                "purge": [["http://a/"], ["--prefix", "http://a/x", "--soft"], ["--host", "a"], ["--tag", "x", "--tag", "y"], ["--all"]],
                "cache": [["status"], ["show", "http://a/"]],
                "certs": [["list"]], "explain": [["http://a/"], ["POST", "https://a/x?y", "-H", "A: b", "--from", "::1"]], "config": [["show"], ["show", "-c", engine.path], ["schema"], ["manual"]]}
        return [[verb, *words, "--json"] for words in more.get(verb, [[]])]

    def test_every_verb_that_says_so_prints_one_json_value(self):
        engine = self.weir("state-file: {folder}/state\nroutes: [ { pool: app, cache: {} } ]\npools: { app: { servers: [ 127.0.0.1:1 ] } }\n")
        takers = sorted(self.takers(), key=lambda verb: verb == "stop")
        self.assertGreater(len(takers), 10)
        for verb in takers:
            for words in self.words(verb, engine):
                with self.subTest(words):
                    code, out, errors = engine.command(*words)
                    self.assertEqual((code, errors), (0, ""))
                    self.assertIsInstance(json.loads(out), dict)
        wait_for("the end", engine.ended)

    def test_failures_are_json_too(self):
        engine = self.weir("routes: [ { pool: app } ]\npools: { app: { servers: [ 127.0.0.1:1 ] } }\n")
        code, out, errors = engine.command("drain", "nobody", "--json")
        self.assertEqual((code, errors), (1, ""))
        self.assertIn("no such server", json.loads(out)["error"])
        engine.write("listeners: 1\n")
        code, out, errors = engine.command("reload", "--json")
        self.assertEqual((code, errors), (3, ""))
        self.assertTrue(json.loads(out)["problems"])

    def test_what_is_lost_on_the_way_is_no_success(self):
        with open("/dev/full", "w") as full:
            done = subprocess.run([WEIR, "version"], stdout=full, stderr=subprocess.PIPE, text=True)
        self.assertEqual((done.returncode, "standard output" in done.stderr), (1, True))

    def test_a_log_never_goes_to_a_client(self):
        """Whoever starts it may have closed what messages go to; the number is the next socket's otherwise."""
        port = free_port()
        shut = subprocess.Popen(["sh", "-c", f'exec "$0" proxy 127.0.0.1:{port} --to 127.0.0.1:1 <&- >&- 2>&-', WEIR], env=PLAIN)
        self.addCleanup(shut.wait)
        self.addCleanup(shut.terminate)
        wait_for("it to listen", lambda: answers(port))
        self.assertEqual([os.readlink(f"/proc/{shut.pid}/fd/{number}") for number in range(3)], ["/dev/null"] * 3)


class Screen:
    """`weir top` on a terminal of a given size, played until it ends."""

    def __init__(self, rows, columns, environment, *words):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
                os.execve(WEIR, [WEIR, "top", *words], dict(environment, TERM="xterm"))
            finally:
                os._exit(127)
        self.before = termios.tcgetattr(self.fd)
        self.seen, self.status = b"", None

    def read(self):
        if select.select([self.fd], [], [], 0.05)[0]:
            try:
                self.seen += os.read(self.fd, 65536)
            except OSError:
                pass

    def until(self, text):
        def there():
            self.read()
            return text in self.seen
        wait_for(f"{text} on the screen", there)

    def end(self):
        """Its exit status, when it has ended."""
        def ended():
            self.read()
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
            return pid != 0
        wait_for("top to end", ended)
        self.read()
        os.close(self.fd)
        return self.status

    def stop(self):
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            os.close(self.fd)


class Top(Scene):
    def on_screen(self, environment, rows=24, columns=80):
        screen = Screen(rows, columns, environment)
        self.addCleanup(screen.stop)
        return screen

    def left_as_it_was(self, screen):
        self.assertLess(screen.seen.index(b"\x1b[?1049h"), screen.seen.index(b"\x1b[?1049l"))
        self.assertTrue(screen.seen.rstrip().endswith(b"\x1b[?25h\x1b[?1049l"), screen.seen[-80:])

    def test_it_shows_servers_and_q_leaves(self):
        origin = self.origin(ok)
        screen = self.on_screen(self.before(origin).environment)
        screen.until(str(origin.port).encode())
        os.write(screen.fd, b"x\x1b[Aq")
        self.assertEqual(screen.end(), 0)
        self.left_as_it_was(screen)

    def test_signals_leave_the_terminal_as_it_was(self):
        engine = self.before(self.origin(ok))
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            screen = self.on_screen(engine.environment)
            screen.until(b"req/s")
            self.assertNotEqual(termios.tcgetattr(screen.fd)[3], screen.before[3])
            os.kill(screen.pid, number)
            wait_for("the terminal's mode", lambda: (screen.read(), termios.tcgetattr(screen.fd)[3] == screen.before[3])[1])
            self.assertEqual(screen.end(), 0)
            self.left_as_it_was(screen)

    def test_control_c_leaves_though_the_engine_says_nothing(self):
        engine = self.before(self.origin(ok))
        screen = self.on_screen(engine.environment)
        screen.until(b"req/s")
        engine.process.send_signal(signal.SIGSTOP)
        try:
            time.sleep(1.5)
            os.write(screen.fd, b"\x03")
            self.assertEqual(screen.end(), 0)
        finally:
            engine.process.send_signal(signal.SIGCONT)
        self.left_as_it_was(screen)

    def test_an_engine_that_leaves_is_told_behind_the_screen(self):
        engine = self.before(self.origin(ok))
        screen = self.on_screen(engine.environment)
        screen.until(b"req/s")
        engine.process.terminate()
        self.assertEqual(screen.end(), 4)
        self.assertRegex(screen.seen.decode(), r"\x1b\[\?1049l[^\x1b]*weir: no engine answers")

    def test_the_smallest_terminal_is_enough(self):
        screen = self.on_screen(self.before(self.origin(ok)).environment, rows=1, columns=4)
        screen.until(b"weir")
        os.write(screen.fd, b"q")
        self.assertEqual(screen.end(), 0)
        self.assertNotIn(b"\n", screen.seen)


class Installed(Scene):
    """What `make install` puts where, of the binary under test; nothing is built for it."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="weir-install-")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        build, cls.root = os.path.join(cls.folder, "build"), os.path.join(cls.folder, "root")
        os.mkdir(build)
        os.symlink(WEIR, os.path.join(build, "weir"))
        environment = {name: value for name, value in PLAIN.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "BUILD")}
        code, out, errors = run("make", "-C", ROOT, "-o", os.path.join(build, "weir"), f"BUILD={build}", f"DESTDIR={cls.root}", "PREFIX=/usr",
                                "install", env=environment, seconds=120)
        if code != 0:
            raise AssertionError((out + errors).decode())

    def path(self, *words):
        return os.path.join(self.root, "usr", *words)

    def text(self, *words):
        with open(self.path(*words), encoding="utf-8") as file:
            return file.read()

    def test_everything_is_there_with_its_mode_and_nothing_else(self):
        found = {os.path.relpath(os.path.join(folder, name), self.path()): os.stat(os.path.join(folder, name)).st_mode & 0o777
                 for folder, _, names in os.walk(self.root) for name in names}
        shared = ["man/man1/weir.1", "man/man5/weir.yaml.5", "bash-completion/completions/weir", "zsh/site-functions/_weir",
                  "fish/vendor_completions.d/weir.fish", "doc/weir/examples/weir.yaml", "doc/weir/LICENSE"]
        wanted = {"share/" + name: 0o644 for name in shared}
        self.assertEqual(found, dict(wanted, **{"bin/weir": 0o755, "lib/systemd/system/weir.service": 0o644}))

    def test_what_the_binary_writes_is_what_was_installed(self):
        for words, name in ((["config", "manual"], "man/man5/weir.yaml.5"), (["completion", "bash"], "bash-completion/completions/weir"),
                            (["completion", "zsh"], "zsh/site-functions/_weir"), (["completion", "fish"], "fish/vendor_completions.d/weir.fish")):
            self.assertEqual(run(self.path("bin", "weir"), *words)[1].decode(), self.text("share", name))

    def test_the_manual_pages_read_without_a_warning(self):
        if not shutil.which("groff"):
            self.skipTest("groff is not installed")
        for name in ("man/man1/weir.1", "man/man5/weir.yaml.5"):
            self.assertEqual(run("groff", "-man", "-ww", "-z", self.path("share", name)), (0, b"", b""))

    def test_the_unit_and_the_example_fit_each_other(self):
        unit, example = self.text("lib/systemd/system/weir.service"), self.text("share/doc/weir/examples/weir.yaml")
        commands = re.findall(r"^Exec\w+=(.*)$", unit, re.MULTILINE)
        self.assertEqual(len(commands), 2)
        for command in commands:
            self.assertTrue(command.startswith("/usr/bin/weir "), command)
            self.assertTrue(os.access(os.path.join(self.root, command.split()[0][1:]), os.X_OK))
        runtime = "/run/" + re.search(r"^RuntimeDirectory=(.*)$", unit, re.MULTILINE).group(1)
        control = re.search(r"^control: { socket: (\S+) }$", example, re.MULTILINE).group(1)
        self.assertEqual(os.path.dirname(control), runtime)
        self.assertIn(f"reload --socket {control}", commands[1])
        self.assertIn(f'#define CLI_SOCKET_SERVICE "{control}"', page("cli", "cli.h"))

    def test_the_engine_tells_systemd_what_the_unit_expects(self):
        self.assertIn("\nType=notify\n", self.text("lib/systemd/system/weir.service"))
        place = os.path.join(tempfile.mkdtemp(prefix="weir-notify-"), "notify")
        self.addCleanup(shutil.rmtree, os.path.dirname(place))
        told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(told.close)
        told.bind(place)
        told.settimeout(10)
        engine = self.weir("routes: [ { respond: { body: hello } } ]\n", environment={"NOTIFY_SOCKET": place})
        self.assertEqual(told.recv(100), b"READY=1")
        self.assertEqual(engine.command("reload")[0], 0)
        self.assertEqual([told.recv(100), told.recv(100)], [b"RELOADING=1", b"READY=1"])
        engine.process.terminate()
        self.assertEqual(told.recv(100), b"STOPPING=1")


if __name__ == "__main__":
    unittest.main()
