"""Tests for gostore.description and openapi.yaml: what is described is what is served."""

from __future__ import annotations

import json
import re

from openapi_spec_validator import validate
from twisted.trial.unittest import SynchronousTestCase

from gostore import errors
from gostore.api import STATUS, Api
from gostore.description import DOCUMENT
from tests.fake_request import FakeRequest
from tests.memory_store import MemoryStore

#: A second way to read the list, for programs that walk HTML pages as a tree (docs/http.md).
UNDESCRIBED = {"/store/<directory:prefix>"}


def described() -> dict[str, set[str]]:
    """The methods of each path in the document, as Klein writes paths."""
    paths = json.loads(DOCUMENT)["paths"]
    methods = {"get", "head", "post", "put", "delete"}
    return {
        re.sub(r"\{(\w+)\}", r"<path:\1>", path): {name.upper() for name in methods & set(item)}
        for path, item in paths.items()
    }


class DescriptionTests(SynchronousTestCase):
    """The document."""

    def test_valid(self) -> None:
        """It is OpenAPI 3.1."""
        validate(json.loads(DOCUMENT))

    def test_routes(self) -> None:
        """Every route and method of the application is described, and no others."""
        served: dict[str, set[str]] = {}
        for rule in Api.app.url_map.iter_rules():
            if rule.rule not in UNDESCRIBED:
                served.setdefault(rule.rule, set()).update(rule.methods or ())
        self.assertEqual(described(), {path: each - {"OPTIONS"} for path, each in served.items()})

    def test_served(self) -> None:
        """It is served as JSON."""
        request = FakeRequest("GET", "/openapi.json")
        Api(MemoryStore()).dispatch(request)
        self.assertEqual(request.code, 200)
        self.assertEqual(request.content, DOCUMENT)

    def test_statuses(self) -> None:
        """Every status that an error of the store becomes is described for the writes."""
        put = json.loads(DOCUMENT)["paths"]["/store/{location}"]["put"]["responses"]
        codes = {str(code) for error, code in STATUS.items() if error is not errors.AlreadyExists}
        self.assertLessEqual(codes, set(put))

    def test_closed_references(self) -> None:
        """Every link leads to an operation that there is."""
        text = DOCUMENT.decode()
        links = set(re.findall(r'"links": .*?"operationId": "(\w+)"', text))
        names = set(re.findall(r'"operationId": "(\w+)"', text))
        self.assertLessEqual(links, names)
        self.assertIn("readBlob", names)
