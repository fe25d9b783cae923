"""The bytes of a small blob, in memory: what every provider gives of one."""

from __future__ import annotations

from twisted.python.failure import Failure


class SmallContent:
    """A blob that is in memory as a whole, and verified."""

    __slots__ = ("_data", "size")

    def __init__(self, data: bytes) -> None:
        self.size = len(data)
        self._data = data

    def read(self, offset: int, length: int) -> bytes:
        """Return ``length`` bytes."""
        return self._data if length == self.size else self._data[offset : offset + length]

    def load(self, offset: int, length: int) -> None:
        """It is in no file."""

    def failed(self, failure: Failure) -> Failure:
        """Nothing was loaded, so the failure is not the blob's."""
        return failure

    def close(self) -> None:
        """There is nothing to let go of."""
