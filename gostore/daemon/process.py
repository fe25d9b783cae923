"""The process as a whole: its signals, its pid file and its limits."""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NoReturn

from twisted.application.service import MultiService
from twisted.internet.error import ReactorNotRunning
from twisted.logger import ILogObserver, Logger
from twisted.python.components import Componentized

from gostore.daemon.cycles import Cycles
from gostore.daemon.notifier import Notifier
from gostore.daemon.reloading import Reloadable, reload_all
from gostore.daemon.signals import on_hangup, on_signal
from gostore.text import printable

log = Logger()


class Process(MultiService):
    """Owns what concerns the process as a whole: its signals, exit status and Python's gc.

    ``observer`` takes the place of twistd's own log observer, unless it is None. SIGHUP has the
    ``parts`` reloaded. The ``notifier`` learns of all that.
    """

    def __init__(
        self,
        reactor: Any,
        observer: ILogObserver | None,
        parts: Sequence[Reloadable] = (),
        notifier: Notifier | None = None,
    ) -> None:
        super().__init__()
        self._notifier = notifier or Notifier({}, reactor)
        self._reactor = reactor
        self._observer = observer
        self._parts = parts
        self._reloads = False

    def setServiceParent(self, parent: Any) -> None:
        """Join the application, and give it the log observer."""
        if self._observer is not None and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self._observer)
        super().setServiceParent(parent)

    def startService(self) -> None:
        """Start. A signal that comes meanwhile stops the reactor as soon as it runs."""
        on_signal(partial(self._reactor.callFromThread, self._stop))
        # A reactor installs these two when it begins to run. Its own make twistd end by the signal,
        # but a good shutdown is status 0.
        self._reactor.sigInt = signal.getsignal(signal.SIGINT)
        self._reactor.sigTerm = signal.getsignal(signal.SIGTERM)
        super().startService()
        on_hangup(self._hung_up)
        # Last, when all blobs are in memory.
        Cycles(self._reactor).setServiceParent(self)
        self._notifier.setServiceParent(self)

    def _hung_up(self) -> None:
        # A thousand signals at once are one.
        if not self._reloads:
            self._reloads = True
            self._reactor.callFromThread(self._reload)

    def _reload(self) -> None:
        self._reloads = False
        self._notifier.reloading()
        reload_all(self._parts)
        self._notifier.ready()

    def _stop(self, name: str) -> None:
        log.info("Received {name}", name=name)
        with suppress(ReactorNotRunning):  # A second signal: it stops already.
            self._reactor.stop()


def leave(twistd: Mapping[str, Any], name: str, end: Callable[[int], object] = os._exit) -> None:
    """End the process, before its service starts, because of a signal.

    As `signals.exit_at_once` does: an exception could be swallowed.
    """
    path, pipe = twistd.get("pidfile"), twistd.get("statusPipe")
    # Before it forks, the file is another daemon's.
    if path and pid_in(path) == os.getpid():
        os.unlink(path)
    if pipe is not None:
        os.write(pipe, b"1 gostore: Received " + name.encode())
    end(0)


def refuse(twistd: Mapping[str, Any], line: str) -> NoReturn:
    """End the process, before its reactor runs, with one line on the terminal it came from."""
    if twistd.get("pidfile"):
        # twistd removes it only after an Exception, and prints a traceback for that. This comes
        # first, because whoever reads the line below may try again at once.
        with suppress(OSError):
            os.unlink(twistd["pidfile"])
    line = f"gostore: {printable(' '.join(line.split()))}"
    pipe = twistd.get("statusPipe")
    if pipe is not None or twistd.get("logfile") or twistd.get("syslog"):
        log.critical("{line}", line=line)
    if pipe is not None:
        # A daemon's stderr is /dev/null. The twistd that waits for the daemon prints up to 100
        # bytes from this pipe, after a digit for the status.
        os.write(pipe, b"1 " + line.encode("ascii", "backslashreplace")[:98])
    elif sys.__stderr__ is not None:
        # twistd has turned sys.stderr into a log.
        sys.__stderr__.write(f"{line}\n")
        sys.__stderr__.flush()
    raise SystemExit(1)


#: No process has a higher number on Linux.
_PID_MAX = 1 << 22


def pid_in(path: str) -> int | None:
    """The number in a pid file, 0 if it holds none; None if nobody can read it."""
    try:
        with open(path, "rb") as file:
            text = file.read(64)
    except OSError:
        return None
    return int(text) if text.strip().isdigit() else 0


def forget_stale_pid(path: str) -> None:
    """Remove a pid file that names no running twistd.

    twistd refuses to start beside an empty or torn file, and beside one whose number another
    process has by now. The lock on the data directory guards all that this file guards.
    """
    pid = pid_in(path)
    if pid is None:
        return  # There is no file, or twistd will say what is wrong with it.
    if 0 < pid <= _PID_MAX and pid != os.getpid():
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                command = file.read()
        except OSError:
            return  # The process is gone, and twistd notices that itself.
        if b"twistd" in command or b"gostore" in command:
            return
    log.warn("Removing the stale pid file {path}", path=path)
    with suppress(OSError):
        os.unlink(path)


def raise_file_limit() -> None:
    """Raise the limit of open files to the hard one: the soft one is for users of select(2)."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def share_of_files(percent: int, limit: int | None = None) -> int:
    """A percentage of the files that may be open (RLIMIT_NOFILE), at most 4,096."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0] if limit is None else limit
    return 4096 if files == resource.RLIM_INFINITY else max(1, min(4096, files * percent // 100))
