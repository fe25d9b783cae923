"""Mutants of the uploads in several requests, for the trial in uploads.py."""

from __future__ import annotations

from gostore.volume.changes import Sync
from tests.simulation import uploads
from tests.simulation.mutants import Mutant

UPLOAD_MUTANTS = (
    Mutant(
        "bytes of an upload count before they are flushed",
        "volume.kept",
        "            self._sync(opened, opened.data)\n            offset",
        "            offset",
        uploads.uploads,
    ),
    Mutant(
        "the note of an upload is not flushed",
        "volume.kept",
        "        self._sync(opened, opened.state)\n",
        "",
        uploads.uploads,
    ),
    Mutant(
        "the notes of an upload have one place",
        "volume.kept",
        "note.number % _NOTES * _NOTE_BYTES",
        "0",
        uploads.uploads,
    ),
    Mutant(
        "an upload goes on in a block with flushed bytes",
        "volume.kept",
        "            opened.written = opened.note.offset - len(opened.note.tail)\n"
        "            self._disk.ftruncate(opened.data, opened.written)\n"
        "            pieces = [opened.note.tail, *pieces]\n",
        "            opened.written = opened.note.offset\n"
        "            self._disk.ftruncate(opened.data, opened.written)\n",
        uploads.uploads,
    ),
    Mutant(
        "what was not flushed is not cut off",
        "volume.kept",
        "            self._disk.ftruncate(opened.data, opened.written)\n",
        "",
        uploads.of_unknown_length,
    ),
    Mutant(
        "an upload is committed with what was not flushed behind it",
        "volume.kept",
        "            if self._is_whole(opened):\n",
        "            if True:\n",
        uploads.of_unknown_length,
    ),
    Mutant(
        "an upload is taken for whole because of its size",
        "volume.kept",
        "        return self._read(opened.data, note.offset - size, size) == note.tail\n",
        "        return True\n",
        uploads.of_unknown_length,
    ),
    Mutant(
        "an upload begins without a flush of its record",
        "volume.kept",
        'directory.write(f"{name}/{STATE}", record + notes, sync=True)',
        'directory.write(f"{name}/{STATE}", record + notes, sync=False)',
        uploads.uploads,
    ),
    Mutant(
        "an upload begins without a flush of its directory",
        "volume.kept",
        "        directory.sync(name)\n",
        "",
        uploads.uploads,
    ),
    Mutant(
        "an upload begins without a flush of the root",
        "volume.kept",
        "        directory.sync_root()\n\n    def open",
        "\n    def open",
        uploads.uploads,
    ),
    Mutant(
        "a terminated upload may come back",
        "volume.kept",
        "        if sync:\n",
        "        if False:\n",
        uploads.terminated,
    ),
    Mutant(
        "the record of a kept stage is put in place before it is flushed",
        "volume.commit",
        "sync=sync or is_kept",
        "sync=sync",
        uploads.finished_together,
    ),
    Mutant(
        "a start removes the unfinished uploads",
        "volume.recovery.scan",
        "            self._look_at_kept(name)\n",
        "            self._findings.leftover.append(name)\n",
        uploads.uploads,
    ),
    Mutant(
        "a start takes the hash of nothing for that of what it has found",
        "store.resumable",
        "            if not note.offset:\n",
        "            if True:\n",
        uploads.uploads,
    ),
    Mutant(
        "a wrong checksum is no matter",
        "store.appending",
        "        elif is_over and not self._matches():\n",
        "        elif False:\n",
        uploads.uploads,
    ),
    Mutant(
        "an upload that was committed is looked for no more",
        "store.resumable",
        "                if said is not None and",
        "                if said is None and",
        uploads.uploads,
    ),
    Mutant(
        "with the journal, bytes of an upload count before they are flushed",
        "volume.kept",
        "            self._sync(opened, opened.data)\n            offset",
        "            offset",
        uploads.uploads,
        sync=Sync.JOURNAL,
    ),
)
