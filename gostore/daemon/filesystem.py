"""Whether the file system of the data directory can keep what a flush promises."""

from __future__ import annotations

import os
import re
from pathlib import Path

from attrs import frozen

from gostore.text import escape, printable

MOUNTS = Path("/proc/self/mountinfo")

_MEMORY = "it is in memory, and lost when the machine stops"
_OTHERS = "whether a flush reaches a disk is up to the other side"

#: What is wrong with a type of file system.
_TYPES = {
    "tmpfs": _MEMORY,
    "ramfs": _MEMORY,
    "overlay": "a container without a volume takes its blobs along when it is removed",
    "9p": _OTHERS,
    "virtiofs": _OTHERS,
    "cifs": _OTHERS,
    "smb3": _OTHERS,
    "vboxsf": _OTHERS,
}

#: What is wrong with a mount option, whatever the type.
_OPTIONS = {
    "volatile": "it is mounted with volatile, so no flush reaches the disk",
    "nobarrier": "it is mounted with nobarrier, so a flush may end in the disk's own memory",
    "barrier=0": "it is mounted with barrier=0, so a flush may end in the disk's own memory",
}

#: NFS options that keep locks on this machine.
_UNLOCKED = frozenset({"nolock", "local_lock=all", "local_lock=flock"})


@frozen
class Mount:
    """A mounted file system: where, of which type, and with which options."""

    point: str
    type: str
    options: frozenset[str]


def shortcoming(directory: str, mounts: str | None = None) -> str:
    """Say in one line what the file system of a directory cannot promise; "" if it can.

    ``mounts`` is the text of /proc/self/mountinfo (proc(5)).
    """
    try:
        text = MOUNTS.read_text(errors="surrogateescape") if mounts is None else mounts
        mount = _mount_of(os.path.realpath(directory), text)
    except OSError:
        return ""
    reason = "" if mount is None else _reason(mount)
    if mount is None or not reason:
        return ""
    return f"{escape(printable(directory))} is on {mount.type}: {reason}"


def _reason(mount: Mount) -> str:
    for option, reason in _OPTIONS.items():
        if option in mount.options:
            return reason
    if mount.type.startswith("nfs") and _UNLOCKED & mount.options:
        return "it is mounted without locks, so a daemon on another machine is not kept out"
    if mount.type.partition(".")[0] in ("fuse", "fuseblk"):
        return "whether a flush reaches a disk is up to the program that serves it"
    return _TYPES.get(mount.type, "")


def _mount_of(path: str, mounts: str) -> Mount | None:
    """The mount that a path is in: the one with the longest point, the last of several there."""
    found: Mount | None = None
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields, rest = before.split(" "), after.split(" ")
        if len(fields) < 6 or len(rest) < 3:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4])
        is_above = path == point or path.startswith(point.rstrip("/") + "/")
        if is_above and (found is None or len(point) >= len(found.point)):
            options = frozenset(f"{fields[5]},{rest[2]}".split(","))
            found = Mount(point, rest[0], options)
    return found
