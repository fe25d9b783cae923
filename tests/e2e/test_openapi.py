"""schemathesis drives a real daemon from its own description."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from gostore.access.tokens import digest_of
from gostore.commands.trial_daemon import ask
from tests.e2e.conftest import Make
from tests.e2e.daemon import SOAK, Daemon

CONFIG = Path(__file__).with_name("schemathesis.toml")
EXAMPLES = 500 if SOAK else 5
SEED = 20261126


def test_schemathesis(daemon: Daemon, tmp_path: Path) -> None:
    """Examples, boundaries, random and stateful requests: every answer is one that is described."""
    drive(daemon, tmp_path, EXAMPLES)


def test_schemathesis_with_access(make_daemon: Make, tmp_path: Path) -> None:
    """The same holds with an access file, for a token that may do everything."""
    rules = tmp_path / "access.conf"
    digest = digest_of("gst_x").hex()
    rules.write_text(f"[token all]\nsecret = sha256:{digest}\ngrant = all\n")
    daemon = make_daemon("--access", str(rules)).start()
    options = ["--header=Authorization: Bearer gst_x"]
    if not SOAK:
        # The boundaries of each field are tried above, by a thousand requests.
        options.append("--phases=examples,fuzzing,stateful")
    drive(daemon, tmp_path, EXAMPLES if SOAK else 2, *options)


def drive(daemon: Daemon, tmp_path: Path, examples: int, *options: str) -> None:
    """Let schemathesis ask a daemon for all that it can think of."""
    command = [
        sys.executable,
        "-c",
        # Any bytes will do for a part of an upload.
        "from schemathesis import serializer; from schemathesis.cli import schemathesis;"
        " serializer.alias('application/offset+octet-stream', 'application/octet-stream');"
        " schemathesis()",
        f"--config-file={CONFIG}",
        "run",
        f"{daemon.url}/openapi.json",
        "--checks=all",
        "--phases=examples,coverage,fuzzing,stateful",
        f"--seed={SEED}",
        f"--max-examples={examples}",
        "--no-color",
        "--report-dir",
        str(tmp_path),
        *options,
    ]
    ended = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=3000, check=False
    )
    assert ended.returncode == 0, ended.stdout[-6000:] + ended.stderr[-2000:]
    summary = ended.stdout[ended.stdout.index("SUMMARY") :]
    print(summary)
    cases = re.search(r"(\d+) generated", summary)
    assert cases is not None and int(cases[1]) > 10 * examples
    connection = daemon.connect()
    assert ask(connection, "GET", "/healthz").status == 200
    connection.close()
    assert "Traceback" not in daemon.said
