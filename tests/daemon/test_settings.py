"""Tests for gostore.daemon.settings and reference: the table, the file, and the pages."""

from __future__ import annotations

from pathlib import Path

from attrs import fields
from twisted.trial.unittest import SynchronousTestCase

from gostore.daemon.reference import as_conf, as_options, as_page
from gostore.daemon.settings import (
    TABLE,
    BadSetting,
    Settings,
    groups,
    make_settings,
    parse_config,
)

ROOT = Path(__file__).parent.parent.parent
TAP_CONF = ROOT / "tap.conf"
PAGE = ROOT / "docs" / "settings.md"


class TableTests(SynchronousTestCase):
    """The table and the values made by it."""

    def test_defaults(self) -> None:
        """Settings made of nothing are those of the table's default texts."""
        parsed = {
            name: row.parse_all([row.default] if row.many else row.default)
            for name, row in TABLE.items()
        }
        self.assertEqual(make_settings({}), make_settings(parsed))

    def test_documented_defaults(self) -> None:
        """The defaults are the published ones."""
        settings = Settings()
        self.assertEqual(settings.listen, ("tcp:7777",))
        self.assertEqual(settings.gc_interval, 5)
        self.assertEqual((settings.max_uri_size, settings.max_head_size), (8192, 16384))
        self.assertEqual((settings.max_fields, settings.max_uploads), (100, 256))
        self.assertEqual((settings.head_timeout, settings.idle_timeout), (10, 75))
        self.assertEqual((settings.first_byte_timeout, settings.body_rate), (10, 1024))
        self.assertEqual((settings.body_window, settings.chunked_window), (30, 300))
        self.assertEqual((settings.send_timeout, settings.shutdown_grace), (60, 10))
        self.assertEqual((settings.put_creates, settings.debug), (False, False))
        self.assertEqual(settings.max_blob_size, 0)

    def test_one_row_each(self) -> None:
        """Each field of Settings has a row, named as it is, with a description of one line."""
        self.assertEqual(list(TABLE), [each.name.replace("_", "-") for each in fields(Settings)])
        for name, row in TABLE.items():
            self.assertEqual(row.name, name)
            self.assertRegex(row.doc, r"\A[A-Z][^\n]+\.\Z")


class ConfigTests(SynchronousTestCase):
    """The configuration file."""

    def refused(self, text: str) -> str:
        """Parse a text that is refused; return the reason."""
        with self.assertRaises(BadSetting) as caught:
            parse_config(text, "x.conf")
        self.assertNotIn("\n", str(caught.exception))
        return str(caught.exception)

    def test_values(self) -> None:
        """A file gives the values of the settings it names, and of no others."""
        text = "# one\n[gostore]\ngc-interval = 0.5\n; two\nlisten: :80\ndir = /a b/100%\n"
        self.assertEqual(
            parse_config(text, "x.conf"),
            {"gc-interval": 0.5, "listen": ("tcp:80",), "dir": "/a b/100%"},
        )

    def test_empty(self) -> None:
        """An empty file sets nothing."""
        self.assertEqual(parse_config("", "x.conf"), {})

    def test_unknown_setting(self) -> None:
        """An unknown setting is refused with the file, the line and its name."""
        reason = self.refused("[gostore]\n\n# colour = 1\ncolour = red\n")
        self.assertEqual(reason, "x.conf, line 4: unknown setting 'colour'")

    def test_case(self) -> None:
        """A setting's name is written as it is: upper case is another name, and unknown."""
        reason = self.refused("[gostore]\nDir = a\n")
        self.assertEqual(reason, "x.conf, line 2: unknown setting 'Dir'")

    def test_bad_value(self) -> None:
        """A bad value is refused with the file, the line, the setting and the reason."""
        reason = self.refused("[gostore]\nmax-uploads = 1\ngc-interval = soon\n")
        self.assertEqual(
            reason, "x.conf, line 3: gc-interval: 'soon' is not a number of seconds from 0 to 86400"
        )

    def test_value_over_several_lines(self) -> None:
        """An indented line, which INI takes for more of the value above it, is refused."""
        reason = self.refused("[gostore]\ndir = a\n  listen = b\n")
        self.assertEqual(reason, "x.conf, line 2: dir goes on over several lines")

    def test_several_addresses(self) -> None:
        """A setting that takes several values has one on each line."""
        values = parse_config("[gostore]\nlisten = :80\n  unix:/a b\n", "x.conf")
        self.assertEqual(values, {"listen": ("tcp:80", "unix:/a b")})
        values = parse_config("[gostore]\nlisten =\n  :80\n  :81\n", "x.conf")
        self.assertEqual(values, {"listen": ("tcp:80", "tcp:81")})
        reason = self.refused("[gostore]\nlisten = :80\n  x\n")
        self.assertIn("x.conf, line 2: listen: 'x' is nothing to listen on", reason)

    def test_quotes(self) -> None:
        """Quotes around a value, which INI takes for part of it, are refused; others are not."""
        for quote in ("'", '"'):
            reason = self.refused(f"[gostore]\n\ndir = {quote}a b{quote}\n")
            self.assertEqual(
                reason, f"x.conf, line 3: dir: leave out the quotes around {quote}a b{quote}"
            )
        for name in ("'", "it's", "\"a'", "a'b'"):
            self.assertEqual(parse_config(f"[gostore]\ndir = {name}\n", "x")["dir"], name)

    def test_set_twice(self) -> None:
        """A setting that is there twice is refused at its second line."""
        reason = self.refused("[gostore]\ndir = a\ndir = b\n")
        self.assertEqual(reason, "x.conf, line 3: dir is set twice")

    def test_sections(self) -> None:
        """There is one section: no other, not twice, and nothing above it."""
        self.assertEqual(self.refused("\n[other]\n"), "x.conf, line 2: unknown section [other]")
        self.assertEqual(
            self.refused("[DEFAULT]\ndir = a\n"), "x.conf, line 1: unknown section [DEFAULT]"
        )
        self.assertEqual(
            self.refused("[gostore]\n[gostore]\n"),
            "x.conf, line 2: the section [gostore] is there twice",
        )
        self.assertEqual(self.refused("dir = a\n"), "x.conf, line 1: no [gostore] line above it")

    def test_no_setting(self) -> None:
        """A line that is nothing at all is refused."""
        reason = self.refused("[gostore]\nwhat is this\n")
        self.assertEqual(reason, "x.conf, line 2: neither a setting nor a comment")


class ReferenceTests(SynchronousTestCase):
    """The pages that the table makes."""

    def test_files(self) -> None:
        """tap.conf and docs/settings.md are what the table makes of them."""
        for path, text in ((TAP_CONF, as_conf()), (PAGE, as_page())):
            self.assertEqual(
                path.read_text(encoding="utf-8"), text, "run python -m gostore.daemon.reference"
            )

    def test_every_setting_at_its_default(self) -> None:
        """tap.conf has every setting, in the table's order, at its default, below its headings."""
        lines = TAP_CONF.read_text().splitlines()
        wanted = list(TABLE)
        found = [line.partition(" = ")[0] for line in lines if " = " in line and line[0] != "#"]
        self.assertEqual(found, wanted)
        for row in TABLE.values():
            self.assertIn(f"# {row.doc}", lines)
            self.assertIn(f"{row.name} = {row.default}", lines)
        self.assertEqual(
            [heading for heading, _ in groups() if f"# {heading} -" not in "\n".join(lines)], []
        )

    def test_reads_as_the_defaults(self) -> None:
        """Reading tap.conf changes nothing."""
        values = parse_config(TAP_CONF.read_text(), "tap.conf")
        self.assertEqual(make_settings(values), Settings())

    def test_options(self) -> None:
        """--help has each setting under its heading, with its default."""
        text = as_options(500)
        for heading, rows in groups():
            block = text.partition(f"{heading}:\n")[2].partition("\n\n")[0]
            for row in rows:
                self.assertIn(f"--{row.name}{'' if row.flag else '='} ", block)
                self.assertIn(row.doc if row.flag else f"{row.doc} [default: {row.default}]", block)

    def test_groups(self) -> None:
        """The settings of a group stand together."""
        headings = [heading for heading, _ in groups()]
        self.assertEqual(len(headings), len(set(headings)))
        self.assertGreater(len(headings), 3)
