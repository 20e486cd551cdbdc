"""Time of importing the package in a fresh process, against libraries that it is used beside.

The interpreter's own start is not counted: the process itself times the import. The peers are torch where it
is installed, else ``scipy.stats``: a part of SciPy that is imported whole. Nothing is computed.
"""

import subprocess
import sys
from importlib.util import find_spec
from statistics import median

from refwfm.validation.bench.measure import Row

MODULES = ("refwfm", "refwfm.training.algorithm")

TIMED = "import time; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"


def rows(repeats: int = 5) -> list[Row]:
    """Time ours and the peer's imports in turns."""
    peer = "torch" if find_spec("torch") else "scipy.stats"
    return [_row(module, peer, repeats) for module in MODULES]


def _row(module: str, peer: str, repeats: int) -> Row:
    for name in (module, peer):  # the files come into the system's cache
        seconds(name)
    pairs = [(seconds(module), seconds(peer)) for _ in range(repeats)]
    ours_s, peer_s = (median(side) for side in zip(*pairs, strict=True))
    return Row(f"import {module}", ours_s, f"import {peer}", peer_s, peer_s / ours_s, None, None)


def seconds(module: str) -> float:
    """Return the time that a fresh process takes to import a module."""
    result = subprocess.run(
        [sys.executable, "-c", TIMED.format(module)], capture_output=True, text=True, check=True
    )
    return float(result.stdout)
