"""``python -m benchmarks``: gostore and its peers in turn, several rounds, a table of ratios."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from attrs import asdict

from benchmarks import loads, report, servers, targets

HERE = Path(__file__).parent


@contextmanager
def ext4(gibibytes: int) -> Iterator[Path]:
    """A journaled ext4 file system of its own, in a sparse file on a loop device. Needs root."""
    with tempfile.TemporaryDirectory(prefix="gostore-bench-") as name:
        image, where = Path(name) / "image", Path(name) / "mounted"
        where.mkdir()
        with image.open("wb") as file:
            file.truncate(gibibytes * 1024**3)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-i", "4096", str(image)], check=True)
        subprocess.run(["mount", "-o", "loop", str(image), str(where)], check=True)
        where.chmod(0o755)
        Path(name).chmod(0o755)
        try:
            yield where
        finally:
            subprocess.run(["umount", str(where)], check=True)


@contextmanager
def tmpfs() -> Iterator[Path]:
    """A file system without a disk. Needs root."""
    with tempfile.TemporaryDirectory(prefix="gostore-bench-") as name:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4g", "none", name], check=True)
        Path(name).chmod(0o755)
        try:
            yield Path(name)
        finally:
            subprocess.run(["umount", name], check=True)


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round, short, 64 MiB")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4, help="of each small load")
    parser.add_argument("--large", type=int, default=512, help="MiB of the large blob; 0: none")
    parser.add_argument("--server", action="append", help="only this one; may be repeated")
    parser.add_argument("--load", action="append", help="only this one, such as 'GET 1 KiB'")
    parser.add_argument("--dir", type=Path, help="keep data here, not on an ext4 image")
    parser.add_argument("--image", type=int, default=12, help="GiB of the ext4 image (sparse)")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "results.json")
    parser.add_argument("--docs", action="store_true", help="write docs/performance.md anew")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds, options.large = 1, 2, 64
    return options


def main() -> None:
    """Run what was asked for; what was measured is kept even if the run is cut short."""
    options = arguments()
    # An end by SIGTERM cleans up as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    def is_wanted(load: loads.Load, server: servers.Server) -> bool:
        if load in loads.MORE and server.name not in ("nginx", "gostore"):
            return False
        return not options.load or load.name in options.load

    samples: list[loads.Sample] = []
    with ExitStack() as stack:
        if options.dir is None and os.geteuid() == 0:
            base, kind = stack.enter_context(ext4(options.image)), "ext4 on a loop device"
        elif options.dir is None:
            sys.exit("Only root can mount an ext4 image: say --dir DIRECTORY")
        else:
            base = Path(tempfile.mkdtemp(prefix="gostore-bench-", dir=options.dir))
            base.chmod(0o755)
            stack.callback(base.rmdir)
            kind = str(options.dir)
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gostore-load-")))
        large = loads.large(options.large * 1024**2) if options.large else ()
        places: list[tuple[Path, tuple[loads.Load, ...]]] = [
            (base, (*loads.SMALL, *large, *loads.MORE))
        ]
        if os.geteuid() == 0:
            places.append((stack.enter_context(tmpfs()), loads.ON_TMPFS))
        chosen = []
        for server in servers.SERVERS:
            if not options.server or server.name in options.server:
                reason = servers.why_not(server, base)
                if reason is None:
                    chosen.append(server)
                else:
                    print(f"SKIPPED: {server.name}: {reason}", file=sys.stderr)
        try:
            for number in range(options.rounds):
                for server in chosen:
                    for place, work in places:
                        mine = [each for each in work if is_wanted(each, server)]
                        if not mine:
                            continue
                        try:
                            with servers.running(server, place / "run") as here:
                                for load in mine:
                                    sample = loads.run(load, here, number, options.seconds, scratch)
                                    if sample is not None:
                                        samples.append(sample)
                                        print(f"{number} {server.name}: {load.name}: ", end="")
                                        print(f"{sample.per_second:.4g}/s", flush=True)
                        except RuntimeError as error:
                            print(f"FAILED: {error}", file=sys.stderr)
        finally:
            machine = f"{platform.platform()}, {os.cpu_count()} processors"
            found = {
                "machine": machine,
                "python": platform.python_version(),
                "file system": kind,
                "samples": [asdict(each) for each in samples],
            }
            options.output.parent.mkdir(parents=True, exist_ok=True)
            options.output.write_text(json.dumps(found, indent=1) + "\n")
            text = report.table(samples)
            options.output.with_suffix(".md").write_text(f"{machine}, {kind}\n\n{text}\n")
            print(f"{text}\n\n{targets.table(samples)}")
            if options.docs and samples:
                # Here, since only this needs matplotlib.
                from benchmarks import page

                page.update(found)


if __name__ == "__main__":
    main()
