"""schemathesis drives a real daemon from its own description."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.e2e.daemon import SOAK, Daemon

CONFIG = Path(__file__).with_name("schemathesis.toml")
EXAMPLES = 500 if SOAK else 25
SEED = 20261126


def test_schemathesis(daemon: Daemon, tmp_path: Path) -> None:
    """Examples, boundaries, random and stateful requests: every answer is one that is described."""
    command = [
        sys.executable,
        "-c",
        "from schemathesis.cli import schemathesis; schemathesis()",
        f"--config-file={CONFIG}",
        "run",
        f"{daemon.url}/openapi.json",
        "--checks=all",
        "--phases=examples,coverage,fuzzing,stateful",
        f"--seed={SEED}",
        f"--max-examples={EXAMPLES}",
        "--no-color",
        "--report-dir",
        str(tmp_path),
    ]
    ended = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=3000, check=False
    )
    assert ended.returncode == 0, ended.stdout[-6000:] + ended.stderr[-2000:]
    summary = ended.stdout[ended.stdout.index("SUMMARY") :]
    print(summary)
    cases = re.search(r"(\d+) generated", summary)
    assert cases is not None and int(cases[1]) > 10 * EXAMPLES
    assert daemon.ask("GET", "").status == 200
    assert "Traceback" not in daemon.said
