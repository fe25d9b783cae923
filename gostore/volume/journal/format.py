"""The redo journal: its files, its bytes, and the rules that make it a proof.

The record and the bytes of a small change are appended here, and one ``fdatasync`` makes a whole
batch of changes durable. The applier makes their files later, unsynced. The journal does not
replace the files: a start writes what lives, what the journal holds and the directory lacks or has
torn (recovery/). Then the journal forgets it.

**The files.** Two files take turns, ``.journal-0`` and ``.journal-1``. Each is allocated once, so
that an append changes no metadata. Each begins with a block that has its title, written before any
batch and never again::

    8 bytes   "gostoreJ"
    16 bytes  key: random, the same in both files, and nowhere else
    uint64    size of the file
    32 bytes  SHA-256 of the above

A mark is a copy of the title with another first word: "gostoreE" at 1024 before the files are
removed, when nothing in them is wanted any more; "gostoreC" at 2048 before the file is cut;
"gostoreU" at 3072 from the beginning, if no batch is flushed (``--sync none``).

Then come batches, each at a multiple of 4 KiB::

    16 bytes  key
    uint64    number of the batch; each has the next number
    uint64    synced: all batches up to this one were known to be in their files
    uint32    length of the payload
    32 bytes  SHA-256 of all the above and the payload
    payload   entries: uint32 id, uint32 length of the state file, int32 length of data.raw or -1,
              and the two; -1 means that the blob is deleted, and its state file says so

All integers are little-endian.

**The numbers.** ``written`` is the number of the newest batch. ``synced``: every change of the
batches up to this one is durable in its own files. ``recorded_synced``: the highest ``synced``
that a batch on the disk has. Always recorded_synced <= synced <= written.

**The rules.** Each has the code that keeps it, and a mutant of tests/simulation that breaks it:

J1. A batch is durable before any file of its changes is made. So what a crash leaves torn under a
    plain number is in the journal. `WriteProtocol._append_changes`; "files come before the
    journal".
J2. A batch begins only after the one before it is durable, and shares no block with it. So a crash
    can tear the newest batch alone. `Journal._put`; "a batch of the journal is not synced".
J3. Above ``recorded_synced`` no batch is missing. A gap means that the disk has damaged a batch,
    or has not kept what it flushed; the start is refused. `Journal.read`; "a batch that is missing
    is not missed".
J4. ``synced`` grows to a number only after a ``syncfs`` that began when every change of the batches
    up to this one had its files, or had been overtaken by a durable change that leaves nothing
    below it to come back. `Backlog.checkpoint`; "a checkpoint flushes nothing".
J5. ``synced`` is recorded before anything relies on it: before a file is begun anew
    (`Journal.turn`), and before a change that the journal does not hold, since that may give an id
    away a second time. `Backlog.record_checkpoint`; "the journal is not told before a staged
    blob is committed".
J6. Once there is a batch, each file has a title and a batch, unless a mark says why not: the very
    first batch is an empty one in the other file. So a missing, emptied or shortened file is seen
    to be one. `Journal.append`; "a new file has no batch".
J7. Only bytes with this journal's key and the right digest are a batch. No stored blob can hold
    one, for nobody is told the key. `batches_in`; "the digest of a batch is not checked".

Where no batch is flushed, J1 to J4 hold after a kill and not after a power cut: it may leave any of
the batches, and a start takes what there is.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Sequence

from attrs import frozen

NAMES = (".journal-0", ".journal-1")

#: Bytes of each file: a second's worth of small blobs. Larger ones cost more disk for no gain.
SIZE = 8 * 1024 * 1024

BLOCK = 4096
KEY_SIZE = 16

#: The marks: the files are about to be removed; this file is about to be cut; no batch is flushed.
ENDED = b"gostoreE"
CUT = b"gostoreC"
UNFLUSHED = b"gostoreU"
MARKS = {ENDED: 1024, CUT: 2048, UNFLUSHED: 3072}
"""Where each mark is."""

_MAGIC = b"gostoreJ"
_TITLE = struct.Struct(f"<8s{KEY_SIZE}sQ32s")
_HEAD = struct.Struct(f"<{KEY_SIZE}sQQI32s")
_ENTRY = struct.Struct("<IIi")
_DIGEST_SIZE = hashlib.sha256().digest_size

#: The head of a batch before there were titles and keys: magic, number, synced, length, and the
#: digest of all but the magic.
_OLD_HEAD = struct.Struct("<8sQQI32s")


@frozen
class Entry:
    """One change: the state file of a blob and its bytes, None if it deletes the blob."""

    blob_id: int
    state: bytes
    data: bytes | None


@frozen
class Title:
    """The beginning of a file: the key of its batches, and the size of the file in bytes."""

    key: bytes
    size: int

    def as_bytes(self, word: bytes = _MAGIC) -> bytes:
        """Return the title, or with another first word a mark."""
        signed = _TITLE.pack(word, self.key, self.size, b"")[:-_DIGEST_SIZE]
        return signed + hashlib.sha256(signed).digest()


TITLE_SIZE = _TITLE.size


@frozen
class Batch:
    """A whole batch; ``end`` is where it ends in its file, in whole blocks."""

    number: int
    synced: int
    payload: bytes
    end: int

    @property
    def start(self) -> int:
        """Where it starts in its file."""
        return self.end - in_blocks(_HEAD.size + len(self.payload))

    def entries(self) -> Iterator[Entry]:
        """The changes in it, in their order."""
        offset = 0
        while offset < len(self.payload):
            blob_id, state_length, data_length = _ENTRY.unpack_from(self.payload, offset)
            offset += _ENTRY.size
            state = self.payload[offset : offset + state_length]
            offset += state_length
            data = None
            if data_length >= 0:
                data = self.payload[offset : offset + data_length]
                offset += data_length
            yield Entry(blob_id, state, data)


def pack_batch(key: bytes, number: int, synced: int, entries: Sequence[Entry]) -> bytes:
    """Return a batch, filled up to whole blocks. Raises MemoryError: it takes two copies."""
    payload = b"".join([piece for entry in entries for piece in _pieces(entry)])
    head = _pack_head(key, number, synced, payload)
    size = len(head) + len(payload)
    return b"".join((head, payload, bytes(in_blocks(size) - size)))


def size_of_batch(entries: Sequence[Entry]) -> int:
    """Return how many bytes a batch of these takes in a file."""
    sizes = [_ENTRY.size + len(each.state) + len(each.data or b"") for each in entries]
    return in_blocks(_HEAD.size + sum(sizes))


def in_blocks(size: int) -> int:
    """Round up to whole blocks."""
    return -(-size // BLOCK) * BLOCK


def title_of(content: bytes) -> Title | None:
    """Return the title at the beginning of a file, None if there is none."""
    if len(content) < _TITLE.size:
        return None
    _, key, size, _ = _TITLE.unpack_from(content)
    title = Title(key, size)
    return title if content.startswith(title.as_bytes()) else None


def is_marked(content: bytes, mark: bytes) -> bool:
    """Say whether a file has a mark."""
    title = title_of(content)
    return title is not None and content.startswith(title.as_bytes(mark), MARKS[mark])


def batches_in(content: bytes, key: bytes) -> Iterator[Batch]:
    """The whole batches in a file, of this turn and of earlier ones, in the order of places."""
    offset = BLOCK
    while key and offset + _HEAD.size <= len(content):
        batch = _batch_at(content, offset, key)
        if batch is not None:
            yield batch
        offset = offset + BLOCK if batch is None else batch.end


def was_stopped_without_titles(contents: Sequence[bytes]) -> bool:
    """Whether a journal from before there were titles was left by a clean stop: all is synced."""
    newest = (0, 0, 0)
    for content in contents:
        for offset in range(0, len(content) - _OLD_HEAD.size, BLOCK):
            magic, number, synced, length, digest = _OLD_HEAD.unpack_from(content, offset)
            if magic == _MAGIC:
                begin = offset + _OLD_HEAD.size
                signed = content[offset + len(_MAGIC) : begin - len(digest)]
                if hashlib.sha256(signed + content[begin : begin + length]).digest() == digest:
                    newest = max(newest, (number, synced, length))
    number, synced, length = newest
    return number > 0 and synced + 1 == number and not length


def _batch_at(content: bytes, offset: int, key: bytes) -> Batch | None:
    if not content.startswith(key, offset):
        return None
    _, number, synced, length, _ = _HEAD.unpack_from(content, offset)
    begin = offset + _HEAD.size
    payload = content[begin : begin + length]
    if content[offset:begin] != _pack_head(key, number, synced, payload):
        return None
    return Batch(number, synced, payload, offset + in_blocks(_HEAD.size + length))


def _pack_head(key: bytes, number: int, synced: int, payload: bytes) -> bytes:
    signed = _HEAD.pack(key, number, synced, len(payload), b"")[:-_DIGEST_SIZE]
    digest = hashlib.sha256(signed)
    digest.update(payload)
    return signed + digest.digest()


def _pieces(entry: Entry) -> tuple[bytes, bytes, bytes]:
    length = -1 if entry.data is None else len(entry.data)
    return _ENTRY.pack(entry.blob_id, len(entry.state), length), entry.state, entry.data or b""
