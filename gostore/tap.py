"""The command line of ``twistd gostore``: options to settings to service.

The only module that imports the reactor, and only when the service is made: by then twistd has
installed the one it was told to use.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from functools import partial
from textwrap import fill
from typing import Any, NoReturn, cast

from attrs import evolve
from twisted.application.service import IService
from twisted.python import usage

# This comes first: it handles the signals that come during the rest.
import gostore.daemon.signals
from gostore import __version__
from gostore.daemon.config_file import BadSetting, parse_config
from gostore.daemon.contradictions import contradiction
from gostore.daemon.cycles import gc_paused
from gostore.daemon.line_file import STDOUT
from gostore.daemon.notifier import Notifier
from gostore.daemon.own_log import OwnLog
from gostore.daemon.parsers import absolute
from gostore.daemon.process import (
    Process,
    forget_stale_pid,
    leave,
    raise_file_limit,
    refuse,
)
from gostore.daemon.reference import as_options
from gostore.daemon.reloading import CannotReload
from gostore.daemon.settings import TABLE, Setting, Settings, make_settings
from twisted import __version__ as twisted_version

_EXAMPLES = """\
This command:
      --config=    Read settings from this INI file first; tap.conf shows them all.
      --version    Display the version and exit.
  -h, --help       Display this help and exit.

Examples:
  twistd -n gostore                          in the foreground: ./data, port 7777
  twistd -n gostore -d /srv/blobs -s 127.0.0.1:7777
                                             another directory, this machine only
  twistd --pidfile=/run/gostore.pid --logfile=/var/log/gostore.log gostore \\
      --config /etc/gostore.conf             as a daemon; the command line wins
  twistd -n gostore -s unix:/run/gostore.sock
                                             on a Unix socket
  twistd -n gostore --store s3://blobs/main --s3-endpoint http://127.0.0.1:8333
                                             over a bucket, with AWS_ACCESS_KEY_ID
                                             and AWS_SECRET_ACCESS_KEY exported

Addresses to listen on:
  tcp:7777              every IPv4 address of this machine (as 0.0.0.0:7777, :7777)
  127.0.0.1:7777        this machine only (as tcp:7777:interface=127.0.0.1)
  [::1]:7777            IPv6 (as tcp6:7777:interface=\\:\\:1)
  ssl:7777:privateKey=key.pem:certKey=cert.pem
  unix:PATH, systemd:domain=INET:index=0, and whatever else Twisted knows

A first blob:
  curl --request POST http://localhost:7777/store/foo --data 'Hello!'
  curl http://localhost:7777/store/foo
"""


def checked(row: Setting, text: str) -> str:
    """Return the text given for a setting if it can be parsed. Raises UsageError."""
    try:
        row.parse(text)
    except ValueError as error:
        # For a ValueError twistd would not say which option it was.
        raise usage.UsageError(f"--{row.name}: {error}") from error
    return text


class Options(usage.Options):
    """The options of ``twistd gostore``, one for each row of the settings' table.

    After parsing, ``settings`` holds the outcome: defaults, then the configuration file, then the
    command line.
    """

    longdesc = (
        "Stores blobs: POST creates one at /store/LOCATION, PUT replaces it, GET reads it, DELETE"
        " deletes it. Each is a directory of plain files under --dir, or objects in the bucket of"
        " --store. An acknowledged write is on the disk, or in the bucket, and survives a crash. A"
        " size is 65536, 64KiB or 10M; a time is in seconds."
    )

    optFlags = [[row.name, row.short, row.doc] for row in TABLE.values() if row.flag]
    # twistd gets no defaults: a setting that was given must differ from one that was not.
    optParameters = [
        [row.name, row.short, None, row.doc, partial(checked, row)]
        for row in TABLE.values()
        if not (row.flag or row.many)
    ] + [["config", None, None, "Read settings from this INI file first."]]

    settings: Settings

    def parseOptions(self, options: Any = None) -> None:
        """Parse the command line. Under twistd a mistake ends it with one line on stderr."""
        try:
            super().parseOptions(options)
        except usage.UsageError as error:
            if self.parent is None:
                raise
            # twistd would print the whole of --help above the reason.
            raise SystemExit(f"gostore: {error}") from error

    def parseArgs(self, *arguments: str) -> None:
        """Take options only. Raises UsageError."""
        if arguments:
            raise usage.UsageError(f"{arguments[0]!r} is not an option; see twistd gostore --help")

    def postOptions(self) -> None:
        """Put ``settings`` together. Raises UsageError."""
        # Daemonizing changes the working directory.
        self._start = os.getcwd()
        self.settings = self.read()
        # Here, since twistd looks at it next.
        if self.parent is not None and self.parent.get("pidfile"):
            forget_stale_pid(self.parent["pidfile"])

    def read(self) -> Settings:
        """Read the configuration file, over which the command line wins. Raises UsageError."""
        values: dict[str, object] = {}
        if self["config"] is not None:
            file = self._absolute("config", self["config"])
            values.update(read_config(file, self["config"]))
        for row in TABLE.values():
            if row.flag and self[row.name]:
                values[row.name] = True
            elif not row.flag and self.get(row.name) is not None:
                values[row.name] = row.over(values.get(row.name), self[row.name])
        settings = make_settings(values)
        if said := contradiction(settings):
            raise usage.UsageError(said)
        paths: dict[str, str | None] = {
            "dir": settings.dir,
            "access": settings.access,
            "access_log": settings.access_log,
        }
        for name, path in paths.items():
            if path is not None and path != STDOUT:
                paths[name] = self._absolute(name.replace("_", "-"), path)
        return evolve(settings, **cast(Any, paths))

    def _absolute(self, name: str, path: str) -> str:
        """Make the path that a setting names absolute. Raises UsageError."""
        try:
            return absolute(path, self._start)
        except ValueError as error:
            raise usage.UsageError(f"{name}: {error}") from error

    def getUsage(self, width: int | None = None) -> str:
        """The options under their headings, and the examples, whose lines must stay as they are."""
        width = width or int(os.environ.get("COLUMNS", "80"))
        return "\n".join(["", fill(self.longdesc, width), "", as_options(width) + _EXAMPLES])

    def getSynopsis(self) -> str:
        """The first line of --help."""
        return "Usage: twistd [twistd options] gostore [options]"

    def opt_listen(self, text: str) -> None:
        """Listen on one more address."""
        checked(TABLE["listen"], text)
        self["listen"] = [*self.get("listen", []), text]

    opt_s = opt_listen

    opt_h = usage.Options.opt_help

    def opt_version(self) -> NoReturn:
        """Print the version and exit."""
        print(f"gostore {__version__} (Twisted {twisted_version})")
        raise SystemExit(0)


def read_config(path: str, name: str) -> Mapping[str, object]:
    """Read a configuration file, of this name in errors; values by setting name.

    Raises UsageError.
    """
    try:
        # surrogateescape: a directory's name need not be UTF-8.
        with open(path, encoding="utf-8-sig", errors="surrogateescape") as file:
            return parse_config(file.read(), name)
    except OSError as error:
        raise usage.UsageError(f"{name}: {error.strerror}") from error
    except BadSetting as error:
        raise usage.UsageError(str(error)) from error


def makeService(options: Options) -> IService:
    """Make the service that twistd runs. Nothing is opened, bound or started yet."""
    with gc_paused():  # what these make stays
        from twisted.internet import reactor

        from gostore.daemon.service import build

    raise_file_limit()
    # Twisted counts by the wall clock. If somebody set that back by a year, no deadline would come
    # for a year, and no collection.
    cast(Any, reactor).seconds = time.monotonic
    # twistd's own options; there are none outside of it.
    twistd: Mapping[str, Any] = options.parent if options.parent is not None else {}
    if twistd:
        gostore.daemon.signals.on_signal(partial(leave, twistd))
    settings = options.settings
    own_log = OwnLog.of(twistd, debug=settings.debug, form=settings.log_format)
    daemon = build(settings, reactor, partial(refuse, twistd), partial(reread, options))
    notifier = Notifier(os.environ, cast(Any, reactor), daemon.status)
    service = Process(reactor, own_log.observer, [*daemon.parts, own_log], notifier)
    daemon.setServiceParent(service)
    return service


def reread(options: Options) -> Settings:
    """Read the settings of a daemon that runs. Raises CannotReload."""
    try:
        return options.read()
    except usage.UsageError as error:
        raise CannotReload(str(error)) from error
