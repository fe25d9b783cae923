"""gostore.blob: the states and their edges, the log, and what a location may be."""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from gostore.blob import (
    MESSAGE_LENGTH,
    Blob,
    Committed,
    EndedBy,
    Ending,
    State,
    Transition,
    check_location,
    check_text,
)
from gostore.errors import IllegalTransition

DIGEST = bytes(range(32))

VERBS: dict[str, Callable[[Blob], None]] = {
    "create": lambda blob: blob.create(9),
    "update": lambda blob: blob.update(9),
    "start_writing": lambda blob: blob.start_writing(9),
    "finish_writing": lambda blob: blob.finish_writing(9, 5, DIGEST, 3),
    "delete": lambda blob: blob.delete(9),
    "expire": lambda blob: blob.expire(9),
    "replace": lambda blob: blob.replace(9, 2422),
    "fail": lambda blob: blob.fail(9, "Client went away after 5 of 10 bytes"),
    "recover": lambda blob: blob.recover(9),
}

# For each state a blob may be in, None for a new one: the verbs it allows, and where they lead.
LEGAL: dict[State | None, dict[str, tuple[State, str]]] = {
    None: {
        "create": (State.OK, "Blob Created & Saved!"),
        "update": (State.OK, "Blob Updated & Saved!"),
        "delete": (State.FAILURE, "Deleted!"),
        "expire": (State.FAILURE, "Expired!"),
        "replace": (State.FAILURE, "Deleted! Replaced by 2422"),
        "fail": (State.FAILURE, "Client went away after 5 of 10 bytes"),
    },
    State.OK: {
        "start_writing": (State.PENDING, "Starting Data WR"),
        "delete": (State.FAILURE, "Deleted!"),
        "expire": (State.FAILURE, "Expired!"),
        "replace": (State.FAILURE, "Deleted! Replaced by 2422"),
        "fail": (State.FAILURE, "Client went away after 5 of 10 bytes"),
    },
    State.PENDING: {
        "finish_writing": (State.OK, "Blob Data WR Complete!"),
        "delete": (State.FAILURE, "Deleted!"),
        "expire": (State.FAILURE, "Expired!"),
        "replace": (State.FAILURE, "Deleted! Replaced by 2422"),
        "fail": (State.FAILURE, "Client went away after 5 of 10 bytes"),
        "recover": (State.FAILURE, "Found in Pending state during Restore - Deleting!"),
    },
    State.FAILURE: {},
}


def blob_in(state: State | None) -> Blob:
    """A blob whose newest transition is to that state; a new one for None."""
    log = [] if state is None else [Transition(state, "so far", 1)]
    return Blob(13342, "foo", log=log)


def finished() -> Blob:
    """A blob that was made by somebody and committed."""
    blob = Blob(13342, "foo")
    blob.create(1, "alice, 7f3a")
    blob.start_writing(2)
    blob.finish_writing(3, 5, DIGEST, 3)
    return blob


class EndingTests(SynchronousTestCase):
    """What the log says of the beginning and the end of a life."""

    def test_alive(self) -> None:
        """A blob that lives has a beginning and no end."""
        blob = finished()
        self.assertEqual((blob.origin, blob.finished, blob.ending), ("alice, 7f3a", 3, None))

    def test_deleted(self) -> None:
        """A deletion says when it was, and who asked for it."""
        blob = finished()
        blob.delete(9, "bob, 8c")
        self.assertEqual(blob.ending, Ending(9, EndedBy.DELETED, "bob, 8c"))
        self.assertEqual(blob.finished, 3)

    def test_replaced(self) -> None:
        """A replacement also says by which blob."""
        blob = finished()
        blob.replace(9, 2422, "bob, 8c")
        self.assertEqual(blob.ending, Ending(9, EndedBy.REPLACED, "bob, 8c", 2422))

    def test_nobody(self) -> None:
        """The Go server says of nobody who asked."""
        for message, ending in (
            ("Deleted!", Ending(9, EndedBy.DELETED)),
            ("Deleted! Replaced by 7", Ending(9, EndedBy.REPLACED, "", 7)),
            ("Expired!", Ending(9, EndedBy.EXPIRED)),
        ):
            blob = Blob(1, "foo", log=[Transition(State.FAILURE, message, 9)])
            self.assertEqual((blob.origin, blob.ending), ("", ending))

    def test_failed(self) -> None:
        """An upload that failed has no end: nobody could ever ask for it."""
        blob = Blob(1, "foo")
        blob.create(1)
        blob.fail(2, "Deleted, so to say")
        self.assertIsNone(blob.ending)
        self.assertIsNone(Blob(1, "foo").ending)

    def test_long_origin(self) -> None:
        """An origin that was cut with its message is what is left of it."""
        blob = finished()
        blob.delete(9, "x" * MESSAGE_LENGTH)
        ending = blob.ending
        assert ending is not None
        self.assertEqual(ending.origin, "x" * (MESSAGE_LENGTH - len("Deleted! (")))


class EdgeTests(SynchronousTestCase):
    """The table of legal edges."""

    def test_origin(self) -> None:
        """The transitions that a client asks for say which request it was."""
        for verb, message in [
            (Blob.create, "Blob Created & Saved! (7f3a)"),
            (Blob.update, "Blob Updated & Saved! (7f3a)"),
            (Blob.delete, "Deleted! (7f3a)"),
        ]:
            blob = blob_in(None)
            verb(blob, 9, "7f3a")
            self.assertEqual(blob.log[-1].message, message)

    def test_legal_edges_append_to_the_log(self) -> None:
        """A legal verb appends one transition with its state, message and time."""
        for start, verbs in LEGAL.items():
            for verb, (target, message) in verbs.items():
                blob = blob_in(start)
                before = list(blob.log)
                VERBS[verb](blob)
                self.assertEqual(blob.log, [*before, Transition(target, message, 9)], verb)
                self.assertIs(blob.state, target)
                self.assertEqual(blob.changed, 9)

    def test_every_other_edge_is_refused(self) -> None:
        """Any verb not legal in a state raises, names blob, from and to, and changes nothing."""
        refused = 0
        for start, verbs in LEGAL.items():
            for verb in VERBS.keys() - verbs.keys():
                blob = blob_in(start)
                before = (list(blob.log), blob.size, blob.sha256, blob.generation, blob.created)
                error = self.assertRaises(IllegalTransition, VERBS[verb], blob)
                self.assertEqual(error.blob_id, 13342)
                self.assertEqual(error.from_state, "new" if start is None else start.title)
                self.assertIn(error.to_state, {"OK", "Pending", "Failure"})
                self.assertEqual(
                    before, (blob.log, blob.size, blob.sha256, blob.generation, blob.created)
                )
                refused += 1
        self.assertEqual(refused, 3 + 4 + 3 + 9)

    def test_pairs_of_states(self) -> None:
        """OK and Pending lead to each other, both to Failure, and nothing leaves Failure."""
        reached: set[tuple[State | None, State]] = set()
        for start in LEGAL:
            for verb in VERBS.values():
                blob = blob_in(start)
                try:
                    verb(blob)
                except IllegalTransition:
                    continue
                reached.add((start, blob.state))
        self.assertEqual(
            reached,
            {
                (None, State.OK),
                (None, State.FAILURE),
                (State.OK, State.PENDING),
                (State.PENDING, State.OK),
                (State.OK, State.FAILURE),
                (State.PENDING, State.FAILURE),
            },
        )


class LogTests(SynchronousTestCase):
    """The log of a blob and what hangs on it."""

    def test_a_new_blob_counts_as_ok(self) -> None:
        """An empty log counts as OK, last changed at the epoch."""
        blob = Blob(1, "foo")
        self.assertIs(blob.state, State.OK)
        self.assertEqual(blob.changed, 0)

    def test_the_oldest_entries_are_dropped(self) -> None:
        """Of more than 16 transitions the newest 16 stay, oldest first."""
        blob = Blob(1, "foo")
        blob.create(0)
        for now in range(1, 21, 2):
            blob.start_writing(now)
            blob.finish_writing(now + 1, now, DIGEST, now)
        self.assertEqual([entry.when for entry in blob.log], list(range(5, 21)))

    def test_a_long_reason_is_cut(self) -> None:
        """A reason of any length leaves at most 500 characters in the log."""
        blob = blob_in(State.PENDING)
        blob.fail(9, "x" * 100_000)
        self.assertEqual(blob.log[-1].message, "x" * 500)

    def test_a_reason_is_always_unicode(self) -> None:
        """A lone surrogate in a reason, as from an undecodable name, does not reach the log."""
        blob = blob_in(State.PENDING)
        blob.fail(9, "no \udcff file")
        self.assertEqual(blob.log[-1].message, "no ? file")

    def test_titles(self) -> None:
        """The states are printed as the Go server prints them."""
        self.assertEqual(
            {state.title: state.value for state in State}, {"OK": 0, "Failure": -1, "Pending": -2}
        )


class CommittedTests(SynchronousTestCase):
    """What the maps keep."""

    def test_a_finished_blob(self) -> None:
        """Committed has everything but the log; the newest transition's time is its time."""
        blob = Blob(7, "a/b", content_type="text/plain", metadata={"x-gostore-meta-a": "b"})
        blob.expires = 99
        blob.create(1)
        blob.start_writing(2)
        blob.finish_writing(3, 17, DIGEST, 12)
        self.assertEqual(blob.created, 1)
        self.assertEqual(
            blob.committed(),
            Committed(7, "a/b", 12, 17, DIGEST, 3, "text/plain", {"x-gostore-meta-a": "b"}, 99),
        )

    def test_no_metadata_is_none(self) -> None:
        """An empty metadata costs the maps no dict."""
        self.assertIsNone(Blob(7, "foo", size=0).committed().metadata)

    def test_a_blob_of_what_the_maps_kept(self) -> None:
        """A blob made of what the maps kept has a new one's log and says the same of itself."""
        committed = Committed(7, "a/b", 12, 17, DIGEST, 3, "text/plain", {"a": "b"}, 99)
        blob = Blob.of(committed)
        self.assertEqual(blob.committed(), committed)
        blob.delete(9)
        self.assertIs(blob.state, State.FAILURE)

    def test_the_size_must_be_known(self) -> None:
        """A record by the Go server has no size; it must be set before commit."""
        self.assertRaises(ValueError, Blob(7, "foo").committed)


class LocationTests(SynchronousTestCase):
    """check_location."""

    def test_legal_locations(self) -> None:
        """Any Unicode text of legal segments up to 1,024 bytes passes, just as it is."""
        for location in [
            "a",
            "a/b",
            "...",
            "a.",
            ".a/..b",
            "%2F",
            "caf\u00e9 menu",
            "cafe\u0301",
            "I\u0131\u0130",
            "\u202eevil",
            "\U0001f4a9",
            "\ufefffoo",
            "\x80",
            "x" * 1024,
            "\u00e9" * 512,
        ]:
            check_location(location)

    def test_illegal_locations(self) -> None:
        """Empty, too long, control characters, surrogates and odd segments are refused."""
        for location, reason in [
            ("", "empty"),
            ("x" * 1025, "longer"),
            ("\u00e9" * 513, "longer"),
            ("a\x00b", "control"),
            ("a\nb", "control"),
            ("\x1b[31m", "control"),
            ("\x7f", "control"),
            ("\ud800", "surrogate"),
            (".", r"segment \."),
            ("..", r"segment \.\."),
            ("a/../b", r"segment \.\."),
            ("./a", r"segment \."),
            ("a//b", "empty segment"),
            ("/a", "empty segment"),
            ("a/", "empty segment"),
            ("/", "empty segment"),
        ]:
            with self.assertRaisesRegex(ValueError, reason):
                check_location(location)

    def test_the_text_alone(self) -> None:
        """check_text says nothing of segments, which the Go server did not check."""
        check_text("a//../b/")
        self.assertRaises(ValueError, check_text, "a\nb")
