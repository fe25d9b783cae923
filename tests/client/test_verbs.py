"""Tests for verbs.py: what is sent, what is tried again, and what is made of the answers."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gostore.client import verbs
from gostore.client.errors import (
    AlreadyExists,
    BadAnswer,
    Changed,
    ClientError,
    ConditionFailed,
    Damaged,
    Lost,
    NoRoom,
    NotFound,
    Refused,
    Unavailable,
    Unreachable,
)
from gostore.client.patience import Patience
from gostore.client.sources import Bytes, Source, Stream
from gostore.client.steps import Ask
from gostore.client.values import Blob, repr_digest
from tests.client.script import answer, head, play

SHORT = Patience(10, 1)
LOST = Lost("gone")
AWAY = Lost("nobody there", reached=False)
NEW = verbs.Expected(nothing=True)
DATA = b"Buy milk."
OURS = head(DATA)
THEIRS = head(b"Buy bread.")


def ask_for(source: Source) -> Ask:
    """What a put is told."""
    return Ask("PUT", "a", {}, {}, source)


class ErrorTests(SynchronousTestCase):
    """Which error an answer is."""

    def test_table(self) -> None:
        """Each status is an error of its own, with the text of the daemon."""
        for code, kind, status in (
            (400, ClientError, 1),
            (401, Refused, 4),
            (403, Refused, 4),
            (404, NotFound, 5),
            (409, AlreadyExists, 6),
            (412, ConditionFailed, 6),
            (413, NoRoom, 7),
            (500, ClientError, 1),
            (503, Unavailable, 3),
            (507, NoRoom, 7),
        ):
            error = verbs.error_of(answer(code, '{"text": "so"}'), "GET a")
            self.assertIs(type(error), kind)
            self.assertEqual((str(error), error.exit_status, error.code), ("so", status, code))

    def test_damaged(self) -> None:
        """A damaged blob is told from a disk that failed."""
        said = '{"code": 500, "text": "a is damaged; PUT or DELETE it"}'
        self.assertIsInstance(verbs.error_of(answer(500, said), "GET a"), Damaged)

    def test_of_others(self) -> None:
        """The page of a proxy is not repeated."""
        error = verbs.error_of(answer(502, "<html>"), "GET a")
        self.assertEqual(str(error), "GET a: the answer is 502 Bad Gateway")


class StatTests(SynchronousTestCase):
    """HEAD."""

    def test_found(self) -> None:
        """The head is the blob."""
        blob, asked, _ = play(verbs.stat("a", SHORT, {}), [answer(200, **OURS)])
        self.assertEqual((blob.size, asked[0].method), (9, "HEAD"))

    def test_busy(self) -> None:
        """A daemon that asks to wait is asked again, when it said."""
        busy = answer(503, retry_after="3")
        _, _, pauses = play(verbs.stat("a", SHORT, {}), [busy, LOST, answer(200, **OURS)])
        self.assertEqual((pauses[0], len(pauses)), (3, 2))

    def test_busy_for_too_long(self) -> None:
        """A daemon that asks for more patience than there is gets none."""
        busy = answer(503, retry_after="3600")
        with self.assertRaises(Unavailable):
            play(verbs.stat("a", SHORT, {}), [busy])

    def test_unreachable(self) -> None:
        """Who does not answer at all is given up."""
        with self.assertRaises(Unreachable):
            play(verbs.stat("a", Patience(0, 0), {}), [AWAY])

    def test_why(self) -> None:
        """Why a HEAD fails a GET tells."""
        told = answer(500, '{"text": "a is damaged"}')
        with self.assertRaises(Damaged):
            play(verbs.stat("a", SHORT, {}), [answer(500), told])
        with self.assertRaises(NotFound):
            play(verbs.stat("a", SHORT, {}), [answer(404)])

    def test_no_size(self) -> None:
        """A head without a length describes no blob."""
        with self.assertRaises(BadAnswer):
            play(verbs.stat("a", SHORT, {}), [answer(200, etag=OURS["etag"])])


class RangeTests(SynchronousTestCase):
    """Parts of a blob."""

    BLOB = Blob("a", 9, OURS["etag"])

    def read(self, *answers):
        """Read bytes 2 to 5."""
        return play(verbs.read_part(self.BLOB, 2, 5, SHORT), answers)

    def test_part(self) -> None:
        """A part is asked for by its version."""
        part = answer(206, "y m", etag=OURS["etag"], content_range="bytes 2-4/9")
        data, [ask], _ = self.read(part)
        self.assertEqual(data, b"y m")
        self.assertEqual(ask.fields, {"Range": "bytes=2-4", "If-Match": OURS["etag"]})

    def test_whole(self) -> None:
        """A server that ignores Range gives the part, too."""
        self.assertEqual(self.read(answer(200, DATA, etag=OURS["etag"]))[0], b"y m")

    def test_lies(self) -> None:
        """Other bytes than those asked for are no answer."""
        for lie in (
            answer(206, "y m", etag=OURS["etag"], content_range="bytes 3-5/9"),
            answer(206, "y m", etag=OURS["etag"]),
            answer(206, "y mi", etag=OURS["etag"], content_range="bytes 2-4/9"),
            answer(206, "y m", etag=THEIRS["etag"], content_range="bytes 2-4/9"),
        ):
            self.assertRaises(BadAnswer, self.read, lie)
        self.assertRaises(ConditionFailed, self.read, answer(412))

    def test_nothing(self) -> None:
        """No bytes are nobody's business."""
        for start, end in ((5, 5), (9, 99)):
            self.assertEqual(play(verbs.read_part(self.BLOB, start, end, SHORT), [])[0], b"")
        with self.assertRaises(BadAnswer):
            play(verbs.read_part(Blob("a", 9), 2, 5, SHORT), [])


class ListTests(SynchronousTestCase):
    """The list, page by page."""

    def page(self, after: str, link: str | None):
        """One page with this Link."""
        fields = {} if link is None else {"link": link}
        return play(verbs.list_page("", "", after, 2, SHORT), [answer(200, "[]", **fields)])[0]

    def test_next(self) -> None:
        """The next page begins where Link says."""
        link = '<?prefix=&delimiter=&after=caf%C3%A9+b&limit=2&format=json>; rel="next"'
        self.assertEqual(self.page("a", link), ([], "café b"))
        self.assertEqual(self.page("a", None), ([], None))
        self.assertEqual(self.page("a", '<x?after=b>; rel="last"'), ([], None))

    def test_elsewhere(self) -> None:
        """A Link to another host says where the next page begins, and no more."""
        self.assertEqual(self.page("a", '<http://evil/?after=b>; rel="next"')[1], "b")

    def test_endless(self) -> None:
        """A list that does not go on is not asked for for ever."""
        for link in ('<?after=b>; rel="next"', '<?after=a>; rel="next"', '<?after=>; rel="next"'):
            self.assertRaises(BadAnswer, self.page, "b", link)


class WriteTests(SynchronousTestCase):
    """POST and PUT, and answers that get lost."""

    def create(self, *answers, patience=SHORT, source=None):
        """POST the data."""
        return play(verbs.put(ask_for(source or Bytes(DATA)), patience, NEW), answers)

    def put(self, *answers, if_match=None, source=None):
        """PUT the data."""
        ask, expected = ask_for(source or Bytes(DATA)), verbs.Expected(etag=if_match)
        return play(verbs.put(ask, SHORT, expected), answers)

    def test_digest(self) -> None:
        """The daemon is told what it has to get, and says what it got."""
        blob, [ask], _ = self.create(answer(204, etag=OURS["etag"]))
        assert blob.sha256 is not None
        self.assertEqual(ask.fields, {"Repr-Digest": repr_digest(blob.sha256)})
        self.assertEqual((ask.method, blob.size), ("POST", 9))

    def test_stored_otherwise(self) -> None:
        """An answer about other bytes is no success."""
        self.assertRaises(Damaged, self.create, answer(204, etag=THEIRS["etag"]))
        self.assertRaises(BadAnswer, self.create, answer(204))

    def test_lost_and_stored(self) -> None:
        """A POST whose answer is lost was done if the blob has the digest."""
        blob, asked, _ = self.create(LOST, answer(200, **OURS))
        self.assertEqual([ask.method for ask in asked], ["POST", "HEAD"])
        self.assertEqual(blob.etag, OURS["etag"])

    def test_lost_and_not_stored(self) -> None:
        """A POST whose answer is lost is sent again if nothing is there."""
        _, asked, _ = self.create(LOST, answer(404), answer(204, etag=OURS["etag"]))
        self.assertEqual([ask.method for ask in asked], ["POST", "HEAD", "POST"])

    def test_lost_and_late(self) -> None:
        """A POST that arrives while the lost one is still at work waits for that."""
        _, asked, _ = self.create(
            LOST, answer(404), answer(409), answer(404), answer(409), answer(200, **OURS)
        )
        self.assertEqual("".join(ask.method[0] for ask in asked), "PHPHPH")

    def test_lost_and_another(self) -> None:
        """A POST whose answer is lost was not done if the blob has another digest."""
        with self.assertRaises(AlreadyExists):
            self.create(LOST, answer(200, **THEIRS), answer(409), answer(200, **THEIRS))

    def test_never_sent(self) -> None:
        """An attempt that reached nobody leaves nothing open."""
        _, asked, _ = self.create(AWAY, answer(204, etag=OURS["etag"]))
        self.assertEqual([ask.method for ask in asked], ["POST", "POST"])

    def test_first_refusal(self) -> None:
        """A refusal of the first attempt is believed, whatever is there."""
        self.assertRaises(AlreadyExists, self.create, answer(409))
        self.assertRaises(NoRoom, self.create, answer(507))

    def test_lie_of_a_head(self) -> None:
        """A HEAD without a digest settles nothing."""
        with self.assertRaises(AlreadyExists):
            self.create(
                LOST, answer(200, content_length="9"), answer(409), answer(200, content_length="9")
            )

    def test_failed_disk(self) -> None:
        """After a 500 the digest decides as well, and else the 500 stays."""
        self.assertEqual(self.create(answer(500), answer(200, **OURS))[0].size, 9)
        self.assertRaises(ClientError, self.create, answer(500), answer(404))

    def test_once_only(self) -> None:
        """A pipe is sent once; what became of it the digest tells, or nothing does."""
        done, _, _ = self.create(LOST, answer(200, **OURS), source=Stream([DATA]))
        self.assertEqual(done.etag, OURS["etag"])
        with self.assertRaises(Unreachable):
            self.create(LOST, answer(404), source=Stream([DATA]))

    def test_put_new(self) -> None:
        """A small blob is created unless it is there."""
        _, [ask], _ = self.put(answer(204, etag=OURS["etag"]))
        self.assertEqual(ask.fields["If-None-Match"], "*")
        _, asked, _ = self.put(answer(412), answer(200, etag=OURS["etag"]))
        self.assertNotIn("If-None-Match", asked[1].fields)

    def test_put_large(self) -> None:
        """A large blob is sent once: a HEAD tells how."""
        large = Bytes(b"x" * 70_000)
        etag = f'"{large.sha256}"'
        _, asked, _ = self.put(answer(404), answer(204, etag=etag), source=large)
        self.assertEqual([ask.method for ask in asked], ["HEAD", "PUT"])
        self.assertEqual(asked[1].fields["If-None-Match"], "*")
        _, asked, _ = self.put(answer(200, **THEIRS), answer(200, etag=etag), source=large)
        self.assertNotIn("If-None-Match", asked[1].fields)

    def test_put_between_others(self) -> None:
        """A blob that comes and goes meanwhile is replaced, or created."""
        _, asked, _ = self.put(answer(412), answer(404), answer(204, etag=OURS["etag"]))
        self.assertEqual(len(asked), 3)

    def test_put_if_match(self) -> None:
        """With a version to match no other is replaced, and none created."""
        _, [ask], _ = self.put(answer(200, etag=OURS["etag"]), if_match='"x"')
        self.assertEqual(ask.fields["If-Match"], '"x"')
        with self.assertRaises(ConditionFailed):
            self.put(answer(412), if_match='"x"')

    def test_put_if_match_lost(self) -> None:
        """A conditional PUT that was done and is repeated finds its own blob: that is success."""
        blob, _, _ = self.put(LOST, answer(200, **OURS), if_match='"x"')
        self.assertEqual(blob.etag, OURS["etag"])

    def test_busy(self) -> None:
        """A daemon that is busy has stored nothing: nobody looks, the body is sent again."""
        _, asked, pauses = self.create(answer(503, retry_after="2"), answer(204, etag=OURS["etag"]))
        self.assertEqual(([ask.method for ask in asked], pauses), (["POST", "POST"], [2]))


class CopyTests(SynchronousTestCase):
    """Copies and moves, which the daemon does."""

    def copy(self, *answers, expected=verbs.ANYTHING):
        """Copy it."""
        return play(verbs.copy("a", "b", SHORT, expected), answers)

    def test_copy(self) -> None:
        """No body is sent, and no digest of one."""
        blob, asked, _ = self.copy(answer(200, **OURS), answer(204, etag=OURS["etag"]))
        self.assertEqual((blob.location, blob.size), ("b", 9))
        self.assertEqual((asked[1].query, asked[1].location), ({"from": "a"}, "b"))
        self.assertEqual(asked[1].fields, {"If-None-Match": "*"})
        self.assertRaises(NotFound, self.copy, answer(404))

    def test_lost(self) -> None:
        """A copy whose answer is lost was done if the digest is there."""
        new = verbs.Expected(nothing=True)
        answers = (answer(200, **OURS), LOST, answer(200, **OURS))
        _, asked, _ = self.copy(*answers, expected=new)
        self.assertEqual([ask.method for ask in asked], ["HEAD", "POST", "HEAD"])

    def test_source_changes(self) -> None:
        """A source that changes meanwhile is copied as it is then."""
        answers = (answer(200, **OURS), answer(204, etag=THEIRS["etag"]), answer(200, **THEIRS))
        self.assertEqual(self.copy(*answers)[0].etag, THEIRS["etag"])

    def test_move(self) -> None:
        """Only the version that was copied is deleted."""
        copied = (answer(200, **OURS), answer(204, etag=OURS["etag"]))
        _, asked, _ = play(verbs.move("a", "b", SHORT), [*copied, answer(200)])
        self.assertEqual((asked[2].method, asked[2].fields), ("DELETE", {"If-Match": OURS["etag"]}))
        for code in (404, 412):
            with self.assertRaises(Changed):
                play(verbs.move("a", "b", SHORT), [*copied, answer(code)])
        with self.assertRaises(ClientError):
            play(verbs.move("a", "a", SHORT), [])


class HistoryTests(SynchronousTestCase):
    """What was at a location."""

    def page(self, link: str):
        """A page with one version, 7, and this Link."""
        body = '[{"location": "a", "version": 7, "size": 1}]'
        return play(verbs.history_page("a", None, SHORT), [answer(200, body, link=link)])[0]

    def test_pages(self) -> None:
        """The next page has what is older, or is not asked for."""
        self.assertEqual(self.page('<?history&before=7>; rel="next"')[1], "7")
        self.assertRaises(BadAnswer, self.page, '<?history&before=8>; rel="next"')
        link = '<?deleted&after=a>; rel="next"'
        with self.assertRaises(BadAnswer):
            play(verbs.deleted_page("", "a", SHORT), [answer(200, "[]", link=link)])

    def test_restore_lost(self) -> None:
        """A restore whose answer is lost was done if its digest is there."""
        answers = [answer(200, **OURS), LOST, answer(200, **OURS)]
        _, asked, _ = play(verbs.restore("a", 7, SHORT, verbs.ANYTHING), answers)
        self.assertEqual(asked[1].query, {"restore": "7"})


class DeleteTests(SynchronousTestCase):
    """DELETE."""

    def delete(self, *answers, if_match=None):
        """Delete it."""
        return play(verbs.delete("a", SHORT, if_match), answers)

    def test_deleted(self) -> None:
        """A condition is passed on."""
        _, [ask], _ = self.delete(answer(200), if_match='"x"')
        self.assertEqual(ask.fields, {"If-Match": '"x"'})
        self.assertRaises(ConditionFailed, self.delete, answer(412))

    def test_missing(self) -> None:
        """What is not there cannot be deleted, unless the lost attempt has done it."""
        self.assertRaises(NotFound, self.delete, answer(404))
        self.delete(LOST, answer(404))
        self.assertRaises(NotFound, self.delete, AWAY, answer(404))
