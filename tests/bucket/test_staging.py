"""What keeps an upload from being collected while its bytes are on their way."""

from __future__ import annotations

from itertools import pairwise

from gostore.blob import Blob
from gostore.bucket.asking import Asker
from gostore.bucket.objects import memory_engine
from gostore.bucket.pointer import record_key
from gostore.bucket.staging import Lasting, Staging, new_blob

GRACE = 3600.0


def test_lasting() -> None:
    """A record is written anew each quarter of the grace, after its last writing, and no sooner."""
    engine, now = memory_engine(), [1000.0]
    staging = Staging(Asker(engine, seconds=lambda: now[0]), grace=GRACE)
    blob: Blob = new_blob("a", 1, "", replaces=False)
    lasting = Lasting(staging, staging.begin(blob, now[0] + 10), lambda: now[0] + 10)
    etags = []
    for piece in lasting.pass_on([b"1", b"2", b"3", b"4", b"5"]):
        etags.append(engine.get(record_key(blob.id)).etag)
        assert etags[-1] == lasting.draft.record
        now[0] += GRACE / 4 if piece < b"4" else GRACE / 4 + 1
    etags.append(engine.get(record_key(blob.id)).etag)
    # A quarter is not more than a quarter; two of them are, and so is each of the longer steps.
    assert [each != before for before, each in pairwise(etags)] == [
        False,
        True,
        False,
        True,
        True,
    ]
    staging.complete(lasting.draft, "detag", (2, 5, bytes(32)), now[0] + 10)
