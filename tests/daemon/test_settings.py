"""Tests for gostore.daemon.settings and reference: the table, and the pages."""

from __future__ import annotations

from pathlib import Path

from attrs import fields
from twisted.trial.unittest import SynchronousTestCase

from gostore.daemon.config_file import parse_config
from gostore.daemon.reference import as_conf, as_options, as_page
from gostore.daemon.settings import TABLE, Settings, groups, make_settings

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
