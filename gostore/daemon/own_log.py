"""The daemon's own log: its level, its form, and its file, which SIGHUP opens anew."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from enum import Enum
from typing import Any

from attrs import define
from twisted.logger import (
    FileLogObserver,
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    formatEvent,
)
from twisted.python.logfile import LogFile

from gostore.daemon.reloading import CannotReload


class LogFormat(Enum):
    """How the lines of the daemon's own log are written."""

    TEXT = "text"
    JSON = "json"


@define(eq=False)
class OwnLog:
    """What twistd's choice of a log becomes: ``observer`` takes its place, unless it is None."""

    observer: ILogObserver | None
    _file: Any = None

    @classmethod
    def of(cls, twistd: Mapping[str, Any], *, debug: bool, form: LogFormat) -> OwnLog:
        """Log where twistd was told to, without debug messages unless ``debug``.

        Where twistd was given an observer of its own, or is not there, that stands.
        """
        if "nodaemon" not in twistd or twistd["logger"] is not None:
            return cls(None)
        from twisted.scripts._twistd_unix import UnixAppLogger

        # twistd has no option for a level or a form, and no public way to get at its choice of a
        # file or syslog.
        observer: Any = UnixAppLogger(twistd)._getLogObserver()
        file = getattr(observer, "_outFile", None)
        if file is not None and form is LogFormat.JSON:
            observer = FileLogObserver(file, as_json)
        if not debug:
            observer = FilteringLogObserver(observer, [LogLevelFilterPredicate(LogLevel.info)])
        return cls(observer, file)

    def reload(self) -> str:
        """Write to what the path of the file leads to now, because the file was renamed."""
        if not isinstance(self._file, LogFile):
            return ""
        try:
            # It would close the old one first.
            os.close(os.open(self._file.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666))
        except OSError as error:
            raise CannotReload(f"{self._file.path} ({error.strerror})") from error
        self._file.reopen()
        return f"{self._file.path} is open anew"


def as_json(event: LogEvent) -> str:
    """Write an event as an object on one line, its traceback included."""
    when = event.get("log_time", 0.0)
    second = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(when))
    level = event.get("log_level")
    values = {
        "time": f"{second}.{int(when % 1 * 1000):03}Z",
        "level": "info" if level is None else level.name,
        "logger": event.get("log_namespace", "-"),
        "message": formatEvent(event),
    }
    failure = event.get("log_failure")
    if failure is not None:
        values["traceback"] = failure.getTraceback()
    return json.dumps(values) + "\n"
