"""Any bytes as a state file: believed or refused, and what is believed can be written again.

The first byte says what the rest is: a whole file; a JSON object, to be put into base64; or such an
object that is to have the right checksum, so that the fuzzer need not find a SHA-256.
"""

from __future__ import annotations

from binascii import b2a_base64
from hashlib import sha256

from gostore import statefile
from gostore.errors import BadRecord

HEAD = b"BLOB_BASE64_gostore1:"


def state_file(data: bytes) -> bytes:
    """The state file that an input stands for."""
    how, text = data[:1] or b"\0", data[1:]
    if how[0] % 3 == 0:
        return text
    if how[0] % 3 == 2:
        digest = sha256(HEAD + text).hexdigest().encode("ascii")
        text = text[:-1] + b',"checksum":"' + digest + b'"}'
    return HEAD + b2a_base64(text) + b"\n"


def check(data: bytes) -> None:
    """Parse a state file in both ways, and write it again."""
    written = state_file(data)
    try:
        blob = statefile.parse(written)
    except BadRecord:
        blob = None
    wanted = 0 if blob is None else blob.id
    committed = statefile.parse_committed(written, wanted)
    if blob is None:
        assert committed is None, "one believes what the other does not"
        return
    assert statefile.parse_committed(written, blob.id + 1) is None
    if committed is not None:
        assert committed == blob.committed(), "the two read different things"
    try:
        once = statefile.dump(blob)
    except ValueError:
        # The log for people can make a record too large that was hardly small enough.
        assert len(written) > statefile.MAX_BYTES // 4, "a small record that cannot be written"
        return
    assert len(once) <= statefile.MAX_BYTES
    again = statefile.parse(once, blob.id)
    assert statefile.dump(again) == once, "written again it is another"
    for name in ("id", "location", "generation", "size", "sha256", "created", "metadata"):
        assert getattr(again, name) == getattr(blob, name), name
