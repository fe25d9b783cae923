"""Which daemon a command talks to, what of it, and with which credentials.

A target is a URL, or ``:LOCATION`` on the daemon that GOSTORE_URL or the section [remote default]
of the configuration names, or ``NAME:LOCATION`` for [remote NAME].
"""

from __future__ import annotations

import configparser
import os
import re
import stat
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from attrs import Factory, frozen

from gostore.client.address import Address, shown, split_url

_REMOTE = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*):(?!//)(.*)", re.DOTALL)


@frozen
class Remote:
    """A daemon that has a name: its URL, and the file that has the token for it."""

    url: str
    token_file: str | None = None


@frozen
class Target:
    """A location at a daemon, or a prefix of locations, or "" for all of them."""

    address: Address
    location: str

    def __str__(self) -> str:
        return f"{self.address.url}/store/{self.location}"

    @property
    def is_prefix(self) -> bool:
        """Whether it names all below it, and not one blob."""
        return not self.location or self.location.endswith("/")


@frozen
class Remotes:
    """The daemons of the user: those with a name, and the environment."""

    named: Mapping[str, Remote] = Factory(dict)
    env: Mapping[str, str] = Factory(dict)

    def knows(self, text: str) -> bool:
        """Whether this is a target rather than the name of a file."""
        if text.startswith((":", "http://", "https://")):
            return True
        found = _REMOTE.fullmatch(text)
        return found is not None and found[1] in self.named

    def target(self, text: str) -> Target:
        """The target that an argument names. Raises ValueError."""
        if text.startswith(("http://", "https://")):
            return Target(*split_url(text))
        if text.startswith(":"):
            return Target(self._default(), text[1:])
        found = _REMOTE.fullmatch(text)
        if found is None:
            raise ValueError(f"{shown(text)} is neither a URL nor :LOCATION")
        if found[1] not in self.named:
            raise ValueError(f"No section [remote {found[1]}] in {config_file(self.env)}")
        return Target(_daemon(self.named[found[1]].url), found[2])

    def _default(self) -> Address:
        if url := self.env.get("GOSTORE_URL"):
            return _daemon(url)
        if "default" in self.named:
            return _daemon(self.named["default"].url)
        raise ValueError(
            "Which daemon? Set GOSTORE_URL, or write its url into the section"
            f" [remote default] of {config_file(self.env)}"
        )

    def token(self, address: Address) -> str | None:
        """The token for a daemon; None if there is none, and .netrc is to be asked.

        GOSTORE_TOKEN, then the file of GOSTORE_TOKEN_FILE, that of the remote with this URL, then
        the keyring. Raises ValueError, or OSError for a file.
        """
        if token := self.env.get("GOSTORE_TOKEN"):
            return _checked(token.strip(), "GOSTORE_TOKEN")
        file = self.env.get("GOSTORE_TOKEN_FILE")
        if not file:
            files = (
                each.token_file for each in self.named.values() if _daemon(each.url) == address
            )
            file = next(filter(None, files), None)
        return _from_keyring(address.url) if file is None else _from_file(file)


def config_file(env: Mapping[str, str]) -> Path:
    """Where the user's configuration is."""
    home = env.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(home, "gostore", "config").expanduser()


def read_remotes(env: Mapping[str, str]) -> Remotes:
    """Read the user's configuration. Raises ValueError for a mistake in it."""
    path = config_file(env)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Remotes(env=env)
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(text, str(path))
    except configparser.Error as error:
        raise ValueError(" ".join(str(error).split())) from None
    named = {}
    for section in parser.sections():
        kind, _, name = section.partition(" ")
        entries = dict(parser.items(section))
        if kind != "remote" or not _REMOTE.fullmatch(f"{name.strip()}:"):
            raise ValueError(f"{path}: [{shown(section)}] is not of the form [remote NAME]")
        if not entries.keys() <= {"url", "token-file"} or "url" not in entries:
            raise ValueError(f"{path}: [{section}] has a url, perhaps a token-file, and no more")
        named[name.strip()] = Remote(entries["url"], entries.get("token-file"))
        _daemon(entries["url"])
    return Remotes(named, env)


def _daemon(url: str) -> Address:
    """The daemon that a URL names, be it with /store/ at its end or without."""
    address, location = split_url(url)
    if location:
        raise ValueError(f"{shown(url)} is the URL of a blob, and not of a daemon")
    return address


def _from_file(name: str) -> str:
    path = Path(name).expanduser()
    with path.open(encoding="utf-8", errors="replace") as file:
        mode = os.fstat(file.fileno()).st_mode
        if stat.S_ISREG(mode) and mode & 0o077:
            raise ValueError(f"Others may read the token in {path}: chmod 600 {path}")
        return _checked(file.read(8192).strip(), str(path))


def _from_keyring(url: str) -> str | None:
    try:
        keyring = import_module("keyring")
        token: str | None = keyring.get_password("gostore", url)
    except Exception:  # it is not installed, or is locked, or has no place to keep anything
        return None
    return token


def _checked(token: str, where: str) -> str:
    """Return a token that can be sent; say of another where it is, and not what it is."""
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError(f"{where} has no token in it")
    return token
