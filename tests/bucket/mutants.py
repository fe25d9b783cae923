"""The protocol of the bucket with one thing taken away, to see that the trials miss it."""

from __future__ import annotations

from types import SimpleNamespace

from attrs import frozen

from tests.bucket import trials
from tests.bucket.trials import Trial
from tests.simulation.mutants import compiled

#: What is compiled anew for each mutant, imported before importing.
_MODULES = (
    "bucket.pointer",
    "bucket.asking",
    "bucket.staging",
    "bucket.markers",
    "bucket.protocol",
    "bucket.collect",
    "bucket.versions",
)


@frozen
class Mutant:
    """Code with ``old`` replaced by ``new`` in a module; ``trial`` is one that catches it."""

    name: str
    module: str
    old: str
    new: str
    trial: Trial
    more: tuple[tuple[str, str], ...] = ()

    def try_out(self) -> None:
        """Run its trial; raises Violation, or another error, as it should."""
        self.trial(self.load())

    def load(self) -> SimpleNamespace:
        """Compile it; raises AssertionError if the code it changes is not there any more."""
        loaded = compiled(_MODULES, self.name, self.module, ((self.old, self.new), *self.more))
        short = {name.rpartition(".")[2]: module for name, module in loaded.items()}
        return SimpleNamespace(**short)


MUTANTS = (
    Mutant(
        "no nonce",
        "bucket.protocol",
        "            if nonce in again.hist:\n",
        "            if False:\n",
        trials.under_faults,
    ),
    Mutant(
        "a pointer is put whatever is there",
        "bucket.protocol",
        "        if etag is None:\n            return self.ask.engine.create(key, data)\n"
        "        return self.ask.engine.swap(key, data, etag)\n",
        "        return self.ask.engine.put(key, data)\n",
        trials.under_faults,
    ),
    Mutant(
        "all tombstones have the same bytes",
        "bucket.pointer",
        '        made = {"dead": 1, **made}\n',
        '        made = {"dead": 1, **made, "hist": "", "generation": 1}\n',
        trials.late_swap,
    ),
    Mutant(
        "the sweep does not touch",
        "bucket.collect",
        "if condemned is None or not self._touch(blob):",
        "if condemned is None:",
        trials.stalled_before_its_swap,
    ),
    Mutant(
        "there is no grace",
        "bucket.collect",
        "return modified < self._ask.engine_time() - (self._staging.grace if age is None else age)",
        "return True",
        trials.slow_reader,
    ),
    Mutant(
        "the marker comes before the swap",
        "bucket.protocol",
        "        pointer, tried, pauses = change(seen, nonce), False, 0\n",
        "        pointer, tried, pauses = change(seen, nonce), False, 0\n"
        "        self.mark_garbage(seen, until)\n",
        trials.replaced_and_collected,
        (
            (
                "        elif (blob := replaced.named) is not None:\n",
                "        blob = replaced.blob\n"
                "        if blob and self.ask.read(blob.location, until).blob == blob:\n",
            ),
        ),
    ),
    Mutant(
        "the ETag of the data is not sent",
        "bucket.protocol",
        "self.ask.engine.get(key, blob.detag, span)",
        "self.ask.engine.get(key, None, span)",
        trials.written_over,
    ),
    Mutant(
        "a swap is tried again without a look at the pointer",
        "bucket.protocol",
        "                tried = True\n",
        "                tried = True\n"
        "                if pauses < 3:\n"
        "                    pauses += 1\n"
        "                    try:\n"
        "                        self._put(pointer, seen.etag)\n"
        "                        return pointer, seen\n"
        "                    except (Mismatch, Missing):\n"
        "                        demand_lost(pointer)\n"
        "                    except Unsettled:\n"
        "                        pass\n",
        trials.under_faults,
        (
            (
                "def _unknown() ->",
                "def demand_lost(pointer: Pointer) -> None:\n"
                "    if pointer.blob is None:\n"
                "        raise NotFound(pointer.location)\n"
                "    raise AlreadyExists(pointer.location)\n\n\n"
                "def _unknown() ->",
            ),
        ),
    ),
    Mutant(
        "a condemned blob is published all the same",
        "bucket.protocol",
        "if draft is not None and not self.staging.is_alive(draft, until):",
        "if False:",
        trials.stalled_before_its_swap,
    ),
    Mutant(
        "a history that has forgotten counts as a loss",
        "bucket.protocol",
        "if again.has_forgotten(seen):",
        "if False:",
        trials.forgotten,
    ),
    Mutant(
        "the data is discarded though the swap may have got through",
        "bucket.protocol",
        "        except (OutcomeUnknown, DiskFailed, NoSpace):\n",
        "        except (DiskFailed, NoSpace):\n",
        trials.no_answer_at_all,
    ),
    Mutant(
        "the data is discarded because there was no room for another try of its swap",
        "bucket.protocol",
        "        except (OutcomeUnknown, DiskFailed, NoSpace):\n",
        "        except (OutcomeUnknown, DiskFailed):\n",
        trials.full_at_the_second_try,
    ),
    Mutant(
        "a marked blob is removed though its location has it",
        "bucket.collect",
        "if seen.named is None or (seen.named.id, seen.named.nonce) != names:",
        "if True:",
        trials.marked_by_mistake,
    ),
    Mutant(
        "there is no nonce in the key of the data",
        "bucket.pointer",
        "{nonce + _DATA_END if nonce else DATA}",
        "{DATA}",
        trials.late_about_an_id,
    ),
    Mutant(
        "there is no nonce in the key of the data, and a collection stalls",
        "bucket.pointer",
        "{nonce + _DATA_END if nonce else DATA}",
        "{DATA}",
        trials.stalled_anywhere,
    ),
    Mutant(
        "an id is claimed though it is not free",
        "bucket.staging",
        "if found is not None and is_free(found.data):",
        "if found is not None:",
        trials.claimed_too_early,
    ),
    Mutant(
        "a marker frees an id whatever blob has it by now",
        "bucket.collect",
        "return record is None or not is_its or self._free(blob.id, record.etag)",
        "return record is None or self._free(blob.id, record.etag)",
        trials.stale_marker,
    ),
    Mutant(
        "a marker counts whatever blob has its id by now",
        "bucket.collect",
        "            self._remove_data(blob.id, {blob.nonce})\n            # The id",
        "            self._remove_data(blob.id, {blob.nonce, known.nonce if known else ''})\n"
        "            # The id",
        trials.stale_marker,
    ),
    Mutant(
        "an id is free before its pointer is touched",
        "bucket.collect",
        "        condemned = self._condemn(record, blob)\n",
        "        condemned = self._condemn(record, blob)\n"
        "        if condemned and self._staging.claims:\n"
        "            return self._free(blob.id, condemned)\n",
        trials.stalled_anywhere,
    ),
    Mutant(
        "the first swap comes without a look at the record, though its pointer was touched",
        "bucket.protocol",
        "if draft is not None and seen.was_touched and not",
        "if draft is not None and False and not",
        trials.stalled_anywhere,
    ),
    Mutant(
        "a touch is forgotten by the next operation",
        "bucket.protocol",
        "last.followed_by(nonce), blob, last.touched)",
        "last.followed_by(nonce), blob)",
        trials.touched_and_written,
    ),
    Mutant(
        "the record of a condemned blob does not rest",
        "bucket.collect",
        "        if self._is_old(record.modified, REST):\n            self._remove_record",
        "        if True:\n            self._remove_record",
        trials.stalled_anywhere,
    ),
    Mutant(
        "data without a record goes at once",
        "bucket.collect",
        "            return self._condemn_orphan(blob_id)\n",
        "            self._condemn_orphan(blob_id)\n"
        "            record = self._ask.record(blob_id, until)\n"
        "            return 0 if record is None else self._sweep_orphan(blob_id, nonces, record)\n",
        trials.lost_record,
    ),
    Mutant(
        "ages go by a clock that can be set",
        "bucket.asking",
        "return self._began + self.seconds()",
        "return self.wall() / 1e9",
        trials.clock_set,
    ),
    Mutant(
        "what cannot be touched is removed",
        "bucket.collect",
        "                return False\n            if seen.named is not None",
        "                return True\n            if seen.named is not None",
        trials.damaged_before_its_touch,
    ),
    Mutant(
        "a sweep does not touch, and is hasty",
        "bucket.collect",
        "if condemned is None or not self._touch(blob):",
        "if condemned is None:",
        trials.swept_anywhere,
    ),
    Mutant(
        "an id is kept though there was no room for its data",
        "bucket.protocol",
        "                self.staging.discard(claimed, until)\n                raise\n",
        "                raise\n",
        trials.no_room_for_its_data,
    ),
    Mutant(
        "what is over goes by a clock that can be set",
        "bucket.collect",
        "if seen.is_over and (seen.named.expires or 0) <= self._ask.engine_time():",
        "if seen.is_over:",
        trials.clock_set,
    ),
    Mutant(
        "a pointer does not say what it has ended",
        "bucket.protocol",
        "        return Ended(seen.named, Ending(when, by, origin, successor))\n",
        "        return None\n",
        trials.kept_under_faults,
    ),
    Mutant(
        "a pointer is swapped before what it says was is marked",
        "bucket.protocol",
        "        self.markers.catch_up(seen, until)\n        if",
        "        if",
        trials.died_after_its_swap,
    ),
    Mutant(
        "a pointer is swapped, after another was first, before what it says was is marked",
        "bucket.protocol",
        "                self.markers.catch_up(seen, until)\n                if",
        "                if",
        trials.kept_under_faults,
    ),
    Mutant(
        "a delete is answered before it is marked",
        "bucket.protocol",
        "            self._mark(replaced, until)\n        return replaced\n",
        "            pass\n        return replaced\n",
        trials.died_after_its_swap,
    ),
    Mutant(
        "a marker pass removes what is kept",
        "bucket.collect",
        "if ended is not None and not self._has_had_its_time(marker, location):",
        "if False:",
        trials.kept_for_its_time,
    ),
    Mutant(
        "a sweep removes what is kept",
        "bucket.collect",
        "        if self._is_past(blob, seen):\n            return 0\n",
        "",
        trials.kept_for_its_time,
        (("            if self._is_past(blob, seen):\n                return False\n", ""),),
    ),
    Mutant(
        "a sweep does not look again whether a blob has become a version",
        "bucket.collect",
        "            if self._is_past(blob, seen):\n                return False\n",
        "",
        trials.replaced_during_a_sweep,
    ),
    Mutant(
        "a sweep does not mark what a pointer says was",
        "bucket.collect",
        "            self._protocol.markers.mark_once(was, seen.etag, until)\n",
        "",
        trials.died_after_its_swap,
    ),
    Mutant(
        "a second marker takes the place of the first",
        "bucket.markers",
        "self.ask.engine.create(key, text)",
        "self.ask.engine.put(key, text)",
        trials.marked_again,
    ),
    Mutant(
        "a slim tombstone has the bytes of an earlier one",
        "bucket.protocol",
        "_replaced(seen, pointer.was, again.pointer, again.etag)",
        "_replaced(seen, pointer.was, pointer, again.etag)",
        trials.slimmed_meanwhile,
    ),
)
