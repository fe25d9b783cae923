"""Tests for gostore.commands.access: the commands that edit and ask the access file."""

from __future__ import annotations

import contextlib
import io
import re
import sys
import time
from pathlib import Path

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from gostore.access.file import read_rules
from gostore.access.grants import Verb
from gostore.access.passwords import is_password
from gostore.access.tokens import digest_of
from gostore.commands import access
from gostore.commands.main import main
from tests.commands.test_why import LivesCase
from tests.e2e.daemon import FIXTURES

TEXT = f"""\
# All of us.
[anonymous]
grant = read public/

[token old]
secret = sha256:{digest_of("gst_old").hex()}
expires = 2001-01-01
grant = all
"""


@frozen
class Done:
    """What a command did."""

    status: int
    out: str
    err: str


class Terminal(io.StringIO):
    """A terminal, as far as it says."""

    def isatty(self) -> bool:
        """Yes."""
        return True


class AccessTests(SynchronousTestCase):
    """Each action."""

    def setUp(self) -> None:
        """Have a file."""
        self.path = Path(self.mktemp()).absolute()
        self.path.write_text(TEXT)
        self.path.chmod(0o600)
        self.typed: type[io.StringIO] = io.StringIO

    def run_it(self, *arguments: str, typed: str = "", asks_file: bool = False) -> Done:
        """Run `gostore access`; ``typed`` is what comes on stdin."""
        file = [str(self.path)] if asks_file else ["--access", str(self.path)]
        at = 1 if asks_file or arguments[0] in ("list", "grant", "quota") else 2
        out, err = io.StringIO(), io.StringIO()
        self.patch(sys, "stdin", self.typed(typed))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                status = main(["access", *arguments[:at], *file, *arguments[at:]])
            except SystemExit as error:
                status = int(error.code or 0)
        shown = str(self.path)
        return Done(status, *(each.getvalue().replace(shown, "FILE") for each in (out, err)))

    def ask(self, *arguments: str) -> Done:
        """Run an action that only asks."""
        return self.run_it(*arguments, asks_file=True)

    def test_check(self) -> None:
        """A good file is called good, with what may be a mistake; a bad one has a reason."""
        done = self.ask("check")
        self.assertEqual((done.status, done.out), (0, "FILE is good: 0 users, 1 token\n"))
        self.assertEqual(done.err, "gostore: FILE, line 5: old has expired\n")
        self.path.chmod(0o644)
        self.assertIn("everybody on this machine may read it", self.ask("check").err)
        self.path.write_text("[anonymous]\ngrant = raed\n")
        done = self.ask("check")
        self.assertEqual((done.status, done.out), (1, ""))
        self.assertIn("gostore: FILE, line 2: unknown verb 'raed'", done.err)

    def test_who(self) -> None:
        """The answer is yes or no, with the line that decides."""
        done = self.ask("who", "--as", "anonymous", "read", "public/a")
        self.assertEqual((done.status, done.out), (0, "yes: FILE, line 3: read public/\n"))
        done = self.ask("who", "--as", "anonymous", "delete", "public/a")
        self.assertEqual(
            (done.status, done.out), (1, "no: no grant of anonymous covers it; FILE, line 2\n")
        )
        done = self.ask("who", "--as", "old", "metrics")
        self.assertEqual((done.status, done.out), (1, "no: old has expired; FILE, line 5\n"))
        done = self.ask("who", "--as", "bob", "read", "a")
        self.assertEqual((done.status, done.err), (2, "gostore: nobody in FILE is called bob\n"))
        self.assertEqual(self.ask("who", "--as", "old", "read").status, 2)
        self.assertEqual(self.ask("who", "--as", "old", "read", "a/../b").status, 2)
        self.assertEqual(self.ask("who", "--as", "old", "reed", "a").status, 2)

    def test_who_without_anonymous(self) -> None:
        """Where no section is for those without credentials, the answer says so."""
        self.path.write_text(TEXT.replace("anonymous", "token x").replace("grant = read", "secret ="
            f" sha256:{64 * '0'}\ngrant = read"))  # fmt: skip
        done = self.ask("who", "--as", "anonymous", "read", "a")
        self.assertIn("FILE has no [anonymous]", done.out)

    def test_list(self) -> None:
        """Everybody is shown, with what each may do."""
        done = self.run_it("list")
        self.assertEqual(
            done.out,
            "anonymous\n    read public/\ntoken old, expired 2001-01-01 00:00 UTC\n    all\n",
        )

    def test_user(self) -> None:
        """A user is added with a password, gets another one, and is removed."""
        self.assertEqual(
            self.run_it("user", "add", "al", "--grant", "read a/", typed="one\n"), Done(0, "", "")
        )
        al = read_rules(str(self.path)).users["al"]
        self.assertTrue(is_password(b"one", al.password))
        self.assertTrue(al.principal.may(Verb.READ, "a/b"))
        self.assertEqual(self.run_it("user", "password", "al", typed="two\n").status, 0)
        al = read_rules(str(self.path)).users["al"]
        self.assertTrue(is_password(b"two", al.password))
        self.assertEqual(self.run_it("user", "remove", "al").status, 0)
        self.assertEqual(self.path.read_text(), TEXT)

    def test_terminal(self) -> None:
        """On a terminal the password is asked for twice, and must be the same."""
        answers = ["one", "two", "one", "one"]
        self.patch(access.getpass, "getpass", lambda prompt: answers.pop(0))
        self.typed = Terminal
        self.assertIn("the two passwords differ", self.run_it("user", "add", "al").err)
        self.assertEqual(self.run_it("user", "add", "al").status, 0)

    def test_bad_user(self) -> None:
        """No user has a name that is taken or impossible, or a password that bcrypt would cut."""
        for name in ("anonymous", "a:b", "a]b", ""):
            self.assertEqual(self.run_it("user", "add", name, typed="x\n").status, 2)
        self.assertIn("the name old is taken", self.run_it("user", "add", "old", typed="x\n").err)
        done = self.run_it("user", "add", "al", typed=73 * "x" + "\n")
        self.assertIn("more than 72 bytes", done.err)
        done = self.run_it("user", "remove", "old")
        self.assertEqual((done.status, done.err), (2, "gostore: no user in FILE is called old\n"))
        self.assertEqual(self.run_it("user", "password", "old", typed="x\n").status, 2)
        self.assertEqual(self.path.read_text(), TEXT)

    def test_token(self) -> None:
        """A token's secret is printed once, alone on stdout; the file has its hash."""
        done = self.run_it("token", "add", "new", "--grant", "append a b/", "--expires", "90d")
        self.assertEqual(done.status, 0)
        secret = done.out.strip()
        self.assertIn('curl --oauth2-bearer "$SECRET" --upload-file FILE', done.err)
        self.assertIn("http://localhost:7777/store/a%20b/NAME\n", done.err)
        self.assertNotIn(secret, done.err + self.path.read_text())
        token = read_rules(str(self.path)).tokens[digest_of(secret)]
        self.assertTrue(token.may(Verb.CREATE, "a b/c"))
        assert token.expires is not None
        self.assertLess(abs(token.expires - time.time() - 90 * 86400), 100)
        self.assertEqual(self.run_it("token", "revoke", "new").status, 0)
        self.assertEqual(self.path.read_text(), TEXT)
        self.assertEqual(self.run_it("token", "revoke", "new").status, 2)

    def test_bad_token(self) -> None:
        """A token needs a grant that can be read, a time that there is, and a name of its own."""
        for arguments in (
            ["x"],
            ["x", "--grant", "raed"],
            ["x", "--grant", "read ../"],
            ["x", "--grant", "read", "--expires", "10000-01-01"],
            [
                "x",
                "--grant",
                "read",
                "--expires",
                "99999w",
                "--expires",
                "99999d",
                "--expires",
                "x",
            ],
            ["old", "--grant", "read"],
        ):
            done = self.run_it("token", "add", *arguments)
            self.assertEqual((done.status, done.out), (2, ""), arguments)
        self.assertEqual(self.path.read_text(), TEXT)

    def test_curl(self) -> None:
        """The command that is shown for a new token does what the token may do."""
        for grant, wanted in (
            ("read a/", "http://localhost:7777/store/a/NAME"),
            ("list", "http://localhost:7777/store/"),
        ):
            done = self.run_it("token", "add", grant.split()[0], "--grant", grant)
            self.assertIn(f'"$SECRET" {wanted}', done.err)

    def test_grant(self) -> None:
        """Somebody gets one grant more; [anonymous] is made where it is missing."""
        self.assertEqual(self.run_it("grant", "anonymous", "list public/").status, 0)
        self.assertEqual(self.run_it("grant", "old", "read").status, 0)
        text = self.path.read_text()
        self.assertIn("grant = read public/\n        list public/\n", text)
        self.assertIn("grant = all\n        read\n", text)
        self.path.unlink()
        self.assertEqual(self.run_it("grant", "anonymous", "read").status, 0)
        self.assertEqual(self.path.read_text(), "[anonymous]\ngrant = read\n")
        done = self.run_it("grant", "bob", "read")
        self.assertEqual((done.status, done.err), (2, "gostore: nobody in FILE is called bob\n"))

    def test_quota(self) -> None:
        """A quota is set, and changed; all are shown, and with a directory what is used of them."""
        self.assertEqual(self.run_it("quota", "a/", "1KiB", "5"), Done(0, "", ""))
        self.assertEqual(self.run_it("quota", "foo", "2KiB"), Done(0, "", ""))
        self.assertEqual(self.run_it("quota", "a/", "3KiB", "7"), Done(0, "", ""))
        self.assertEqual(self.run_it("quota").out, "a/: 3072 bytes, 7 blobs\nfoo: 2048 bytes\n")
        self.assertIn("[quota]\na/ = 3KiB 7\nfoo = 2KiB\n", self.path.read_text())
        done = self.run_it("quota", "--dir", str(FIXTURES / "go-data"))
        used = "a/: 0 of 3072 bytes, 0 of 7 blobs\nfoo: [0-9]+ of 2048 bytes, [0-9]+ blobs\n"
        self.assertRegex(done.out, used)
        self.assertIn("1 token, 2 quotas", self.ask("check").out)
        for size in ("1", "2"):
            self.assertEqual(self.run_it("quota", "k=v/", size), Done(0, "", ""))
            self.assertEqual(self.run_it("quota", "", size), Done(0, "", ""))
        self.assertIn('"k=v/" = 2\n"" = 2\n', self.path.read_text())
        self.assertTrue(self.run_it("quota").out.endswith('"k=v/": 2 bytes\n"": 2 bytes\n'))
        for arguments in (["a/"], ["a/", "much"], ["../", "5"], ["--dir", "x", "a/", "5"]):
            self.assertEqual(self.run_it("quota", *arguments).status, 2)

    def test_bad_file(self) -> None:
        """A file that does not load is changed by nothing, and told of with its line."""
        self.path.write_text("[anonymous]\noops\n")
        for arguments in (["grant", "anonymous", "read"], ["user", "remove", "x"], ["list"]):
            done = self.run_it(*arguments)
            self.assertEqual(done.status, 2)
            self.assertTrue(re.match("gostore: FILE, line 2: neither", done.err), done.err)


class UsedTests(LivesCase):
    """What is used of quotas, in the directory of a store that keeps a history."""

    def test_history(self) -> None:
        """What is kept is told apart from what is stored."""
        self.put("a/1", b"four")
        self.put("a/1", b"five!")
        self.put("b", b"x")
        file = self.directory.parent / f"{self.directory.name}.conf"
        file.write_text("[anonymous]\ngrant = all\n[quota]\na/ = 100 9\nb = 100\n")
        self.addCleanup(file.unlink)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            main(["access", "quota", "--access", str(file), "--dir", self.path])
        self.assertEqual(
            out.getvalue(),
            "a/: 5 of 100 bytes, 1 of 9 blobs; 4 bytes of history, 1 version\n"
            "b: 1 of 100 bytes, 1 blobs\n",
        )
