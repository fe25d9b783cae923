"""A store on a directory of its own, for the tests of what it does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from gostore.blob import Blob, Committed
from gostore.statefile import parse
from gostore.store.blobstore import BlobStore
from gostore.store.interface import Details, Summary
from gostore.volume.directory import DATA, STATE
from gostore.volume.volume import Volume
from tests.memory import directory_of
from tests.store.doubles import Draws, FakeBody, FaultyDisk, ManualWorkers, PromptClock, Ticks

LARGE = b"large" * 20_000
"""More than is read, or received, in one go."""


class StoreCase(SynchronousTestCase):
    """Has a `store` on `directory`, whose `disk` can fail; the test says which job is next."""

    #: Whether it has to be on a disk: not all that a kernel can do is for what is in memory.
    on_disk = False

    def setUp(self) -> None:
        """Open a store on an empty directory."""
        on_disk = Path(self.mktemp()).absolute()
        self.directory = on_disk if self.on_disk else directory_of(self)
        self.clock = Ticks()
        self.timer = PromptClock()
        self.rng = Draws()
        self.disk = FaultyDisk()
        self.disk.room = (1 << 40, 1 << 41)
        self.store: BlobStore | None = None
        self.addCleanup(self.close)
        self.open()

    def open(self, **settings: Any) -> Summary:
        """Close the store if it is open, and open another one; return what it found."""
        self.close()
        self.volume = Volume(str(self.directory), disk=self.disk, now=self.clock)
        self.workers = ManualWorkers()
        self.store = BlobStore(
            self.volume, self.workers, self.timer, **{"reserve": 0, "rng": self.rng, **settings}
        )
        self.store.open()
        return self.store.start()

    def close(self) -> None:
        """Close the store without a stop, as a crash does: what has not run never will."""
        if self.store is not None:
            self.store.close()
            self.store = None
            for fd in list(self.disk.descriptors):
                self.disk.close(fd)

    def wait(self, asked: Deferred[Any]) -> Any:
        """Run what there is to run, and return the result."""
        self.workers.run_all()
        return self.successResultOf(asked)

    def fails(self, asked: Deferred[Any], *errors: type[Exception]) -> Any:
        """Run what there is to run, and return the error it came to."""
        self.workers.run_all()
        return self.failureResultOf(asked, *errors).value

    def store_blob(self, location: str, data: bytes = b"data") -> Committed:
        """Store a blob, whether there is one or not."""
        return self.wait(self.store.put(location, FakeBody(data), Details()))[0]

    def read(self, location: str) -> bytes:
        """What a GET is given."""
        blob = self.wait(self.store.get(location))
        content = self.wait(self.store.content(blob))
        data = content.read(0, blob.size)
        found = data if isinstance(data, bytes) else self.wait(data)
        content.close()
        self.workers.run_all()
        return found

    def collect(self) -> None:
        """Let the collector run once."""
        self.wait(self.store.collect())

    def data(self, blob: Committed) -> Path:
        """Where the bytes of a blob are."""
        return self.directory / str(blob.id) / DATA

    def record(self, name: object) -> Blob:
        """What the state file in a directory says."""
        return parse((self.directory / str(name) / STATE).read_bytes())

    def logged(self, text: str) -> list[dict[str, Any]]:
        """The events that are logged from now on and whose format begins with a text."""
        events: list[dict[str, Any]] = []

        def observe(event: dict[str, Any]) -> None:
            if (event.get("log_format") or "").startswith(text):
                events.append(event)

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        return events

    def names(self) -> list[str]:
        """What lies in the directory."""
        return sorted(os.listdir(self.directory))
