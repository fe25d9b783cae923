"""Edit and try out an access file: users, tokens, grants and quotas, whether a daemon runs or not.

Each change is made under a lock, keeps everything else in the file as it is, and is refused if the
file would not load. A daemon that uses the file follows within seconds.
"""

from __future__ import annotations

import argparse
import getpass
import re
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any
from urllib.parse import quote

from gostore.access import edit
from gostore.access.file import change, others_may_read, read_rules
from gostore.access.grants import Grant, Verb, parse_grant
from gostore.access.passwords import NoBcrypt, hash_password, require_bcrypt
from gostore.access.rules import ANONYMOUS, QUOTA, Rules, check_name, parse_expiry, parse_quota
from gostore.access.tokens import digest_of, make_secret
from gostore.blob import check_location
from gostore.commands.statuses import BAD, CANNOT, GOOD
from gostore.commands.terminal import argument, read_directory
from gostore.ini import BadFile, quoted
from gostore.prefixes import ByPrefix
from gostore.text import counted, escape, printable
from gostore.volume.promise import read_promise
from gostore.volume.recovery.scan import scan
from gostore.volume.volume import Volume

Run = Callable[[argparse.Namespace], int]

_SPAN = re.compile(r"([0-9]{1,5})([hdw])")
_SECONDS = {"h": 3600, "d": 86400, "w": 7 * 86400}


class Refused(Exception):
    """The action cannot be done, for a reason of its own."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    asked = _action(actions, "check", check, "say whether a daemon would take a file")
    asked.add_argument("access", metavar="FILE")
    asked = _action(actions, "who", who, "say whether somebody may do something, and why")
    asked.add_argument("access", metavar="FILE")
    asked.add_argument("--as", dest="name", required=True, metavar="NAME", help="who is asked for")
    asked.add_argument("verb", metavar="VERB", choices=[verb.value for verb in Verb])
    asked.add_argument("location", metavar="LOCATION", nargs="?", type=_as(check_location))
    _edits(_action(actions, "list", show, "show who is in a file, and what each may do"))

    users = _group(actions, "user", "add a user, change a password, remove a user")
    edits = _edits(_action(users, "add", add_user, "add a user; asks for the password"), "NAME")
    edits.add_argument("--grant", **_GRANTS)
    change_it = _action(users, "password", change_password, "give a user another password")
    _edits(change_it, "NAME")
    _edits(_action(users, "remove", remove_user, "remove a user"), "NAME")

    tokens = _group(actions, "token", "make a token, revoke a token")
    make = _action(tokens, "add", add_token, "make a token; prints its secret, which nobody keeps")
    _edits(make, "NAME")
    make.add_argument("--grant", required=True, **_GRANTS)
    when = "the time of its end: 90d, 12h, 8w, or 2027-01-01"
    make.add_argument("--expires", metavar="WHEN", type=argument(_expiry), help=when)
    _edits(_action(tokens, "revoke", revoke_token, "revoke a token"), "NAME")

    asked = _edits(_action(actions, "quota", quota, "show the quotas and what is used, or set one"))
    asked.add_argument("--dir", "-d", help="the data directory, to show what is used")
    asked.add_argument("prefix", metavar="PREFIX", nargs="?", help="set the quota of this prefix")
    asked.add_argument("limit", metavar="SIZE", nargs="*", help="such as 500GiB, or 500GiB 10000")

    more = _edits(_action(actions, "grant", grant, "grant a user, a token or anonymous more"))
    more.add_argument("name", metavar="NAME")
    more.add_argument("grant", metavar="GRANT", type=_as(parse_grant), help="such as 'read a/'")


def run(parsed: argparse.Namespace) -> int:
    """Do what the action is."""
    action: Run = parsed.action
    try:
        return action(parsed)
    except (BadFile, NoBcrypt, Refused) as error:
        print(f"gostore: {escape(str(error))}", file=sys.stderr)
        return CANNOT


# -- what is asked --------------------------------------------------------------------------------


def check(parsed: argparse.Namespace) -> int:
    """Say whether a file is good, and what may be a mistake in it."""
    try:
        rules = read_rules(parsed.access)
    except BadFile as error:
        print(f"gostore: {escape(str(error))}", file=sys.stderr)
        return BAD
    if any(user.password for user in rules.users.values()):
        require_bcrypt()
    found = f"{counted(len(rules.users), 'user')}, {counted(len(rules.tokens), 'token')}"
    if rules.quotas:
        found += f", {counted(len(rules.quotas), 'quota')}"
    print(f"{printable(parsed.access)} is good: {found}")
    for line in _doubts(parsed.access, rules):
        print(f"gostore: {line}", file=sys.stderr)
    return GOOD


def who(parsed: argparse.Namespace) -> int:
    """Say whether a principal may do something; the status is 0 for yes and 1 for no."""
    rules, file = read_rules(parsed.access), printable(parsed.access)
    principal = rules.principals().get(parsed.name)
    if principal is None:
        raise Refused(f"nobody in {file} is called {parsed.name}")
    verb = Verb(parsed.verb)
    if parsed.location is None and verb is not Verb.METRICS:
        raise Refused(f"to {verb.value} needs a location")
    line = rules.lines.get(principal.name)
    if principal.is_over(time.time()):
        print(f"no: {principal.name} has expired; {file}, line {line}")
        return BAD
    decided = principal.deciding(verb, parsed.location or "")
    if decided is not None:
        print(f"yes: {file}, line {decided.line}: {_shown(decided)}")
        return GOOD
    where = f"{file} has no [{ANONYMOUS}]" if line is None else f"{file}, line {line}"
    print(f"no: no grant of {principal.name} covers it; {where}")
    return BAD


def show(parsed: argparse.Namespace) -> int:
    """Print each principal, and below it what it may do."""
    for principal in read_rules(parsed.access).principals().values():
        kind = "" if principal.name == ANONYMOUS else f"{principal.kind} "
        end = ""
        if principal.expires is not None:
            word = "expired" if principal.is_over(time.time()) else "expires"
            end = f", {word} {datetime.fromtimestamp(principal.expires, timezone.utc):%F %R} UTC"
        print(f"{kind}{principal.name}{end}")
        for each in principal.grants:
            print(f"    {_shown(each)}")
    return GOOD


# -- what is changed ------------------------------------------------------------------------------


def add_user(parsed: argparse.Namespace) -> int:
    """Add a user with a password, and perhaps grants."""
    _check_is_new(parsed)
    values = {"password": [_ask_password()]}
    if parsed.grant:
        values["grant"] = parsed.grant
    change(parsed.access, lambda text: _added(text, "user", parsed.name, values))
    return GOOD


def change_password(parsed: argparse.Namespace) -> int:
    """Give a user another password."""
    if parsed.name not in read_rules(parsed.access).users:
        raise _nobody("user", parsed)
    password = _ask_password()

    def put(text: str) -> str:
        return edit.put_entry(text, f"user {parsed.name}", "password", password)

    return _change(parsed, "user", put)


def remove_user(parsed: argparse.Namespace) -> int:
    """Remove a user."""
    return _change(parsed, "user", lambda text: edit.remove_section(text, f"user {parsed.name}"))


def add_token(parsed: argparse.Namespace) -> int:
    """Make a token, and print its secret: to stdout, so that a script can take it."""
    secret = make_secret()
    values = {"secret": [f"sha256:{digest_of(secret).hex()}"], "grant": parsed.grant}
    if parsed.expires is not None:
        values["expires"] = [parsed.expires]
    change(parsed.access, lambda text: _added(text, "token", parsed.name, values))
    print(secret, flush=True)
    print(f"This is the only time that it is shown. To try it:\n{_curl(parsed)}", file=sys.stderr)
    return GOOD


def revoke_token(parsed: argparse.Namespace) -> int:
    """Revoke a token."""
    return _change(parsed, "token", lambda text: edit.remove_section(text, f"token {parsed.name}"))


def grant(parsed: argparse.Namespace) -> int:
    """Grant somebody more; [anonymous] is made if it is missing."""

    def add(text: str) -> str:
        for name in (f"user {parsed.name}", f"token {parsed.name}", parsed.name):
            if edit.has_section(text, name):
                return edit.add_line(text, name, "grant", parsed.grant)
        if parsed.name == ANONYMOUS:
            return edit.add_section(text, ANONYMOUS, {"grant": [parsed.grant]})
        raise Refused(f"nobody in {printable(parsed.access)} is called {parsed.name}")

    change(parsed.access, add)
    return GOOD


def quota(parsed: argparse.Namespace) -> int:
    """Set a quota, or print all of them; with a data directory, what is used of each."""
    if parsed.prefix is None:
        return _show_quotas(parsed)
    if parsed.dir is not None:
        raise Refused("--dir is to show the quotas, and not to set one")
    limit = " ".join(parsed.limit)
    try:
        parse_quota(limit, parsed.prefix)
    except ValueError as error:
        raise Refused(str(error)) from None

    def put(text: str) -> str:
        if edit.has_section(text, QUOTA):
            return edit.put_entry(text, QUOTA, parsed.prefix, limit)
        return edit.add_section(text, QUOTA, {quoted(parsed.prefix): [limit]})

    change(parsed.access, put)
    return GOOD


def _show_quotas(parsed: argparse.Namespace) -> int:
    rules = read_rules(parsed.access)
    sizes, history = ([], []) if parsed.dir is None else _sizes(parsed.dir)
    for each in rules.quotas:
        below, old = (
            [size for location, size in found if location.startswith(each.prefix)]
            for found in (sizes, history)
        )
        used = "" if parsed.dir is None else f"{sum(below)} of "
        line = f"{quoted(each.prefix)}: {used}{each.size} bytes"
        if each.count is not None:
            line += f", {'' if parsed.dir is None else f'{len(below)} of '}{each.count} blobs"
        elif parsed.dir is not None:
            line += f", {len(below)} blobs"
        if old:
            line += f"; {sum(old)} bytes of history, {counted(len(old), 'version')}"
        print(line)
    return GOOD


_Sizes = list[tuple[str, int]]


def _sizes(directory: str) -> tuple[_Sizes, _Sizes]:
    """The locations and sizes of the blobs of a data directory, and of its history.

    A daemon may be running.
    """
    volume = Volume(read_directory(directory))
    volume.look(lock=False)
    try:
        promise = read_promise(volume.directory) or ByPrefix(0.0)
        found = scan(volume, keeps=lambda location: promise.of(location) > 0)
    finally:
        volume.close()
    damaged = (damage.blob for damage in found.damaged.values())
    return (
        [(blob.location, blob.size) for blob in (*found.live.values(), *damaged)],
        [(dead.location, dead.size) for dead in found.history.values() if dead.size >= 0],
    )


def _change(parsed: argparse.Namespace, kind: str, make: Callable[[str], str]) -> int:
    try:
        change(parsed.access, make)
    except edit.NoSection:
        raise _nobody(kind, parsed) from None
    return GOOD


def _added(text: str, kind: str, name: str, values: dict[str, list[str]]) -> str:
    """Add a section. The text would load with it: but for its name, which may be taken."""
    return edit.add_section(text, f"{kind} {name}", values)


def _check_is_new(parsed: argparse.Namespace) -> None:
    """Raise Refused if the name is taken, before somebody types a password for it."""
    try:
        taken = parsed.name in read_rules(parsed.access).lines
    except BadFile:
        return  # There may be no file yet. If there is, the change will say what is wrong with it.
    if taken:
        raise Refused(f"the name {parsed.name} is taken")


def _nobody(kind: str, parsed: argparse.Namespace) -> Refused:
    return Refused(f"no {kind} in {printable(parsed.access)} is called {parsed.name}")


def _ask_password() -> str:
    """Ask for a password, or read a line from what is no terminal; give its hash."""
    if sys.stdin.isatty():
        password = getpass.getpass("Password: ")
        if password != getpass.getpass("The same again: "):
            raise Refused("the two passwords differ")
    else:
        password = sys.stdin.readline().rstrip("\n")
    try:
        return hash_password(password).decode("ascii")
    except ValueError as error:
        raise Refused(str(error)) from None


# -- words ----------------------------------------------------------------------------------------


def _doubts(file: str, rules: Rules) -> Iterator[str]:
    """What a daemon would take, and people would rather know."""
    if others_may_read(file):
        yield f"{printable(file)}: everybody on this machine may read it (chmod o-r)"
    for principal in rules.principals().values():
        where = f"{printable(file)}, line {rules.lines.get(principal.name)}"
        if principal.is_over(time.time()):
            yield f"{where}: {principal.name} has expired"
        elif not principal.grants and principal.name != ANONYMOUS:
            yield f"{where}: {principal.name} has no grant"


def _shown(shown: Grant) -> str:
    verbs = [verb.value for verb in Verb if verb in shown.verbs]
    words = "all" if len(verbs) == len(Verb) else ",".join(verbs)
    return f"{words} {shown.prefix}".rstrip()


def _curl(parsed: argparse.Namespace) -> str:
    """A command that uses a new token; its secret is in a variable, and not in a history."""
    first = parse_grant(parsed.grant[0])
    url = f"http://localhost:7777/store/{quote(first.prefix)}"
    what = f"--upload-file FILE --request POST {url}NAME"
    if Verb.CREATE not in first.verbs:
        what = url if first.verbs == {Verb.LIST} else f"{url}NAME"
    return f'curl --oauth2-bearer "$SECRET" {what}'


# -- arguments ------------------------------------------------------------------------------------


def _as(checked: Callable[[str], object]) -> Callable[[str], str]:
    """Make a type for argparse that only checks a text."""

    def read(text: str) -> str:
        checked(text)
        return text

    return argument(read)


_GRANTS: dict[str, Any] = {
    "action": "append",
    "metavar": "GRANT",
    "type": _as(parse_grant),
    "help": "such as 'create,read backups/'; give it several times for several",
}


def _expiry(text: str) -> str:
    """A time from now, or a date, as the file has it."""
    match = _SPAN.fullmatch(text)
    if match is None:
        parse_expiry(text)
        return text
    when = datetime.now(timezone.utc).timestamp() + int(match[1]) * _SECONDS[match[2]]
    try:
        return f"{datetime.fromtimestamp(when, timezone.utc):%Y-%m-%dT%H:%M:%SZ}"
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is beyond the year 9999") from None


def _group(actions: Any, name: str, text: str) -> Any:
    group = actions.add_parser(name, help=text)
    return group.add_subparsers(metavar="ACTION", required=True)


def _action(actions: Any, name: str, do: Run, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=text)
    parser.set_defaults(action=do)
    return parser


def _edits(parser: argparse.ArgumentParser, *names: str) -> argparse.ArgumentParser:
    """Give an action the option that names its file, as the daemon's does, and arguments."""
    parser.add_argument("--access", required=True, metavar="FILE", help="the access file")
    for name in names:
        parser.add_argument(name.lower(), metavar=name, type=_as(check_name))
    return parser
