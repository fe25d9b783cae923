"""Clients that upload in several requests, beside those of world.py, and what has to be right.

A client asks any daemon how far its upload is, lets any daemon take more, and finishes it at any.
It may not wait for an answer, and go on elsewhere meanwhile; somebody else may send other bytes to
the same upload. What must hold: no offset shrinks that was told, bytes that were acknowledged are
there, and each upload is one write of its location like any other, or none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

from attrs import Factory, define

from gostore.bucket import expiring, finishing, pieces, unfinished
from gostore.bucket.engine import Missing
from gostore.errors import (
    AlreadyExists,
    Busy,
    DigestMismatch,
    NotFound,
    NoUpload,
    StoreError,
    UploadOver,
    WrongOffset,
)
from gostore.store.interface import Details
from tests.bucket.world import GENUINE, PATIENCE, Task, Violation, World, nothing_passed_over
from tests.linearizability import Operation

UPLOADING = SimpleNamespace(
    **vars(GENUINE),
    unfinished=unfinished,
    pieces=pieces,
    finishing=finishing,
    expiring=expiring,
)
"""The modules that a mutant replaces."""

#: How often a client asks before it gives up.
_ASKS = 40

EXPIRES = 86_400.0


@define(eq=False)
class Sent:
    """One upload, as its client knows it."""

    number: int
    location: str
    method: str
    content: bytes
    digest: bytes
    #: What was acknowledged: an offset, and the bytes from there on.
    acknowledged: list[tuple[int, bytes]] = Factory(list)
    #: How many bytes there are at least.
    known: int = 0
    begun: float | None = None
    #: All of its bytes, once they are there.
    actual: bytes | None = None
    is_over: bool = False


@define(eq=False, slots=False)
class UploadWorld(World):
    """A bucket whose clients also upload in several requests."""

    modules: SimpleNamespace = UPLOADING
    #: How many uploads became blobs, were refused, terminated, or are unknown.
    ends: dict[str, int] = Factory(dict)
    uploads: list[Sent] = Factory(list)
    #: Each daemon's own, until it dies.
    at_work: dict[int, Any] = Factory(dict)

    # -- daemons --------------------------------------------------------------------------------

    def uploading(self, number: int) -> tuple[Any, Any]:
        """What a daemon has for uploads: the pieces, and what finishes them."""
        if number not in self.at_work:
            protocol = self.daemon(number)
            kept = self.modules.pieces.Pieces(protocol.ask)
            self.at_work[number] = (
                kept,
                self.modules.finishing.Finishing(protocol, kept, patience=PATIENCE),
            )
        found: tuple[Any, Any] = self.at_work[number]
        return found

    def crash(self, daemon: int) -> None:
        """Let a daemon die, with all that it remembers."""
        self.at_work.pop(daemon, None)
        super().crash(daemon)

    def collect(self, daemon: int) -> None:
        """Collect, and remove the uploads whose time is over, too."""
        super().collect(daemon)
        self.expire(daemon, EXPIRES)

    def expire(self, daemon: int, expires: float) -> None:
        """Let a daemon look for what has expired."""
        kept, finishing = self.uploading(daemon)
        found = self.modules.expiring.Expiring(finishing, kept, self.setting.grace)
        with nothing_passed_over():
            found.run(expires, lambda: True)
        self.at_work.pop(daemon, None)

    # -- clients --------------------------------------------------------------------------------

    def _client(self) -> None:
        if self.rng.random() < 0.5:
            super()._client()
            return
        for _ in range(max(1, self.setting.operations // 6)):
            self.upload()
            self.pause(self.rng.expovariate(1 / self.setting.pace))

    def at_some_daemon(self, function: Callable[[Any, Any], Any]) -> Task:
        """Let any daemon do something."""
        number = self.rng.randrange(self.setting.daemons)
        return self.spawn(lambda: function(*self.uploading(number)), number)

    def told(self, task: Task) -> Any:
        """Wait for an answer; None if there is none, or the error."""
        self.wait_for(task)
        if isinstance(task.error, Busy):
            self.busy += 1
            return None
        return task.error if task.error is not None else task.result

    def upload(self) -> None:
        """Upload something, and note what came of it."""
        sent = self._begin()
        if sent is None:
            return
        self.uploads.append(sent)
        for _ in range(_ASKS):
            if self.rng.random() < 0.01 and self._terminated(sent):
                return
            known = sent.known
            found = self.told(
                self.at_some_daemon(lambda kept, _: self._standing(sent.number, kept))
            )
            if isinstance(found, NoUpload | UploadOver):
                self._note_end(sent, found)
                return
            if found is None:
                continue
            if isinstance(found, Exception):
                raise found
            self._expect(known, found)
            sent.known = max(sent.known, found)
            if found == len(sent.content):
                if self._finish(sent):
                    return
            else:
                self._send(sent, found)

    def _begin(self) -> Sent | None:
        rng = self.rng
        self._values += 1
        location = f"location {rng.randrange(self.setting.locations)}"
        content = f"upload {self._values:05d} ".encode()
        content += bytes(rng.choices(b"abcdefghij", k=rng.randrange(20)))
        begun = self.modules.unfinished.Begun(
            location, "", "", len(content), f"N{self._values:07d}"
        )

        def begin(kept: Any, _: Any) -> int:
            number: int = kept.begin(begun, self.now + PATIENCE)
            return number

        number = self.told(self.at_some_daemon(begin))
        if not isinstance(number, int):
            return None
        is_right = rng.random() < 0.9
        digest = hashlib.sha256(content).digest() if is_right else bytes(32)
        return Sent(number, location, rng.choice(("POST", "PUT")), content, digest)

    def _standing(self, number: int, kept: Any, _: Any = None) -> int:
        """How far an upload is, or how it ended."""
        found, come = kept.look(number, self.now + PATIENCE)
        if found.begun.is_over:
            length: int = self.modules.finishing.outcome(found.begun).length
            return length
        offset: int = come.offset
        return offset

    def _expect(self, known: int, offset: int) -> None:
        if offset < known:
            raise Violation(f"seed {self.setting.seed}: {offset} after {known} was told")

    def _send(self, sent: Sent, offset: int) -> None:
        """Send more, perhaps without waiting for the answer; perhaps somebody else does, too."""
        rng = self.rng
        # The first bytes tell the uploads apart.
        first = max(13 - offset, 1)
        end = min(offset + first + rng.randrange(12), len(sent.content))
        tasks = [self._sending(sent, offset, sent.content[offset:end])]
        if offset >= 13 and rng.random() < 0.2:
            tasks.append(self._sending(sent, offset, b"x" * rng.randrange(1, end - offset + 1)))
        if rng.random() < 0.3:
            self.pause(rng.uniform(0.0, 2.0))
        else:
            self.wait_for(*tasks)
        for task in tasks:
            if task.error is not None and not isinstance(
                task.error, Busy | WrongOffset | NoUpload | UploadOver
            ):
                raise task.error

    def _sending(self, sent: Sent, offset: int, data: bytes) -> Task:
        cuts = sorted({0, len(data), self.rng.randrange(len(data)), self.rng.randrange(len(data))})

        def append(kept: Any, _: Any) -> None:
            at = offset
            if self._standing(sent.number, kept) != at:
                raise WrongOffset(at)
            for start, end in pairwise(cuts):
                kept.add(sent.number, at, data[start:end], self.now + PATIENCE)
                sent.acknowledged.append((at, data[start:end]))
                at += end - start
                sent.known = max(sent.known, at)

        return self.at_some_daemon(append)

    def _terminated(self, sent: Sent) -> bool:
        def terminate(_: Any, finishing: Any) -> str:
            finishing.terminate(sent.number, "it was terminated")
            return "done"

        found = self.told(self.at_some_daemon(terminate))
        if found != "done":
            return False  # a look tells how it ended
        self._note_end(sent, UploadOver("it was terminated"))
        return True

    def _finish(self, sent: Sent) -> bool:
        """Finish an upload; say whether that has come to an end."""
        if sent.actual is None:
            sent.actual, sent.begun = self._bytes_of(sent), self.now

        def finish(kept: Any, finishing: Any) -> Any:
            begun = self._finish_once(kept, finishing, sent)
            with suppress(Busy):
                kept.clear(sent.number, lambda: True, PATIENCE)
            return begun

        task = self.at_some_daemon(finish)
        if self.rng.random() < 0.2:
            self.pause(self.rng.uniform(0.0, 2.0))
            task = self.at_some_daemon(finish)
        found = self.told(task)
        if found is None:
            return False
        self._note_end(sent, found)
        return True

    def _finish_once(self, kept: Any, finishing: Any, sent: Sent) -> Any:
        """Let a daemon finish an upload; the digest of what others have sent is not announced."""
        assert sent.actual is not None
        digests = {"sha256": sent.digest} if sent.actual == sent.content else {}
        demand = self.modules.protocol.Demand(
            sent.location, sent.method == "PUT", details=Details(digests=digests)
        )
        begun, replaced = finishing.finish(sent.number, demand, lambda: None)
        if replaced is not None:
            self._mark(finishing._protocol, replaced)
        return begun

    def _bytes_of(self, sent: Sent) -> bytes:
        """The bytes of a complete upload, as they are in the bucket. Raises Violation."""
        found = b""
        while len(found) < len(sent.content):
            try:
                found += self.engine.get(unfinished.piece_key(sent.number, len(found))).data
            except Missing:
                raise Violation(f"seed {self.setting.seed}: no piece at {len(found)}") from None
        for offset, data in sent.acknowledged:
            if found[offset : offset + len(data)] != data:
                raise Violation(f"seed {self.setting.seed}: {data!r} at {offset} is not there")
        strange = [
            byte for byte, own in zip(found, sent.content, strict=True) if byte not in (own, 120)
        ]
        if strange:
            raise Violation(f"seed {self.setting.seed}: bytes at the wrong place: {found!r}")
        return found

    # -- the verdict ------------------------------------------------------------------------------

    def _note_end(self, sent: Sent, found: Any) -> None:
        """Note what a client was told of its upload."""
        kind, status, text = "done", 204 if sent.method == "POST" else 200, str(found)
        match found:
            case AlreadyExists():
                kind, status = "refused", 409
            case NotFound():
                kind, status = "refused", 404
            case DigestMismatch():
                kind = "wrong"
            case UploadOver() | NoUpload():
                kind = "unknown"
                if "terminated" in text or "expired" in text:
                    kind = "terminated"
                elif "does not have the sha256" in text:
                    kind = "wrong"
                elif "exist" in text:
                    kind, status = "refused", 409 if sent.method == "POST" else 404
            case Exception():
                raise found
        self.ends[kind] = self.ends.get(kind, 0) + 1
        sent.is_over = True
        if kind == "terminated" or sent.actual is None:
            return
        is_right = sent.digest == hashlib.sha256(sent.content).digest()
        if sent.actual == sent.content and kind == ("wrong" if is_right else "done"):
            raise Violation(f"seed {self.setting.seed}: the digest was judged wrongly")
        if kind == "wrong":
            return
        assert sent.begun is not None
        told = None if kind == "unknown" else status
        operation = Operation(sent.method, sent.actual.decode(), told, sent.begun, self.now)
        self.history.setdefault(sent.location, []).append(operation)

    def _look(self) -> None:
        """Finish what is complete; then see that all was right, and that nothing is left."""
        kept, finishing = self.uploading(-1)
        for sent in self.uploads:
            if sent.is_over:
                continue
            try:
                self._expect(sent.known, offset := self._standing(sent.number, kept))
                if offset == len(sent.content):
                    if sent.actual is None:
                        sent.actual, sent.begun = self._bytes_of(sent), self.now
                    self._note_end(sent, self._finish_once(kept, finishing, sent))
            except StoreError as error:
                self._note_end(sent, error)
        self.now += 1.0
        super()._look()
        self.now += 2 * EXPIRES
        self.expire(-1, EXPIRES)
        self.now += 2 * EXPIRES
        self.expire(-1, EXPIRES)
        if left := self.keys("uploads/"):
            raise Violation(f"seed {self.setting.seed}: left behind {left}")
