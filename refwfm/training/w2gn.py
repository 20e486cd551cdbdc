"""Fitting pairs of convex potentials: to the identity, to two clouds, or on from a prediction.

References
----------
Amos et al., "Meta optimal transport", 2023, section 4.2 and appendix B.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from refwfm._array import Array, asarray_like, check_integer, take_rows, to_host
from refwfm.evidence import ConvergenceError
from refwfm.meta.w2gn import (
    CYCLE,
    PENALTY,
    check_pair,
    dual_value,
    identity_loss_and_grad,
    w2gn_loss_and_grad,
)
from refwfm.networks.layers import Params
from refwfm.training import optim
from refwfm.training.algorithm import NonFiniteLossError

if TYPE_CHECKING:
    from numpy.random import Generator


class Fit(NamedTuple):
    """A fitted pair of networks, and what was logged.

    Attributes
    ----------
    pair : dict
        ``potential`` and ``conjugate``.
    steps : NumPy array of integers, shape (k,)
        When there was a look: 0, ``every``, 2 ``every``, ..., and ``n_steps``.
    values : NumPy array, shape (..., k)
        Dual values then; empty where none were asked for.
    """

    pair: Params
    steps: np.ndarray
    values: np.ndarray


def pretrain_identity(
    pair: Params,
    /,
    *,
    rng: "Generator",
    n_steps: int = 20_001,
    below: float = 1e-4,
    batch_size: int = 1024,
    learning_rate: float = 5e-4,
    b1: float = 0.9,
    b2: float = 0.999,
    penalty: float = PENALTY,
    require: bool = True,
) -> tuple[Params, float, int]:
    """Train both maps of a pair to be the identity on the box ``[-0.5, 1.5]ᵈ``.

    Equation: META-OT-14. Until the running mean of the loss is below a bound, or for ``n_steps``. (The
    baseline of the paper takes ``learning_rate=1e-3, b1=0.8, b2=0.9`` and 15 001 steps.)

    Parameters
    ----------
    pair : dict
        ``potential`` and ``conjugate``.
    rng : numpy.random.Generator
        Draws the points.
    below : float
        Bound on the running mean, with decay 0.9, of the loss; of the largest one where the pair is a batch.
    require : bool
        Whether to raise unless it is reached.

    Returns
    -------
    pair : dict
    loss : float
        Its running mean.
    steps : int
        How many were made.

    Raises
    ------
    NonFiniteLossError
        If the loss is NaN or infinite: no further step is made.
    ConvergenceError
        If the bound is not reached in ``n_steps``, unless ``require=False``.
    """
    n_steps = check_integer(n_steps, "n_steps", low=0)
    like = pair["potential"]["linear"]
    batch, d = tuple(like.shape[:-1]), like.shape[-1]
    state, running, steps = optim.init_adam(pair), float("nan"), 0
    while steps < n_steps and not running < below:
        x = asarray_like(rng.uniform(-0.5, 1.5, (*batch, batch_size, d)), like)
        losses, grads = identity_loss_and_grad(pair, x, penalty=penalty)
        pair, state = optim.adam(pair, grads, state, learning_rate=learning_rate, b1=b1, b2=b2)
        loss = float(np.max(to_host(losses)))
        running = loss if steps == 0 else 0.9 * running + 0.1 * loss
        steps += 1
        if not math.isfinite(running):
            raise NonFiniteLossError(f"the loss of the identity became {loss} at step {steps}")
    if require and not running < below:
        raise ConvergenceError(
            f"the pair is not the identity after {steps} steps: loss {running:.3g}, wanted {below:.3g}; "
            "raise n_steps, or pass require=False to take it as it is"
        )
    return pair, running, steps


def fit(
    pair: Params,
    x: Array,
    y: Array,
    /,
    *,
    rng: "Generator",
    n_steps: int = 1000,
    batch_size: int = 1024,
    learning_rate: float = 1e-3,
    b1: float = 0.9,
    b2: float = 0.999,
    cycle: float = CYCLE,
    penalty: float = PENALTY,
    every: int = 0,
    held_out: tuple[Array, Array] | None = None,
    report: Callable[[int, Array], None] | None = None,
) -> Fit:
    """Fit a pair of networks to two clouds: from a start, or, as fine-tuning, from a prediction.

    Equation: META-OT-11. Adam on batches of points that are drawn with replacement.

    Parameters
    ----------
    pair : dict
        ``potential`` and ``conjugate``, the start; leading axes are problems.
    x, y : array, shape (..., n, d) and (..., m, d)
        All points of the two measures, of equal weight.
    rng : numpy.random.Generator
        Draws the batches.
    every : int
        Log dual values of ``held_out`` before the first step, after each so many and the last; 0 for never.
    held_out : pair of arrays
        Fixed points (..., k, d) of the two measures that dual values are computed on; x and y when left out.
    report : callable, optional
        ``report(step, losses)`` after each step.

    Returns
    -------
    Fit
    """
    check_pair(pair, x, y)
    n_steps, every = check_integer(n_steps, "n_steps", low=0), check_integer(every, "every", low=0)
    fixed = (x, y) if held_out is None else held_out
    state, steps, values = optim.init_adam(pair), [], []
    for step in range(n_steps + 1):
        if every and (step % every == 0 or step == n_steps):
            steps.append(step)
            values.append(to_host(dual_value(pair["potential"], *fixed)))
        if step < n_steps:
            losses, grads = w2gn_loss_and_grad(
                pair, *(sample(z, batch_size, rng=rng) for z in (x, y)), cycle=cycle, penalty=penalty
            )
            pair, state = optim.adam(pair, grads, state, learning_rate=learning_rate, b1=b1, b2=b2)
            if report is not None:
                report(step + 1, losses)
    logged = np.stack(values, axis=-1) if values else np.empty((*x.shape[:-2], 0))
    return Fit(pair, np.asarray(steps, dtype=int), logged)


def sample(points: Array, size: int, /, *, rng: "Generator") -> Array:
    """Draw points with replacement from clouds (..., n, d), for each cloud other ones: (..., size, d).

    Equation: none. A draw.

    Examples
    --------
    >>> sample(np.ones((7, 3)), 2, rng=np.random.default_rng(0)).shape
    (2, 3)
    """
    index = rng.integers(0, points.shape[-2], (*points.shape[:-2], size))
    return take_rows(points, index)
