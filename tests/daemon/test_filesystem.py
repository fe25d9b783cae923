"""Tests for gostore.daemon.filesystem: what is said of file systems that promise less."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gostore.daemon.filesystem import shortcoming


def mounts(*lines: str) -> str:
    """The text of /proc/self/mountinfo, with a root that is well, and these mounts."""
    root = "1 0 8:1 / / rw,relatime - ext4 /dev/sda1 rw,errors=remount-ro"
    return "\n".join([root, *lines]) + "\n"


class ShortcomingTests(SynchronousTestCase):
    """A directory /srv/blobs, on one file system after another."""

    def test_well(self) -> None:
        """A file system on a disk is nothing to speak of."""
        for type in ("ext4", "xfs", "btrfs", "zfs"):
            table = mounts(f"2 1 8:2 / /srv rw shared:1 - {type} /dev/sdb1 rw")
            self.assertEqual(shortcoming("/srv/blobs", table), "")
        self.assertEqual(shortcoming("/srv/blobs", mounts()), "")
        self.assertEqual(shortcoming("/srv/blobs", ""), "")
        self.assertEqual(shortcoming("/srv/blobs", "nonsense\n"), "")

    def test_types(self) -> None:
        """Others are named, with what they do not promise."""
        for type, options, reason in (
            ("tmpfs", "rw", "it is in memory"),
            ("overlay", "rw,lowerdir=/a,upperdir=/b", "a container without a volume"),
            ("overlay", "rw,lowerdir=/a,volatile", "no flush reaches the disk"),
            ("fuse.sshfs", "rw", "up to the program that serves it"),
            ("fuseblk", "rw", "up to the program that serves it"),
            ("9p", "rw", "up to the other side"),
            ("nfs4", "rw,local_lock=all", "without locks"),
            ("nfs", "rw,nolock", "without locks"),
            ("ext4", "rw,nobarrier", "the disk's own memory"),
            ("ext4", "rw,barrier=0", "the disk's own memory"),
        ):
            table = mounts(f"2 1 0:9 / /srv rw,relatime - {type} source {options}")
            said = shortcoming("/srv/blobs", table)
            self.assertTrue(said.startswith(f"/srv/blobs is on {type}: "), said)
            self.assertIn(reason, said)
        table = mounts("2 1 0:9 / /srv rw - nfs4 host:/a rw,local_lock=none")
        self.assertEqual(shortcoming("/srv/blobs", table), "")

    def test_which(self) -> None:
        """The nearest mount above the directory counts, and of several there the last."""
        memory = "3 2 0:9 / {} rw - tmpfs none rw"
        disk = "4 2 8:2 / {} rw - ext4 /dev/sdb1 rw"
        for table, well in (
            (mounts(memory.format("/srv"), disk.format("/srv/blobs")), True),
            (mounts(disk.format("/srv/blobs"), memory.format("/srv")), True),
            (mounts(disk.format("/srv"), memory.format("/srv/blobs")), False),
            (mounts(memory.format("/srv"), disk.format("/srv")), True),
            (mounts(disk.format("/srv"), memory.format("/srv")), False),
            (mounts(memory.format("/srv/blob")), True),
            (mounts(memory.format("/")), False),
        ):
            self.assertEqual(shortcoming("/srv/blobs", table) == "", well, table)

    def test_odd_names(self) -> None:
        """A mount point with a blank in it is found; an odd directory is shown on one line."""
        table = mounts("2 1 0:9 / /a\\040b rw - tmpfs none rw")
        said = shortcoming("/a b/c\nd", table)
        self.assertTrue(said.startswith("/a b/c\\nd is on tmpfs"), said)

    def test_here(self) -> None:
        """The real table is read; /proc is nothing that is warned of."""
        self.assertEqual(shortcoming("/proc"), "")
        self.assertIn("is on tmpfs", shortcoming("/dev/shm"))
