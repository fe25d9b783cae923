"""Tests for gostore.ini: what a file says, and on which line."""

from __future__ import annotations

import configparser

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gostore.ini import BadFile, quoted, read_ini, unquoted

TEXT = """\
# one
[user alice]
password: x # y
grant = read a = b
    list

  # a comment between them
    delete c/

[quota]
a/=5
"""

PIECES = ["[a]", "[b c]", "a", "b", "=", ":", " ", "\n", "  ", "#", ";", "[", "]", "%", "\t", "é"]


def with_configparser(text: str) -> dict[str, dict[str, str]] | None:
    """What RawConfigParser reads, without empty lines in values; None if it refuses the file."""
    parser = configparser.RawConfigParser(default_section="")
    parser.optionxform = str  # type: ignore[assignment, method-assign]  # the documented way
    try:
        parser.read_string(text)
    except configparser.Error:
        return None
    return {
        section: {
            name: "\n".join(line for line in value.splitlines() if line)
            for name, value in parser.items(section)
        }
        for section in parser.sections()
    }


class IniTests(SynchronousTestCase):
    """The reader."""

    def test_lines(self) -> None:
        """Each section, entry and line of a value has its number."""
        alice, quota = read_ini(TEXT, "x")
        self.assertEqual((alice.name, alice.line), ("user alice", 2))
        self.assertEqual(alice.entries["password"].lines, [(3, "x # y")])
        grant = alice.entries["grant"]
        self.assertEqual(grant.lines, [(4, "read a = b"), (5, "list"), (8, "delete c/")])
        self.assertEqual(grant.value, "read a = b\nlist\ndelete c/")
        self.assertEqual((quota.line, quota.entries["a/"].lines), (10, [(11, "5")]))

    def test_refused(self) -> None:
        """A line that cannot be read is refused with the file, its number and the reason."""
        for text, reason in (
            ("\na = b", "x, line 2: no [section] line above it"),
            ("[a]\n[b]\n[a]", "x, line 3: the section [a] is there twice"),
            ("[a]\nb = 1\nb = 2", "x, line 3: b is set twice"),
            ("[a]\nb", "x, line 2: neither a setting nor a comment"),
            ("[a]\n= b", "x, line 2: neither a setting nor a comment"),
        ):
            with self.assertRaises(BadFile) as caught:
                read_ini(text, "x")
            self.assertEqual(str(caught.exception), reason)

    def test_quoted(self) -> None:
        """A name in quotes has whatever there is in it; it is read as it was written."""
        text = '[a]\n"b=c: [" = 5 = 6\n"d\\"e\\\\" : 7\n"f" g = 8\n'
        [section] = read_ini(text, "x")
        found = {unquoted(name): entry.value for name, entry in section.entries.items()}
        self.assertEqual(found, {"b=c: [": "5 = 6", 'd"e\\': "7", '"f" g': "8"})
        self.assertEqual(quoted("a/b c"), "a/b c")

    @given(st.text(st.sampled_from('ab=:"\\[]#; /'), max_size=6))
    def test_quoting(self, name: str) -> None:
        """Every name can be written so that it is read as it is."""
        [section] = read_ini(f"[a]\n{quoted(name)} = 1\n", "x")
        self.assertEqual([unquoted(each) for each in section.entries], [name])

    @given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
    def test_dialect(self, text: str) -> None:
        """Every file says what configparser reads in it, or is refused as configparser does."""
        try:
            sections = read_ini(text, "x")
        except BadFile:
            # An empty name is an error in every version here, and in the older ones there.
            self.assertTrue(with_configparser(text) is None or "" in names(text))
        else:
            found = {
                section.name: {name: entry.value for name, entry in section.entries.items()}
                for section in sections
            }
            self.assertEqual(found, with_configparser(text))


def names(text: str) -> set[str]:
    """The names that configparser reads."""
    return {name for section in (with_configparser(text) or {}).values() for name in section}
