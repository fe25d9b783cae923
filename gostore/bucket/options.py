"""What a bucket store is told."""

from __future__ import annotations

from attrs import Factory, define

from gostore.prefixes import ByPrefix


@define(eq=False)
class Options:
    """What a bucket store is told: its name for people, and its limits; see `Settings`."""

    name: str
    id_bits: int | None = None
    max_blob_size: int | None = None
    max_uploads: int = 256
    grace: float = 3600.0
    keep: ByPrefix[float] = Factory(lambda: ByPrefix(0.0))
