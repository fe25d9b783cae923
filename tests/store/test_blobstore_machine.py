"""A state machine: the store on a real volume against a dict, with overlapping writes."""

from __future__ import annotations

import tempfile
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from twisted.internet.defer import Deferred

from gostore.errors import AlreadyExists, NotFound
from gostore.store.blobstore import BlobStore
from gostore.store.interface import Details
from gostore.volume.volume import Volume
from tests.store.doubles import FakeBody, ManualWorkers, PromptClock, Ticks

LOCATIONS = st.sampled_from(["a", "a/b", "a/c", "b", "\ue000", "\uffff", "\U0010ffff"])
DATA = st.sampled_from([b"", b"x", b"old", b"new" * 9, b"L" * 70_000])


class StoreMachine(RuleBasedStateMachine):
    """POST, PUT, DELETE, GET, list, collect and restart; the dict is what was acknowledged."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.clock = Ticks()
        self.model: dict[str, bytes] = {}
        self.begun: list[tuple[str, str, FakeBody, bytes, list[Any]]] = []
        self.open()

    def open(self) -> None:
        self.workers = ManualWorkers()
        self.store = BlobStore(
            Volume(self.directory.name, now=self.clock),
            self.workers,
            PromptClock(),
            reserve=0,
            id_bits=16,
        )
        self.store.open()
        self.store.start()

    def wait(self, asked: Deferred[Any]) -> Any:
        results: list[Any] = []
        asked.addBoth(results.append)
        self.workers.run_all()
        assert len(results) == 1, results
        return results[0]

    def write(self, verb: str, location: str, body: FakeBody) -> Deferred[Any]:
        return getattr(self.store, verb)(location, body, Details())

    def check(self, verb: str, location: str, data: bytes, result: Any) -> None:
        exists = location in self.model
        if verb == "create" and exists:
            assert result.check(AlreadyExists), result
        elif verb == "replace" and not exists:
            assert result.check(NotFound), result
        elif verb == "put":
            assert result[1] is not exists
            self.model[location] = data
        else:
            assert result.size == len(data)
            self.model[location] = data

    @rule(verb=st.sampled_from(["create", "replace", "put"]), location=LOCATIONS, data=DATA)
    def whole(self, verb: str, location: str, data: bytes) -> None:
        """A body that is here at once."""
        creating = any(verb == "create" for verb, where, *_ in self.begun if where == location)
        result = self.wait(self.write(verb, location, FakeBody(data)))
        if verb == "create" and creating:
            assert result.check(AlreadyExists), result
        else:
            self.check(verb, location, data, result)

    @rule(verb=st.sampled_from(["create", "replace", "put"]), location=LOCATIONS, data=DATA)
    def begin(self, verb: str, location: str, data: bytes) -> None:
        """A body of which nothing is here yet."""
        body = FakeBody(complete=False, length=None)
        results: list[Any] = []
        self.write(verb, location, body).addBoth(results.append)
        if not results:
            self.begun.append((verb, location, body, data, results))

    @precondition(lambda self: self.begun)
    @rule(which=st.integers(0, 99), whole=st.booleans())
    def end(self, which: int, whole: bool) -> None:
        """An upload that was begun ends, well or not."""
        verb, location, body, data, results = self.begun.pop(which % len(self.begun))
        if whole:
            body.finish(data)
        else:
            body.fail()
        self.workers.run_all()
        if whole:
            self.check(verb, location, data, results[0])

    @rule(location=LOCATIONS)
    def delete(self, location: str) -> None:
        result = self.wait(self.store.delete(location))
        if self.model.pop(location, None) is None:
            assert result.check(NotFound), result
        else:
            assert result is None

    @rule(location=LOCATIONS)
    def get(self, location: str) -> None:
        blob = self.wait(self.store.get(location))
        if location not in self.model:
            assert blob.check(NotFound), blob
            return
        content = self.wait(self.store.content(blob))
        data = content.read(0, blob.size)
        content_bytes = data if isinstance(data, bytes) else self.wait(data)
        content.close()
        self.workers.run_all()
        assert content_bytes == self.model[location]

    @rule(limit=st.integers(1, 4), delimiter=st.sampled_from(["", "/"]))
    def pages(self, limit: int, delimiter: str) -> None:
        """The pages together are all there is, in the order of the bytes."""
        found: list[str] = []
        after: str | None = ""
        while after is not None:
            page = self.wait(self.store.list("", delimiter, after, limit))
            found += [one if isinstance(one, str) else one.location for one in page.entries]
            after = page.next_after
        names = {
            name.split("/")[0] + "/" if delimiter and "/" in name else name for name in self.model
        }
        assert found == sorted(names, key=str.encode)

    @rule()
    def collect(self) -> None:
        self.wait(self.store.collect())

    @rule(back=st.booleans())
    def restart(self, back: bool) -> None:
        """Uploads break off, the store stops, perhaps the clock goes back, another one starts."""
        for _, _, body, _, _ in self.begun:
            body.fail()
        self.begun.clear()
        self.wait(self.store.stop())
        self.store.close()
        if back:
            self.clock.time -= 25 * 365 * 86400 * 10**9
            self.clock.time = max(self.clock.time, 10**18)
        self.open()

    @invariant()
    def locations(self) -> None:
        page = self.wait(self.store.list())
        assert [one.location for one in page.entries] == sorted(self.model, key=str.encode)

    def teardown(self) -> None:
        self.restart(False)
        for location in sorted(self.model):
            self.get(location)
        self.wait(self.store.collect())
        self.wait(self.store.collect())
        assert len(self.store.index.ids) == len(self.model)
        self.store.close()
        self.directory.cleanup()


StoreMachine.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
StoreMachineTests = StoreMachine.TestCase
