"""Tests for gostore.tap: the command line, and what twistd gets."""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, cast

from attrs import evolve
from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from gostore import __version__
from gostore.daemon.settings import TABLE, Settings
from gostore.tap import Options, Process, makeService


def temporary(test: SynchronousTestCase) -> Path:
    """Make a directory that goes when the test is over; mktemp() of pytest would leave it."""
    directory = tempfile.mkdtemp()
    test.addCleanup(shutil.rmtree, directory)
    return Path(directory)


def parse(*arguments: str) -> Settings:
    """Parse a command line."""
    options = Options()
    options.parseOptions(list(arguments))
    return options.settings


class OptionsTests(SynchronousTestCase):
    """The command line becomes settings."""

    def refused(self, *arguments: str) -> str:
        """Parse a command line that is refused; return the reason."""
        with self.assertRaises(UsageError) as caught:
            parse(*arguments)
        self.assertNotIn("\n", str(caught.exception))
        return str(caught.exception)

    def config(self, text: str) -> str:
        """Write a configuration file; return its path."""
        path = temporary(self) / "gostore.conf"
        path.write_text(text)
        return str(path)

    def test_defaults(self) -> None:
        """Without options everything has its default, and ./data is an absolute path."""
        self.assertEqual(parse(), Settings(dir=os.path.abspath("data")))

    def test_options(self) -> None:
        """Long and short options are the settings of the same name."""
        settings = parse("-d", "/srv/blobs", "-s", ":80", "-D", "--put-creates", "--id-bits=16")
        wanted = Settings(
            dir="/srv/blobs", listen=("tcp:80",), debug=True, put_creates=True, id_bits=16
        )
        self.assertEqual(settings, wanted)
        self.assertEqual(parse("--dir", "/srv/blobs", "--listen", ":80").listen, ("tcp:80",))

    def test_several_addresses(self) -> None:
        """Each -s is one more address, and all of them replace those of the file."""
        path = self.config("[gostore]\nlisten = :1\n  :2\n")
        self.assertEqual(parse("--config", path).listen, ("tcp:1", "tcp:2"))
        listen = parse("-s", ":80", "--config", path, "--listen", "unix:/x").listen
        self.assertEqual(listen, ("tcp:80", "unix:/x"))
        self.assertEqual(parse("-s", "unix:/a\nb").listen, ("unix:/a\nb",))

    def test_every_setting_is_an_option(self) -> None:
        """Each row of the table is an option, and takes its own default."""
        for name, row in TABLE.items():
            settings = parse(f"--{name}" if row.flag else f"--{name}={row.default}")
            if row.flag:
                field = name.replace("-", "_")
                self.assertTrue(getattr(settings, field))
                settings = evolve(settings, **{field: False})
            self.assertEqual(settings, parse())

    def test_directory_is_resolved(self) -> None:
        """A relative directory is resolved at once: daemonizing changes the working directory."""
        self.assertEqual(parse("-d", "a/../b").dir, os.path.join(os.getcwd(), "b"))

    def test_home(self) -> None:
        """~ is the home directory where no shell sees it: after --dir= and in the file."""
        home = temporary(self)
        self.patch(os, "environ", {**os.environ, "HOME": str(home)})
        (home / "its.conf").write_text("[gostore]\ndir = ~/blobs\n")
        self.assertEqual(parse("--config=~/its.conf").dir, str(home / "blobs"))
        self.assertEqual(parse("--dir=~/x").dir, str(home / "x"))
        self.assertIn("dir: nobody knows the home ~no-one", self.refused("--dir=~no-one"))

    def test_bucket(self) -> None:
        """A bucket is named like a URL, and what only a directory has is refused beside it."""
        settings = parse("--store=s3://blobs/main/", "--s3-endpoint=http://127.0.0.1:8333")
        self.assertEqual(str(settings.store), "s3://blobs/main")
        self.assertEqual(settings.s3_endpoint, "http://127.0.0.1:8333")
        self.assertEqual(str(parse("--store=s3://blobs").store), "s3://blobs")
        for wrong in ("blobs", "s3://", "s3://B/x", "s3://blobs//x", "s3://blobs/../x", "s3://b/x"):
            self.assertIn("s3://bucket/prefix", self.refused(f"--store={wrong}"))
        for wrong in ("127.0.0.1:8333", "http://", "http://a/b", "ftp://a"):
            self.assertIn(
                "is not like", self.refused("--store=s3://blobs", f"--s3-endpoint={wrong}")
            )
        self.assertIn("need store", self.refused("--s3-endpoint=http://a"))
        self.assertIn("need store", self.refused("--s3-region=eu-north-1"))
        self.assertIn("region", self.refused("--store=s3://blobs", "--s3-region=a b"))
        for bits in (16, 64, 128):
            self.assertEqual(parse("--store=s3://blobs", f"--id-bits={bits}").id_bits, bits)
        self.assertIn("16, 64 or 128", self.refused("--store=s3://blobs", "--id-bits=32"))
        self.assertIn("of 64 bits", self.refused("--id-bits=64"))

    def test_remote_user(self) -> None:
        """A field that names users counts for nothing without a proxy, and without users."""
        reason = "remote-user: it needs trusted-proxy and access, too"
        self.assertEqual(self.refused("--remote-user=X", "--access=a"), reason)
        self.assertEqual(self.refused("--remote-user=X", "--trusted-proxy=::1"), reason)
        settings = parse("--remote-user=X", "--trusted-proxy=::1", "--access=a")
        self.assertEqual(settings.access, os.path.abspath("a"))

    def test_arguments(self) -> None:
        """What is no option is refused by its name."""
        self.assertEqual(
            self.refused("-D", "extra", "more"),
            "'extra' is not an option; see twistd gostore --help",
        )

    def test_directory_not_utf8(self) -> None:
        """A directory's name may be any bytes."""
        name = os.fsdecode(b"/srv/\xff")
        self.assertEqual(os.fsencode(parse("-d", name).dir), b"/srv/\xff")

    def test_config(self) -> None:
        """--config reads settings from a file, a directory's name that is not UTF-8 included."""
        path = temporary(self) / "gostore.conf"
        path.write_bytes(b"[gostore]\ngc-interval = 1\nput-creates = yes\ndir = /srv/\xff\n")
        settings = parse("--config", str(path))
        self.assertEqual((settings.gc_interval, settings.put_creates), (1, True))
        self.assertEqual(os.fsencode(settings.dir), b"/srv/\xff")

    def test_command_line_wins(self) -> None:
        """What the command line says holds over the file, a default said aloud included."""
        path = self.config("[gostore]\ngc-interval = 1\nid-bits = 16\nmax-uploads = 2\n")
        settings = parse("--id-bits", "auto", "--gc-interval=5", "--config", path)
        self.assertEqual(settings, evolve(parse(), max_uploads=2))

    def test_bad_option(self) -> None:
        """A bad value is refused with its option and the reason."""
        self.assertEqual(
            self.refused("--gc-interval", "soon"),
            "--gc-interval: 'soon' is not a number of seconds from 0 to 86400",
        )
        self.assertIn("--listen: 'x'", self.refused("-s", "x"))

    def test_bad_config(self) -> None:
        """A bad file is refused with its name, the line and the reason."""
        path = self.config("[gostore]\ncolour = red\n")
        self.assertEqual(
            self.refused("--config", path), f"{path}, line 2: unknown setting 'colour'"
        )
        self.assertEqual(
            self.refused("--config", "/nowhere"), "/nowhere: No such file or directory"
        )

    def test_mistake_under_twistd(self) -> None:
        """Under twistd, which would print all of --help, a mistake is one line and status 1."""
        options = Options()
        options.parent = UsageOptions()
        with self.assertRaises(SystemExit) as caught:
            options.parseOptions(["--colour=red"])
        self.assertEqual(caught.exception.code, "gostore: option --colour not recognized")

    def test_help(self) -> None:
        """--help shows every setting with its default, and examples as they were written."""
        text = Options().getUsage(width=500)
        for row in TABLE.values():
            self.assertIn(f"--{row.name}", text)
            self.assertIn(row.doc if row.flag else f"{row.doc} [default: {row.default}]", text)
        self.assertIn("\n  twistd -n gostore ", text)
        self.assertIn("\n  curl http://localhost:7777/store/foo\n", text)
        self.assertTrue(Options().getSynopsis().startswith("Usage: twistd "))

    def test_short_help(self) -> None:
        """-h is --help."""
        output = io.StringIO()
        self.patch(sys, "stdout", output)
        with self.assertRaises(SystemExit) as caught:
            parse("-h")
        self.assertEqual(caught.exception.code, 0)
        self.assertIn("-h, --help", output.getvalue())

    def test_version(self) -> None:
        """--version prints the version and exits with status 0."""
        output = io.StringIO()
        self.patch(sys, "stdout", output)
        with self.assertRaises(SystemExit) as caught:
            parse("--version")
        self.assertEqual(caught.exception.code, 0)
        self.assertIn(f"gostore {__version__} (Twisted ", output.getvalue())


class MakeServiceTests(SynchronousTestCase):
    """The service that twistd gets."""

    def test_make_service(self) -> None:
        """makeService makes the daemon, and neither starts it nor touches the disk.

        The reactor's time is then one that nobody can set.
        """
        from twisted.internet import reactor

        self.addCleanup(setattr, reactor, "seconds", cast(Any, reactor).seconds)
        options = Options()
        directory = temporary(self) / "data"
        options.parseOptions(["-d", str(directory), "-s", "tcp:0"])
        service = makeService(options)
        assert isinstance(service, Process)
        self.assertEqual([each.name for each in service], ["gostore"])
        self.assertFalse(directory.exists())
        self.assertIs(cast(Any, reactor).seconds, time.monotonic)
