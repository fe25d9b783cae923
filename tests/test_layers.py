"""The import direction of docs/architecture.md, read from the source: imports point downwards."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "gostore"
PLUGIN = ROOT / "twisted" / "plugins" / "gostore_plugin.py"

#: What each room may import besides itself and the pure modules at the top. A room is a folder.
ROOMS: dict[str, set[str]] = {
    "tap": {"daemon"},
    "commands": {"volume", "store", "daemon", "access", "client", "bucket", "migration"},
    "migration": {"volume", "store"},
    "daemon": {"web", "wire", "store", "bucket", "volume", "access"},
    "web": {"wire", "store", "access"},
    "access": set(),
    "bucket": {"store"},
    "store": {"volume"},
    "volume": set(),
    "wire": set(),
    "client": set(),
}

#: Rooms that import nothing at all of gostore, and can be read, tested and used alone.
ALONE = {"wire", "client"}

#: The pure modules at the top of the package, each with the others that it may import.
TOP: dict[str, set[str]] = {
    "statefile": {"blob", "errors", "text"},
    "blob": {"errors"},
    "errors": set(),
    "text": set(),
    "ini": set(),
    "places": set(),
    "prefixes": set(),
}

#: The modules by which other rooms enter a room.
DOORS: dict[str, set[str]] = {
    "wire": {"wire"},
    "client": {"client", "client.cli.program"},
    "access": {
        "access.grants",
        "access.door",
        "access.edit",
        "access.file",
        "access.passwords",
        "access.proxies",
        "access.quotas",
        "access.rules",
        "access.tokens",
        "access.watch",
    },
    "store": {
        "store.interface",
        "store.unfinished",
        "store.blobstore",
        "store.content",
        "store.dates",
        "store.inflow",
        "store.measures",
        "store.offline",
        "store.versions",
        "store.workers",
    },
    "bucket": {
        "bucket.check",
        "bucket.connecting",
        "bucket.exhibit",
        "bucket.moving",
        "bucket.options",
        "bucket.past",
        "bucket.place",
        "bucket.provider",
        "bucket.undeleting",
        "bucket.visiting",
    },
    "migration": {"migration.directory", "migration.ends", "migration.mover"},
    "web": {
        "web.access_log",
        "web.answer_cache",
        "web.browsers",
        "web.cross_origin",
        "web.dispatch",
        "web.guard",
        "web.labels",
        "web.lifetimes",
        "web.page.document",
        "web.routes.blobs",
        "web.routes.draft_uploads",
        "web.routes.lists",
        "web.routes.metrics",
        "web.routes.page",
        "web.routes.past",
        "web.routes.status",
        "web.routes.uploads",
        "web.routes.usage",
        "web.routing",
    },
    "daemon": {
        "daemon.config_file",
        "daemon.contradictions",
        "daemon.cycles",
        "daemon.line_file",
        "daemon.notifier",
        "daemon.own_log",
        "daemon.reloading",
        "daemon.service",
        "daemon.settings",
        "daemon.process",
        "daemon.signals",
        "daemon.parsers",
        "daemon.reference",
    },
    "volume": {
        "volume.volume",
        "volume.directory",
        "volume.changes",
        "volume.collect",
        "volume.digests",
        "volume.kept",
        "volume.migrating",
        "volume.promise",
        "volume.recovery.findings",
        "volume.recovery.looks",
        "volume.recovery.records",
        "volume.recovery.repair",
        "volume.recovery.scan",
        "volume.journal.format",
    },
}

#: Libraries that only one room, or one module, may import.
LIBRARIES: dict[str, str] = {
    "klein": "web",
    "werkzeug": "web",
    "httptools": "wire.chunks",
    "rich": "commands.terminal",
    "click": "commands",
    "prometheus_client": "daemon",
    "obstore": "bucket.objects",
    "botocore": "bucket.aws",
    "bcrypt": "access.passwords",
    "requests": "client.exchanges",
    "urllib3": "client.exchanges",
    "treq": "client.asynchronous",
    "fsspec": "client.filesystem",
}

#: Those that the client's commands may import as well.
OF_THE_CLIENT = {"click", "rich"}


#: What fits in a reader's head: lines of a file and of a class, parameters of a function.
MOST_LINES = 450
MOST_CLASS_LINES = 400
MOST_PARAMETERS = 5

#: The functions that have more, because what they take are plain settings, given by name.
SETTINGS = {
    "bucket/asking.py: __init__": "the engine, and what tests replace: time, chance, threads",
    "daemon/settings.py: _setting": "a row of the table of settings",
    "client/asynchronous.py: __init__": "the settings of a client, beside the daemon's URL",
    "client/blocking.py: __init__": "the settings of a client, beside the daemon's URL",
    "store/blobstore.py: __init__": "the settings of the store, beside the volume and the workers",
    "volume/volume.py: __init__": "the settings of the volume, with its disk and its clock",
}


def name_of(path: Path) -> str:
    """The dotted name of a module below gostore; a package's __init__ has the package's."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


SOURCES: dict[str, Path] = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@cache
def nodes_of(path: Path) -> list[ast.AST]:
    """All that a source consists of: ten tests look at each."""
    return list(ast.walk(ast.parse(path.read_text())))


def imports(path: Path) -> Iterator[str]:
    """Every module and name that a source file imports, wherever in it, with its full name."""
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def neighbours(path: Path) -> set[str]:
    """The modules of gostore that a source file imports, by their names below gostore."""
    found = set()
    for full in imports(path):
        package, _, name = full.partition(".")
        if package == "gostore" and name != "__version__":
            # The name may be a module, or something that a module defines.
            found.add(name if name in SOURCES else name.rpartition(".")[0])
    return found


def room_of(module: str) -> str:
    """The room that a module is in; a module at the top is a room of its own."""
    return module.partition(".")[0]


def calls_of_open(path: Path) -> list[int]:
    """The lines of a source file that call the builtin open."""
    calls = [node for node in nodes_of(path) if isinstance(node, ast.Call)]
    functions = [call.func for call in calls]
    return [each.lineno for each in functions if isinstance(each, ast.Name) and each.id == "open"]


def long_lists(path: Path) -> Iterator[str]:
    """The functions of a source file that have more parameters than MOST_PARAMETERS, self apart."""
    for node in nodes_of(path):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            listed = node.args
            names = [each.arg for each in (*listed.posonlyargs, *listed.args, *listed.kwonlyargs)]
            if len([name for name in names if name not in ("self", "cls")]) > MOST_PARAMETERS:
                yield f"{path.relative_to(PACKAGE)}: {node.name}"


def circles(edges: dict[str, set[str]]) -> set[str]:
    """The modules that import themselves, directly or by way of others."""
    reached = {name: set(others) for name, others in edges.items()}
    for _ in edges:
        for others in reached.values():
            others.update(*(reached.get(other, set()) for other in list(others)))
    return {name for name, others in reached.items() if name in others}


class LayerTests(SynchronousTestCase):
    """Who imports whom."""

    def test_every_room_is_known(self) -> None:
        """ROOMS and TOP name the rooms there are, and no others."""
        found = {room_of(name) for name in SOURCES} - {""}
        self.assertEqual(found, set(ROOMS) | set(TOP))

    def test_directions(self) -> None:
        """Each room imports only itself, the rooms that it may, and the pure modules."""
        for name, path in SOURCES.items():
            room = room_of(name)
            if room in ALONE:
                self.assertEqual({room_of(other) for other in neighbours(path)} - {room}, set())
                continue
            # "" is the package itself, which has the version.
            allowed = {"", room} | (
                ROOMS[room] | set(TOP) if room in ROOMS else TOP.get(room, set())
            )
            self.assertLessEqual({room_of(other) for other in neighbours(path)}, allowed, name)

    def test_doors(self) -> None:
        """A room is entered only by its doors."""
        for name, path in SOURCES.items():
            for other in neighbours(path):
                room = room_of(other)
                if room != room_of(name) and room in DOORS:
                    self.assertIn(other, DOORS[room], name)

    def test_no_circles(self) -> None:
        """No module imports itself, not even by way of others."""
        edges = {name: neighbours(path) for name, path in SOURCES.items() if name != "wire"}
        self.assertEqual(circles(edges), set())
        self.assertEqual(circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}), {"b", "c"})

    def test_packages(self) -> None:
        """A package's __init__ imports nothing, unless it is the only door of a room."""
        for name, path in SOURCES.items():
            if path.stem == "__init__" and name not in ALONE:
                self.assertEqual(list(imports(path)), [], name)

    def test_plugin(self) -> None:
        """The plugin imports ServiceMaker and nothing else."""
        self.assertEqual(list(imports(PLUGIN)), ["twisted.application.service.ServiceMaker"])

    def test_reactor(self) -> None:
        """Only tap imports the reactor, and not when it is imported itself."""
        for name, path in SOURCES.items():
            self.assertEqual("twisted.internet.reactor" in imports(path), name == "tap", name)
        top = ast.parse(SOURCES["tap"].read_text()).body
        here = [node for node in top if isinstance(node, ast.ImportFrom)]
        self.assertNotIn("twisted.internet", [node.module for node in here])

    def test_libraries(self) -> None:
        """Each of these libraries is imported in one place only."""
        for name, path in SOURCES.items():
            for module in imports(path):
                library = module.partition(".")[0]
                place = LIBRARIES.get(library, name)
                if library in OF_THE_CLIENT and room_of(name) == "client":
                    place = "client.cli"
                self.assertTrue(f"{name}.".startswith(f"{place}."), f"{name}: {module}")

    def test_no_http_below_the_web(self) -> None:
        """The store and the volume import nothing of HTTP."""
        http = {"klein", "httptools", "werkzeug", "http_sf", "twisted.web"}
        for name, path in SOURCES.items():
            if room_of(name) not in ("web", "wire", "client"):
                for module in imports(path):
                    parts = module.split(".")
                    self.assertFalse(http & {parts[0], ".".join(parts[:2])}, f"{name}: {module}")

    def test_files_only_in_the_volume(self) -> None:
        """The system calls' seam is the volume's; only tap, process and the client open others."""
        for name, path in SOURCES.items():
            if room_of(name) != "volume":
                self.assertNotIn("volume.disk", neighbours(path), name)
                if name not in ("tap", "daemon.process") and room_of(name) != "client":
                    self.assertEqual(calls_of_open(path), [], name)

    def test_sizes(self) -> None:
        """No file and no class is too long to be read in one go."""
        for name, path in SOURCES.items():
            text = path.read_text()
            self.assertLessEqual(len(text.splitlines()), MOST_LINES, name)
            for node in nodes_of(path):
                if isinstance(node, ast.ClassDef):
                    assert node.end_lineno is not None
                    lines = node.end_lineno - node.lineno + 1
                    self.assertLessEqual(lines, MOST_CLASS_LINES, f"{name}: {node.name}")

    def test_parameters(self) -> None:
        """No function takes more than five parameters, but for those that take plain settings."""
        found = [each for path in SOURCES.values() for each in long_lists(path)]
        self.assertEqual(sorted(found), sorted(SETTINGS))

    def test_namespace_packages(self) -> None:
        """twisted/ and twisted/plugins/ are Twisted's: an __init__.py there would hide them."""
        self.assertEqual(list((ROOT / "twisted").rglob("__init__.py")), [])
