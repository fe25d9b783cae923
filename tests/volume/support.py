"""What the tests of the volume's rooms share: a volume in a directory of the test's own."""

from __future__ import annotations

import base64
import errno
import hashlib
import json
import os
from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from gostore.blob import Blob
from gostore.volume.changes import Commit, Delete, Sync
from gostore.volume.directory import DATA, STATE
from gostore.volume.disk import Disk
from gostore.volume.journal.format import SIZE
from gostore.volume.recovery.findings import Findings
from gostore.volume.recovery.repair import repair
from gostore.volume.recovery.scan import scan
from gostore.volume.volume import Volume
from tests.memory import directory_of
from tests.store.doubles import FaultyDisk, Ticks


class OldKernel(Disk):
    """A disk on a kernel that does not have openat2(2), or does not let us have it."""

    @staticmethod
    def _openat2(name: str, flags: int, mode: int = 0, *, dir_fd: int, resolve: int = 0) -> int:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


class VolumeCase(SynchronousTestCase):
    """A volume on a `FaultyDisk` over a real directory, each change flushed for itself."""

    trusted = False
    kernel: type[Disk] = Disk
    journal_size = SIZE
    #: Whether it has to be on a disk: not all that a kernel can do is for what is in memory.
    on_disk = False

    def setUp(self) -> None:
        on_disk = os.path.abspath(self.mktemp())
        self.path = on_disk if self.on_disk else str(directory_of(self) / "data")
        self.disk = FaultyDisk(self.kernel(), trusted=self.trusted)
        self.ticks = Ticks()
        self.generation = 0
        self.volume = self.open()

    def open(self, sync: Sync = Sync.FILES) -> Volume:
        """Another volume on the same directory; the last one has to be closed."""
        volume = Volume(
            self.path,
            disk=self.disk,
            now=self.ticks,
            sync=sync,
            journal_size=self.journal_size,
        )
        volume.open()
        self.addCleanup(volume.close)
        self.disk.clear()
        return volume

    def restart(self) -> Findings:
        """Close the volume, open it anew, and scan it."""
        self.volume.close()
        self.volume = self.open()
        return scan(self.volume)

    def start(self, blob_id: int, location: str) -> Blob:
        """A blob whose data is still to come."""
        blob = Blob(blob_id, location)
        blob.create(self.ticks())
        blob.start_writing(self.ticks())
        return blob

    def finish(self, blob: Blob, data: bytes) -> Blob:
        """The blob when all its data is there."""
        self.generation += 1
        digest = hashlib.sha256(data).digest()
        blob.finish_writing(self.ticks(), len(data), digest, self.generation)
        return blob

    def change(self, blob_id: int, location: str, data: bytes = b"data") -> Commit:
        """The commit of a small blob."""
        return Commit(self.finish(self.start(blob_id, location), data), data)

    def commit(self, blob_id: int, location: str, data: bytes = b"data") -> Blob:
        """Commit a small blob."""
        change = self.change(blob_id, location, data)
        (error,) = self.volume.protocol.carry_out([change])
        self.assertIsNone(error)
        self.volume.backlog.apply()
        return change.blob

    def delete(self, blob: Blob, elders: Sequence[int] = ()) -> None:
        """Delete a blob."""
        change = Delete(blob.committed(), elders)
        (error,) = self.volume.protocol.carry_out([change])
        self.assertIsNone(error)
        self.volume.backlog.apply()

    def file(self, *names: str) -> str:
        """A path in the data directory."""
        return os.path.join(self.path, *names)

    def names(self) -> list[str]:
        """What lies in the data directory."""
        return sorted(os.listdir(self.path))

    def data(self, blob_id: int) -> bytes:
        """The bytes of a blob, as they lie there."""
        with open(self.file(str(blob_id), DATA), "rb") as file:
            return file.read()

    def state(self, name: str) -> bytes:
        """A state file, as it lies there."""
        with open(self.file(name, STATE), "rb") as file:
            return file.read()

    def put(self, name: str, data: bytes, file: str = STATE) -> None:
        """Write something into a directory behind the volume's back."""
        os.makedirs(self.file(name), exist_ok=True)
        with open(self.file(name, file), "wb") as out:
            out.write(data)

    def assert_order(self, *calls: str) -> None:
        """These calls were made, one after another, whatever was made between them."""
        trace = iter(
            self.disk.trace("open", "writev", "fsync", "syncfs", "mkdir", "rename", "unlink")
        )
        for wanted in calls:
            self.assertTrue(any(call == wanted for call in trace), f"{wanted} is missing")


class RecoveryCase(VolumeCase):
    """A directory, and starts on it."""

    def recover(self) -> Findings:
        """Restart, and mend."""
        found = self.restart()
        repair(self.volume, found)
        return found

    def again(self, found: Findings) -> None:
        """A start after the start finds the same blobs, and nothing to mend."""
        once_more = self.recover()
        self.assertEqual(once_more.live, found.live)
        self.assertEqual(set(once_more.damaged), set(found.damaged))
        self.assertEqual((once_more.suspects, once_more.unmarked), ([], []))

    def legacy(self, blob_id: int, location: str, *states: int, seconds: int = 0) -> None:
        """A blob as the Go server writes it, with these states in its log."""
        log = [
            {"status": {"code": code, "msg": "x"}, "timestamp": f"2026-11-22T11:{seconds:02}:0{n}Z"}
            for n, code in enumerate(states)
        ]
        status = {"log": log, "index": len(log)}
        record = {"id": blob_id, "location": location, "options": {"map": None}, "status": status}
        text = base64.b64encode(json.dumps(record).encode())
        self.put(str(blob_id), b"BLOB_BASE64_v1:" + text + b"\n\n")
        self.put(str(blob_id), b"legacy %d" % blob_id, DATA)
