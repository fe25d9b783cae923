"""Tests for gostore.daemon.config_file: what the configuration file may say."""

from __future__ import annotations

import math

from twisted.trial.unittest import SynchronousTestCase

from gostore.daemon.config_file import BadSetting, parse_config
from gostore.daemon.settings import TABLE, make_settings
from gostore.prefixes import ByPrefix
from gostore.web.lifetimes import LifetimeRule


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


class PrefixTests(SynchronousTestCase):
    """What a section says of the locations below a prefix."""

    def test_keep(self) -> None:
        """[keep] says how long history is kept below a prefix, beside what holds elsewhere."""
        text = "[gostore]\nkeep = 12h\n[keep]\nphotos/ = 30d\nphotos/raw/ = forever\nscratch/ = 0\n"
        keep = parse_config(text, "x.conf")["keep"]
        assert isinstance(keep, ByPrefix)
        found = [keep.of(each) for each in ("a", "photos/a", "photos/raw/a", "scratch/a")]
        self.assertEqual(found, [12 * 3600, 30 * 86400, math.inf, 0])

    def test_alone(self) -> None:
        """Without a setting in [gostore] its default holds elsewhere."""
        self.assertEqual(parse_config("[keep]\na = 1s\n", "x")["keep"], ByPrefix(0, {"a": 1}))

    def test_command_line(self) -> None:
        """The command line wins over what holds everywhere, and not over a prefix."""
        values = parse_config("[gostore]\nkeep = 12h\n[keep]\na = 1s\n", "x")
        keep = TABLE["keep"].over(values["keep"], "forever")
        self.assertEqual(keep, ByPrefix(math.inf, {"a": 1}))
        self.assertEqual(TABLE["keep"].over(None, "7d"), ByPrefix(7 * 86400))

    def test_refused(self) -> None:
        """A mistake is refused with its line."""
        for text, reason in (
            ("a = soon", "'soon' is not a duration such as 90s, 15m, 12h or 7d"),
            ("a = -1d", "'-1d' is not a duration such as 90s, 15m, 12h or 7d"),
            ("/a = 1d", "'/a' begins with a slash, and no location does"),
        ):
            with self.assertRaises(BadSetting) as caught:
                parse_config(f"[keep]\n{text}\n", "x.conf")
            self.assertEqual(str(caught.exception), f"x.conf, line 2: {reason}")


class ExpireTests(SynchronousTestCase):
    """[expire], a setting by prefix."""

    def test_section(self) -> None:
        """It says how long blobs stay below a prefix, beside what holds elsewhere."""
        text = "[gostore]\nexpire = max 4w\n[expire]\ntmp/ = 1d max 7d\ntmp/kept/ = never\n"
        expire = make_settings(parse_config(text, "x.conf")).expire
        found = [expire.of(each) for each in ("a", "tmp/a", "tmp/kept/a")]
        day = 86_400
        self.assertEqual(
            found, [LifetimeRule(None, 28 * day), LifetimeRule(day, 7 * day), LifetimeRule()]
        )

    def test_alone(self) -> None:
        """Without a setting in [gostore] its default holds elsewhere."""
        rule = LifetimeRule(1)
        found = parse_config("[expire]\na = 1s\n", "x")["expire"]
        self.assertEqual(found, ByPrefix(LifetimeRule(), {"a": rule}))

    def test_command_line(self) -> None:
        """The command line wins over what holds everywhere, and not over a prefix."""
        values = parse_config("[gostore]\nexpire = 2d\n[expire]\na = 1s\n", "x")
        expire = TABLE["expire"].over(values["expire"], "5s")
        self.assertEqual(expire, ByPrefix(LifetimeRule(5), {"a": LifetimeRule(1)}))
        self.assertEqual(TABLE["expire"].over(None, "5s"), ByPrefix(LifetimeRule(5)))

    def test_refused(self) -> None:
        """A mistake is refused with its line."""
        for text, reason in (
            ("a = soon", "'soon' is not a duration such as 90s, 15m, 12h or 7d"),
            ("a =", "'' is none of never, 1d, max 7d and 1d max 7d"),
            ("a = 0", "'0' is no time from 1 second to 317 years"),
            ("a = 2d max 1d", "'2d max 1d' has a default above its maximum"),
            ("/a = 1d", "'/a' begins with a slash, and no location does"),
        ):
            with self.assertRaises(BadSetting) as caught:
                parse_config(f"[expire]\n{text}\n", "x.conf")
            self.assertEqual(str(caught.exception), f"x.conf, line 2: {reason}")
