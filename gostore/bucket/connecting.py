"""The way to a bucket's engine, for whoever has one; nobody else pays for its library."""

from __future__ import annotations

import os

from gostore.bucket.engine import Engine, Refused, Unsettled
from gostore.bucket.place import Place
from gostore.errors import VolumeUnusable


def connect(
    place: Place, endpoint: str | None, region: str | None, profile: str | None = None
) -> Engine:
    """Describe the engine of a bucket; nothing is asked of it. Raises VolumeUnusable.

    ``profile`` has the credentials; without it AWS_PROFILE, or else the environment or a role.
    """
    try:
        from gostore.bucket.objects import s3_engine
    except ImportError:
        reason = "obstore is not installed: pip install '.[s3]' in a clone of gostore"
        raise VolumeUnusable(str(place), reason) from None
    try:
        return s3_engine(place.bucket, place.prefix, endpoint, region, profile)
    except (Refused, Unsettled) as error:
        raise VolumeUnusable(str(place), str(error)) from error


def named(place: Place, endpoint: str | None) -> str:
    """Name a bucket for people, with its engine, unless only obstore knows which that is."""
    if endpoint is None and any(name.startswith("AWS_ENDPOINT") for name in os.environ):
        return str(place)
    return f"{place} at {endpoint or 'AWS'}"
