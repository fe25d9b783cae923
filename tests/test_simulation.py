"""The whole store on a simulated disk: crashes everywhere, and mutants that have to be caught.

Per commit a share of it; ``python -m tests.simulation`` explores the rest, and prints figures.
"""

from __future__ import annotations

import pytest
from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from gostore.volume.changes import Sync
from tests.e2e.daemon import SOAK
from tests.simulation import behind, expiring, history, records, trials, unflushed
from tests.simulation.behind_mutants import BEHIND_MUTANTS
from tests.simulation.expiring_mutants import EXPIRING_MUTANTS
from tests.simulation.explorer import Bounds, Explorer, usual_bounds
from tests.simulation.history_mutants import HISTORY_MUTANTS
from tests.simulation.mutants import ALL_MUTANTS, Mutant
from tests.simulation.world import Violation

#: For each commit, a recovery with the journal is crashed a second time at one of so many calls.
CALLS = 20


def bounds_of(sync: Sync, states: int | None) -> Bounds:
    """How far to go: to so many states of a crash, in a soak as far as usual."""
    if SOAK or states is None:
        return usual_bounds(sync)
    bounds = usual_bounds(sync, states)
    return bounds if sync is Sync.FILES else evolve(bounds, calls=CALLS)


MUTANTS = (*ALL_MUTANTS, *BEHIND_MUTANTS, *EXPIRING_MUTANTS, *HISTORY_MUTANTS)


class CrashTests(SynchronousTestCase):
    """The promise of the store, at every crash of every script."""

    def explore(self, trial: trials.Trial, share: int = 1, states: int | None = None) -> None:
        """Nothing may be violated, and something has to have been looked at."""
        bounds = bounds_of(Sync.FILES, states)
        explorer = Explorer(bounds=bounds, share=1 if SOAK else share)
        trial(explorer)
        self.assertGreater(explorer.figures.lives, 10)

    def test_short_scripts(self) -> None:
        """Every crash of one or two steps keeps the promise, whatever way a body takes."""
        self.explore(trials.short_scripts, 3)

    def test_long_scripts(self) -> None:
        """Every crash of three steps keeps the promise."""
        self.explore(trials.long_scripts, 4)

    def test_somebodys(self) -> None:
        """What is not gostore's is not harmed, whatever number it has, and harms nobody."""
        self.explore(trials.somebodys, 5)

    def test_pairs(self) -> None:
        """Requests that share a flush keep the promise."""
        self.explore(trials.pairs, 145)

    def test_overtaken(self) -> None:
        """The last to be committed at a location has it after a restart, too."""
        self.explore(trials.overtaken, 72)

    def test_marked_late(self) -> None:
        """A number that is given again before its first bearer was marked is safe."""
        self.explore(trials.marked_late, 24)

    def test_full_disk(self) -> None:
        """A delete on a full disk is durable, and brings back no elder."""
        self.explore(trials.full_disk)

    def test_damaged(self) -> None:
        """A damaged blob that is replaced or deleted stays so."""
        self.explore(trials.damaged, 4)

    def test_failing_syncs(self) -> None:
        """What was answered before a sync failed survives, and nothing is committed after it."""
        self.explore(trials.failing_syncs, 577, 50)

    def test_expiring(self) -> None:
        """What has expired and was deleted is gone for good, and nothing else is."""
        self.explore(expiring.expiring, 61)

    def test_expiring_on_a_full_disk(self) -> None:
        """Also where there is no room for a tombstone."""
        self.explore(expiring.expiring_on_a_full_disk, 101)

    def test_expiring_beside(self) -> None:
        """Also while requests come for its location."""
        self.explore(expiring.expiring_beside, 101)

    def test_recorded(self) -> None:
        """A record cache from an earlier life brings nothing back, and hides nothing."""
        self.explore(records.recorded, 6)

    def test_edited(self) -> None:
        """A start with a record cache finds what one without it does, whoever was there."""
        explorer = Explorer()
        records.edited(explorer)
        self.assertEqual(explorer.figures.lives, 2 * len(records.HANDS))


class JournalTests(SynchronousTestCase):
    """The same with the redo journal, whose files take turns every few changes."""

    def explore(
        self,
        trial: trials.Trial,
        share: int = 1,
        states: int = 20,
        after: Sync | None = None,
        stride: int = 1,
    ) -> None:
        """Nothing may be violated, and something has to have been looked at."""
        explorer = Explorer(
            bounds=bounds_of(Sync.JOURNAL, states),
            share=1 if SOAK else share,
            stride=1 if SOAK else stride,
            sync=Sync.JOURNAL,
            after=after,
        )
        trial(explorer)
        self.assertGreater(explorer.figures.lives, 10)

    def test_somebodys(self) -> None:
        """What is not gostore's is not harmed by what the journal has, either."""
        self.explore(trials.somebodys, 20)

    def test_turns(self) -> None:
        """Whatever the journal holds, and wherever, a crash keeps the promise."""
        self.explore(trials.turns, 105)

    def test_switched_off(self) -> None:
        """What the journal holds is not lost where it is not used after a crash."""
        self.explore(trials.turns, 105, after=Sync.FILES)

    def test_recorded(self) -> None:
        """Nor does a record cache beside the journal."""
        self.explore(records.recorded, 9)

    def test_numbers(self) -> None:
        """A staged blob with the number of a tombstone does not undo that deletion."""
        self.explore(trials.numbers)

    def test_begun_anew(self) -> None:
        """What is left of a file that was begun anew brings nothing back."""
        self.explore(trials.begun_anew, 12)

    def test_spoilt(self) -> None:
        """A damaged block of the journal loses nothing in silence, and brings nothing back."""
        self.explore(trials.spoilt, 30)

    def test_checkpoints(self) -> None:
        """What is committed during a flush is not covered by it, nor what is renamed after it."""
        self.explore(trials.checkpoints, 216, 5)

    def test_failing_syncs(self) -> None:
        """What was answered before a sync failed survives, and nothing is committed after it."""
        self.explore(trials.failing_syncs, 144, 5)

    def test_first_journal(self) -> None:
        """What the first batches of a new journal hold is there, and so is the journal."""
        self.explore(trials.first_journal, 2)

    def test_found_damaged(self) -> None:
        """What is discarded as damaged does not come back whole from the journal."""
        self.explore(trials.found_damaged, 3)

    def test_full_disk(self) -> None:
        """A delete on a full disk is durable, and brings back no elder from the journal."""
        self.explore(trials.full_disk, 7)

    def test_unapplied(self) -> None:
        """What is replaced or deleted before it has files stays so, and what it replaced, too."""
        self.explore(behind.unapplied, 37)

    def test_switched(self) -> None:
        """The journal goes on in its other file, and nothing comes back that had no files."""
        self.explore(behind.switched, 601)

    def test_given_again(self) -> None:
        """The number of a blob that never had files may be given again, when it is safe."""
        self.explore(behind.given_again, 601)

    def test_large_and_small(self) -> None:
        """Large and small blobs at one location, and deletions over both, come in any order."""
        self.explore(behind.large_and_small, 151)

    def test_no_room_behind(self) -> None:
        """On a full disk what was answered lasts, reads and deletions go on, and room helps."""
        self.explore(behind.no_room_behind, 101)

    def test_started_full(self) -> None:
        """A start serves what it finds no room for, and it lasts."""
        self.explore(behind.started_full, 40)

    def test_room_by_deleting(self) -> None:
        """Where another program takes the room, deletions give it back, and all goes on."""
        self.explore(behind.room_by_deleting, 40)

    def test_room_is_counted(self) -> None:
        """What is accepted has room for its files, with all that waits."""
        self.explore(behind.room_is_counted, 84, 5)

    def test_room_for_deletions(self) -> None:
        """However full the journal is when the disk is, it has room for a deletion."""
        self.explore(behind.room_for_deletions, 2, 5)

    def test_beyond_the_tail(self) -> None:
        """When that is used up, too, the next deletion takes the room of those before it."""
        self.explore(behind.beyond_the_tail, 8, 5)

    def test_collected_early(self) -> None:
        """A collection takes nothing that the journal needs, and no number."""
        self.explore(behind.collected_early, 2)

    def test_beside_the_applier(self) -> None:
        """The collector and other requests may come at any call of the applier."""
        self.explore(behind.beside_the_applier, 72, 2, stride=3)

    def test_replaced_in_hand(self) -> None:
        """What is replaced while its files are made keeps the promise, too."""
        self.explore(behind.replaced_in_hand, 48, 1, stride=5)

    def test_deleted_in_hand(self) -> None:
        """What is deleted while its files are made keeps the promise, too."""
        self.explore(behind.deleted_in_hand, 48, 1, stride=3)

    def test_read_meanwhile(self) -> None:
        """A read finds the bytes at each call by which they get files."""
        self.explore(behind.read_meanwhile, 7)

    def test_expiring(self) -> None:
        """What has expired is deleted by the journal, and stays so; it may never have had files."""
        self.explore(expiring.expiring, 101)

    def test_expiring_beside(self) -> None:
        """Requests come for its location meanwhile."""
        self.explore(expiring.expiring_beside, 151, 5, stride=5)

    def test_overtaken_reads(self) -> None:
        """A read that is overtaken at any of its calls gets one version, or is told of another."""
        self.explore(behind.overtaken_reads, 13)


class UnflushedTests(SynchronousTestCase):
    """A store that flushes nothing."""

    def test_unflushed(self) -> None:
        """A kill loses nothing, and a power cut no start."""
        explorer = Explorer(sync=Sync.NONE, share=1 if SOAK else 8)
        unflushed.unflushed(explorer)
        self.assertGreater(explorer.figures.lives, 10)


class HistoryTests(SynchronousTestCase):
    """The same where everything is kept: each version that was answered is there, in its order."""

    def explore(self, trial: trials.Trial, sync: Sync, share: int, states: int = 5) -> None:
        """Nothing may be violated, and something has to have been looked at."""
        explorer = Explorer(
            bounds=bounds_of(sync, states),
            share=1 if SOAK else share,
            sync=sync,
        )
        trial(explorer)
        self.assertGreater(explorer.figures.lives, 10)

    def test_short_scripts(self) -> None:
        """What one or two steps replace or delete is kept, whatever way its body took."""
        self.explore(history.short_scripts, Sync.FILES, 20)
        self.explore(history.short_scripts, Sync.JOURNAL, 20)

    def test_due(self) -> None:
        """The older go before the younger, and nothing that was deleted comes back."""
        self.explore(history.due, Sync.FILES, 25)
        self.explore(history.due, Sync.JOURNAL, 25)

    def test_room(self) -> None:
        """On a disk that is full of history a write has room, and the oldest went for it."""
        self.explore(history.room, Sync.FILES, 29)
        self.explore(history.room, Sync.JOURNAL, 29)

    def test_marked_late(self) -> None:
        """A start marks what was replaced as the daemon would have."""
        self.explore(history.marked_late, Sync.FILES, 24)

    def test_unapplied(self) -> None:
        """A version that had no files when it was replaced or deleted is kept all the same."""
        self.explore(history.unapplied, Sync.JOURNAL, 100)

    def test_large_and_small(self) -> None:
        """Large and small versions are kept side by side."""
        self.explore(history.large_and_small, Sync.JOURNAL, 200)

    def test_switched(self) -> None:
        """No version is lost where the journal begins its files anew."""
        self.explore(history.switched, Sync.JOURNAL, 601)

    def test_restored(self) -> None:
        """A version that becomes current again is whole, and all that was kept stays."""
        self.explore(history.restored, Sync.FILES, 61)
        self.explore(history.restored, Sync.JOURNAL, 61)
        self.explore(history.restored_large, Sync.JOURNAL, 161)

    def test_expired(self) -> None:
        """What has expired is history once it is deleted, and does not come back."""
        self.explore(history.expired, Sync.FILES, 101)
        self.explore(history.expired, Sync.JOURNAL, 101)

    def test_expired_on_a_full_disk(self) -> None:
        """So it is where there is no room for the tombstone."""
        self.explore(history.expired_on_a_full_disk, Sync.FILES, 201)
        self.explore(history.expired_on_a_full_disk, Sync.JOURNAL, 201)

    def test_recorded(self) -> None:
        """A record cache hides no version, and brings none back."""
        self.explore(history.recorded, Sync.JOURNAL, 15)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_caught(mutant: Mutant) -> None:
    """The trials can fail: the store with any one thing taken away violates its promise."""
    if mutant.is_long and not SOAK:
        mutant.load()
        pytest.skip("its trial takes many seconds: GOSTORE_SOAK=1")
    with pytest.raises(Violation):
        mutant.try_out()
