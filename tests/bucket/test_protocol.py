"""The protocol of the bucket: every history is linearizable, whatever is lost, late or dead."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.bucket import trials
from tests.bucket.mutants import MUTANTS, Mutant
from tests.bucket.world import FAULTS, GENUINE, Setting, World
from tests.e2e.daemon import SOAK

#: How many seeds each kind of run gets.
RUNS = 2000 if SOAK else 24


@pytest.mark.parametrize("kind", FAULTS)
def test_one_fault(kind: str) -> None:
    """Runs in which a fifth of the requests meet this fault are right."""
    worlds = trials.play(trials.faults(range(RUNS // 4), kinds=(kind,)))
    assert sum(world.met[kind] for world in worlds) > RUNS


def test_all_faults() -> None:
    """Runs with all faults are right, and lost answers, conflicts and crashes were among them."""
    worlds = trials.play(trials.faults(range(RUNS)))
    assert all(sum(world.met[kind] for world in worlds) for kind in FAULTS)
    answers = [each for world in worlds for history in world.history.values() for each in history]
    assert {each.status for each in answers} == {200, 204, 404, 409, None}
    assert sum(each.status is None for each in answers) < len(answers) / 2


def test_stalls() -> None:
    """Runs in which daemons stand still for longer than the grace are right."""
    worlds = trials.play(trials.stalls(range(1000, 1000 + RUNS)))
    assert sum(world.met["stall"] for world in worlds) > RUNS


def test_lists_that_lag() -> None:
    """Runs in which listings show what was there some time ago are right."""
    trials.play(trials.lagging(range(3000, 3000 + RUNS)))


def test_ids_used_again() -> None:
    """Runs in which ids are claimed, and used again, are right."""
    trials.play(trials.reused(range(2000, 2000 + RUNS)))


def test_all_ids_taken() -> None:
    """Runs with more locations than ids are right; writes are refused while all are taken."""
    worlds = trials.play(trials.crowded(range(4000, 4000 + RUNS // 2)))
    answers = [each for world in worlds for history in world.history.values() for each in history]
    assert any(each.status == 507 for each in answers)
    assert sum(each.status == 507 for each in answers) < len(answers) / 2


def test_kept() -> None:
    """Runs under faults are right, and each version is in the history from its answer on."""
    looked_at(trials.play(trials.kept(range(4000, 4000 + RUNS // 2))))


def test_kept_in_stalls() -> None:
    """So are runs in which daemons stand still, and versions are kept for some hours only."""
    looked_at(trials.play(trials.kept_in_stalls(range(5000, 5000 + RUNS // 2))))


def test_kept_while_lists_lag() -> None:
    """A list that lags behind by hours makes nobody remove what is kept."""
    looked_at(trials.play(trials.kept_while_lists_lag(range(6000, 6000 + RUNS // 4))))


def test_kept_ids_used_again() -> None:
    """An id is used again only when what is kept of its blob is gone."""
    looked_at(trials.play(trials.kept_and_reused(range(7000, 7000 + RUNS // 4))))


def looked_at(worlds: list[World]) -> None:
    """See that clients looked at histories that had something."""
    looks: Counter[str] = sum((world.looks for world in worlds), Counter())
    assert looks["versions"] > looks["history"] / 2 > 0


def test_no_faults() -> None:
    """Without faults nobody is refused, however many write to one location."""
    settings = [Setting(seed, faults=0.0, locations=1, clients=8) for seed in range(RUNS // 4)]
    for world in trials.play(settings):
        assert world.busy == 0


@pytest.mark.parametrize(
    "trial",
    [
        trials.stalled_before_its_swap,
        trials.late_swap,
        trials.slow_reader,
        trials.replaced_and_collected,
        trials.used_again,
        trials.written_over,
        trials.forgotten,
        trials.no_answer_at_all,
        trials.full_at_the_second_try,
        trials.marked_by_mistake,
        trials.late_about_an_id,
        trials.stale_marker,
        trials.claimed_too_early,
        trials.stalled_anywhere,
        trials.touched_and_written,
        trials.no_room_for_its_data,
        trials.swept_anywhere,
        trials.all_twice,
        trials.damaged_before_its_touch,
        trials.lost_record,
        trials.clock_set,
        trials.kept_for_its_time,
        trials.died_after_its_swap,
        trials.replaced_during_a_sweep,
        trials.marked_again,
        trials.slimmed_meanwhile,
    ],
)
def test_script(trial: trials.Trial) -> None:
    """Each script that catches a mutant passes with the genuine code."""
    trial(GENUINE)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_mutants(mutant: Mutant) -> None:
    """Each thing that the protocol does is needed: without it a trial fails."""
    modules = mutant.load()
    with pytest.raises(Exception, match="") as caught:
        mutant.trial(modules)
    assert not isinstance(caught.value, (NameError, AttributeError, TypeError)), caught.value


def test_repeatable() -> None:
    """A seed decides everything: a run that failed can be looked at again."""
    first, second = World(Setting(7)), World(Setting(7))
    first.play()
    second.play()
    assert (first.history, first.met, first.steps) == (second.history, second.met, second.steps)
