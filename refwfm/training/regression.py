"""Flow matching is a regression: a batch of points of geodesics, the loss there, and its gradient."""

from collections.abc import Callable
from typing import Any, NamedTuple

from refwfm._array import Array
from refwfm.measures import Gaussian
from refwfm.networks import bures_mlp, transformer
from refwfm.objectives import cloud_loss
from refwfm.training.methods import METHODS
from refwfm.training.optim import Tree


class GaussianBatch(NamedTuple):
    """Points of random geodesics: mu_t, the velocity there, t (B,), labels (B,) or None; plans are exact."""

    mu_t: Gaussian
    target: Any
    t: Array
    labels: Array | None
    plan_error: float = 0.0
    plan_iterations: int = 0


class CloudBatch(NamedTuple):
    """Points of random paths of clouds, and their velocities.

    Attributes
    ----------
    points : array, shape (B, n, d)
    weights : array, shape (B, n), 0 for padding
    target : array, shape (B, n, d)
    t : array, shape (B,)
    labels : array of integers, shape (B,), or None
    plan_error : array, shape ()
        L1 marginal error of the worst inner plan.
    plan_iterations : int
        Iterations of Sinkhorn for the slowest.
    """

    points: Array
    weights: Array
    target: Array
    t: Array
    labels: Array | None
    plan_error: Array | float = 0.0
    plan_iterations: int = 0


def gaussian_loss_and_grad(
    params: Tree,
    scaling: dict[str, Array],
    batch: GaussianBatch,
    /,
    *,
    method: str,
    network: Callable[..., Any] = bures_mlp,
) -> tuple[Array, Tree]:
    """Loss of the network on a batch of Gaussians, and its gradient in the parameters.

    Equation: WFM-Alg1. Of the objective WFM-11. Value of shape (), gradient a tree like ``params``.

    Parameters
    ----------
    method : str
    network : callable
        ``bures_mlp``, or a twin of it.

    Examples
    --------
    >>> from refwfm.bures import Tangent
    >>> from refwfm.networks import identity_scaling, init_bures_mlp
    >>> like, mu, rng = np.zeros(0), Gaussian(np.zeros((1, 1)), np.ones((1, 1, 1))), np.random.default_rng(0)
    >>> params, scaling = init_bures_mlp(rng, 1, like=like, width=4), identity_scaling(1, like=like)
    >>> batch = GaussianBatch(mu, Tangent(np.full((1, 1), 3.0), np.zeros((1, 1, 1))), np.zeros(1), None)
    >>> float(gaussian_loss_and_grad(params, scaling, batch, method="riemannian")[0])  # 3², of the zero field
    9.0
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}; got {method!r}")
    chosen = METHODS[method]
    output, pullback = network(params, scaling, batch.mu_t, batch.t, batch.labels)
    value, derivative = chosen.loss(chosen.velocity(*output), batch.target, batch.mu_t)
    return value, pullback(tuple(derivative))


def cloud_loss_and_grad(
    params: Tree, batch: CloudBatch, /, *, heads: int, network: Callable[..., Any] = transformer
) -> tuple[Array, Tree]:
    """Loss of the network on a batch of point clouds, and its gradient in the parameters.

    Equation: WFM-Alg1-clouds. Of the objective WFM-U7. Value of shape (), gradient a tree like ``params``.

    Parameters
    ----------
    heads : int
    network : callable
        ``transformer``, or a twin of it.

    Examples
    --------
    >>> from refwfm.networks import init_transformer
    >>> params = init_transformer(np.random.default_rng(0), 1, like=np.zeros(0), width=4, heads=1)
    >>> points, half = np.zeros((1, 2, 1)), np.full((1, 2), 0.5)
    >>> batch = CloudBatch(points, half, points + 3.0, np.zeros(1), None)
    >>> float(cloud_loss_and_grad(params, batch, heads=1)[0])  # 3², of the zero field
    9.0
    """
    output, pullback = network(params, batch.points, batch.weights > 0, batch.t, batch.labels, heads=heads)
    value, derivative = cloud_loss(output, batch.target, batch.weights)
    return value, pullback(derivative)


def cloud_velocity(
    params: Tree,
    points: Array,
    mask: Array | None,
    t: Array,
    labels: Array | None = None,
    /,
    *,
    heads: int,
) -> Array:
    """Velocity of every point of clouds (B, n, d) at times (B,): ``transformer`` without its pullback.

    Equation: WFM-Alg3-network. What a step of generation asks of a network. Arguments and errors as for
    ``transformer``.

    Examples
    --------
    >>> from refwfm.networks import init_transformer
    >>> params = init_transformer(np.random.default_rng(0), 1, like=np.zeros(0), width=4, heads=1)
    >>> cloud_velocity(params, np.ones((1, 2, 1)), None, np.zeros(1), heads=1).tolist()  # the zero field
    [[[0.0], [0.0]]]
    """
    velocity: Array = transformer(params, points, mask, t, labels, heads=heads)[0]
    return velocity
