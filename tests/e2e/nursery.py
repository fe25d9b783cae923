"""A process that has imported all that a daemon needs, and forks daemons.

A daemon's imports take most of a second of processor time, and the tests start a thousand daemons.
One that is forked has them already. From then on it does what `twistd` does, in a process of its
own: with its own arguments, environment, working directory and output.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType

from gostore.commands.trial_daemon import TWISTD, environment

#: What a daemon imports, twistd first: `gostore.daemon.signals` wants to know who runs it.
_IMPORTED = (
    "twisted.scripts.twistd",
    "twisted.internet.epollreactor",
    "gostore.tap",
    "gostore.daemon.service",
    "gostore.bucket.past",
    "gostore.bucket.provider",
    "gostore.bucket.connecting",
    "gostore.bucket.objects",
)

_REACTOR = "twisted.internet.reactor"

#: How the variables begin that the linker, the interpreter and coverage read at their start.
_EARLY = ("LD_", "PYTHON", "LC_", "LANG", "COVERAGE_")

#: Bytes that an order may have: arguments and an environment.
_MOST = 1 << 17


class Nursling:
    """A forked daemon, with all that is used of a Popen.

    The ``line`` says its process id, and at its end its status.
    """

    def __init__(self, command: Sequence[str], line: socket.socket, output: int) -> None:
        self.args = command
        self.pid = int(line.recv(64))
        self.returncode: int | None = None
        self.stdout = os.fdopen(output, errors="backslashreplace")
        self._line = line
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        """Its exit status, or minus the signal that ended it, or None while it runs."""
        with self._lock:
            if self.returncode is None and select.select([self._line], [], [], 0)[0]:
                told = self._line.recv(64)
                assert told, "whoever waits for it is dead"
                self.returncode = int(told)
                self._line.close()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. Raises TimeoutExpired."""
        if self.returncode is None:
            select.select([self._line], [], [], timeout)
        status = self.poll()
        if status is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return status

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it with kill -9."""
        self.send_signal(signal.SIGKILL)


class Nursery:
    """Forks daemons. ``env`` is its environment, where it is not that of the tests."""

    def __init__(self, **env: str) -> None:
        self._env = environment(**env)
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        code = f"from {__name__} import run; run()"
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", code, str(theirs.fileno())],
                env=self._env,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )

    def suits(self, env: Mapping[str, str]) -> bool:
        """Whether an interpreter in this environment would begin as the nursery has."""
        return _early(env) == _early(self._env)

    def spawn(self, command: Sequence[str], cwd: Path, env: Mapping[str, str]) -> Nursling:
        """Run ``twistd`` with the arguments of a command that runs it."""
        order = json.dumps([command, str(cwd), env]).encode()
        line, its_line = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        output, its_output = os.pipe()
        with its_line:
            socket.send_fds(self._control, [order], [its_line.fileno(), its_output])
            os.close(its_output)
        return Nursling(command, line, output)

    def close(self) -> None:
        """Fork no more."""
        self._control.close()
        self._process.wait()


def _early(env: Mapping[str, str]) -> dict[str, str]:
    """What is read while an interpreter starts, and not again."""
    return {name: env[name] for name in env if name.startswith(_EARLY) and env[name]}


def run() -> None:
    """Be a nursery on the socket that the command line names, and be each of its daemons."""
    with socket.socket(fileno=int(sys.argv[1])) as control:
        _import()
        # A fork has only the thread that forked.
        assert len(os.listdir("/proc/self/task")) == 1
        gc.freeze()
        order = _serve(control)
    if order is not None:
        command, cwd, env = json.loads(order)
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(env)
        time.tzset()
        sys.argv = ["-c", *command[len(TWISTD) :]]
        sys.modules["twisted.scripts.twistd"].run()


class _Reactor(ModuleType):
    """Stands for the reactor that a daemon will have, where Klein imports it."""

    def __getattr__(self, name: str) -> object:
        return getattr(sys.modules[_REACTOR], name)


def _import() -> None:
    """Import what a daemon needs, but no reactor, which holds descriptors: each has its own."""
    sys.modules[_REACTOR] = _Reactor(_REACTOR)
    for name in _IMPORTED:
        importlib.import_module(name)
    del sys.modules[_REACTOR]


def _serve(control: socket.socket) -> bytes | None:
    """Fork until nobody can order any more. In each daemon, return the order for it."""
    while True:
        order, fds, _, _ = socket.recv_fds(control, _MOST, 2)
        if not order:
            return None
        if os.fork():
            for fd in fds:
                os.close(fd)
            # Who waited for a daemon that has ended.
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            continue
        line, output = fds
        pid = os.fork()
        if pid:
            os.close(output)
            control.close()
            os.write(line, str(pid).encode())
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            with suppress(BrokenPipeError):
                os.write(line, str(status).encode())
            os._exit(0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)
        os.close(line)
        return order
