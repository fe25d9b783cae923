"""``python -m fuzz TARGET [libFuzzer options] [corpus directories]``: run one target."""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

TARGETS = ("wire", "fields", "statefile", "recovery", "journal")


def main() -> None:
    """Run the target named on the command line until libFuzzer has had enough."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in TARGETS:
        raise SystemExit(f"usage: python -m fuzz {'|'.join(TARGETS)} [libFuzzer options]")
    # Only what is imported in here tells the fuzzer which branches an input has reached.
    with atheris.instrument_imports(include=["gostore"]):
        check = __import__(f"fuzz.{name}", fromlist=["check"]).check
    atheris.Setup([sys.argv[0], *sys.argv[2:], str(Path(__file__).parent / "corpus" / name)], check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
