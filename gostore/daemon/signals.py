"""SIGTERM, SIGINT and SIGHUP end gostore in order and with status 0, whenever they come.

When twistd runs gostore, the import of this module already handles them: there is nothing to finish
yet. ``tap`` imports it first, because the other imports take a while, and because the kernel
discards a signal to process 1 (in a container) that has no handler.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals that end the daemon. Until SIGHUP has a meaning of its own it is no worse."""


def on_signal(end: Callable[[str], object]) -> None:
    """Call ``end`` with the name of each ending signal from now on."""

    def handle(number: int, frame: object) -> None:
        end(signal.Signals(number).name)

    for number in ENDING:
        # nohup(1) has it ignored.
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handle)


def exit_at_once(name: str) -> NoReturn:
    """End the process while it has begun nothing.

    Not by SystemExit: the import system and weakref callbacks, which a signal may interrupt, can
    swallow an exception.
    """
    os._exit(0)


if "twisted.scripts.twistd" in sys.modules:
    on_signal(exit_at_once)
