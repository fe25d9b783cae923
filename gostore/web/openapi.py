"""The OpenAPI 3.1 description of the HTTP interface, as it is served.

People edit openapi.yaml. `python -m tests.web.write_openapi` writes openapi.json from it, and a
test compares the two, so a daemon needs no reader of YAML.
"""

from __future__ import annotations

from functools import cache
from importlib import resources


@cache
def document() -> bytes:
    """The description as JSON. It is read when it is first asked for: hardly a daemon ever is."""
    return resources.files("gostore.web").joinpath("openapi.json").read_bytes()
