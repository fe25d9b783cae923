"""A request that is answered with an error before the store is asked."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import Factory, define


@define
class Refusal(Exception):
    """An answer that is an error: its status code, a sentence for people, and headers of its own.

    ``text`` has nothing of the request in it. Header names are lower case.
    """

    code: int
    text: str
    headers: Mapping[bytes, bytes] = Factory(dict)

    def __str__(self) -> str:
        return self.text
