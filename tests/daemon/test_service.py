"""Tests for gostore.daemon.service: the order of starting and stopping, and what it logs."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any, NoReturn, cast

from attrs import evolve, fields
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import ILogObserver, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from gostore.access.grants import Verb
from gostore.access.watch import Watch
from gostore.bucket.place import parse_place
from gostore.daemon import service
from gostore.daemon.line_file import LineFile
from gostore.daemon.listener import Listener
from gostore.daemon.reloading import CannotReload
from gostore.daemon.service import Daemon
from gostore.daemon.settings import LIMITS, TABLE, Settings
from gostore.errors import DiskFailed, VolumeInUse
from gostore.store.interface import Summary
from gostore.wire import MAX_BODY, HTTPFactory, Limits

ANYWHERE = IPv4Address("TCP", "0.0.0.0", 7777)
WAITING = "Waiting for 3 connections, 2 uploads, at most 9 seconds"


class Refused(Exception):
    """What the refuse function of these tests raises."""


def refuse(line: str) -> NoReturn:
    """Refuse to start, by an exception a test can catch."""
    raise Refused(line)


class Journal:
    """What happened, in order; with failures and unfired Deferreds for the steps named."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.failing: dict[str, Exception] = {}
        self.waiting: dict[str, Deferred[None]] = {}

    def step(self, name: str) -> Deferred[None]:
        """Note a step; it has happened when the Deferred fires."""
        self.steps.append(name)
        if name in self.failing:
            raise self.failing[name]
        return self.waiting.get(name) or succeed(None)


class JournalStore:
    """A store that only notes its life."""

    uploads = 2

    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    def open(self) -> None:
        """Note it."""
        self.journal.step("open")

    @property
    def verifier(self) -> JournalStore:
        """It verifies its blobs itself."""
        return self

    def start(self) -> Summary:
        """Note it."""
        self.journal.step("start")
        return Summary(3, 0, 0, 0, 0, 0.25)

    def collect(self) -> Deferred[None]:
        """Note it."""
        return self.journal.step("collect")

    def next_location(self, after: str) -> str | None:
        """There is one blob."""
        return None if after else "foo"

    def verify(self, location: str, pace: object) -> Deferred[None]:
        """Note it."""
        return self.journal.step(f"verify {location}")

    def stop(self) -> Deferred[None]:
        """Note it."""
        return self.journal.step("stop")

    def close(self) -> Deferred[None]:
        """Note it."""
        return self.journal.step("close")


class JournalFactory:
    """A factory that only notes that it is told to finish."""

    connections = 3

    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    def stop(self, grace: float) -> Deferred[None]:
        """Note it."""
        return self.journal.step(f"finish within {grace}")


@implementer(IListeningPort)
class JournalPort:
    """A port that only notes that it is closed."""

    def __init__(self, journal: Journal, address: object) -> None:
        self.journal = journal
        self.address = address

    def startListening(self) -> None:
        """Listens from the beginning."""

    def getHost(self) -> Any:
        """The address listened on."""
        return self.address

    def stopListening(self) -> Deferred[None]:
        """Note it."""
        return self.journal.step("unbind")


@implementer(IStreamServerEndpoint)
class JournalEndpoint:
    """An endpoint that only notes that it is bound."""

    def __init__(self, journal: Journal, address: object) -> None:
        self.journal = journal
        self.address = address

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Note it; a failure comes by the Deferred, as with real endpoints."""
        try:
            self.journal.step("bind")
        except Exception as error:
            return fail(error)
        return succeed(JournalPort(self.journal, self.address))


class DaemonTests(SynchronousTestCase):
    """A daemon made of parts that only note what they are told."""

    def setUp(self) -> None:
        """Make a daemon that listens everywhere, and catch what it logs."""
        self.journal = Journal()
        self.clock = Clock()
        self.daemon = self.make(ANYWHERE)
        self.events: list[Any] = []
        observer = cast(ILogObserver, self.events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def make(self, address: object, **settings: Any) -> Daemon:
        """Make a daemon whose endpoint listens on an address."""
        return Daemon(
            Settings(dir="/srv/blobs", **settings),
            JournalStore(self.journal),
            Listener(
                [("tcp:7777", JournalEndpoint(self.journal, address))],
                cast(HTTPFactory, JournalFactory(self.journal)),
            ),
            self.clock,
            refuse,
        )

    def start(self) -> None:
        """Start as twistd does."""
        self.daemon.privilegedStartService()
        self.daemon.startService()

    def said(self, level: str = "info") -> list[str | None]:
        """The log lines of a level."""
        return [formatEvent(event) for event in self.events if event["log_level"].name == level]

    def test_start(self) -> None:
        """The volume is opened before the port is bound, and recovered after that."""
        self.daemon.privilegedStartService()
        self.assertEqual(self.journal.steps, ["open", "bind"])
        self.daemon.startService()
        self.assertEqual(self.journal.steps, ["open", "bind", "start"])
        self.assertTrue(self.daemon.running)

    def test_bound(self) -> None:
        """Once its port is bound, a listener says which addresses these are."""
        told: list[list[object]] = []
        factory = cast(HTTPFactory, JournalFactory(self.journal))
        Listener(
            [("tcp:7777", JournalEndpoint(self.journal, ANYWHERE))], factory, told.append
        ).privilegedStartService()
        self.assertEqual(told, [[ANYWHERE]])

    def test_start_at_once(self) -> None:
        """A runner that does not know privilegedStartService starts it in the same order."""
        self.daemon.startService()
        self.assertEqual(self.journal.steps, ["open", "bind", "start"])

    def test_constructor_does_nothing(self) -> None:
        """Making a daemon opens, binds and starts nothing: twistd forks after that."""
        self.assertEqual(self.journal.steps, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_collects(self) -> None:
        """A running daemon collects at the interval it was told."""
        self.start()
        self.clock.advance(5)
        self.assertEqual(self.journal.steps[3:], ["verify foo", "collect"])

    def test_scrubs(self) -> None:
        """A running daemon has its blobs verified, and shutting down waits for the read."""
        self.start()
        self.journal.waiting["verify foo"] = Deferred()
        self.clock.advance(0)
        self.assertEqual(self.journal.steps[3:], ["verify foo"])
        stopped = self.daemon.stopService()
        self.assertNoResult(stopped)
        self.journal.waiting["verify foo"].callback(None)
        self.successResultOf(stopped)
        self.assertEqual(self.journal.steps[-2:], ["stop", "close"])

    def test_start_lines(self) -> None:
        """Starting says where it listens, where blobs are, what to paste, what was recovered."""
        self.start()
        self.assertEqual(
            self.said(),
            [
                "Listening on http://0.0.0.0:7777",
                "Keeping blobs in /srv/blobs",
                "Try: curl --request POST http://localhost:7777/store/hello --data 'Hello!'",
                str(Summary(3, 0, 0, 0, 0, 0.25)),
            ],
        )

    def test_warning(self) -> None:
        """Listening beyond loopback is warned of; listening on loopback is not."""
        self.start()
        [warning] = self.said("warn")
        assert warning is not None
        self.assertIn("no authentication", warning)
        self.assertIn("http://0.0.0.0:7777", warning)
        self.assertTrue(warning.endswith("To keep it to this machine: -s 127.0.0.1:7777"))
        self.events.clear()
        self.daemon = self.make(IPv4Address("TCP", "127.0.0.1", 7777))
        self.start()
        self.assertEqual(self.said("warn"), [])

    def test_more_lines(self) -> None:
        """A start says where the metrics have an address of their own, and warns of the disk."""
        here = IPv4Address("TCP", "127.0.0.1", 9777)
        factory = cast(HTTPFactory, JournalFactory(self.journal))
        endpoint = JournalEndpoint(self.journal, here)
        listener = Listener([("tcp:9777", endpoint)], factory)
        listener.setName("metrics")
        self.daemon.add_background(listener)
        self.daemon.caution = lambda: "the disk forgets"
        self.start()
        self.assertEqual(self.said()[-1], "Metrics at http://127.0.0.1:9777/metrics")
        self.assertEqual(self.said("warn")[0], "the disk forgets")

    def test_log_cannot_be_written(self) -> None:
        """A log that cannot be opened refuses the start before anything is recovered."""
        self.daemon.log_to(LineFile("/nowhere/its.log", str))
        with self.assertRaises(Refused) as caught:
            self.start()
        self.assertIn("cannot write to /nowhere/its.log", str(caught.exception))
        self.assertEqual(self.journal.steps, ["open", "bind", "unbind", "close"])

    def test_no_verifier(self) -> None:
        """Where the store has nobody verify its blobs, nothing scrubs."""
        store = JournalStore(self.journal)
        type(store).verifier, verifier = None, type(store).verifier  # type: ignore[assignment]
        self.addCleanup(setattr, type(store), "verifier", verifier)
        self.daemon = self.make(ANYWHERE)
        self.assertIsNone(self.daemon.scrubber)
        self.start()
        self.clock.advance(5)
        self.assertEqual(self.journal.steps[3:], ["collect"])

    def test_volume_in_use(self) -> None:
        """A directory served by another daemon refuses the start, and nothing is bound."""
        self.journal.failing["open"] = VolumeInUse("/srv/blobs")
        with self.assertRaises(Refused) as caught:
            self.daemon.privilegedStartService()
        self.assertEqual(str(caught.exception), "/srv/blobs is already served by another daemon")
        self.assertEqual(self.journal.steps, ["open"])

    def test_port_in_use(self) -> None:
        """A port in use refuses the start with the reason, and the volume is closed again."""
        in_use = OSError(98, "Address already in use")
        self.journal.failing["bind"] = CannotListenError("", 7777, in_use)
        with self.assertRaises(Refused) as caught:
            self.daemon.privilegedStartService()
        self.assertEqual(str(caught.exception), "cannot listen on tcp:7777: Address already in use")
        self.assertEqual(self.journal.steps, ["open", "bind", "close"])

    def test_other_failure_to_listen(self) -> None:
        """Whatever else an endpoint fails with refuses the start too, and is logged in full."""
        for error, reason in [(OverflowError("too much"), "too much"), (KeyError(), "KeyError")]:
            self.journal.failing["bind"] = error
            with self.assertRaises(Refused) as caught:
                self.make(ANYWHERE).privilegedStartService()
            self.assertEqual(str(caught.exception), f"cannot listen on tcp:7777: {reason}")
            self.assertEqual(len(self.flushLoggedErrors(type(error))), 1)

    def test_recovery_fails(self) -> None:
        """A recovery that fails refuses the start, and gives port and volume back."""
        self.journal.failing["start"] = DiskFailed("EIO")
        with self.assertRaises(Refused) as caught:
            self.start()
        self.assertEqual(str(caught.exception), "The disk failed: EIO")
        self.assertEqual(self.journal.steps, ["open", "bind", "start", "unbind", "close"])

    def test_stop(self) -> None:
        """Stopping unbinds, finishes requests, ends collection, finishes commits, then unlocks."""
        self.start()
        self.clock.advance(5)
        self.journal.steps.clear()
        self.successResultOf(self.daemon.stopService())
        self.assertEqual(self.journal.steps, ["unbind", "finish within 10.0", "stop", "close"])
        self.assertFalse(self.daemon.running)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_shutdown_delay(self) -> None:
        """With --shutdown-delay the port stays open for that long, and the daemon runs no more."""
        self.daemon = self.make(ANYWHERE, shutdown_delay=3)
        self.start()
        self.clock.advance(0)
        self.journal.steps.clear()
        stopped = self.daemon.stopService()
        self.clock.advance(2)
        self.assertFalse(self.daemon.running)
        self.assertEqual(self.journal.steps, [])
        self.clock.advance(1)
        self.successResultOf(stopped)
        self.assertEqual(self.journal.steps, ["unbind", "finish within 10.0", "stop", "close"])

    def test_stop_waits_for_each_step(self) -> None:
        """No step of the shutdown begins before the one before it is over."""
        self.start()
        self.journal.steps.clear()
        steps = ["unbind", "finish within 10.0", "stop", "close"]
        self.journal.waiting = {name: Deferred() for name in steps}
        stopped = self.daemon.stopService()
        for number, name in enumerate(steps, 1):
            self.assertEqual(self.journal.steps, steps[:number])
            self.assertNoResult(stopped)
            self.journal.waiting[name].callback(None)
        self.successResultOf(stopped)

    def test_stop_says_what_it_waits_for(self) -> None:
        """What a shutdown waits for is said after a second, and not if it is over before."""
        for seconds, wanted in ((0.9, []), (1, [WAITING])):
            self.start()
            self.journal.waiting["finish within 10.0"] = Deferred()
            self.events.clear()
            stopped = self.daemon.stopService()
            self.clock.advance(seconds)
            self.assertEqual(self.said()[1:], wanted)
            self.journal.waiting["finish within 10.0"].callback(None)
            self.successResultOf(stopped)
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_waits_for_collection(self) -> None:
        """The store is not closed while a collection run is in progress."""
        self.start()
        self.journal.waiting["collect"] = Deferred()
        self.clock.advance(5)
        self.journal.steps.clear()
        stopped = self.daemon.stopService()
        self.assertEqual(self.journal.steps, ["unbind", "finish within 10.0"])
        self.journal.waiting["collect"].callback(None)
        self.successResultOf(stopped)
        self.assertEqual(self.journal.steps[2:], ["stop", "close"])

    def test_stop_goes_on(self) -> None:
        """A step of the shutdown that fails is logged, and the volume is closed all the same."""
        self.start()
        self.journal.failing["unbind"] = ZeroDivisionError()
        self.journal.failing["stop"] = ZeroDivisionError()
        self.successResultOf(self.daemon.stopService())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        self.assertEqual(self.journal.steps[-1], "close")


class BuildTests(SynchronousTestCase):
    """The daemon made of the real parts."""

    def test_build(self) -> None:
        """Building on a reactor listens on nothing, schedules nothing and opens nothing."""
        reactor = MemoryReactorClock()
        settings = Settings(dir="/nowhere")
        daemon = service.build(settings, reactor, refuse)
        self.assertEqual([each.name for each in daemon], ["listener", "collector", "scrubber"])
        self.assertEqual(reactor.tcpServers, [])
        self.assertEqual(reactor.getDelayedCalls(), [])

    def test_connection_limit(self) -> None:
        """80 % of the open files are for connections, 5 for those turned away; or as told."""
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(1000, before[1]), before[1]))
        self.assertEqual(service.connection_limit(Settings()), 800)
        self.assertEqual(service.connection_limit(Settings(max_connections=7)), 7)
        built = service.build(Settings(dir="/nowhere"), MemoryReactorClock(), refuse)
        limits = built._listener.factory.limits
        self.assertEqual((limits.max_connections, limits.turned_away), (800, 50))

    def test_memory_cache(self) -> None:
        """The cache of answers has the size of the setting; with 0 nobody asks for one."""
        for size, is_asked in ((0, False), (1 << 20, True)):
            settings = Settings(dir="/nowhere", memory_cache=size)
            built = service.build(settings, MemoryReactorClock(), refuse)
            self.assertEqual(built._listener.factory.shortcut is not None, is_asked)

    def test_limits(self) -> None:
        """The wire gets each limit that is a setting by its name, and no other."""
        settings = Settings(max_fields=7, max_blob_size=8, idle_timeout=9)
        limits = service.make_limits(settings)
        self.assertEqual((limits.max_fields, limits.max_blob_size, limits.idle_timeout), (7, 8, 9))
        self.assertEqual(service.make_limits(Settings()).max_blob_size, MAX_BODY)
        named = {each.name for each in fields(Limits)} & {each.name for each in fields(Settings)}
        self.assertLessEqual(
            {each.replace("-", "_") for each, row in TABLE.items() if row.group == LIMITS},
            named | {"max_uploads", "max_lists", "memory_cache", "upload_expires"},
        )

    def access(self, text: str) -> str:
        """The path of an access file."""
        path = Path(self.mktemp()).absolute()
        path.write_text(text)
        path.chmod(0o600)
        return str(path)

    def test_access(self) -> None:
        """With an access file the daemon watches it, and reads it again at a SIGHUP."""
        path = self.access("[anonymous]\ngrant = all\n\n[quota]\na/ = 10\n")
        daemon = service.build(Settings(dir="/nowhere", access=path), MemoryReactorClock(), refuse)
        self.assertIn("access", [each.name for each in daemon])
        [part] = daemon.parts
        self.assertEqual(part.reload(), "")
        Path(path).write_text("[anonymous]\ngrant = read\n")
        self.assertIn("access file: ", part.reload())
        Path(path).write_text("nonsense\n")
        self.assertRaises(CannotReload, part.reload)

    def test_bad_access(self) -> None:
        """A bad access file refuses the start, and so do quotas over a bucket: nobody counts it."""
        for text, store, said in (
            ("nonsense\n", None, "line 1"),
            ("[anonymous]\ngrant = all\n[quota]\na/ = 10\n", "s3://bucket/", "not for a bucket"),
        ):
            settings = Settings(dir="/nowhere", access=self.access(text))
            if store is not None:
                settings = evolve(settings, store=parse_place(store))
            with self.assertRaises(Refused) as caught:
                service.build(settings, MemoryReactorClock(), refuse)
            self.assertIn(said, str(caught.exception))

    def test_quota_while_it_runs(self) -> None:
        """Over a bucket a quota that comes later is not taken, and changes no other rule."""
        path = self.access("[anonymous]\ngrant = all\n")
        settings = Settings(store=parse_place("s3://bucket/prefix"), access=path)
        daemon = service.build(settings, MemoryReactorClock(), refuse)
        [part] = daemon.parts
        Path(path).write_text("[anonymous]\ngrant = read\n[quota]\na/ = 10\n")
        with self.assertRaisesRegex(CannotReload, "quotas are for a data directory"):
            part.reload()
        [watch] = [each for each in daemon if isinstance(each, Watch)]
        self.assertTrue(watch.error)
        self.assertTrue(watch.door.anonymous.may(Verb.DELETE, "a"))
        Path(path).write_text("[anonymous]\ngrant = read\n")
        self.assertIn("access file: ", part.reload())
        self.assertEqual((watch.error, watch.door.anonymous.may(Verb.DELETE, "a")), ("", False))

    def test_bucket(self) -> None:
        """Over a bucket the daemon is built as well, asks it nothing, and scrubs nothing."""
        settings = Settings(store=parse_place("s3://bucket/prefix"))
        daemon = service.build(settings, MemoryReactorClock(), refuse)
        self.assertEqual([each.name for each in daemon], ["listener", "collector"])
        self.assertEqual(daemon.status(), "s3://bucket/prefix: ok; 0 uploads, 0 connections")

    def test_status(self) -> None:
        """The status counts blobs, uploads and connections."""
        daemon = service.build(Settings(dir="/nowhere"), MemoryReactorClock(), refuse)
        self.assertEqual(daemon.status(), "0 blobs, 0 damaged; 0 uploads, 0 connections")

    def test_metrics_listener(self) -> None:
        """With an address of their own the metrics are there, and nowhere else."""
        reactor = MemoryReactorClock()
        settings = Settings(dir="/nowhere", metrics="tcp:9777")
        daemon = service.build(settings, reactor, refuse)
        names = [each.name for each in daemon]
        self.assertEqual(names, ["listener", "collector", "scrubber", "metrics"])

    def test_access_log(self) -> None:
        """Each answer goes to the access log, and to the daemon's own if that is to have it."""
        path = self.mktemp()
        settings = Settings(dir="/nowhere", access_log=path, debug=True)
        daemon = service.build(settings, MemoryReactorClock(), refuse)
        self.assertEqual([each.name for each in daemon][-1], "line file")
        told: list[object] = []
        tell = service.tell_each([told.append, told.append])
        assert tell is not None
        exchange = cast(Any, object())
        tell(exchange)
        self.assertEqual(told, [exchange, exchange])
        self.assertIsNone(service.tell_each([]))
        self.assertEqual(service.tell_each([told.append]), told.append)

    def test_tune(self) -> None:
        """Limits that have changed at a SIGHUP are those of the running daemon from then on."""
        settings = Settings(dir="/nowhere", max_lists=3)
        found = evolve(settings, max_connections=9, max_lists=4)
        daemon = service.build(settings, MemoryReactorClock(), refuse, lambda: found)
        said = daemon.parts[-1].reload()
        self.assertEqual(said, "max-lists was 3 and is 4; max-connections was auto and is 9")
        self.assertEqual(daemon._listener.factory.limits.max_connections, 9)
        self.assertEqual(daemon.settings, found)
