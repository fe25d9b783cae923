"""``python -m benchmarks.uploads``: `gostore put`, cut by kill -9, and beside its peers.

A tree of small files and one sparse file go to a daemon of the trial's own. First the client and
the daemon are killed again and again, in turns, at random points of the transfer, and the command
is given once more; what is stored at the end is compared with what was sent. Then each program
sends, or fetches, the same bytes without being disturbed: its time and its peak of memory.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from attrs import define, field, frozen

from gostore.commands.trial_daemon import TrialDaemon

GOSTORE = (sys.executable, "-m", "gostore.commands.main")
NODE = Path(__file__).parent.parent / "tests" / "e2e" / "node" / "tus.mjs"
MODULES = Path(sys.prefix) / "node" / "node_modules"

MIB = 1024 * 1024

#: The sparse file has this many random bytes in every so many, so that no two parts are the same.
MARK, EVERY = 4096, 64 * MIB

#: How often a command is given again that ends without success.
_ATTEMPTS = 50


@frozen
class Ran:
    """What one program took: seconds, its peak of memory in MiB, and its CPU seconds."""

    what: str
    seconds: float
    peak: float
    cpu: float
    note: str = ""


@define(eq=False)
class Trial:
    """A daemon on a port that stays, what is sent to it, and what came of it."""

    here: Path
    rng: random.Random
    daemon: TrialDaemon = field(init=False)
    results: list[Ran] = field(factory=list)
    kills: dict[str, int] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.daemon = TrialDaemon(
            self.here / "data", "--gc-interval", "1", "-s", f"tcp:{port}:interface=127.0.0.1"
        )
        self.daemon.start()

    @property
    def url(self) -> str:
        """Where the daemon listens."""
        return f"http://127.0.0.1:{self.daemon.port}"

    @property
    def env(self) -> dict[str, str]:
        """The environment of the programs: the client remembers in a directory of the trial's."""
        source = str(Path(__file__).parent.parent)
        mine = {"PYTHONPATH": source, "XDG_STATE_HOME": str(self.here / "state")}
        return {**os.environ, **mine, "NO_PROXY": "*", "NODE_PATH": str(MODULES)}

    # -- undisturbed --------------------------------------------------------------------------

    def run(self, what: str, *command: str, text: str = "") -> None:
        """Run a program to its end, which has to be success, and note what it took."""
        began = time.monotonic()
        with open(self.here / "said", "w+b") as said:
            process = subprocess.Popen(
                command, cwd=self.here, env=self.env, stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL, stderr=said,
            )  # fmt: skip
            assert process.stdin is not None
            with suppress(BrokenPipeError), process.stdin:
                process.stdin.write(text.encode())
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            said.seek(0)
            if process.returncode:
                raise RuntimeError(f"{what}: {said.read()[-2000:].decode(errors='replace')}")
        seconds = time.monotonic() - began
        cpu = used.ru_utime + used.ru_stime
        self.results.append(Ran(what, seconds, used.ru_maxrss / 1024, cpu))
        print(f"  {what}: {seconds:.1f} s, {used.ru_maxrss / 1024:.0f} MiB", flush=True)

    def empty(self) -> None:
        """Delete all blobs, and wait until their bytes are gone."""
        self.daemon.stop()
        shutil.rmtree(self.daemon.directory)
        self.daemon.start()

    # -- disturbed ----------------------------------------------------------------------------

    def cut(self, what: str, kills: int, total: int, far: Callable[[], int], *command: str) -> None:
        """Give a command until it succeeds; kill it, or the daemon, at random points before that.

        ``far`` says how far it is, of ``total``.
        """
        points = sorted(self.rng.uniform(0.02, 0.98) * total for _ in range(kills))
        victims = [("client", "daemon")[number % 2] for number in range(kills)]
        self.rng.shuffle(victims)
        killed = {"client": 0, "daemon": 0}
        began, attempts, peak = time.monotonic(), 0, 0.0
        while True:
            attempts += 1
            if attempts > _ATTEMPTS + kills:
                raise RuntimeError(f"{what} does not come to its end")
            process = subprocess.Popen(
                command, cwd=self.here, env=self.env, stderr=subprocess.DEVNULL
            )
            ended: int | None = None
            while ended is None:
                pid, status, used = os.wait4(process.pid, os.WNOHANG)
                if pid:
                    peak = max(peak, used.ru_maxrss / 1024)
                    process.returncode = ended = os.waitstatus_to_exitcode(status)
                elif points and far() >= points[0]:
                    points.pop(0)
                    victim = victims.pop(0)
                    killed[victim] += 1
                    if victim == "client":
                        process.kill()
                    else:
                        self.daemon.kill()
                        self.daemon.start()
                else:
                    time.sleep(0.01)
            if ended == 0:
                break
        note = f"{killed['client']} kills of the client, {killed['daemon']} of the daemon"
        took = Ran(f"{what}, cut", time.monotonic() - began, peak, 0, f"{note}, {attempts} runs")
        self.results.append(took)
        print(f"  {took.what}: {took.seconds:.1f} s, {peak:.0f} MiB, {took.note}", flush=True)

    def arrived(self) -> int:
        """How many bytes of an unfinished upload the daemon has."""
        return sum(_size(each) for each in self.daemon.directory.glob(".upload-*/data.raw"))

    def stored(self) -> int:
        """How many blobs have a directory."""
        with os.scandir(self.daemon.directory) as found:
            return sum(each.name.isdigit() for each in found)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


@contextmanager
def scratch(where: Path | None) -> Iterator[Path]:
    """A directory that is gone afterwards, whatever happens."""
    with tempfile.TemporaryDirectory(prefix="gostore-uploads-", dir=where) as name:
        yield Path(name)


# -- what is sent ---------------------------------------------------------------------------------


def make_tree(here: Path, count: int, rng: random.Random) -> tuple[Path, int]:
    """So many files of 1 to 16 KiB, a hundred in a directory; and how many bytes that is."""
    total = 0
    for number in range(count):
        path = here / "tree" / f"{number // 100:03}" / f"{number:05}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        data = rng.randbytes(rng.randint(1024, 16384))
        path.write_bytes(data)
        total += len(data)
    return here / "tree", total


def make_sparse(here: Path, size: int, rng: random.Random) -> Path:
    """One file of this size, nearly all of it a hole."""
    path = here / "large"
    with path.open("wb") as file:
        file.truncate(size)
        for start in range(0, size, EVERY):
            file.seek(start)
            file.write(rng.randbytes(min(MARK, size - start)))
    return path


def sha256(path: Path) -> str:
    """The digest of a file."""
    hashed = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(MIB):
            hashed.update(piece)
    return hashed.hexdigest()


# -- the two parts --------------------------------------------------------------------------------


def large_file(trial: Trial, size: int, kills: int, *, peers: bool) -> None:
    """One large file: cut by kills, and sent by each program."""
    path, daemon = make_sparse(trial.here, size, trial.rng), trial.daemon
    digest = sha256(path)
    target = f"{trial.url}/store/large"

    def check() -> None:
        answer = daemon.ask("HEAD", "large")
        if answer.headers["ETag"] != f'"{digest}"':
            raise RuntimeError("what is stored is not what was sent")

    put = (*GOSTORE, "put", "large", target, "-q")
    trial.cut("gostore put", kills, size, trial.arrived, *put)
    check()
    trial.run("gostore verify (reads it)", *GOSTORE, "verify", target, "-q")
    if not peers:
        return
    fetch_large(trial)
    trial.empty()
    programs: list[tuple[str, Sequence[str], str]] = [
        ("gostore put", put, ""),
        ("gostore put --no-resume", (*put, "--no-resume"), ""),
        ("curl -T (PUT)", ("curl", "-sSf", "-T", "large", "-H", "If-None-Match: *", target), ""),
    ]
    if shutil.which("node") and MODULES.exists():
        job = {"file": "large", "location": "large", "chunk": 0}
        node = ("node", str(NODE), f"{trial.url}/uploads/", "stream")
        programs.append(("tus-js-client", node, json.dumps([job])))
    for what, command, text in programs:
        trial.run(what, *command, text=text)
        check()
        trial.empty()


def fetch_large(trial: Trial) -> None:
    """The read side: what each program takes to fetch the large file and throw it away."""
    target = f"{trial.url}/store/large"
    trial.run("gostore get -", *GOSTORE, "get", target, "-")
    trial.run("curl", "curl", "-sSf", target)
    if shutil.which("rclone"):
        trial.run("rclone cat", *rclone("cat", ":http:large", trial.url))


def rclone(verb: str, source: str, url: str, *more: str) -> tuple[str, ...]:
    """A command of rclone that reads from the daemon."""
    server = ("--http-url", f"{url}/store/", "--config", "/dev/null")
    return ("rclone", verb, source, *more, *server)


def many_files(trial: Trial, count: int, kills: int, *, peers: bool) -> None:
    """A tree of small files: cut by kills, and sent and fetched by each program."""
    tree, size = make_tree(trial.here, count, trial.rng)
    target = f"{trial.url}/store/tree/"
    print(f"  {count} files, {size / MIB:.1f} MiB")
    put = (*GOSTORE, "put", "tree", target, "-q")
    trial.cut("gostore put", kills, count, trial.stored, *put)
    trial.run("gostore verify (reads them)", *GOSTORE, "verify", target, "-q")
    trial.run("gostore get", *GOSTORE, "get", target, "back", "-q")
    compare(tree, trial.here / "back")
    if not peers:
        return
    if shutil.which("rclone"):
        # As many at a time as gostore.
        more = ("copied", "--transfers", "8", "--checkers", "8")
        trial.run("rclone copy", *rclone("copy", ":http:tree", trial.url, *more))
        compare(tree, trial.here / "copied")
    trial.empty()
    trial.run("gostore put", *put)
    trial.empty()
    config = trial.here / "curl"
    names = sorted(str(each.relative_to(tree)) for each in tree.rglob("*.bin"))
    config.write_text(
        "".join(f'upload-file = "tree/{name}"\nurl = "{target}{name}"\n' for name in names)
    )
    header = ("-H", "If-None-Match: *")
    curl = ("curl", "-sSf", "--parallel", "--parallel-max", "8", *header, "-K", "curl")
    trial.run("curl --parallel (PUT)", *curl)
    trial.empty()
    if shutil.which("node") and MODULES.exists():
        jobs = [{"file": f"tree/{name}", "location": f"tree/{name}"} for name in names]
        node = ("node", str(NODE), f"{trial.url}/uploads/", "stream", "8")
        trial.run("tus-js-client", *node, text=json.dumps(jobs))


def compare(one: Path, other: Path) -> None:
    """Raise unless two trees are equal; the other is gone afterwards."""
    subprocess.run(["diff", "-r", str(one), str(other)], check=True, stdout=subprocess.DEVNULL)
    shutil.rmtree(other)


def table(title: str, results: Sequence[Ran]) -> str:
    """The results as Markdown."""
    lines = [f"| {title} | s | peak MiB | CPU s | |", "|---|---|---|---|---|"]
    for each in results:
        cpu = f"{each.cpu:.1f}" if each.cpu else ""
        lines.append(
            f"| {each.what} | {each.seconds:.1f} | {each.peak:.0f} | {cpu} | {each.note} |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what the arguments say, and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.uploads", description=__doc__)
    parser.add_argument("--files", type=int, default=10_000, help="in the tree; 0: none")
    parser.add_argument("--mib", type=int, default=20 * 1024, help="of the large file; 0: none")
    parser.add_argument("--kills", type=int, default=6, help="for each of both")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only-cut", action="store_true", help="nothing but what is killed")
    parser.add_argument("--dir", type=Path, help="where the data go: --mib and a tenth of it")
    given = parser.parse_args(arguments)
    how = {"kills": given.kills, "peers": not given.only_cut}
    parts: Mapping[str, Callable[[Trial], None]] = {
        f"{given.files} files": lambda trial: many_files(trial, given.files, **how),
        f"{given.mib} MiB": lambda trial: large_file(trial, given.mib * MIB, **how),
    }
    tables = []
    for title, part in parts.items():
        if title.startswith("0 "):
            continue
        print(title, flush=True)
        with scratch(given.dir) as here:
            trial = Trial(here, random.Random(given.seed))
            try:
                part(trial)
            finally:
                trial.daemon.close()
                tables.append(table(title, trial.results))
    print("\n\n".join(tables))


if __name__ == "__main__":
    main()
