"""Daemons over Ceph's RGW, the second engine of the long runs (GOSTORE_SOAK=1)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.e2e import test_bucket, test_bucket_kills
from tests.e2e import test_migrate as test_migrate_seaweed
from tests.e2e.buckets import Bucket, Clients
from tests.e2e.ceph import Ceph, missing
from tests.e2e.daemon import SOAK, Daemon, ask, eventually
from tests.e2e.seaweed import BUCKET, CREDENTIALS
from tests.e2e.test_bucket_faults import TIMES, again_and_again, freeze_daemons
from tests.e2e.test_bucket_inputs import refused_start
from tests.e2e.test_bucket_kills import KILLS, Relayed, relay_to

pytestmark = [
    pytest.mark.skipif(not SOAK, reason="long: GOSTORE_SOAK=1 runs it"),
    pytest.mark.skipif(
        bool(missing()),
        reason=f"NOT TESTED over Ceph: there is no {', '.join(missing())} (apt-get install"
        " ceph-mon ceph-mgr ceph-osd radosgw ceph-common)",
    ),
    pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl"),
]


@pytest.fixture(scope="module")
def ceph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ceph]:
    """A Ceph for all tests; each has a prefix of its own."""
    running = Ceph(tmp_path_factory.mktemp("ceph"))
    try:
        yield running.start()
    finally:
        running.close()


@pytest.fixture
def bucket(ceph: Ceph, tmp_path: Path) -> Iterator[Bucket]:
    """A prefix of the test's own."""
    made = Bucket(ceph, tmp_path, tmp_path.name)
    yield made
    made.close()


@pytest.mark.parametrize(
    "test",
    [
        test_bucket.test_verbs,
        test_bucket.test_locations,
        test_bucket.test_large,
        test_bucket.test_cut_upload,
        test_bucket.test_abandoned_parts,
        test_bucket.test_garbage,
        test_bucket.test_damage_by_name,
        test_bucket.test_copies,
        partial(test_bucket.test_id_bits, bits=16),
    ],
)
def test_as_over_seaweedfs(bucket: Bucket, test: object) -> None:
    """What holds over SeaweedFS holds over Ceph."""
    assert callable(test)
    test(bucket)


@pytest.fixture(scope="module")
def relayed(ceph: Ceph, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relayed]:
    """A relay for all the tests."""
    with relay_to(ceph, ceph.rgw, tmp_path_factory.mktemp("kills")) as found:
        yield found


LARGE_KILLS = [each for each in KILLS if each[0].startswith("large")]
LARGE_KILLS += [(name, "HEAD data", 0, "after") for name in ("large POST", "large PUT")]


@pytest.mark.parametrize(("name", "step", "nth", "when"), LARGE_KILLS)
def test_kill_in_large(relayed: Relayed, name: str, step: str, nth: int, when: str) -> None:
    """A daemon dies at each request of a large body; Ceph is also asked for the ETag of it."""
    test_bucket_kills.test_verbs(relayed, name, step, nth, when)


def test_migrate(ceph: Ceph, tmp_path: Path) -> None:
    """Blobs go from a directory to Ceph and back, interrupted, and are the same."""
    test_migrate_seaweed.test_there_and_back(ceph, tmp_path)


def test_commands(ceph: Ceph, tmp_path: Path) -> None:
    """migrate, show and fsck say over Ceph what they say over SeaweedFS."""
    test_migrate_seaweed.test_commands(ceph, tmp_path)


def test_accounts(ceph: Ceph, tmp_path: Path) -> None:
    """A bucket that is missing, or another account's, is refused; a suspended account is 500."""
    ceph.make_user("second", "second-key")
    ceph.make_bucket("seconds", "second-key")
    env = {**CREDENTIALS, "AWS_ACCESS_KEY_ID": "second-key"}

    def over(bucket: str) -> Daemon:
        options = ("--store", f"s3://{bucket}/main", "--s3-endpoint", ceph.endpoint)
        return Daemon(tmp_path / "none", *options, "--gc-interval", "0.2", env=env)

    assert "AccessDenied" in refused_start(over(BUCKET))
    assert "NoSuchBucket" in refused_start(over("nowhere"))
    daemon = over("seconds").start()
    try:
        assert daemon.ask("POST", "foo", b"first").status == 204
        ceph.administer("user", "suspend", "--uid=second")
        eventually(lambda: ask(daemon.connect(), "GET", "/readyz").status == 503, "not ready")
        assert daemon.ask("GET", "foo").status == 500
        assert daemon.ask("PUT", "foo", b"second").status == 500
        daemon.wait_for("the bucket refuses requests: UserSuspended")
        ceph.administer("user", "enable", "--uid=second")
        eventually(lambda: ask(daemon.connect(), "GET", "/readyz").status == 200, "ready again")
        assert daemon.ask("GET", "foo").body == b"first"
    finally:
        daemon.close()


def test_quota(ceph: Ceph, tmp_path: Path) -> None:
    """A bucket whose quota is used up: writes are 507, small and large, and reads go on."""
    ceph.make_user("small", "small-key")
    ceph.make_bucket("small", "small-key")
    quota = ("--uid=small", "--quota-scope=user")
    ceph.administer("quota", "set", *quota, "--max-objects=40")
    ceph.administer("quota", "enable", *quota)
    options = ("--store", "s3://small/main", "--s3-endpoint", ceph.endpoint)
    env = {**CREDENTIALS, "AWS_ACCESS_KEY_ID": "small-key"}
    daemon = Daemon(tmp_path / "none", *options, env=env)
    try:
        assert daemon.start().ask("POST", "first", b"first").status == 204
        statuses = [daemon.ask("POST", f"more/{n}", b"x").status for n in range(40)]
        assert set(statuses) == {204, 507}
        assert statuses[-1] == 507
        assert daemon.ask("POST", "large", bytes(6 << 20)).status == 507
        assert daemon.ask("GET", "first").body == b"first"
        assert daemon.ask("GET", "large").status == 404
        assert ask(daemon.connect(), "GET", "/readyz").status == 200
        daemon.wait_for("There is no space left to store this")
    finally:
        daemon.close()


def test_kill_daemons(bucket: Bucket) -> None:
    """kill -9 of daemons, one after the other, under twelve clients: every answer was true."""
    daemons = [bucket.make().start() for _ in range(3)]
    clients = Clients(daemons, 12, 8)

    def kill(number: int) -> None:
        daemons[number % 3].kill()
        daemons[number % 3].start()

    again_and_again(clients, kill)
    assert clients.check(TIMES) > 100


def test_freeze_a_daemon(bucket: Bucket) -> None:
    """SIGSTOP of a daemon beyond the grace of a collector: every answer was true."""
    freeze_daemons(bucket, 4)


def test_kill_an_osd(ceph: Ceph, bucket: Bucket) -> None:
    """kill -9 of one of three OSDs, which comes back: every answer was true, and writes go on."""
    daemons = [bucket.make().start() for _ in range(3)]
    clients = Clients(daemons, 12, 8)

    def kill(number: int) -> None:
        ceph.kill(f"osd{number}")
        eventually(
            lambda: daemons[0].ask("POST", f"after/{number}", b"x").status in (204, 409), "writes"
        )
        ceph.restart(f"osd{number}")
        eventually(lambda: ceph.up() == ceph.osds, "it is back")

    again_and_again(clients, kill, 3)
    assert clients.check(3) > 50


def test_kill_the_gateway(ceph: Ceph, bucket: Bucket) -> None:
    """kill -9 of the only RGW, which comes back: every answer was true."""
    daemons = [bucket.make().start() for _ in range(3)]
    clients = Clients(daemons, 12, 8)

    def kill(number: int) -> None:
        ceph.kill("rgw")
        ceph.restart("rgw")
        eventually(lambda: daemons[0].ask("GET", "x").status == 404, "it is back")

    again_and_again(clients, kill, 4)
    assert clients.check(4) > 50
