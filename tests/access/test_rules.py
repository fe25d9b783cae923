"""Tests for gostore.access.rules: what an access file says."""

from __future__ import annotations

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gostore.access.grants import Verb
from gostore.access.quotas import Quota
from gostore.access.rules import parse_expiry, parse_rules
from gostore.ini import BadFile

HASH = "$2y$05$" + 53 * "a"
DIGEST = sha256(b"gst_x").hexdigest()

TEXT = f"""\
# Who may do what.
[anonymous]
grant = read public/

[user alice]
password = {HASH}     # as htpasswd prints it
grant = all

[token  nightly]
secret = sha256:{DIGEST}  ; shown once
expires = 2027-01-01
grant = create,read backups/nightly/
        list backups/
"""


def refused(text: str) -> str:
    """The reason why a file is refused, on one line."""
    try:
        parse_rules(text, "x")
    except BadFile as error:
        assert "\n" not in str(error)
        return str(error)
    raise AssertionError(f"taken: {text}")


class RulesTests(SynchronousTestCase):
    """A file."""

    def test_sample(self) -> None:
        """Each section is a principal with its grants; comments may follow what has no # in it."""
        rules = parse_rules(TEXT, "x")
        self.assertTrue(rules.anonymous.may(Verb.READ, "public/a"))
        self.assertFalse(rules.anonymous.may(Verb.LIST, "public/a"))
        self.assertEqual(rules.users["alice"].password, HASH.encode())
        self.assertTrue(rules.users["alice"].principal.may(Verb.METRICS, ""))
        nightly = rules.tokens[bytes.fromhex(DIGEST)]
        self.assertEqual((nightly.name, nightly.kind), ("nightly", "token"))
        self.assertEqual(nightly.expires, 1798761600)
        self.assertEqual([grant.line for grant in nightly.grants], [12, 13])
        self.assertEqual(rules.lines, {"anonymous": 2, "alice": 5, "nightly": 9})
        self.assertEqual(set(rules.principals()), {"anonymous", "alice", "nightly"})

    def test_quotas(self) -> None:
        """A quota has bytes, and perhaps a number of blobs."""
        text = "[anonymous]\n[quota]\na/ = 500GiB 10000  # each\nb = 1 KB\nc/d: 0 3\n"
        self.assertEqual(
            parse_rules(text, "x").quotas,
            (Quota("a/", 500 << 30, 10000, 3), Quota("b", 1000, None, 4), Quota("c/d", 0, 3, 5)),
        )
        text = '[anonymous]\n[quota]\n"k=v: /" = 5\n"" = 9 1\n"a" = 1\n'
        self.assertEqual(
            parse_rules(text, "x").quotas,
            (Quota("k=v: /", 5, None, 3), Quota("", 9, 1, 4), Quota("a", 1, None, 5)),
        )
        for line, reason in (
            ('"a" = 5\na = 6', "x, line 4: a is set twice"),
            ("a/ = much", "x, line 3: a/: 'much' is not a size such as 65536, 64K or 64KiB, and"),
            ("a/ = ", "x, line 3: a/: '' is not a size"),
            ("a/ = 5 x", "x, line 3: a/: '5 x' is not a size"),
            ("../ = 5", "x, line 3: no location begins with '../'"),
            ("/ = 5", "x, line 3: no location begins with '/'"),
            (1025 * "a" + " = 5", "x, line 3: no location begins with"),
            (" = 5", "x, line 3: neither a setting nor a comment"),
            ("a = 5\na = 6", "x, line 4: a is set twice"),
        ):
            self.assertIn(reason, refused(f"[anonymous]\n[quota]\n{line}\n"))

    def test_nobody(self) -> None:
        """Without [anonymous], nobody may do anything without credentials."""
        rules = parse_rules(f"[user a]\npassword = {HASH}\n", "x")
        self.assertEqual([verb for verb in Verb if rules.anonymous.may(verb, "a")], [])

    def test_what_htpasswd_prints(self) -> None:
        """The name that htpasswd prints before the hash does no harm, if it is the user's."""
        rules = parse_rules(f"[user a]\npassword = a:{HASH}\n", "x")
        self.assertEqual(rules.users["a"].password, HASH.encode())
        self.assertIn("is neither a bcrypt hash", refused(f"[user a]\npassword = b:{HASH}\n"))

    def test_refused(self) -> None:
        """A mistake is refused with its line and a reason."""
        user = f"[user a]\npassword = {HASH}\n"
        token = f"[token t]\nsecret = sha256:{DIGEST}\n"
        for text, reason in (
            ("", "x: nobody is in it: it would let nobody do anything"),
            ("# nothing\n", "x: nobody is in it: it would let nobody do anything"),
            ("grant = read\n", "x, line 1: no [anonymous] line above it"),
            ("[quotas]\n", "x, line 1: unknown [quotas]: there are [anonymous], [user NAME]"),
            ("[anonymous]\ngrant = read a/\n    raed b/\n", "x, line 3: unknown verb 'raed'"),
            (
                "[anonymous]\ngrants = read\n",
                "x, line 2: unknown key grants: a section [anonymous]",
            ),
            ("[anonymous]\ngrant = read ../a\n", "x, line 2: no location begins with '../a'"),
            ("[user]\n", "x, line 1: a user and a token each have a name"),
            ("[user anonymous]\n", "x, line 1: anonymous is nobody's name"),
            ("[user a:b]\n", "x, line 1: a name has no colon"),
            ("[user a\x07b]\n", "x, line 1: a name has no colon"),
            ("[user a]\ngrant = read\n", "x, line 1: [user a] has no password"),
            (user + "secret = x\n", "x, line 3: unknown key secret: a section [user]"),
            ("[user a]\npassword = \n", "x, line 2: password is neither a bcrypt hash"),
            ("[user a]\npassword = {SHA}x\n", "x, line 2: password is neither a bcrypt hash"),
            ("[user a]\npassword = $2y$31$" + 53 * "a", "x, line 2: password has a cost that is"),
            ("[user a]\npassword = $2y$05\n    $a", "x, line 2: password goes on over several"),
            ("[token t]\nsecret = gst_abc\n", "x, line 2: secret is not sha256: and 64 hex digits"),
            (token + "expires = tomorrow\n", "x, line 3: expires: 'tomorrow' is not a date"),
            (token + "expires = 10000-01-01\n", "x, line 3: expires: '10000-01-01' is not a date"),
            (token + "expires = 2027-02-30\n", "x, line 3: expires: '2027-02-30' is not a date"),
            (token + token.replace(" t]", " u]"), "x, line 4: the token t has this very secret"),
            (user + token.replace(" t]", " a]"), "x, line 3: the name a is taken in line 1"),
            (user + user.replace("user a", "user  a"), "x, line 3: the name a is taken in line 1"),
            (user + user, "x, line 3: the section [user a] is there twice"),
        ):
            self.assertIn(reason, refused(text))

    def test_no_secrets_in_errors(self) -> None:
        """What stands where a password or a secret belongs is not repeated."""
        for text in (
            "[user a]\npassword = hunter2\n",
            "[token t]\nsecret = hunter2\n",
            "[user a]\nhunter2 = 1\n",
            "[hunter2]\n",
            "[user a]\nhunter2\n",
            f"[user a]\npassword = {HASH}\n  hunter2\n",
        ):
            self.assertNotIn("hunter2", refused(text).replace("unknown key", ""))
        rules = parse_rules(TEXT, "x")
        self.assertNotIn(HASH, repr(rules))
        self.assertNotIn(HASH, repr(rules.users["alice"]))

    def test_expiry(self) -> None:
        """A date is the beginning of its day, UTC; a time is one."""
        self.assertEqual(parse_expiry("1970-01-02"), 86400)
        self.assertEqual(parse_expiry("1970-01-02T00:01:00Z"), 86460)
        self.assertEqual(parse_expiry("1970-01-02T01:00+01:00"), 86400)
        self.assertLess(parse_expiry("0001-01-01"), 0)

    @given(st.text(st.sampled_from("[]user token=:# \nabg$2\x00é\udcff"), max_size=60))
    def test_any_text(self, text: str) -> None:
        """No text does more than be refused."""
        try:
            parse_rules(text, "x")
        except BadFile as error:
            self.assertTrue(str(error).startswith("x"))
