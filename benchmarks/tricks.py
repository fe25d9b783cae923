"""What each trick brings: gostore as it is, and a copy of it in which one of them is undone."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from benchmarks import loads, servers
from benchmarks.installed import ROOT, Installed
from benchmarks.loads import Load
from benchmarks.report import number, spread
from gostore.daemon.settings import TABLE

GET, GET_64, POST = loads.GET, loads.GET_64, loads.POST

UNCACHED = ("--memory-cache", "0")
"""What makes each GET do its work."""

Undo = tuple[str, str, str]
"""A module of gostore, a piece of its text that is there once, and what stands there without the
trick."""


SERVED_WITH_CONTEXT = """\
                from twisted.python.log import callWithLogger
                callWithLogger(selectable, serve, selectable, fd, event)"""


@frozen
class Trick:
    """One of them, where it is, and how it is undone."""

    name: str
    load: str
    """The name of the load that shows it; see `work`."""
    undo: tuple[Undo, ...] = ()
    off: tuple[str, ...] = ()
    """Options of the daemon that undo it."""
    both: tuple[str, ...] = ()
    """Options of the daemon with it and of that without it."""

    @property
    def where(self) -> str:
        """The modules it is in, or the options that turn it off."""
        modules = dict.fromkeys(f"`{module}`" for module, _, _ in self.undo)
        return ", ".join(modules) or f"`{' '.join(self.off)}`"

    @property
    def is_here(self) -> bool:
        """Whether this gostore has its options."""
        options = (*self.off, *self.both)[::2]
        return all(each.removeprefix("--") in TABLE for each in options)


TRICKS = (
    Trick("Whole answers are kept in memory", GET.name, off=UNCACHED),
    Trick("Whole answers are kept in memory (64 KiB)", GET_64.name, off=UNCACHED),
    Trick(
        "A small blob is hashed once a minute",
        GET_64.name,
        (
            (
                "store.openfiles",
                "return file.verified_at + VERIFIED_FOR - self._clock.seconds()",
                "return 0.0",
            ),
        ),
        both=UNCACHED,
    ),
    Trick(
        "Python's gc looks for cycles seldom (GET)",
        GET.name,
        (("daemon.process", "Cycles(self._reactor).setServiceParent(self)", "pass"),),
    ),
    Trick(
        "Python's gc looks for cycles seldom (POST)",
        POST.name,
        (("daemon.process", "Cycles(self._reactor).setServiceParent(self)", "pass"),),
    ),
    Trick(
        "The reactor's events have no context for the log",
        GET.name,
        (("wire.turns", "                serve(selectable, fd, event)", SERVED_WITH_CONTEXT),),
    ),
    Trick(
        "The data directory is looked at once a second",
        POST.name,
        (("volume.volume", "if lately and is_known", "if False and is_known"),),
    ),
    Trick(
        "A response is sent when it is written, not when the socket is found writable",
        GET.name,
        (("wire.transport", "if isinstance(port, tcp.Port) and port", "if False and port"),),
    ),
    Trick(
        "The fields of a blob's response are written out once",
        GET.name,
        (
            (
                "web.fields.representation",
                "known.blob is blob and known.sent == min(known.modified, now)",
                "False",
            ),
        ),
        both=UNCACHED,
    ),
    Trick(
        "A path that can only be a location is matched without Werkzeug",
        POST.name,
        (("web.routing", "self._match_location(method, path) or ", ""),),
    ),
    Trick(
        "A route needs no Deferred of its own (GET)",
        GET.name,
        (
            (
                "web.dispatch",
                "return _step(None, route(",
                "return Deferred.fromCoroutine(route(",
            ),
        ),
        both=UNCACHED,
    ),
    Trick(
        "A route's method is called directly, not through Klein",
        GET.name,
        (
            (
                "web.dispatch",
                "return endpoint(request, **arguments)",
                "return cast(Any, endpoint).__self__.app.execute_endpoint("
                "endpoint.__name__, request, **arguments)",
            ),
        ),
        both=UNCACHED,
    ),
    Trick(
        "Files are kept open, or opened on the reactor if no disk is waited for",
        GET.name,
        (
            ("daemon.providers", "max_open_files=share_of_files(10)", "max_open_files=1"),
            ("store.openfiles", "elif self._index.is_current(blob):", "elif False:"),
        ),
        both=UNCACHED,
    ),
    Trick(
        "What the page cache has is read on the reactor",
        GET.name,
        (
            (
                "store.reading",
                "if file is not None:\n            try:",
                "if False:\n            try:",
            ),
        ),
        both=UNCACHED,
    ),
    Trick(
        "A large blob is sent from its file (sendfile)",
        "GET large",
        (("wire.output", "return isinstance(self._transport, EagerServer)", "return False"),),
    ),
    Trick(
        "What the page cache has is sent without a worker (mincore)",
        "GET large",
        (
            (
                "store.reading",
                "if self._reader.volume.is_loaded(self._file.fd, offset, length):",
                "if False:",
            ),
        ),
    ),
    Trick(
        "A large body is read and written in larger pieces",
        "PUT large",
        (
            ("wire.transport", "READ_MOST if len(data) == self._read_size else ", ""),
            ("store.admission", "WAITING_ALONE if self.uploads < _FEW else WAITING", "WAITING"),
        ),
    ),
    Trick(
        "Small writes share one flush, of the redo journal",
        POST.name,
        (("volume.backlog", "self._journaled = journaled", "self._journaled = False"),),
    ),
    Trick(
        "Those who were answered together share the next flush",
        POST.name,
        (
            (
                "store.committer",
                "if seen < len(self._ready) < self._expected and turns:",
                "if False:",
            ),
        ),
    ),
    Trick(
        "A small body that is here needs no Upload",
        POST.name,
        (("store.blobstore", "            if is_whole(body):", "            if False:"),),
    ),
    Trick(
        "A large body is written out while it comes",
        "PUT large",
        (("volume.volume", "if stage.held_back >= HELD_BACK:", "if False:"),),
    ),
    Trick(
        "A large body is hashed by one thread and written by another",
        "PUT large",
        (("store.upload", "if sum(map(len, pieces)) < _MUCH:", "if True:"),),
    ),
    Trick(
        "What the reactor reads in one turn shares a flush",
        POST.name,
        (
            (
                "store.committer",
                "self._flushing = True\n                self._clock.callLater(0, self._gather, 0)",
                "self._flushing = True\n                self._flush()",
            ),
        ),
    ),
)


@frozen
class Effect:
    """One load in one round, with all tricks and with one undone."""

    trick: str
    where: str
    load: str
    round: int
    with_cpu_us: float
    without_cpu_us: float
    with_per_second: float
    without_per_second: float


def undone(source: str, old: str, new: str) -> str:
    """The text of a module without a trick. Raises ValueError if it is not there just once."""
    if source.count(old) != 1:
        raise ValueError(f"{source.count(old)} times, and not once: {old!r}")
    return source.replace(old, new)


def path_of(root: Path, module: str) -> Path:
    """Where a module, named by its dotted name below gostore, is in a copy of the source."""
    return root.joinpath("gostore", *module.split(".")).with_suffix(".py")


def copy(root: Path, undo: Iterable[Undo] = ()) -> Path:
    """A copy of gostore and its plugin, with some pieces replaced."""
    for part in ("gostore", "twisted"):
        ignored = shutil.ignore_patterns("__pycache__", "dropin.cache")
        shutil.copytree(ROOT / part, root / part, ignore=ignored)
    for module, old, new in undo:
        path = path_of(root, module)
        path.write_text(undone(path.read_text(), old, new))
    return root


def work(large: int) -> dict[str, Load]:
    """The loads that show tricks, by the names that these have for them; ``large`` in bytes."""
    found = {each.name: each for each in (GET, GET_64, POST)}
    if large:
        put, get = loads.large(large)
        found |= {"PUT large": put, "GET large": get}
    return found


@contextmanager
def _running(
    installed: Installed, base: Path, options: tuple[str, ...]
) -> Iterator[servers.Running]:
    command = servers.gostore(installed, *options)
    server = servers.Server("gostore", command, source=installed.source)
    with servers.running(server, base) as here:
        yield here


@frozen
class Measurement:
    """How tricks are measured."""

    python: Path
    """What runs gostore."""
    base: Path
    scratch: Path
    rounds: int
    seconds: int
    large: int
    """Bytes."""


def measure(how: Measurement, names: list[str]) -> Iterator[Effect]:
    """All of gostore and a copy without one trick run side by side, and get the load in turn.

    What else the machine does changes meanwhile, so many short rounds tell more than few long ones.
    ``names`` are beginnings of tricks; without any all are measured.
    """
    whole = Installed(how.python, copy(how.scratch / "whole"))
    for at, trick in enumerate(TRICKS):
        load = work(how.large).get(trick.load)
        if load is None or (names and not trick.name.startswith(tuple(names))):
            continue
        if not trick.is_here:
            print(f"SKIPPED: {trick.name}: no {trick.where}", file=sys.stderr)
            continue
        lacking = Installed(how.python, copy(how.scratch / f"without-{at}", trick.undo))
        with (
            _running(whole, how.base / "with", trick.both) as one,
            _running(lacking, how.base / "without", trick.both + trick.off) as two,
        ):
            if not load.connections:
                # What is read has to be there, and what is written has something in its way.
                for here in (one, two):
                    _sample(loads.large(load.size)[0], here, 0, how)
            for round in range(how.rounds):
                pair = [one, two] if round % 2 else [two, one]
                found = {here.port: _sample(load, here, round, how) for here in pair}
                with_it, without = found[one.port], found[two.port]
                yield Effect(
                    trick.name,
                    trick.where,
                    load.name,
                    round,
                    with_it.cpu_us,
                    without.cpu_us,
                    with_it.per_second,
                    without.per_second,
                )


def _sample(load: Load, here: servers.Running, round: int, how: Measurement) -> loads.Sample:
    found = loads.run(load, here, round, how.seconds, how.scratch)
    if found.errors:
        raise RuntimeError(f"{load.name}: requests failed: {found}")
    return found


def table(effects: list[Effect]) -> str:
    """Medians over the rounds, as a Markdown table."""
    lines = [
        "| trick | in | load | CPU us a request: with it | without it "
        "| x CPU with it: median (min-max) | x requests/s |",
        "|---|---|---|--:|--:|--:|--:|",
    ]
    for name in dict.fromkeys(each.trick for each in effects):
        mine = [each for each in effects if each.trick == name]
        cpu = spread(each.with_cpu_us / each.without_cpu_us for each in mine)
        gain = spread(each.with_per_second / each.without_per_second for each in mine)
        with_it = spread(each.with_cpu_us for each in mine).median
        without = spread(each.without_cpu_us for each in mine).median
        lines.append(
            f"| {name} | {mine[0].where} | {mine[0].load} "
            f"| {number(with_it)} | {number(without)} | {cpu} | {gain.median:.2f} |"
        )
    return "\n".join(lines)
