"""Checks of convex potentials: batches that networks share, colours, the steps of the conjugate."""

from typing import Any

import numpy as np

from refwfm.meta import icnn, w2gn
from refwfm.validation import plain_potentials as plain
from refwfm.validation.check import Check, roundings
from refwfm.validation.draws import Draw
from refwfm.validation.plain_potentials import adjoint
from refwfm.validation.textbook import relative

WELL = roundings(1000, "five ridges and a quadratic part at a few points")


def shared_check() -> Check:
    """Check of pullbacks where the batches of networks and clouds differ."""
    return Check(
        "complex-step derivative, value and map apart, of networks that some clouds share",
        shared_is_adjoint,
        _apart,
        {
            "of the value alone": lambda params, x, g, e: icnn.potential(params, x)[1](g),
            "of the map alone": lambda params, x, g, e: icnn.gradient_map(params, x)[1](e),
            "of one cloud": lambda params, x, g, e: _apart(params, x, g * _first(g), e * _first(e)),
        },
        WELL,
        dimensions=(2,),
        repeats=1,
        many_shapes=True,
    )


def _apart(params: Any, x: Any, g: Any, e: Any) -> Any:
    parts = icnn.potential(params, x)[1](g), icnn.gradient_map(params, x)[1](e)
    return {key: parts[0][0][key] + parts[1][0][key] for key in params}, parts[0][1] + parts[1][1]


def _first(values: np.ndarray) -> np.ndarray:
    return (np.arange(values.shape[2]) == 0).reshape(1, 1, -1, *[1] * (values.ndim - 3))


def shared_is_adjoint(pullback: Any, draw: Draw) -> float:
    """Two networks of a batch (2, 1), clouds of a batch (1, 2, 2): what is shared is summed over."""
    params, x = plain.random_icnn(draw, 2, 1), draw.normal(1, 2, 2, 2, draw.d)
    g, e = draw.normal(1, 2, 2, 2), draw.normal(1, 2, 2, 2, draw.d)
    d_params, d_x = draw.call(pullback, params, x, g, e)

    def value(tree: Any) -> Any:
        total = 0.0
        for i, j, k, n in np.ndindex(g.shape):
            one, point = plain.member(plain.member(tree["p"], j), 0), tree["x"][i, j, k, n]
            total = total + g[i, j, k, n] * plain.potential(one, point)
            total = total + e[i, j, k, n] @ plain.gradient(one, point)
        return total

    if d_x.shape != x.shape or any(d_params[key].shape != params[key].shape for key in params):
        return np.inf
    return adjoint({"p": d_params, "x": d_x}, {"p": params, "x": x}, value, draw)


def colour_check() -> Check:
    """Check of ``w2gn.transfer_colours``."""
    return Check(
        "plain NumPy, pixel by pixel",
        colours_are_moved,
        lambda params, picture: w2gn.transfer_colours(params, picture, rows=4),
        {
            "not clipped": lambda params, picture: icnn.gradient_map(params, picture)[0],
            "rows and columns exchanged": lambda params, picture: w2gn.transfer_colours(
                params, picture.swapaxes(0, 1)
            ).reshape(picture.shape),
        },
        WELL,
        dimensions=(3,),
        repeats=1,
        many_shapes=True,
    )


def colours_are_moved(move: Any, draw: Draw) -> float:
    """Of a picture of three by three pixels, some of which leave the box."""
    params, picture = plain.random_icnn(draw), draw.rounded(draw.rng.random((3, 3, draw.d)))
    truth = [[np.clip(plain.gradient(params, pixel), 0.0, 1.0) for pixel in row] for row in picture]
    return relative(draw.call(move, params, picture), np.array(truth), 1.0)


def conjugate_check() -> Check:
    """Check of the steps of ``w2gn.conjugate``."""
    return Check(
        "projected gradient by loops, a point at a time",
        steps_are_plain,
        lambda params, y, options: w2gn.conjugate(params, y, **options),
        {
            "one step more": lambda params, y, options: w2gn.conjugate(
                params, y, **options | {"max_iter": options["max_iter"] + 1}
            ),
            "one halving more": lambda params, y, options: w2gn.conjugate(
                params, y, **options | {"max_halvings": options["max_halvings"] + 1}
            ),
            "half of the tolerance": lambda params, y, options: w2gn.conjugate(
                params, y, **options | {"tol": 0.5 * options["tol"]}
            ),
            "all stop together": _together,
        },
        roundings(1e4, "four steps, each with a few digits of the last one's"),
        dimensions=(3,),
        repeats=1,
        everywhere=False,
    )


def _together(params: Any, y: Any, options: Any) -> Any:
    one = w2gn.conjugate(params, y, **options | {"max_iter": 1})
    moved = np.mean((one - np.clip(y, options["low"], options["high"])) ** 2)
    return one if moved < options["tol"] else w2gn.conjugate(params, y, **options | {"tol": 0.0})


def steps_are_plain(conjugate: Any, draw: Draw) -> float:
    """Three networks, of which one is steep, one flat; 30 points each, of which some stop early."""
    params, y = plain.random_icnn(draw, 3), draw.normal(3, 30, draw.d)
    params["quadratic"] = params["quadratic"] * np.array([0.3, 1.0, 3.0])[:, None, None]
    options = {"low": -1.0, "high": 1.5, "tol": 0.02, "max_iter": 4, "max_halvings": 4}
    truth = plain.over(lambda one, point: _descended(one, point, **options), params, y)
    return relative(draw.call(lambda params, y: conjugate(params, y, options), params, y), truth, 1.0)


def _descended(
    params: Any, y: np.ndarray, *, low: float, high: float, tol: float, max_iter: int, max_halvings: int
) -> np.ndarray:
    """Steps of length 1, halved until the value falls enough: by itself, or by the slope there."""
    x = np.clip(y, low, high)
    for _ in range(max_iter):
        slope = plain.gradient(params, x) - y
        for halvings in range(max_halvings + 1):
            new = np.clip(x - slope / 2**halvings, low, high)
            promised = 0.1 * slope @ (new - x)
            falls = plain.potential(params, new) - new @ y - plain.potential(params, x) + x @ y
            if falls <= promised or (plain.gradient(params, new) - y) @ (new - x) <= promised:
                break
        else:
            return x
        x, before = new, x
        if np.mean((x - before) ** 2) < tol:
            break
    return x
