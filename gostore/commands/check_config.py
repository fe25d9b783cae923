"""``gostore check-config``: whether a configuration file would be accepted."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from gostore.access.file import read_rules
from gostore.commands.statuses import CANNOT
from gostore.daemon.config_file import SECTION, BadSetting, parse_config
from gostore.daemon.contradictions import contradiction, objection
from gostore.daemon.parsers import absolute
from gostore.daemon.settings import Settings, make_settings
from gostore.ini import BadFile, read_ini


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
        settings = make_settings(parse_config(text, parsed.file))
        if said := contradiction(settings):
            raise BadSetting(f"{parsed.file}: {said}")
        if settings.access is not None:
            _check_access(settings, text, parsed.file)
    except (BadSetting, BadFile) as error:
        print(f"gostore: {error}", file=sys.stderr)
        return CANNOT
    print(f"{parsed.file} is fine")
    return 0


def _check_access(settings: Settings, text: str, file: str) -> None:
    """Read the access file that a configuration names. Raises BadFile, with the line that does."""
    path = str(settings.access)
    try:
        rules = read_rules(absolute(path))
        if said := objection(settings, rules):
            raise BadFile(path, 0, said)
    except ValueError as error:
        section = next(each for each in read_ini(text, file) if each.name == SECTION)
        line = section.entries["access"].line
        raise BadFile(file, line, f"access: {error}") from error
