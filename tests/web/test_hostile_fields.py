"""Every header field with hostile values: an answer below 500, and no traceback."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.daemon import SOAK
from tests.web.hostile import (
    METHODS,
    TARGETS,
    VALUES,
    Served,
    fields_of,
    known_fields,
)

FRAMING = {"content-length", "transfer-encoding"}
ANY_FIELD = st.tuples(
    st.sampled_from(known_fields()),
    st.binary(max_size=60).map(lambda value: next(fields_of(b"\0" + value, ["x"]))[1])
    | st.sampled_from(VALUES),
)


class HostileFieldsTests(SynchronousTestCase):
    """What a client may write into a field."""

    def test_known(self) -> None:
        """The fields are found in the source, so a new one is played as soon as it is read."""
        self.assertLessEqual(
            {
                "accept", "range", "if-range", "if-match", "if-none-match", "if-modified-since",
                "if-unmodified-since", "content-md5", "content-digest", "repr-digest", "host",
                "content-type", "content-range", "expect", "connection", "user-agent",
                "x-gostore-meta-", *FRAMING,
            },
            set(known_fields()),
        )  # fmt: skip

    def test_each(self) -> None:
        """Each field with each value is answered below 500, and logs nothing."""
        served = Served()
        requests = [("GET", "/store/a"), ("PUT", "/store/a"), ("GET", "/store/")]
        for number, (name, value) in enumerate(itertools.product(known_fields(), VALUES)):
            # For each commit one of the three; each field, and each value, gets all of them.
            some = requests if SOAK else [requests[(number + number // len(VALUES)) % 3]]
            for method, target in some:
                fields = [(name, value)]
                if name not in FRAMING:
                    fields.append(("content-length", b"0"))
                answer = served.ask(method, target, fields)
                if name not in FRAMING:
                    self.assertIsNotNone(answer, (method, target, fields))

    @settings(max_examples=200, deadline=None)
    @given(
        st.sampled_from(METHODS),
        st.sampled_from(TARGETS),
        st.lists(ANY_FIELD, max_size=6),
    )
    def test_any(self, method: str, target: str, fields: list[tuple[str, bytes]]) -> None:
        """Whatever several fields say together, the same holds."""
        Served().ask(method, target, fields)
