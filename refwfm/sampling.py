"""Generation with a trained network: new Gaussians in the units of the data."""

from collections.abc import Callable
from typing import Any

import numpy as np

from refwfm._array import Array, array_namespace, device
from refwfm.config import Config
from refwfm.generation import Field, Generated, generate
from refwfm.measures import Gaussian
from refwfm.methods import METHODS
from refwfm.networks import bures_mlp
from refwfm.optim import Tree
from refwfm.randomness import random_stream
from refwfm.setting import Setting, to_data_units
from refwfm.sources import sample_gaussian_wishart
from refwfm.training import State


def learned_field(config: Config, setting: Setting, params: Tree, labels: Array | None = None, /) -> Field:
    """Field ``(mu, t) -> velocity`` of a trained network, for Gaussians in the setting's units."""
    velocity = METHODS[config.method].velocity

    def field(mu: Gaussian, t: Array) -> Any:
        output, _ = bures_mlp(params, setting.scaling, mu, t, labels)
        return velocity(*output)

    return field


def sample(
    config: Config,
    setting: Setting,
    state: State,
    /,
    *,
    size: int,
    n_steps: int,
    seed: int,
    labels: np.ndarray | None = None,
    observe: Callable[[int, Gaussian], None] | None = None,
) -> tuple[Generated, np.ndarray | None]:
    """Generate new Gaussians, in data units, with the labels they were generated for.

    Equation: WFM Algorithm 2 (Riemannian), or Euler steps with projection (the baselines).

    Parameters
    ----------
    size, n_steps, seed : int
    labels : numpy.ndarray, shape (size,), optional
        Classes to generate, for a conditional model; drawn with the data's frequencies when left out.
    observe : callable, optional
        Called with (k, mu) before the first step and after each; mu is in the setting's units.

    Returns
    -------
    Generated, labels or None
    """
    rng = random_stream(seed, "generation")
    mu = sample_gaussian_wishart(setting.source, rng=rng, size=size)
    counts, wanted = setting.label_counts, None
    if len(counts):
        drawn = rng.choice(len(counts), size=size, p=counts / counts.sum())
        labels = drawn if labels is None else np.asarray(labels)
        if labels.shape != (size,) or labels.min() < 0 or labels.max() >= len(counts):
            raise ValueError(f"labels must be {size} integers from 0 to {len(counts) - 1}")
        wanted = array_namespace(mu.mean).asarray(labels, device=device(mu.mean))
    elif labels is not None:
        raise ValueError("labels were given, but the model is unconditional")
    params = state.params if state.ema is None else state.ema
    result = generate(
        learned_field(config, setting, params, wanted),
        mu,
        n_steps=n_steps,
        step=METHODS[config.method].step,
        observe=observe,
    )
    return Generated(to_data_units(result.gaussian, setting), result.lowest), labels
