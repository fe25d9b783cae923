"""The rules of access, said again as plainly as possible, apart from the code that they check."""

from __future__ import annotations

WORDS = {
    "append": "create",
    "write": "create replace delete",
    "all": "read list create replace delete metrics",
}


def may(grants: list[str], verb: str, location: str) -> bool:
    """Whether grants, as a file has them, allow a verb at a location."""
    for grant in grants:
        words, _, prefix = grant.partition(" ")
        for word in words.split(","):
            if verb in WORDS.get(word, word).split() and location[: len(prefix)] == prefix:
                return True
    return False


def listed(
    grants: list[str], locations: list[str], prefix: str, delimiter: str, after: str
) -> list[str]:
    """All entries of a list from an entry on, when nothing exists but what may be listed."""
    entries = set()
    for location in locations:
        if may(grants, "list", location) and location.startswith(prefix):
            head, cut, _ = location[len(prefix) :].partition(delimiter or "\0")
            entries.add(prefix + head + cut)
    return sorted(each for each in entries if each.encode() > after.encode())


def expected(grants: list[str], request: str, location: str, exists: bool, creates: bool) -> int:
    """The status of a request: "GET", "PUT if none", ...; ``creates`` if a plain PUT does.

    403 stands for 401, too.
    """

    def has(verb: str) -> bool:
        return may(grants, verb, location)

    if request in ("GET", "HEAD"):
        return 403 if not has("read") else 200 if exists else 404
    if request == "DELETE":
        return 403 if not has("delete") else 200 if exists else 404
    if request == "POST":
        return 403 if not has("create") else 409 if exists else 204
    if request == "PUT if none" and exists:
        # It would be a create.
        return 412 if has("create") or has("replace") else 403
    if not has("replace" if exists else "create"):
        return 403
    if request == "PUT if none":
        return 204
    if request == "PUT if there":
        return 200 if exists else 412
    return 200 if exists else 204 if creates else 404
