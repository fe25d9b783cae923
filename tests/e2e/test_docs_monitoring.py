"""docs/monitoring.md: every command of the page, in its order, answers what the page shows."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import Make
from tests.e2e.daemon import PATIENCE
from tests.e2e.test_docs_http import EXAMPLE, HOST, lines, pattern

PAGE = (Path(__file__).parent.parent.parent / "docs" / "monitoring.md").read_text(encoding="utf-8")

#: The options of the daemon that all commands of the page ask.
[OPTIONS] = re.findall(r"^    twistd -n gostore --dir /tmp/blobs ?(.*)$", PAGE, re.MULTILINE)

EXAMPLES = EXAMPLE.findall(PAGE)


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_every_command(make_daemon: Make, tmp_path: Path) -> None:
    """What the page shows is what a person gets who pastes it from top to bottom."""
    options = OPTIONS.replace("/tmp", str(tmp_path)).split()
    daemon = make_daemon(*options, directory=tmp_path / "blobs").start()
    for command, shown in EXAMPLES:
        done = subprocess.run(
            ["sh", "-c", command.replace(HOST, daemon.url).replace("/tmp", str(tmp_path))],
            cwd=tmp_path,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stderr.decode()}"
        got, wanted = lines(done.stdout.decode()), lines(shown)
        same = [re.fullmatch(pattern(line), seen) for line, seen in zip(wanted, got, strict=False)]
        assert all(same) and len(got) == len(wanted), f"{command}{done.stdout.decode()}"


def test_the_page_is_read() -> None:
    """Each command of the page has its answer."""
    assert len(EXAMPLES) == PAGE.count("```sh\n") > 2
