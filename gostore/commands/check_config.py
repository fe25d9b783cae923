"""``gostore check-config``: whether a configuration file would be accepted."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from gostore.access.file import read_rules
from gostore.commands.terminal import CANNOT
from gostore.daemon.parsers import absolute
from gostore.daemon.settings import BadSetting, parse_config
from gostore.ini import BadFile


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.description = (
        "Reads a configuration file as the daemon does at a start and at a SIGHUP, its certificates"
        " and keys and the access file included, and says what is wrong with it."
    )
    parser.add_argument("file", metavar="FILE", help="the file for --config")


def run(parsed: argparse.Namespace) -> int:
    """Check it; the status is 0 if it is fine, else 2. Raises OSError if nobody can read it."""
    text = Path(parsed.file).read_text(encoding="utf-8-sig", errors="surrogateescape")
    try:
        access = parse_config(text, parsed.file).get("access")
        if access is not None:
            read_rules(absolute(str(access)))
    except (BadSetting, BadFile, ValueError) as error:
        print(f"gostore: {error}", file=sys.stderr)
        return CANNOT
    print(f"{parsed.file} is fine")
    return 0
