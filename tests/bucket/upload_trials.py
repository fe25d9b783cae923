"""What uploads over a bucket are put through, and mutants: each misses one thing that they do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any

from attrs import evolve

from gostore.bucket.engine import Listed, Unsettled
from tests.bucket import mutants
from tests.bucket.mutants import Mutant
from tests.bucket.trials import Script, faults, lagging
from tests.bucket.upload_world import UPLOADING, UploadWorld
from tests.bucket.world import Setting, ShimEngine, Violation
from tests.simulation.mutants import compiled

_OPERATIONS = 18


def play(settings: Iterable[Setting], modules: SimpleNamespace = UPLOADING) -> list[UploadWorld]:
    """Play some runs; return their worlds."""
    worlds = []
    for setting in settings:
        world = UploadWorld(evolve(setting, operations=_OPERATIONS), modules=modules)
        world.play()
        worlds.append(world)
    return worlds


# -- trials for mutants ---------------------------------------------------------------------------


def under_faults(modules: SimpleNamespace) -> None:
    """Many short runs under all faults."""
    play(faults(range(100)), modules)


def under_lists_that_lag(modules: SimpleNamespace) -> None:
    """Runs in which listings lag behind."""
    play(lagging(range(40)), modules)


class UploadScript(Script):
    """A world without chance, in which a test takes the steps."""

    def __init__(self, modules: SimpleNamespace) -> None:
        super().__init__(modules)
        self.world: UploadWorld = UploadWorld(self.world.setting, modules=modules)
        self.world.quiet = True

    @property
    def until(self) -> float:
        """When to give up what begins now."""
        return self.world.now + 20.0

    def begin(self, data: bytes) -> int:
        """An upload all of whose bytes are here."""
        kept, _ = self.world.uploading(0)
        begun = self.modules.unfinished.Begun("a", "", "", len(data), "NNNNNNNN")
        number: int = kept.begin(begun, self.until)
        kept.add(number, 0, data, self.until)
        return number

    def finish(self, number: int, daemon: int = 0, *, replaces: bool = False) -> str:
        """Finish it at a daemon; return what came of it."""
        _, finishing = self.world.uploading(daemon)
        try:
            finishing.finish(number, self.modules.protocol.Demand("a", replaces), lambda: None)
        except Exception as error:
            return type(error).__name__
        return "done"


class Disturbed(ShimEngine):
    """A way to the bucket on which something happens right before the first request of a kind.

    That is the swap of a pointer, or a list of uploads.
    """

    def __init__(
        self,
        world: UploadWorld,
        daemon: int,
        act: Callable[[], object] | None = None,
        start: str = "locations/",
    ) -> None:
        super().__init__(world, daemon)
        self.act = act
        self.start = start

    def _before(self, key: str) -> None:
        act = self.act
        if act is not None and key.startswith(self.start):
            self.act = None
            act()

    def list(self, prefix: str, after: str = "") -> Iterator[Listed]:
        self._before(prefix)
        return super().list(prefix, after)

    def create(self, key: str, data: bytes) -> str:
        self._before(key)
        return super().create(key, data)

    def swap(self, key: str, data: bytes, etag: str) -> str:
        self._before(key)
        return super().swap(key, data, etag)


def disturbed(script: UploadScript, act: Callable[[], object], daemon: int = 0) -> None:
    """Let something happen right before the first swap of a pointer that a daemon tries."""
    world = script.world
    _, finishing = world.uploading(daemon)
    finishing._ask.engine = Disturbed(world, daemon, act)


def terminated_at_the_swap(modules: SimpleNamespace) -> None:
    """Another daemon is told to terminate an upload whose swap is on its way."""
    script = UploadScript(modules)
    number = script.begin(b"mine")

    def terminate() -> None:
        script.world.uploading(1)[1].terminate(number, "it was terminated")

    disturbed(script, terminate)
    script.expect(script.finish(number), "Busy", "what its finisher is told")
    script.expect(script.verb("GET", "a"), (404, None), "what is there then")


def replaced_between_two(modules: SimpleNamespace) -> None:
    """Two daemons finish an upload, and somebody replaces its blob between them."""
    script = UploadScript(modules)
    number = script.begin(b"mine")
    script.verb("POST", "a", "old")

    def meanwhile() -> None:
        script.expect(script.finish(number, 1, replaces=True), "done", "the faster one")
        script.verb("PUT", "a", "newer")

    disturbed(script, meanwhile)
    script.expect(script.finish(number, replaces=True), "done", "the slower one")
    script.expect(script.verb("GET", "a"), (200, "newer"), "what is there then")


def forgotten(modules: SimpleNamespace) -> None:
    """A daemon dies behind its swap, and the history of the location forgets it."""
    script = UploadScript(modules)
    number = script.begin(b"mine")

    class Died(BaseException):
        pass

    world = script.world
    _, finishing = world.uploading(0)
    engine = Disturbed(world, 0)
    create = engine.create

    def die(key: str, data: bytes) -> str:
        done = create(key, data)
        if key.startswith("locations/"):
            raise Died
        return done

    engine.create = die
    finishing._ask.engine = engine
    try:
        script.finish(number)
    except Died:
        world.at_work.clear()
    script.expect(script.verb("GET", "a"), (200, "mine"), "the blob is there")
    for value in range(9):
        script.verb("PUT", "a", f"other {value}")
    script.verb("DELETE", "a")
    script.expect(script.finish(number), "UploadOver", "what the next one is told")
    script.expect(script.verb("GET", "a"), (404, None), "what is there then")


def collected_while_copied(modules: SimpleNamespace) -> None:
    """A daemon stands still between its copy and its look at the pointer; a sweep comes along."""
    script = UploadScript(modules)
    number = script.begin(b"mine")
    world = script.world
    kept, _ = world.uploading(0)
    find, asked = kept.find, []

    def stall(*what: Any) -> Any:
        asked.append(what)
        if len(asked) == 2:
            world.now += 2 * world.setting.grace
            world.collect(1)
        return find(*what)

    kept.find = stall
    told = script.finish(number)
    wanted = (200, "mine") if told == "done" else (404, None)
    script.expect(script.verb("GET", "a"), wanted, f"after {told}")


def lost_answer_to_a_piece(modules: SimpleNamespace) -> None:
    """A piece's answer is lost, and another daemon's bytes are behind it before it is asked for."""
    script = UploadScript(modules)
    world = script.world
    kept, _ = world.uploading(0)
    begun = modules.unfinished.Begun("a", "", "", 4, "NNNNNNNN")
    number = kept.begin(begun, script.until)
    engine = Disturbed(world, 0)
    create = engine.create

    def lose(key: str, data: bytes) -> str:
        engine.create = create
        world.uploading(1)[0].add(number, 0, b"xy", script.until)
        raise Unsettled("lost")

    engine.create = lose
    kept.ask.engine = engine
    try:
        kept.add(number, 0, b"ab", script.until)
    except Exception as error:
        script.expect(type(error).__name__, "WrongOffset", "what the slower one is told")
    else:
        raise Violation("bytes were acknowledged that are not there")


def finished_while_looked_at(modules: SimpleNamespace) -> None:
    """Another daemon finishes an upload, and removes its pieces, while one asks for them."""
    script = UploadScript(modules)
    number = script.begin(b"mine")
    world = script.world
    kept, _ = world.uploading(0)

    def meanwhile() -> None:
        script.finish(number, 1)
        world.uploading(1)[0].clear(number, lambda: True, 20.0)

    kept.ask.engine = Disturbed(world, 0, meanwhile, "uploads/")
    found, come = kept.look(number, script.until)
    if not found.begun.is_over:
        script.expect(come.offset, 4, "how far it is said to be")


SCRIPTS = (
    finished_while_looked_at,
    terminated_at_the_swap,
    replaced_between_two,
    forgotten,
    collected_while_copied,
    lost_answer_to_a_piece,
)


class UploadMutant(Mutant):
    """As there, with what uploads need compiled anew, too."""

    def load(self) -> SimpleNamespace:
        """Compile it; raises AssertionError if the code it changes is not there any more."""
        more = ("unfinished", "pieces", "finishing", "expiring")
        modules = (*mutants._MODULES, *(f"bucket.{name}" for name in more))
        loaded = compiled(modules, self.name, self.module, ((self.old, self.new), *self.more))
        return SimpleNamespace(**{name.rpartition(".")[2]: each for name, each in loaded.items()})


UPLOAD_MUTANTS = (
    UploadMutant(
        "a piece is put whatever is there",
        "bucket.pieces",
        "                self.ask.engine.create(key, data)\n",
        "                self.ask.engine.put(key, data)\n",
        under_faults,
    ),
    UploadMutant(
        "a piece that is there counts as the one that was sent",
        "bucket.pieces",
        "                return found is not None and found[0] == data\n",
        "                return True\n",
        lost_answer_to_a_piece,
    ),
    UploadMutant(
        "the offset is what a list shows",
        "bucket.pieces",
        "listed.get(offset) or self._look(number, offset, until)",
        "listed.get(offset)",
        under_lists_that_lag,
    ),
    UploadMutant(
        "the offset is remembered",
        "bucket.pieces",
        "        listed = self.ask.settle(partial(self._list, number), until)\n",
        "        known = self.__dict__.setdefault('known', {})\n"
        "        if number in known:\n"
        "            return known[number]\n"
        "        listed = self.ask.settle(partial(self._list, number), until)\n",
        under_faults,
        (
            (
                "        return Come(offset, when, tuple(pieces))\n",
                "        known[number] = Come(offset, when, tuple(pieces))\n"
                "        return known[number]\n",
            ),
        ),
    ),
    UploadMutant(
        "what is known of an upload is read before its bytes",
        "bucket.pieces",
        "        come = self.come(number, until)\n        return self.find(number, until), come\n",
        "        kept = self.find(number, until)\n        return kept, self.come(number, until)\n",
        finished_while_looked_at,
    ),
    UploadMutant(
        "no digest is compared",
        "bucket.finishing",
        'if demand.details.digests.get("sha256", digest.digest()) != digest.digest():',
        "if False:",
        under_faults,
    ),
    UploadMutant(
        "the pieces go before the swap",
        "bucket.finishing",
        "        # A copy that lost against",
        "        for piece in come.pieces:\n"
        "            self._ask.engine.delete(\n"
        "                f'uploads/{kept.number}/{piece.offset:020d}'\n"
        "            )\n"
        "        # A copy that lost against",
        under_faults,
    ),
    UploadMutant(
        "each daemon swaps with a nonce of its own",
        "bucket.finishing",
        "draft, operation=begun.nonce, goes_on",
        'draft, operation="", goes_on',
        replaced_between_two,
    ),
    UploadMutant(
        "a history that has forgotten the base counts as a no",
        "bucket.finishing",
        "if begun.base is not None and has_forgotten(seen, begun.base):",
        "if False:",
        forgotten,
    ),
    UploadMutant(
        "the pointer of one that is terminated is not touched",
        "bucket.finishing",
        "if kept.begun.base is None or not self._has_happened(kept.begun):",
        "if True:",
        terminated_at_the_swap,
    ),
    UploadMutant(
        "nobody looks whether it is over before another swap",
        "bucket.finishing",
        "return not self._pieces.find(kept.number, until).begun.is_over",
        "return True",
        terminated_at_the_swap,
    ),
)
