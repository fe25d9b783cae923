"""What AWS's own library is asked, in a process of its own; aside.py starts that.

botocore takes 34 MiB of memory and a quarter second of a processor to import, so no daemon does.
This process reads one question, a JSON object, from stdin, answers it on stdout, and ends.

Every question has ``what``, and may have a ``profile``. Questions about uploads have ``bucket``,
and may have ``endpoint`` and ``region``::

    {"what": "credentials"}                    those of the profile, and its region
    {"what": "uploads", "prefix": "p/"}        the uploads in parts that have not ended
    {"what": "abort", "uploads": [[key, upload], ...]}

An answer has ``refused`` or ``unsettled``, with the reason, if there is nothing else to say.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnection

#: Seconds for a connection, and for an answer.
_CONNECT, _READ = 4, 20

#: What is not for good, though its status is that of a mistake.
_PASSING = {408, 409, 425, 429}


def main() -> None:
    """Answer one question."""
    print(json.dumps(answer(json.load(sys.stdin))))


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """Answer a question."""
    try:
        session = botocore.session.Session(profile=question.get("profile"))
        if question["what"] == "credentials":
            return _credentials(session)
        client = _client(session, question)
        if question["what"] == "abort":
            _abort(client, question["bucket"], question["uploads"])
            return {}
        return {"uploads": list(_uploads(client, question["bucket"], question["prefix"]))}
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        is_final = (status < 500 and status not in _PASSING) or status == 501
        return {"refused" if is_final else "unsettled": error.response["Error"]["Code"]}
    except (HTTPClientError, NoConnection) as error:
        return {"unsettled": str(error)}
    except BotoCoreError as error:
        return {"refused": str(error)}


def _credentials(session: Any) -> dict[str, Any]:
    credentials = session.get_credentials()
    if credentials is None:
        return {"refused": "it has no credentials"}
    frozen = credentials.get_frozen_credentials()
    # Only what is fetched anew by itself has it.
    expires = getattr(credentials, "_expiry_time", None)
    return {
        "access_key_id": frozen.access_key,
        "secret_access_key": frozen.secret_key,
        "token": frozen.token,
        "expires": None if expires is None else expires.timestamp(),
        "region": session.get_config_variable("region"),
    }


def _client(session: Any, question: dict[str, Any]) -> Any:
    # obstore takes these variables, and botocore others.
    endpoint = question.get("endpoint") or os.environ.get("AWS_ENDPOINT")
    region = question.get("region") or os.environ.get("AWS_REGION")
    return session.create_client(
        "s3",
        endpoint_url=endpoint,
        region_name=region or session.get_config_variable("region") or "us-east-1",
        config=Config(
            signature_version="s3v4",
            s3=None if endpoint is None else {"addressing_style": "path"},
            connect_timeout=_CONNECT,
            read_timeout=_READ,
            retries={"total_max_attempts": 3, "mode": "standard"},
        ),
    )


def _uploads(client: Any, bucket: str, prefix: str) -> Iterator[tuple[str, str, float]]:
    """Each upload below a prefix: its key, its name, and when it began."""
    seen: set[str] = set()
    markers: dict[str, str] = {}
    while True:
        page = client.list_multipart_uploads(Bucket=bucket, Prefix=prefix, **markers)
        new = [each for each in page.get("Uploads", ()) if each["UploadId"] not in seen]
        for each in new:
            seen.add(each["UploadId"])
            yield each["Key"], each["UploadId"], each["Initiated"].timestamp()
        # SeaweedFS gives only the second one.
        names = ("KeyMarker", "UploadIdMarker")
        markers = {name: page[f"Next{name}"] for name in names if page.get(f"Next{name}")}
        if not (page.get("IsTruncated") and new):
            return


def _abort(client: Any, bucket: str, uploads: list[tuple[str, str]]) -> None:
    for key, upload in uploads:
        try:
            client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchUpload":
                raise
