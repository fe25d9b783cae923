"""The man page, made of what --help is made of: ``python -m gostore.commands.manual``."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import click

from gostore import __version__
from gostore.client.cli.program import program
from gostore.commands.main import COMMANDS, parser_of

PAGE = Path(__file__).parent.parent.parent / "docs" / "gostore.1"

_HEAD = r"""\" Made by python -m gostore.commands.manual. Do not edit it.
.TH GOSTORE 1 "" "gostore {version}" "User Commands"
.SH NAME
gostore \- store blobs at a daemon, fetch them, and look after its directory or bucket
.SH SYNOPSIS
.B gostore
.I COMMAND
.RI [ ARGUMENTS ]
.SH DESCRIPTION
The first commands ask a daemon
.RB ( "twistd gostore" ).
They name a blob by its URL, or as
.I :LOCATION
at the daemon of GOSTORE_URL, or of the section [remote default] of ~/.config/gostore/config.
The others work on a data directory
.RB ( \-\-dir )
or on an S3 bucket
.RB ( \-\-store )
itself, or on the configuration of a daemon.
A directory has one daemon, and some of these commands need it to be stopped.
Any number of daemons share a bucket, and all commands but migrate may run beside them.
"""

_FOOT = r""".SH EXIT STATUS
.TP
.B 0
All was done.
.TP
.B 1
Something that was asked for was not done, or the command was interrupted;
for a directory or a bucket: something is damaged, lost, or still to be moved there.
.TP
.B 2
The arguments make no sense; for a directory or a bucket: it cannot be done, or was interrupted.
.TP
.B 3
No daemon answers.
.TP
.B 4
The daemon refuses the credentials, or has none.
.TP
.B 5
There is no such blob, or none below the prefix.
.TP
.B 6
A condition does not hold.
.TP
.B 7
There is no room.
.TP
.B 8
Something is damaged.
.SH ENVIRONMENT
.TP
.B GOSTORE_URL
The daemon.
.TP
.B GOSTORE_TOKEN
The token for it.
.TP
.B GOSTORE_TOKEN_FILE
The file that has the token.
.TP
.BR AWS_ACCESS_KEY_ID ", " AWS_SECRET_ACCESS_KEY ", " AWS_SESSION_TOKEN
The credentials for a bucket.
.TP
.B AWS_PROFILE
The profile in ~/.aws that has them; \-\-s3\-profile comes before both.
Without either they are those of the web identity, the container or the machine.
.TP
.B AWS_REGION
The region of the bucket, if \-\-s3\-region does not say it.
.SH FILES
.TP
.I ~/.config/gostore/config
Daemons by name.
.TP
.I ~/.netrc
Credentials, if there is no token.
.TP
.IR ~/.aws/credentials ", " ~/.aws/config
Credentials for a bucket, by profile.
"""


def page() -> str:
    """The man page, in the language of troff."""
    lines = ['.\\"' + _HEAD[2:].format(version=__version__).rstrip("\n")]
    lines.append(".SH COMMANDS THAT ASK A DAEMON")
    for name in sorted(program.commands):
        lines += _asking(name, program.commands[name])
    lines.append(".SH COMMANDS FOR A DIRECTORY OR A BUCKET")
    for name in COMMANDS:
        lines += _working(name)
    lines.append(_FOOT.rstrip("\n"))
    return "\n".join(lines) + "\n"


def _asking(name: str, command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=name)
    usage = " ".join(command.collect_usage_pieces(context))
    yield from _begin(f"{name} {usage}", command.help or "")
    for param in command.params:
        record = param.get_help_record(context)
        if isinstance(param, click.Option) and record is not None:
            yield from _option(*record)


def _working(name: str) -> Iterator[str]:
    parser = parser_of(name)
    usage = " ".join(parser.format_usage().split()).removeprefix("usage: gostore ")
    yield from _begin(usage, parser.description or COMMANDS[name])
    for action in parser._actions:
        if action.option_strings and not isinstance(action, argparse._HelpAction):
            shown = ", ".join(action.option_strings)
            if action.nargs != 0:
                shown += f" {action.metavar or action.dest.upper()}"
            yield from _option(shown, action.help or "")


def _begin(usage: str, description: str) -> Iterator[str]:
    yield f".SS {_text(usage)}"
    for number, paragraph in enumerate(description.split("\n\n")):
        if number:
            yield ".PP"
        yield _text(" ".join(paragraph.replace("\b", "").split()))


def _option(shown: str, text: str) -> Iterator[str]:
    yield ".TP"
    yield f".B {_text(shown)}"
    yield _text(" ".join(text.split()))


def _text(text: str) -> str:
    """A text whose characters mean nothing to troff."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\(ga")
    return re.sub(r"^([.'])", r"\\&\1", text)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
