"""The import direction of docs/architecture.md, read from the source: imports point downwards."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent
PLUGIN = ROOT / "twisted" / "plugins" / "gostore_plugin.py"

# The floors, from the top down, and the rooms on each with their modules. A module imports from the
# floors below, and from its own room; the rooms of one floor do not know each other.
FLOORS: list[dict[str, set[str]]] = [
    {"tap": {"tap"}, "cli": {"cli"}},
    {"service": {"service"}, "selftest": {"selftest"}},
    {
        "api": {
            "api",
            "routing",
            "verbs",
            "listing",
            "representation",
            "sources",
            "digests",
            "conditions",
            "ranges",
            "uris",
            "refusals",
            "description",
        },
        "collector": {"collector"},
        "scrub": {"scrub"},
        "fsck": {"fsck"},
        "show": {"show"},
    },
    {
        "wire": {
            "wire",
            "wire_connection",
            "wire_transport",
            "wire_response",
            "wire_body",
            "wire_head",
        }
    },
    {"store": {"store", "committer", "upload", "content", "garbage", "workers"}},
    {"volume": {"volume", "recovery", "sweep", "ids", "journal"}},
    {"statefile": {"statefile"}},
    {"blob": {"blob"}},
    {"disk": {"disk"}, "settings": {"settings"}},
    {"errors": {"errors"}},
]

# What the rooms that need little may know of the others; less than all that is below them.
ALLOWED: dict[str, set[str]] = {
    "collector": set(),
    "scrub": {"errors"},
    "cli": {"selftest", "fsck", "show", "volume", "settings", "errors"},
    "selftest": {"fsck", "volume", "errors"},
    "fsck": {"store", "volume", "statefile", "blob", "errors"},
    "show": {"volume", "statefile", "blob", "errors"},
    "wire": {"errors"},
    "disk": {"errors"},
    "settings": set(),
    "errors": set(),
}


def imports(path: Path) -> Iterator[str]:
    """Every module and name that a source file imports, wherever in it, with its full name."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def neighbours(path: Path) -> set[str]:
    """The modules of gostore that a source file imports from."""
    names = [name.split(".") for name in imports(path)]
    return {name[1] for name in names if name[0] == "gostore"} - {"__version__"}


def sources() -> dict[str, Path]:
    """Every module of gostore by its name."""
    paths = sorted((ROOT / "gostore").glob("*.py"))
    return {path.stem: path for path in paths if path.stem != "__init__"}


def calls_of_open(path: Path) -> list[int]:
    """The lines of a source file that call the builtin open."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    functions = [call.func for call in calls]
    return [each.lineno for each in functions if isinstance(each, ast.Name) and each.id == "open"]


def places() -> dict[str, tuple[int, str]]:
    """Every module's floor, counted downwards, and room."""
    return {
        module: (number, room)
        for number, floor in enumerate(FLOORS)
        for room, modules in floor.items()
        for module in modules
    }


class LayerTests(SynchronousTestCase):
    """Who imports whom."""

    def test_every_module_has_a_place(self) -> None:
        """FLOORS names the modules there are, and no others."""
        self.assertEqual(sorted(places()), sorted(sources()))

    def test_downwards(self) -> None:
        """Each module imports only from its own room and from floors below its own."""
        where = places()
        for name, path in sources().items():
            for other in neighbours(path):
                if where[other] != where[name]:
                    self.assertGreater(where[other][0], where[name][0], f"{name} imports {other}")

    def test_strangers(self) -> None:
        """The rooms that need little know little."""
        for name, path in sources().items():
            room = places()[name][1]
            known = {places()[other][1] for other in neighbours(path)} - {room}
            self.assertLessEqual(known, ALLOWED.get(room, known), name)

    def test_package(self) -> None:
        """The package itself imports nothing."""
        self.assertEqual(list(imports(ROOT / "gostore" / "__init__.py")), [])

    def test_plugin(self) -> None:
        """The plugin imports ServiceMaker and nothing else."""
        self.assertEqual(list(imports(PLUGIN)), ["twisted.application.service.ServiceMaker"])

    def test_reactor(self) -> None:
        """Only tap imports the reactor, and not when it is imported itself."""
        for name, path in sources().items():
            self.assertEqual("twisted.internet.reactor" in imports(path), name == "tap", name)
        top = ast.parse(sources()["tap"].read_text()).body
        here = [node for node in top if isinstance(node, ast.ImportFrom)]
        self.assertNotIn("twisted.internet", [node.module for node in here])

    def test_klein(self) -> None:
        """Only the room of api imports Klein, which imports the reactor."""
        for name, path in sources().items():
            if places()[name][1] != "api":
                self.assertNotIn("klein", {each.split(".")[0] for each in imports(path)}, name)

    def test_no_http_below_the_wire(self) -> None:
        """The store and what is below it import nothing of HTTP."""
        http = {"klein", "httptools", "werkzeug", "http_sf", "twisted.web"}
        wire = places()["wire"][0]
        for name, path in sources().items():
            if places()[name][0] > wire:
                for module in imports(path):
                    parts = module.split(".")
                    self.assertFalse(http & {parts[0], ".".join(parts[:2])}, f"{name}: {module}")

    def test_files_only_in_the_volume(self) -> None:
        """The system calls' seam is the volume's; nobody else opens a file, save tap."""
        for name, path in sources().items():
            room = places()[name][1]
            if room != "volume":
                self.assertNotIn("disk", neighbours(path), name)
            if room not in ("volume", "disk", "tap"):
                self.assertEqual(calls_of_open(path), [], name)

    def test_namespace_packages(self) -> None:
        """twisted/ and twisted/plugins/ are Twisted's: an __init__.py there would hide them."""
        self.assertEqual(list((ROOT / "twisted").rglob("__init__.py")), [])
