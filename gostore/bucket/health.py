"""Whether a bucket can be used, as the outcome of each request tells."""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger
from twisted.python.failure import Failure

from gostore.errors import Busy, Damaged, DiskFailed, NoSpace
from gostore.text import Repeats

log = Logger()


class Health:
    """Learns from requests, and says in the log what people have to know of them."""

    def __init__(self, name: str) -> None:
        """``name`` is the bucket's."""
        self._name = name
        self._repeats = Repeats()
        #: Why the bucket could not be used when it was asked last; "" if it could.
        self.trouble = ""
        #: Whether one more success would say too little.
        self.in_doubt: Callable[[], bool] = lambda: False
        #: Requests that met a blob, or a pointer, that is damaged.
        self.damaged = 0

    def judge(self, result: object) -> None:
        """Learn from the outcome of a request, a result or a Failure."""
        error = result.value if isinstance(result, Failure) else None
        if isinstance(error, DiskFailed):
            self._in_trouble(f"the bucket refuses requests: {error.reason}")
        elif isinstance(error, Busy):
            self._in_trouble(str(error))
        elif isinstance(error, Damaged):
            self.damaged += 1
            self._say(error.location, str(error))
        elif isinstance(error, NoSpace):
            self._say("space", f"{self._name}: {error}")
        elif self.trouble and not self.in_doubt():
            log.info("The bucket answers again")
            self.trouble = ""
            self._repeats.forget("bucket")

    def _in_trouble(self, trouble: str) -> None:
        self.trouble = trouble
        self._say("bucket", f"{self._name}: {trouble}")

    def _say(self, about: str, message: str) -> None:
        if (line := self._repeats.due(about, message)) is not None:
            log.error("{line}", line=line)
