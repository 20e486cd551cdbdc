"""Times of a step's pairs: uniform, as in the papers, or more of them where velocities are hard to learn.

A law of times weights the loss: the same networks are fitted, and are most exact where times are dense.

References
----------
Esser et al., "Scaling rectified flow transformers for high-resolution image synthesis", 2024, section 3.1.
"""

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit, ndtri

if TYPE_CHECKING:
    from numpy.random import Generator

LAWS = ("uniform", "logit-normal")
"""Laws of times in training."""


def sample_times(
    rng: "Generator", size: int, /, *, law: str = "uniform", mean: float = 0.0, deviation: float = 1.0
) -> np.ndarray:
    """Times in [0, 1] at which a step looks at its pairs.

    Equation: WFM-Alg1, WFM-TIMES. The paper's are uniform. Drawn on the host in float64, one uniform number
    each whatever the law: the same on every library and device.

    Parameters
    ----------
    rng : numpy.random.Generator
    size : int
    law : str
        ``uniform``, or ``logit-normal``: ``log(t / (1 - t)) ~ N(mean, deviation²)``.
    mean, deviation : float
        Of the logit; a mean above 0 draws later times, a deviation above 1.7 more at both ends than between.

    Returns
    -------
    numpy.ndarray, shape (size,)

    Raises
    ------
    ValueError
        If the law is unknown, or mean or deviation are no finite numbers, the second above 0.

    Examples
    --------
    >>> sample_times(np.random.default_rng(0), 3, law="logit-normal", mean=1.0).round(2).tolist()
    [0.79, 0.6, 0.32]
    """
    if law not in LAWS:
        raise ValueError(f"law must be one of {', '.join(LAWS)}; got {law!r}")
    if not (np.isfinite(mean) and 0.0 < deviation < np.inf):
        raise ValueError(f"mean must be finite, and deviation above 0; got {mean} and {deviation}")
    u = rng.random(size)
    return u if law == "uniform" else expit(mean + deviation * ndtri(u))
