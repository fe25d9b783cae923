"""What a migration asks of its two ends: a source, which is only read, and a target."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from gostore.blob import Blob, Committed, Ending
from gostore.store.versions import Kept


class Source(Protocol):
    """Where blobs come from. What only reads is for any thread."""

    @property
    def name(self) -> str:
        """What it is, for people, and for the mark of the target."""

    #: What is there and stays behind, each with how many: "kept version", say.
    left: Mapping[str, int]
    #: What is damaged, as far as that shows before it is read: names, and reasons.
    damaged: Mapping[str, str]

    def open(self) -> None:
        """Look at all there is. Raises StoreError."""

    def locations(self) -> Sequence[str]:
        """Where there are blobs to be moved."""

    def find(self, location: str) -> Committed:
        """What is known of a blob without its bytes. Raises Spoiled, or NotFound: it is gone."""

    def read(self, location: str) -> tuple[Blob, Iterator[bytes]]:
        """The record of a blob, with its size and its digest, and its bytes.

        Raises Spoiled or NotFound, and Spoiled in place of the end of the bytes if they are not
        those of the digest.
        """

    def versions(self) -> Sequence[Kept]:
        """What is kept as history."""

    def read_version(self, kept: Kept) -> tuple[Blob, Ending, Iterator[bytes]]:
        """The record of a version as it was while it lived, how it ended, and its bytes.

        Raises what `read` raises.
        """

    def has_changed(self) -> bool:
        """Whether somebody has written to it since it was opened."""

    def close(self) -> None:
        """Let go of it."""


class Target(Protocol):
    """Where blobs go. What only finds or receives is for any thread."""

    @property
    def name(self) -> str:
        """What it is, for people."""

    #: Whether it was marked, by an earlier run that was interrupted.
    is_marked: bool
    #: Whether it has no blobs.
    is_empty: bool

    def open(self, source: str, *, dry: bool) -> None:
        """See what is there. Raises StoreError, also if it is marked for another source.

        If it is ``dry``, nothing is made or written.
        """

    def begin(self, source: str) -> None:
        """Mark it, so that no daemon serves it."""

    def expect(self, versions: Mapping[Kept, int | None]) -> None:
        """Learn which versions are to come, or are there, before anything else is asked.

        Each has the generation of the next version of its location; None is what that has.
        """

    def others(self, locations: Sequence[str]) -> list[str]:
        """The names of what it has and should not have."""

    def find(self, location: str) -> Committed | None:
        """What a location has, None if it never had anything.

        Raises AlreadyExists if that is damaged, or a blob that was deleted.
        """

    def receive(self, blob: Blob, pieces: Iterator[bytes]) -> Any:
        """Take a blob, which gets another id; return what `settle` needs.

        Raises what the pieces raise, and AlreadyExists.
        """

    def has_version(self, kept: Kept) -> bool:
        """Whether it has a version: one that it has received is as it should be.

        Raises AlreadyExists if that is damaged, or its location has what an older version had.
        """

    def receive_version(self, blob: Blob, ending: Ending, pieces: Iterator[bytes]) -> Any:
        """Take a version, which gets another id; return what `settle` needs.

        Raises what the pieces raise.
        """

    def settle(self, received: Sequence[Any]) -> None:
        """Make durable what was received. Only one thread at a time calls this."""

    def finish(self) -> None:
        """Remove the mark: all is there."""

    def close(self) -> None:
        """Let go of it."""
