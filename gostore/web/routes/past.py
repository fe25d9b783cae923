"""What was at a location: its history, one version, and a version that becomes current again.

A query asks for it, on the paths of the blobs and of the list; so these are called by their routes.
"""

from __future__ import annotations

from urllib.parse import urlencode

from attrs import frozen

from gostore import errors
from gostore.blob import Committed, EndedBy, check_location
from gostore.store.interface import Content, Precondition, Seek
from gostore.store.versions import Past, Restore, told_by
from gostore.text import format_time
from gostore.web.answers import Answer, Refusal
from gostore.web.fields.locations import directory_of, parse_query
from gostore.web.history_forms import Heading, title_of, write
from gostore.web.list_forms import FORMS, Form, form_for, page_fields
from gostore.wire import Request

DEFAULT_LIMIT = 1000

MAX_LIMIT = 1000
"""The most versions on a page: each is read from its record."""


@frozen
class Asked:
    """What the query of a location asks for: its ``history``, or one ``version``; else neither."""

    history: bool = False
    version: int | None = None
    before: int | None = None
    limit: int = DEFAULT_LIMIT
    format: str | None = None


def asked_of(query: str) -> Asked | None:
    """Read what the query of a GET asks of the past; None if it is about something else.

    Raises Refusal (400).
    """
    if "history" not in query and "version" not in query:
        return None
    parameters = parse_query(query)
    if "history" in parameters:
        _check(parameters, ("history", "before", "limit", "format"))
        return Asked(
            history=True,
            before=_number(parameters, "before"),
            limit=min(_number(parameters, "limit") or DEFAULT_LIMIT, MAX_LIMIT),
            format=parameters.get("format"),
        )
    if "version" in parameters:
        _check(parameters, ("version",))
        return Asked(version=_number(parameters, "version"))
    return None


WORDS = frozenset({"history", "version", "restore", "deleted", "from"})
"""What a query on the path of a blob may ask for; anything else in it does not count."""


def check_words(query: str, method: str, *known: str) -> None:
    """Refuse (400) what this method cannot do: without the word it would do something else."""
    words = {part.partition("=")[0] for part in query.split("&")} & WORDS
    if unknown := sorted(words - set(known)):
        raise Refusal(400, f"A {method} of a location knows no ?{unknown[0]}; nothing was done")


def restored_of(query: str) -> int | None:
    """The version that a POST is to make current again; None if it is an upload.

    Raises Refusal (400).
    """
    if "restore" not in query:
        return None
    parameters = parse_query(query)
    if "restore" not in parameters:
        return None
    _check(parameters, ("restore",))
    return _number(parameters, "restore")


def source_of(query: str) -> str | None:
    """The location whose blob a POST or PUT is to copy; None if it is an upload.

    Raises Refusal (400, 414).
    """
    if "from" not in query:
        return None
    parameters = parse_query(query)
    if "from" not in parameters:
        return None
    _check(parameters, ("from",))
    source = parameters["from"]
    try:
        check_location(source)
    except ValueError as reason:
        raise Refusal(400, f"from is no location: {reason}") from None
    return source


def _check(parameters: dict[str, str], known: tuple[str, ...]) -> None:
    if not parameters.keys() <= set(known):
        others = f" beside {', '.join(known[1:])}" if known[1:] else ""
        raise Refusal(400, f"The query has an unknown parameter; ?{known[0]} knows none{others}")


def _number(parameters: dict[str, str], name: str) -> int | None:
    text = parameters.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise Refusal(400, f"The {name} is not a whole number")
    return int(text)


class PastRoutes:
    """Answers what is asked of the past of a store."""

    def __init__(self, past: Past) -> None:
        self._past = past

    async def history(self, request: Request, location: str, asked: Asked) -> Answer:
        """All that is known of a location, newest first; 404 if that is nothing."""
        form = _form(request, asked.format)
        versions = await self._past.history(location, asked.before, asked.limit + 1)
        more = None
        if len(versions) > asked.limit:
            del versions[asked.limit :]
            before = {"before": versions[-1].blob.generation, "limit": asked.limit}
            more = f"?history&{urlencode({**before, 'format': form.name})}"
        heading = Heading(title_of(location), directory_of(request.path))
        return _answer(form, write(versions, form, heading, more), more)

    async def version(self, location: str, generation: int) -> tuple[Committed, Content]:
        """Open one version."""
        return await self._past.version(location, generation)

    async def restore(
        self, location: str, restore: Restore, precondition: Precondition | None
    ) -> tuple[Committed, bool]:
        """Make a version current again."""
        return await self._past.restore(location, restore, precondition)

    async def deleted(self, request: Request, seek: Seek | None) -> Answer:
        """The locations that have nothing but a history, which can be restored."""
        parameters = parse_query(request.query)
        _check(parameters, ("deleted", "prefix", "after", "limit", "format"))
        form = _form(request, parameters.get("format"))
        prefix, after = parameters.get("prefix", ""), parameters.get("after", "")
        limit = min(_number(parameters, "limit") or DEFAULT_LIMIT, MAX_LIMIT)
        page = await self._past.deleted(prefix, after, limit, seek)
        more = None
        if page.next_after is not None:
            rest = {"prefix": prefix, "after": page.next_after, "limit": limit}
            more = f"?deleted&{urlencode({**rest, 'format': form.name})}"
        heading = Heading(f"{title_of(prefix)}, deleted", "", locations=True)
        return _answer(form, write(page.versions, form, heading, more), more)

    async def last_words(self, error: errors.NotFound) -> errors.StoreError | Refusal:
        """What a 404 says of a location that was deleted, if what it had can be restored."""
        try:
            newest, *_ = await self._past.history(error.location, None, 1)
        except errors.StoreError:
            return error
        ending = newest.ending
        if ending is None or ending.by is EndedBy.REPLACED:
            return error  # it has got a blob meanwhile
        principal, request = told_by(ending.origin)
        who = f" by {principal}" if principal else ""
        by_request = f" (request {request})" if request else ""
        how = "deleted" if ending.by is EndedBy.DELETED else "removed, since it had expired"
        text = (
            f"{error}: it was {how} at {format_time(ending.when)}{who}{by_request};"
            f" POST it with ?restore={newest.blob.generation} to bring it back"
        )
        return Refusal(404, text)


def _form(request: Request, name: str | None) -> Form:
    if name is None:
        return form_for(request.headers.get(b"accept"), request.headers.get(b"user-agent"))
    if name not in FORMS:
        raise Refusal(400, f"The format is none of {', '.join(FORMS)}")
    return FORMS[name]


def _answer(form: Form, body: bytes, more: str | None) -> Answer:
    return Answer(200, page_fields(form, more), body)
