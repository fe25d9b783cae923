"""A disk in memory that keeps apart what is written and what would survive a power cut.

What is written is volatile until it is synced: the bytes of a file until an ``fsync`` or
``fdatasync`` of it, the entries of a directory until an ``fsync`` of the directory, both until a
``syncfs``.  A sync covers what was written before it began, and nothing that another thread writes
meanwhile.  A power cut keeps any subset of the unsynced changes of each directory (a rename as a
whole, or not at all), in any combination across directories, and of the unsynced writes to a file
nothing, a torn part, or all; what else is in a block that was being written may be garbage then.
That is weaker than any journaling file system, which keeps an order.  A mere kill of the process
keeps everything, and what was volatile is so still.
"""

from __future__ import annotations

import errno
import itertools
import os
import random
import stat
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import define

from gostore.volume.disk import Disk

#: What a disk holds at first: a file is its bytes, a directory its entries, sorted.
Tree = bytes | tuple[tuple[str, Any], ...]

#: The entries of a directory: each a name and the number of an inode, sorted.
Entries = tuple[tuple[str, int], ...]

#: Of a block either all is as it was, or what is written into it has begun to come.
BLOCK = 4096

#: What is written of a block that is torn, if there is so much in it.
_SECTOR = 512

#: Of so many states of one directory all are looked at, else so many.
_STATES = 2048

#: More free room than a test can fill.
_ROOM = 1 << 40

#: The calls that change what is on the disk, and those that change what would survive.
WRITES = frozenset(
    {
        "create",
        "ftruncate",
        "mkdir",
        "pwrite",
        "rename",
        "rmdir",
        "unlink",
        "write",
        "writev",
    }
)
SYNCS = frozenset({"fdatasync", "fsync", "syncfs"})
CHANGES = WRITES | SYNCS


@define(eq=False)
class File:
    """A file: its bytes as a process sees them, those on the platter, and the writes between.

    It is never changed: each change makes another one, so that a copy of a disk costs nothing.
    """

    data: bytes = b""
    durable: bytes = b""
    #: Each an offset and the bytes written there, or None where the file was cut to a size.
    pending: tuple[tuple[int, bytes | None], ...] = ()
    #: How many changes a sync has been asked to make last.
    done: int = 0
    _variants: tuple[bytes, ...] | None = None

    def changed(self, offset: int, data: bytes | None) -> File:
        """Write, or with None set the size."""
        pending = (*self.pending, (offset, data))
        return File(_written(self.data, offset, data), self.durable, pending, self.done)

    def synced(self, begun: File, lost: bool) -> File:
        """Make last what had been written when the sync began; it was like ``begun`` then.

        Or if the sync failed, and what it was for is ``lost``, see that it never will.
        """
        covered = begun.done + len(begun.pending) - self.done
        if covered <= 0:
            return self
        durable = self.durable
        for change in () if lost else self.pending[:covered]:
            durable = _written(durable, *change)
        return File(self.data, durable, self.pending[covered:], self.done + covered)

    def variants(self) -> tuple[bytes, ...]:
        """What a power cut may leave of it: all, nothing new, torn parts."""
        if self._variants is None:
            self._variants = tuple(dict.fromkeys(self._torn()))
        return self._variants

    @property
    def complete(self) -> bool:
        """Whether `variants` are all that this model has."""
        return True

    def _torn(self) -> list[bytes]:
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
            elif len(data) > BLOCK:
                # Of its blocks only one is there, or all but one.
                for at in range(0, len(data), BLOCK):
                    block = data[at : at + BLOCK]
                    kept.append(_written(torn, offset + at, block))
                    lost = torn[offset + at : offset + at + len(block)].ljust(len(block), b"\0")
                    kept.append(_written(self.data, offset + at, lost))
            # What else was in its blocks may be gone, if the disk writes whole blocks.
            first = offset - offset % BLOCK
            last = min(len(self.durable), -(-(offset + len(data)) // BLOCK) * BLOCK)
            kept.append(_written(torn, first, bytes(max(0, last - first))))
        return kept


def _written(old: bytes, offset: int, data: bytes | None) -> bytes:
    if data is None:
        return old[:offset].ljust(offset, b"\0")
    return old[:offset].ljust(offset, b"\0") + data + old[offset + len(data) :]


@define(eq=False)
class Directory:
    """A directory: its entries as a process sees them, those that last, the changes between.

    Each change is the name that goes, the name that comes, and the inode behind that.  It is never
    changed itself, as a `File` is not.
    """

    entries: dict[str, int]
    durable: dict[str, int]
    pending: tuple[tuple[str | None, str | None, int], ...] = ()
    done: int = 0
    _variants: tuple[Entries, ...] | None = None
    complete: bool = True

    def changed(self, gone: str | None, come: str | None, inode: int) -> Directory:
        """Change the entries."""
        entries = dict(self.entries)
        _change(entries, gone, come, inode)
        return Directory(entries, self.durable, (*self.pending, (gone, come, inode)), self.done)

    def synced(self, begun: Directory, lost: bool) -> Directory:
        """Make last what had been changed when the sync began, or see that it never will."""
        covered = begun.done + len(begun.pending) - self.done
        if covered <= 0:
            return self
        durable = dict(self.durable)
        for change in () if lost else self.pending[:covered]:
            _change(durable, *change)
        return Directory(self.entries, durable, self.pending[covered:], self.done + covered)

    def variants(self) -> tuple[Entries, ...]:
        """What a power cut may leave: all, none of the new, any subset of them.

        Of too many states some, chosen at random; `complete` is false then.
        """
        if self._variants is None:
            first = (_sorted(self.entries), _sorted(self.durable))
            found = {first[1]: self.durable}
            for change in self.pending:
                for entries in list(found.values()):
                    changed = dict(entries)
                    _change(changed, *change)
                    found[_sorted(changed)] = changed
                if len(found) > _STATES:
                    self.complete = False
                    some = random.Random(len(self.pending)).sample(list(found), _STATES // 2)
                    found = {key: found[key] for key in some}
            self._variants = tuple(dict.fromkeys((*first, *found)))
        return self._variants


def _sorted(entries: dict[str, int]) -> Entries:
    return tuple(sorted(entries.items()))


def _change(entries: dict[str, int], gone: str | None, come: str | None, inode: int) -> None:
    if gone is not None:
        entries.pop(gone, None)
    if come is not None:
        # No inode here ever has two names: if an earlier rename of it was lost, this one was not.
        for name in [name for name, number in entries.items() if number == inode]:
            del entries[name]
        entries[come] = inode


def _lasting(state: bytes | Entries) -> File | Directory:
    if isinstance(state, bytes):
        return File(state, state)
    entries = dict(state)
    return Directory(entries, entries)


@define(eq=False)
class Descriptor:
    """An open file or directory."""

    inode: int
    name: str
    offset: int = 0


#: Says in what state a power cut has left an inode, given its number: bytes, or entries.
Settle = Callable[[int], "bytes | Entries"]


class SimulatedDisk(Disk):
    """A `Disk` that is all in memory.

    ``before`` is called with the kind and the name of each call, before it takes effect; an open
    that makes a file is a "create".  With ``full`` nothing can be made or written, with ``room``
    no more than so many blocks, inodes among them.  With ``crowded`` no new name can be given
    then, either, as on XFS.  With ``trusted`` false ``syncfs`` reaches no platter, as on FUSE.
    With ``stamped`` the ctimes of files tell their changes.  A power cut takes no ctime back: that
    may be there before the bytes are.
    """

    def __init__(
        self,
        tree: Tree = (),
        *,
        trusted: bool = True,
        room: int | None = None,
        crowded: bool = False,
        stamped: bool = False,
    ) -> None:
        self.trusted = trusted
        #: Whether a ctime tells every change: it is the time in nanoseconds, by a clock that a test
        #: may set on. By itself it goes on by nothing: all that happens at once looks alike.
        self.stamped = stamped
        self.now = 0
        self.ctimes: dict[int, int] = {}
        self.room = room
        self.crowded = crowded
        self.full = False
        #: How many syncs from now on succeed before one fails, None for all; and whether what that
        #: one was for is lost all the same, or only its success.
        self.fails_after: int | None = None
        self.loses = False
        self.inodes: dict[int, File | Directory] = {}
        self.descriptors: dict[int, Descriptor] = {}
        self.locked: int | None = None
        self.before: Callable[[str, str], None] = lambda kind, name: None
        self._next = 0
        #: Inodes of which nobody has looked yet at what a power cut has left, and who knows that.
        self._unsettled: set[int] = set()
        self._settle: Settle | None = None
        self._grow(tree)

    def _grow(self, tree: Tree) -> int:
        number = self._next
        self._next += 1
        if isinstance(tree, bytes):
            self.inodes[number] = File(tree, tree)
        else:
            entries = {name: self._grow(under) for name, under in tree}
            self.inodes[number] = Directory(entries, entries)
        return number

    # -- crashes ------------------------------------------------------------------------------

    def copy(self) -> SimulatedDisk:
        """What a kill of the process leaves: all of it, but nothing open."""
        other = SimulatedDisk(
            trusted=self.trusted, room=self.room, crowded=self.crowded, stamped=self.stamped
        )
        other.full = self.full
        other.now = self.now
        other.ctimes = dict(self.ctimes)
        other._next = self._next
        other.inodes = dict(self.inodes)
        other._unsettled = set(self._unsettled)
        other._settle = self._settle
        return other

    def cut(self, settle: Settle) -> SimulatedDisk:
        """What a power cut leaves; ``settle`` is asked about an inode when it is first looked at.

        It answers with one of the inode's `variants` here.  A full disk has no more room than it
        had, and of that all is asked for.
        """
        other = self.copy()
        other.full = False
        other._unsettled = set(self.inodes)
        other._settle = settle
        if self.full:
            other.room = max(used(self.tree), used(other.tree))
        return other

    def learn(self, states: Mapping[int, bytes | Entries]) -> None:
        """Be told of inodes that nobody had looked at here in what state they were all the time."""
        for number in self._unsettled & states.keys():
            self.inodes[number] = _lasting(states[number])

    def lose(self, fd: int | None) -> None:
        """See that what is unsynced of an open file, or of all, never lasts: its sync failed."""
        for number in list(self.inodes) if fd is None else [self._opened(fd).inode]:
            one: Any = self._at(number)
            self.inodes[number] = one.synced(one, True)

    def is_directory(self, number: int) -> bool:
        """What kind an inode is, which no power cut changes."""
        return isinstance(self.inodes[number], Directory)

    def _at(self, number: int) -> File | Directory:
        """The inode of a number, in the state in which a power cut has left it."""
        if number in self._unsettled:
            self._unsettled.discard(number)
            assert self._settle is not None
            self.inodes[number] = _lasting(self._settle(number))
        return self.inodes[number]

    @property
    def names(self) -> list[str]:
        """The names in the directory."""
        return sorted(self._entries(0))

    @property
    def tree(self) -> Tree:
        """What a process sees."""
        return self._tree(0)

    def _tree(self, number: int) -> Tree:
        one = self._at(number)
        if isinstance(one, File):
            return one.data
        return tuple((name, self._tree(under)) for name, under in sorted(one.entries.items()))

    def content(self, name: str) -> bytes:
        """The bytes of a file in the root."""
        one = self._at(self._entries(0)[name])
        assert isinstance(one, File)
        return one.data

    def put(self, name: str, data: bytes) -> None:
        """Give a file in the root other bytes, behind everybody's back, on the platter too."""
        self.inodes[self._entries(0)[name]] = File(data, data)

    def lose_file(self, name: str) -> None:
        """Let a file in the root be gone, from the platter too."""
        entries = dict(self._entries(0))
        del entries[name]
        self.inodes[0] = Directory(entries, entries)

    def edit(self, name: str, data: bytes, *, in_place: bool) -> None:
        """Give a file in a directory other bytes, as another program would, on the platter too."""
        directory, file = name.split("/")
        number = self._entries(0)[directory]
        entries = dict(self._entries(number))
        inode = entries[file]
        if not in_place:
            inode, self._next = self._next, self._next + 1
        entries[file] = inode
        self.inodes[inode] = File(data, data)
        self.inodes[number] = Directory(entries, entries)
        self.ctimes[inode] = self.now

    def spoil(self, name: str, offset: int, length: int) -> None:
        """Zero bytes of a file in the root."""
        data = self.content(name)
        self.put(name, _written(data, offset, bytes(max(0, min(length, len(data) - offset)))))

    def damage(self, name: str) -> None:
        """Cut a file short behind everybody's back."""
        directory, file = name.split("/")
        inode = self._entries(self._entries(0)[directory])[file]
        one = self._at(inode)
        assert isinstance(one, File)
        self.inodes[inode] = File(one.data[:5], one.data[:5])

    # -- calls --------------------------------------------------------------------------------

    def _find(self, path: str, dir_fd: int) -> tuple[int, str, int | None]:
        """Return the directory that a path leads to, its last name, and the inode if there is."""
        at = self._opened(dir_fd).inode
        *above, name = path.split("/")
        for step in above:
            entries = self._entries(at)
            if step not in entries:
                raise _error(errno.ENOENT)
            at = entries[step]
        return at, name, self._entries(at).get(name)

    def _entries(self, number: int) -> dict[str, int]:
        one = self._at(number)
        if isinstance(one, File):
            raise _error(errno.ENOTDIR)
        return one.entries

    def _opened(self, fd: int) -> Descriptor:
        if fd not in self.descriptors:
            raise _error(errno.EBADF)
        return self.descriptors[fd]

    def _file(self, fd: int) -> File:
        one = self._at(self._opened(fd).inode)
        if not isinstance(one, File):
            raise _error(errno.EISDIR)
        return one

    def _change_file(self, fd: int, offset: int, data: bytes | None) -> None:
        number = self._opened(fd).inode
        self.inodes[number] = self._file(fd).changed(offset, data)
        self.ctimes[number] = self.now

    def _change_directory(
        self, number: int, gone: str | None, come: str | None, inode: int
    ) -> None:
        one = self._at(number)
        assert isinstance(one, Directory)
        self.inodes[number] = one.changed(gone, come, inode)

    @property
    def is_full(self) -> bool:
        """Whether something may not find room."""
        return self.full or self.room is not None

    def _allocate(self, blocks: int) -> None:
        full = self.room is not None and blocks and used(self.tree) + blocks > self.room
        if self.full or full:
            raise _error(errno.ENOSPC)

    def _grow_file(self, file: File, size: int) -> None:
        self._allocate(_blocks(max(size, len(file.data))) - _blocks(len(file.data)))

    def open(
        self, path: bytes | str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None
    ) -> int:
        name = os.fsdecode(path)
        self.before("create" if flags & os.O_CREAT else "open", name)
        inode: int | None = 0
        if dir_fd is not None:
            directory, last, inode = self._find(name, dir_fd)
            if inode is None:
                if not flags & os.O_CREAT:
                    raise _error(errno.ENOENT)
                self._allocate(1)
                inode = self._make(directory, last, File())
            elif flags & os.O_EXCL:
                raise _error(errno.EEXIST)
        assert inode is not None
        if flags & os.O_DIRECTORY and not self.is_directory(inode):
            raise _error(errno.ENOTDIR)
        fd = next(number for number in itertools.count(3) if number not in self.descriptors)
        self.descriptors[fd] = Descriptor(inode, "" if dir_fd is None else name)
        return fd

    def _make(self, directory: int, name: str, one: File | Directory) -> int:
        number = self._next
        self._next += 1
        self.inodes[number] = one
        self.ctimes[number] = self.now
        self._change_directory(directory, None, name, number)
        return number

    def _call(self, kind: str, fd: int) -> None:
        self.before(kind, self._opened(fd).name)

    def close(self, fd: int) -> None:
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
        self._change_file(fd, opened.offset, data)
        opened.offset += len(data)
        return len(data)

    def pwrite(self, fd: int, data: bytes, offset: int) -> int:  # type: ignore[override]
        self._call("pwrite", fd)
        # Within what a file has, nothing need be allocated.
        if offset + len(data) > len(self._file(fd).data):
            self._grow_file(self._file(fd), offset + len(data))
        self._change_file(fd, offset, bytes(data))
        return len(data)

    def ftruncate(self, fd: int, length: int) -> None:
        self._call("ftruncate", fd)
        self._change_file(fd, length, None)

    def pread(self, fd: int, length: int, offset: int) -> bytes:
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

    def write_back(self, fd: int) -> None:  # type: ignore[override]
        """It promises nothing: a power cut leaves any part of a file anyway."""

    def clone(self, source: int, target: int) -> None:  # type: ignore[override]
        raise _error(errno.EOPNOTSUPP)

    def copy_range(  # type: ignore[override]
        self, source: int, target: int, offset: int, length: int
    ) -> int:
        return self.pwrite(target, self._file(source).data[offset : offset + length], offset)

    def fsync(self, fd: int) -> None:  # type: ignore[override]
        self._sync("fsync", fd, [self._opened(fd).inode])

    def fdatasync(self, fd: int) -> None:  # type: ignore[override]
        self._sync("fdatasync", fd, [self._opened(fd).inode])

    def syncfs(self, dir_fd: int) -> None:  # type: ignore[override]
        self._sync("syncfs", dir_fd, list(self.inodes) if self.trusted else [])

    def _sync(self, kind: str, fd: int, numbers: Sequence[int]) -> None:
        # What nobody has looked at since a power cut lasts already, whatever it is.
        begun = {number: self.inodes[number] for number in numbers if number not in self._unsettled}
        self._call(kind, fd)
        fails = self.fails_after == 0
        if self.fails_after is not None:
            self.fails_after = None if fails else self.fails_after - 1
        for number, one in begun.items():
            now: Any = self.inodes[number]
            self.inodes[number] = now.synced(one, fails and self.loses)
        if fails:
            raise _error(errno.EIO)

    def syncfs_trusted(self, dir_fd: int) -> bool:  # type: ignore[override]
        return self.trusted

    def leads_to(self, path: bytes | str, directory: object) -> bool:  # type: ignore[override]
        return True

    def open_cached(self, name: str, flags: int, dir_fd: int) -> int:
        raise BlockingIOError(errno.EAGAIN, "nothing is in memory")

    def is_cached(self, fd: int, offset: int, length: int) -> bool:  # type: ignore[override]
        return False

    def _stat(self, number: int) -> os.stat_result:
        one = self._at(number)
        is_file = isinstance(one, File)
        mode = stat.S_IFREG | 0o644 if is_file else stat.S_IFDIR | 0o755
        size = len(one.data) if isinstance(one, File) else 0
        changed = self.ctimes.get(number, 0)
        return os.stat_result(
            (mode, number, 1, 1 if is_file else 2, 0, 0, size, 0, 0, 0),
            {"st_mtime_ns": changed, "st_ctime_ns": changed},
        )

    def fstat(self, fd: int) -> os.stat_result:
        self._call("fstat", fd)
        return self._stat(self._opened(fd).inode)

    def lstat(self, name: str, dir_fd: int) -> os.stat_result:  # type: ignore[override]
        self.before("lstat", name)
        _, _, inode = self._find(name, dir_fd)
        if inode is None:
            raise _error(errno.ENOENT)
        return self._stat(inode)

    def peek(self, name: str, *, dir_fd: int) -> os.stat_result:  # type: ignore[override]
        return self.lstat(name, dir_fd)

    def ctime_trusted(self, dir_fd: int) -> bool:  # type: ignore[override]
        return self.stamped

    def mkdir(self, name: str, mode: int = 0o777, *, dir_fd: int) -> None:  # type: ignore[override]
        self.before("mkdir", name)
        directory, last, inode = self._find(name, dir_fd)
        if inode is not None:
            raise _error(errno.EEXIST)
        self._allocate(1)
        self._make(directory, last, Directory({}, {}))

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
        if self.is_directory(inode) != (wanted is Directory):
            raise _error(errno.EISDIR if self.is_directory(inode) else errno.ENOTDIR)
        if wanted is Directory and self._entries(inode):
            raise _error(errno.ENOTEMPTY)
        self._change_directory(directory, last, None, inode)

    def rename(self, source: str, target: str, dir_fd: int) -> None:  # type: ignore[override]
        self.before("rename", f"{source} -> {target}")
        directory, old, inode = self._find(source, dir_fd)
        beside, new, taken = self._find(target, dir_fd)
        if inode is None:
            raise _error(errno.ENOENT)
        assert directory == beside, "the volume renames within one directory"
        if taken is None:
            if self.full and self.crowded:
                raise _error(errno.ENOSPC)
        else:
            if self.is_directory(inode) != self.is_directory(taken):
                raise _error(errno.EISDIR if self.is_directory(taken) else errno.ENOTDIR)
            if self.is_directory(taken) and self._entries(taken):
                raise _error(errno.ENOTEMPTY)
        self._change_directory(directory, old, new, inode)
        self.ctimes[inode] = self.now

    def listdir(self, dir_fd: int) -> list[tuple[str, bool]]:  # type: ignore[override]
        self._call("listdir", dir_fd)
        entries = self._entries(self._opened(dir_fd).inode)
        return [(name, self.is_directory(inode)) for name, inode in entries.items()]

    def free_inodes(self, dir_fd: int) -> int | None:  # type: ignore[override]
        return None

    def free(self, dir_fd: int) -> tuple[int, int]:  # type: ignore[override]
        self._call("free", dir_fd)
        # Of the five blocks that a small blob takes here, two are inodes, which a real disk has
        # elsewhere.
        left = _ROOM if self.room is None else self.room - used(self.tree)
        free = min(_ROOM, left * BLOCK * 3 // 5)
        return (0 if self.full else max(0, free)), 2 * _ROOM

    def random(self, size: int) -> bytes:
        return bytes(range(1, size + 1))  # the same each time, as all here is

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
    return -(-size // BLOCK)


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
