"""The fields of the draft: what they say, and what is kept of a request."""

from __future__ import annotations

import pytest

from gostore.store.unfinished import Standing
from gostore.web.answers import Refusal
from gostore.web.fields import draft
from gostore.wire import Headers


def fields(**named: str) -> Headers:
    """Header fields; underscores stand for hyphens."""
    return Headers.of([(name.replace("_", "-").encode(), v.encode()) for name, v in named.items()])


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("?1", True),
        ("?0", False),
        ("?1;a=b", True),
        ("1", None),
        ("true", None),
        ("?1, ?0", None),
        ("?" * 2000, None),
        ("", None),
    ],
)
def test_complete(value: str, found: bool | None) -> None:
    """Upload-Complete is a Boolean; anything else counts as nothing."""
    assert draft.completes(fields(upload_complete=value)) is found
    assert draft.completes(fields()) is None


@pytest.mark.parametrize(
    ("value", "found"), [("7", 7), ("0", 0), ("-1", None), ("1.5", None), ("?1", None), ("x", None)]
)
def test_integer(value: str, found: int | None) -> None:
    """An offset is a number that is not negative; anything else counts as nothing."""
    assert draft.integer(fields(upload_offset=value), b"upload-offset") == found


def test_limits() -> None:
    """Upload-Limit says how large an upload may be, and how long it stays; it is never empty."""
    standing = Standing(1, 2, "", 12_000_000_000)
    assert draft.limit_field(7, standing, 2_000_000_000) == {
        b"upload-limit": b"max-size=7, max-age=10"
    }
    assert draft.limit_field(None, standing, 13_000_000_000) == {b"upload-limit": b"max-age=0"}
    assert draft.limit_field(None, None, 0) == {b"upload-limit": b"min-size=0"}


def test_kept_request() -> None:
    """The request that begins an upload is kept, as far as it says what becomes of it."""
    headers = fields(
        content_type="a/b", if_match='"x"', x_gostore_meta_who="me", host="h", content_length="3"
    )
    text = draft.text_of("PUT", headers)
    found = draft.request_in(text)
    assert found is not None
    method, again = found
    assert method == "PUT"
    assert dict(again.items()) == {
        b"content-type": b"a/b",
        b"if-match": b'"x"',
        b"x-gostore-meta-who": b"me",
    }
    assert draft.request_in("location YQ==") is None
    assert draft.request_in("") is None
    with pytest.raises(Refusal, match="too long"):
        draft.text_of("PUT", fields(x_gostore_meta_a="x" * 8000))
