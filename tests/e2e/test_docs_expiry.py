"""docs/expiry.md: every command of the page, in its order, answers what the page shows."""

from __future__ import annotations

import re
import shutil
from functools import partial
from pathlib import Path
from textwrap import dedent

import pytest

from tests.e2e.conftest import Make
from tests.e2e.daemon import ANY_PORT, eventually
from tests.e2e.pages import DOCS, check, examples, is_right

PAGE = (DOCS / "expiry.md").read_text(encoding="utf-8")

#: The configuration file, and the options of the daemon that all commands of the page ask.
CONFIG = PAGE.partition("start an empty daemon with it:\n")[2].partition("    twistd")[0]
[OPTIONS] = re.findall(r"^    twistd -n gostore --dir /tmp/blobs ?(.*)$", PAGE, re.MULTILINE)

EXAMPLES = examples("expiry.md")


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_every_command(make_daemon: Make, tmp_path: Path) -> None:
    """What the page shows is what a person gets who pastes it from top to bottom."""
    (tmp_path / "gostore.conf").write_text(dedent(CONFIG), encoding="utf-8")
    options = OPTIONS.replace("/tmp", str(tmp_path)).split()
    daemon = make_daemon(*options, "-s", ANY_PORT, directory=tmp_path / "blobs").start()
    for example in EXAMPLES:
        if "/metrics" in example[0]:
            # The collector comes when it comes.
            eventually(partial(is_right, example, tmp_path, daemon.url), example[0])
        check(example, tmp_path, daemon.url)


def test_the_page_is_read() -> None:
    """The page has commands."""
    assert len(EXAMPLES) > 5
