"""How names, sizes and times are shown to people."""

from __future__ import annotations

import re
from html import escape

from gostore.text import format_time

# What turns the direction of text around, or takes no place: such a name may look like another.
_HIDDEN = re.compile("[\x80-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2064\u2066-\u206f\ufeff]")

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def shown(name: str) -> str:
    """A name as HTML: isolated from the text around it, and with what is hidden in it visible."""
    marked = _HIDDEN.sub(lambda found: f"\0{ord(found[0]):04X}\1", name)
    text = escape(marked).replace("\0", '<span class="hidden-char">U+').replace("\1", "</span>")
    return f'<bdi dir="auto">{text}</bdi>'


def size_in_words(size: int) -> str:
    """A size as "12 B" or "3.4 MiB"."""
    value, unit = float(size), 0
    while value >= 999.95 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{size} B" if not unit else f"{value:.1f} {_UNITS[unit]}"


def time_in_words(nanoseconds: int) -> str:
    """A time as HTML: to the minute for people, and whole for programs; in UTC."""
    whole = format_time(nanoseconds)
    return f'<time datetime="{whole}">{whole[:10]} {whole[11:16]}</time>'
