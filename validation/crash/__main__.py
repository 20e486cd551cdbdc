"""``python -m refwfm.validation.crash``: the exit code is 1 where a run was lost."""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from refwfm.validation.crash import faults, kills
from refwfm.validation.crash.short_runs import KINDS


def main() -> int:
    """Crash short runs of both kinds; print what was done, and each that did not end as it should."""
    parser = argparse.ArgumentParser(prog="python -m refwfm.validation.crash", description=__doc__)
    parser.add_argument("--runs", type=int, default=20, help="runs that are killed, and faults (default 20)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments")
    asked = parser.parse_args()
    if asked.runs < 1:
        parser.error("--runs must be at least 1")
    with tempfile.TemporaryDirectory() as name:
        folder, wrong = Path(name), []
        for kind in KINDS:  # in processes of their own: the threads of a run do not outlive a fork
            os.waitpid(kills.in_child(kind, folder / kind), 0)
        killed = kills.kill_runs(folder, asked.runs, asked.seed, wrong.append)
        done = faults.fail_calls(folder, asked.runs, asked.seed, wrong.append)
    sys.stdout.write(f"{asked.runs} runs, killed {killed} times; {done} faults; {len(wrong)} went wrong\n")
    sys.stdout.writelines(f"{line}\n" for line in wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
