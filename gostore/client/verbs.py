"""What each verb sends, what the answers mean, and what is tried again.

Reads, PUT and DELETE may be repeated. If the answer to a write is lost, the next attempt finds
either what the lost one did or what was there before. So before a write is repeated, and before a
refusal of a repeated one is believed, a HEAD looks at the location: if the blob there has the
digest of what was sent, the write was done.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from urllib.parse import parse_qs, urlsplit

from attrs import evolve, frozen

from gostore.client.address import check_location
from gostore.client.errors import (
    AlreadyExists,
    BadAnswer,
    BadLocation,
    Changed,
    ClientError,
    ConditionFailed,
    Damaged,
    Lost,
    NoRoom,
    NotFound,
    Refused,
    Unavailable,
    Unreachable,
)
from gostore.client.patience import Patience, Pauses, seconds_asked
from gostore.client.sources import Source, Stored
from gostore.client.steps import Answer, Ask, Pause, Verb
from gostore.client.values import (
    Blob,
    Version,
    blob_of,
    entries_of,
    length_of,
    repr_digest,
    said_in,
    sha256_of,
    versions_of,
)

_ERRORS: Mapping[int, type[ClientError]] = {
    401: Refused,
    403: Refused,
    404: NotFound,
    408: Unavailable,
    409: AlreadyExists,
    412: ConditionFailed,
    413: NoRoom,
    416: BadAnswer,
    423: Unavailable,
    429: Unavailable,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
    507: NoRoom,
}

#: Answers that say so of themselves: another attempt may do better.
_AGAIN = frozenset({408, 423, 429, 502, 503, 504})

#: Answers to a write that leave open whether it was done.
_UNSURE = frozenset({500, 502, 504})

#: A larger body is sent only after a HEAD has shown which verb it takes.
_LARGE = 64 * 1024

#: A blob that was damaged says so in words alone.
_DAMAGED = " is damaged"

_NAMES = {401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 502: "Bad Gateway"}


def error_of(answer: Answer, what: str) -> ClientError:
    """The error that an answer is; ``what`` says what was asked for, if the answer does not."""
    said = said_in(answer.body)
    if answer.code == 500 and said is not None and _DAMAGED in said:
        return Damaged(said, answer.code)
    kind = _ERRORS.get(answer.code, ClientError)
    name = f" {_NAMES[answer.code]}" if answer.code in _NAMES else ""
    return kind(said or f"{what}: the answer is {answer.code}{name}", answer.code)


def ask_safely(ask: Ask, patience: Patience) -> Verb[tuple[Answer, bool]]:
    """Ask until there is an answer that another attempt will not change.

    Also return whether an earlier attempt may have been carried out. Only for what may be repeated.
    """
    pauses, is_unsure = Pauses(patience), False
    while True:
        answer, problem = yield from attempt(ask)
        if answer is not None and answer.code not in _AGAIN:
            return answer, is_unsure
        is_unsure = is_unsure or may_be_done(answer, problem)
        yield from wait(pauses, ask, answer, problem)


def attempt(ask: Ask) -> Generator[Ask | Pause, Answer | None, tuple[Answer | None, Lost | None]]:
    """Ask once: return the answer, or why there is none."""
    try:
        return (yield ask), None
    except Lost as problem:
        return None, problem


def may_be_done(answer: Answer | None, problem: Lost | None) -> bool:
    """Whether a write that ended so may have been carried out."""
    if answer is None:
        return problem is not None and problem.reached
    return answer.code in _UNSURE


def wait(pauses: Pauses, ask: Ask, answer: Answer | None, problem: Lost | None) -> Verb[None]:
    """Pause before the next attempt, or raise what the last one ended with."""
    asked, reached = None, True
    if answer is not None:
        asked = seconds_asked(answer.fields.get("retry-after"))
    elif problem is not None:
        reached = problem.reached
    seconds = pauses.next(asked, reached=reached)
    if seconds is None:
        raise final(ask, answer, problem)
    yield Pause(seconds)


def final(ask: Ask, answer: Answer | None, problem: Lost | None) -> ClientError:
    """The error for a request that ended so."""
    if answer is not None:
        return error_of(answer, _named(ask))
    return Unreachable(str(problem))


def is_passing(answer: Answer) -> bool:
    """Whether another attempt may get another answer."""
    return answer.code in _AGAIN


def _named(ask: Ask) -> str:
    return f"{ask.method} {ask.location or 'the list'}"


# -- reading --------------------------------------------------------------------------------------


def stat(location: str, patience: Patience, query: Mapping[str, str]) -> Verb[Blob]:
    """What the head of a blob says. Raises NotFound, Damaged and others."""
    ask = Ask("HEAD", check_location(location), query)
    answer, _ = yield from ask_safely(ask, patience)
    if answer.code == 200:
        size = length_of(answer.fields)
        if size is None:
            raise BadAnswer(f"The answer does not tell the size of {location}")
        return blob_of(location, answer.fields, size)
    if answer.code not in (404, 412):
        # The answer to a HEAD has no body, so only a GET tells why.
        reason, _ = yield from ask_safely(
            Ask("GET", location, query, {"Range": "bytes=0-0"}), patience
        )
        answer = answer if reason.code < 400 else reason
    if answer.code == 404:
        raise NotFound(f"{location} does not exist", 404)
    raise error_of(answer, _named(ask))


def read_part(blob: Blob, start: int, end: int, patience: Patience) -> Verb[bytes]:
    """The bytes from ``start`` up to, not including, ``end`` of a blob as `stat` found it.

    Raises Changed if there is another version by now. Nothing but the length can be verified: the
    digest is that of the whole blob.
    """
    location, etag, end = blob.location, blob.etag, min(end, blob.size)
    if etag is None:
        raise BadAnswer(f"The daemon does not tell the version of {location}")
    if end <= start:
        return b""
    fields = {"Range": f"bytes={start}-{end - 1}", "If-Match": etag}
    ask = Ask("GET", check_location(location), {}, fields)
    answer, _ = yield from ask_safely(ask, patience)
    if answer.code == 200 and answer.fields.get("etag") == etag:
        # A server may ignore Range.
        return answer.body[start:end]
    if answer.code == 412:
        raise Changed(f"{location} changed since it was looked at", 412)
    if answer.code != 206:
        raise error_of(answer, _named(ask))
    said = answer.fields.get("content-range", "")
    if not said.startswith(f"bytes {start}-{end - 1}/") or len(answer.body) != end - start:
        raise BadAnswer(f"The answer has other bytes of {location} than those asked for")
    if answer.fields.get("etag") != etag:
        raise BadAnswer(f"The answer has another version of {location} than the one asked for")
    return answer.body


def list_page(
    prefix: str, delimiter: str, after: str, limit: int, patience: Patience
) -> Verb[tuple[list[Blob | str], str | None]]:
    """One page of the list, and what the next one comes after; None if this is the last."""
    query = {
        "format": "json",
        "prefix": prefix,
        "delimiter": delimiter,
        "after": after,
        "limit": str(limit),
    }
    answer, following = yield from _page(query, after, patience, "GET the list")
    return entries_of(answer.body), following


def _page(
    query: dict[str, str], after: str, patience: Patience, what: str
) -> Verb[tuple[Answer, str | None]]:
    """Ask for the page of a list, and what the next one comes after; ``what`` is for people."""
    answer, _ = yield from ask_safely(Ask("GET", None, query), patience)
    if answer.code != 200:
        raise error_of(answer, what)
    following = _following(answer.fields.get("link"), "after")
    # A list that never ends would be asked for for ever.
    if following is not None and following.encode("utf-8") <= after.encode("utf-8"):
        raise BadAnswer("The next page of the list does not come after this one")
    return answer, following


def _following(link: str | None, name: str) -> str | None:
    """Where the next page begins. No link is followed elsewhere: it could get the token."""
    if link is None or not link.startswith("<") or 'rel="next"' not in link:
        return None
    target = link[1:].partition(">")[0]
    return parse_qs(urlsplit(target).query, keep_blank_values=True).get(name, [None])[0]


# -- writing --------------------------------------------------------------------------------------


@frozen
class Expected:
    """What a write expects at its location: nothing, the version with a tag, or whatever."""

    nothing: bool = False
    etag: str | None = None

    def __attrs_post_init__(self) -> None:
        if self.nothing and self.etag is not None:
            raise ValueError("Nothing is there to match if the blob is to be created")


ANYTHING = Expected()


def write(ask: Ask, patience: Patience) -> Verb[Blob]:
    """Send a body until it is stored, or refused for a reason that stays."""
    source = ask.source
    assert source is not None and ask.location is not None
    if source.sha256 is not None and not isinstance(source, Stored):
        # The daemon stores nothing else.
        digest = repr_digest(source.sha256)
        ask = Ask(ask.method, ask.location, {}, {**ask.fields, "Repr-Digest": digest}, source)
    pauses, is_unsure = Pauses(patience), False
    while True:
        answer, problem = yield from attempt(ask)
        if answer is not None and answer.code in (200, 204):
            return stored(ask, answer)
        is_unsure = is_unsure or may_be_done(answer, problem)
        if is_unsure:
            done, is_empty = yield from settle(ask, patience)
            if done is not None:
                return done
            # Refused, and yet empty: the attempt whose answer was lost may still be at work.
            is_open = is_empty and answer is not None and answer.code in (409, 412)
        else:
            is_open = False
        is_final = answer is not None and answer.code not in _AGAIN and not is_open
        if is_final or not (source.is_repeatable or _is_untouched(source, answer, problem)):
            raise final(ask, answer, problem)
        yield from wait(pauses, ask, answer, problem)


def settle(ask: Ask, patience: Patience) -> Verb[tuple[Blob | None, bool]]:
    """The blob that a write stored whose answer was lost; and whether the location has none."""
    assert ask.source is not None and ask.location is not None
    answer, _ = yield from ask_safely(Ask("HEAD", ask.location), patience)
    if answer.code == 200 and ask.source.sha256 is not None:
        size = length_of(answer.fields)
        if size is not None and sha256_of(answer.fields) == ask.source.sha256:
            return blob_of(ask.location, answer.fields, size), False
    return None, answer.code == 404


def _is_untouched(source: Source, answer: Answer | None, problem: Lost | None) -> bool:
    """Whether nothing was read yet of a source that can be read once only."""
    return answer is None and problem is not None and not problem.reached


def stored(ask: Ask, answer: Answer) -> Blob:
    """The blob that a write made; raises Damaged if it is not what was sent."""
    assert ask.source is not None and ask.location is not None
    source, got = ask.source, sha256_of(answer.fields)
    if got is None:
        raise BadAnswer(f"The answer does not tell the digest of {ask.location}")
    # What is copied may have changed since it was looked at; the daemon verifies it.
    if got != source.sha256 and not isinstance(source, Stored):
        raise Damaged(f"{ask.location} was not stored as it was sent", answer.code)
    return Blob(ask.location, source.size or 0, answer.fields.get("etag"), got)


#: Sends one request that stores a blob, as often as it takes.
Write = Callable[[Ask, Patience], Verb[Blob]]


def put(
    ask: Ask,
    patience: Patience,
    expected: Expected = ANYTHING,
    write: Write = write,
) -> Verb[Blob]:
    """Store a blob, in place of the one that is there, if any.

    ``ask`` says where, from which source, and with which fields. The verb is chosen by what is
    there: PUT replaces, and with If-None-Match it creates. ``write`` sends one request for it.
    Raises AlreadyExists and ConditionFailed if the location does not have what is expected.
    """
    location, source, fields = ask.location, ask.source, ask.fields
    assert location is not None and source is not None
    check_location(location)
    if expected.nothing:
        return (yield from write(evolve(ask, method="POST"), patience))
    if expected.etag is not None:
        replaces = evolve(ask, method="PUT", fields={**fields, "If-Match": expected.etag})
        return (yield from write(replaces, patience))
    creates = evolve(ask, method="PUT", fields={**fields, "If-None-Match": "*"})
    replaces = evolve(ask, method="PUT")
    is_there = False
    if source.size is None or source.size > _LARGE:
        looked, _ = yield from ask_safely(Ask("HEAD", location), patience)
        is_there = looked.code != 404
    while True:
        try:
            return (yield from write(replaces if is_there else creates, patience))
        except NotFound:
            if not is_there:
                raise
        except ConditionFailed:
            if is_there:
                raise
        if not source.is_repeatable:
            raise ConditionFailed(f"Somebody else writes {location} at the same time")
        is_there = not is_there


def copy(
    source: str, location: str, patience: Patience, expected: Expected = ANYTHING
) -> Verb[Blob]:
    """Have the daemon copy a blob to a location; see `put`. Raises NotFound without a source."""
    found = yield from stat(source, patience, {})
    ask = Ask("PUT", location, {"from": source}, {}, Stored(source, found.sha256))
    copied = yield from put(ask, patience, expected)
    if copied.sha256 == found.sha256:
        return evolve(copied, size=found.size, content_type=found.content_type)
    return (yield from stat(location, patience, {}))


def move(
    source: str, location: str, patience: Patience, expected: Expected = ANYTHING
) -> Verb[Blob]:
    """Copy a blob, and delete its source unless that has changed meanwhile (Changed).

    Readers see the blob at its source, then at both, then at the new location: never at neither.
    """
    if source == location:
        raise BadLocation(f"{source} is there already")
    copied = yield from copy(source, location, patience, expected)
    try:
        yield from delete(source, patience, copied.etag)
    except (NotFound, ConditionFailed):
        raise Changed(f"{source} changed while it was moved; {location} has a copy") from None
    return copied


def restore(location: str, version: int, patience: Patience, expected: Expected) -> Verb[None]:
    """Make a version current again; with ``expected.etag`` only in place of that one."""
    found = yield from stat(location, patience, {"version": str(version)})
    fields = {} if expected.etag is None else {"If-Match": expected.etag}
    source = Stored(location, found.sha256)
    yield from write(Ask("POST", location, {"restore": str(version)}, fields, source), patience)


def deleted_page(
    prefix: str, after: str, patience: Patience
) -> Verb[tuple[list[Version], str | None]]:
    """One page of what was deleted and can be restored, and what the next one comes after."""
    query = {"deleted": "", "format": "json", "prefix": prefix, "after": after}
    answer, following = yield from _page(query, after, patience, "GET what was deleted")
    return versions_of(answer.body), following


def history_page(
    location: str, before: str | None, patience: Patience
) -> Verb[tuple[list[Version], str | None]]:
    """Some versions of a location, newest first, and what the older ones come before."""
    query = {"history": "", "format": "json"}
    if before is not None:
        query["before"] = before
    ask = Ask("GET", check_location(location), query)
    answer, _ = yield from ask_safely(ask, patience)
    if answer.code != 200:
        raise error_of(answer, _named(ask))
    following = _following(answer.fields.get("link"), "before")
    versions = versions_of(answer.body)
    if following is not None and not (versions and following == str(versions[-1].version)):
        raise BadAnswer("The next page of the history does not come before this one")
    return versions, following


def delete(location: str, patience: Patience, if_match: str | None = None) -> Verb[None]:
    """Delete a blob. Raises NotFound, unless an earlier attempt may have deleted it."""
    fields = {} if if_match is None else {"If-Match": if_match}
    ask = Ask("DELETE", check_location(location), {}, fields)
    answer, is_unsure = yield from ask_safely(ask, patience)
    if answer.code not in (200, 204) and not (answer.code == 404 and is_unsure):
        raise error_of(answer, _named(ask))
