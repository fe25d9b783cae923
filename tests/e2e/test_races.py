"""Clients that want the same thing at the same time, against a real daemon."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest

from gostore.commands.trial_daemon import Answer
from tests.e2e.daemon import SOAK, Daemon, ask, eventually

T = TypeVar("T")

#: Clients of the lost-update race, and how often each changes the blob.
CLIENTS, CHANGES = (32, 50) if SOAK else (8, 12)


def at_once(count: int, act: Callable[[int], T]) -> list[T]:
    """Let so many threads do something, and none before all are there; what each got, in order."""
    barrier = threading.Barrier(count)

    def wait_and_act(number: int) -> T:
        barrier.wait()
        return act(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(wait_and_act, range(count)))


@pytest.mark.parametrize(
    ("method", "condition", "losers"),
    [("PUT", {"If-None-Match": "*"}, 412), ("POST", {}, 409)],
)
def test_one_creates(daemon: Daemon, method: str, condition: dict[str, str], losers: int) -> None:
    """Of 50 clients that create a blob at once one does, and its bytes are there (9110 13.1.2)."""
    for turn in range(20 if SOAK else 4):
        location = f"one/{turn}"

        def create(number: int, location: str = location) -> Answer:
            return daemon.ask(method, location, b"%d" % number * 1000, condition)

        answers = at_once(50, create)
        assert sorted(answer.status for answer in answers) == [204, *[losers] * 49]
        (winner,) = [number for number, answer in enumerate(answers) if answer.status == 204]
        got = daemon.ask("GET", location)
        assert got.body == b"%d" % winner * 1000
        assert got.headers["ETag"] == answers[winner].headers["ETag"]
    eventually(lambda: len(daemon.records()) > turn, "the files behind the answers")
    daemon.clean()
    assert len(daemon.records()) == turn + 1


def test_no_update_is_lost(daemon: Daemon) -> None:
    """With If-Match every change of every client is in the end there, once (9110 13.1.1).

    The blob is the list of all changes, each made to what its client had read: the end equals some
    order of them one after the other, in which each client's own are in its own order.
    """
    assert daemon.ask("POST", "list", b"[]").status == 204

    def change(client: int) -> int:
        refused = 0
        connection = daemon.connect()
        for number in range(CHANGES):
            while True:
                had = ask(connection, "GET", "/store/list")
                body = json.dumps([*json.loads(had.body), [client, number]]).encode()
                condition = {"If-Match": had.headers["ETag"]}
                status = ask(connection, "PUT", "/store/list", body, condition).status
                if status == 200:
                    break
                assert status == 412
                refused += 1
        connection.close()
        return refused

    refused = at_once(CLIENTS, change)
    made = json.loads(daemon.ask("GET", "list").body)
    assert len(made) == CLIENTS * CHANGES
    for client in range(CLIENTS):
        assert [number for who, number in made if who == client] == list(range(CHANGES))
    assert sum(refused) > 0, "there was no race"
