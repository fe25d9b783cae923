"""Uploads over a bucket: right bytes or an error, whatever is lost, late or dead."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.bucket import upload_trials as trials
from tests.bucket.trials import Trial, faults, lagging, reused, stalls
from tests.bucket.upload_world import UPLOADING
from tests.e2e.daemon import SOAK

#: How many seeds each kind of run gets.
RUNS = 1000 if SOAK else 8


def test_faults() -> None:
    """Runs in which a fifth of the requests meet a fault are right; all ends are among them."""
    ends: Counter[str] = Counter()
    for world in trials.play(faults(range(RUNS))):
        ends.update(world.ends)
    assert all(ends[kind] for kind in ("done", "refused", "wrong", "terminated")), ends


def test_stalls() -> None:
    """Runs in which daemons stand still for longer than the grace are right."""
    worlds = trials.play(stalls(range(1000, 1000 + RUNS)))
    assert sum(world.met["stall"] for world in worlds) > RUNS


def test_lists_that_lag() -> None:
    """Runs in which listings show what was there some time ago are right."""
    trials.play(lagging(range(2000, 2000 + RUNS)))


def test_ids_used_again() -> None:
    """Runs in which ids are claimed, and used again, are right."""
    trials.play(reused(range(3000, 3000 + RUNS)))


@pytest.mark.parametrize("trial", trials.SCRIPTS)
def test_script(trial: Trial) -> None:
    """Each script that catches a mutant passes with the genuine code."""
    trial(UPLOADING)


@pytest.mark.parametrize("mutant", trials.UPLOAD_MUTANTS, ids=lambda mutant: mutant.name)
def test_mutants(mutant: trials.UploadMutant) -> None:
    """Each thing that is done is needed: without it a trial fails."""
    modules = mutant.load()
    with pytest.raises(Exception, match="") as caught:
        mutant.trial(modules)
    assert not isinstance(caught.value, (NameError, AttributeError, TypeError)), caught.value
