"""SIGTERM and SIGINT end gostore in order and with status 0, whenever they come; SIGHUP reloads.

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

ENDING = (signal.SIGINT, signal.SIGTERM)
"""The signals that end the daemon."""

#: Whether a SIGHUP has come while nothing could be reloaded.
_missed = False


def on_signal(end: Callable[[str], object]) -> None:
    """Call ``end`` with the name of each ending signal from now on."""

    def handle(number: int, frame: object) -> None:
        end(signal.Signals(number).name)

    for number in ENDING:
        signal.signal(number, handle)


def on_hangup(reload: Callable[[], object]) -> None:
    """Call ``reload`` for each SIGHUP from now on, and now for those that nobody has heard.

    Also below nohup(1), which has it ignored: it does not end the daemon.
    """
    global _missed
    signal.signal(signal.SIGHUP, lambda number, frame: reload())
    missed, _missed = _missed, False
    if missed:
        reload()


def _note_hangup(number: int, frame: object) -> None:
    global _missed
    _missed = True


def exit_at_once(name: str) -> NoReturn:
    """End the process while it has begun nothing.

    Not by SystemExit: the import system and weakref callbacks, which a signal may interrupt, can
    swallow an exception.
    """
    os._exit(0)


if "twisted.scripts.twistd" in sys.modules:
    on_signal(exit_at_once)
    signal.signal(signal.SIGHUP, _note_hangup)
