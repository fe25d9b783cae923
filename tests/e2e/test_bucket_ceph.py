"""Daemons over Ceph's RGW, the second engine of the long runs (GOSTORE_SOAK=1)."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.e2e import test_bucket
from tests.e2e.buckets import Bucket, Clients
from tests.e2e.ceph import Ceph, missing
from tests.e2e.daemon import SOAK, eventually

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
        partial(test_bucket.test_id_bits, bits=16),
    ],
)
def test_as_over_seaweedfs(bucket: Bucket, test: object) -> None:
    """What holds over SeaweedFS holds over Ceph."""
    assert callable(test)
    test(bucket)


def test_kill_daemons(bucket: Bucket) -> None:
    """kill -9 of daemons, one after the other, under twelve clients: every answer was true."""
    daemons = [bucket.make().start() for _ in range(3)]
    clients = Clients(daemons, 12, 8)
    idle = threading.Event()

    def kill() -> None:
        for number in range(6):
            daemons[number % 3].kill()
            daemons[number % 3].start()
            idle.wait(2.0)

    clients.run(kill, 9)
    assert clients.check(6) > 100


def test_kill_an_osd(ceph: Ceph, bucket: Bucket) -> None:
    """kill -9 of one of three OSDs, which comes back: every answer was true, and writes go on."""
    daemons = [bucket.make().start() for _ in range(2)]
    clients = Clients(daemons, 8, 12)

    def kill() -> None:
        ceph.kill("osd1")
        eventually(lambda: daemons[0].ask("POST", "after", b"x").status in (204, 409), "writes")
        ceph.restart("osd1")

    clients.run(kill, 30)
    assert clients.check() > 50
