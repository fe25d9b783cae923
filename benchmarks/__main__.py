"""``python -m benchmarks``: gostore and its peers in turn, several rounds, a table of ratios."""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks import (
    calls,
    collection,
    growth,
    holds,
    loads,
    page,
    places,
    servers,
    tricks,
)
from benchmarks.results import Results

HERE = Path(__file__).parent

PARTS = ("loads", "holds", "growth", "calls", "tricks")

COLLECTED = 65_536
"""Live blobs beside which garbage is collected."""

Work = list[tuple[Path, tuple[loads.Load, ...]]]
"""Loads, and the file system on which they run."""


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="one round, short, 64 MiB, up to 5,000 blobs"
    )
    parser.add_argument("--only", action="append", choices=PARTS, help="this part of it; repeat")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2, help="of each small load")
    parser.add_argument("--large", type=int, default=512, help="MiB of the large blob; 0: none")
    parser.add_argument("--server", action="append", help="only this one; may be repeated")
    parser.add_argument("--load", action="append", help="only this one, such as 'GET 1 KiB'")
    parser.add_argument(
        "--blobs", type=int, action="append", help="grow to so many; may be repeated, in order"
    )
    parser.add_argument("--dir", type=Path, help="keep data here, not on an ext4 image")
    parser.add_argument("--image", type=int, default=12, help="GiB of the ext4 image (sparse)")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "results.json")
    parser.add_argument("--docs", action="store_true", help="write docs/performance.md anew")
    options = parser.parse_args()
    options.gets, options.puts = 10_000, 1_000
    sizes = list(growth.SIZES)
    if options.quick:
        options.rounds, options.seconds, options.large = 1, 1, 64
        options.gets, options.puts = 1_000, 100
        sizes = [1, 1000, 5000]
    options.blobs = options.blobs or sizes
    options.only = options.only or list(PARTS)
    if options.dir is None and os.geteuid() != 0:
        sys.exit("Only root can mount an ext4 image: say --dir DIRECTORY")
    return options


def is_wanted(load: loads.Load, server: servers.Server, options: argparse.Namespace) -> bool:
    """Whether a server is put under a load."""
    if load in loads.MORE and server.name not in ("nginx", "gostore"):
        return False
    return not options.load or load.name in options.load


def measure_loads(options: argparse.Namespace, work: Work, scratch: Path, into: Results) -> None:
    """Each server in turn, in every round."""
    chosen = []
    for server in servers.SERVERS:
        if not options.server or server.name in options.server:
            reason = servers.why_not(server)
            if reason is None:
                chosen.append(server)
            else:
                print(f"SKIPPED: {server.name}: {reason}", file=sys.stderr)
    for number in range(options.rounds):
        for server in chosen:
            for place, some in work:
                mine = [each for each in some if is_wanted(each, server, options)]
                if not mine:
                    continue
                try:
                    with servers.running(server, place / "run") as here:
                        for load in mine:
                            sample = loads.run(load, here, number, options.seconds, scratch)
                            if sample is not None:
                                into.samples.append(sample)
                                print(f"{number} {server.name}: {load.name}: ", end="")
                                print(f"{sample.per_second:.4g}/s", flush=True)
                except RuntimeError as error:
                    print(f"FAILED: {error}", file=sys.stderr)


def measure_holds(options: argparse.Namespace, work: Work, scratch: Path, into: Results) -> None:
    """Every load once more on a gostore whose reactor is watched: to watch costs a little."""
    for place, some in work:
        with servers.running(servers.WATCHED, place / "run") as here:
            for load in some:
                if is_wanted(load, servers.WATCHED, options):
                    holds.taken(here)
                    sample = loads.run(load, here, 0, options.seconds, scratch)
                    into.holds.append(holds.of(load.name, holds.taken(here)))
                    print(f"held: {into.holds[-1]}, under {sample}", flush=True)


def measure_growth(options: argparse.Namespace, place: Path, into: Results) -> None:
    """One data directory that grows; garbage is collected in it, too."""
    base = place / "grown"
    base.mkdir()
    before = 0
    for number, blobs in enumerate(options.blobs):
        began = time.monotonic()
        growth.make(base / "data", before, blobs)
        before = blobs
        print(f"{blobs:,} blobs made in {time.monotonic() - began:.0f} s", flush=True)
        grown, held = growth.measure(base, blobs, number, options.seconds)
        into.growth.append(grown)
        into.holds += held
        print(grown, flush=True)
        last = blobs == options.blobs[-1]
        if blobs == COLLECTED or last:
            garbage = collection.GARBAGE if blobs <= COLLECTED else collection.GARBAGE[:1]
            into.collections += collection.measure(base / "data", list(garbage))
            growth.remove_others(base / "data", blobs)
            print(into.collections[-1], flush=True)


def measure(options: argparse.Namespace, stack: ExitStack, into: Results) -> None:
    """All parts that are wanted, on file systems that last as long as the stack."""
    if options.dir is None:
        base = stack.enter_context(places.ext4(options.image))
    else:
        base = Path(
            stack.enter_context(
                tempfile.TemporaryDirectory(prefix="gostore-bench-", dir=options.dir)
            )
        )
        base.chmod(0o755)
    scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gostore-load-")))
    large = loads.large(options.large * 1024**2) if options.large else ()
    work: Work = [(base, (*loads.SMALL, *large, *loads.MORE))]
    if os.geteuid() == 0:
        work.append((stack.enter_context(places.tmpfs()), loads.ON_TMPFS))
    if "loads" in options.only:
        measure_loads(options, work, scratch, into)
    if "holds" in options.only:
        measure_holds(options, work, scratch, into)
    if "calls" in options.only:
        into.calls += calls.measure(base / "run", options.gets, options.puts)
    if "tricks" in options.only:
        size = options.large * 1024**2
        for effect in tricks.measure(base / "run", scratch, options.rounds, options.seconds, size):
            into.tricks.append(effect)
            print(effect, flush=True)
    if "growth" in options.only:
        with ExitStack() as grown:
            place = base
            if options.dir is None:
                place = grown.enter_context(places.ext4_for_blobs(max(options.blobs)))
            measure_growth(options, place, into)


def main() -> None:
    """Run what was asked for; what was measured is kept even if the run is cut short."""
    options = arguments()
    # An end by SIGTERM cleans up as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    into = Results(
        machine=f"{platform.platform()}, {os.cpu_count()} processors",
        python=platform.python_version(),
        file_system="ext4 on a loop device" if options.dir is None else str(options.dir),
        load_average=os.getloadavg()[0],
    )
    began = time.monotonic()
    with ExitStack() as stack:
        try:
            measure(options, stack, into)
        finally:
            into.seconds = time.monotonic() - began
            into.save(options.output)
            text = page.text(into)
            options.output.with_suffix(".md").write_text(text)
            print(text)
    if options.docs:
        page.update(into)


if __name__ == "__main__":
    main()
