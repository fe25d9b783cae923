"""Tests for gostore.access.edit: changes of a file that leave the rest of it alone."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gostore.access import edit

TEXT = """\
# All of us.

[user alice]
  # the boss
  password = x   # since May
  grant = all

# A machine.
[token t]
grant = read a/
        list b/
# the last one
"""


class EditTests(SynchronousTestCase):
    """One change each."""

    def test_add_section(self) -> None:
        """A new section comes last, one empty line after the rest, each value with its lines."""
        added = edit.add_section(TEXT, "user bob", {"password": ["y"], "grant": ["read", "list"]})
        below = "\n[user bob]\npassword = y\ngrant = read\n        list\n"
        self.assertEqual(added, TEXT + below)
        self.assertEqual(edit.add_section("", "user bob", {}), "[user bob]\n")

    def test_remove_section(self) -> None:
        """A section goes with its lines; the comments around it stay."""
        self.assertEqual(
            edit.remove_section(TEXT, "user alice"),
            TEXT[: TEXT.index("[user")] + TEXT[TEXT.index("# A machine") :],
        )
        self.assertEqual(
            edit.remove_section(TEXT, "token t"), TEXT[: TEXT.index("[token")] + "# the last one\n"
        )
        self.assertRaises(edit.NoSection, edit.remove_section, TEXT, "user t")

    def test_put_entry(self) -> None:
        """An entry is replaced where it stands, with its comment; a new one comes last."""
        put = edit.put_entry(TEXT, "user alice", "password", "y")
        self.assertEqual(put, TEXT.replace("= x ", "= y "))
        put = edit.put_entry(TEXT, "token t", "expires", "2027-01-01")
        self.assertEqual(put, TEXT.replace("list b/\n", "list b/\nexpires = 2027-01-01\n"))

    def test_add_line(self) -> None:
        """A value gets one more line, indented as it has to be."""
        added = edit.add_line(TEXT, "token t", "grant", "delete")
        self.assertEqual(added, TEXT.replace("list b/\n", "list b/\n        delete\n"))
        added = edit.add_line(TEXT, "user alice", "grant", "delete")
        self.assertEqual(added, TEXT.replace("= all\n", "= all\n          delete\n"))
        added = edit.add_line("[anonymous]\n", "anonymous", "grant", "read")
        self.assertEqual(added, "[anonymous]\ngrant = read\n")

    def test_has_section(self) -> None:
        """A section is found by its name, however many blanks are in it."""
        self.assertTrue(edit.has_section("[user   a b]\n", "user a b"))
        self.assertFalse(edit.has_section(TEXT, "alice"))
