"""What the interface is, in OpenAPI 3.1: openapi.yaml, as the JSON that is served."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources


@cache
def document() -> bytes:
    """The document. It is read when it is first asked for: hardly a daemon ever is."""
    import yaml

    # The loader in C, where there is one, is ten times as fast.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = resources.files("gostore.web").joinpath("openapi.yaml").read_text(encoding="utf-8")
    whole = yaml.load(text, loader)
    # What is there only to be repeated in YAML is everywhere in JSON.
    wanted = {key: value for key, value in whole.items() if not key.startswith("x-")}
    return json.dumps(wanted, ensure_ascii=False).encode("utf-8")
