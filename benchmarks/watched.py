"""twistd with a watch on its reactor: ``python benchmarks/watched.py FILE ARGUMENT...``.

It runs by its path, so that it can watch a gostore of another commit, too.

The reactor is held from the return of one poll to the beginning of the next: whatever else is
ready waits so long. On SIGUSR2 all that was noted since the last one goes to FILE, as pairs of
doubles: the seconds that passed, and the seconds of processor time of the reactor's thread.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Watch:
    """Takes the place of a reactor's poller, and notes the times between its polls."""

    def __init__(
        self,
        poller: Any,
        wall: Callable[[], float] = time.perf_counter,
        cpu: Callable[[], float] = time.thread_time,
    ) -> None:
        self._poller = poller
        self._wall = wall
        self._cpu = cpu
        self._began: tuple[float, float] | None = None
        self._noted = array("d")

    def poll(self, timeout: float, most: int) -> Any:
        """Poll; and note how long it was not asked to."""
        if self._began is not None:
            wall, cpu = self._began
            # In one call: a signal comes before it or after it.
            self._noted.extend((self._wall() - wall, self._cpu() - cpu))
        found = self._poller.poll(timeout, most)
        self._began = (self._wall(), self._cpu())
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._poller, name)

    def write(self, file: Path) -> None:
        """Write what was noted, so that the file is there as a whole or not at all; forget it."""
        noted, self._noted = self._noted, array("d")
        made = file.with_name(file.name + ".made")
        made.write_bytes(noted.tobytes())
        os.replace(made, file)
        # What this took is not the server's.
        self._began = None


def main() -> None:
    """Watch the default reactor, and run twistd."""
    file = Path(sys.argv[1])
    from twisted.internet import reactor
    from twisted.scripts import twistd

    watch = Watch(vars(reactor)["_poller"])
    vars(reactor)["_poller"] = watch
    signal.signal(signal.SIGUSR2, lambda *_: watch.write(file))
    sys.argv = ["twistd", *sys.argv[2:]]
    twistd.run()


if __name__ == "__main__":
    # This directory is no place to import from.
    del sys.path[0]
    main()
