"""rerun.py COMMAND...: run pytest; what failed is run once more, alone.

COMMAND is a whole pytest command. If tests fail, the same command runs those again, in one process
and one after the other. A test that then passes is FLAKY: its name is printed, and kept in .flaky,
which .ci/run prints at its end; it fails nothing. The exit status is that of the last run.
"""

import json
import subprocess
import sys
from pathlib import Path

#: pytest's own notes; pytest-xdist's workers report to the process that writes them.
CACHE = ".pytest_cache"
FAILED = Path(CACHE, "v", "cache", "lastfailed")
FLAKY = Path(".flaky")

#: pytest's exit status where tests failed, and nothing else went wrong.
TESTS_FAILED = 1


def failed() -> set[str]:
    """The tests that failed when they ran last."""
    return set(json.loads(FAILED.read_text(encoding="utf-8"))) if FAILED.exists() else set()


def main(command: list[str]) -> int:
    """Run the command, perhaps twice."""
    FLAKY.unlink(missing_ok=True)
    FAILED.unlink(missing_ok=True)
    command = [*command, "-o", f"cache_dir={CACHE}"]
    status = subprocess.run(command, check=False).returncode
    if status != TESTS_FAILED:
        return status
    first = failed()
    print(f"\nOnce more, alone: {len(first)} that failed", flush=True)
    again = [*command, "--last-failed", "--last-failed-no-failures=none", "--numprocesses=0"]
    status = subprocess.run(again, check=False).returncode
    flaky = [f"FLAKY: {name} failed, and passed alone" for name in sorted(first - failed())]
    if flaky:
        FLAKY.write_text("\n".join(flaky) + "\n", encoding="utf-8")
        print(FLAKY.read_text(encoding="utf-8"), end="", flush=True)
    return status


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
