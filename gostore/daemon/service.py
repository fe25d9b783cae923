"""The daemon's services, built from plain arguments.

    Daemon                  starts and stops everything in its order
      Listener              binds the endpoint, accepts connections
      Collector             asks the store for a collection run every few seconds
      Scrubber              has the store verify one blob after another, slowly

Starting: the store opens its volume (directory, lock, scan), the listener binds, the store recovers
and starts its threads, the collector and the scrubber start. Nothing of that happens in a
constructor, since twistd forks between the two. Stopping goes the other way, one step after the
other.
"""

from __future__ import annotations

import gc
import ipaddress
import os
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn, Protocol

from twisted.application.service import MultiService, Service
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, inlineCallbacks, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocolFactory,
    IReactorTime,
    IStreamServerEndpoint,
)
from twisted.logger import Logger
from twisted.python.failure import Failure

from gostore.daemon.collector import Collector
from gostore.daemon.scrubber import Scrubber
from gostore.daemon.settings import Settings
from gostore.errors import StoreError
from gostore.store.blobstore import BlobStore
from gostore.store.workers import Workers
from gostore.text import printable
from gostore.volume.volume import Volume
from gostore.web.dispatch import Api
from gostore.wire import MAX_BODY, HTTPFactory, Limits, make_eager, make_patient

PATIENCE = 1.0
"""Seconds that a shutdown waits for requests before it says so: idle connections are gone then."""

BACKLOG = 4096
"""How many connections may wait to be accepted: what Linux allows at most, if nobody changed it."""


class Store(Protocol):
    """What the daemon needs of the store: its life, not its verbs."""

    def open(self) -> None:
        """Make, lock and scan the volume. Blocks. Raises VolumeInUse, VolumeUnusable."""

    def start(self) -> object:
        """Apply what the scan found, start the threads. Blocks. str() of the result sums it up."""

    def collect(self) -> Deferred[None]:
        """Run the garbage collector once."""

    @property
    def uploads(self) -> int:
        """How many bodies are on their way."""

    def next_location(self, after: str) -> str | None:
        """Return the first location after this one that has a blob."""

    def verify(self, location: str, pace: Callable[[int], Deferred[None]]) -> Deferred[None]:
        """Compare a blob with its digest and set it aside if it is damaged."""

    def stop(self) -> Deferred[None]:
        """Refuse new writes and finish the commits in progress."""

    def close(self) -> Deferred[None] | None:
        """Stop the threads and unlock the volume."""


class Listener(Service):
    """Holds the port: bound in privilegedStartService, with any failure raised there and then."""

    def __init__(self, endpoint: IStreamServerEndpoint, factory: IProtocolFactory) -> None:
        self.setName("listener")
        self._endpoint = endpoint
        self._factory = factory
        self._ports: list[IListeningPort] = []

    @property
    def addresses(self) -> list[object]:
        """The addresses really listened on, as getHost() of the ports gives them."""
        return [port.getHost() for port in self._ports]

    def privilegedStartService(self) -> None:
        """Bind. Raises whatever the endpoint fails with: CannotListenError and others."""
        super().privilegedStartService()
        failures: list[Failure] = []
        # All of Twisted's own server endpoints answer before listen() returns.
        self._endpoint.listen(self._factory).addCallbacks(self._ports.append, failures.append)
        for failure in failures:
            failure.raiseException()
        for port in self._ports:
            make_eager(port)
            make_patient(port)

    @inlineCallbacks
    def stopService(self) -> Any:
        """Unbind: accept no more connections. Those accepted go on."""
        super().stopService()
        while self._ports:
            yield maybeDeferred(self._ports.pop().stopListening)


class Daemon(MultiService):
    """The whole of gostore as one service.

    ``refuse`` is called with one line when the daemon cannot start, and raises; ``started`` when it
    knows of all its blobs.
    """

    log = Logger()

    def __init__(
        self,
        settings: Settings,
        store: Store,
        factory: HTTPFactory,
        endpoint: IStreamServerEndpoint,
        clock: IReactorTime,
        refuse: Callable[[str], NoReturn],
        started: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__()
        self.setName("gostore")
        self._settings = settings
        self._store = store
        self._factory = factory
        self._clock = clock
        self._refuse = refuse
        self._started = started
        self._opened = False
        self._listener = Listener(endpoint, factory)
        self._listener.setServiceParent(self)
        self._collector = Collector(store.collect, settings.gc_interval, clock)
        self._collector.setServiceParent(self)
        self._scrubber = Scrubber(
            store.next_location, store.verify, settings.scrub_rate, settings.scrub_pause, clock
        )
        self._scrubber.setServiceParent(self)

    def privilegedStartService(self) -> None:
        """Open the volume, then bind: a daemon that may not have the one never takes the other."""
        try:
            with collections_paused():
                self._store.open()
        except (StoreError, OSError) as error:
            self._refuse(str(error))
        self._opened = True
        try:
            super().privilegedStartService()
        except Exception as error:
            if not isinstance(error, (CannotListenError, OSError)):
                self.log.failure("Listening failed in a way of its own")
            self._store.close()
            self._refuse(f"cannot listen on {self._settings.listen}: {_reason(error)}")

    def startService(self) -> None:
        """Recover, then serve. Nothing is accepted before this returns and the reactor runs."""
        if not self._opened:  # a runner that knows nothing of privileges
            self.privilegedStartService()
        try:
            with collections_paused():
                summary = self._store.start()
        except (StoreError, OSError) as error:
            self._listener.stopService()
            self._store.close()
            self._refuse(str(error))
        self._started()
        super().startService()
        for line in start_up_lines(self._settings, self._listener.addresses):
            self.log.info("{line}", line=line)
        self.log.info("{summary}", summary=str(summary))
        for address in self._listener.addresses:
            if is_reachable(address):
                self.log.warn(
                    "There is no authentication: whoever can reach {address} can read, replace and"
                    " delete every blob. To keep it to this machine: {how}",
                    address=url(self._settings, address),
                    how=how_to_hide(self._settings, address),
                )

    @inlineCallbacks
    def stopService(self) -> Any:
        """Stop step by step; a step that fails is logged and does not keep the next from happening.

        Accept no more; finish requests, uploads within the grace time; let a collection run end;
        leave off scrubbing; finish commits; unlock the volume.
        """
        Service.stopService(self)
        self.log.info("Shutting down")
        steps: list[Callable[[], object]] = [
            self._listener.stopService,
            self._finish_requests,
            self._collector.stopService,
            self._scrubber.stopService,
            self._store.stop,
            self._store.close,
        ]
        for step in steps:
            try:
                yield maybeDeferred(step)
            except Exception:
                self.log.failure("A step of the shutdown failed")
        self.log.info("Shut down")

    @inlineCallbacks
    def _finish_requests(self) -> Any:
        """Let requests in progress end; if that takes a while, say what is waited for."""
        grace = self._settings.shutdown_grace
        finished = self._factory.stop(grace)
        telling = self._clock.callLater(min(PATIENCE, grace), self._tell_waiting, grace)
        yield finished
        if telling.active():
            telling.cancel()

    def _tell_waiting(self, grace: float) -> None:
        self.log.info(
            "Waiting for {connections} connections, {uploads} uploads, at most {seconds:g} seconds",
            connections=self._factory.connections,
            uploads=self._store.uploads,
            seconds=max(0.0, grace - PATIENCE),
        )


def build(settings: Settings, reactor: Any, refuse: Callable[[str], NoReturn]) -> Daemon:
    """Build the daemon on a reactor. Nothing is opened, bound or started."""
    store = BlobStore(
        Volume(settings.dir, sync=settings.sync),
        Workers(reactor),
        id_bits=settings.id_bits,
        max_blob_size=settings.max_blob_size or None,
        reserve=settings.free_space_reserve,
        max_uploads=settings.max_uploads,
        max_open_files=share_of_files(10),
    )
    api = Api(store, put_creates=settings.put_creates, clock=reactor)
    limits = Limits(
        uri=settings.max_uri_size,
        body=settings.max_blob_size or MAX_BODY,
        head=settings.max_head_size,
        fields=settings.max_fields,
        head_timeout=settings.head_timeout,
        idle_timeout=settings.idle_timeout,
        body_rate=settings.body_rate,
        body_window=settings.body_window,
        send_timeout=settings.send_timeout,
        max_connections=connection_limit(settings),
        turned_away=share_of_files(5),
    )
    factory = HTTPFactory(api.dispatch, limits, reactor, access_log=settings.debug)
    endpoint = serverFromString(reactor, with_backlog(settings.listen))
    return Daemon(settings, store, factory, endpoint, reactor, refuse, keep_collections_short)


def with_backlog(listen: str) -> str:
    """An endpoint string that lets a crowd come at once, unless it says itself how large a crowd.

    Beyond Twisted's 50 the kernel drops those that come, and they try again after a second.
    """
    kind = listen.partition(":")[0]
    if kind not in ("tcp", "tcp4", "tcp6", "ssl", "unix") or ":backlog=" in listen:
        return listen
    return f"{listen}:backlog={BACKLOG}"


def connection_limit(settings: Settings) -> int:
    """The most connections at a time; "auto" leaves a fifth of the open files to blobs."""
    if settings.max_connections is not None:
        return settings.max_connections
    return share_of_files(80)


@contextmanager
def collections_paused() -> Iterator[None]:
    """Keep Python's garbage collector from looking again and again at what is there to stay."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def keep_collections_short(seconds: float = 0.005) -> None:
    """Spare Python's garbage collector what is there now, and what makes it slow later.

    It looks at every blob to find cycles, which blobs are in none of: with a million of them it
    would hold the reactor for half a second. What is left over by a full collection that took more
    than ``seconds`` is looked at no more; it is still freed as soon as nothing refers to it.
    """
    gc.freeze()
    begun = 0.0

    def watch(phase: str, collection: Mapping[str, int]) -> None:
        nonlocal begun
        if collection["generation"] < 2:
            return
        if phase == "start":
            begun = time.monotonic()
        elif time.monotonic() - begun > seconds:
            gc.freeze()

    gc.callbacks.append(watch)


def raise_file_limit() -> None:
    """Let as many files be open as may be: the soft limit is for programs that use select(2)."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def share_of_files(percent: int, limit: int | None = None) -> int:
    """So many percent of the files that may be open (RLIMIT_NOFILE), at most 4,096."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0] if limit is None else limit
    return 4096 if files == resource.RLIM_INFINITY else max(1, min(4096, files * percent // 100))


# What is said at start-up.


def start_up_lines(settings: Settings, addresses: list[object]) -> list[str]:
    """Say where the daemon listens, where its blobs are, and give a command to paste."""
    lines = [f"Listening on {url(settings, address)}" for address in addresses]
    lines.append(f"Keeping blobs in {printable(settings.dir)}")
    if settings.sync == "none":
        lines.append("Nothing is flushed to the disk (--sync none): a power cut may lose any blob")
    lines.extend(f"Try: {curl(settings, address)}" for address in addresses[:1])
    return lines


def url(settings: Settings, address: object) -> str:
    """An address as a URL where there is one; a Unix socket by its path."""
    match address:
        case IPv4Address(host=host, port=port):
            return f"{_scheme(settings)}://{host}:{port}"
        case IPv6Address(host=host, port=port):
            return f"{_scheme(settings)}://[{host}]:{port}"
        case UNIXAddress():
            return f"unix:{_socket_path(address)}"
        case _:
            return str(address)


def curl(settings: Settings, address: object) -> str:
    """A curl command that stores a blob through this address."""
    host, socket = "localhost", ""
    match address:
        case IPv4Address(host="0.0.0.0", port=port) | IPv6Address(host="::", port=port):
            host = f"localhost:{port}"
        case IPv4Address(host=number, port=port):
            host = f"{number}:{port}"
        case IPv6Address(host=number, port=port):
            host = f"[{number}]:{port}"
        case UNIXAddress():
            socket = f"--unix-socket {_socket_path(address)} "
    return f"curl --request POST {socket}{_scheme(settings)}://{host}/store/hello --data 'Hello!'"


def how_to_hide(settings: Settings, address: Any) -> str:
    """What to tell the daemon so that only this machine can reach it, over TLS as before."""
    if _scheme(settings) == "https":
        return "interface=127.0.0.1 in the endpoint"
    return f"-s 127.0.0.1:{address.port}"


def is_reachable(address: object) -> bool:
    """Whether other machines may reach the address."""
    if not isinstance(address, (IPv4Address, IPv6Address)):
        return False
    return not ipaddress.ip_address(address.host.partition("%")[0]).is_loopback


def _scheme(settings: Settings) -> str:
    return "https" if settings.listen.startswith(("ssl:", "tls:")) else "http"


def _socket_path(address: UNIXAddress) -> str:
    name = address.name
    return printable(os.fsdecode(name)) if isinstance(name, (bytes, str)) else str(name)


def _reason(error: Exception) -> str:
    """The reason alone: CannotListenError says again what could not be listened on."""
    inner = getattr(error, "socketError", error)
    return getattr(inner, "strerror", None) or str(inner) or type(inner).__name__
