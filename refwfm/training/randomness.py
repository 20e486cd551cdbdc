"""Randomness that can be repeated: one generator for each purpose and step."""

import numpy as np

STREAMS = {
    "init": 0,
    "scaling": 1,
    "alignment": 1,
    "batch": 2,
    "generation": 3,
    "evaluation": 4,
    "frequencies": 5,
    "outer": 6,
    "rectified": 7,
}
"""Purposes and their numbers. (Scaling is of Gaussians, alignment of clouds: no run draws from both.)"""


def random_stream(seed: int, stream: str, step: int = 0, /) -> np.random.Generator:
    """Counter-based generator keyed by (seed, purpose, step): any step can be drawn again on its own.

    Equation: none. Random numbers by purpose and step.
    """
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, STREAMS[stream], step]))


def distinct_pairs(rng: np.random.Generator, n: int, size: int, /) -> np.ndarray:
    """Ordered pairs (2, size) of distinct numbers below n, no pair twice; all of them if size is larger.

    Equation: none. A draw.

    Examples
    --------
    >>> sorted(zip(*distinct_pairs(np.random.default_rng(0), 2, 20).tolist()))
    [(0, 1), (1, 0)]
    """
    size = min(size, n * (n - 1))
    found: dict[tuple[int, int], None] = {}
    while len(found) < size:
        drawn = rng.integers(0, n, (2, size)).tolist()
        found |= {(i, j): None for i, j in zip(*drawn, strict=True) if i != j}
    return np.asarray(list(found)[:size], dtype=np.int64).reshape(-1, 2).T
