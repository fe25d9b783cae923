"""The table of settings for people: --help, tap.conf and docs/settings.md.

``python -m gostore.daemon.reference`` writes the two files anew, in the working directory.
"""

from __future__ import annotations

from pathlib import Path
from textwrap import fill

from twisted.python.usage import docMakeChunks

from gostore.daemon.config_file import SECTION
from gostore.daemon.settings import groups

_CONF = f"""\
# The settings of gostore, each at its default. Copy this file, change what you need, and start with
#
#     twistd -n gostore --config gostore.conf
#
# The command line wins over this file. A size is a number of bytes, or 64K or 64KiB (1024 each), or
# 64KB (1000 each). A time is a number of seconds. A comment has a line of its own, and a value has
# no quotes.

[{SECTION}]
"""

_PREFIXES = """
# By prefix ----------------------------------------------------------------------------------------

# A section for each setting that may differ by prefix; the longest prefix of a location wins.
#
#     [keep]
#     photos/ = 30d
#     scratch/ = 0
#
#     [expire]
#     tmp/ = 1d max 7d
#     tmp/kept/ = never
"""

_PAGE = """\
# Settings

Every setting is an option of the command line and a line of a configuration file:

    twistd -n gostore --gc-interval 5
    twistd -n gostore --config gostore.conf

[tap.conf](../tap.conf) is a configuration file with every setting at its default, to copy and
change. The command line wins over the file. gostore refuses a mistake in either, and names the
file, the line and the reason. `twistd gostore --help` prints these tables, too.

A size is a number of bytes, or `64K` or `64KiB` (1024 each), or `64KB` (1000 each). A time is a
number of seconds. A flag (`yes` or `no` in the file) has no value on the command line:
`--put-creates`.

The address to listen on is a Twisted endpoint string (`tcp:7777`, `tcp:7777:interface=127.0.0.1`,
`unix:/run/gostore.sock`, `ssl:443:privateKey=key.pem:certKey=cert.pem`,
`systemd:domain=INET:index=0`), or a host and a port (`127.0.0.1:7777`, `:7777`, `[::1]:7777`).

In the file, a section of its own sets `keep` and `expire` by prefix; the longest prefix of a
location wins:

    [keep]
    photos/ = 30d
    scratch/ = 0

    [expire]
    tmp/ = 1d max 7d
    tmp/kept/ = never
"""


def as_options(width: int) -> str:
    """The options of --help, under their headings."""
    chunks: list[str] = []
    for heading, rows in groups():
        options = [
            {
                "long": row.name,
                "short": row.short,
                "doc": row.doc if row.flag else f"{row.doc} [default: {row.default}]",
                "optType": "flag" if row.flag else "parameter",
                "default": None,
                "dispatch": None,
            }
            for row in rows
        ]
        chunks += [f"{heading}:\n", *docMakeChunks(options, width), "\n"]
    return "".join(chunks)


def as_conf() -> str:
    """tap.conf: every setting at its default, with its description above it."""
    parts = [_CONF]
    for heading, rows in groups():
        parts.append(f"\n# {heading} {'-' * (97 - len(heading))}\n")
        for row in rows:
            lines = [row.doc, *([row.more] if row.more else [])]
            comments = (
                fill(line, 100, initial_indent="# ", subsequent_indent="# ") for line in lines
            )
            parts.append("\n{}\n{} = {}\n".format("\n".join(comments), row.name, row.default))
    return "".join([*parts, _PREFIXES])


def as_page() -> str:
    """docs/settings.md."""
    parts = [_PAGE]
    for heading, rows in groups():
        parts.append(f"\n## {heading}\n\n| setting | default | meaning |\n|---|---|---|\n")
        for row in rows:
            names = f"`--{row.name}`" + (f", `-{row.short}`" if row.short else "")
            text = f"{row.doc} {row.more}".strip().replace("|", "\\|")
            parts.append(f"| {names} | `{row.default}` | {text} |\n")
    return "".join(parts)


if __name__ == "__main__":
    Path("tap.conf").write_text(as_conf(), encoding="utf-8")
    Path("docs/settings.md").write_text(as_page(), encoding="utf-8")
