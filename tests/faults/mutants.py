"""The store with one thing done wrong when a call fails, to see that the trials catch it.

The machinery is that of the simulation's mutants.
"""

from __future__ import annotations

from tests.faults.deeds import DEEDS, MODES
from tests.faults.history import HISTORY
from tests.faults.trials import PowerCuts, Trials, scratch
from tests.simulation.explorer import Explorer
from tests.simulation.mutants import Mutant
from tests.simulation.world import Violation


def caught_in_deed(
    name: str,
    module: str,
    old: str,
    new: str,
    deed: str,
    *more: tuple[str, str],
    kind: type[Trials] = Trials,
) -> Mutant:
    """Make a mutant that is caught in the deed of that name, in trials of that kind."""

    def trial(explorer: Explorer) -> None:
        (tried,) = (each for each in (*DEEDS, *HISTORY) if each.name == deed)
        with scratch() as directory:
            try:
                modes = [kind(tried, mode, directory, explorer.modules) for mode in MODES]
            except Violation as violation:
                raise RuntimeError("it goes wrong when nothing fails") from violation
            for trials, fault in kind.share(modes):
                trials.play(fault)

    return Mutant(name, module, old, new, trial, more)


_SUPPRESS = "__import__('contextlib').suppress(OSError)"

MUTANTS = (
    caught_in_deed(
        "a failed flush of a file is passed over",
        "volume.directory",
        "            if sync:\n                self.disk.fsync(fd)\n        finally:\n"
        "            self.disk.close(fd)\n\n    def append",
        f"            if sync:\n                with {_SUPPRESS}:\n"
        "                    self.disk.fsync(fd)\n        finally:\n"
        "            self.disk.close(fd)\n\n    def append",
        "POST, in memory",
    ),
    caught_in_deed(
        "a failed flush of a large body is passed over",
        "volume.directory",
        "                if sync:\n                    self.disk.fsync(fd)\n",
        f"                if sync:\n                    with {_SUPPRESS}:\n"
        "                        self.disk.fsync(fd)\n",
        "POST, sealed",
    ),
    caught_in_deed(
        "a failed flush of the journal is passed over",
        "volume.journal.journal",
        "offset + written)\n        self._disk.fdatasync(fd)\n",
        f"offset + written)\n        with {_SUPPRESS}:\n            self._disk.fdatasync(fd)\n",
        "POST, in memory",
    ),
    caught_in_deed(
        "a failed flush is tried again",
        "volume.directory",
        "            raise OutcomeUnknown(self.break_for(error)) from error\n        # The failure",
        "            try:\n                call(what)\n            except OSError:\n"
        "                raise OutcomeUnknown(self.break_for(error)) from error\n"
        "        # The failure",
        "DELETE",
    ),
    caught_in_deed(
        "a failed flush of a large body is tried again",
        "store.upload",
        "            self._start(self._workers.files.run(self._volume.seal, self._stage))\n",
        "            seal, stage = self._volume.seal, self._stage\n"
        "            def again(stage):\n"
        "                fd = stage.fd\n"
        "                try: self._volume.disk.fsync(fd)\n"
        "                except OSError: pass\n"
        "                seal(stage)\n"
        "            self._start(self._workers.files.run(again, stage))\n",
        "POST, sealed",
    ),
    caught_in_deed(
        "after a failed flush the store goes on",
        "volume.directory",
        "        self.broken = reason\n",
        "",
        "PUT, in memory",
    ),
    caught_in_deed(
        "it is answered before it is flushed",
        "store.committer",
        "        flushed = self._workers.commits.run(",
        "        for turn, _ in batch:\n"
        "            turn.done.callback(turn.switch())\n"
        "        flushed = self._workers.commits.run(",
        "PUT, in memory",
        (
            "            if isinstance(result, Failure):\n",
            "            if turn.done.called:\n                pass\n"
            "            elif isinstance(result, Failure):\n",
        ),
    ),
    caught_in_deed(
        "a full disk is passed over",
        "volume.commit",
        "                step(*arguments, **keywords)\n",
        "                try:\n                    step(*arguments, **keywords)\n"
        "                except OSError as error:\n"
        "                    if error.errno != 28:  # ENOSPC\n                        raise\n",
        "POST, in memory",
    ),
    caught_in_deed(
        "a full disk is a broken one",
        "store.upload",
        "        return as_store_error(failure.value)\n",
        "        return as_store_error(OSError(5, str(failure.value)))\n",
        "POST, staged",
    ),
    caught_in_deed(
        "a file that cannot be written is left open",
        "volume.directory",
        "            if sync:\n                self.disk.fsync(fd)\n        finally:\n"
        "            self.disk.close(fd)\n\n    def append",
        "            if sync:\n                self.disk.fsync(fd)\n"
        "            self.disk.close(fd)\n        finally:\n            pass\n\n    def append",
        "POST, in memory",
    ),
    caught_in_deed(
        "a blob that cannot be looked at is left open",
        "volume.volume",
        "        except BaseException:\n            self.disk.close(fd)\n            raise\n",
        "        except BaseException:\n            raise\n",
        "GET, large",
    ),
    caught_in_deed(
        "the stage of a failed upload is forgotten",
        "store.blobstore",
        "            dropped.addBoth(lambda _: self.garbage.add_stage(blob_id))\n",
        "",
        "POST, in memory",
    ),
    caught_in_deed(
        "the number of a removed stage is lost",
        "volume.collect",
        "_is_taken(volume, blob_id):\n            done.ids.append(blob_id)\n",
        "_is_taken(volume, blob_id):\n            pass\n",
        "POST, in memory",
    ),
    caught_in_deed(
        "the numbers a run has freed are lost when it cannot tell the room",
        "store.garbage",
        "        try:\n            return collected, self._volume.free()[0]\n"
        "        except OSError as error:\n",
        "        try:\n            return collected, self._volume.free()[0]\n"
        "        except ZeroDivisionError as error:\n",
        "collection, the first",
    ),
    caught_in_deed(
        "a write that is cut short is not completed",
        "volume.directory",
        "            written = self.disk.writev(fd, left[:_PIECES])\n",
        "            written = self.disk.writev(fd, left[:_PIECES])\n            break\n",
        "POST, staged",
    ),
    caught_in_deed(
        "a read that is cut short is not completed",
        "volume.volume",
        "        data = self.disk.read_fully(fd, length, offset)\n        if len(data) < length:\n",
        "        data = self.disk.pread(fd, length, offset)\n        if not data:\n",
        "GET, large",
    ),
    caught_in_deed(
        "a full disk behind an answer makes the store read-only",
        "volume.applier",
        "    {errno.ENOSPC, errno.EDQUOT, ",
        "    {",
        "POST, in memory",
    ),
    caught_in_deed(
        "whatever fails behind an answer may pass",
        "volume.applier",
        "                if isinstance(error, OSError) and error.errno not in _PASSING:\n",
        "                if False:\n",
        "applying",
    ),
    caught_in_deed(
        "what could not be made is left in its own way",
        "volume.applier",
        "        disk.rmdir(name, dir_fd=root)\n",
        "",
        "POST, in memory",
    ),
    caught_in_deed(
        "a rename that is reported as failed is taken to be",
        "volume.directory",
        "                is_done = done()\n",
        "                is_done = False\n",
        "POST, staged",
    ),
    caught_in_deed(
        "a rename onto something that stands is taken to be done",
        "volume.directory",
        "                is_done = done()\n",
        "                is_done = True\n",
        "POST, in memory",
    ),
    caught_in_deed(
        "to have no descriptor makes the store read-only",
        "volume.commit",
        "                    delete.take(self._delete_durably, delete.change)\n",
        "                    delete.take(self._rename, delete.change)\n"
        "                    self._directory.break_if_failing(\n"
        "                        self._directory.sync, str(delete.change.blob.id)\n"
        "                    )\n",
        "DELETE",
    ),
    caught_in_deed(
        "a journal that could not be written makes the store read-only",
        "volume.journal.journal",
        "        except OSError as error:\n"
        "            raise NothingWritten(*error.args) from error\n",
        "        except ZeroDivisionError:\n            pass\n",
        "POST, in memory",
    ),
    caught_in_deed(
        "a blob is quarantined for a failure that passes",
        "volume.recovery.looks",
        "        return reader(*arguments)\n    except OSError as error:\n"
        "        if error.errno not in _JUDGED:\n            raise\n",
        "        return look(reader, *arguments)\n    except ZeroDivisionError:\n        pass\n",
        "start",
    ),
    caught_in_deed(
        "what cannot be served stays locked",
        "volume.volume",
        "            with suppress(OSError):\n                self.close()\n"
        "            if isinstance",
        "            if isinstance",
        "start",
    ),
    caught_in_deed(
        "an upload that failed keeps its place",
        "store.blobstore",
        "        ticket.release()\n        if",
        "        if not isinstance(result, Failure):\n            ticket.release()\n        if",
        "POST, staged",
    ),
    caught_in_deed(
        "a blob that is opened at once, and cannot be looked at, is a surprise",
        "volume.volume",
        "            with suppress(OSError):\n                self.disk.close(fd)\n"
        "            return None\n",
        "            self.disk.close(fd)\n            return None\n",
        "GET, small and opened at once",
    ),
    caught_in_deed(
        "a write to the journal that is cut short is not completed",
        "volume.journal.journal",
        "        self._write(fd, data[written:], offset + written)\n",
        "",
        "POST, in memory",
        kind=PowerCuts,
    ),
    caught_in_deed(
        "a failed flush of a batch is passed over",
        "volume.commit",
        "                _fail(attempts, as_store_error(error))\n"
        "                return\n        try:\n",
        "        try:\n",
        "requests at once",
        kind=PowerCuts,
    ),
    caught_in_deed(
        "a failed flush of the root is passed over",
        "volume.directory",
        "            raise OutcomeUnknown(self.break_for(error)) from error\n        # The failure",
        "            self.break_for(error)\n            return\n        # The failure",
        "POST, staged",
        kind=PowerCuts,
    ),
)
