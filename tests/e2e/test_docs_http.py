"""docs/http.md: every command of the page, in its order, answers what the page shows."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import Make
from tests.e2e.daemon import PATIENCE

PAGE = Path(__file__).parent.parent.parent / "docs" / "http.md"
HOST = "http://localhost:7777"

#: A command, and right under it what it prints.
EXAMPLE = re.compile(r"^```sh\n(.*?)^```\n```\n(.*?)^```\n", re.MULTILINE | re.DOTALL)

EXAMPLES = EXAMPLE.findall(PAGE.read_text(encoding="utf-8"))

_FIELD = re.compile(r"[A-Za-z-]+: ")


def lines(text: str) -> list[str]:
    """The lines that a person sees; the case of field names is nobody's business (9110 5.1)."""
    seen = [line.rstrip() for line in text.replace("\r\n", "\n").strip("\r\n").split("\n")]
    return [_FIELD.sub(lambda name: name[0].lower(), line, count=1) for line in seen]


def pattern(line: str) -> str:
    """A shown line as a regular expression, ``...`` being what is different each time."""
    return ".+".join(re.escape(part) for part in line.split("..."))


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_every_command(make_daemon: Make, tmp_path: Path) -> None:
    """What the page shows is what a person gets who pastes it from top to bottom."""
    daemon = make_daemon().start()
    here = tmp_path / "here"
    here.mkdir()
    for command, shown in EXAMPLES:
        done = subprocess.run(
            ["sh", "-c", command.replace(HOST, daemon.url)],
            cwd=here,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(here)},
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stderr.decode()}"
        got = lines(done.stdout.decode().replace(daemon.url, HOST))
        wanted = lines(shown)
        same = [re.fullmatch(pattern(line), seen) for line, seen in zip(wanted, got, strict=False)]
        assert all(same) and len(got) == len(wanted), f"{command}{done.stdout.decode()}"


def test_the_page_is_read() -> None:
    """Each command of the page has its answer, and each status of the interface is on it."""
    text = PAGE.read_text(encoding="utf-8")
    assert len(EXAMPLES) == text.count("```sh\n") > 40
    assert all(HOST in command for command, _ in EXAMPLES)
    answers = "".join(shown for _, shown in EXAMPLES)
    for status in (200, 204, 206, 304, 400, 404, 405, 409, 412, 416, 507):
        assert re.search(rf"\b{status}\b", answers), f"no command gets {status}"
