"""What the client remembers of unfinished uploads, in files of the user's, across its own end.

Each upload has a small JSON file below $XDG_STATE_HOME/gostore/uploads, named by the digest of what
goes where: the URL of the daemon, the location, and the path of the file. It is replaced by rename,
so that a kill leaves the old one or the new one; and whoever goes on with the upload has it locked.
Nobody but the user may read it: who knows the number of an upload may write to it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import asdict, frozen

from gostore.client.sources import Identity

#: Seconds after which an upload has expired at every daemon, and is forgotten here as well.
_FORGOTTEN = 30 * 86400.0

_NUMBER = re.compile(r"[0-9]{1,40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")

#: More than any of these files has.
_MOST = 64 * 1024


@frozen
class Unfinished:
    """An upload: its number at the daemon, the file that it is of, and what is to become of it."""

    number: str
    sha256: str
    identity: Identity
    #: Upload-Metadata but for the condition, and the condition.
    details: str
    condition: str


@frozen
class Way:
    """What goes where: the URL of a daemon, a location there, and the path of a file here."""

    url: str
    location: str
    path: str


class Memory:
    """The unfinished uploads of one user. Without a place to keep them nothing is remembered."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @classmethod
    def of_user(cls, env: Mapping[str, str]) -> Memory:
        """The memory of whoever runs this."""
        home = env.get("XDG_STATE_HOME") or "~/.local/state"
        return cls(Path(home, "gostore", "uploads").expanduser())

    def sha256_of(self, way: Way, identity: Identity) -> str | None:
        """The digest of a file, if there is an unfinished upload of just this one."""
        with suppress(OSError):
            descriptor = os.open(self._path(way), _READ)
            try:
                found = _read(descriptor)
            finally:
                os.close(descriptor)
            if found is not None and found.identity == identity:
                return found.sha256
        return None

    def take(self, way: Way) -> Slot:
        """Take the place for one upload, so that no other client goes on with it meanwhile."""
        path = self._path(way)
        try:
            descriptor = os.open(path, _READ)
        except FileNotFoundError:
            return Slot(path, way)
        except OSError:
            return Slot(None, way)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.samestat(os.fstat(descriptor), os.lstat(path)):
                raise BlockingIOError
        except OSError:
            # Another client goes on with it; this one makes an upload of its own.
            os.close(descriptor)
            return Slot(None, way)
        return Slot(path, way, descriptor, _read(descriptor))

    def _path(self, way: Way) -> Path:
        text = "\0".join((way.url, way.location, way.path))
        name = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
        return self._directory / f"{name[:32]}.json"


class Slot:
    """The place where one unfinished upload is remembered. Without a ``path`` it forgets."""

    def __init__(
        self,
        path: Path | None,
        way: Way | None = None,
        descriptor: int | None = None,
        found: Unfinished | None = None,
    ) -> None:
        #: What an earlier client has left.
        self.found = found
        self._path = path
        self._way = way
        self._descriptor = descriptor

    def __enter__(self) -> Slot:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def keep(self, unfinished: Unfinished) -> None:
        """Remember an upload. It is no failure if that cannot be done."""
        if self._path is None or self._way is None:
            return
        text = json.dumps({**asdict(self._way), **asdict(unfinished)}, indent=1)
        with suppress(OSError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _forget_old(self._path.parent)
            new = self._path.with_suffix(f".{os.getpid()}-{id(self)}.new")
            descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                # It has its lock before anybody can find it.
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.write(descriptor, text.encode("ascii"))
                new.rename(self._path)
            except BaseException:
                os.close(descriptor)
                new.unlink(missing_ok=True)
                raise
            self._close()
            self._descriptor = descriptor

    def forget(self) -> None:
        """The upload is over."""
        self.found = None
        if self._path is not None and self._descriptor is not None:
            with suppress(OSError):
                if os.path.samestat(os.fstat(self._descriptor), os.lstat(self._path)):
                    self._path.unlink()
        self._close()

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def _read(descriptor: int) -> Unfinished | None:
    """What a file says; None if it says nothing of use, as after a crash of this machine."""
    try:
        said: dict[str, Any] = json.loads(os.pread(descriptor, _MOST, 0))
        found = Unfinished(
            str(said["number"]),
            str(said["sha256"]),
            Identity(**said["identity"]),
            str(said["details"]),
            str(said["condition"]),
        )
    except (ValueError, TypeError, KeyError, RecursionError, OSError):
        return None
    return found if _NUMBER.fullmatch(found.number) and _SHA256.fullmatch(found.sha256) else None


def _forget_old(directory: Path) -> None:
    """Remove what nobody has gone on with for so long that it has expired everywhere."""
    with suppress(OSError):
        for each in directory.iterdir():
            with suppress(OSError):
                if each.stat().st_mtime < time.time() - _FORGOTTEN:
                    each.unlink()
