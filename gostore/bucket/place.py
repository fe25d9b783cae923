"""Which bucket, and where in it: what ``--store`` says. Pure."""

from __future__ import annotations

import re

from attrs import frozen

_PLACE = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])((?:/[A-Za-z0-9_.-]+)*)/?", re.ASCII)
_ENDPOINT = re.compile(r"https?://(?:[A-Za-z0-9.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?/?", re.ASCII)
_REGION = re.compile(r"[a-z0-9-]{1,32}", re.ASCII)


@frozen
class Place:
    """A bucket, and the prefix of a store in it, "" for all of the bucket."""

    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")


def parse_place(text: str) -> Place:
    """Read s3://bucket/prefix. Raises ValueError."""
    match = _PLACE.fullmatch(text)
    if match is None or any(set(part) <= {"."} for part in match[2].split("/")[1:]):
        raise ValueError(f"{text!r} is not like s3://bucket/prefix")
    return Place(match[1], match[2].strip("/"))


def parse_endpoint(text: str) -> str:
    """Read the URL of an engine, without a path. Raises ValueError."""
    if _ENDPOINT.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not like https://s3.example or http://127.0.0.1:8333")
    return text.rstrip("/")


def parse_region(text: str) -> str:
    """Read the name of a region. Raises ValueError."""
    if _REGION.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not the name of a region")
    return text
