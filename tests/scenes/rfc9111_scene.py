"""The page tests/cases/rfc9111.md, played: each MUST of HTTP Caching against the real binary and an origin of ours. The page says how it is written."""
import os
import re
import time
import unittest

from cache_props import Answer, CacheScene, Shelf, date, is_hit, status_of
from stage import ROOT, SLOW, Origin, Weir, wait_for

PAGE = os.path.join(ROOT, "tests", "cases", "rfc9111.md")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


# ---- The page -------------------------------------------------------------------------------------------------------------

class Step:
    """One request: what the origin is told, and what the client is to get."""

    def __init__(self, words):
        self.soon = words[0].startswith("soon ")
        self.method, self.path = words[0].removeprefix("soon ").split(" ")
        self.request, self.asked, self.client = words[1:], None, None
        self.answers = {"origin": [], "maybe": [], "later": [], "either": []}

    def add(self, verb, words):
        if verb in self.answers:
            self.answers[verb].append(words)
        elif verb in ("asked", "client") and getattr(self, verb) is None:
            setattr(self, verb, words)
        else:
            raise ValueError(f"{verb} {words}")


def read_exchange(text):
    """The steps of a block: Step, or seconds to wait."""
    steps = []
    for line in text.strip("\n").split("\n"):
        words = [word.strip() for word in re.split(r" \|(?= |$)", line.strip())]
        if line.startswith("wait "):
            steps.append(float(line[5:]))
        elif not line.startswith(" "):
            steps.append(Step(words))
        else:
            verb, words[0] = words[0].split(" ", 1) if " " in words[0] else (words[0], "")
            steps[-1].add(verb, [word for word in words if word])
    return steps


def read_page():
    """(configuration, [(heading, steps)])"""
    with open(PAGE) as file:
        text = file.read()
    found = re.findall(r"^### (.*)\n(?:(?!###|```).*\n)*```exchange\n((?:(?!```).*\n)*)```$", text, re.M)
    assert len(found) == text.count("\n### "), "a heading without its block"
    return re.search(r"```yaml\n(.*?)```", text, re.S).group(1), [(heading, read_exchange(block)) for heading, block in found]


def filled_in(text, here):
    """Dates and folder in the place of their names."""
    def one(match):
        form, seconds = match.group(1).strip(), int(match.group(2) or 0)
        moment, usual = time.gmtime(time.time() + seconds), date(seconds)
        if form == "asctime":
            return time.asctime(moment)
        if form == "rfc850":
            return f"{DAYS[moment.tm_wday]}, {usual[5:12].replace(' ', '-')}{usual[14:]}"
        return {"zone": usual.replace("GMT", "EST"), "lower now": usual.lower(), "now": usual}[form]
    return re.sub(r"\{(now|lower now|rfc850|asctime|zone)([+-]\d+)?\}", one, text).replace("{here}", here)


def content_of(words):
    """The content among these words, and the others."""
    quoted = [word for word in words if word.startswith('"')]
    return (quoted[0][1:-1].encode() if quoted else None), [word for word in words if not word.startswith('"')]


def answer_of(words):
    body, words = content_of(words)
    if words[0] == "none":
        return Answer(framing="none")
    flags = {"chunked", "close", "cut", "early", "undated"}.intersection(words)
    trailers = [word.removeprefix("trailer ") for word in words if word.startswith("trailer ")]
    fields = [word for word in words[1:] if word not in flags and not word.startswith("trailer ")]
    framing = "chunked" if "chunked" in flags else "close" if "close" in flags else "length"
    return Answer(int(words[0]), fields, body if body is not None else b"", framing, trailers, "undated" not in flags, "cut" in flags, "early" in flags)


def number_in(text, value):
    low, _, high = text.partition("..")
    return value is not None and re.fullmatch(r"-?\d+", str(value)) and int(low) <= int(value) <= int(high or low)


# ---- The play -------------------------------------------------------------------------------------------------------------

class Rfc9111(CacheScene):
    """The tests are made from the page, below."""

    @classmethod
    def setUpClass(cls):
        cls.shelf = Shelf()
        cls.source = Origin(cls.shelf)
        cls.addClassCleanup(cls.source.stop)
        cls.engine = Weir(CONFIGURATION, origin=cls.source.address)
        cls.addClassCleanup(cls.engine.stop)

    def played(self, steps, here):
        for number, step in enumerate(steps, 1):
            if isinstance(step, float):
                time.sleep(step)
                continue
            try:
                self.step(step, here)
            except (AssertionError, OSError, EOFError) as problem:
                raise AssertionError(f"request {number}, {step.method} {step.path}: {problem!r}") from problem

    def step(self, step, here):
        word = step.path.split("/")[1]
        path = step.path.replace(f"/{word}/", f"/{word}{here}/", 1) if word in WORDS else here + step.path
        before = self.shelf.count(path.removesuffix("?"))
        self.prepare(step, path.removesuffix("?"), here)
        end = time.monotonic() + SLOW
        while True:
            response = self.ask(step, path, here)
            try:
                self.check_client(step, response, here)
                break
            except AssertionError:
                if not step.soon or time.monotonic() > end:
                    raise
                time.sleep(0.02)
        self.check_origin(step, path.removesuffix("?"), before, response)

    def prepare(self, step, path, here):
        with self.shelf.lock:
            self.shelf.told[path].clear()
            self.shelf.kept.pop(path, None)
        for verb in ("origin", "maybe", "later"):
            for words in step.answers[verb]:
                answer = answer_of([filled_in(word, here) for word in words])
                if answer.framing == "none":
                    self.shelf.keep(path, answer)  # a connection that was kept may be tried again
                else:
                    self.shelf.put(path, answer)
        if step.answers["either"]:
            self.shelf.put(path, self.chooser([[filled_in(word, here) for word in words] for words in step.answers["either"]]))

    def chooser(self, answers):
        def choose(exchange, asked):
            for words in answers:
                if all(asked.field(word[3:]) for word in words if word.startswith("if ")):
                    return answer_of([word for word in words if not word.startswith("if ")]).send(exchange)
            return False
        return choose

    def ask(self, step, path, here):
        body, fields = content_of([filled_in(word, here) for word in step.request])
        try:
            return self.engine.get(path, step.method, fields, body or b"")
        except (OSError, EOFError):
            if step.client == ["cut"]:
                return None
            raise

    def check_client(self, step, response, here):
        if step.client == ["cut"]:
            self.assertTrue(response is None or not response.complete, "it looks complete")
            return
        self.assertTrue(response.complete, "it is cut")
        content, words = content_of(step.client)
        seen = f"{response.status} {response.fields} {response.body[:200]}"
        self.assertTrue(number_in(words[0], response.status), f"not {words[0]}: {seen}")
        if content is not None:
            self.assertEqual(response.body, content, seen)
        said = status_of(response)
        for word in words[1:]:
            self.check_word(filled_in(word, here), response, said, seen)

    def check_word(self, word, response, said, seen):
        if word.startswith("said no "):
            self.assertFalse(said.get(word[8:], False), seen)
        elif word.startswith("said "):
            name, _, value = word[5:].partition("=")
            self.assertIn(name, said, seen)
            if value:
                self.assertTrue(number_in(value, said[name]) if ".." in value or value.isdigit() else said[name] == value, f"{word}: {seen}")
        elif word.startswith("no "):
            self.assertIsNone(response.field(word[3:]), seen)
        elif word.startswith("content "):
            self.assertEqual(len(response.body), int(word[8:]), seen)
        else:
            name, value = [part.strip() for part in word.split(":", 1)]
            found = [v for n, v in response.fields if n.lower() == name.lower()]
            self.assertTrue(found, f"no {name}: {seen}")
            if ".." in value:
                self.assertTrue(len(found) == 1 and number_in(value, found[0]), f"not {word}: {seen}")
            elif value != "~":
                self.assertEqual(", ".join(found), value, seen)

    def check_origin(self, step, path, before, response):
        told = {verb: len(answers) for verb, answers in step.answers.items()}
        least = told["origin"] + told["later"] + (1 if told["either"] else 0)
        if told["later"]:
            wait_for("the origin to be asked behind the answer", lambda: self.shelf.count(path) >= before + least)
        asked = self.shelf.count(path) - before
        seen = response and (response.status, response.fields)
        self.assertGreaterEqual(asked, least, f"the origin was not asked: {seen}")
        if path not in self.shelf.kept:
            self.assertLessEqual(asked, least + told["maybe"], f"the origin was asked: {seen}")
        if step.asked:
            self.check_asked(step.asked, self.shelf.last(path))
        if not asked and response.status != 504 or told["later"]:
            self.assertTrue(is_hit(response), f"no hit: {seen}")
            ages = [value for name, value in response.fields if name.lower() == "age"]
            self.assertTrue(len(ages) == 1 and ages[0].isdigit(), f"Age: {seen}")
        elif told["origin"] and response:
            self.assertFalse(step.client != ["cut"] and is_hit(response), f"a hit: {seen}")

    def check_asked(self, words, asked):
        for word in words:
            if word.startswith("no "):
                self.assertIsNone(asked.field(word[3:]), f"the origin got {asked.fields}")
            else:
                name, value = [part.strip() for part in word.split(":", 1)]
                self.assertEqual(asked.field(name), value, f"the origin got {asked.fields}")


class Page(unittest.TestCase):
    def test_every_section_that_has_a_requirement_is_there(self):
        sections = ("1.2.2 3 3.1 3.2 3.3 3.5 4 4.1 4.2 4.2.1 4.2.2 4.2.3 4.2.4 4.3.1 4.3.2 4.3.3 4.3.4 4.3.5 4.4 5.1 5.2 5.2.1.1 5.2.1.2 5.2.1.3 5.2.1.4 5.2.1.5 "
                    "5.2.1.7 5.2.2.1 5.2.2.2 5.2.2.3 5.2.2.4 5.2.2.5 5.2.2.7 5.2.2.8 5.2.2.9 5.2.2.10 5.2.3 5.3 5.4").split()
        found = {heading.split(" ")[0] for heading, _ in CASES}
        self.assertEqual([section for section in sections if section not in found], [])

    def test_every_request_says_what_the_client_gets(self):
        self.assertEqual([heading for heading, steps in CASES for step in steps if isinstance(step, Step) and not step.client], [])


def slug(heading):
    return re.sub(r"[^a-z0-9]+", "_", heading.lower()).strip("_")


def test_of(number, steps):
    return lambda self: self.played(steps, f"/r{number}")


CONFIGURATION, CASES = read_page()
WORDS = set(re.findall(r'path: "/(\w+)/', CONFIGURATION))
for at, (heading, steps) in enumerate(CASES):
    name = "test_" + slug(heading)
    assert not hasattr(Rfc9111, name), f"two tests are named {name}"
    setattr(Rfc9111, name, test_of(at, steps))


if __name__ == "__main__":
    unittest.main()
