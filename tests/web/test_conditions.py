"""Tests of gostore.web.fields.conditions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gostore.blob import Committed
from gostore.errors import ConditionFailed
from gostore.store.interface import Precondition, Versions
from gostore.web.answers import Refusal
from gostore.web.fields.conditions import Conditions, Outcome, holds_if_range
from gostore.wire.head import Headers

NOON = 1_700_000_000
DATE = "Tue, 14 Nov 2023 22:13:20 GMT"
BEFORE = "Tue, 14 Nov 2023 22:13:19 GMT"
AFTER = "Tue, 14 Nov 2023 22:13:21 GMT"
TAG = '"' + "ab" * 32 + '"'
OTHER = '"' + "cd" * 32 + '"'

BLOB = Committed(1, "foo", 1, 3, b"\xab" * 32, NOON * 10**9 + 999_999_999, None, None)
PROCEED, NOT_MODIFIED, FAILED = Outcome.PROCEED, Outcome.NOT_MODIFIED, Outcome.FAILED


def conditions(**fields: str) -> Conditions:
    """The conditions of a request with these fields."""
    joined = {
        name.replace("_", "-").encode(): value.encode("latin-1") for name, value in fields.items()
    }
    return Conditions.of(Headers(list(joined.items()), joined))


class JudgeTests(SynchronousTestCase):
    """Preconditions against what there is (RFC 9110 section 13)."""

    def assert_judged(
        self, read: Outcome, write: Outcome, blob: Committed | None = BLOB, **fields: str
    ) -> None:
        """A request with these fields has this outcome when it reads, and this when it writes."""
        asked = conditions(**fields)
        if blob is not None:
            self.assertIs(asked.judge(blob), read, fields)
        precondition = asked.precondition() or Precondition()
        self.assertIs(PROCEED if precondition.holds(blob) else FAILED, write, fields)

    def test_none(self) -> None:
        """A request without conditions proceeds."""
        self.assert_judged(PROCEED, PROCEED)
        self.assert_judged(PROCEED, PROCEED, None)

    def test_if_match(self) -> None:
        """If-Match needs one of its tags to match, compared strongly (13.1.1)."""
        self.assert_judged(PROCEED, PROCEED, if_match=TAG)
        self.assert_judged(PROCEED, PROCEED, if_match=f"{OTHER}, {TAG}")
        self.assert_judged(PROCEED, PROCEED, if_match=f"{OTHER},{TAG},")
        self.assert_judged(FAILED, FAILED, if_match=OTHER)
        self.assert_judged(FAILED, FAILED, if_match=f"W/{TAG}")
        self.assert_judged(FAILED, FAILED, if_match="")

    def test_if_match_star(self) -> None:
        """If-Match: * needs a blob to be there (13.1.1)."""
        self.assert_judged(PROCEED, PROCEED, if_match="*")
        self.assert_judged(FAILED, FAILED, None, if_match="*")
        self.assert_judged(FAILED, FAILED, None, if_match=TAG)

    def test_if_none_match(self) -> None:
        """If-None-Match needs no tag to match, compared weakly; else 304 or 412 (13.1.2)."""
        self.assert_judged(NOT_MODIFIED, FAILED, if_none_match=TAG)
        self.assert_judged(NOT_MODIFIED, FAILED, if_none_match=f"W/{TAG}")
        self.assert_judged(NOT_MODIFIED, FAILED, if_none_match=f"{OTHER}, W/{TAG}")
        self.assert_judged(PROCEED, PROCEED, if_none_match=OTHER)
        self.assert_judged(PROCEED, PROCEED, if_none_match="")
        self.assert_judged(PROCEED, PROCEED, None, if_none_match=TAG)

    def test_if_none_match_star(self) -> None:
        """If-None-Match: * needs the location to be empty (13.1.2)."""
        self.assert_judged(NOT_MODIFIED, FAILED, if_none_match="*")
        self.assert_judged(PROCEED, PROCEED, None, if_none_match="*")
        self.assertTrue(conditions(if_none_match="*").creates)
        self.assertFalse(conditions(if_none_match=TAG).creates)
        self.assertFalse(conditions().creates)

    def test_if_modified_since(self) -> None:
        """If-Modified-Since is for reads only, and compares whole seconds (13.1.3)."""
        self.assert_judged(NOT_MODIFIED, PROCEED, if_modified_since=DATE)
        self.assert_judged(NOT_MODIFIED, PROCEED, if_modified_since=AFTER)
        self.assert_judged(PROCEED, PROCEED, if_modified_since=BEFORE)
        self.assert_judged(PROCEED, PROCEED, None, if_modified_since=AFTER)

    def test_if_unmodified_since(self) -> None:
        """If-Unmodified-Since fails for a newer blob (13.1.4)."""
        self.assert_judged(PROCEED, PROCEED, if_unmodified_since=DATE)
        self.assert_judged(PROCEED, PROCEED, if_unmodified_since=AFTER)
        self.assert_judged(FAILED, FAILED, if_unmodified_since=BEFORE)
        self.assert_judged(PROCEED, PROCEED, None, if_unmodified_since=BEFORE)

    def test_bad_dates(self) -> None:
        """An invalid date, or two dates, count as no condition (13.1.3, 13.1.4)."""
        for date in (
            "yesterday", "", "0", f"{DATE}, {AFTER}", "Tue, 99 Nov 2023 22:13:20 GMT",
            "Tue, 14 Nov 44464130000 22:13:20 GMT", "Tue, 99999999999 Nov 2023 22:13:20 GMT",
            "Tue, 14 Nov 2023 99999999999:13:20 GMT", "Tue, 14 Nov 2023 22:13:20 +99999999999",
            " " * 64 + DATE,
        ):  # fmt: skip
            self.assert_judged(PROCEED, PROCEED, if_modified_since=date)
            self.assert_judged(PROCEED, PROCEED, if_unmodified_since=date)

    def test_many_tags(self) -> None:
        """32 tags are read; more are 431, since a write could pass if some were ignored."""
        tags = ", ".join([OTHER] * 31 + [TAG])
        self.assert_judged(NOT_MODIFIED, FAILED, if_none_match=tags)
        self.assert_judged(PROCEED, PROCEED, if_match=tags)
        for name in ("if_match", "if_none_match"):
            refusal = self.assertRaises(Refusal, conditions, **{name: f"{tags}, {TAG}"})
            self.assertEqual(refusal.code, 431)

    def test_old_dates(self) -> None:
        """Obsolete forms of a date are valid too (RFC 9110 section 5.6.7)."""
        for date in ("Tuesday, 14-Nov-23 22:13:20 GMT", "Tue Nov 14 22:13:20 2023"):
            self.assert_judged(NOT_MODIFIED, PROCEED, if_modified_since=date)

    def test_precedence(self) -> None:
        """Tags outrank dates, and If-Match comes before If-None-Match (13.2.2)."""
        self.assert_judged(PROCEED, PROCEED, if_match=TAG, if_unmodified_since=BEFORE)
        self.assert_judged(FAILED, FAILED, if_match=OTHER, if_unmodified_since=AFTER)
        self.assert_judged(PROCEED, PROCEED, if_none_match=OTHER, if_modified_since=AFTER)
        self.assert_judged(NOT_MODIFIED, FAILED, if_none_match=TAG, if_modified_since=BEFORE)
        self.assert_judged(FAILED, FAILED, if_match=OTHER, if_none_match=TAG)
        self.assert_judged(NOT_MODIFIED, FAILED, if_match=TAG, if_none_match=TAG)
        self.assert_judged(FAILED, FAILED, if_unmodified_since=BEFORE, if_none_match=TAG)

    def test_unknown_digest(self) -> None:
        """A blob without a computed digest has no tag, but it exists."""
        blob = Committed(1, "foo", 0, 3, None, NOON, None, None)
        self.assert_judged(FAILED, FAILED, blob, if_match=TAG)
        self.assert_judged(PROCEED, PROCEED, blob, if_match="*")
        self.assert_judged(NOT_MODIFIED, FAILED, blob, if_none_match="*")

    @given(st.text(st.characters(max_codepoint=255)), st.text(st.characters(max_codepoint=255)))
    def test_anything(self, tags: str, date: str) -> None:
        """Any fields have an outcome."""
        judged = conditions(
            if_match=tags, if_none_match=tags, if_modified_since=date, if_unmodified_since=date
        )
        self.assertIsInstance(judged.judge(BLOB), Outcome)
        self.assertIn(judged.precondition().holds(BLOB), (True, False))
        self.assertIn(holds_if_range(date.encode("latin-1"), BLOB), (True, False))


class PreconditionTests(SynchronousTestCase):
    """The precondition that the store is given with a write."""

    def test_no_conditions(self) -> None:
        """A write without conditions has no precondition."""
        self.assertIsNone(conditions().precondition())

    def test_value(self) -> None:
        """It is a value in the store's words: digests, whole seconds, and what is judged."""
        self.assertEqual(
            conditions(if_match=f"W/{OTHER}, {TAG}", if_unmodified_since=DATE).precondition(),
            Precondition(Versions(frozenset({"ab" * 32})), None, NOON),
        )
        self.assertEqual(
            conditions(if_none_match=f"W/{OTHER}").precondition(present=False),
            Precondition(None, Versions(frozenset({"cd" * 32})), None, True, False),
        )
        self.assertEqual(
            conditions(if_none_match="*").precondition(missing=False),
            Precondition(None, Versions(any=True), None, False, True),
        )

    def test_check(self) -> None:
        """It raises ConditionFailed, by what it is called with each time."""
        precondition = conditions(if_match=TAG).precondition()
        precondition.check("foo", BLOB)
        self.assertRaises(ConditionFailed, precondition.check, "foo", None)

    def test_not_judged(self) -> None:
        """A request that fails without its conditions fails without them (13.2.1)."""
        deleting = conditions(if_match=OTHER).precondition(missing=False)
        deleting.check("foo", None)
        self.assertRaises(ConditionFailed, deleting.check, "foo", BLOB)
        creating = conditions(if_match="*", if_none_match="*").precondition(present=False)
        creating.check("foo", BLOB)
        self.assertRaises(ConditionFailed, creating.check, "foo", None)


class IfRangeTests(SynchronousTestCase):
    """Whether a range is still a range of the same thing (RFC 9110 section 13.1.5)."""

    def test_if_range(self) -> None:
        """Without the field Range applies; with it, only if its tag is strong and equal."""
        self.assertTrue(holds_if_range(None, BLOB))
        self.assertTrue(holds_if_range(TAG.encode(), BLOB))
        for value in (OTHER, f"W/{TAG}", "", "*", TAG.strip('"'), f"{TAG}, {OTHER}", '"'):
            self.assertFalse(holds_if_range(value.encode(), BLOB), value)

    def test_date(self) -> None:
        """A date never holds: two versions can have the same second (8.8.2.2)."""
        for value in (DATE, BEFORE, AFTER):
            self.assertFalse(holds_if_range(value.encode(), BLOB), value)
