"""The access file: what its sections mean. Pure.

::

    [anonymous]
    grant = read public/

    [user alice]
    password = $2y$12$...            a bcrypt hash, as htpasswd -nB prints it; or "proxy"
    grant = all

    [token nightly]
    secret = sha256:5e88...          of the secret, which nobody keeps
    expires = 2027-01-01
    grant = create,read backups/nightly/
            list backups/

    [quota]
    backups/ = 500GiB 10000          bytes, and perhaps the most blobs
    "k=v/" = 1GiB                    in quotes, since it has a = or a : in it; "" is everything

An error names the line, and never repeats what could be part of a secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import TypeVar

from attrs import evolve, field, frozen

from gostore.access.grants import Grant, Principal, check_prefix, parse_grant
from gostore.access.quotas import Quota
from gostore.ini import BadFile, Entry, Section, parse_size, quoted, read_ini, unquoted

T = TypeVar("T")

ANONYMOUS = "anonymous"
USER = "user"
TOKEN = "token"
QUOTA = "quota"

PROXY = "proxy"
"""In place of a password: only a trusted proxy can let this user in."""

NO_PASSWORD = b""
"""What is kept of such a user's password."""

MAX_COST = 16
"""The highest cost of a bcrypt hash: it takes four seconds or so to compare a password with it."""

COMMENT = re.compile(r"\s+[#;].*")
"""A comment behind a value, where the value itself cannot have a # in it."""

_KEYS = {ANONYMOUS: {"grant"}, USER: {"password", "grant"}, TOKEN: {"secret", "expires", "grant"}}
_PASSWORD = re.compile(r"\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}")
_SECRET = re.compile(r"sha256:([0-9a-fA-F]{64})")
_PLAIN = re.compile(r"[a-z_-]{1,20}")
_SIZE_AND_COUNT = re.compile(r"(.+?)(?:\s+([0-9]{1,9}))?")
_MOST_NAME = 100


@frozen
class User:
    """A principal, and the bcrypt hash of its password; `NO_PASSWORD` if it has none."""

    principal: Principal
    password: bytes = field(repr=False)


@frozen
class Rules:
    """All that an access file says.

    ``tokens`` are found by the SHA-256 of their secrets; ``lines`` has the line of each principal,
    by its name.
    """

    anonymous: Principal = field(factory=lambda: Principal(ANONYMOUS, ANONYMOUS, ()))
    users: Mapping[str, User] = field(factory=dict, repr=False)
    tokens: Mapping[bytes, Principal] = field(factory=dict, repr=False)
    lines: Mapping[str, int] = field(factory=dict, repr=False)
    quotas: tuple[Quota, ...] = ()

    def principals(self) -> dict[str, Principal]:
        """Every principal by its name."""
        known = [self.anonymous, *(user.principal for user in self.users.values())]
        return {each.name: each for each in [*known, *self.tokens.values()]}


def parse_rules(text: str, file: str) -> Rules:
    """Read the text of an access file; ``file`` is its name in errors. Raises BadFile."""
    rules = Rules()
    lines: dict[str, int] = {}
    users: dict[str, User] = {}
    tokens: dict[bytes, Principal] = {}
    for section in read_ini(text, file, ANONYMOUS):
        kind, _, name = section.name.partition(" ")
        name = name.strip()
        if section.name == QUOTA:
            rules = evolve(rules, quotas=_quotas(file, section))
            continue
        if section.name == ANONYMOUS:
            name = ANONYMOUS
        elif kind not in (USER, TOKEN):
            raise BadFile(file, section.line, _unknown(section.name))
        else:
            _on(file, section.line, check_name, name)
        if name in lines:
            reason = f"the name {name} is taken in line {lines[name]}"
            raise BadFile(file, section.line, reason)
        lines[name] = section.line
        _check_keys(file, section, kind)
        principal = Principal(name, kind, _grants(file, section))
        match kind:
            case "user":
                password = _read(file, _required(file, section, "password"), _password, name)
                users[name] = User(principal, password)
            case "token":
                secret = _required(file, section, "secret")
                digest = _read(file, secret, _secret)
                if digest in tokens:
                    reason = f"the token {tokens[digest].name} has this very secret"
                    raise BadFile(file, secret.line, reason)
                if (expires := section.entries.get("expires")) is not None:
                    principal = evolve(principal, expires=_read(file, expires, _expires))
                tokens[digest] = principal
            case _:
                rules = evolve(rules, anonymous=principal)
    if not lines:
        raise BadFile(file, 0, "nobody is in it: it would let nobody do anything")
    return evolve(rules, users=users, tokens=tokens, lines=lines)


def check_name(name: str) -> None:
    """Raise ValueError unless somebody can have this name (RFC 7617 section 2: no colon)."""
    if not name:
        raise ValueError("a user and a token each have a name: [user alice]")
    if name == ANONYMOUS:
        raise ValueError("anonymous is nobody's name: [anonymous] is for all without credentials")
    if not name.isprintable() or re.search(r"[:\[\]#;]", name) or len(name) > _MOST_NAME:
        raise ValueError(
            "a name has no colon, bracket, # or ; and no control character, and at most"
            f" {_MOST_NAME} characters"
        )


def parse_expiry(text: str) -> int:
    """Read a date, whose day it does not last into, or a time: in seconds since the epoch, UTC."""
    if re.fullmatch(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?(?:Z|[+-]\d\d:\d\d)?)?", text):
        try:
            when = datetime.fromisoformat(text.replace("Z", "+00:00"))
        except ValueError:
            pass
        else:
            return int((when if when.tzinfo else when.replace(tzinfo=timezone.utc)).timestamp())
    raise ValueError(f"{text!r} is not a date such as 2027-01-01, or 2027-01-01T12:00:00Z, in UTC")


def _unknown(section: str) -> str:
    shown = f"[{section}]" if _PLAIN.fullmatch(section.partition(" ")[0]) else "section"
    return f"unknown {shown}: there are [anonymous], [user NAME], [token NAME] and [quota]"


def _check_keys(file: str, section: Section, kind: str) -> None:
    for name, entry in section.entries.items():
        if name not in _KEYS[kind]:
            shown = f" {name}" if _PLAIN.fullmatch(name) else ""
            known = " and ".join(sorted(_KEYS[kind]))
            raise BadFile(file, entry.line, f"unknown key{shown}: a section [{kind}] has {known}")


def _required(file: str, section: Section, name: str) -> Entry:
    entry = section.entries.get(name)
    if entry is None:
        raise BadFile(file, section.line, f"[{section.name}] has no {name}")
    return entry


def _quotas(file: str, section: Section) -> tuple[Quota, ...]:
    quotas: dict[str, Quota] = {}
    for entry in section.entries.values():
        quota = _read(file, entry, _quota, entry)
        if quota.prefix in quotas:  # once with quotes, and once without
            raise BadFile(file, entry.line, f"{entry.name} is set twice")
        quotas[quota.prefix] = quota
    return tuple(quotas.values())


def _grants(file: str, section: Section) -> tuple[Grant, ...]:
    entry = section.entries.get("grant")
    lines = [] if entry is None else entry.lines
    return tuple(_on(file, line, parse_grant, text, line) for line, text in lines)


def _read(file: str, entry: Entry, parse: Callable[..., T], *more: object) -> T:
    """Parse a value of one line, which may have a comment behind it."""
    if len(entry.lines) > 1:
        raise BadFile(file, entry.line, f"{entry.name} goes on over several lines")
    text = COMMENT.sub("", entry.value)
    return _on(file, entry.line, parse, text, *more)


def _on(file: str, line: int, parse: Callable[..., T], *arguments: object) -> T:
    try:
        return parse(*arguments)
    except ValueError as error:
        raise BadFile(file, line, str(error)) from None


def _password(text: str, name: str) -> bytes:
    if text == PROXY:
        return NO_PASSWORD
    match = _PASSWORD.fullmatch(text.removeprefix(f"{name}:"))
    if match is None:
        raise ValueError("password is neither a bcrypt hash, as htpasswd -nB prints it, nor proxy")
    if not 4 <= int(match[1]) <= MAX_COST:
        raise ValueError(f"password has a cost that is not within 4 and {MAX_COST}")
    return match[0].encode("ascii")


def _secret(text: str) -> bytes:
    match = _SECRET.fullmatch(text)
    if match is None:
        raise ValueError("secret is not sha256: and 64 hex digits, those of the secret's SHA-256")
    return bytes.fromhex(match[1])


def _expires(text: str) -> int:
    try:
        return parse_expiry(text)
    except ValueError as error:
        raise ValueError(f"expires: {error}") from None


def parse_quota(text: str, prefix: str, line: int = 0) -> Quota:
    """Read the most bytes, and perhaps the most blobs: "500GiB", "1TB 10000". Raises ValueError."""
    if prefix:
        check_prefix(prefix)
    match = _SIZE_AND_COUNT.fullmatch(text)
    try:
        size = parse_size(match[1] if match else "")
    except ValueError as error:
        raise ValueError(f"{quoted(prefix)}: {error}, and perhaps a number of blobs") from None
    assert match is not None
    return Quota(prefix, size, int(match[2]) if match[2] else None, line)


def _quota(text: str, entry: Entry) -> Quota:
    return parse_quota(text, unquoted(entry.name), entry.line)
