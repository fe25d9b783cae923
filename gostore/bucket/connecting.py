"""The way to a bucket's engine, for whoever has one; nobody else pays for its library."""

from __future__ import annotations

from gostore.bucket.engine import Engine
from gostore.bucket.place import Place
from gostore.errors import VolumeUnusable


def connect(place: Place, endpoint: str | None, region: str | None) -> Engine:
    """Describe the engine of a bucket; nothing is asked of it. Raises VolumeUnusable."""
    try:
        from gostore.bucket.objects import ObjectStoreEngine, s3_store
    except ImportError:
        reason = "obstore is not installed: pip install 'gostore[s3]'"
        raise VolumeUnusable(str(place), reason) from None
    return ObjectStoreEngine(s3_store(place.bucket, place.prefix, endpoint, region))
