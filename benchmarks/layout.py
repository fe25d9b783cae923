"""What the layout on the disk alone costs: its files made in a bare loop, without a server.

``python benchmarks/layout.py DIRECTORY KIND COUNT`` does what ``layout.c`` does, by Python's calls.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from attrs import frozen

from benchmarks.loads import POST, Sample
from benchmarks.report import middle, number, spread

KINDS = ("journal", "stage", "nginx")

COUNT = 4000
BATCH, DATA, RECORD = 32, 1024, 1066

SOURCE = Path(__file__).with_suffix(".c")

WHAT = {
    "journal": "journal, then a directory and two files (gostore)",
    "stage": "journal and a stage that is renamed (before)",
    "nginx": "one file that is renamed, no flush (nginx)",
}


@frozen
class Limit:
    """A bare loop that made so many blobs."""

    kind: str
    language: str
    round: int
    blobs: int
    seconds: float
    cpu_seconds: float

    @property
    def cpu_us(self) -> float:
        """Microseconds of processor time for each blob."""
        return 1e6 * self.cpu_seconds / self.blobs


def compiled(scratch: Path) -> Path | None:
    """The program in C, if there is a compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        print("SKIPPED: the bare loop in C: there is no compiler (cc)", file=sys.stderr)
        return None
    program = scratch / "layout"
    subprocess.run([compiler, "-O2", "-o", str(program), str(SOURCE)], check=True)
    return program


def measure(base: Path, program: Path | None, round: int, count: int = COUNT) -> list[Limit]:
    """Every kind, in C if it is there, and in Python."""
    commands = {"Python": [sys.executable, str(Path(__file__))]}
    if program is not None:
        commands = {"C": [str(program)], **commands}
    found = []
    for kind in KINDS:
        for language, command in commands.items():
            shutil.rmtree(base, ignore_errors=True)
            base.mkdir(parents=True)
            done = subprocess.run(
                [*command, str(base), kind, str(count)],
                check=True,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": str(SOURCE.parent.parent)},
            )
            seconds, cpu = (float(each) for each in done.stdout.split())
            found.append(Limit(kind, language, round, count, seconds, cpu))
    shutil.rmtree(base, ignore_errors=True)
    return found


def table(found: list[Limit], samples: list[Sample]) -> str:
    """Medians over the rounds, as Markdown; the servers that make such files below the loops."""
    lines = ["| files | made by | us a blob | CPU us | blobs/s |", "|---|---|--:|--:|--:|"]
    for kind, language in dict.fromkeys((each.kind, each.language) for each in found):
        mine = [each for each in found if (each.kind, each.language) == (kind, language)]
        wall = spread(1e6 * each.seconds / each.blobs for each in mine).median
        cpu = spread(each.cpu_us for each in mine).median
        lines.append(
            f"| {WHAT[kind]} | a loop in {language} "
            f"| {number(wall)} | {number(cpu)} | {number(1e6 / wall)} |"
        )
    for server in ("gostore", "before", "nginx"):
        rate = middle(samples, server, POST.name)
        cost = middle(samples, server, POST.name, lambda sample: sample.cpu_us)
        if rate is not None and cost is not None:
            lines.append(f"| {POST.name} | {server} | - | {number(cost)} | {number(rate)} |")
    return "\n".join(lines)


def _store(path: str, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    os.write(fd, data)
    os.close(fd)


def loop(kind: str, count: int) -> None:
    """Make the files of so many blobs in the working directory."""
    data, record, batch = bytes(DATA), bytes(RECORD), bytes(BATCH * (DATA + RECORD))
    if kind == "nginx":
        os.mkdir("made")
        os.mkdir("store")
        for each in range(count):
            _store(f"made/{each}", data)
            os.rename(f"made/{each}", f"store/new-{each}")
        return
    journal = os.open("journal", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    for each in range(count):
        if each % BATCH == 0:
            os.write(journal, batch)
            os.fdatasync(journal)
        # Scattered, as ids are.
        final = str(each * 2654435761 % 2**32)
        name = f".new-{final}" if kind == "stage" else final
        os.mkdir(name)
        _store(f"{name}/data.raw", data)
        _store(f"{name}/blob_state.base64.json", record)
        if kind == "stage":
            os.rename(name, final)
    os.close(journal)


def main() -> None:
    """Print the seconds that passed, and those of processor time."""
    directory, kind, count = sys.argv[1:]
    os.chdir(directory)
    began, used = time.perf_counter(), time.process_time()
    loop(kind, int(count))
    print(time.perf_counter() - began, time.process_time() - used)


if __name__ == "__main__":
    main()
