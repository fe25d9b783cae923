"""``python -m benchmarks.heads``: search for the request head that costs the server the most.

A client gets the processor for the price of a head, so none may cost much: the aim is below 1 ms. A
head is a method, a target, and field values that repeat a pattern. The search starts with every
pattern in every field, and goes on from the dearest heads by changing one thing at a time.
"""

from __future__ import annotations

import argparse
import random
import time

from attrs import evolve, frozen
from twisted.internet.task import Clock

from gostore.wire import HTTPFactory, Limits
from tests.web.hostile import Served, known_fields
from tests.wire.support import Client

AIM = 0.001
"""Seconds of processor time."""

KEPT = 20
"""How many of the dearest heads the search goes on from."""

REPEATS = 5
"""A head is measured so often, and the fastest counts: the rest is noise."""

METHODS = ("GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "BREW")

PATTERNS = (
    "a", "a,", "a;", "a ", ",", ";", " ", "\t", "=", '"', "\\", '\\"', "/", "(", ":", "-", "*", ".",
    "%41", "%C3%A9", "%", "&", "a&", "a=b&", "+", "?", "0", "9", "1.1,", "-1,", "0-1,", "é",
    "a/b;q=0.1,", "text/html;a=b,", "*/*,", '"a",', 'W/"a",', "a=1,", "a=:AA==:,", "a=(1 1),",
    "a*0=b;", "Tue, ", "GMT ", "close,", "chunked,", "100-continue",
    "localhost.", "../", "a/", "//",
)  # fmt: skip
"""What a value repeats."""

TARGETS = (
    "/store/a",
    "/store/",
    "/store/b/",
    "/store/~",
    "/store/?prefix=~",
    "/store/?~",
    "/store/?limit=~",
    "/~",
    "/store/~/",
    "http://localhost/store/~",
)
"""``~`` stands for a pattern that fills what the limit of a target leaves."""


@frozen
class Field:
    """One field: ``start``, then a pattern for as long as ``size`` says."""

    name: str
    start: str
    pattern: str
    size: int

    def line(self, room: int) -> bytes:
        """As much of it as has room."""
        size = max(0, min(self.size, room - len(self.name) - 4 - len(self.start)))
        value = self.start + (self.pattern * (size // len(self.pattern) + 1))[:size]
        return f"{self.name}: {value}\r\n".encode("latin-1")


@frozen
class Head:
    """A request head that the wire's limits let through."""

    method: str
    target: str
    pattern: str
    fields: tuple[Field, ...]

    def encode(self, limits: Limits) -> bytes:
        """The bytes, as many as a head may have."""
        size = limits.max_uri_size - len(self.target)
        filled = (self.pattern * (size // len(self.pattern) + 1))[:size].replace(" ", "")
        target = self.target.replace("~", filled)
        head = f"{self.method} {target} HTTP/1.1\r\nHost: x\r\n".encode("latin-1")
        for field in self.fields:
            line = field.line(limits.max_head_size - len(head) - 2)
            if len(head) + len(line) + 2 <= limits.max_head_size:
                head += line
        return head + b"\r\n"


def cost(head: Head, served: Served, factory: HTTPFactory) -> float:
    """The seconds of processor time from the head's bytes to its answer."""
    data = head.encode(factory.limits)
    best = float("inf")
    for _ in range(REPEATS):
        client = Client(served, factory=factory)
        start = time.process_time()
        client.send_split(data, ())
        best = min(best, time.process_time() - start)
        served.clock.advance(0)
        client.lose()
    return best


def changed(head: Head, names: list[str], chance: random.Random) -> Head:
    """The head with one thing changed."""
    fields = list(head.fields)
    what = chance.randrange(6)
    if what == 0:
        return evolve(head, method=chance.choice(METHODS))
    if what == 1:
        return evolve(head, target=chance.choice(TARGETS), pattern=chance.choice(PATTERNS))
    if what == 2 or not fields:
        fields.insert(chance.randint(0, len(fields)), any_field(names, chance))
    elif what == 3:
        del fields[chance.randrange(len(fields))]
    else:
        at = chance.randrange(len(fields))
        new = any_field(names, chance)
        old = fields[at]
        fields[at] = evolve(old, size=new.size) if what == 4 else evolve(new, name=old.name)
    return evolve(head, fields=tuple(fields))


def any_field(names: list[str], chance: random.Random) -> Field:
    """A field with a value of any size."""
    return Field(
        chance.choice(names),
        chance.choice(("", "bytes=", "sha-256=", "text/html,", '"', "Tue, ", "a=(")),
        chance.choice(PATTERNS),
        chance.choice((10, 31, 62, 150, 310, 430, 1000, 1024, 2000, 4000, 8000, 16_000)),
    )


def search(seconds: float, seed: int) -> list[tuple[float, Head]]:
    """The dearest heads that were found, the dearest first."""
    chance = random.Random(seed)
    served = Served()
    factory = HTTPFactory(served, Limits(), Clock())
    names = known_fields()
    found: dict[Head, float] = {}

    def measure(head: Head) -> None:
        if head not in found:
            found[head] = cost(head, served, factory)
            served.requests.clear()

    end = time.monotonic() + seconds
    for name in names:
        for pattern in PATTERNS:
            for method, target in (("GET", "/store/"), ("GET", "/store/a"), ("PUT", "/store/a")):
                measure(Head(method, target, "a", (Field(name, "", pattern, 16_000),)))
    for target in TARGETS:
        for pattern in PATTERNS:
            measure(Head("GET", target, pattern, ()))
    while time.monotonic() < end:
        best = sorted(found, key=found.__getitem__, reverse=True)[:KEPT]
        found = {head: found[head] for head in best}
        for _ in range(200):
            measure(changed(chance.choice(best), names, chance))
    # What was measured beside a noise is measured again.
    again = {head: cost(head, served, factory) for head in found}
    return sorted(
        ((seconds, head) for head, seconds in again.items()), key=lambda each: each[0], reverse=True
    )


def main() -> None:
    """Print the dearest heads; exit with 1 if one costs more than the aim."""
    parser = argparse.ArgumentParser(prog="benchmarks.heads", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    best = search(options.seconds, options.seed)[:10]
    for seconds, head in best:
        print(f"{1e6 * seconds:6.0f} us  {head}")
    raise SystemExit(best[0][0] > AIM)


if __name__ == "__main__":
    main()
