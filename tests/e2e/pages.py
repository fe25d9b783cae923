"""Pages of docs/ whose commands are run, from top to bottom, and have to print what is shown."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.e2e.daemon import PATIENCE

DOCS = Path(__file__).parent.parent.parent / "docs"
HOST = "http://localhost:7777"

#: A command, and right under it what it prints.
EXAMPLE = re.compile(r"^```sh\n(.*?)^```\n```\n(.*?)^```\n", re.MULTILINE | re.DOTALL)

_FIELD = re.compile(r"[A-Za-z-]+: ")


def examples(page: str) -> list[tuple[str, str]]:
    """The commands of a page, each with what it shows."""
    text = (DOCS / page).read_text(encoding="utf-8")
    found = EXAMPLE.findall(text)
    assert len(found) == text.count("```sh\n"), "each command has its answer"
    return found


def lines(text: str) -> list[str]:
    """The lines that a person sees; the case of field names is nobody's business (9110 5.1)."""
    seen = [line.rstrip() for line in text.replace("\r\n", "\n").strip("\r\n").split("\n")]
    return [_FIELD.sub(lambda name: name[0].lower(), line, count=1) for line in seen]


def pattern(line: str) -> str:
    """A shown line as a regular expression, ``...`` being what is different each time."""
    return ".+".join(re.escape(part) for part in line.split("..."))


def check(example: tuple[str, str], here: Path, url: str, **env: str) -> None:
    """Paste a command in a directory; an AssertionError says what it printed instead."""
    command, shown = example
    done = subprocess.run(
        ["sh", "-c", command.replace(HOST, url)],
        cwd=here,
        env=environment(here, env),
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stderr.decode()}"
    got = lines(done.stdout.decode().replace(url, HOST))
    wanted = lines(shown)
    same = [re.fullmatch(pattern(line), seen) for line, seen in zip(wanted, got, strict=False)]
    assert all(same) and len(got) == len(wanted), f"{command}{done.stdout.decode()}"


def is_right(example: tuple[str, str], here: Path, url: str) -> bool:
    """Whether a command prints what is shown, by now."""
    try:
        check(example, here, url)
    except AssertionError:
        return False
    return True


def environment(here: Path, more: Mapping[str, str]) -> dict[str, str]:
    """What a command finds around it: nothing of ours."""
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(here), **more}
