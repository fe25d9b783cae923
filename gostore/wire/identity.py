"""The ids of requests: random UUIDs (RFC 9562 section 5.4), made many at a time."""

from __future__ import annotations

import os
import struct
from binascii import hexlify
from collections.abc import Callable, Iterator
from itertools import chain

_AT_A_TIME = 256

# A UUID has its version in half of the seventh byte, and its variant in two bits of the ninth.
_VERSION_4 = bytes(each & 0x0F | 0x40 for each in range(256))
_VARIANT = bytes(each & 0x3F | 0x80 for each in range(256))
_SPLIT = struct.Struct("8s4s4s4s12s")


def _batches() -> Iterator[Iterator[bytes]]:
    while True:
        drawn = bytearray(os.urandom(16 * _AT_A_TIME))
        drawn[6::16] = drawn[6::16].translate(_VERSION_4)
        drawn[8::16] = drawn[8::16].translate(_VARIANT)
        yield map(b"-".join, _SPLIT.iter_unpack(hexlify(drawn)))


def identities() -> Callable[[], bytes]:
    """Make a function that gives another id each time. One takes a tenth of a `uuid4`.

    It draws nothing before its first call: a copy of it in a forked process gives other ids.
    """
    return chain.from_iterable(_batches()).__next__
