"""Derivatives that functions have on torch, held against differences of their values on NumPy.

Where a function hands torch the derivative of a formula (of a root, a distance, a plan), that formula is
audited here: by values along random directions, which know nothing of it. Once, in float64.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from refwfm import bures, psd
from refwfm._array import asarray_like
from refwfm.measures import Gaussian, PointCloud
from refwfm.transport import exact, semidual
from refwfm.transport.entropic import sinkhorn_divergence
from refwfm.transport.grids import Grid
from refwfm.validation import textbook
from refwfm.validation.check import EXACT, Check, Tolerance
from refwfm.validation.draws import Draw, symmetric

LIMITED = Tolerance(1e-7, 1e-7, "fourth-order differences, 1e-8, of values in float64")


class Directed(NamedTuple):
    """An argument, and the direction in which it is moved."""

    at: np.ndarray
    along: np.ndarray


def gradient_check(
    function: Callable[..., Any],
    arguments: Callable[[Draw], list[Directed]],
    controls: dict[str, Callable[..., Any]],
    /,
    *,
    what: str = "",
    dimensions: tuple[int, ...] = (1, 2, 3),
) -> Check:
    """Check of a function of arrays, on torch, in each of its arguments.

    Parameters
    ----------
    function : callable
        Takes arrays of NumPy or torch.
    arguments : callable
        ``draw -> list of Directed``.
    controls : dict
        Functions whose values or gradients are wrong.
    what : str
        What is special about the arguments, for the name of the check.
    """

    def slopes_are_differences(implementation: Callable[..., Any], draw: Draw) -> float:
        """Slopes along a random direction of each argument, relative to the largest of them."""
        import torch

        given = arguments(draw)
        seed = draw.normal(*np.shape(function(*(each.at for each in given))))
        tensors = [torch.asarray(each.at, requires_grad=True) for each in given]
        value = (implementation(*tensors) * torch.asarray(seed)).sum()
        gradients = torch.autograd.grad(value, tensors, materialize_grads=True)
        found = [np.sum(g.numpy() * each.along) for g, each in zip(gradients, given, strict=True)]

        def moved(k: int, t: float) -> float:
            places = (each.at + t * each.along if i == k else each.at for i, each in enumerate(given))
            return float(np.sum(seed * function(*places)))

        truth = [textbook.derivative(lambda t, k=k: moved(k, t)) for k in range(len(given))]
        return textbook.relative(np.stack(found), np.asarray(truth), np.max(np.abs(truth)))

    return Check(
        "slopes by differences (torch)" + (f", {what}" if what else ""),
        slopes_are_differences,
        function,
        controls,
        LIMITED,
        dimensions=dimensions,
        repeats=1,
        needs="torch",
        everywhere=False,
    )


def detached(function: Callable[..., Any], *places: int) -> Callable[..., Any]:
    """The function, with these arguments as constants to torch."""
    return lambda *arrays: function(*(x.detach() if i in places else x for i, x in enumerate(arrays)))


# Gaussians


def covariance_of(draw: Draw, *size: int) -> Directed:
    """A covariance, or several, and a symmetric direction."""
    cov = draw.covariances(size=size[0] if size else 1)
    return _along(cov if size else cov[0], draw, symmetric)


def root_checks() -> tuple[Check, ...]:
    """Roots of covariances."""
    return tuple(
        gradient_check(
            root,
            lambda draw: [covariance_of(draw, draw.size)],
            {"half of it": lambda cov, root=root: 0.5 * root(cov), "of the other root": other},
            what=root.__name__,
        )
        for root, other in ((psd.sqrtm, psd.inv_sqrtm), (psd.inv_sqrtm, psd.sqrtm))
    )


def distance_checks() -> tuple[Check, ...]:
    """Distances between Gaussians: each with each, a family with one, a family with a family, by factors."""
    cases = (
        ("pairs", _sq_distance, lambda draw: _gaussians(draw, (draw.size,), (draw.size,))),
        ("a family and one", _sq_distance, lambda draw: _gaussians(draw, (draw.size,), (1,))),
        ("all pairs", _pairwise, lambda draw: _gaussians(draw, (3,), (4,))),
        ("factors", bures.factored_sq_distance, lambda draw: _factors(draw, (draw.size,), ())),
    )
    distances = (
        gradient_check(
            function,
            arguments,
            {"half of it": lambda *a, f=function: 0.5 * f(*a), "one constant": detached(function, 3)},
            what=what,
        )
        for what, function, arguments in cases
    )
    norm = gradient_check(
        psd.nuclear_norm,
        lambda draw: [_along(draw.normal(draw.size, draw.d, draw.d), draw)],
        {
            "half of it": lambda matrix: 0.5 * psd.nuclear_norm(matrix),
            "Frobenius norm": lambda matrix: (matrix**2).sum((-2, -1)) ** 0.5,
        },
        what="nuclear norm",
    )
    return *distances, norm


def _sq_distance(*arrays: Any) -> Any:
    return bures.sq_distance(Gaussian(*arrays[:2]), Gaussian(*arrays[2:]))


def _pairwise(*arrays: Any) -> Any:
    return bures.pairwise_sq_distance(Gaussian(*arrays[:2]), Gaussian(*arrays[2:]))


def _gaussians(draw: Draw, *sizes: tuple[int, ...]) -> list[Directed]:
    found = []
    for size in sizes:
        found += [_along(draw.normal(*size, draw.d), draw), covariance_of(draw, *size)]
    return found


def _factors(draw: Draw, *sizes: tuple[int, ...]) -> list[Directed]:
    found = []
    for size in sizes:
        factor = psd.factor(covariance_of(draw, *size).at)
        found += [_along(draw.normal(*size, draw.d), draw), _along(factor, draw)]
    return found


# Clouds


def exact_distance_check() -> Check:
    """Squared distance between clouds, on the line and in space."""
    return gradient_check(
        _sq_wasserstein2,
        _clouds,
        {
            "half of it": lambda *arrays: 0.5 * _sq_wasserstein2(*arrays),
            "constant points": detached(_sq_wasserstein2, 0),
            "constant weights": detached(_sq_wasserstein2, 3),
        },
    )


def plan_check() -> Check:
    """Cost of an optimal plan."""

    def arguments(draw: Draw) -> list[Directed]:
        cost = _along(draw.rng.random((2, 4, 5)), draw)
        return [cost, *(_weights(draw, 2, n) for n in (4, 5))]

    return gradient_check(
        _plan_cost,
        arguments,
        {
            "half of it": lambda *arrays: 0.5 * _plan_cost(*arrays),
            "constant cost": detached(_plan_cost, 0),
            "constant weights": detached(_plan_cost, 1, 2),
        },
        dimensions=(1, 2),
    )


def divergence_check() -> Check:
    """Sinkhorn divergence."""
    return gradient_check(
        _divergence,
        lambda draw: [*_clouds(draw), Directed(np.asarray(4.0), np.asarray(1.0))],
        {
            "half of it": lambda *arrays: 0.5 * _divergence(*arrays),
            "constant weights": detached(_divergence, 1, 3),
            "constant eps": detached(_divergence, 4),
        },
        dimensions=(2,),
    )


def semidual_checks() -> tuple[Check, ...]:
    """Value of a potential: for a cost matrix, where an atom weighs nothing, and on a grid."""

    def matrix(draw: Draw) -> list[Directed]:
        f, cost = _along(draw.normal(2, 4), draw), _along(draw.rng.random((2, 4, 5)), draw)
        a = _weights(draw, 2, 3)
        a = Directed(*(np.pad(part, [(0, 0), (0, 1)]) for part in a))
        return [f, cost, a, _weights(draw, 2, 5)]

    def on_grid(draw: Draw) -> list[Directed]:
        return [_along(draw.normal(2, 6), draw), *(_weights(draw, 2, 6) for _ in range(2))]

    return tuple(
        gradient_check(
            function,
            arguments,
            {
                "half of it": lambda *arrays, f=function: 0.5 * f(*arrays),
                **{f"constant {name}": detached(function, k) for k, name in enumerate(names)},
            },
            what=f"semi-dual, {what}",
            dimensions=(1,),
        )
        for what, function, arguments, names in (
            ("a cost matrix", _semidual, matrix, ("f", "cost", "a", "b")),
            ("a grid", _grid_semidual, on_grid, ("f", "a", "b")),
        )
    )


def masked_check() -> Check:
    """Slopes at an atom without weight, of which no direction of the weights tells."""

    def slopes_are_zero(slopes: Callable[..., Any], draw: Draw) -> float:
        """What the value hands to f and a there, and to the costs of that row."""
        f, cost, b = draw.normal(4), draw.rng.random((4, 5)), draw.weights(5)
        f[3] = 0.0
        return float(np.max(np.abs(np.concatenate([*slopes(f, cost, np.append(draw.weights(3), 0.0), b)]))))

    def slopes(*arrays: np.ndarray) -> list[np.ndarray]:
        import torch

        tensors = [torch.asarray(each, requires_grad=True) for each in arrays]
        value = semidual.kl_dual_value(*tensors, eps=0.7, validate=False)  # which would make the sums 1
        d_f, d_cost, d_a, _ = torch.autograd.grad(value, tensors)
        return [d_f.numpy()[3:], d_cost.numpy()[3], d_a.numpy()[3:]]

    return Check(
        "no slopes where there is no weight (torch)",
        slopes_are_zero,
        slopes,
        {
            "those of another atom": lambda f, cost, a, b: slopes(
                *(part[::-1].copy() for part in (f, cost, a)), b
            )
        },
        EXACT,
        dimensions=(1,),
        repeats=1,
        needs="torch",
        everywhere=False,
    )


def _semidual(*arrays: Any) -> Any:
    return semidual.kl_dual_value(*arrays, eps=0.7)


def _grid_semidual(f: Any, a: Any, b: Any) -> Any:
    grid = Grid(tuple(asarray_like(axis, f) for axis in ([0.0, 0.4, 1.0], [0.0, 0.7])))
    return semidual.kl_dual_value(f, grid, a, b, eps=0.7)


def _sq_wasserstein2(*arrays: Any) -> Any:
    return exact.sq_wasserstein2(PointCloud(*arrays[:2]), PointCloud(*arrays[2:]), n_jobs=1)


def _plan_cost(*arrays: Any) -> Any:
    return exact.transport_plan(*arrays).cost


def _divergence(*arrays: Any) -> Any:
    x, y, eps = PointCloud(*arrays[:2]), PointCloud(*arrays[2:4]), arrays[4]
    return sinkhorn_divergence(x, y, eps=eps, tol=1e-13).value


def _clouds(draw: Draw) -> list[Directed]:
    found = []
    for n in (4, 6):
        found += [_along(draw.normal(2, n, draw.d), draw), _weights(draw, 2, n)]
    return found


def _weights(draw: Draw, size: int, n: int) -> Directed:
    """Weights, and a direction in which their sum stays 1."""
    along = draw.normal(size, n)
    weights = draw.rng.dirichlet(np.full(n, 5.0), size)
    return Directed(weights, 0.1 * weights.min() * (along - along.mean(axis=-1, keepdims=True)))


def _along(at: np.ndarray, draw: Draw, shape: Callable[[np.ndarray], np.ndarray] = np.asarray) -> Directed:
    return Directed(at, 0.1 * shape(draw.normal(*at.shape)))
