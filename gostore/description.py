"""What the interface is, in OpenAPI 3.1: openapi.yaml, as the JSON that is served."""

from __future__ import annotations

import json
from importlib import resources

import yaml

# The loader in C, where there is one, is ten times as fast.
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _read() -> bytes:
    text = resources.files("gostore").joinpath("openapi.yaml").read_text(encoding="utf-8")
    whole = yaml.load(text, _Loader)
    # What is there only to be repeated in YAML is everywhere in JSON.
    wanted = {key: value for key, value in whole.items() if not key.startswith("x-")}
    return json.dumps(wanted, ensure_ascii=False).encode("utf-8")


#: The document; part of the code, and so read with it.
DOCUMENT = _read()
