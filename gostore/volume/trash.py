"""How directories leave: renamed to the trash or the quarantine, and removed from the trash."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from contextlib import suppress

from twisted.logger import Logger

from gostore.errors import BadRecord, is_no_space, strerror_of
from gostore.text import Repeats
from gostore.volume.directory import FILES, NEW, QUARANTINE, STATE, TIE, TRASH, Directory
from gostore.volume.disk import CHANGED
from gostore.volume.recovery.looks import OutOfReach, Unreadable, look

log = Logger()


def may_take_history(error: BaseException | None) -> bool:
    """Say whether a deletion whose tombstone fails so may take with it what is kept as history.

    There is no room for a tombstone then, or no place. Other failures may pass.
    """
    return isinstance(error, OSError) and (is_no_space(error) or error.errno in CHANGED)


class Trash:
    """What is on its way out of one data directory."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        #: What has been put into the trash, and not removed yet: name -> the id it had, if any.
        self.trashed: dict[str, int | None] = {}
        #: Why `remove` failed, by name.
        self.why_kept: dict[str, str] = {}
        #: What every run of the collector would say again.
        self.repeats = Repeats()
        self._serial = 0

    def put(self, name: str, blob_id: int | None = None) -> bool:
        """Rename a directory to `.trash-*`, not synced; return False if it is not there.

        The collector removes it, and then reports ``blob_id`` as free.
        """
        return self._rename_away(name, TRASH, "", blob_id) is not None

    def put_or_unlink(self, name: str, blob_id: int | None = None) -> bool:
        """As `put`; or remove the state file, durably, if the directory cannot be renamed.

        On a full disk XFS may find no room to enter a name, but always to take one out. overlayfs
        renames no directory of a lower layer (EXDEV). Without a state file the directory is no blob
        to any start, and is emptied as the trash is.
        """
        try:
            return self.put(name, blob_id)
        except OSError as error:
            if not is_no_space(error) and error.errno != errno.EXDEV:
                raise
        with self._directory.flushing(name), suppress(FileNotFoundError):
            self._directory.unlink(f"{name}/{STATE}")
        self.trashed[name] = blob_id
        return True

    def quarantine(self, name: str, *, tie: bool = False) -> str | None:
        """Rename a directory to `.quarantine-*`, not synced; return that name.

        None if it is not there.
        """
        return self._rename_away(name, QUARANTINE, TIE if tie else "", None)

    def put_away(self, names: Sequence[str], newest: int) -> None:
        """Put directories into the trash, the last only when the others are durably there.

        An elder may have been collected since, and its id given to a blob that is younger than
        ``newest``: that one stays. Raises OutcomeUnknown, or OSError while the last name still
        stands.
        """
        *elders, last = names
        for group in (elders, [last]):
            for name in group:
                blob_id = int(name) if name.isdecimal() else None
                if blob_id is None or not self._is_younger(blob_id, newest):
                    self.put_or_unlink(name, blob_id)
            # Even if there was none to move: the collector may have moved it, and not synced yet.
            if group:
                self._directory.sync_root()

    def _is_younger(self, blob_id: int, generation: int) -> bool:
        """Whether an id is that of a blob that was committed after a generation.

        Raises OSError if nobody can tell now.
        """
        try:
            return look(self._directory.read_record, str(blob_id), blob_id).generation > generation
        except (FileNotFoundError, NotADirectoryError, Unreadable, OutOfReach, BadRecord):
            return False

    def _rename(self, name: str, target: str) -> None:
        """Rename a directory, or its files if it is one of a lower layer of overlayfs."""
        directory = self._directory
        try:
            directory.rename(name, target)
        except OSError as error:
            is_emptied = target.startswith(TRASH)
            if error.errno != errno.EXDEV or is_emptied or directory.foreign_in(name) is not None:
                raise
            directory.make(target)
            # The state file last, and only when the data is durably there: a crash must not leave
            # the data where nothing tells what it is.
            for file in reversed(FILES):
                with suppress(FileNotFoundError):
                    directory.disk.rename(f"{name}/{file}", f"{target}/{file}", directory.root)
                    directory.sync(target)
            directory.disk.rmdir(name, dir_fd=directory.root)

    def _rename_away(self, name: str, prefix: str, suffix: str, blob_id: int | None) -> str | None:
        stem = name.lstrip(".").split("-")[1] if name.startswith(".") else name
        while True:
            self._serial += 1
            target = f"{prefix}{stem}-{self._serial}{suffix}"
            if prefix == QUARANTINE and self._directory.stands(target):
                # A link, or a file, would take the place of one from before this start.
                continue
            try:
                self._rename(name, target)
            except FileNotFoundError:
                return None
            except (FileExistsError, NotADirectoryError):
                continue
            except OSError as error:
                if error.errno != errno.ENOTEMPTY:
                    raise
                continue
            self.trashed.pop(name, None)
            if prefix == TRASH:
                self.trashed[target] = blob_id
            return target

    def remove(self, name: str) -> bool:
        """Remove a directory and what gostore put in it; False if something is left of it.

        Files that gostore does not know are not removed, and so keep their directory.
        """
        directory = self._directory
        try:
            for entry in FILES:
                with suppress(FileNotFoundError):
                    directory.disk.unlink(f"{name}/{entry}", dir_fd=directory.root)
            directory.disk.rmdir(name, dir_fd=directory.root)
        except FileNotFoundError:
            pass
        except OSError as error:
            reason = self._reason(name, error)
            if (due := self.repeats.due(name, reason)) is not None:
                log.warn("{name} is not removed: {reason}", name=name, reason=due)
            self.why_kept[name] = reason
            return False
        self.repeats.forget(name)
        self.why_kept.pop(name, None)
        return True

    def empty(self) -> None:
        """Remove what is in the trash without waiting for the collector, who frees the ids.

        Raises OutcomeUnknown.
        """
        # A stage may be another upload's by then; the other names are not given again.
        names = [name for name in list(self.trashed) if not name.startswith(NEW)]
        # What a crash brings back under its old name must be whole.
        self._directory.sync_root()
        for name in names:
            self.remove(name)

    def _reason(self, name: str, error: OSError) -> str:
        with suppress(OSError):
            if (foreign := self._directory.foreign_in(name)) is not None:
                return f"it holds {foreign!r}, which is not gostore's"
        return strerror_of(error)
