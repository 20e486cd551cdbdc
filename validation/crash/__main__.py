"""``python -m refwfm.validation.crash``: the exit code is 1 where a run was lost."""

import argparse
import sys
import tempfile
from pathlib import Path

from refwfm.validation.crash import faults, kills


def main() -> int:
    """Crash short runs of both kinds; print what was done, and each that did not end as it should."""
    parser = argparse.ArgumentParser(prog="python -m refwfm.validation.crash", description=__doc__)
    parser.add_argument("--runs", type=int, default=20, help="runs that are killed, and faults (default 20)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments")
    asked = parser.parse_args()
    if asked.runs < 1:
        parser.error("--runs must be at least 1")
    wrong: list[str] = []

    def lost(line: str) -> None:
        wrong.append(line)
        print(line, flush=True)  # noqa: T201

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        killed = kills.kill_runs(folder, asked.runs, asked.seed, lost)
        done = faults.fail_calls(folder, asked.runs, asked.seed, lost)
    for call in faults.CALLS:
        each = ", ".join(f"{error} {done[call, error]}" for error in (*faults.ERRORS, faults.KILL))
        sys.stdout.write(f"{call}: {each}\n")
    count = f"{asked.runs} runs, killed {killed} times; {done.total()} faults"
    sys.stdout.write(f"{count}; {len(wrong)} went wrong\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
