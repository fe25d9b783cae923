"""Tests for gostore.daemon.parsers: text to value."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from gostore.daemon import parsers
from gostore.daemon.parsers import (
    absolute,
    endpoint_arguments,
    parse_count,
    parse_expire,
    parse_field_name,
    parse_flag,
    parse_hosts,
    parse_listen,
    parse_origins,
    parse_seconds,
    parse_seconds_above_zero,
    parse_size,
    parse_size_above_zero,
    parse_text,
)
from gostore.daemon.settings import TABLE
from gostore.web.lifetimes import LifetimeRule


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
        self.assertEqual(parse_count("0", least=0), 0)
        for text in ["", "0", "-1", "1.0", "x", "9" * 10]:
            self.assertRaises(ValueError, parse_count, text)

    def test_seconds(self) -> None:
        """Times are seconds, with fractions, no more than a day, and never NaN or infinite."""
        self.assertEqual(parse_seconds("0.5"), 0.5)
        self.assertEqual(parse_seconds("0"), 0)
        for text in ["", "x", "-1", "nan", "inf", "86401", "5s"]:
            self.assertRaises(ValueError, parse_seconds, text)
        self.assertRaises(ValueError, parse_seconds_above_zero, "0")

    def test_origins(self) -> None:
        """Origins are as browsers send them: no path, no default port, in lower case."""
        self.assertEqual(
            parse_origins("https://A.Example:443, http://b.example:8080,app://x,http://[::1]:80"),
            {"https://a.example", "http://b.example:8080", "app://x", "http://[::1]"},
        )
        self.assertEqual(parse_origins("*"), {"*"})
        for text in (
            "",
            "a.example",
            "https://a.example/",
            "null",
            "*,https://a.example",
            "https://",
        ):
            with self.assertRaises(ValueError) as caught:
                parse_origins(text)
            self.assertIn("is not an origin such as", str(caught.exception))

    def test_field_name(self) -> None:
        """The name of a field is one, without the colon."""
        self.assertEqual(parse_field_name("X-Remote-User"), "X-Remote-User")
        for text in ("", "X:", "a b"):
            self.assertRaises(ValueError, parse_field_name, text)

    def test_hosts(self) -> None:
        """The names of hosts are separated by commas, without ports; addresses are names, too."""
        self.assertEqual(
            parse_hosts("Blobs.Example., *.b.example,192.0.2.1, [::1],FE80::1"),
            {"blobs.example", "*.b.example", "192.0.2.1", "::1", "fe80::1"},
        )
        self.assertEqual(parse_hosts("*"), {"*"})
        for text in ["", "a,", "a:80", "[::1]:80", "http://a", "a b", "*a", "a.*.b", "[a]"]:
            with self.assertRaisesRegex(ValueError, "is not the name of a host, without a port"):
                parse_hosts(text)

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

        self.patch(parsers, "serverFromString", parse)
        with self.assertRaises(ValueError) as caught:
            parse_listen("ssl:7777:privateKey=key.pem")
        self.assertEqual(
            str(caught.exception),
            "'ssl:7777:privateKey=key.pem' needs TLS: pip install '.[tls]' in a clone of gostore",
        )


class EndpointTests(SynchronousTestCase):
    """Endpoint strings, taken apart."""

    def test_arguments(self) -> None:
        """They are split at colons, named by an equals sign, and escaped by a backslash."""
        for text, wanted in {
            "tcp:7777": ("tcp", ["7777"], {}),
            "unix:/a b:mode=660": ("unix", ["/a b"], {"mode": "660"}),
            r"tcp6:80:interface=\:\:1": ("tcp6", ["80"], {"interface": "::1"}),
            r"unix:a\=b\\:x=y=z": ("unix", ["a=b\\"], {"x": "y=z"}),
        }.items():
            self.assertEqual(endpoint_arguments(text), wanted)

    def test_no_systemd(self) -> None:
        """A socket of systemd is well named where there is none: only the daemon gets it."""
        for text in ("systemd:domain=INET:index=0", "systemd:domain=UNIX:name=x.socket"):
            self.assertEqual(parse_listen(text), text)
        for text in ("systemd:domain=INET", "systemd:index=0"):
            with self.assertRaises(ValueError):
                parse_listen(text)


class PathTests(SynchronousTestCase):
    """Paths that the user gives."""

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


class ExpireTests(SynchronousTestCase):
    """parse_expire."""

    def test_good(self) -> None:
        """A default, a maximum, both, or neither."""
        for text, rule in (
            ("never", LifetimeRule()),
            ("90", LifetimeRule(90)),
            ("1.5h", LifetimeRule(5400)),
            ("max 7d", LifetimeRule(None, 604_800)),
            ("1d max 7d", LifetimeRule(86_400, 604_800)),
            ("7d  max\t7d", LifetimeRule(604_800, 604_800)),
        ):
            self.assertEqual(parse_expire(text), rule, text)

    def test_bad(self) -> None:
        """Anything else is refused."""
        for text in (
            *("", "max", "1d max", "max max 1d", "1dmax 7d", "1d 7d", "max 1d 2d", "never max 1d"),
            *("0", "max 0", "-1", "1e99", "8d max 7d", "999999999d", "1d, max 7d"),
        ):
            self.assertRaises(ValueError, parse_expire, text)
