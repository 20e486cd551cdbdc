"""Randomness that can be repeated: one generator for each purpose and step."""

import numpy as np


def random_stream(seed: int, stream: str, step: int = 0, /) -> np.random.Generator:
    """Counter-based generator keyed by (seed, purpose, step): any step can be drawn again alone."""
    number = ("init", "scaling", "batch", "generation", "evaluation").index(stream)
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, number, step]))
