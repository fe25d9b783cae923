"""The metrics of a real daemon: each moves when it should, and Prometheus reads them."""

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from tests.bucket.fake_s3 import BUCKET, FakeS3
from tests.e2e.conftest import Make
from tests.e2e.daemon import PATIENCE, Daemon, ask, eventually
from tests.e2e.seaweed import CREDENTIALS
from tests.e2e.test_clients import needs

OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}

Samples = Mapping[str, float]


def scrape(daemon: Daemon, headers: Mapping[str, str] | None = None) -> str:
    """The metrics as they are sent."""
    connection = daemon.connect()
    answer = ask(connection, "GET", "/metrics", headers=headers)
    connection.close()
    assert answer.status == 200
    return answer.body.decode()


def named(name: str, **labels: str) -> str:
    """A sample by its name and labels."""
    return f"{name}{dict(sorted(labels.items())) or ''}"


def samples(daemon: Daemon) -> Samples:
    """The value of each sample by its name and labels."""
    return {
        named(each.name, **each.labels): each.value
        for family in parse_text(scrape(daemon))
        for each in family.samples
    }


def grown(daemon: Daemon, before: Samples, name: str) -> float:
    """How much a sample has grown since; one that was not there was 0."""
    return samples(daemon).get(name, 0.0) - before.get(name, 0.0)


def test_requests(make_daemon: Make) -> None:
    """Requests are counted by method and status, with their durations and sizes."""
    daemon = make_daemon().start()
    assert daemon.ask("POST", "a", bytes(2000)).status == 204
    before = samples(daemon)
    connection = daemon.connect()
    for _ in range(5):  # the later ones repeat the first
        assert ask(connection, "GET", "/store/a").status == 200
    connection.close()
    assert daemon.ask("GET", "b").status == 404
    assert daemon.ask("PUT", "a", bytes(3000)).status == 200
    assert daemon.ask("BREW", "a").status == 405
    after = samples(daemon)

    def more(name: str) -> float:
        return after.get(name, 0.0) - before.get(name, 0.0)

    for method, code, count in (
        ("GET", 404, 1),
        ("PUT", 200, 1),
        ("other", 405, 1),
        ("GET", 200, 5 + 1),
    ):
        name = named("gostore_http_requests_total", method=method, code=str(code))
        assert more(name) == count, name
    for metric in ("request_duration_seconds", "request_size_bytes", "response_size_bytes"):
        assert more(named(f"gostore_http_{metric}_count", method="PUT")) == 1
        assert more(named(f"gostore_http_{metric}_count", method="GET")) == 7
    assert more(named("gostore_http_request_size_bytes_sum", method="PUT")) == 3000
    assert more(named("gostore_http_response_size_bytes_sum", method="GET")) > 10_000
    assert more(named("gostore_http_request_duration_seconds_sum", method="PUT")) > 0
    bucket = "gostore_http_request_size_bytes_bucket"
    assert more(named(bucket, method="PUT", le="16384.0")) == 1
    assert more(named(bucket, method="PUT", le="1024.0")) == 0


def test_store(make_daemon: Make) -> None:
    """Blobs and bytes by state, commits, ids, the disk, the collector, the scrub, the start."""
    daemon = make_daemon("--gc-interval", "3600").start()
    before = samples(daemon)
    for name in "abc":
        assert daemon.ask("POST", name, bytes(1000)).status == 204
    # A blob that is replaced before it has files is never dead on the disk.
    eventually(lambda: len(daemon.records()) == 3, "they have their files")
    assert daemon.ask("PUT", "a", bytes(500)).status == 200
    assert daemon.ask("DELETE", "b").status == 200

    def state(name: str) -> str:
        return named("gostore_blobs", state=name)

    eventually(lambda: samples(daemon)[state("dead")] == 2, "two are dead")
    after = samples(daemon)
    assert [after[state(name)] for name in ("ok", "damaged", "dead")] == [2, 0, 2]
    sizes = [named("gostore_blob_bytes", state=name) for name in ("ok", "damaged", "dead")]
    assert [after[size] for size in sizes] == [1500, 0, 2000]
    assert after["gostore_oldest_dead_seconds"] > 0
    assert after["gostore_ids"] == 4 and after["gostore_ids_limit"] == 65536
    for name in ("batch_changes", "wait_seconds", "flush_seconds"):
        assert after[f"gostore_commit_{name}_count"] - before[f"gostore_commit_{name}_count"] == 5
    assert after["gostore_commit_batch_changes_sum"] == 5
    assert after["gostore_commit_flush_seconds_sum"] > 0
    assert after["gostore_journal_fill_ratio"] > before["gostore_journal_fill_ratio"]
    assert after["gostore_disk_free_bytes"] > after["gostore_disk_reserve_bytes"] > 0
    assert after["gostore_read_only"] == 0
    assert after["gostore_recovery_seconds"] > 0
    found = named("gostore_recovery_findings", kind="restored")
    assert after[found] == 0
    [info] = [name for name in after if name.startswith("gostore_build_info")]
    assert "version" in info and "python" in info
    assert after["process_open_fds"] > 3 and after["process_resident_memory_bytes"] > 1 << 20
    assert any(name.startswith("python_gc_") for name in after)
    # Damage is found when the blob is read.
    (daemon.place("c") / "data.raw").write_bytes(b"x" * 1000)
    daemon.ask("GET", "c")
    assert daemon.stop() == 0
    daemon.start("--gc-interval", "0.2", "--scrub-pause", "0.5")
    assert samples(daemon)[found] == 1
    (daemon.place("a") / "data.raw").write_bytes(b"y" * 500)
    runs = named("gostore_collector_runs_total", outcome="success")
    eventually(lambda: samples(daemon)[runs] > 1, "the collector runs")
    last = "gostore_scrub_last_round_timestamp_seconds"
    eventually(lambda: time.time() - samples(daemon)[last] < 600, "the scrub has been round")
    eventually(lambda: samples(daemon)["gostore_scrub_damaged_total"] == 1, "it finds damage")
    assert samples(daemon)["gostore_scrub_bytes_total"] >= 500
    assert samples(daemon)[state("damaged")] == 2
    assert [samples(daemon)[size] for size in sizes] == [0, 1500, 0]
    assert samples(daemon)["gostore_oldest_dead_seconds"] == 0
    before = samples(daemon)
    # A large blob has files from the beginning.
    assert daemon.ask("POST", "d", bytes(100_000)).status == 204
    assert daemon.ask("DELETE", "d").status == 200
    eventually(lambda: grown(daemon, before, "gostore_collected_total") > 0, "it collects")


def test_in_progress(make_daemon: Make) -> None:
    """Uploads and connections are counted while they are there; so are those that are too many."""
    daemon = make_daemon("--max-connections", "3").start()
    before = samples(daemon)
    assert before["gostore_uploads"] == 0 and before["gostore_connections_limit"] == 3
    upload = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=PATIENCE)
    upload.putrequest("POST", "/store/a")
    upload.putheader("Content-Length", "100000")
    upload.endheaders(b"x" * 70000)
    eventually(lambda: samples(daemon)["gostore_uploads"] == 1, "an upload")
    idle = daemon.connect()
    assert ask(idle, "GET", "/livez").status == 200
    assert ask(idle, "GET", "/metrics").status == 200
    assert samples(daemon)["gostore_connections"] == 3
    third = daemon.connect()
    # The connection of the scrape may not be gone yet.
    eventually(lambda: ask(third, "GET", "/store/a").status == 404, "there is room for one more")
    assert daemon.ask("GET", "a").status == 503
    third.close()
    idle.close()
    refused = named("gostore_connections_refused_total", how="told")
    connection = daemon.connect()
    eventually(lambda: ask(connection, "GET", "/metrics").status == 200, "there is room")
    connection.close()
    eventually(lambda: samples(daemon)["gostore_connections"] == 2, "the others are gone")
    assert grown(daemon, before, refused) >= 1
    upload.close()


def test_forms(make_daemon: Make) -> None:
    """Prometheus' text and OpenMetrics are the same metrics; HEAD has no text."""
    daemon = make_daemon().start()
    text, open_text = scrape(daemon), scrape(daemon, OPENMETRICS)
    assert open_text.endswith("# EOF\n")
    names = [
        {family.name.removesuffix("_info") for family in families}
        for families in (parse_text(text), parse_openmetrics(open_text))
    ]
    assert names[0] == names[1]
    connection = daemon.connect()
    answer = ask(connection, "GET", "/metrics", headers=OPENMETRICS)
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    answer = ask(connection, "HEAD", "/metrics")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    connection.close()


def test_troubles(make_daemon: Make) -> None:
    """A data directory that is away, a log on a full disk, and what a start finds are figures."""
    daemon = make_daemon("--access-log", "/dev/full").start()
    before = samples(daemon)
    assert before["gostore_read_only"] == 0
    away = daemon.directory.with_name("away")
    daemon.directory.rename(away)
    eventually(lambda: samples(daemon)["gostore_read_only"] == 1, "it refuses writes")
    away.rename(daemon.directory)
    eventually(lambda: samples(daemon)["gostore_read_only"] == 0, "it takes them again")
    dropped = "gostore_access_log_dropped_total"
    eventually(lambda: grown(daemon, before, dropped) > 0, "lines are dropped")
    # 8 MiB are one half of the journal.
    assert daemon.ask("POST", "a", b"data").status == 204
    connection = daemon.connect()
    for _ in range(300):
        assert ask(connection, "PUT", "/store/a", bytes(60_000)).status == 200
    connection.close()
    eventually(lambda: grown(daemon, before, "gostore_checkpoints_total") > 0, "checkpoints")
    assert daemon.stop() == 0
    (daemon.directory / "photos").mkdir()
    (daemon.directory / ".new-7").mkdir()
    (daemon.directory / "8").mkdir()
    (daemon.directory / "8" / "data.raw").write_bytes(b"?")
    (daemon.directory / "8" / "blob_state.base64.json").write_bytes(b"?")
    after = samples(daemon.start())
    kinds = ("restored", "discarded", "quarantined", "foreign")
    found = [after[named("gostore_recovery_findings", kind=kind)] for kind in kinds]
    assert found == [1, 1, 1, 1]


@needs("promtool")
def test_promtool(make_daemon: Make) -> None:
    """promtool finds nothing to say of the names, the units and the texts."""
    daemon = make_daemon("--access-log", "-").start()
    assert daemon.ask("POST", "a", b"data").status == 204
    checked = subprocess.run(
        ["promtool", "check", "metrics"],
        input=scrape(daemon),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


EXAMPLES = Path(__file__).parent.parent.parent / "examples" / "prometheus"


@needs("promtool")
@pytest.mark.parametrize(
    "command",
    [
        "check rules alerts.yml",
        "test rules alerts_test.yml",
        "test rules alerts_sweep_test.yml",
        "check config prometheus.yml",
    ],
)
def test_rules(command: str) -> None:
    """The alert rules are raised when they should be, and not otherwise."""
    done = subprocess.run(
        ["promtool", *command.split()],
        cwd=EXAMPLES,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def queries() -> list[str]:
    """The queries of the dashboard, for one instance."""
    dashboard = json.loads((EXAMPLES / "dashboard.json").read_text())
    found = [each["expr"] for panel in dashboard["panels"] for each in panel["targets"]]
    return [each.replace("$instance", ".+") for each in found]


@pytest.fixture
def over_bucket(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon over a bucket, which has been asked for something."""
    engine = FakeS3()
    options = ("--store", f"s3://{BUCKET}/main", "--s3-endpoint", engine.endpoint)
    daemon = Daemon(tmp_path / "none", *options, env=CREDENTIALS)
    try:
        assert daemon.start().ask("POST", "a", b"data").status == 204
        yield daemon
    finally:
        daemon.close()
        engine.close()


def test_known(make_daemon: Make, over_bucket: Daemon, tmp_path: Path) -> None:
    """Every metric that an alert or the dashboard asks for is there."""
    file = tmp_path / "access"
    file.write_text("[anonymous]\ngrant = all\n")
    file.chmod(0o600)
    daemon = make_daemon("--access-log", "-", "--access", str(file)).start()
    known = set()
    for each in (daemon, over_bucket):
        scrape(each)  # A request is counted when it has ended.
        known |= {re.sub(r"[{\[].*", "", name) for name in samples(each)}
    asked = " ".join([*queries(), (EXAMPLES / "alerts.yml").read_text()])
    names = set(re.findall(r"gostore_[a-z_]+", asked))
    assert len(names) > 20
    assert names <= known, names - known


@needs("prometheus")
def test_prometheus(make_daemon: Make, over_bucket: Daemon, tmp_path: Path) -> None:
    """A real Prometheus scrapes two daemons, and each query of the dashboard finds something."""
    file = tmp_path / "access"
    file.write_text('[anonymous]\ngrant = all\n[quota]\n"" = 1MiB\n')
    file.chmod(0o600)
    daemon = make_daemon("--access", str(file)).start()
    assert daemon.ask("POST", "a", b"data").status == 204
    config = (EXAMPLES / "prometheus.yml").read_text().replace("15s", "1s")
    targets = f'127.0.0.1:{daemon.port}", "127.0.0.1:{over_bucket.port}'
    config = config.replace("127.0.0.1:7777", targets)
    (tmp_path / "prometheus.yml").write_text(config)
    (tmp_path / "alerts.yml").write_text((EXAMPLES / "alerts.yml").read_text())
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    command = ["prometheus", f"--web.listen-address=127.0.0.1:{port}"]
    command += ["--config.file=prometheus.yml", f"--storage.tsdb.path={tmp_path}/tsdb"]
    with (tmp_path / "prometheus.log").open("w") as log:
        process = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log)

    def found(query: str) -> list[object]:
        url = f"http://127.0.0.1:{port}/api/v1/query?query={quote(query)}"
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
                result: list[object] = json.load(answer)["data"]["result"]
        except urllib.error.URLError:
            return []  # It has only just begun.
        return result

    try:
        eventually(lambda: found("rate(gostore_connections[5m])"), "it has scraped twice")
        for query in queries():
            eventually(lambda query=query: found(query), query)  # type: ignore[misc]
    finally:
        process.kill()
        process.wait(PATIENCE)


def test_own_address(make_daemon: Make) -> None:
    """With --metrics they are on an address of their own, and there is nothing else there."""
    daemon = make_daemon("--metrics", "127.0.0.1:0").start()
    url = daemon.wait_for("Metrics at http://127.0.0.1:[0-9]+/metrics").removeprefix("Metrics at ")
    connection = daemon.connect()
    assert ask(connection, "GET", "/metrics").status == 404
    connection.close()
    with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
        assert b"gostore_blobs{" in answer.read()
    other = http.client.HTTPConnection("127.0.0.1", int(url.split(":")[2].split("/")[0]))
    assert ask(other, "GET", "/store/").status == 404
    assert ask(other, "POST", "/store/a", b"data").status == 404
    other.close()
    assert daemon.stop() == 0


def test_grant(make_daemon: Make, tmp_path: Path) -> None:
    """With an access file they need the grant; a file that goes bad is counted."""
    file = tmp_path / "access"
    file.write_text("[anonymous]\ngrant = read\n")
    file.chmod(0o600)
    daemon = make_daemon("--access", str(file)).start()
    connection = daemon.connect()
    assert ask(connection, "GET", "/metrics").status == 401
    file.write_text("[anonymous]\ngrant = read\n    metrics\n")
    eventually(lambda: ask(connection, "GET", "/metrics").status == 200, "the grant is read")
    assert samples(daemon)["gostore_access_file_bad"] == 0
    wrong, throttled = (
        named("gostore_credentials_refused_total", reason=reason)
        for reason in ("wrong", "throttled")
    )
    assert (samples(daemon)[wrong], samples(daemon)[throttled]) == (0, 0)
    for number in range(12):
        headers = {"Authorization": f"Bearer gst_{number}"}
        status = ask(connection, "GET", "/store/a", headers=headers).status
        assert status == (401 if number < 10 else 429)
    assert (samples(daemon)[wrong], samples(daemon)[throttled]) == (10, 2)
    file.write_text("[anonymous]\ngrant = nonsense\n")
    eventually(lambda: samples(daemon)["gostore_access_file_bad"] == 1, "the file is bad")
    connection.close()
