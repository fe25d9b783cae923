"""What a verb asks of whoever carries it out: one exchange, or a pause.

A verb is a generator of these steps, so that it knows no socket and no event loop. Client carries
it out with requests, AsyncClient with treq.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import TypeVar

from attrs import Factory, frozen

from gostore.client.address import Address, encode_query
from gostore.client.sources import Source

T = TypeVar("T")


@frozen
class Ask:
    """One request. ``location`` is None for the list; ``query`` is not encoded yet.

    ``upload`` is the number of an unfinished upload to that location, "" to begin one: it is asked
    for in place of the blob.
    """

    method: str
    location: str | None
    query: Mapping[str, str] = Factory(dict)
    fields: Mapping[str, str] = Factory(dict)
    source: Source | None = None
    upload: str | None = None

    def url(self, daemon: Address) -> str:
        """What is asked for, with its query."""
        if self.upload is not None and self.location is not None:
            return daemon.of_upload(self.upload, self.location)
        url = daemon.of(self.location)
        return f"{url}?{encode_query(self.query)}" if self.query else url


@frozen
class Answer:
    """The answer to a request: field names in lower case, and the body."""

    code: int
    fields: Mapping[str, str]
    body: bytes = b""


@frozen
class Pause:
    """Nothing, for so many seconds."""

    seconds: float


#: Yields steps. It is sent the answer to each Ask, or a Lost is raised in it.
Verb = Generator[Ask | Pause, Answer | None, T]
