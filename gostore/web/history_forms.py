"""The history of a location, and the list of what was deleted, in the three forms of the list."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from attrs import frozen

from gostore.blob import DEFAULT_TYPE
from gostore.store.versions import Version
from gostore.text import format_time
from gostore.web.fields.locations import STORE, reference
from gostore.web.list_forms import TAB, Form, on_one_line
from gostore.wire import json_line


@frozen
class Heading:
    """What a page is about: its title, and the directory that its path is in.

    ``locations`` says whether its versions are of several locations.
    """

    title: str
    directory: str
    locations: bool = False


def write(versions: Sequence[Version], form: Form, heading: Heading, more: str | None) -> bytes:
    """Write a page of versions; ``more`` is the reference to the next one."""
    if form.name == "json":
        text = (
            "[\n" + ",\n".join(json_line(each.members(_until(each))) for each in versions) + "\n]\n"
        )
    elif form.name == "text":
        text = "".join(map(_line, versions))
    else:
        text = _page(versions, heading, more)
    return text.encode()


def _line(version: Version) -> str:
    """Columns separated by tabs, as in the list; a version that is current has six of them."""
    blob, ending = version.blob, version.ending
    columns = [
        on_one_line(blob.location),
        str(blob.generation),
        str(blob.size),
        version.etag or "-",
        format_time(blob.modified),
        on_one_line((blob.content_type or DEFAULT_TYPE).replace(TAB, " ")),
    ]
    if ending is not None:
        columns += [ending.by.value, format_time(ending.when), _until(version)]
    return TAB.join(columns) + "\n"


def _page(versions: Sequence[Version], heading: Heading, more: str | None) -> str:
    title = escape(heading.title)
    rows = "".join(_row(each, heading) for each in versions)
    link = f'<p><a rel="next" href="{escape(more)}">More</a>\n' if more else ""
    first = "Location" if heading.locations else "Version"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<meta charset="utf-8">\n'
        f"<title>{title}</title>\n<h1><bdi>{title}</bdi></h1>\n<table>\n"
        f"<tr><th>{first}<th>Size<th>Created<th>Type<th>Ended<th>Kept until\n"
        f"{rows}</table>\n{link}</html>\n"
    )


def _row(version: Version, heading: Heading) -> str:
    blob, ending = version.blob, version.ending
    href = f"{reference(blob.location, heading.directory)}?version={blob.generation}"
    name = blob.location if heading.locations else str(blob.generation)
    ended = "" if ending is None else f"{ending.by.value} {format_time(ending.when)}"
    return (
        f'<tr><td><a href="{href}"><bdi>{escape(name)}</bdi></a><td>{blob.size}'
        f"<td>{format_time(blob.modified)}<td>{escape(blob.content_type or DEFAULT_TYPE)}"
        f"<td>{ended}<td>{'' if ending is None else _until(version)}\n"
    )


def _until(version: Version) -> str:
    """When a version may be collected."""
    if version.until is None:
        return "forever"
    try:
        return format_time(version.until)
    except ValueError:  # after the year 9999
        return "forever"


def title_of(location: str) -> str:
    """The title of a location's history."""
    return f"{STORE}{location}"
