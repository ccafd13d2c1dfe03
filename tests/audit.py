"""Known holes in the packages of uv.lock: `python -m tests.audit`, part of `make check`.

`uv audit` asks the database of osv.dev. Where it does not answer, or uv is older, a notice says so
and the check passes, since a machine without a network must be able to check.
"""

import subprocess
import sys
from collections.abc import Sequence

COMMAND = ("uv", "audit", "--frozen", "--preview-features", "audit-command")
FOUND = 1  # its exit code if there are holes; with another one it could not tell


def main(options: Sequence[str] = ()) -> int:
    """Runs the audit with further options of `uv audit`; its output, and 1 if there are holes."""
    try:
        done = subprocess.run([*COMMAND, *options], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return _skipped("uv is not installed")
    if done.returncode == 0 or done.returncode == FOUND:
        print(done.stdout + done.stderr, end="")
        return done.returncode
    return _skipped(done.stderr.strip().rpartition("\n")[2].strip() or "uv audit failed")


def _skipped(why: str) -> int:
    print(f"known holes of packages were not looked up: {why}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
