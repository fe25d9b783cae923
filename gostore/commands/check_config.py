"""``gostore check-config``: whether a configuration file would be accepted."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from gostore.commands.terminal import CANNOT
from gostore.daemon.settings import BadSetting, parse_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.description = (
        "Reads a configuration file as the daemon does at a start and at a SIGHUP, its certificates"
        " and keys included, and says what is wrong with it."
    )
    parser.add_argument("file", metavar="FILE", help="the file for --config")


def run(parsed: argparse.Namespace) -> int:
    """Check it; the status is 0 if it is fine, else 2. Raises OSError if nobody can read it."""
    text = Path(parsed.file).read_text(encoding="utf-8-sig", errors="surrogateescape")
    try:
        parse_config(text, parsed.file)
    except BadSetting as error:
        print(f"gostore: {error}", file=sys.stderr)
        return CANNOT
    print(f"{parsed.file} is fine")
    return 0
