"""gostore.statefile: the Go server's records, our own, and everything that is neither."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import attrs
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gostore.blob import Blob, State, Transition
from gostore.errors import BadRecord
from gostore.statefile import MAX_BYTES, NAME, dump, parse, parse_committed

FIXTURES = Path(__file__).parent / "fixtures" / "go-data"
NOW = 1795345314267363372  # 2026-11-22T11:01:54.267363372Z
DIGEST = hashlib.sha256(b"11111111111111111").digest()

# id: location, states oldest first, size of data.raw
FIXTURE_BLOBS = {
    1090: ("foo", "OK Pending OK Failure"),
    2422: ("empty", "OK Pending OK"),
    2818: ("caf\u00e9 menu", "OK Pending OK"),
    13342: ("foo", "OK Pending OK"),
    38514: ("half", "OK Pending"),
    39822: ("picture.bin", "OK Pending OK"),
    41740: ("deleted", "OK Pending OK Failure"),
}


def fixture(blob_id: int) -> bytes:
    """The state file of a blob as the Go server wrote it."""
    return (FIXTURES / str(blob_id) / NAME).read_bytes()


def go_read(data: bytes) -> dict[str, Any]:
    """Read a state file as the Go server does; a reader of its own, sharing no code.

    The first line has exactly two parts around one colon; the second is strict base64 of one JSON
    object; the newest entry of the ring is log[index-1], log[15] when index is 0.
    """
    line = data.decode("utf-8").split("\n")[0]
    head, encoded = line.split(":")
    assert head.startswith("BLOB_BASE64_")
    record = json.loads(base64.b64decode(encoded, validate=True).decode("utf-8"))
    assert record["options"] == {"map": None} and record["UpdateMU"] == {}
    log, index = record["status"]["log"] or [], record["status"]["index"]
    newest = log[index - 1 if index else 15] if log else None
    return {
        "id": record["id"],
        "location": record["location"],
        "log": log,
        "index": index,
        "code": newest["status"]["code"] if newest else 0,
        "message": newest["status"]["msg"] if newest else "",
        "timestamp": newest["timestamp"] if newest else None,
    }


def record_of(data: bytes) -> dict[str, Any]:
    """The JSON object of a state file."""
    record: dict[str, Any] = json.loads(
        base64.b64decode(data.split(b"\n")[0].split(b":")[1], validate=True)
    )
    return record


def go_file(text: str | bytes, head: bytes = b"BLOB_BASE64_dev:") -> bytes:
    """A state file around any JSON text, without a checksum."""
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return head + base64.b64encode(raw) + b"\n\n"


def signed_file(text: str) -> bytes:
    """A state file around a JSON object's text, with the right checksum."""
    raw = text.encode("utf-8", "surrogatepass")
    head = b"BLOB_BASE64_gostore1:"
    checksum = hashlib.sha256(head + raw).hexdigest()
    return go_file(raw[:-1] + f',"checksum":"{checksum}"}}'.encode(), head)


def go_json(**changes: object) -> str:
    """The JSON of a good record by the Go server, with some keys changed."""
    record = record_of(fixture(13342)) | changes
    return json.dumps(record, separators=(",", ":"))


def ours_json(**changes: object) -> str:
    """The JSON of a good record by gostore without its checksum, with some keys changed."""
    record = record_of(dump(finished())) | changes
    del record["checksum"]
    return json.dumps(record, separators=(",", ":"), ensure_ascii=False)


def ring(count: int, index: object) -> dict[str, object]:
    """A status with ``count`` entries whose messages are their places in the list."""
    entries = [
        {"status": {"code": 0, "msg": str(place)}, "timestamp": "2026-11-22T11:01:54Z"}
        for place in range(count)
    ]
    return {"log": entries, "index": index}


def stamped(timestamp: object) -> dict[str, Any]:
    """A status with one entry at this time."""
    return {"log": [{"status": {"code": 0, "msg": ""}, "timestamp": timestamp}], "index": 1}


def finished(blob_id: int = 13342, location: str = "foo") -> Blob:
    """A committed blob as gostore makes it."""
    blob = Blob(
        blob_id,
        location,
        content_type="text/plain",
        metadata={"x-gostore-meta-colour": "blue", "cache-control": "no-store"},
        expires=NOW // 1_000_000_000 + 3600,
    )
    blob.create(NOW)
    blob.start_writing(NOW + 1000)
    blob.finish_writing(NOW + 1_000_000_000, 17, DIGEST, 7)
    return blob


class FirstServerTests(SynchronousTestCase):
    """Records by the Go server."""

    def test_fixtures(self) -> None:
        """Each record of the Go server is read: id, location and every state."""
        self.assertEqual({int(path.name) for path in FIXTURES.iterdir()}, FIXTURE_BLOBS.keys())
        for blob_id, (location, states) in FIXTURE_BLOBS.items():
            blob = parse(fixture(blob_id), blob_id)
            self.assertEqual((blob.id, blob.location), (blob_id, location))
            self.assertEqual(" ".join(entry.state.title for entry in blob.log), states)
            self.assertEqual((blob.generation, blob.size, blob.sha256), (0, None, None))
            self.assertEqual((blob.created, blob.content_type, blob.metadata), (None, None, {}))
            self.assertIsNone(blob.expires)

    def test_times_and_messages(self) -> None:
        """Times are whole nanoseconds, messages have Go's escapes undone."""
        blob = parse(fixture(1090))
        self.assertEqual(
            blob.log,
            [
                Transition(State.OK, "Blob Created & Saved!", NOW),
                Transition(State.PENDING, "Starting Data WR", NOW + 1232),
                Transition(State.OK, "Blob Data WR Complete!", NOW + 273503),
                Transition(State.FAILURE, "Deleted!", NOW + 13940400),
            ],
        )

    def test_written_again(self) -> None:
        """What the Go server wrote and gostore writes again differs in added keys only."""
        for blob_id in FIXTURE_BLOBS:
            old, new = record_of(fixture(blob_id)), record_of(dump(parse(fixture(blob_id))))
            self.assertEqual(new.keys() - old.keys(), {"generation", "checksum"})
            self.assertEqual({key: new[key] for key in old}, old)

    def test_the_log_for_people_is_the_same(self) -> None:
        """Below its first line a file written again is byte for byte the Go server's."""
        for blob_id in FIXTURE_BLOBS:
            old = fixture(blob_id)
            self.assertEqual(dump(parse(old)).partition(b"\n")[2], old.partition(b"\n")[2])

    def test_an_empty_log(self) -> None:
        """A log of nothing, [] or Go's null, counts as OK."""
        empties: list[list[object] | None] = [[], None]
        for log in empties:
            blob = parse(go_file(go_json(status={"log": log, "index": 0})))
            self.assertEqual((blob.log, blob.state), ([], State.OK))

    def test_unknown_keys_and_versions(self) -> None:
        """Keys and versions of other servers are no reason to doubt a record."""
        blob = parse(go_file(go_json(later={"a": [1.5, True, None]}), b"BLOB_BASE64_v9-x:"))
        self.assertEqual(blob.id, 13342)
        blob = parse(signed_file(ours_json(later=[1])))
        self.assertEqual(blob.generation, 7)

    def test_empty_segments(self) -> None:
        """The Go server may have let an empty segment through; its data is not given up."""
        self.assertEqual(parse(go_file(go_json(location="a//b/"))).location, "a//b/")

    def test_half_a_surrogate_pair_in_a_message(self) -> None:
        """A message that has no UTF-8 reads as in Go, with U+FFFD, and can be written again."""
        status = stamped("2026-11-22T11:01:54Z")
        status["log"][0]["status"]["msg"] = "\ud83d \U0001f4a9"
        blob = parse(go_file(go_json(status=status)))
        self.assertEqual(blob.log[0].message, "\ufffd \U0001f4a9")
        self.assertEqual(parse(dump(blob)).log, blob.log)


class GoReaderTests(SynchronousTestCase):
    """Our records as the Go server reads them."""

    def test_a_committed_blob(self) -> None:
        """The Go server finds id, location and newest state in our record."""
        seen = go_read(dump(finished()))
        self.assertEqual((seen["id"], seen["location"], seen["code"]), (13342, "foo", 0))
        self.assertEqual(seen["message"], "Blob Data WR Complete!")
        self.assertEqual(seen["timestamp"], "2026-11-22T11:01:55.267363372Z")

    def test_every_state_and_length(self) -> None:
        """However long the log is, the Go server's log[index-1] is the newest entry."""
        blob = Blob(1, "foo")
        for now in range(40):
            self.assertEqual(go_read(dump(blob))["code"], blob.state.value)
            if not blob.log:
                blob.create(now)
            elif blob.state is State.OK:
                blob.start_writing(now)
            else:
                blob.finish_writing(now, 1, DIGEST, now)
            seen = go_read(dump(blob))
            self.assertEqual(seen["code"], blob.state.value)
            self.assertEqual(seen["message"], blob.log[-1].message)
            self.assertEqual(seen["index"], min(now + 1, 16) % 16)
        blob.delete(50)
        self.assertEqual(go_read(dump(blob))["code"], -1)


class DumpTests(SynchronousTestCase):
    """What is written."""

    def test_added_keys(self) -> None:
        """A committed record has the added keys in their forms, checksum last."""
        record = record_of(dump(finished()))
        self.assertEqual(
            list(record)[5:],
            [
                *("generation", "size", "sha256", "created"),
                *("expires", "contentType", "metadata", "checksum"),
            ],
        )
        self.assertEqual(record["expires"], "2026-11-22T12:01:54Z")
        self.assertEqual((record["generation"], record["size"]), (7, 17))
        self.assertEqual(record["sha256"], DIGEST.hex())
        self.assertEqual(record["created"], "2026-11-22T11:01:54.267363372Z")

    def test_a_pending_record_counts_as_ours(self) -> None:
        """A Pending record has no size or digest, but a generation, so its checksum counts."""
        blob = Blob(5, "foo")
        blob.create(NOW)
        blob.start_writing(NOW)
        record = record_of(dump(blob))
        self.assertEqual(list(record)[5:], ["generation", "created", "checksum"])
        del record["checksum"]
        self.assertRaises(BadRecord, parse, go_file(json.dumps(record)))

    def test_the_log_for_people(self) -> None:
        """Under the first line: a blank one, then the transitions, newest first."""
        blob = finished()
        blob.replace(NOW + 2_000_000_000, 2422)
        self.assertEqual(
            dump(blob).decode().split("\n")[1:],
            [
                "",
                "2026-11-22T11:01:56Z - Failure - Deleted! Replaced by 2422",
                "2026-11-22T11:01:55Z - OK - Blob Data WR Complete!",
                "2026-11-22T11:01:54Z - Pending - Starting Data WR",
                "2026-11-22T11:01:54Z - OK - Blob Created & Saved!",
                "",
            ],
        )

    def test_a_message_stays_on_its_line(self) -> None:
        """Newlines and whatever a terminal would obey are escaped in the log for people."""
        blob = Blob(5, "foo")
        blob.fail(0, "a\nb\r\x1b[31m\u2028\u202e caf\u00e9")
        self.assertEqual(
            dump(blob).decode().splitlines()[2:],
            ["1970-01-01T00:00:00Z - Failure - a\\nb\\r\\x1b[31m\\u2028\\u202e caf\u00e9"],
        )
        self.assertEqual(parse(dump(blob)).log, blob.log)

    def test_the_largest_record_fits(self) -> None:
        """8 KiB of metadata, the longest location and reason: never above MAX_BYTES."""
        for character in ('"', "\u00e9", "\U0001f4a9", "x"):
            width = len(character.encode())
            blob = Blob(2**32 - 1, "\\" * 1024, content_type=character * (1024 // width))
            blob.metadata = {f"x-gostore-meta-{n}": character * 1000 for n in range(7)}
            blob.create(NOW)
            blob.start_writing(NOW)
            for _ in range(8):
                blob.finish_writing(NOW, 2**63 - 1, DIGEST, 2**63 - 1)
                blob.start_writing(NOW)
            blob.fail(NOW, "\x01" * 5000)
            data = dump(blob)
            self.assertLessEqual(len(data), MAX_BYTES)
            self.assertEqual(attrs.asdict(parse(data)), attrs.asdict(blob))

    def test_messages_give_way(self) -> None:
        """A log of long messages, which only another server writes, is cut to fit."""
        blob = Blob(5, "foo", log=[Transition(State.OK, "\x01" * 900, NOW)] * 15)
        blob.delete(NOW)
        again = parse(dump(blob))
        self.assertEqual(again.log[0].message, "\x01" * 100)
        self.assertEqual(again.log[-1].message, "Deleted!")

    def test_what_no_record_can_hold(self) -> None:
        """Metadata that cannot fit, a time outside the calendar, text with no UTF-8: ValueError."""
        self.assertRaises(ValueError, dump, Blob(5, "foo", metadata={"a": "x" * MAX_BYTES}))
        self.assertRaises(ValueError, dump, Blob(5, "foo", metadata={"a": "\udcff"}))
        for when in (10**30, -(10**30), 253402300800 * 10**9):
            self.assertRaises(
                ValueError, dump, Blob(5, "foo", log=[Transition(State.OK, "", when)])
            )


class TimeTests(SynchronousTestCase):
    """RFC 3339."""

    def test_times_are_read(self) -> None:
        """Up to 9 decimals and any zone are read as nanoseconds UTC (RFC 3339 section 5.6)."""
        for text, when in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01T00:00:00.000000001Z", 1),
            ("1970-01-01T00:00:00.1Z", 100_000_000),
            ("1970-01-01T00:00:00+00:00", 0),
            ("1970-01-01T01:30:00+01:30", 0),
            ("1969-12-31T16:00:00.5-08:00", 500_000_000),
            ("1969-12-31T23:59:59.999999999Z", -1),
            ("2024-02-29T12:00:00Z", 1709208000_000_000_000),
            ("0001-01-01T00:00:00Z", -62135596800_000_000_000),
            ("9999-12-31T23:59:59.999999999Z", 253402300799_999_999_999),
        ]:
            blob = parse(go_file(go_json(status=stamped(text))))
            self.assertEqual(blob.changed, when, text)

    def test_what_is_no_time(self) -> None:
        """Anything else, and what is out of range, is not believed (RFC 3339 section 5.6)."""
        for text in [
            None,
            1795345314,
            "",
            "2026-11-22",
            "2026-11-22 11:01:54Z",
            "2026-11-22T11:01:54",
            "2026-11-22T11:01:54.Z",
            "2026-11-22T11:01:54,5Z",
            "2026-11-22T11:01:54.1234567890Z",
            "2026-11-22T11:01:54z",
            "2026-11-22T11:01:54Z\n",
            " 2026-11-22T11:01:54Z",
            "2026-11-22T24:00:00Z",
            "2026-11-22T11:60:54Z",
            "2026-11-22T11:01:60Z",
            "2026-13-22T11:01:54Z",
            "2026-00-22T11:01:54Z",
            "2026-02-29T11:01:54Z",
            "2026-11-00T11:01:54Z",
            "0000-11-22T11:01:54Z",
            "2026-11-22T11:01:54+24:00",
            "2026-11-22T11:01:54+01:60",
            "2026-11-22T11:01:54+0100",
            "0001-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
            "12026-11-22T11:01:54Z",
            "\u0662\u0660\u0662\u0666-11-22T11:01:54Z",
        ]:
            self.assertRaises(BadRecord, parse, go_file(go_json(status=stamped(text))))

    @given(st.integers(-62135596800 * 10**9, 253402300800 * 10**9 - 1))
    def test_round_trip(self, when: int) -> None:
        """Any nanosecond of the years 1 to 9999 is written as Go does and read back."""
        data = dump(Blob(1, "foo", log=[Transition(State.OK, "", when)]))
        self.assertEqual(parse(data).changed, when)
        text = go_read(data)["timestamp"]
        self.assertIsNotNone(re.fullmatch(r"\d{4}-[0-9:T-]{14}(\.\d{0,8}[1-9])?Z", text), text)
        self.assertEqual(datetime.fromisoformat(text[:19] + "+00:00").timestamp(), when // 10**9)


class RingTests(SynchronousTestCase):
    """The ring of 16."""

    def test_rings_are_read_oldest_first(self) -> None:
        """Wherever the next entry goes, the one after it is the oldest."""
        for index in range(16):
            blob = parse(go_file(go_json(status=ring(16, index))))
            places = [int(entry.message) for entry in blob.log]
            self.assertEqual(places, [(index + n) % 16 for n in range(16)])
            self.assertEqual(places[-1], (index - 1) % 16)

    def test_shorter_logs(self) -> None:
        """A log that is not full has its index at its length."""
        for count in range(16):
            self.assertEqual(len(parse(go_file(go_json(status=ring(count, count)))).log), count)

    def test_bad_rings(self) -> None:
        """A ring whose index is inconsistent, or with more than 16 entries, is not believed."""
        for count, index in [
            (3, 0),
            (3, 2),
            (3, 4),
            (0, 1),
            (15, 0),
            (16, 16),
            (16, -1),
            (17, 1),
            (17, 17),
            (3, 3.0),
            (3, "3"),
            (1, True),
            (3, None),
        ]:
            self.assertRaises(BadRecord, parse, go_file(go_json(status=ring(count, index))))


def refuses(test: SynchronousTestCase, data: bytes) -> None:
    """Assert that parse says BadRecord, in a sentence, and parse_committed nothing."""
    error = test.assertRaises(BadRecord, parse, data, 13342)
    test.assertLess(len(str(error)), 300)
    test.assertIsNone(parse_committed(data, 13342))


class BadRecordTests(SynchronousTestCase):
    """Records that are not believed (bad-inputs 60 and 61)."""

    def test_the_right_ones_are_believed(self) -> None:
        """The records that the bad ones are made from are good."""
        self.assertEqual(parse(go_file(go_json()), 13342).location, "foo")
        self.assertEqual(
            attrs.asdict(parse(signed_file(ours_json()), 13342)), attrs.asdict(finished())
        )
        self.assertEqual(parse_committed(signed_file(ours_json()), 13342), finished().committed())

    def test_values(self) -> None:
        """A wrong value of any key is refused, in a record of the Go server or our own."""
        table: list[dict[str, object]] = [
            {"id": 13343},
            {"id": -1},
            {"id": 2**32},
            {"id": 13342.0},
            {"id": 1.5},
            {"id": "13342"},
            {"id": True},
            {"id": None},
            {"id": [13342]},
            {"id": float("nan")},
            {"id": float("inf")},
            {"later": float("-inf")},
            {"location": ["foo"]},
            {"location": None},
            {"location": 5},
            {"location": ""},
            {"location": "x" * 1025},
            {"location": "\u00e9" * 513},
            {"location": "a\nb"},
            {"location": "a\x7f"},
            {"location": "\ud800"},
            {"location": ".."},
            {"location": "../../etc/passwd"},
            {"location": "a/./b"},
            {"status": None},
            {"status": []},
            {"status": {"index": 0}},
            {"status": {"log": {}, "index": 0}},
            {"status": {"log": ["OK"], "index": 1}},
            {"status": {"log": [{"status": 0, "timestamp": "2026-11-22T11:01:54Z"}], "index": 1}},
        ]
        for changes in table:
            refuses(self, go_file(go_json(**changes)))
            refuses(self, signed_file(ours_json(**changes)))

    def test_entries(self) -> None:
        """An unknown code, or a message that is not text, is refused."""
        for code, message in [
            (1, ""),
            (-3, ""),
            (True, ""),
            (0.0, ""),
            (None, ""),
            ("0", ""),
            ([0], ""),
            (0, None),
            (0, 5),
        ]:
            status = stamped("2026-11-22T11:01:54Z")
            status["log"][0]["status"] = {"code": code, "msg": message}
            refuses(self, go_file(go_json(status=status)))

    def test_missing_keys(self) -> None:
        """id, location and status have to be there."""
        for key in ("id", "location", "status"):
            record = record_of(fixture(13342))
            del record[key]
            refuses(self, go_file(json.dumps(record)))

    def test_added_values(self) -> None:
        """Wrong values of the keys that gostore adds are refused, checksum right or not."""
        table: list[dict[str, object]] = [
            {"generation": -1},
            {"generation": 1.0},
            {"generation": False},
            {"generation": 2**63},
            {"generation": None},
            {"size": -1},
            {"size": "17"},
            {"size": None},
            {"size": 2**63},
            {"sha256": DIGEST.hex().upper()},
            {"sha256": DIGEST.hex()[:-1]},
            {"sha256": 5},
            {"sha256": None},
            {"created": "yesterday"},
            {"created": "2026-02-30T00:00:00Z"},
            {"created": None},
            {"expires": "tomorrow"},
            {"expires": 5},
            {"expires": None},
            {"contentType": 5},
            {"contentType": "\ud800"},
            {"nonce": 5},
            {"nonce": "short"},
            {"metadata": ["a"]},
            {"metadata": {"a": 5}},
            {"metadata": {"a": {"b": "c"}}},
            {"metadata": {"a": "\ud800"}},
            {"metadata": {"\ud800": "a"}},
            {"metadata": None},
        ]
        for changes in table:
            refuses(self, signed_file(ours_json(**changes)))

    def test_added_keys_need_a_checksum(self) -> None:
        """A record with any added key and no checksum, or a wrong one, is torn or edited."""
        for key, value in record_of(dump(finished())).items():
            if key not in record_of(fixture(13342)):
                refuses(self, go_file(go_json(**{key: value})))
        refuses(self, signed_file(ours_json()).replace(b"gostore1", b"gostore2"))

    def test_json_tricks(self) -> None:
        """Numbers, keys and nesting made to confuse or to stall are refused at once."""
        for text in [
            "",
            "null",
            "[]",
            "5",
            '"foo"',
            "{}",
            "{",
            go_json() + "{}",
            go_json() + "\x00",
            go_json()[:-1] + ",}",
            go_json().replace("13342", "1" + "0" * 5000),
            go_json().replace("13342", "1" + "0" * 4000),
            go_json().replace("13342", "1e4"),
            go_json().replace("13342", "NaN"),
            go_json().replace("13342", "013342"),
            go_json().replace("null", "Infinity"),
            go_json().replace('{"id":13342', '{"id":13342,"id":13342'),
            go_json().replace('"index":3', '"index":3,"index":3'),
            go_json().replace("null", '{"a":1,"a":1}'),
            go_json().replace("null", "[" * 47 + "]" * 47),
            go_json().replace("null", "[" * 20_000 + "]" * 20_000),
            go_json().replace("null", '{"a":' * 5_000 + "1" + "}" * 5_000),
            "[" * 40_000,
            '{"a":' * 8_000,
            go_json().replace("foo", "f\x01o"),
        ]:
            refuses(self, go_file(text))

    def test_tricks_under_a_checksum(self) -> None:
        """A right checksum proves no sense: the same tricks are refused under one."""
        for text in [
            ours_json().replace("13342", "1" + "0" * 5000),
            ours_json().replace('{"id":13342', '{"id":13342,"id":13342'),
            ours_json().replace('"size":17', '"size":17,"size":17'),
            ours_json().replace('"blue"', '"blue","cache-control":"a"'),
            ours_json().replace('"blue"', "[" * 20_000 + "]" * 20_000),
            ours_json().replace('"no-store"}', '"no-store"},"size":17,"metadata":{}'),
            ours_json().replace('"code":-2', '"code":NaN'),
            ours_json().replace(":54.267363372Z", ":60.267363372Z"),
            ours_json().replace("11-22T", "02-30T"),
        ]:
            refuses(self, signed_file(text))

    def test_shallow_nesting(self) -> None:
        """Nesting of an unknown key that no parser minds is no reason to doubt a record."""
        text = go_json().replace("null", "[" * 46 + "]" * 46)
        self.assertEqual(parse(go_file(text)).id, 13342)

    def test_brackets_in_strings_are_no_nesting(self) -> None:
        """A location or message full of brackets and quotes is only text."""
        blob = finished(location='[{"\\' * 200)
        self.assertEqual(parse(dump(blob)).location, blob.location)

    def test_not_utf8(self) -> None:
        """JSON that is not UTF-8 is refused."""
        for raw in (b"\xff", b"\xc0\xae", b"\xed\xa0\x80"):
            refuses(self, go_file(go_json().encode().replace(b"foo", raw)))
            refuses(self, go_file(go_json().encode().replace(b"Starting", raw)))

    def test_first_lines(self) -> None:
        """A first line that is not quite in the format is refused."""
        good = fixture(13342)
        line = good.split(b"\n")[0]
        for data in [
            b"",
            b"\n",
            line,
            b"\n" + good,
            b" " + good,
            b"\xef\xbb\xbf" + good,
            line + b"\r\n\n",
            line + b" \n\n",
            line + b":\n\n",
            good.replace(b"BLOB", b"blob", 1),
            good.replace(b":", b"", 1),
            good.replace(b":", b"::", 1),
            good.replace(b"_dev:", b"_d:ev:", 1),
            good.replace(b"eyJ", b"eyJ\n", 1),
            good.replace(b"eyJ", b"eyJ ", 1),
            good.replace(b"eyJ", b"eyJ-", 1),
            good.replace(b"eyJ", b"=eyJ", 1),
            fixture(41740).replace(b"fQ==", b"fQ=", 1),
            fixture(41740).replace(b"fQ==", b"fR==", 1),
            fixture(41740).replace(b"fQ==", b"fQ", 1),
            good + b"x" * MAX_BYTES,
            b"BLOB_BASE64_" + b"x" * MAX_BYTES,
            bytes(MAX_BYTES),
        ]:
            refuses(self, data)

    def test_deep_in_the_stack(self) -> None:
        """When the stack runs out inside parse, that is BadRecord too."""
        data = signed_file(ours_json(later=[[[[[[[[[[[[]]]]]]]]]]]]))
        outcomes: set[int | str] = set()

        def descend() -> None:
            try:  # noqa: SIM105  # as few frames as can be, since they are what runs out
                descend()
            except RecursionError:
                pass
            try:
                outcomes.add(parse(data).id)
            except BadRecord as error:
                outcomes.add(str(error))
            except RecursionError:  # parse could not even be entered
                pass

        descend()
        self.assertEqual(outcomes, {13342, str(BadRecord("it is nested too deeply"))})

    def test_the_id_may_be_left_open(self) -> None:
        """Without an expected id any legal one is read, the ends of the range included."""
        for blob_id in (0, 65536, 2**32 - 1):
            self.assertEqual(parse(go_file(go_json(id=blob_id))).id, blob_id)


class TornTests(SynchronousTestCase):
    """Records cut short or with a bit changed (bad-inputs 60)."""

    def test_cut_at_every_byte(self) -> None:
        """A record cut within its first line is refused; the log below may be lost."""
        for data in (dump(finished()), fixture(13342)):
            whole = attrs.asdict(parse(data))
            end = data.index(b"\n")
            for length in range(end + 1):
                refuses(self, data[:length])
            for length in range(end + 1, len(data)):
                self.assertEqual(attrs.asdict(parse(data[:length])), whole)

    def test_every_bit_of_our_record(self) -> None:
        """One bit changed anywhere in the first line of our record is found."""
        data = dump(finished())
        end = data.index(b"\n")
        self.assertIsNotNone(parse_committed(data, 13342))
        for place in range(end + 1):
            for bit in range(8):
                flipped = bytearray(data)
                flipped[place] ^= 1 << bit
                refuses(self, bytes(flipped))

    def test_every_bit_of_the_log_for_people(self) -> None:
        """A bit changed in the log for people changes nothing."""
        data = dump(finished())
        whole = attrs.asdict(parse(data))
        for place in range(data.index(b"\n") + 1, len(data)):
            flipped = bytearray(data)
            flipped[place] ^= 1 << place % 8
            self.assertEqual(attrs.asdict(parse(bytes(flipped))), whole)

    def test_every_bit_of_the_first_server(self) -> None:
        """A bit changed in the Go server's record gives a record or BadRecord, nothing else."""
        for blob_id in (1090, 2818):
            data = fixture(blob_id)
            for place in range(len(data)):
                for bit in range(8):
                    flipped = bytearray(data)
                    flipped[place] ^= 1 << bit
                    with contextlib.suppress(BadRecord):
                        self.assertEqual(parse(bytes(flipped), blob_id).id, blob_id)

    @given(st.binary(max_size=2000))
    @example(b"BLOB_BASE64_x:\n")
    @example(b"BLOB_BASE64_x:e30=\n")
    def test_any_bytes(self, data: bytes) -> None:
        """Bytes that are no record are BadRecord."""
        refuses(self, data)

    @given(
        st.binary(max_size=9),
        st.lists(
            st.tuples(st.integers(0, 12), st.integers(0, 1), st.sampled_from("AQg+/= \t\r*-_")),
            max_size=3,
        ),
    )
    @example(b"AB", [(2, 1, "J")])
    @example(b"A", [(4, 0, "QUJD")])
    def test_strict_base64(self, raw: bytes, edits: list[tuple[int, int, str]]) -> None:
        """Only the one way to write bytes in base64 is taken for them."""
        encoded = base64.b64encode(raw).decode()
        for at, gone, come in edits:
            encoded = encoded[:at] + come + encoded[at + gone :]
        try:
            strict = base64.b64encode(base64.b64decode(encoded)).decode() == encoded
        except ValueError:
            strict = False
        error = self.assertRaises(BadRecord, parse, b"BLOB_BASE64_v1:%s\n\n" % encoded.encode())
        refused = any(word in str(error) for word in ("base64", "padding", "data characters"))
        self.assertEqual(refused, not strict, str(error))

    @given(st.binary(max_size=500))
    def test_any_bytes_in_base64(self, raw: bytes) -> None:
        """Neither are bytes dressed up in base64."""
        refuses(self, go_file(raw))

    # The first text drawn builds a table of all characters, which takes a second.
    @settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
    @given(
        st.dictionaries(
            st.sampled_from(["id", "location", "status", "generation", "size", "metadata"]),
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
                lambda inner: (
                    st.lists(inner)
                    | st.dictionaries(st.sampled_from(["log", "index", "status", "msg"]), inner)
                ),
                max_leaves=5,
            ),
        ),
        st.booleans(),
    )
    def test_any_json(self, changes: dict[str, Any], ours: bool) -> None:
        """Whatever a key holds, parse gives a blob that can be written again, or BadRecord."""
        data = signed_file(ours_json(**changes)) if ours else go_file(go_json(**changes))
        try:
            blob = parse(data)
        except BadRecord:
            self.assertIsNone(parse_committed(data, 13342))
            return
        self.assertEqual(attrs.asdict(parse(dump(blob))), attrs.asdict(blob))


times = st.integers(-62135596800 * 10**9, 253402300800 * 10**9 - 1)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
locations = st.lists(
    st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/"), min_size=1)
    .filter(lambda segment: segment not in (".", ".."))
    .filter(lambda segment: len(segment.encode()) < 300),
    min_size=1,
    max_size=3,
).map("/".join)
metadatas = st.dictionaries(texts, texts, max_size=5)
counts = st.integers(0, 2**63 - 1)
blobs = st.builds(
    Blob,
    id=st.integers(0, 2**32 - 1),
    location=locations,
    generation=counts,
    size=st.none() | counts,
    sha256=st.none() | st.binary(min_size=32, max_size=32),
    created=st.none() | times,
    content_type=st.none() | texts,
    metadata=metadatas,
    expires=st.none() | st.integers(-62_135_596_800, 253_402_300_799),
    log=st.lists(st.builds(Transition, st.sampled_from(State), texts, times), max_size=16),
)


class RoundTripTests(SynchronousTestCase):
    """dump and parse undo each other."""

    @given(blobs)
    def test_any_blob(self, blob: Blob) -> None:
        """Whatever a legal blob is, it comes back the same, and the Go server can read it."""
        data = dump(blob)
        self.assertLessEqual(len(data), MAX_BYTES)
        self.assertEqual(attrs.asdict(parse(data, blob.id)), attrs.asdict(blob))
        self.assertRaises(BadRecord, parse, data, blob.id ^ 1)
        seen = go_read(data)
        self.assertEqual(
            (seen["id"], seen["location"], seen["code"]),
            (blob.id, blob.location, blob.state.value),
        )

    @given(
        blobs,
        times,
        counts,
        st.binary(min_size=32, max_size=32),
        counts,
    )
    def test_committed(
        self, blob: Blob, now: int, size: int, digest: bytes, generation: int
    ) -> None:
        """parse_committed says what parse does of the blobs it knows, and None of the others."""
        data = dump(blob)
        found = parse_committed(data, blob.id)
        if found is not None:
            self.assertEqual(found, parse(data).committed())
        blob.log.clear()
        blob.update(now)
        blob.start_writing(now)
        blob.finish_writing(now, size, digest, generation)
        data = dump(blob)
        found = parse_committed(data, blob.id)
        plain = not set('"\\') & {*blob.location, *(blob.content_type or "")}
        if plain and (blob.content_type or "").isprintable():
            self.assertEqual(found, blob.committed())
        self.assertIn(found, [None, blob.committed()])
        self.assertIsNone(parse_committed(data, blob.id ^ 1))

    def test_the_usual_blob_takes_the_short_way(self) -> None:
        """A blob as gostore commits it is known to parse_committed; a dead one is not."""
        blob = finished(location="caf\u00e9 menu/[1].txt")
        self.assertEqual(parse_committed(dump(blob), 13342), blob.committed())
        blob.metadata = {}
        blob.content_type = None
        self.assertEqual(parse_committed(dump(blob), 13342), blob.committed())
        blob.expires = None
        self.assertEqual(parse_committed(dump(blob), 13342), blob.committed())
        blob.delete(NOW)
        self.assertIsNone(parse_committed(dump(blob), 13342))
        self.assertIsNone(parse_committed(fixture(13342), 13342))
