"""``python -m benchmarks``: gostore beside what it was and beside its peers, in the same rounds."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from attrs import evolve, frozen

from benchmarks import (
    calls,
    collection,
    growth,
    holds,
    installed,
    layout,
    loads,
    page,
    places,
    scale,
    servers,
    sustained,
    tricks,
)
from benchmarks.results import COMMITTED, KINDS, SECOND, Heading, Results
from benchmarks.servers import Daemons, Server

PARTS = tuple(KINDS)

USUAL = ("loads", "sustained", "turns", "growth", "calls")
"""What is run if nobody says which; the tricks are for who changes them, scale needs an engine."""

COLLECTED = 65_536
"""Live blobs beside which garbage is collected."""

LONGEST = 60 * 60
"""Seconds that a run may take. What was measured by then is kept."""

ROUNDS_OF_LONG = 2
"""Of starts with more than a quarter of a million blobs."""


@frozen
class Extent:
    """How much of everything."""

    rounds: int = 3
    seconds: int = 2
    """Of each small load."""
    large: int = 512
    """MiB of the large blob; 0: none."""
    more: tuple[loads.Load, ...] = loads.MORE
    """Small loads beside those that every server gets."""
    sizes: tuple[int, ...] = growth.SIZES
    """The data directory grows to so many blobs."""
    sustained: int = 60
    """Seconds of a sustained load."""
    gets: int = 10_000
    """Requests under strace."""
    posts: int = 1_000
    layout: int = layout.COUNT
    """Blobs that the bare loops make."""
    tricks: int = 10
    """Rounds for each trick."""


QUICK = Extent(
    rounds=1,
    seconds=1,
    large=64,
    more=(loads.MORE[-2], loads.BESIDE),
    sizes=(1, 20_000),
    sustained=5,
    gets=1_000,
    posts=100,
    layout=500,
    tricks=2,
)


@frozen
class Options:
    """What the command line says."""

    extent: Extent
    parts: tuple[str, ...]
    servers: tuple[str, ...]
    loads: tuple[str, ...]
    tricks: list[str]
    others: tuple[Server, ...]
    directory: Path | None
    output: Path
    docs: bool


def options() -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a first look, in three minutes")
    parser.add_argument("--only", action="append", choices=PARTS, help="this part of it; repeat")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=int, help="of each small load")
    parser.add_argument("--sustained", type=int, help="seconds of each sustained load")
    parser.add_argument("--large", type=int, help="MiB of the large blob; 0: none")
    parser.add_argument("--blobs", type=int, action="append", help="grow to so many; repeat")
    parser.add_argument("--server", action="append", default=[], help="only this one; repeat")
    parser.add_argument("--load", action="append", default=[], help="only this one; repeat")
    parser.add_argument("--trick", action="append", default=[], help="its beginning; repeat")
    parser.add_argument(
        "--other",
        action="append",
        default=[],
        metavar="NAME=COMMAND",
        help="one more server, with {dir} and {port} in its command; POST creates, PUT replaces",
    )
    parser.add_argument("--dir", type=Path, help="keep data here, not on an ext4 image")
    parser.add_argument("--output", type=Path, default=installed.CACHE / "results")
    parser.add_argument(
        "--docs", action="store_true", help="keep the results, and write docs/performance.md anew"
    )
    parser.add_argument(
        "--second", action="store_true", help="the same, as a second run beside the first"
    )
    given = parser.parse_args()
    if given.dir is None and os.geteuid() != 0:
        sys.exit("Only root can mount an ext4 image: say --dir DIRECTORY")
    changes = {
        name: getattr(given, name)
        for name in ("rounds", "seconds", "sustained", "large")
        if getattr(given, name) is not None
    }
    if given.blobs:
        changes["sizes"] = tuple(sorted(given.blobs))
    if given.rounds is not None:
        changes["tricks"] = given.rounds
    return Options(
        extent=evolve(QUICK if given.quick else Extent(), **changes),
        parts=tuple(given.only or USUAL),
        servers=tuple(given.server),
        loads=tuple(given.load),
        tricks=given.trick,
        others=tuple(
            Server(name, servers.other(command))
            for name, _, command in (each.partition("=") for each in given.other)
        ),
        directory=given.dir,
        output=SECOND if given.second else COMMITTED if given.docs else given.output,
        docs=given.docs or given.second,
    )


def skipped(name: str, reason: str) -> None:
    """Say loudly what is missing."""
    print(f"SKIPPED: {name}: {reason}", file=sys.stderr, flush=True)


@frozen
class Run:
    """One run of the benchmarks."""

    options: Options
    extent: Extent
    base: Path
    """On the file system that is measured."""
    scratch: Path
    into: Results
    daemons: Daemons

    def measure_loads(self) -> None:
        """Each server in turn, in every round; the bare loops, too."""
        chosen = [each for each in self._servers() if self._is_here(each)]
        program = layout.compiled(self.scratch)
        for number in range(self.extent.rounds):
            # Whoever is first in one round is last in another.
            for server in chosen if number % 2 == 0 else reversed(chosen):
                mine = self._loads_for(server)
                if mine:
                    self._put_under(server, mine, number)
            self.into.layouts += layout.measure(
                self.base / "run", program, number, self.extent.layout
            )

    def _put_under(self, server: Server, mine: list[loads.Load], number: int) -> None:
        try:
            with servers.running(server, self.base / "run") as here:
                for each in mine:
                    sample = loads.run(each, here, number, self.extent.seconds, self.scratch)
                    self.into.samples.append(sample)
                    print(
                        f"{number} {server.name}: {each.name}: {sample.per_second:.4g}/s, "
                        f"{sample.cpu_us:.4g} us, {sample.errors} errors",
                        flush=True,
                    )
        except RuntimeError as error:
            print(f"FAILED: {error}", file=sys.stderr)

    def _servers(self) -> Iterator[Server]:
        yield from self.daemons.pair()
        yield from servers.PEERS
        yield self.daemons.with_setting("sync", "none")
        yield from self.options.others

    def _is_here(self, server: Server) -> bool:
        if self.options.servers and server.name not in self.options.servers:
            return False
        reason = servers.why_not(server)
        if reason is not None:
            skipped(server.name, reason)
        return reason is None

    def _loads_for(self, server: Server) -> list[loads.Load]:
        large = loads.large(self.extent.large * 1024**2) if self.extent.large else ()
        return [
            each
            for each in (*loads.SMALL, *large, *loads.MORE)
            if loads.is_for(each, server)
            and (each not in loads.MORE or each in self.extent.more)
            and (not self.options.loads or each.name in self.options.loads)
        ]

    def measure_sustained(self) -> None:
        """Small writes for a long time: now, and as it was."""
        for each in sustained.LOADS:
            for server in self.daemons.pair():
                with servers.running(server, self.base / "run") as here:
                    self.into.sustained.append(sustained.run(each, here, self.extent.sustained))
                print(self.into.sustained[-1], flush=True)

    def measure_turns(self) -> None:
        """Every load once more with a watch on the reactor: to watch costs a little."""
        for server in self.daemons.pair(watched=True):
            with servers.running(server, self.base / "run") as here:
                for each in self._loads_for(server):
                    loads.prepare(each, here)
                    holds.taken(here)
                    loads.run(each, here, 0, self.extent.seconds, self.scratch)
                    hold = holds.of(each.name, server.name, holds.taken(here))
                    self.into.holds.append(hold)
                    print(hold, flush=True)

    def measure_growth(self) -> None:
        """One data directory that grows; garbage is collected in it, too."""
        with ExitStack() as stack:
            place = self.base
            if self.options.directory is None:
                place = stack.enter_context(places.ext4_for_blobs(max(self.extent.sizes)))
            base = place / "grown"
            base.mkdir()
            found = growth.Growth(self.into.starts, self.into.scattered, self.into.grown_holds)
            made = 0
            for blobs in self.extent.sizes:
                began = time.monotonic()
                growth.make(base / "data", made, blobs)
                made = blobs
                print(f"{blobs:,} blobs made in {time.monotonic() - began:.0f} s", flush=True)
                rounds = self.extent.rounds
                if blobs > growth.SCATTERED:
                    rounds = min(rounds, ROUNDS_OF_LONG)
                measurement = growth.Measurement(base, blobs, self.extent.seconds, found)
                for number in range(rounds):
                    measurement.round(number, self.daemons)
                if (
                    blobs in (COLLECTED, growth.SCATTERED)
                    or blobs == max(self.extent.sizes) < COLLECTED
                ):
                    self._collect(base, blobs)

    def _collect(self, base: Path, blobs: int) -> None:
        garbage = collection.GARBAGE if blobs <= COLLECTED else collection.GARBAGE[:1]
        self.into.collections += collection.measure(base / "data", list(garbage))
        growth.remove_others(base / "data", blobs)

    def measure_calls(self) -> None:
        """System calls of a request."""
        self.into.calls += calls.measure(
            self.daemons.pair()[0], self.base / "run", self.extent.gets, self.extent.posts
        )

    def measure_tricks(self) -> None:
        """What each trick is worth."""
        how = tricks.Measurement(
            self.daemons.now.python,
            self.base / "run",
            self.scratch,
            self.extent.tricks,
            self.extent.seconds,
            self.extent.large * 1024**2,
        )
        for effect in tricks.measure(how, self.options.tricks):
            self.into.tricks.append(effect)
            print(effect, flush=True)

    def measure_scale(self) -> None:
        """Daemons over one bucket of a SeaweedFS, beside the engine alone."""
        found, extent = self.into, self.extent
        into = scale.Measured(found.scaled, found.asked, found.simulated, found.upkeep, found.sizes)
        scale.Measurement(
            self.daemons.now,
            self.base / "run",
            self.scratch,
            extent.rounds,
            extent.seconds,
            extent.large,
            into,
        ).run()


@contextmanager
def place(directory: Path | None) -> Iterator[Path]:
    """An ext4 image that is mounted, or a directory in one that is there."""
    if directory is None:
        with places.ext4(places.IMAGE) as base:
            yield base
    else:
        with tempfile.TemporaryDirectory(prefix="gostore-bench-", dir=directory) as name:
            base = Path(name)
            base.chmod(0o755)
            yield base


def both() -> Daemons:
    """gostore as it is and as it was, each in its environment if that can be made."""
    now, old = installed.HERE, None
    try:
        now = installed.now()
        old = installed.before()
    except installed.CannotMake as error:
        what = "an environment for gostore" if now is installed.HERE else installed.COMMIT
        skipped(what, str(error))
    return Daemons(now, old)


def main() -> None:
    """Run what was asked for; what was measured is kept even if the run is cut short."""
    given = options()
    # An end by SIGTERM cleans up as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGALRM, lambda *_: sys.exit(f"Not done in {LONGEST // 60} minutes"))
    signal.alarm(LONGEST)
    into, failed = Results(), list[str]()
    daemons = both()
    file_system = "ext4 on a loop device" if given.directory is None else str(given.directory)
    with ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="gostore-load-"))
        base = stack.enter_context(place(given.directory))
        run = Run(given, given.extent, base, Path(scratch), into, daemons)
        for part in given.parts:
            began = time.monotonic()
            into.headings[part] = Heading.now(sys.argv[1:], file_system)
            try:
                getattr(run, f"measure_{part}")()
            except (RuntimeError, subprocess.SubprocessError) as error:
                failed.append(part)
                print(f"FAILED: {part}: {error}", file=sys.stderr, flush=True)
            finally:
                into.took(part, time.monotonic() - began)
                into.save(given.output)
    print(page.text(into))
    if given.docs:
        page.update()
    if failed:
        sys.exit(f"FAILED: {', '.join(failed)}")


if __name__ == "__main__":
    main()
