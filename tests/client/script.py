"""Carries out the steps of a verb against answers that a test has written down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from gostore.client.errors import Lost
from gostore.client.steps import Answer, Ask, Pause, Verb

T = TypeVar("T")


def answer(code: int, body: bytes | str = b"", **fields: str) -> Answer:
    """An answer; ``repr_digest`` stands for the field repr-digest."""
    named = {name.replace("_", "-"): text for name, text in fields.items()}
    return Answer(code, named, body.encode() if isinstance(body, str) else body)


def head(data: bytes, **more: str) -> Mapping[str, str]:
    """What the head of a blob with these bytes says of it."""
    import hashlib

    digest = hashlib.sha256(data).hexdigest()
    return {"content_length": str(len(data)), "etag": f'"{digest}"', **more}


def play(verb: Verb[T], answers: Sequence[Answer | Lost]) -> tuple[T, list[Ask], list[float]]:
    """What the verb returns, what it asked, and the seconds that it paused.

    An AssertionError says that it asks more or less often than there are answers.
    """
    asked: list[Ask] = []
    pauses: list[float] = []
    left = list(answers)
    try:
        step = next(verb)
        while True:
            if isinstance(step, Pause):
                pauses.append(step.seconds)
                step = next(verb)
                continue
            asked.append(step)
            if step.source is not None:
                for _ in step.source.pieces():
                    pass
            assert left, f"nobody expects {step}"
            given = left.pop(0)
            step = verb.throw(given) if isinstance(given, Lost) else verb.send(given)
    except StopIteration as stop:
        assert not left, f"it never asked for {left}"
        result: T = stop.value
        return result, asked, pauses
