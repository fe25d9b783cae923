"""The store with one thing taken away, to see that the trials miss it.

A mutant is a patch of the source, compiled into modules of its own beside the genuine ones.
"""

from __future__ import annotations

import builtins
import importlib.util
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from types import CodeType, ModuleType, SimpleNamespace
from typing import Any

from attrs import frozen

import gostore
from gostore.volume.changes import Sync
from tests.simulation import records, trials
from tests.simulation.explorer import Explorer
from tests.simulation.trials import Trial
from tests.simulation.world import Violation

#: What is compiled anew for each mutant, imported before importing.
_MODULES = (
    "statefile",
    "volume.journal.format",
    "volume.journal.journal",
    "volume.directory",
    "volume.promise",
    "volume.trash",
    "volume.kept",
    "volume.applier",
    "volume.backlog",
    "volume.commit",
    "volume.volume",
    "volume.digests",
    "volume.collect",
    "volume.recovery.looks",
    "volume.recovery.redo",
    "volume.recovery.findings",
    "volume.recovery.rivals",
    "volume.recovery.decisions",
    "volume.recovery.records",
    "volume.recovery.scan",
    "volume.recovery.repair",
    "store.expiry",
    "store.index",
    "store.workers",
    "store.committer",
    "store.openfiles",
    "store.reading",
    "store.history",
    "store.keeping",
    "store.garbage",
    "store.admission",
    "store.room",
    "store.upload",
    "store.copying",
    "store.deleting",
    "store.past",
    "store.recording",
    "store.starting",
    "store.appending",
    "store.roster",
    "store.resumable",
    "store.blobstore",
)


@frozen
class Mutant:
    """Code with ``old`` replaced by ``new`` in a module; ``trial`` is one that catches it."""

    name: str
    module: str
    old: str
    new: str
    trial: Trial
    #: Further places of the same module to change, each with what takes its place.
    more: tuple[tuple[str, str], ...] = ()
    #: How its volume makes changes durable, and how after a crash.
    sync: Sync = Sync.FILES
    after: Sync | None = None
    #: Whether its trial takes from four to twenty seconds; most take less than one.
    is_long: bool = False

    def try_out(self) -> None:
        """Run its trial; raises Violation, as it should."""
        self.trial(Explorer(self.load(), share=self.share, sync=self.sync, after=self.after))

    @property
    def share(self) -> int:
        """Of a long trial a part will do."""
        return 1 if self.sync is Sync.FILES else 2

    def load(self) -> SimpleNamespace:
        """Compile it; raises AssertionError if the code it changes is not there any more."""
        loaded = compiled(_MODULES, self.name, self.module, ((self.old, self.new), *self.more))
        return SimpleNamespace(
            store=loaded["gostore.store.blobstore"], volume=loaded["gostore.volume.volume"]
        )


def compiled(
    modules: Iterable[str], name: str, changed: str, changes: Iterable[tuple[str, str]]
) -> dict[str, ModuleType]:
    """Compile these modules anew, one of them changed; they import one another.

    Each of the changes is what stands there once, and what takes its place; ``name`` is for people.
    Raises AssertionError if it does not stand there once.
    """
    loaded: dict[str, ModuleType] = {}

    def load(name: str, *arguments: Any, **keywords: Any) -> Any:
        if name in loaded:
            return loaded[name]
        package = builtins.__import__(name, *arguments, **keywords)
        # "from gostore import statefile" asks for the package.
        fresh = {each.rpartition(".")[2]: loaded[each] for each in _modules_of(name, loaded)}
        return SimpleNamespace(**{**vars(package), **fresh}) if fresh else package

    names = {**vars(builtins), "__import__": load}
    for module in modules:
        path = Path(gostore.__file__).parent.joinpath(*module.split(".")).with_suffix(".py")
        source = path.read_text(encoding="utf-8")
        if module == changed:
            for old, new in changes:
                assert source.count(old) == 1, f"{name}: {old!r} is not once in {path}"
                source = source.replace(old, new)
        spec = importlib.util.spec_from_file_location(f"gostore.{module}", path)
        assert spec is not None
        fresh = importlib.util.module_from_spec(spec)
        fresh.__dict__["__builtins__"] = names
        exec(_compiled(source, str(path)), fresh.__dict__)
        loaded[f"gostore.{module}"] = fresh
    return loaded


@cache
def _compiled(source: str, path: str) -> CodeType:
    """The code of a module: most are the same for every mutant."""
    return compile(source, path, "exec")


def _modules_of(package: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.rpartition(".")[0] == package]


#: The renames of a batch.
_RENAME = """\
            for commit in commits:
                commit.take(self._rename, commit.change)
"""

MUTANTS = (
    Mutant(
        "files are not synced",
        "volume.directory",
        "            self.append(fd, [data])\n            if sync:\n",
        "            self.append(fd, [data])\n            if False:\n",
        trials.short_scripts,
    ),
    Mutant(
        "data.raw of a small blob is not synced",
        "volume.commit",
        'self._directory.write(f"{name}/{DATA}", commit.data, sync=sync)',
        'self._directory.write(f"{name}/{DATA}", commit.data, sync=False)',
        trials.short_scripts,
    ),
    Mutant(
        "the record of a small blob is not synced",
        "volume.commit",
        'self._directory.write(f"{name}/{STATE}", record, sync=sync)',
        'self._directory.write(f"{name}/{STATE}", record, sync=False)',
        trials.short_scripts,
    ),
    Mutant(
        "the record of a stage is not synced",
        "volume.commit",
        "self._directory.write_state_tmp(name, record, sync=sync or is_kept)",
        "self._directory.write_state_tmp(name, record, sync=False)",
        trials.short_scripts,
    ),
    Mutant(
        "data.raw of a stage is not synced",
        "volume.commit",
        "self._directory.finish(commit.data.release(), sync=sync)",
        "self._directory.finish(commit.data.release(), sync=False)",
        trials.short_scripts,
    ),
    Mutant(
        "a large stage is sealed without a sync",
        "volume.volume",
        "        self.directory.finish(stage.release(), sync=True)",
        "        self.directory.finish(stage.release(), sync=False)",
        trials.short_scripts,
    ),
    Mutant(
        "the directory of a stage is not synced",
        "volume.commit",
        "        if sync:\n            self._directory.sync(name)\n",
        "",
        trials.short_scripts,
    ),
    Mutant(
        "the root is not synced after a commit",
        "volume.commit",
        "                if _good(commits):\n                    self._directory.sync_root()\n",
        "",
        trials.short_scripts,
    ),
    Mutant(
        "the root is synced before the rename",
        "volume.commit",
        _RENAME,
        f"            self._directory.sync_root()\n{_RENAME}            commits = []\n",
        trials.short_scripts,
    ),
    Mutant(
        "a commit joins a flush that began before its rename",
        "volume.commit",
        _RENAME,
        _RENAME.replace("commits:", "commits[:1]:")
        + "            if len(commits) > 1:\n                self._directory.sync_root()\n"
        + _RENAME.replace("commits:", "commits[1:]:")
        + "            commits = [] if len(attempts) > 1 else commits[:1]\n",
        trials.pairs,
    ),
    Mutant(
        "a batch is not synced before its renames",
        "volume.commit",
        "                self._directory.disk.syncfs(self._directory.root)\n"
        "            except OSError as error:\n                # No ",
        "                pass\n            except OSError as error:\n                # No ",
        trials.pairs,
    ),
    Mutant(
        "a batch with deletes is not synced after its renames",
        "volume.commit",
        "                self._directory.sync_all()\n            else:\n",
        "            else:\n",
        trials.pairs,
        is_long=True,
    ),
    Mutant(
        "a batch trusts any syncfs",
        "volume.commit",
        "together = len(attempts) > 1 and self._directory.syncfs_trusted",
        "together = len(attempts) > 1",
        trials.pairs,
    ),
    Mutant(
        "a tombstone is not synced",
        "volume.commit",
        "self._directory.write_state_tmp(name, attempt.record, sync=sync)",
        "self._directory.write_state_tmp(name, attempt.record, sync=False)",
        trials.short_scripts,
    ),
    Mutant(
        "the rename of a tombstone is not synced",
        "volume.directory",
        "            self.break_if_failing(self.disk.fsync, fd)\n",
        "",
        trials.short_scripts,
    ),
    Mutant(
        "a retired record is not synced before its rename",
        "volume.volume",
        "str(blob.id), statefile.dump(blob), sync=not together",
        "str(blob.id), statefile.dump(blob), sync=False",
        trials.short_scripts,
    ),
    Mutant(
        "a mark goes by the number alone",
        "volume.collect",
        "    if blob.generation != generation or blob.state is State.FAILURE:\n",
        "    if blob.state is State.FAILURE:\n",
        trials.marked_late,
        is_long=True,
    ),
    Mutant(
        "a delete without a tombstone is not synced",
        "volume.trash",
        "            if group:\n                self._directory.sync_root()\n",
        "",
        trials.full_disk,
    ),
    Mutant(
        "without a tombstone a blob goes together with its elders",
        "volume.trash",
        "        for group in (elders, [last]):\n",
        "        for group in ([*elders, last],):\n",
        trials.full_disk,
    ),
    Mutant(
        "without a tombstone a blob goes before its elders",
        "volume.trash",
        "        for group in (elders, [last]):\n",
        "        for group in ([last], elders):\n",
        trials.full_disk,
    ),
    Mutant(
        "the removal of a state file is not flushed",
        "volume.trash",
        "        with self._directory.flushing(name), suppress(FileNotFoundError):\n",
        "        with suppress(FileNotFoundError):\n",
        trials.full_disk,
    ),
    Mutant(
        "what cannot be renamed is not deleted",
        "volume.trash",
        "            if not is_no_space(error) and error.errno != errno.EXDEV:\n"
        "                raise\n",
        "            raise\n",
        trials.full_disk,
    ),
    Mutant(
        "elders are forgotten on a full disk",
        "store.deleting",
        "return Delete(found, older, origin",
        "return Delete(found, [], origin",
        trials.full_disk,
    ),
    Mutant(
        "no syncfs at start",
        "volume.volume",
        "            self.disk.syncfs(self.directory.root)\n"
        "            self.disk.fsync(self.directory.root)\n",
        "",
        trials.short_scripts,
    ),
    Mutant(
        "tombstones are not synced at start where syncfs is no proof",
        "volume.recovery.repair",
        "    volume.sync_tombstones(dead.id for dead in found.dead)\n",
        "",
        trials.short_scripts,
    ),
    Mutant(
        "the tombstone goes first",
        "volume.collect",
        "(last if group else first).append(youngest)",
        "first.insert(0, youngest)",
        trials.long_scripts,
    ),
    Mutant(
        "a collection does not sync the root",
        "volume.collect",
        "    if moved:\n        volume.directory.sync_root()\n",
        "    if moved:\n",
        trials.long_scripts,
    ),
    Mutant(
        "dead blobs do not compete at start",
        "volume.recovery.scan",
        "            committed, dead = plain\n",
        "            committed, dead = plain\n            if dead:\n                return\n",
        trials.short_scripts,
    ),
    Mutant(
        "the lowest generation has the location",
        "volume.recovery.rivals",
        "key=lambda rival: rival.rank)",
        "key=lambda rival: rival.rank, reverse=True)",
        trials.short_scripts,
    ),
    Mutant(
        "a restart forgets the generation",
        "volume.recovery.scan",
        "            self._decisions.note_generation(committed)\n",
        "",
        trials.long_scripts,
    ),
    Mutant(
        "the generation is drawn when the head is here",
        "store.blobstore",
        "            blob.finish_writing(now, received.size, received.sha256, self._generation)\n",
        "            blob.finish_writing(now, received.size, received.sha256, blob.drawn)\n",
        trials.overtaken,
        more=(
            (
                "        blob.start_writing(now)\n",
                "        blob.start_writing(now)\n        self._generation += 1\n"
                "        blob = type('Early', (Blob,), {'drawn': self._generation})(\n"
                "            blob.id, location, log=blob.log\n        )\n",
            ),
        ),
    ),
    Mutant(
        "the maps are switched before the flush",
        "store.committer",
        "            self._ready.append((turn, change))\n",
        "            turn.switch()\n            turn.switch = lambda: None\n"
        "            self._ready.append((turn, change))\n",
        trials.short_scripts,
    ),
    Mutant(
        "the rename comes before the record",
        "volume.commit",
        '            self._directory.write(f"{name}/{STATE}", record, sync=sync)\n',
        "            self._directory.rename(name, str(commit.blob.id))\n"
        '            self._directory.write(f"{commit.blob.id}/{STATE}", record, sync=sync)\n'
        "            self._directory.rename(str(commit.blob.id), name)\n",
        trials.short_scripts,
    ),
    Mutant(
        "the size of data.raw is not checked",
        "volume.directory",
        "    if size is not None and found.st_size != size:\n",
        "    if False:\n",
        trials.damaged,
    ),
    Mutant(
        "the removal of a quarantined blob is not synced",
        "volume.recovery.repair",
        "    if moved:\n        volume.directory.sync_root()\n",
        "",
        trials.damaged,
    ),
    Mutant(
        "leftovers are not collected",
        "volume.recovery.repair",
        "        volume.trash.trashed[name] = None\n",
        "        pass\n",
        trials.short_scripts,
    ),
    Mutant(
        "all that has a number and no state file is removed",
        "volume.recovery.scan",
        "            if not self._is_foreign(name):\n                self._findings.uncommitted",
        "            if True:\n                self._findings.uncommitted",
        trials.somebodys,
    ),
    Mutant(
        "all that has the name of a stage is removed",
        "volume.recovery.scan",
        "            if not self._is_foreign(name):\n                self._findings.leftover",
        "            if True:\n                self._findings.leftover",
        trials.somebodys,
    ),
)


_ASKS = "        if self.broken is not None:\n            raise OutcomeUnknown(self.broken)\n"


def _journal(
    name: str,
    module: str,
    old: str,
    new: str,
    trial: Trial = trials.turns,
    *,
    after: Sync | None = None,
    more: tuple[tuple[str, str], ...] = (),
    is_long: bool = False,
) -> Mutant:
    sync = Sync.JOURNAL
    return Mutant(name, module, old, new, trial, more, sync=sync, after=after, is_long=is_long)


#: Not among them, for no crash can tell them from the genuine code: that a generation on the disk
#: is compared with the journal's (`Scan._looks_done`), since a number is given again only when the
#: journal has been told of a flush of its first bearer (a directory put together from two backups
#: can tell: `test_newer_stays`); that `Journal.synced` never falls, since the batches that were
#: written say the higher number; that both files are synced when they are made, which makes an
#: append quick; and that the committer asks for checkpoints early, which keeps one from waiting.
JOURNAL_MUTANTS = (
    _journal(
        "a batch of the journal is not synced",
        "volume.journal.journal",
        "offset + written)\n        self._disk.fdatasync(fd)\n",
        "offset + written)\n",
        trials.long_scripts,
    ),
    _journal(
        "files come before the journal",
        "volume.commit",
        "                self._backlog.append([attempt.entry for attempt in attempts])\n",
        "                for attempt in attempts:\n"
        "                    self._hand_on(attempt)\n"
        "                self._backlog.apply()\n"
        "                self._backlog.append([attempt.entry for attempt in attempts])\n"
        "                attempts = []\n",
        trials.long_scripts,
    ),
    _journal(
        "the journal turns without a checkpoint",
        "volume.backlog",
        "                self.checkpoint()\n            self._directory.break_if_failing(Journal",
        "                self.journal.synced = self.journal.turns_at\n"
        "            self._directory.break_if_failing(Journal",
        trials.queued,
    ),
    _journal(
        "a checkpoint flushes nothing",
        "volume.backlog",
        "            self._directory.sync_all()\n            self.journal.advance",
        "            self.journal.advance",
    ),
    _journal(
        "the journal is forgotten without a batch that says so",
        "volume.backlog",
        "        if self.journal.recorded_synced < self.journal.written:\n",
        "        if False:\n",
        trials.found_damaged,
    ),
    _journal(
        "the journal is forgotten without a checkpoint",
        "volume.backlog",
        "        self.checkpoint()\n"
        "        if self.journal.recorded_synced < self.journal.written:\n",
        "        self.journal.synced = self.journal.written\n"
        "        if self.journal.recorded_synced < self.journal.written:\n",
        trials.found_damaged,
    ),
    _journal(
        "the journal is not forgotten before something is discarded",
        "volume.commit",
        "        self._backlog.forget_journal()\n        unmarked = self._mark(",
        "        unmarked = self._mark(",
        trials.found_damaged,
        more=(("            self._backlog.record_checkpoint()\n", "            pass\n"),),
    ),
    _journal(
        "what was done again is not flushed",
        "volume.backlog",
        "        self._directory.break_if_failing("
        "self._directory.disk.flushing.syncfs, self._directory.root)\n"
        "        self._directory.sync_root()\n        self.applier.pass_to",
        "        self.applier.pass_to",
        after=Sync.FILES,
    ),
    _journal(
        "the digest of a batch is not checked",
        "volume.journal.format",
        "    if content[offset:begin] != _pack_head(key, number, synced, payload):\n",
        "    if False:\n",
        trials.long_scripts,
    ),
    _journal(
        "a journal that is being removed is read",
        "volume.journal.journal",
        "self.synced = self.written if ended else self.recorded_synced",
        "self.synced = self.recorded_synced",
        after=Sync.FILES,
    ),
    _journal(
        "what is left of a journal stands beside a new file",
        "volume.journal.journal",
        "        if self._stale:\n            self._start_over()\n",
        "",
        trials.half_removed,
    ),
    _journal(
        "a journal that is being removed says nothing of that",
        "volume.journal.journal",
        "                self._mark(NAMES[turn], ENDED)\n",
        "                pass\n",
        after=Sync.FILES,
    ),
    _journal(
        "a mark is not flushed",
        "volume.journal.journal",
        "(*error.args) from error\n                    self._disk.flushing.fdatasync(fd)\n",
        "(*error.args) from error\n",
        after=Sync.FILES,
    ),
    _journal(
        "a file that is missing is not missed",
        "volume.journal.journal",
        "            elif title is None and not chain:\n",
        "            elif False:\n",
        trials.spoilt,
    ),
    _journal(
        "a file that is cut off is not missed",
        "volume.journal.journal",
        "            elif title is not None and len(content) < title.size",
        "            elif False and len(content) < title.size",
        trials.spoilt,
    ),
    _journal(
        "a new file has no batch",
        "volume.journal.journal",
        "        if not any(self._newest):\n",
        "        if False:\n",
        trials.spoilt,
    ),
    _journal(
        "the journal is not told before a staged blob is committed",
        "volume.backlog",
        "if self.journal.synced > self.journal.recorded_synced:",
        "if False:",
        trials.numbers,
    ),
    _journal(
        "nothing is done again",
        "volume.recovery.repair",
        "        _restore(volume, found, entry)\n",
        "        pass\n",
        trials.long_scripts,
    ),
    _journal(
        "what the journal knows to be dead is left there",
        "volume.recovery.repair",
        "        volume.trash.put_or_unlink(str(blob_id), blob_id)\n"
        "    for name in found.obsolete:",
        "        pass\n    for name in found.obsolete:",
        trials.long_scripts,
    ),
    _journal(
        "no room is made for what is torn",
        "volume.recovery.repair",
        "    _collect_early(volume, found)\n    if _is_restored(volume, entry):\n        return\n",
        "",
        trials.full_disk,
        more=(
            ("    volume.backlog.journal.shrink()\n", ""),
            (
                "    if found.journal_damage is None and volume.backlog.postpone(entry):\n",
                "    if False:\n",
            ),
        ),
    ),
    _journal(
        "only the oldest entry of a blob is done again",
        "volume.recovery.scan",
        "for entry in read_journal(volume):",
        "for entry in reversed(read_journal(volume)):",
        trials.long_scripts,
    ),
    _journal(
        "a tombstone is not in the journal",
        "volume.commit",
        "self._backlog.append([attempt.entry for attempt in attempts])",
        "self._backlog.append([each.entry for each in attempts if not each.is_delete])",
        trials.long_scripts,
    ),
    _journal(
        "what was done again is not flushed before the journal says that it was",
        "volume.backlog",
        "        self._directory.break_if_failing("
        "self._directory.disk.flushing.syncfs, self._directory.root)\n"
        "        self._directory.sync_root()\n        self.applier.pass_to",
        "        self.applier.pass_to",
    ),
    _journal(
        "a checkpoint covers what is applied while it lasts",
        "volume.backlog",
        "self.journal.advance(applied)",
        "self.journal.advance(self.applier.applied)",
        trials.checkpoints,
        is_long=True,
    ),
    _journal(
        "a checkpoint counts before it is done",
        "volume.backlog",
        "            self._directory.sync_all()\n            self.journal.advance(applied)\n",
        "            self.journal.advance(applied)\n            self._directory.sync_all()\n",
        trials.checkpoints,
        is_long=True,
    ),
    _journal(
        "what is not applied yet counts as applied",
        "volume.applier",
        "self.applied = self._handed_on if oldest is None else oldest.batch - 1",
        "self.applied = self._handed_on",
        trials.checkpoints,
        is_long=True,
    ),
    _journal(
        "batches are written after a sync has failed",
        "volume.directory",
        "        if self.broken is not None:\n            raise ReadOnly(self.broken)\n",
        "",
        trials.failing_syncs,
        # Each flush asks, too.
        more=(
            (
                f"{_ASKS}        try:\n            call(what)\n",
                "        try:\n            call(what)\n",
            ),
            (f"another thread's syncfs.\n{_ASKS}", "another thread's syncfs.\n"),
        ),
    ),
    _journal(
        "a failed sync is tried again",
        "volume.directory",
        "        self.broken = reason\n",
        "",
        trials.failing_syncs,
        is_long=True,
    ),
    _journal(
        "a file is begun anew before the journal says that it may be",
        "volume.journal.journal",
        "        if self.turns_at > self.recorded_synced:\n",
        "        if False:\n",
        trials.queued,
    ),
    _journal(
        "a batch that is missing is not missed",
        "volume.journal.journal",
        "        if len(wanted) < self.written - self.synced:\n",
        "        if False:\n",
        trials.spoilt,
    ),
    _journal(
        "a start goes on without what is missing",
        "store.starting",
        "        if found.journal_damage is not None:\n",
        "        if False:\n",
        trials.spoilt,
    ),
    _journal(
        "the journal is not told of what is collected",
        "store.garbage",
        "            self._volume.backlog.record_checkpoint()\n",
        "            pass\n",
        trials.spoilt,
    ),
    _journal(
        "what a batch says of the flush is not believed",
        "volume.journal.journal",
        "max((batch.synced for batch in batches.values()), default=0)",
        "0",
        trials.numbers,
    ),
    _journal(
        "batches share blocks",
        "volume.journal.format",
        "    return -(-size // BLOCK) * BLOCK\n",
        "    return size\n",
        trials.long_scripts,
    ),
    _journal(
        "a start begins the newest file anew",
        "volume.journal.journal",
        "        self._offset = self._ends[self._turn]\n",
        "        self._offset = BLOCK\n",
        is_long=True,
    ),
    _journal(
        "the journal's names are not synced",
        "volume.journal.journal",
        "            self._disk.flushing.fsync(self._root)\n            self._made = False\n",
        "            self._made = False\n",
        trials.first_journal,
    ),
    _journal(
        "a blob is whole if its record is",
        "volume.recovery.scan",
        "return holds(self._volume, name, entry.data)",
        "return entry.data is not None",
        trials.long_scripts,
    ),
    _journal(
        "a blob is whole though it should be a tombstone",
        "volume.recovery.scan",
        "return holds(self._volume, name, entry.data)",
        "return entry.data is None or holds(self._volume, name, entry.data)",
        trials.long_scripts,
    ),
    _journal(
        "nothing is flushed before a blob is quarantined",
        "volume.recovery.repair",
        "    volume.backlog.checkpoint()\n    name = volume.trash.quarantine",
        "    name = volume.trash.quarantine",
        trials.found_damaged,
    ),
    _journal(
        "a delete without a tombstone is not synced, with a journal",
        "volume.trash",
        "            if group:\n                self._directory.sync_root()\n",
        "",
        trials.found_damaged,
    ),
    _journal(
        "a collection neither makes a checkpoint nor asks what one has covered",
        "store.garbage",
        "            self._volume.backlog.checkpoint()\n",
        "            pass\n",
        trials.numbers,
        more=(("        dead = [one for one in dead if one.batch <= journal.synced]\n", ""),),
    ),
)

#: Not among them: that the inode is compared. A new file has a later ctime, unless a clock is set
#: back to the very nanosecond.
RECORD_MUTANTS = (
    Mutant(
        "a record in the cache is trusted for the size of its file",
        "volume.recovery.scan",
        'if stamp_of(peek(f"{name}/{STATE}", dir_fd=root)) != stamp:',
        'if peek(f"{name}/{STATE}", dir_fd=root).st_size != stamp[2]:',
        records.edited,
    ),
    Mutant(
        "the ctime of a state file is not compared",
        "volume.recovery.records",
        "return found.st_ino, found.st_ctime_ns, found.st_size",
        "return found.st_ino, 0, found.st_size",
        records.edited,
    ),
    Mutant(
        "a file that changed just now is trusted",
        "volume.recovery.records",
        "if found.st_ctime_ns >= self._since:",
        "if found.st_ctime_ns < 0:",
        records.edited,
    ),
    Mutant(
        "a damaged block of the record cache is believed",
        "volume.recovery.records",
        " or _digest(head, body) != digest:",
        ":",
        records.edited,
    ),
    Mutant(
        "the cache gets what the maps know, not what the file says",
        "volume.recovery.records",
        "return committed, stamp_of(found)",
        "return blob, stamp_of(found)",
        records.edited,
    ),
    Mutant(
        "a blob that the journal has is taken from the cache",
        "volume.recovery.scan",
        "or blob.id in undone or",
        "or",
        records.recorded,
        sync=Sync.JOURNAL,
    ),
)

ALL_MUTANTS = (*MUTANTS, *JOURNAL_MUTANTS, *RECORD_MUTANTS)


def try_all(mutants: Sequence[Mutant]) -> int:
    """Try mutants out, one after another, and say what became of each; how many have survived."""
    survived = 0
    for mutant in mutants:
        try:
            mutant.try_out()
            survived += 1
            print(f"survived: {mutant.name}", flush=True)
        except Violation as violation:
            print(f"caught: {mutant.name}: {str(violation)[:160]}", flush=True)
    print(f"mutants caught: {len(mutants) - survived} of {len(mutants)}")
    return survived
