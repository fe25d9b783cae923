"""docs/architecture.md: every file and function that the tour names exists."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "gostore"
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def definitions(path: Path) -> Iterator[str]:
    """The functions and classes of a source file: ``function``, ``Class``, ``Class.method``."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name
        elif isinstance(node, ast.ClassDef):
            yield node.name
            for method in node.body:
                if isinstance(method, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    yield f"{node.name}.{method.name}"


DEFINED = {name for path in PACKAGE.rglob("*.py") for name in definitions(path)}


class ArchitectureTests(SynchronousTestCase):
    """What the page calls by its name."""

    def test_files(self) -> None:
        """Each file in backticks is below gostore or at the top of the repository."""
        named = set(re.findall(r"`([\w/]+\.py)`", PAGE))
        self.assertGreater(len(named), 20)
        missing = [name for name in named if not (PACKAGE / name).exists()]
        self.assertEqual([name for name in missing if not (ROOT / name).exists()], [])

    def test_functions(self) -> None:
        """Each function in backticks, written with (), is defined."""
        named = set(re.findall(r"`([A-Za-z_.]+)\(\)`", PAGE))
        self.assertGreater(len(named), 40)
        self.assertEqual(named - DEFINED, set())

    def test_rooms(self) -> None:
        """The diagram has each room, and no other."""
        diagram = PAGE.partition("## Rooms")[2].partition("**Where is")[0]
        drawn = set(re.findall(r"([a-z]+)/ ", diagram))
        rooms = {path.parent.name for path in PACKAGE.rglob("__init__.py")} - {"gostore"}
        self.assertEqual(drawn, rooms - {"fields", "routes"})
