"""GWFM Table 5: what the couplings of a training step take, over sizes of clouds and of batches."""

import time
from typing import Any

import numpy as np

from refwfm import backends
from refwfm.clouds import uniform
from refwfm.couplings.costs import outer_cost
from refwfm.couplings.inner import couple
from refwfm.couplings.outer import outer_pairs
from refwfm.measures import PointCloud, take
from refwfm.transport.sinkhorn import sinkhorn

TITLE = "GWFM Table 5: times of couplings, 2-D clouds of n points, batches of B"
KIND = "times"

PAIRS = (
    ("wasserstein", "exact"),
    ("sliced", "exact"),
    ("linear", "exact"),
    ("sliced", "sliced"),
    ("lazy", "lazy"),
    ("independent", "independent"),
)

SHAPE = (
    "the text: exact WoW transport takes more than seconds at moderate sizes, a mixed coupling reaches 2.3 "
    "s, sliced transport is moderate, lazy linear transport negligible. The cells are not available.",
    "clouds are normal, in the order of their reference: alignment is done once, before training, and takes "
    "no time here.",
)

SIZES = {
    "smoke": ((16, 4), (32, 4)),
    "laptop": ((64, 16), (64, 64), (256, 16), (256, 64), (512, 64)),
    "paper": ((64, 64), (256, 64), (1024, 64), (64, 256), (256, 256), (1024, 256)),
}
"""Points n, batch B."""

MOST = {"smoke": 1e6, "laptop": 3e8, "paper": float("inf")}
"""Exact WoW transport is left out where B² n² is above this: it would take minutes."""

N_PROJ = 64
REPEATS = 5
ENOUGH = 2.0
"""Seconds after which a coupling is not repeated any more."""


def measure(scale: str, backend_name: str | None, /) -> list[dict[str, Any]]:
    """Median milliseconds of each coupling: its outer plan and the inner plans of all pairs."""
    backend, rng = backends.load(backend_name), np.random.default_rng(0)
    rows = []
    for n, batch in SIZES[scale]:
        x, y = (
            PointCloud(*map(backend.asarray, uniform(rng.standard_normal((batch, n, 2))))) for _ in range(2)
        )
        for outer, inner in PAIRS:
            if outer != "wasserstein" or (batch * n) ** 2 <= MOST[scale]:
                ms = _median_ms(x, y, outer, inner)
                rows.append({"coupling": f"{outer}/{inner}", "n": n, "batch": batch, "ms": ms})
    return rows


def _median_ms(x: PointCloud, y: PointCloud, outer: str, inner: str) -> float:
    times: list[float] = []
    while len(times) < REPEATS and sum(times) < ENOUGH:
        rng = np.random.default_rng(len(times))
        begun = time.perf_counter()
        pairs = y
        if outer != "independent":
            cost = outer_cost(x, y, outer, rng=rng, n_proj=N_PROJ)
            pairs = take(y, outer_pairs(cost).target)
        couple(x, pairs, inner, rng=rng, solve=sinkhorn, n_proj=N_PROJ)
        times.append(time.perf_counter() - begun)
    return 1e3 * float(np.median(times))
