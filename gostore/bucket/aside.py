"""What obstore cannot do: it is asked of AWS's own library, in a process that ends again.

That is once a day, or once for some minutes where a profile has the credentials; see aws.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from attrs import define

from gostore.bucket.engine import Refused, Unfinished, Unsettled

#: Seconds for a question; then its process is killed.
_PATIENCE = 120.0

#: For how long the credentials of a profile are used before it is read again.
_GOOD_FOR = timedelta(minutes=15)

_PROGRAM = "from gostore.bucket.aws import main; main()"


def ask_aside(question: dict[str, Any], program: str = _PROGRAM) -> dict[str, Any]:
    """Answer a question of aws.py. Raises Refused or Unsettled."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    env.pop("AWS_PROFILE", None)
    if question.get("profile") is None:
        # obstore does not look there, and both have to be the same account.
        env |= {"AWS_SHARED_CREDENTIALS_FILE": os.devnull, "AWS_CONFIG_FILE": os.devnull}
    try:
        done = subprocess.run(
            [sys.executable, "-c", program],
            input=json.dumps(question).encode(),
            capture_output=True,
            env=env,
            timeout=_PATIENCE,
        )
        answer = json.loads(done.stdout)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unsettled(str(error)) from error
    except (ValueError, RecursionError) as error:
        if b"No module named 'botocore'" in done.stderr:
            raise Refused(
                "botocore is not installed: pip install '.[s3]' in a clone of gostore"
            ) from error
        last = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise Unsettled(last or f"the process ended with {done.returncode}") from error
    if "refused" in answer:
        raise Refused(answer["refused"])
    if "unsettled" in answer:
        raise Unsettled(answer["unsettled"])
    return dict(answer)


def profile_in(environment: Mapping[str, str]) -> str | None:
    """The profile that an environment asks for; a key in it comes first, as AWS has it."""
    if environment.get("AWS_ACCESS_KEY_ID"):
        return None
    return environment.get("AWS_PROFILE") or None


@define(eq=False)
class ProfileCredentials:
    """Gives obstore the credentials of a profile, again and again: they may change, or expire."""

    profile: str
    #: The region of the profile, once it has been read.
    region: str | None = None
    _fetched: Any = None

    def fetch(self) -> None:
        """Read the profile. Raises Refused or Unsettled."""
        try:
            found = ask_aside({"what": "credentials", "profile": self.profile})
        except (Refused, Unsettled) as error:
            reason = " ".join(str(error).split())
            raise type(error)(f"the profile {self.profile!r} cannot be used: {reason}") from error
        self.region = found["region"]
        expires = datetime.now(timezone.utc) + _GOOD_FOR
        if found["expires"] is not None:
            expires = min(expires, datetime.fromtimestamp(found["expires"], timezone.utc))
        self._fetched = {
            "access_key_id": found["access_key_id"],
            "secret_access_key": found["secret_access_key"],
            "token": found["token"],
            "expires_at": expires,
        }

    def __call__(self) -> Any:
        """Give them to obstore, which asks again some minutes before they expire."""
        if self._fetched is None:
            self.fetch()
        fetched, self._fetched = self._fetched, None
        return fetched


@define(eq=False)
class UploadsAside:
    """The uploads in parts of a bucket; ``prefix`` is that of the store, "" or with a slash."""

    bucket: str
    prefix: str
    endpoint: str | None
    region: str | None
    profile: str | None

    def list(self, prefix: str) -> Sequence[Unfinished]:
        """List those below a prefix; see `Engine.unfinished`."""
        found = self._ask(what="uploads", prefix=self.prefix + prefix)["uploads"]
        return [
            Unfinished(key.removeprefix(self.prefix), name, begun) for key, name, begun in found
        ]

    def abort(self, uploads: Sequence[Unfinished]) -> None:
        """Remove their parts; see `Engine.abort`."""
        self._ask(what="abort", uploads=[(self.prefix + each.key, each.name) for each in uploads])

    def _ask(self, **question: Any) -> dict[str, Any]:
        where = {"bucket": self.bucket, "endpoint": self.endpoint, "region": self.region}
        return ask_aside({**question, **where, "profile": self.profile})
