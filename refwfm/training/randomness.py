"""Randomness that can be repeated: one generator for each purpose and step."""

import numpy as np

STREAMS = {"init": 0, "scaling": 1, "alignment": 1, "batch": 2, "generation": 3, "evaluation": 4}
"""Purposes and their numbers. (Scaling is of Gaussians, alignment of clouds: no run draws from both.)"""


def random_stream(seed: int, stream: str, step: int = 0, /) -> np.random.Generator:
    """Counter-based generator keyed by (seed, purpose, step): any step can be drawn again on its own.

    Equation: none. Random numbers by purpose and step.
    """
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, STREAMS[stream], step]))
