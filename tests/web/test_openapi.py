"""Tests of gostore.web.openapi: the description says what is served."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urljoin

from openapi_spec_validator import validate
from twisted.trial.unittest import SynchronousTestCase

import gostore
from gostore import errors
from gostore.web.answers import STATUS
from gostore.web.dispatch import Dispatcher
from gostore.web.openapi import document
from tests.store.memory_store import MemoryStore
from tests.web.fake_request import FakeRequest
from tests.web.support import routes
from tests.web.write_openapi import as_json

#: A second way to read the list, for browsers and programs that walk HTML pages as a tree, and the
#: files of the page that browsers get (docs/http.md).
UNDESCRIBED = {"/store/<directory:prefix>", "/page/<string:digest>/<string:name>"}


METHODS = {"get", "head", "patch", "post", "put", "delete", "options"}


def described() -> dict[str, set[str]]:
    """The methods of each path in the document, as Klein writes paths."""
    paths = json.loads(document())["paths"]
    return {
        re.sub(r"\{(\w+)\}", r"<path:\1>", path.replace("{number}", "<int:number>")): {
            name.upper() for name in METHODS & set(item)
        }
        for path, item in paths.items()
    }


def references(value: Any) -> set[str]:
    """Everything that a part of the document refers to, by $ref."""
    if isinstance(value, dict):
        here = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return here.union(*map(references, value.values()))
    return set().union(*map(references, value)) if isinstance(value, list) else set()


class DescriptionTests(SynchronousTestCase):
    """The document."""

    def test_valid(self) -> None:
        """It is OpenAPI 3.1."""
        validate(json.loads(document()))

    def test_written(self) -> None:
        """openapi.json is openapi.yaml; `python -m tests.web.write_openapi` makes it so."""
        self.assertEqual(document(), as_json())

    def test_routes(self) -> None:
        """Every route and method of the application is described, and no others."""
        served: dict[str, set[str]] = {}
        for each in routes(MemoryStore()):
            for rule in each.app.url_map.iter_rules():
                if rule.rule not in UNDESCRIBED:
                    served.setdefault(rule.rule, set()).update(rule.methods or ())
        # The routes leave OPTIONS to dispatch, which answers it for every path.
        self.assertEqual(described(), {path: {*each, "OPTIONS"} for path, each in served.items()})

    def test_server(self) -> None:
        """The server is where the document is, whatever a proxy puts before it (RFC 3986 4.2)."""
        (server,) = json.loads(document())["servers"]
        there = urljoin("https://a.example/blobs/openapi.json", server["url"])
        self.assertEqual(there, "https://a.example/blobs/")

    def test_served(self) -> None:
        """It is served as JSON."""
        request = FakeRequest("GET", "/openapi.json")
        Dispatcher(routes(MemoryStore())).dispatch(request)
        self.assertEqual(request.code, 200)
        self.assertEqual(request.content, document())

    def test_statuses(self) -> None:
        """Every status that an error of the store becomes is described for the writes."""
        paths = json.loads(document())["paths"]
        patch = set(paths["/uploads/{number}/{location}"]["patch"]["responses"])
        self.assertLessEqual({str(code) for code in STATUS.values()}, patch)
        put = set(paths["/store/{location}"]["put"]["responses"])
        of_uploads = {errors.AlreadyExists, errors.UploadOver, errors.WrongOffset}
        of_uploads |= {errors.TakenOver, errors.ChunkMismatch}
        codes = {str(code) for error, code in STATUS.items() if error not in of_uploads}
        self.assertLessEqual(codes, put)

    def test_version(self) -> None:
        """Its version is the package's."""
        self.assertEqual(json.loads(document())["info"]["version"], gostore.__version__)

    def test_components(self) -> None:
        """Each component is used, and nothing of YAML's own is served."""
        whole = json.loads(document())
        defined = {
            f"#/components/{kind}/{name}"
            for kind, members in whole["components"].items()
            for name in members
            if kind != "securitySchemes"
        }
        named = {name for each in whole["security"] for name in each}
        self.assertEqual(set(whole["components"]["securitySchemes"]), named)
        self.assertEqual(defined, references(whole))
        self.assertEqual([key for key in whole if key.startswith("x-")], [])

    def test_links(self) -> None:
        """Each link leads to an operation that there is, with parameters that it has."""
        whole = json.loads(document())
        shared = whole["components"]["parameters"]
        operations: dict[str, set[str]] = {}
        for item in whole["paths"].values():
            for method in METHODS & set(item):
                own = item.get("parameters", []) + item[method].get("parameters", [])
                each = [
                    shared[one["$ref"].rpartition("/")[2]] if "$ref" in one else one for one in own
                ]
                names = {f"{one['in']}.{one['name']}" for one in each}
                operations[item[method]["operationId"]] = names
        for name, link in whole["components"]["links"].items():
            self.assertLessEqual(set(link["parameters"]), operations[link["operationId"]], name)
