"""Words and turns of phrase that gostore's sources and documents do without."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "gostore").rglob("*.py"))
DOCUMENTS = [
    *sorted((ROOT / "docs").glob("*.md")),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
]

#: Words that have a better one: what to say is in the glossary of CONTRIBUTING.md.
WORDS = {
    "quarantine": r"\bset(?:s|ting)? aside\b",
    "the Go server": r"\bfirst server\b",
    "remove, trash or delete": r"\bt(?:ake|akes|aken|ook|aking) away\b",
    "has": r"\b(?:bears|borne|(?-i:bearers?)|bore)\b",
    "there is": r"\bto be had\b",
    "delete": r"\b(?:entomb|vanish)\w*",
    "do again": r"\bre-do(?:es)?\b",
}

#: The beginning of a sentence.
_BEGIN = r"(?:\A|(?<=[.:;!?] )|(?<=\n\n))"
#: How no sentence begins: subject first. A noun phrase that is all there is ("What a client may
#: cost.") is none.
BEGINNINGS = {
    "a relative clause without a subject": _BEGIN + r"Who (?![^.]*\?)",
    "a clause for a subject (whatever)": _BEGIN + r"(?:Whoever|Whatever) ",
    "a clause for a subject (that)": _BEGIN + r"That (?:what|the|a|it|he|they|nobody) ",
    "a fronted of": _BEGIN + r"Of (?!course\b)",
    "those for a subject": _BEGIN + r"Those ",
    "one for a subject": _BEGIN + r"One (?:who|that|whose|of which) ",
}

#: Names that needed their docstring to be understood, and have another now.
NAMES = {
    *("held", "told", "borne", "sweep", "set_aside", "take_away", "vanish", "entomb", "let_go"),
    *("in_own_words", "system_words", "from_os_error", "refusals"),
}


def comments(text: str) -> Iterator[str]:
    """The blocks of comments of a source, one by one."""
    block: list[str] = []
    last = 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            if block and token.start[0] != last + 1:
                yield " ".join(block)
                block = []
            block.append(token.string.lstrip("#: "))
            last = token.start[0]
    yield " ".join(block)


def docstrings(tree: ast.AST) -> Iterator[str]:
    """All strings that stand alone: docstrings, and what is said of a constant below it."""
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield re.sub(r"(?<!\n)\n[ ]*(?!\n)", " ", text)


def paragraphs(text: str) -> Iterator[str]:
    """The paragraphs, items and rows of a document, without what is code."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"^ {4}.*$", "", text, flags=re.MULTILINE)
    for paragraph in re.split(r"\n(?=\s*\n|\s*[*|#-]|\s*\d+\.)", text):
        yield " ".join(re.sub(r"^\s*(?:[*|#-]|\d+\.)\s*", "", paragraph).split())


def identifiers(tree: ast.AST) -> Iterator[str]:
    """Every name that a source gives to something."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                yield name
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.alias(name=name, asname=asname):
                yield asname or name


@cache
def said() -> list[tuple[str, str]]:
    """Everything that people are to read, each with where it is."""
    return list(_said())


def _said() -> Iterator[tuple[str, str]]:
    for path in SOURCES:
        text = path.read_text()
        for prose in (*comments(text), *docstrings(ast.parse(text))):
            yield str(path.relative_to(ROOT)), prose
    for path in DOCUMENTS:
        for prose in paragraphs(path.read_text()):
            yield path.name, prose


class WordTests(SynchronousTestCase):
    """Plain words, and sentences whose subject comes first."""

    def test_words(self) -> None:
        """No text has a word for which the house has another."""
        for where, prose in said():
            for better, pattern in WORDS.items():
                found = re.search(pattern, prose, re.IGNORECASE)
                self.assertIsNone(found, f"{where}: say {better}: {prose[:200]!r}")

    def test_beginnings(self) -> None:
        """No sentence puts its subject last, or has a clause for one."""
        for where, prose in said():
            for what, pattern in BEGINNINGS.items():
                found = re.search(pattern, prose)
                shown = prose[found.start() : found.start() + 100] if found else ""
                self.assertIsNone(found, f"{where}: {what}: {shown!r}")

    def test_names(self) -> None:
        """Nothing has one of the names that were given up."""
        for path in SOURCES:
            used = set(identifiers(ast.parse(path.read_text()))) & NAMES
            self.assertEqual(used, set(), path.relative_to(ROOT))

    def test_patterns(self) -> None:
        """The patterns find what they are for, and nothing else."""
        for prose, count in [
            ("Of another version it gets the whole.", 1),
            ("It fits. Who has a version already, asks.", 1),
            ("That the disk keeps it is believed.", 1),
            ("Whatever it is, it stays.", 1),
            ("Of course it does. Who may write? That is all.", 0),
            ("The server sends all of it. A client that has a version asks.", 0),
        ]:
            found = [each for each in BEGINNINGS.values() if re.search(each, prose)]
            self.assertEqual(len(found), count, prose)
        self.assertEqual(list(comments("# one\n# two\nx = 1  # three\n")), ["one two three"])
        self.assertEqual(next(paragraphs("a\nb\n\n    code\n\n* c\n  d\n")), "a b")
