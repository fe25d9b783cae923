"""A daemon as a file system for fsspec, and so for pandas, pyarrow, dask and DVC.

``gostore://host:7777/a/b`` is the blob ``a/b`` of the daemon at ``http://host:7777``, and
``gostores://`` one behind TLS. The token is GOSTORE_TOKEN, or the storage option ``token``. A
directory is a prefix that some location has: an empty one is nowhere, and to make one does nothing.
"""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

from gostore.client.blocking import Client
from gostore.client.errors import (
    AlreadyExists,
    BadLocation,
    ClientError,
    NotFound,
    Refused,
)
from gostore.client.values import Blob

_SCHEMES = {"gostore": "http", "gostores": "https"}

#: How Python names the failures that programs look for.
_KINDS: tuple[tuple[type[ClientError], type[OSError]], ...] = (
    (NotFound, FileNotFoundError),
    (AlreadyExists, FileExistsError),
    (Refused, PermissionError),
    (BadLocation, FileNotFoundError),
)


class GostoreFileSystem(AbstractFileSystem):  # type: ignore[misc]
    """The blobs of one daemon as files.

    >>> import fsspec
    >>> with fsspec.open(f"gostore://{host}/notes/today", "wb") as file:
    ...     file.write(b"Buy milk.")
    9
    >>> fs = fsspec.filesystem("gostore", url=url)
    >>> fs.ls("notes", detail=False)
    ['notes/today']
    >>> fs.cat("notes/today")
    b'Buy milk.'
    """

    protocol = tuple(_SCHEMES)
    root_marker = ""

    def __init__(self, url: str, token: str | None = None, **options: Any) -> None:
        """``url`` is that of the daemon, with http: or https:."""
        super().__init__(url=url, token=token, **options)
        self.client = Client(url, token or os.environ.get("GOSTORE_TOKEN") or None)

    @staticmethod
    def _get_kwargs_from_urls(path: str) -> dict[str, str]:
        parts = urlsplit(path)
        if parts.scheme in _SCHEMES and parts.netloc:
            return {"url": f"{_SCHEMES[parts.scheme]}://{parts.netloc}"}
        return {}

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(each) for each in path]
        text = os.fspath(path)
        scheme, found, rest = text.partition("://")
        if found and scheme in _SCHEMES:
            text = rest.partition("/")[2]
        return text.strip("/")

    def unstrip_protocol(self, name: str) -> str:
        """The whole URL of a path."""
        parts = urlsplit(self.client.address.url)
        scheme = "gostore" if parts.scheme == "http" else "gostores"
        return f"{scheme}://{parts.netloc}/{self._strip_protocol(name)}"

    @property
    def fsid(self) -> str:
        """What no other file system has."""
        return self.client.address.url

    # -- looking ------------------------------------------------------------------------------

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """What is known of a file, or of a directory."""
        path = self._strip_protocol(path)
        if not path:
            return _directory("")
        with _errors(path):
            try:
                return _file(self.client.stat(path))
            except NotFound:
                if next(self.client.ls(f"{path}/", limit=1), None) is None:
                    raise
                return _directory(path)

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """What is right below a directory, or a file itself."""
        path = self._strip_protocol(path)
        with _errors(path):
            found = [
                _file(each) if isinstance(each, Blob) else _directory(each.rstrip("/"))
                for each in self.client.ls_directory(f"{path}/" if path else "")
            ]
        if not found and path:
            found = [self.info(path)]
        return found if detail else sorted(each["name"] for each in found)

    def find(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = False,
        detail: bool = False,
        **more: Any,
    ) -> Any:
        """All files below a directory, in one list."""
        if maxdepth is not None or withdirs:
            return super().find(path, maxdepth, withdirs, detail, **more)
        path = self._strip_protocol(path)
        with _errors(path):
            found = {
                blob.location: _file(blob) for blob in self.client.ls(f"{path}/" if path else "")
            }
            if not found and path and self.isfile(path):
                found = {path: self.info(path)}
        return found if detail else sorted(found)

    def created(self, path: str) -> datetime:
        """When this version was committed."""
        return self.modified(path)

    def modified(self, path: str) -> datetime:
        """When this version was committed."""
        modified: datetime = self.info(path)["mtime"]
        return modified

    def ukey(self, path: str) -> str:
        """What changes with the file."""
        return str(self.info(path)["etag"])

    def checksum(self, path: str) -> int:
        """The digest, as a number."""
        return int(self.info(path)["sha256"], 16)

    # -- reading and writing ------------------------------------------------------------------

    def open(self, path: str, mode: str = "rb", *options: Any, **more: Any) -> Any:
        """A file. What a program writes to it is stored when it is closed.

        If its ``with`` block raises, nothing is stored. (Neither a compressed file nor
        ``fsspec.open`` can tell that it raised: write in a ``with fs.transaction`` there.)
        """
        opened = super().open(path, mode, *options, **more)
        if isinstance(opened, io.TextIOWrapper) and isinstance(opened.buffer, _OpenFile):
            encoding, errors = opened.encoding, opened.errors
            opened = _OpenText(opened.detach(), encoding, errors, more.get("newline"))
        return opened

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        autocommit: bool = True,
        cache_options: dict[str, Any] | None = None,
        **more: Any,
    ) -> AbstractBufferedFile:
        size = None
        with _errors(path):
            blob = self.client.stat(path) if mode == "rb" else None
        if "x" in mode and self.exists(path):
            # The daemon decides at the end, but who asks wants to know it now.
            raise FileExistsError(path)
        if blob is not None:
            size = blob.size
        opened = _OpenFile(
            self,
            path,
            mode,
            block_size or "default",
            autocommit,
            cache_options=cache_options,
            size=size,
            **more,
        )
        opened.blob = blob
        return opened

    def cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **_: Any
    ) -> bytes:
        """The bytes of a file; if all of them are asked for, they are verified."""
        path = self._strip_protocol(path)
        with _errors(path):
            if start is None and end is None:
                return self.client.get(path).read()
            blob = self.client.stat(path)
            first, last, _step = slice(start, end).indices(blob.size)
            return self.client.read(blob, first, last)

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        """Write a whole file."""
        path = self._strip_protocol(path)
        with _errors(path):
            self.client.put(path, value, create_only=mode == "create")

    def put_file(
        self, lpath: str, rpath: str, callback: Any = None, mode: str = "overwrite", **_: Any
    ) -> None:
        """Send a file of this machine."""
        if os.path.isdir(lpath):
            return
        path = self._strip_protocol(rpath)
        with _errors(path):
            self.client.put(path, Path(lpath), create_only=mode == "create")

    def get_file(
        self, rpath: str, lpath: Any, callback: Any = None, outfile: Any = None, **_: Any
    ) -> None:
        """Fetch a file to this machine."""
        path = self._strip_protocol(rpath)
        if isinstance(lpath, str | os.PathLike) and outfile is None:
            if self.isdir(path) and not self.isfile(path):
                os.makedirs(lpath, exist_ok=True)
                return
            os.makedirs(os.path.dirname(os.fspath(lpath)) or ".", exist_ok=True)
            with open(lpath, "wb") as file:
                self._fetch(path, file)
        else:
            self._fetch(path, outfile or lpath)

    def _fetch(self, path: str, file: IO[bytes]) -> None:
        with _errors(path), self.client.get(path) as download:
            for piece in download:
                file.write(piece)

    def cp_file(self, path1: str, path2: str, **_: Any) -> None:
        """Copy a file."""
        source, target = self._strip_protocol(path1), self._strip_protocol(path2)
        if self.isdir(source) and not self.isfile(source):
            return
        with _errors(source):
            self.client.copy(source, target)

    def rm_file(self, path: str) -> None:
        """Delete a file."""
        path = self._strip_protocol(path)
        with _errors(path):
            self.client.delete(path)

    _rm = rm_file

    def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None) -> None:
        """Delete files; with ``recursive`` all below directories as well."""
        for each in self.expand_path(path, recursive=recursive, maxdepth=maxdepth):
            if self.info(each)["type"] == "file":
                self.rm_file(each)

    def mkdir(self, path: str, create_parents: bool = True, **_: Any) -> None:
        """A directory is there as soon as something is in it."""

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """A directory is there as soon as something is in it."""

    def rmdir(self, path: str) -> None:
        """A directory is gone as soon as nothing is in it."""

    def touch(self, path: str, truncate: bool = True, **_: Any) -> None:
        """Make an empty file."""
        if truncate or not self.exists(path):
            self.pipe_file(path, b"")


class _OpenFile(AbstractBufferedFile):  # type: ignore[misc]
    """A file that is read by parts of one version, or written here and sent at its end."""

    blob: Blob | None = None
    _local: Any = None
    _etag: str | None = None
    _is_abandoned = False

    def _fetch_range(self, start: int, end: int) -> bytes:
        assert self.blob is not None
        with _errors(self.path):
            data: bytes = self.fs.client.read(self.blob, start, end)
            return data

    def _initiate_upload(self) -> None:
        self._local = tempfile.NamedTemporaryFile()  # noqa: SIM115
        if "a" in self.mode:
            with _errors(self.path):
                try:
                    with self.fs.client.get(self.path) as download:
                        self._etag = download.blob.etag
                        for piece in download:
                            self._local.write(piece)
                except NotFound:
                    pass

    def _upload_chunk(self, final: bool = False) -> bool:
        self._local.write(self.buffer.getvalue())
        if final:
            self._local.flush()
            if self.autocommit:
                self.commit()
        return True

    def commit(self) -> None:
        """Store what was written."""
        if self._is_abandoned:
            return
        if not self.forced:
            # gzip leaves the file open, and its transaction ends.
            self.close()
        is_new = "x" in self.mode or ("a" in self.mode and self._etag is None)
        try:
            with _errors(self.path):
                self.fs.client.put(
                    self.path, Path(self._local.name), create_only=is_new, if_match=self._etag
                )
        finally:
            self.discard()

    def discard(self) -> None:
        """Forget what was written."""
        if self._local is not None:
            self._local.close()
            self._local = None

    def abandon(self) -> None:
        """Close the file without storing what was written."""
        if self.writable():
            self.discard()
            self._is_abandoned = True
            # Nothing is left for close to send.
            self.forced = True
        self.close()

    def __exit__(self, kind: object = None, *more: object) -> None:
        # Half of what a program meant to write must not replace the blob.
        if kind is not None:
            self.abandon()
        self.close()


class _OpenText(io.TextIOWrapper):
    """A file of text, which knows as well whether its ``with`` block raised."""

    def __exit__(self, kind: object = None, *more: object) -> None:
        if kind is not None and isinstance(self.buffer, _OpenFile):
            self.buffer.abandon()
        self.close()


def _file(blob: Blob) -> dict[str, Any]:
    return {
        "name": blob.location,
        "size": blob.size,
        "type": "file",
        "etag": blob.etag,
        "sha256": blob.sha256,
        "mtime": blob.modified,
        "content_type": blob.content_type,
    }


def _directory(path: str) -> dict[str, Any]:
    return {"name": path, "size": 0, "type": "directory"}


@contextmanager
def _errors(path: str) -> Iterator[None]:
    """Raise OSErrors, as programs expect of files, in place of the client's errors."""
    try:
        yield
    except ClientError as error:
        kind = next((each for ours, each in _KINDS if isinstance(error, ours)), OSError)
        if kind is OSError:
            raise OSError(f"{path}: {error}") from error
        raise kind(path) from error
