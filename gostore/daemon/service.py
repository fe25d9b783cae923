"""The daemon's services, built from plain arguments.

    Daemon                  starts and stops everything in its order
      Listener              binds the addresses, accepts connections
      Collector             asks the store for a collection run every few seconds
      Scrubber              has the store verify one blob after another, slowly

Starting: the store opens its volume (directory, lock, scan), the listener binds, the store recovers
and starts its threads, the collector and the scrubber start. No constructor does any of that, since
twistd forks after it. Stopping goes the other way, one step after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn

from attrs import asdict, fields
from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import (
    IReactorTime,
)
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from gostore.access.passwords import NoBcrypt
from gostore.access.quotas import Quotas
from gostore.access.rules import Rules
from gostore.access.watch import Watch
from gostore.daemon.collector import Collector
from gostore.daemon.contradictions import objection
from gostore.daemon.cycles import gc_paused
from gostore.daemon.greeting import greeting, url, warnings
from gostore.daemon.line_file import CannotOpen, LineFile
from gostore.daemon.listener import CannotListen, Listener, make_endpoint
from gostore.daemon.metrics import Sources, exposition
from gostore.daemon.process import share_of_files
from gostore.daemon.providers import make_provider
from gostore.daemon.reloading import Reloadable, Rereading
from gostore.daemon.scrubber import Scrubber
from gostore.daemon.settings import Settings
from gostore.daemon.tuning import Tuning
from gostore.errors import Stopping, StoreError
from gostore.ini import BadFile
from gostore.store.interface import Lifecycle, Summary
from gostore.web.access_log import log_answer
from gostore.web.answer_cache import AnswerCache
from gostore.web.browsers import Browsers
from gostore.web.cross_origin import CrossOrigin
from gostore.web.dispatch import Dispatcher
from gostore.web.guard import Guard
from gostore.web.labels import Labels
from gostore.web.lifetimes import Lifetimes
from gostore.web.page.document import Page
from gostore.web.routes.blobs import Blobs
from gostore.web.routes.draft_uploads import DraftUploads
from gostore.web.routes.lists import Lists
from gostore.web.routes.metrics import Metrics
from gostore.web.routes.page import PageFiles
from gostore.web.routes.past import PastRoutes
from gostore.web.routes.status import PROBES, Check, Status
from gostore.web.routes.uploads import ResumableUploads
from gostore.web.routes.usage import Usage
from gostore.web.routing import Routes
from gostore.wire import MAX_BODY, Exchange, HTTPFactory, Limits, Turns, shorten_turns

log = Logger()

SAY_WAITING_AFTER = 1.0
"""Seconds after which a shutdown says what it waits for: idle connections are gone by then."""


class Daemon(MultiService):
    """The whole of gostore as one service.

    ``refuse`` is called with one line when the daemon cannot start, and raises.
    """

    def __init__(
        self,
        settings: Settings,
        store: Lifecycle,
        listener: Listener,
        clock: IReactorTime,
        refuse: Callable[[str], NoReturn],
    ) -> None:
        super().__init__()
        self.setName("gostore")
        #: May change while it runs; see `tuning`.
        self.settings = settings
        #: What SIGHUP reloads.
        self.parts: list[Reloadable] = list(listener.certificates)
        #: Called at a stop, so that no request waits longer than it has to.
        self.giving_up: list[Callable[[], object]] = []
        #: The files that requests are logged to.
        self._logs: list[LineFile] = []
        self._store = store
        self._clock = clock
        self._refuse = refuse
        self._opened = False
        self._listener = listener
        self._listener.setServiceParent(self)
        #: Gives a warning about the disk, or "".
        self.caution: Callable[[], str] = lambda: ""
        #: Gives a line about what it does now.
        self.status: Callable[[], str] = lambda: ""
        #: What a start has found.
        self.summary: Summary | None = None
        #: What works on the store beside the requests.
        self._background: list[Service] = []
        self.collector = Collector(store.collect, settings.gc_interval, clock)
        self.add_background(self.collector)
        self.scrubber: Scrubber | None = None
        if store.verifier is not None:
            self.scrubber = Scrubber(
                store.verifier.next_location,
                store.verifier.verify,
                settings.scrub_rate,
                settings.scrub_pause,
                clock,
            )
            self.add_background(self.scrubber)

    def add_background(self, service: Service) -> None:
        """Have one more service run as long as this one does."""
        self._background.append(service)
        service.setServiceParent(self)

    def log_to(self, file: LineFile) -> None:
        """Have a log that opens before the first request and closes after the last."""
        self._logs.append(file)
        self.parts.append(file)
        file.setServiceParent(self)

    def privilegedStartService(self) -> None:
        """Open the volume, then bind: a daemon without its volume never takes the port."""
        try:
            with gc_paused():
                self._store.open()
        except (StoreError, OSError) as error:
            self._refuse(str(error))
        self._opened = True
        try:
            super().privilegedStartService()
        except CannotListen as error:
            if error.unexpected:
                log.failure(
                    "Listening failed in a way of its own", failure=Failure(error.__cause__)
                )
            self._store.close()
            self._refuse(str(error))

    def startService(self) -> None:
        """Recover, then serve. Nothing is accepted before this returns and the reactor runs."""
        if not self._opened:  # This runner knows nothing of privileges.
            self.privilegedStartService()
        try:
            for each in self._logs:
                each.open()
            with gc_paused():
                summary = self.summary = self._store.start()
        except (StoreError, OSError, CannotOpen) as error:
            self._listener.stopService()
            self._store.close()
            self._refuse(str(error))
        super().startService()
        addresses = self._listener.addresses
        for line in [*greeting(self.settings, addresses), str(summary)]:
            log.info("{line}", line=line)
        for listener in [each for each in self._background if isinstance(each, Listener)]:
            for address in listener.addresses:
                log.info("Metrics at {url}/metrics", url=url(address))
        if caution := self.caution():
            log.warn("{line}", line=caution)
        for line in warnings(addresses) if self.settings.access is None else ():
            log.warn("{line}", line=line)

    def stopService(self) -> Deferred[None]:
        """Stop step by step. A step that fails is logged, and the next one happens all the same.

        Say so at /readyz; after a delay accept no more; finish requests, uploads within the grace
        time; let a collection run end; leave off scrubbing; finish commits; unlock the volume.
        """
        Service.stopService(self)
        return Deferred.fromCoroutine(self._shut_down())

    async def _shut_down(self) -> None:
        log.info("Shutting down")
        if delay := self.settings.shutdown_delay:
            await deferLater(self._clock, delay)
        steps: list[Callable[[], object]] = [
            self._listener.stopService,
            *self.giving_up,
            lambda: Deferred.fromCoroutine(self._finish_requests()),
            *(service.stopService for service in (*self._background, *self._logs)),
            self._store.stop,
            self._store.close,
        ]
        for step in steps:
            try:
                await maybeDeferred(step)
            except Exception:
                log.failure("A step of the shutdown failed")
        log.info("Shut down")

    async def _finish_requests(self) -> None:
        """Let requests in progress end. If that takes a while, say what it waits for."""
        grace = self.settings.shutdown_grace
        finished = self._listener.factory.stop(grace)
        telling = self._clock.callLater(min(SAY_WAITING_AFTER, grace), self._tell_waiting, grace)
        await finished
        if telling.active():
            telling.cancel()

    def _tell_waiting(self, grace: float) -> None:
        log.info(
            "Waiting for {connections} connections, {uploads} uploads, at most {seconds:g} seconds",
            connections=self._listener.factory.connections,
            uploads=self._store.uploads,
            seconds=max(0.0, grace - SAY_WAITING_AFTER),
        )


def build(
    settings: Settings,
    reactor: Any,
    refuse: Callable[[str], NoReturn],
    reread: Callable[[], Settings] | None = None,
) -> Daemon:
    """Build the daemon on a reactor. Nothing is opened, bound or started.

    ``reread`` reads the settings anew at a SIGHUP, or raises CannotReload.
    """
    shorten_turns(reactor)
    watch = make_watch(settings, reactor, refuse)
    quotas = None if watch is None else Quotas(watch.door.rules.quotas)
    provider = make_provider(settings, reactor, quotas)
    store = provider.store
    if watch is not None and quotas is not None:
        turns = Turns(reactor)

        def requota(rules: Rules) -> None:
            kept = provider.kept_behind
            quotas.change(rules.quotas, provider.sizes_behind, turns.wait, kept)
            provider.claim_anew()

        watch.changed = requota
    origins = settings.allow_origin
    browsers = Browsers(settings.hosts, None if origins is None else CrossOrigin(origins))
    answers = AnswerCache(settings.memory_cache, store)
    checks: dict[str, Check] = {}
    if watch is not None:
        # Anybody may ask. The log has the line of the file.
        checks["access"] = lambda: watch.error and "the file has an error, which the log tells"
    past = None if provider.past is None else PastRoutes(provider.past)
    notes = {} if provider.history is None else {"history": provider.history}
    lifetimes = Lifetimes(settings.expire)
    lists = Lists(store, reactor, max_lists=settings.max_lists, past=past)
    labels = Labels(lifetimes, stores_forms=settings.store_forms)
    uploads: list[Routes] = []
    draft = None
    if provider.uploads is not None:
        uploads.append(ResumableUploads(provider.uploads, lifetimes))
        if settings.draft_resumable_uploads:
            draft = DraftUploads(provider.uploads, labels, put_creates=settings.put_creates)
            uploads.append(draft)
    blobs = Blobs(store, labels, put_creates=settings.put_creates, past=past, draft=draft)
    sources = Sources(provider.measure, quotas=quotas)
    metrics = Metrics(exposition(sources))
    more = [metrics] if settings.metrics is None else []
    page = Page(bool(uploads), provider.history is not None) if settings.page else None
    lists.page = page
    files = [] if page is None else [PageFiles()]
    usage = Usage(store, quotas, settings.keep, counts=settings.store is None)
    sign_in = None if page is None else page.sign_in
    dispatcher = Dispatcher(
        [blobs, lists, *uploads, Status(store, checks, notes), usage, *files, *more],
        browsers,
        answers,
        None if watch is None else Guard(watch.door, settings.remote_user, sign_in),
        settings.trusted_proxy,
    )
    access_log = make_access_log(settings)
    listeners: list[Callable[[Exchange], None]] = [log_answer] if settings.debug else []
    if access_log is not None:
        listeners.append(access_log.add)
    factory = HTTPFactory(
        dispatcher.dispatch, make_limits(settings), reactor, answered=tell_each(listeners)
    )
    # What an answer says to pages of other origins is not kept with it.
    if settings.memory_cache and origins is None:
        factory.shortcut = dispatcher.shortcut
    endpoints = [(listen, make_endpoint(reactor, listen)) for listen in settings.listen]
    listener = Listener(endpoints, factory, browsers.listening_on)
    daemon = Daemon(settings, store, listener, reactor, refuse)
    daemon.giving_up.append(provider.give_up)
    if watch is not None:
        daemon.add_background(watch)
        daemon.parts.append(Rereading(watch))
        daemon.giving_up.append(watch.give_up)
    if settings.metrics is not None:
        daemon.add_background(make_metrics_listener(settings.metrics, metrics, settings, reactor))
    sources.factory, sources.log, sources.access = factory, access_log, watch
    sources.collector, sources.scrubber = daemon.collector, daemon.scrubber
    sources.summary = lambda: daemon.summary
    checks["running"] = lambda: "" if daemon.running else str(Stopping())
    if access_log is not None:
        daemon.log_to(access_log)

    def status() -> str:
        return f"{provider.status()}, {factory.connections} connections"

    daemon.status = status
    daemon.caution = provider.caution

    def tune(new: Settings) -> None:
        daemon.settings = new
        factory.limits = make_limits(new)
        lists.places.count = new.max_lists
        lifetimes.rules = new.expire
        provider.tune(new)

    if reread is not None:
        daemon.parts.append(Tuning(settings, reread, tune))
    return daemon


def make_metrics_listener(
    listen: str, metrics: Metrics, settings: Settings, reactor: Any
) -> Listener:
    """A listener that has the metrics and nothing else."""
    browsers = Browsers(settings.hosts)
    factory = HTTPFactory(Dispatcher([metrics], browsers).dispatch, make_limits(settings), reactor)
    listener = Listener([(listen, make_endpoint(reactor, listen))], factory, browsers.listening_on)
    listener.setName("metrics")
    return listener


def make_watch(settings: Settings, reactor: Any, refuse: Callable[[str], NoReturn]) -> Watch | None:
    """Read the access file, if there is one, and watch it."""
    if settings.access is None:
        return None
    try:
        return Watch(settings.access, reactor, objection=partial(objection, settings))
    except (BadFile, NoBcrypt) as error:
        refuse(str(error))


def make_access_log(settings: Settings) -> LineFile | None:
    """The access log, if there is to be one."""
    if settings.access_log is None:
        return None
    return LineFile(settings.access_log, settings.access_log_format.form)


def tell_each(
    listeners: Sequence[Callable[[Exchange], None]],
) -> Callable[[Exchange], None] | None:
    """One function that tells of an answer to all of these; None if there are none."""
    if len(listeners) < 2:
        return next(iter(listeners), None)

    def tell(exchange: Exchange) -> None:
        for each in listeners:
            each(exchange)

    return tell


def make_limits(settings: Settings) -> Limits:
    """The wire's limits: the settings of the same names, or the machine's share for "auto"."""
    values = asdict(settings)
    named = {each.name: values[each.name] for each in fields(Limits) if each.name in values}
    named["max_blob_size"] = settings.max_blob_size or MAX_BODY
    named["max_connections"] = connection_limit(settings)
    return Limits(**named, turned_away=share_of_files(5), probes=PROBES)


def connection_limit(settings: Settings) -> int:
    """The most connections at a time. "auto" leaves a fifth of the open files to blobs."""
    if settings.max_connections is not None:
        return settings.max_connections
    return share_of_files(80)
