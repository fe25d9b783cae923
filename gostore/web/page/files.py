"""The files of the page: scripts, a style sheet and an icon, as they lie in static/.

Their path has a digest of all of them. So a browser may keep what it has got for good, and a new
version of gostore is a new path.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib import resources

from attrs import frozen

_TYPES = {
    "css": b"text/css; charset=utf-8",
    "js": b"text/javascript; charset=utf-8",
    "svg": b"image/svg+xml",
}

POLICY = b"default-src 'none'; frame-ancestors 'none'"


@frozen
class File:
    """A file and its type."""

    data: bytes
    content_type: bytes


@frozen
class Files:
    """All files by name, and the digest of all of them together."""

    by_name: Mapping[str, File]
    digest: str

    @property
    def path(self) -> str:
        """The directory of the files, seen from /."""
        return f"page/{self.digest}/"


@cache
def files() -> Files:
    """Read the files. They are read when they are first asked for, and then stay in memory."""
    folder = resources.files("gostore.web.page").joinpath("static")
    found = {
        each.name: File(each.read_bytes(), _TYPES[each.name.rpartition(".")[2]])
        for each in sorted(folder.iterdir(), key=lambda each: each.name)
        if each.name.rpartition(".")[2] in _TYPES
    }
    digest = hashlib.sha256()
    for name, file in found.items():
        digest.update(b"%b %d\n%b" % (name.encode("ascii"), len(file.data), file.data))
    return Files(found, digest.hexdigest()[:16])


@cache
def template(name: str) -> str:
    """A template of the page, which nobody can ask for."""
    return resources.files("gostore.web.page").joinpath(name).read_text("utf-8")
