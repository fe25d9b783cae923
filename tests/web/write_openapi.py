"""`python -m tests.web.write_openapi` writes gostore/web/openapi.json from openapi.yaml."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

WEB = Path(__file__).parents[2] / "gostore" / "web"


def as_json() -> bytes:
    """What openapi.json has to be: openapi.yaml without the parts that only YAML repeats."""
    # The loader in C, where there is one, is ten times as fast.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    whole = yaml.load((WEB / "openapi.yaml").read_text(encoding="utf-8"), loader)
    served = {key: value for key, value in whole.items() if not key.startswith("x-")}
    return f"{json.dumps(served, ensure_ascii=False, indent=1)}\n".encode()


if __name__ == "__main__":
    (WEB / "openapi.json").write_bytes(as_json())
