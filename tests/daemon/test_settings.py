"""Tests for gostore.daemon.settings: the table, its parsers and the configuration file."""

from __future__ import annotations

import os
from pathlib import Path

from attrs import fields
from twisted.trial.unittest import SynchronousTestCase

from gostore.daemon import settings
from gostore.daemon.settings import (
    TABLE,
    BadSetting,
    Settings,
    absolute,
    make_settings,
    parse_config,
    parse_count,
    parse_flag,
    parse_listen,
    parse_seconds,
    parse_seconds_above_zero,
    parse_size,
    parse_size_above_zero,
    parse_text,
)

TAP_CONF = Path(__file__).parent.parent.parent / "tap.conf"


class ParserTests(SynchronousTestCase):
    """Text to value."""

    def test_sizes(self) -> None:
        """A size is a number of bytes, with K, M, G, T of 1024 and KB, MB, GB, TB of 1000."""
        sizes = {
            "0": 0,
            "65536": 65536,
            "7B": 7,
            "64K": 65536,
            "64k": 65536,
            "64KiB": 65536,
            "64 KiB": 65536,
            "64KB": 64000,
            "10M": 10 * 1024**2,
            "1GiB": 1024**3,
            "2TB": 2 * 1000**4,
        }
        for text, size in sizes.items():
            self.assertEqual(parse_size(text), size, text)

    def test_bad_sizes(self) -> None:
        """What is not a size is refused with the text and an example."""
        for text in ["", "x", "-1", "1.5M", "10X", "10iB", "1e3", "٣", "9" * 19]:
            with self.assertRaises(ValueError) as caught:
                parse_size(text)
            self.assertIn("is not a size such as", str(caught.exception))

    def test_size_above_zero(self) -> None:
        """A limit of nothing at all is refused."""
        self.assertEqual(parse_size_above_zero("1"), 1)
        self.assertRaises(ValueError, parse_size_above_zero, "0")

    def test_flags(self) -> None:
        """A flag is yes or no in the words INI files have for it."""
        for text in ["yes", "on", "true", "1", "Yes"]:
            self.assertIs(parse_flag(text), True)
        for text in ["no", "off", "false", "0"]:
            self.assertIs(parse_flag(text), False)
        self.assertRaises(ValueError, parse_flag, "maybe")

    def test_counts(self) -> None:
        """A count is a whole number from 1."""
        self.assertEqual(parse_count("256"), 256)
        for text in ["", "0", "-1", "1.0", "x", "9" * 10]:
            self.assertRaises(ValueError, parse_count, text)

    def test_seconds(self) -> None:
        """Times are seconds, with fractions, no more than a day, and never NaN or infinite."""
        self.assertEqual(parse_seconds("0.5"), 0.5)
        self.assertEqual(parse_seconds("0"), 0)
        for text in ["", "x", "-1", "nan", "inf", "86401", "5s"]:
            self.assertRaises(ValueError, parse_seconds, text)
        self.assertRaises(ValueError, parse_seconds_above_zero, "0")

    def test_empty_text(self) -> None:
        """An empty directory name is refused."""
        self.assertEqual(parse_text("./data"), "./data")
        self.assertRaises(ValueError, parse_text, "")

    def test_auto(self) -> None:
        """auto is None where a setting has it, and a mistake where it has not."""
        for name in ["id-bits", "free-space-reserve", "max-connections"]:
            self.assertIsNone(TABLE[name].parse("auto"))
        self.assertEqual(TABLE["id-bits"].parse("16"), 16)
        self.assertEqual(TABLE["free-space-reserve"].parse("64MiB"), 64 * 1024**2)
        self.assertEqual(TABLE["max-connections"].parse("10"), 10)
        self.assertRaises(ValueError, TABLE["id-bits"].parse, "8")
        self.assertRaises(ValueError, TABLE["max-uploads"].parse, "auto")


class ListenTests(SynchronousTestCase):
    """What to listen on."""

    def test_endpoints(self) -> None:
        """Endpoint strings pass unchanged."""
        for text in ["tcp:7777", "tcp:port=0", "tcp6:7777", "unix:/x.sock", "tcp:1:interface=x"]:
            self.assertEqual(parse_listen(text), text)

    def test_host_and_port(self) -> None:
        """The host:port forms of the Go server become endpoint strings."""
        forms = {
            ":7777": "tcp:7777",
            "0.0.0.0:7777": "tcp:7777:interface=0.0.0.0",
            "127.0.0.1:0": "tcp:0:interface=127.0.0.1",
            "localhost:7777": "tcp:7777:interface=127.0.0.1",
            "blobs.example.org:80": "tcp:80:interface=blobs.example.org",
            "[::1]:7777": r"tcp6:7777:interface=\:\:1",
            "[::]:7777": r"tcp6:7777:interface=\:\:",
        }
        for text, endpoint in forms.items():
            self.assertEqual(parse_listen(text), endpoint)

    def test_nonsense(self) -> None:
        """What no endpoint can be made of is refused in one line that shows what would do."""
        nonsense = ["", "x", "7777", "x:1", "tcp:", "tcp:x", "tcp:65536", ":65536", "tcp:-1"]
        nonsense += ["[::1]", "tcp:1:2:3:4:5:6", "tcp:port=99999:interface=x", "ssl:1:privateKey=x"]
        for text in nonsense:
            with self.assertRaises(ValueError) as caught:
                parse_listen(text)
            self.assertIn("try tcp:7777", str(caught.exception), text)
            self.assertNotIn("\n", str(caught.exception))

    def test_no_tls(self) -> None:
        """Without the library for TLS it is said how to get it, not which module there is not."""

        def parse(reactor: object, description: str) -> None:
            raise ModuleNotFoundError("No module named 'OpenSSL'", name="OpenSSL")

        self.patch(settings, "serverFromString", parse)
        with self.assertRaises(ValueError) as caught:
            parse_listen("ssl:7777:privateKey=key.pem")
        self.assertEqual(
            str(caught.exception),
            "'ssl:7777:privateKey=key.pem' needs TLS: pip install 'gostore[tls]'",
        )


class TableTests(SynchronousTestCase):
    """The table and the values made by it."""

    def test_defaults(self) -> None:
        """Settings made of nothing are those of the table's default texts."""
        parsed = {name: row.parse(row.default) for name, row in TABLE.items()}
        self.assertEqual(make_settings({}), make_settings(parsed))

    def test_documented_defaults(self) -> None:
        """The defaults are the published ones."""
        settings = Settings()
        self.assertEqual(settings.listen, "tcp:7777")
        self.assertEqual(settings.gc_interval, 5)
        self.assertEqual((settings.max_uri_size, settings.max_head_size), (8192, 16384))
        self.assertEqual((settings.max_fields, settings.max_uploads), (100, 256))
        self.assertEqual((settings.head_timeout, settings.idle_timeout), (10, 75))
        self.assertEqual((settings.body_rate, settings.body_window), (1024, 30))
        self.assertEqual((settings.send_timeout, settings.shutdown_grace), (60, 10))
        self.assertEqual((settings.put_creates, settings.debug), (False, False))
        self.assertEqual(settings.max_blob_size, 0)

    def test_one_row_each(self) -> None:
        """Each field of Settings has a row, named as it is, with a description of one line."""
        self.assertEqual(list(TABLE), [each.name.replace("_", "-") for each in fields(Settings)])
        for name, row in TABLE.items():
            self.assertEqual(row.name, name)
            self.assertRegex(row.doc, r"\A[A-Z][^\n]+\.\Z")

    def test_absolute(self) -> None:
        """A path is made absolute, ~ is the home, and ~ of nobody is refused."""
        self.patch(os, "environ", {**os.environ, "HOME": "/home/me"})
        self.assertEqual(absolute("~/blobs/../b"), "/home/me/b")
        self.assertEqual(absolute("~"), "/home/me")
        self.assertEqual(absolute("~root"), os.path.expanduser("~root"))
        self.assertEqual(absolute("a/~"), os.path.join(os.getcwd(), "a/~"))
        with self.assertRaises(ValueError) as caught:
            absolute("~nobody-at-all/x")
        self.assertIn("the home ~nobody-at-all;", str(caught.exception))


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
            {"gc-interval": 0.5, "listen": "tcp:80", "dir": "/a b/100%"},
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


class TapConfTests(SynchronousTestCase):
    """The tap.conf that comes with the project."""

    def test_every_setting_at_its_default(self) -> None:
        """tap.conf lists every setting, in the table's order, at its default, under its doc."""
        lines = TAP_CONF.read_text().splitlines()
        wanted = list(TABLE)
        found = [line.partition(" = ")[0] for line in lines if " = " in line and line[0] != "#"]
        self.assertEqual(found, wanted)
        for row in TABLE.values():
            self.assertIn(f"# {row.doc}", lines)
            self.assertIn(f"{row.name} = {row.default}", lines)

    def test_reads_as_the_defaults(self) -> None:
        """Reading tap.conf changes nothing."""
        values = parse_config(TAP_CONF.read_text(), "tap.conf")
        self.assertEqual(make_settings(values), Settings())
