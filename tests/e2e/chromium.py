"""The system's Chromium, driven by Playwright, and what tests of the page do with it."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium")


@contextlib.contextmanager
def open_browser() -> Iterator[Browser]:
    """A browser without a window; a test that needs it is skipped if something of it is missing."""
    if CHROMIUM is None:
        pytest.skip("NOT TESTED: chromium is missing")
    sync = pytest.importorskip("playwright.sync_api", reason="NOT TESTED: playwright is missing")
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def drop(page: Page, *paths: Path) -> None:
    """Drop files or folders on a page, as a user does with a mouse."""
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        told: dict[str, Any] = {"type": kind, "x": 300, "y": 300, "data": data}
        session.send("Input.dispatchDragEvent", told)
    session.detach()


def slow_down(page: Page, bytes_a_second: float) -> None:
    """Let a page send no more than so many bytes a second; -1 for no limit."""
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    session.send(
        "Network.emulateNetworkConditions",
        {
            "offline": False,
            "latency": 0,
            "downloadThroughput": -1,
            "uploadThroughput": bytes_a_second,
        },
    )
