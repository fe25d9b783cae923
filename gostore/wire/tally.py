"""Counts of all answers: plain numbers, which cost little to add to, for whoever looks at them."""

from __future__ import annotations

from bisect import bisect_left

from attrs import Factory, define

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0)
"""The upper bounds of the groups of durations; one more group is above them."""

BYTES = (0, 1 << 10, 1 << 14, 1 << 16, 1 << 20, 1 << 24, 1 << 28, 1 << 32)
"""The upper bounds of the groups of sizes."""

METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT")
"""The methods that are counted apart. A client may invent any number of others."""

OTHER = "other"
"""What all others are counted under, and requests that could not be read."""


@define(eq=False)
class Counts:
    """The answers to one method with one status, by their durations and sizes.

    Repeated GETs are in ``sent`` and ``by_sent`` alone: their requests have no body, and their
    answers take no time worth measuring.
    """

    seconds: float = 0.0
    received: int = 0
    sent: int = 0
    by_seconds: list[int] = Factory(lambda: [0] * (len(SECONDS) + 1))
    by_received: list[int] = Factory(lambda: [0] * (len(BYTES) + 1))
    by_sent: list[int] = Factory(lambda: [0] * (len(BYTES) + 1))


class Tally:
    """All answers since the start, by method and status; 0 if the client went before it was sent.

    ``turned_away`` connections were too many and got 503, ``cut_off`` ones were far too many.
    """

    def __init__(self) -> None:
        self.answers: dict[tuple[str, int], Counts] = {}
        self.turned_away = self.cut_off = 0

    def of(self, method: str, code: int) -> Counts:
        """The counts for a method and a status."""
        if method not in METHODS:
            method = OTHER
        return self.answers.setdefault((method, code), Counts())

    def add(self, method: str, code: int, seconds: float, received: int, sent: int) -> None:
        """Count an answer: its duration, and the bytes of the body that came and that went out."""
        counts = self.answers.get((method, code))
        if counts is None:
            counts = self.of(method, code)
        counts.seconds += seconds
        counts.by_seconds[bisect_left(SECONDS, seconds)] += 1
        counts.sent += sent
        counts.by_sent[bisect_left(BYTES, sent)] += 1
        if received:
            counts.received += received
            counts.by_received[bisect_left(BYTES, received)] += 1
        else:
            counts.by_received[0] += 1
