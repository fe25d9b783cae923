"""One exchange after the other over requests: the steps of a verb, carried out.

A failure of the network is a Lost here, and the verb tries again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from http.cookiejar import DefaultCookiePolicy
from typing import TypeVar

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.exceptions import HTTPError, NewConnectionError

from gostore import __version__
from gostore.client.address import Address
from gostore.client.errors import BadAnswer, ClientError, Lost, Unreachable
from gostore.client.sources import PIECE, Source
from gostore.client.steps import Answer, Ask, Pause, Verb

#: The most bytes of an answer that is no blob: a page of a list, or an error.
MOST = 64 * 1024 * 1024

Response = requests.Response

T = TypeVar("T")


class Exchanges:
    """Carries out the steps of verbs at one daemon. Several threads may use it."""

    def __init__(
        self,
        address: Address,
        token: str | None,
        timeout: float,
        connections: int,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.wait = sleep
        self._address = address
        self._timeout = timeout
        self._session = requests.Session()
        self._session.headers.update(
            # What a blob was stored as is what is wanted, and what its digest is of.
            {"User-Agent": f"gostore/{__version__}", "Accept-Encoding": "identity"}
        )
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        adapter = HTTPAdapter(pool_maxsize=connections)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)
        if token is not None:
            self._session.auth = _Bearer(token)

    def close(self) -> None:
        """Close the connections that are kept."""
        self._session.close()

    def run(self, verb: Verb[T]) -> T:
        """Carry out the steps of a verb."""
        try:
            step = next(verb)
            while True:
                if isinstance(step, Pause):
                    self.wait(step.seconds)
                    step = next(verb)
                    continue
                try:
                    answer = self.ask(step)
                except Lost as lost:
                    step = verb.throw(lost)
                else:
                    step = verb.send(answer)
        except StopIteration as stop:
            found: T = stop.value
            return found
        finally:
            # What it has locked is free then, whoever still has its traceback.
            verb.close()

    def ask(self, ask: Ask) -> Answer:
        """Ask once, and read the answer to its end. Raises Lost."""
        response = self.open(ask)
        try:
            body = bytearray()
            for piece in pieces_of(response):
                body += piece
                if len(body) > MOST:
                    raise BadAnswer(f"The answer has more than {MOST} bytes")
            return answer_of(response, bytes(body))
        finally:
            response.close()

    def open(self, ask: Ask) -> Response:
        """Ask once; the body of the answer is still to be read. Raises Lost."""
        url = ask.url(self._address)
        fields = {name: text.encode("utf-8") for name, text in ask.fields.items()}
        source = ask.source
        try:
            return self._session.request(
                ask.method,
                url,
                headers=fields,
                data=None if source is None or source.size == 0 else _Body(source),
                timeout=(min(self._timeout, 10.0), self._timeout),
                allow_redirects=False,
                stream=True,
            )
        except requests.exceptions.SSLError as error:
            raise Unreachable(f"{self._address.url}: {error}") from error
        except (requests.exceptions.RequestException, HTTPError) as error:
            raise self._lost(error) from error

    def _lost(self, error: Exception) -> Exception:
        if isinstance(error, ValueError):
            # A URL or a field that cannot be sent.
            return ClientError(f"The request cannot be sent: {error}")
        reason = getattr(error.args[0] if error.args else None, "reason", None)
        refused = isinstance(reason, NewConnectionError)
        refused = refused or isinstance(error, requests.exceptions.ConnectTimeout)
        why = _words(reason or error)
        return Lost(f"{self._address.url} does not answer: {why}", reached=not refused)


class _Bearer(AuthBase):
    """A token. As an Authorization field in the headers .netrc would replace it."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class _Body:
    """The pieces of a source as requests sends them: with Content-Length if its size is known."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.len = source.size or 0

    def __iter__(self) -> Iterator[bytes]:
        return self._source.pieces()


def pieces_of(response: Response) -> Iterator[bytes]:
    """The body of an answer as it was sent, whatever its Content-Encoding. Raises Lost."""
    try:
        yield from response.raw.stream(PIECE, decode_content=False)
    except (HTTPError, OSError) as error:
        raise Lost(f"The answer was cut off: {_words(error)}") from error


def answer_of(response: Response, body: bytes) -> Answer:
    """The answer as a verb takes it."""
    fields = {name.lower(): text for name, text in response.headers.items()}
    return Answer(response.status_code, fields, body)


def _words(error: BaseException) -> str:
    """An error of the libraries for people: what the system said, in place of the whole chain."""
    seen: BaseException | None = error
    for _ in range(10):
        if seen is None:
            break
        if isinstance(seen, OSError) and seen.strerror:
            return seen.strerror
        inner = [each for each in seen.args if isinstance(each, BaseException)]
        seen = inner[0] if inner else seen.__cause__ or seen.__context__
    return " ".join(str(error).split())[:200]
