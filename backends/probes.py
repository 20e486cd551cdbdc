"""A small real computation on each device, beside the same one on NumPy in float64: ``refwfm doctor``."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from refwfm.backends import Backend, load
from refwfm.bures import Tangent
from refwfm.measures import Gaussian
from refwfm.networks import identity_scaling, init_bures_mlp
from refwfm.training.optim import init_adam, tree_leaves, tree_map
from refwfm.training.regression import GaussianBatch

ROUNDING = 100.0
"""Machine epsilons of its largest number that a result may be off; on CPUs it is off by up to 7.

A product in TF32 is off by 5e-4, which is 4000 of float32's.
"""

LEARNING_RATE = 1e-3


class Probe(NamedTuple):
    """What a computation came to: its relative error, in machine epsilons, or in words why there is none."""

    name: str
    epsilons: float | None
    fault: str = ""

    @property
    def right(self) -> bool:
        """Whether it ran and is NumPy's to rounding."""
        return self.epsilons is not None and self.epsilons <= ROUNDING


def probe(backend: Backend, /) -> list[Probe]:
    """Run each computation of ``COMPUTATIONS`` on a backend; whatever it raises is its result."""
    found = []
    for name, computation in COMPUTATIONS.items():
        try:
            result = computation(backend)
            backend.synchronize()
            found.append(Probe(name, _epsilons(result, computation(load("numpy", dtype="float64")), backend)))
        except Exception as error:  # a driver, a kernel, a missing library: anything can go wrong there
            found.append(Probe(name, None, in_one_line(error)))
    return found


def in_one_line(error: BaseException, /) -> str:
    """What an error says, or what it is, in one line of at most 200 characters."""
    words = " ".join(str(error).split()) or type(error).__name__
    return words if len(words) <= 200 else words[:197] + "..."


def _epsilons(result: list[Any], truth: list[Any], backend: Backend) -> float:
    worst = 0.0
    for mine, right in zip(result, truth, strict=True):
        host = backend.to_numpy(mine).astype(np.float64)
        size = float(np.max(np.abs(right)))
        worst = max(worst, float(np.max(np.abs(host - right))) / (size or 1.0))
        if not np.all(np.isfinite(host)):
            return float("inf")
    return worst / float(np.finfo(backend.dtype).eps)


def sinkhorn(backend: Backend, /) -> list[Any]:
    """Potentials of two pairs of clouds after twenty iterations."""
    rng = np.random.default_rng(0)
    cost = backend.asarray(_rounded(rng.uniform(size=(2, 24, 24))))
    weights = backend.asarray(np.full((2, 24), 1.0 / 24))
    found = backend.ops.sinkhorn(cost, weights, weights, eps=0.1, tol=None, max_iter=20)
    return [found.f, found.g]


def bures_distance(backend: Backend, /) -> list[Any]:
    """Squared distances of two families of Gaussians."""
    rng = np.random.default_rng(1)
    families = [Gaussian(*map(backend.asarray, _gaussians(rng))) for _ in range(2)]
    return [backend.ops.pairwise_sq_distance(*families, validate=False)]


def network_step(backend: Backend, /) -> list[Any]:
    """Loss of a small network on a batch, and its parameters after a step of Adam."""
    rng = np.random.default_rng(2)
    params = init_bures_mlp(rng, 3, n_frequencies=4, like=np.zeros(0, np.float32), width=32, depth=2)
    # Zeros, which a last layer begins with, would leave nothing to compute.
    params = tree_map(lambda leaf: _rounded(leaf + 0.1 * rng.standard_normal(leaf.shape)), params)
    params = tree_map(backend.asarray, params)
    mu, target = Gaussian(*_gaussians(rng)), Tangent(*_gaussians(rng))
    batch = GaussianBatch(
        Gaussian(*map(backend.asarray, mu)),
        Tangent(*map(backend.asarray, target)),
        backend.asarray(_rounded(rng.uniform(size=8))),
        None,
    )
    scaling = identity_scaling(3, like=tree_leaves(params)[0])
    loss, grads = backend.ops.gaussian_loss_and_grad(params, scaling, batch, method="riemannian")
    norms = backend.ops.clip_by_global_norm(grads, 1.0)
    state = init_adam(params)
    params, _ = backend.ops.adam(params, norms[0], state, learning_rate=LEARNING_RATE)
    return [loss, norms[1], *tree_leaves(params)]


COMPUTATIONS: dict[str, Callable[[Backend], list[Any]]] = {
    "Sinkhorn": sinkhorn,
    "Bures distance": bures_distance,
    "network step": network_step,
}


def _gaussians(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    factor = rng.standard_normal((8, 3, 3))
    return _rounded(rng.standard_normal((8, 3))), _rounded(factor @ factor.mT + np.eye(3))


def _rounded(values: np.ndarray) -> np.ndarray:
    """Values that float32 holds, so that both sides are asked the same."""
    return np.asarray(values, dtype=np.float32).astype(np.float64)
