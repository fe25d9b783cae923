"""The door: it tells who a client is, from what the client shows.

A client that was let in with some credentials is known by them for minutes, without another look: a
bcrypt hash costs a quarter of a second of CPU time. They are remembered by a hash under a key that
only this process has, so nobody finds a password in its memory.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Callable
from hashlib import blake2b, sha256
from hmac import compare_digest

from attrs import frozen
from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger
from twisted.python.failure import Failure

from gostore.access.credentials import Malformed, parse_credentials
from gostore.access.grants import Principal
from gostore.access.rules import TOKEN, USER, Rules
from gostore.access.throttle import Throttle
from gostore.errors import Busy

log = Logger()

REMEMBERED_FOR = 300.0
"""Seconds that a client is known at least, after its last request."""

MOST_REMEMBERED = 10_000

MOST_WAITING = 32
"""The most passwords that wait for a thread, each for a quarter of a second."""

WRONG, THROTTLED, BUSY = "wrong", "throttled", "busy"
"""Why an attempt is refused: the credentials are nobody's, or nobody looks at them."""

_RETRY_AFTER = 1

#: The bytes of a digest by which its token is found.
_INDEXED = 8

#: A hash of a password that nobody has, by its cost.
_NOBODY = "$2b${:02}$" + "." * 53

Compare = Callable[[bytes, bytes], Deferred[bool]]
"""Compares a password with a bcrypt hash, later."""


class WrongCredentials(Exception):
    """The credentials are nobody's. str() says no more than the client knows."""

    def __init__(self, text: str = "The credentials are wrong") -> None:
        super().__init__(text)


class Throttled(Exception):
    """Too many wrong credentials came from there; try again after ``seconds``."""

    def __init__(self, seconds: int) -> None:
        super().__init__(
            f"Too many wrong credentials have come from your address; wait {seconds} s"
        )
        self.seconds = seconds


@frozen
class _Known:
    """A principal, and by what it was told: a bcrypt hash, or the digest of a secret."""

    principal: Principal
    proof: bytes


class Door:
    """Knows the rules, and tells who comes.

    ``compare`` compares passwords in threads. ``seconds`` is a clock that is never set, ``wall``
    the one that expiry dates mean.
    """

    def __init__(
        self,
        rules: Rules,
        compare: Compare,
        seconds: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.rules = rules
        self.throttle = Throttle(seconds)
        #: How many attempts were refused, by the reason.
        self.refused = {WRONG: 0, THROTTLED: 0, BUSY: 0}
        self._compare = compare
        self._wall = wall
        self._keyed = blake2b(key=secrets.token_bytes(32), digest_size=16)
        # The first has those who came lately, the second those who came only before that.
        self._known: dict[bytes, _Known] = {}
        self._known_before: dict[bytes, _Known] = {}
        self._asking: dict[bytes, list[Deferred[Principal]]] = {}
        self._nobody = b""
        self._tokens: dict[bytes, tuple[bytes, Principal]] = {}
        self.change(rules)

    @property
    def anonymous(self) -> Principal:
        """The principal of a client without credentials."""
        return self.rules.anonymous

    def change(self, rules: Rules) -> None:
        """Go by other rules. Clients whose credentials are as good as before stay known."""
        self.rules = rules
        self._tokens = {kept[:_INDEXED]: (kept, each) for kept, each in rules.tokens.items()}
        self._known = self._still_known(self._known)
        self._known_before = self._still_known(self._known_before)
        passwords = [user.password for user in rules.users.values() if user.password]
        costs = Counter(password[4:6].decode("ascii") for password in passwords)
        # What a wrong user name costs is what most wrong passwords cost.
        [(cost, _)] = costs.most_common(1) or [("", 0)]
        self._nobody = _NOBODY.format(int(cost)).encode("ascii") if cost else b""

    def forget(self) -> None:
        """Forget clients that have not come since the last call."""
        self._known, self._known_before = {}, self._known

    def key_of(self, value: bytes) -> bytes:
        """What to remember credentials by."""
        # A copy costs less than a new one.
        keyed = self._keyed.copy()
        keyed.update(value)
        return keyed.digest()

    def find(self, key: bytes) -> Principal | None:
        """The principal that has been let in with the credentials that have this key."""
        known = self._known.get(key)
        if known is None:
            known = self._known_before.get(key)
            if known is None:
                return None
            self._remember(key, known)
        principal = known.principal
        if principal.expires is not None and principal.is_over(self._wall()):
            return None
        return principal

    def ask(self, key: bytes, value: bytes, address: str | None) -> Deferred[Principal]:
        """Look at credentials, of this key, that come from an address; None is a Unix socket.

        Fails with WrongCredentials, Throttled or Busy.
        """
        answer: Deferred[Principal] = Deferred()
        waiting = self._asking.get(key)
        if waiting is not None:
            # A client that opens several connections at once makes one attempt.
            waiting.append(answer)
            return answer
        if wait := self.throttle.wait(address):
            self.refused[THROTTLED] += 1
            return fail(Throttled(wait))
        self.throttle.begin(address)
        self._asking[key] = [answer]
        looking = Deferred.fromCoroutine(self._look(value))
        looking.addBoth(self._looked, key, address)
        return answer

    async def _look(self, value: bytes) -> _Known:
        """Tell who has these credentials. Raises WrongCredentials or Busy."""
        try:
            credentials = parse_credentials(value)
        except Malformed as error:
            raise WrongCredentials(str(error)) from None
        digest = sha256(credentials.secret).digest()
        kept, token = self._tokens.get(digest[:_INDEXED], (b"", None))
        # The time that this takes tells nothing: it is of hashes.
        if token is not None and compare_digest(kept, digest) and not token.is_over(self._wall()):
            return _Known(token, kept)
        if credentials.user is None or not self._nobody:
            raise WrongCredentials()
        if len(self._asking) > MOST_WAITING:
            self.refused[BUSY] += 1
            raise Busy("Too many passwords wait to be compared", _RETRY_AFTER)
        user = self.rules.users.get(credentials.user)
        hashed = self._nobody if user is None else user.password or self._nobody
        is_right = await self._compare(credentials.secret, hashed)
        # The rules may have changed meanwhile.
        user = self.rules.users.get(credentials.user)
        if not is_right or user is None or user.password != hashed:
            raise WrongCredentials()
        return _Known(user.principal, hashed)

    def _looked(self, found: _Known | Failure, key: bytes, address: str | None) -> None:
        outcome: Principal | Failure
        if not isinstance(found, Failure):
            self._remember(key, found)
            outcome = found.principal
        else:
            outcome = found
        if isinstance(found, Failure) and found.check(WrongCredentials):
            self.refused[WRONG] += 1
            # The fail2ban filter in examples/ looks for this line.
            log.warn("Authentication failed from {address}", address=address or "a Unix socket")
        else:
            self.throttle.forgive(address)
        for answer in self._asking.pop(key):
            answer.callback(outcome)

    def _remember(self, key: bytes, known: _Known) -> None:
        if len(self._known) >= MOST_REMEMBERED:
            self.forget()
        self._known[key] = known

    def _still_known(self, known: dict[bytes, _Known]) -> dict[bytes, _Known]:
        """The ones whose credentials are as good by the rules that are in force now."""
        found = {}
        for key, each in known.items():
            principal = each.principal
            user = self.rules.users.get(principal.name)
            token = self.rules.tokens.get(each.proof)
            if principal.kind == TOKEN and token is not None:
                found[key] = _Known(token, each.proof)
            elif principal.kind == USER and user is not None and user.password == each.proof:
                found[key] = _Known(user.principal, each.proof)
        return found
