"""Keeps the door's rules those of the file, and lends it the threads that compare passwords."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from threading import Thread, get_native_id
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from gostore.access.door import REMEMBERED_FOR, Door
from gostore.access.file import others_may_read, read_rules, seen
from gostore.access.passwords import is_password, require_bcrypt
from gostore.access.rules import Rules
from gostore.errors import Stopping
from gostore.ini import BadFile
from gostore.text import counted, printable

log = Logger()

POLL = 5.0
"""Seconds between two looks at the file."""

NICENESS = 10
"""How far these threads stand back. With much more no login gets through on a busy machine."""

Run = Callable[..., Deferred[Any]]
"""Runs a function in a thread, with arguments."""

THREADS = 2
"""How many passwords are compared at a time. There are other things to do with a processor."""


class NiceThread(Thread):
    """A thread that gets little of the processor while others want it: the reactor, most of all."""

    def run(self) -> None:
        """Run it."""
        os.setpriority(os.PRIO_PROCESS, get_native_id(), NICENESS)
        super().run()


class Watch(Service):
    """Reads the access file, and reads it again when it has changed.

    The constructor reads it; raises BadFile and NoBcrypt. Later a file that cannot be used changes
    nothing: the rules stay as they are, and ``error`` says why, in one line, until it is good
    again. ``run`` runs a function in a thread; by default in one of its own. ``objection`` says why
    rules cannot be used here, "" if they can.
    """

    def __init__(
        self,
        path: str,
        reactor: Any,
        run: Run | None = None,
        objection: Callable[[Rules], str] = lambda rules: "",
    ) -> None:
        self.setName("access")
        self._objection = objection
        self._run: Run = self._run_in_thread if run is None else run
        #: Called with the rules whenever they have changed.
        self.changed: Callable[[Rules], None] = lambda rules: None
        self.error = ""
        self._is_ending = False
        self._path = path
        self._reactor = reactor
        self._seen: tuple[int, ...] = ()
        self._pool = ThreadPool(0, THREADS, "passwords")
        self._pool.threadFactory = NiceThread
        # The pool would not stop without an answer for everybody who waits in it.
        self._places = DeferredSemaphore(THREADS)
        self._loops = [LoopingCall(self._look), LoopingCall(self._forget)]
        for loop in self._loops:
            loop.clock = reactor
        self._look_at_file()
        self.door = Door(self._read(), self._compare, reactor.seconds, time.time)

    def startService(self) -> None:
        """Begin to look at the file."""
        super().startService()
        self._pool.start()
        for loop, seconds in zip(self._loops, (POLL, REMEMBERED_FOR), strict=True):
            loop.start(seconds, now=False)
        if others_may_read(self._path):
            log.warn(
                "Everybody on this machine may read {path} (chmod o-r)", path=printable(self._path)
            )

    def give_up(self) -> None:
        """Let nobody wait for a password any longer: the daemon stops."""
        self._is_ending = True

    def stopService(self) -> None:
        """Look no more. Waits for the passwords that are being compared, and for no others."""
        super().stopService()
        for loop in self._loops:
            loop.stop()
        self._pool.stop()

    def reload(self) -> str:
        """Read the file now if it has changed, or was bad; say in a phrase what came of it."""
        if not self._look_at_file() and not self.error:
            return ""
        try:
            return self._take(self._read())
        except Exception as error:
            return self._keep(error)

    def _take(self, rules: Rules) -> str:
        """Go by the rules that were read."""
        self.error = ""
        self.door.change(rules)
        self.changed(rules)
        return f"access file: {_found(rules)}"

    def _keep(self, error: Exception) -> str:
        """Go by the rules that are in force."""
        self.error = str(error)
        return f"access file: {self.error}"

    def _read(self) -> Rules:
        rules = read_rules(self._path)
        if any(user.password for user in rules.users.values()):
            require_bcrypt()
        if reason := self._objection(rules):
            raise BadFile(printable(self._path), 0, reason)
        return rules

    def _look_at_file(self) -> bool:
        """Whether the file is another one than before, or is gone, or back."""
        before = self._seen
        try:
            self._seen = seen(os.stat(self._path))
        except OSError as error:
            self._seen = (error.errno or 0,)
        return self._seen != before

    def _look(self) -> Deferred[None] | None:
        """Read the file in a thread if it has changed: a long one takes a second of CPU time."""
        return Deferred.fromCoroutine(self._follow()) if self._look_at_file() else None

    async def _follow(self) -> None:
        try:
            rules = await self._run(self._read)
        except Exception as error:
            self._keep(error)
            log.error("The access file cannot be used, the old rules stay: {error}", error=error)
        else:
            log.info("Read the {found}", found=self._take(rules))

    def _forget(self) -> None:
        self.door.forget()

    def _compare(self, password: bytes, hashed: bytes) -> Deferred[bool]:
        return self._places.run(self._compare_now, password, hashed)

    def _compare_now(self, password: bytes, hashed: bytes) -> Deferred[bool]:
        if self._is_ending:
            raise Stopping()
        return self._run(is_password, password, hashed)

    def _run_in_thread(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        return deferToThreadPool(self._reactor, self._pool, function, *arguments)


def _found(rules: Rules) -> str:
    return ", ".join(
        counted(len(group), word)
        for group, word in ((rules.users, "user"), (rules.tokens, "token"), (rules.quotas, "quota"))
    )
