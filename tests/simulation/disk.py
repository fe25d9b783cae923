"""A disk in memory that keeps apart what is written and what would survive a power cut.

What is written is volatile until it is synced: the bytes of a file until an ``fsync`` or
``fdatasync`` of it, the entries of a directory until an ``fsync`` of the directory, both until a
``syncfs``.  A power cut keeps any subset of the unsynced changes of each directory (a rename as a
whole, or not at all), in any combination across directories, and of the unsynced writes to a file
nothing, a torn part, or all.  That is weaker than any journaling file system, which keeps an order.
A mere kill of the process keeps everything, and what was volatile is so still.
"""

from __future__ import annotations

import errno
import itertools
import math
import os
import random
import stat
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from attrs import define, evolve, field

from gostore.disk import Disk

#: What a power cut leaves: a file is its bytes, a directory its entries, sorted.
Tree = bytes | tuple[tuple[str, Any], ...]

#: A write within a file may reach the platter in any of these parts of it.
_BLOCK = 4096

#: What is written of a block that is torn, if there is so much in it.
_SECTOR = 512

#: More free room than a test can fill.
_ROOM = 1 << 40

#: The calls that change what is on the disk, or what would survive.
CHANGES = frozenset(
    {
        "create",
        "fallocate",
        "fdatasync",
        "fsync",
        "ftruncate",
        "mkdir",
        "pwrite",
        "rename",
        "rmdir",
        "syncfs",
        "unlink",
        "write",
        "writev",
    }
)


@define(eq=False)
class File:
    """A file: its bytes as a process sees them, those on the platter, and the writes between."""

    data: bytes = b""
    durable: bytes = b""
    #: Each an offset and the bytes written there, or a new size and None.
    pending: tuple[tuple[int, bytes | None], ...] = ()

    def apply(self, offset: int, data: bytes | None) -> None:
        """Write, or with None set the size."""
        self.data = _written(self.data, offset, data)
        self.pending = (*self.pending, (offset, data))

    def sync(self) -> None:
        """Make it last."""
        self.durable, self.pending = self.data, ()

    def variants(self) -> list[bytes]:
        """What a power cut may leave of it: all, nothing new, torn parts."""
        if not self.pending:
            return [self.durable]
        *before, (offset, data) = self.pending
        kept = [self.data, self.durable]
        torn = self.durable
        for one in before:
            torn = _written(torn, *one)
        if before:
            kept.append(torn)  # the last write is lost as a whole
            kept.append(_written(self.durable, offset, data))  # only the last one made it
        if data:
            kept.append(_written(torn, offset, data[: min(len(data) // 2, _SECTOR)]))
            if offset + len(data) > len(self.durable):
                # The size arrived before the bytes did.
                kept.append(_written(torn, offset, bytes(len(data))))
            elif len(data) > _BLOCK:
                # Of its blocks only one is there, or all but one.
                for at in range(0, len(data), _BLOCK):
                    block = data[at : at + _BLOCK]
                    kept.append(_written(torn, offset + at, block))
                    lost = torn[offset + at : offset + at + len(block)].ljust(len(block), b"\0")
                    kept.append(_written(self.data, offset + at, lost))
        return list(dict.fromkeys(kept))


def _written(old: bytes, offset: int, data: bytes | None) -> bytes:
    if data is None:
        return old[:offset].ljust(offset, b"\0")
    return old[:offset].ljust(offset, b"\0") + data + old[offset + len(data) :]


@define(eq=False)
class Directory:
    """A directory: its entries as a process sees them, those that last, the changes between.

    Each change is the name that goes, the name that comes, and the inode behind that.
    """

    entries: dict[str, int] = field(factory=dict)
    durable: dict[str, int] = field(factory=dict)
    pending: tuple[tuple[str | None, str | None, int], ...] = ()

    def apply(self, gone: str | None, come: str | None, inode: int) -> None:
        """Change the entries."""
        _change(self.entries, gone, come, inode)
        self.pending = (*self.pending, (gone, come, inode))

    def sync(self) -> None:
        """Make them last."""
        self.durable, self.pending = dict(self.entries), ()

    def variants(self, limit: int) -> list[dict[str, int]]:
        """The entries that a power cut may leave: all, none of the new, any subset of them."""
        found = {}
        for mask in _masks(len(self.pending), limit):
            entries = dict(self.durable)
            for change, kept in zip(self.pending, mask, strict=True):
                if kept:
                    _change(entries, *change)
            found[tuple(sorted(entries.items()))] = entries
        return list(found.values())


def _change(entries: dict[str, int], gone: str | None, come: str | None, inode: int) -> None:
    if gone is not None:
        entries.pop(gone, None)
    if come is not None:
        # No inode here ever has two names: if an earlier rename of it was lost, this one was not.
        for name in [name for name, number in entries.items() if number == inode]:
            del entries[name]
        entries[come] = inode


def _masks(length: int, limit: int) -> Iterator[Sequence[bool]]:
    """All subsets: everything and nothing first, then all but one, and only one."""
    if 1 << length <= limit:
        yield from itertools.product((True, False), repeat=length)
        return
    yield [True] * length
    yield [False] * length
    for one in range(length):
        yield [at != one for at in range(length)]
        yield [at == one for at in range(length)]
    rng = random.Random(length)
    for _ in range(limit - 2 * length - 2):
        yield [rng.random() < 0.5 for _ in range(length)]


@define(eq=False)
class Descriptor:
    """An open file or directory."""

    inode: int
    name: str
    offset: int = 0


class SimulatedDisk(Disk):
    """A `Disk` that is all in memory.

    ``before`` is called with the kind and the name of each call, before it takes effect; an open
    that makes a file is a "create".  With ``full`` nothing can be made or written, with ``room``
    no more than so many blocks, inodes among them.  With ``trusted`` false ``syncfs`` reaches no
    platter, as on FUSE.
    """

    def __init__(self, tree: Tree = (), *, trusted: bool = True, room: int | None = None) -> None:
        self.trusted = trusted
        self.room = room
        self.full = False
        self.inodes: dict[int, File | Directory] = {}
        self.descriptors: dict[int, Descriptor] = {}
        self.locked: int | None = None
        self.before: Callable[[str, str], None] = lambda kind, name: None
        self._next = 0
        self._grow(tree)

    def _grow(self, tree: Tree) -> int:
        number = self._next
        self._next += 1
        if isinstance(tree, bytes):
            self.inodes[number] = File(tree, tree)
        else:
            self.inodes[number] = directory = Directory()
            for name, under in tree:
                directory.entries[name] = self._grow(under)
            directory.sync()
        return number

    # -- crashes ------------------------------------------------------------------------------

    def copy(self) -> SimulatedDisk:
        """What a kill of the process leaves: all of it, but nothing open."""
        other = SimulatedDisk(trusted=self.trusted, room=self.room)
        other.full = self.full
        other._next = self._next
        other.inodes = {
            number: evolve(one)
            if isinstance(one, File)
            else Directory(dict(one.entries), one.durable, one.pending)
            for number, one in self.inodes.items()
        }
        return other

    @property
    def tree(self) -> Tree:
        """What a process sees."""
        return self._tree(0)

    def _tree(self, number: int) -> Tree:
        one = self.inodes[number]
        if isinstance(one, File):
            return one.data
        return tuple((name, self._tree(under)) for name, under in sorted(one.entries.items()))

    def power_cuts(self, limit: int) -> tuple[list[Tree], bool]:
        """Return different trees that a power cut may leave, and whether these are all.

        Up to ``limit`` of each directory, beginning with what an orderly disk would leave.
        """
        complete = [True]
        return self._cut(0, limit, complete), complete[0]

    def _cut(self, number: int, limit: int, complete: list[bool]) -> list[Tree]:
        one = self.inodes[number]
        if isinstance(one, File):
            return list[Tree](one.variants())
        if 1 << len(one.pending) > limit:
            complete[0] = False
        found: dict[Tree, None] = {}
        below = {
            under: self._cut(under, limit, complete)
            for under in {*one.durable.values(), *(inode for _, come, inode in one.pending if come)}
        }
        choices = one.variants(limit)
        share = max(8, limit // len(choices))
        for entries in choices:
            names = sorted(entries)
            options = [below[entries[name]] for name in names]
            if math.prod(map(len, options)) > share:
                complete[0] = False
            for picked in _products(options, share):
                found[tuple(zip(names, picked, strict=True))] = None
        return list(found)

    def damage(self, name: str) -> None:
        """Cut a file short behind everybody's back."""
        _, _, inode = self._find(name, None)
        assert inode is not None
        one = self.inodes[inode]
        assert isinstance(one, File)
        one.data = one.data[:5]
        one.sync()

    # -- calls --------------------------------------------------------------------------------

    def _find(self, path: bytes | str, dir_fd: int | None) -> tuple[Directory, str, int | None]:
        """Return the directory that a path leads to, its last name, and the inode if there is."""
        at = self.inodes[0 if dir_fd is None else self._opened(dir_fd).inode]
        *above, name = os.fsdecode(path).strip("/").split("/")
        for step in above:
            assert isinstance(at, Directory)
            if step not in at.entries:
                raise _error(errno.ENOENT)
            at = self.inodes[at.entries[step]]
        if not isinstance(at, Directory):
            raise _error(errno.ENOTDIR)
        return at, name, at.entries.get(name)

    def _opened(self, fd: int) -> Descriptor:
        if fd not in self.descriptors:
            raise _error(errno.EBADF)
        return self.descriptors[fd]

    def _file(self, fd: int) -> File:
        one = self.inodes[self._opened(fd).inode]
        if not isinstance(one, File):
            raise _error(errno.EISDIR)
        return one

    def _allocate(self, blocks: int) -> None:
        full = self.room is not None and blocks and used(self.tree) + blocks > self.room
        if self.full or full:
            raise _error(errno.ENOSPC)

    def _grow_file(self, file: File, size: int) -> None:
        self._allocate(_blocks(max(size, len(file.data))) - _blocks(len(file.data)))

    def open(  # type: ignore[override]
        self, path: bytes | str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None
    ) -> int:
        name = os.fsdecode(path)
        self.before("create" if flags & os.O_CREAT else "open", name)
        if dir_fd is None:
            inode: int | None = 0
        else:
            directory, last, inode = self._find(path, dir_fd)
            if inode is None:
                if not flags & os.O_CREAT:
                    raise _error(errno.ENOENT)
                self._allocate(1)
                inode = self._make(directory, last, File())
            elif flags & os.O_EXCL:
                raise _error(errno.EEXIST)
        assert inode is not None
        one = self.inodes[inode]
        if flags & os.O_DIRECTORY and isinstance(one, File):
            raise _error(errno.ENOTDIR)
        if flags & os.O_TRUNC and isinstance(one, File):
            one.apply(0, None)
        fd = next(number for number in itertools.count(3) if number not in self.descriptors)
        self.descriptors[fd] = Descriptor(inode, "" if dir_fd is None else name)
        return fd

    def _make(self, directory: Directory, name: str, one: File | Directory) -> int:
        number = self._next
        self._next += 1
        self.inodes[number] = one
        directory.apply(None, name, number)
        return number

    def _call(self, kind: str, fd: int) -> None:
        self.before(kind, self._opened(fd).name)

    def close(self, fd: int) -> None:  # type: ignore[override]
        self._call("close", fd)
        del self.descriptors[fd]
        if self.locked == fd:
            self.locked = None

    def write(self, fd: int, data: bytes) -> int:  # type: ignore[override]
        self._call("write", fd)
        return self._append(fd, bytes(data))

    def writev(self, fd: int, pieces: Sequence[bytes]) -> int:  # type: ignore[override]
        self._call("writev", fd)
        return self._append(fd, b"".join(pieces))

    def _append(self, fd: int, data: bytes) -> int:
        opened = self._opened(fd)
        self._grow_file(self._file(fd), opened.offset + len(data))
        self._file(fd).apply(opened.offset, data)
        opened.offset += len(data)
        return len(data)

    def pwrite(self, fd: int, data: bytes, offset: int) -> int:
        self._call("pwrite", fd)
        # Within what a file has, nothing need be allocated.
        if offset + len(data) > len(self._file(fd).data):
            self._grow_file(self._file(fd), offset + len(data))
        self._file(fd).apply(offset, bytes(data))
        return len(data)

    def pwritev(self, fd: int, pieces: Sequence[bytes], offset: int) -> int:
        return self.pwrite(fd, b"".join(pieces), offset)

    def ftruncate(self, fd: int, length: int) -> None:  # type: ignore[override]
        self._call("ftruncate", fd)
        self._file(fd).apply(length, None)

    def fallocate(self, fd: int, offset: int, length: int) -> None:
        """As posix_fallocate(3): the file has at least so many bytes."""
        self._call("fallocate", fd)
        self._grow_file(self._file(fd), offset + length)
        if len(self._file(fd).data) < offset + length:
            self._file(fd).apply(offset + length, None)

    posix_fallocate = fallocate

    def pread(self, fd: int, length: int, offset: int) -> bytes:  # type: ignore[override]
        self._call("pread", fd)
        return self._file(fd).data[offset : offset + length]

    def preadv(  # type: ignore[override]
        self, fd: int, buffers: Sequence[Any], offset: int, flags: int = 0
    ) -> int:
        self._call("preadv", fd)
        done = 0
        for buffer in buffers:
            piece = self._file(fd).data[offset + done : offset + done + len(buffer)]
            buffer[: len(piece)] = piece
            done += len(piece)
        return done

    def fsync(self, fd: int) -> None:  # type: ignore[override]
        self._call("fsync", fd)
        self.inodes[self._opened(fd).inode].sync()

    def fdatasync(self, fd: int) -> None:
        self._call("fdatasync", fd)
        self._file(fd).sync()

    def syncfs(self, dir_fd: int) -> None:  # type: ignore[override]
        self._call("syncfs", dir_fd)
        if self.trusted:
            for one in self.inodes.values():
                one.sync()

    def syncfs_trusted(self, dir_fd: int) -> bool:  # type: ignore[override]
        return self.trusted

    def open_cached(self, name: str, flags: int, dir_fd: int) -> int:  # type: ignore[override]
        raise BlockingIOError(errno.EAGAIN, "nothing is in memory")

    def is_cached(self, fd: int, offset: int, length: int) -> bool:  # type: ignore[override]
        return False

    def write_back(self, fd: int, offset: int, length: int) -> None:  # type: ignore[override]
        pass

    def _stat(self, number: int) -> os.stat_result:
        one = self.inodes[number]
        if isinstance(one, File):
            return os.stat_result(
                (stat.S_IFREG | 0o644, number, 1, 1, 0, 0, len(one.data), 0, 0, 0)
            )
        return os.stat_result((stat.S_IFDIR | 0o755, number, 1, 2, 0, 0, 0, 0, 0, 0))

    def fstat(self, fd: int) -> os.stat_result:  # type: ignore[override]
        self._call("fstat", fd)
        return self._stat(self._opened(fd).inode)

    def lstat(self, name: str, dir_fd: int) -> os.stat_result:  # type: ignore[override]
        self.before("lstat", name)
        _, _, inode = self._find(name, dir_fd)
        if inode is None:
            raise _error(errno.ENOENT)
        return self._stat(inode)

    def mkdir(self, name: str, mode: int = 0o777, *, dir_fd: int) -> None:  # type: ignore[override]
        self.before("mkdir", name)
        directory, last, inode = self._find(name, dir_fd)
        if inode is not None:
            raise _error(errno.EEXIST)
        self._allocate(1)
        self._make(directory, last, Directory())

    def unlink(self, name: str, *, dir_fd: int) -> None:  # type: ignore[override]
        self.before("unlink", name)
        self._remove(name, dir_fd, File)

    def rmdir(self, name: str, *, dir_fd: int) -> None:  # type: ignore[override]
        self.before("rmdir", name)
        self._remove(name, dir_fd, Directory)

    def _remove(self, name: str, dir_fd: int, wanted: type[File] | type[Directory]) -> None:
        directory, last, inode = self._find(name, dir_fd)
        if inode is None:
            raise _error(errno.ENOENT)
        one = self.inodes[inode]
        if not isinstance(one, wanted):
            raise _error(errno.EISDIR if isinstance(one, Directory) else errno.ENOTDIR)
        if isinstance(one, Directory) and one.entries:
            raise _error(errno.ENOTEMPTY)
        directory.apply(last, None, inode)

    def rename(self, source: str, target: str, dir_fd: int) -> None:  # type: ignore[override]
        self.before("rename", f"{source} -> {target}")
        directory, old, inode = self._find(source, dir_fd)
        beside, new, taken = self._find(target, dir_fd)
        if inode is None:
            raise _error(errno.ENOENT)
        assert directory is beside, "the volume renames within one directory"
        if taken is not None:
            mine, other = self.inodes[inode], self.inodes[taken]
            if isinstance(mine, Directory) != isinstance(other, Directory):
                raise _error(errno.ENOTDIR if isinstance(other, File) else errno.EISDIR)
            if isinstance(other, Directory) and other.entries:
                raise _error(errno.ENOTEMPTY)
        directory.apply(old, new, inode)

    def listdir(self, dir_fd: int) -> list[tuple[str, bool]]:  # type: ignore[override]
        self._call("listdir", dir_fd)
        one = self.inodes[self._opened(dir_fd).inode]
        assert isinstance(one, Directory)
        return [
            (name, isinstance(self.inodes[inode], Directory)) for name, inode in one.entries.items()
        ]

    def free(self, dir_fd: int) -> tuple[int, int]:  # type: ignore[override]
        self._call("free", dir_fd)
        return (0 if self.full else _ROOM), 2 * _ROOM

    def lock(self, dir_fd: int) -> None:  # type: ignore[override]
        self._call("lock", dir_fd)
        if self.locked is not None:
            raise BlockingIOError(errno.EAGAIN, "locked")
        self.locked = dir_fd


def used(tree: Tree) -> int:
    """How many blocks a tree takes, one for each file and directory, and those of the bytes."""
    if isinstance(tree, bytes):
        return 1 + _blocks(len(tree))
    return 1 + sum(used(under) for _, under in tree)


def _blocks(size: int) -> int:
    return -(-size // _BLOCK)


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def _products(options: list[list[Tree]], limit: int) -> Iterator[tuple[Tree, ...]]:
    """All combinations; of too many, those with one deviation first, then some at random."""
    if math.prod(map(len, options)) <= limit:
        yield from itertools.product(*options)
        return
    kept = tuple(one[0] for one in options)
    lost = tuple(one[min(1, len(one) - 1)] for one in options)
    yield kept
    yield lost
    for at, several in enumerate(options):
        for one in several:
            yield (*kept[:at], one, *kept[at + 1 :])
            yield (*lost[:at], one, *lost[at + 1 :])
    rng = random.Random(limit)
    for _ in range(limit):
        yield tuple(rng.choice(one) for one in options)
