"""Meta OT between clouds whose points vary: a network that corrects the Gaussian potential at each point.

Every point is told where it is, what the closed form for Gaussians would give it, the moments of both clouds,
how large eps is, and a learned summary of either cloud (a mean over its points). All of this is the same in
any order of the points, and none of it has a unit: coordinates are relative to the middle and the size of the
pair. So the potential goes with the order of x, ignores that of y, and scales with the cost.

References
----------
META-OT : Amos, Luise, Cohen, Redko, "Meta Optimal Transport", ICML 2023.
Zaheer et al., "Deep Sets", 2017.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from refwfm._array import Array, array_namespace, check_floating, check_integer, sq_norm, transpose
from refwfm.clouds import check_cloud_pair
from refwfm.measures import PointCloud
from refwfm.networks.layers import Params, dense, init_dense, relu, vech
from refwfm.transport.gaussian_start import gaussian_potential
from refwfm.transport.problem import check_eps
from refwfm.transport.semidual import semidual_value_and_gradient
from refwfm.transport.sinkhorn import sq_euclidean_cost

if TYPE_CHECKING:
    from numpy.random import Generator


def init_cloud_potential(rng: "Generator", d: int, *, like: Array, width: int = 64) -> Params:
    """Draw the parameters of ``cloud_potential`` in dimension d.

    Returns
    -------
    dict
        ``point`` (what is summarised), ``in``, ``hidden``, ``out``, each a ``dense`` layer. The weights of
        ``out`` are zero: training starts at the Gaussian potential (META-OT-6).
    """
    check_integer(d, "d", low=1)
    check_integer(width, "width", low=1)
    n_pair = 2 * (d + d * (d + 1) // 2) + 1  # moments of both, eps
    return {
        "point": init_dense(rng, d + 1, width, like=like),
        "in": init_dense(rng, d + 2 + n_pair + 2 * width, width, like=like, scale=1.0),
        "hidden": init_dense(rng, width, width, like=like),
        "out": init_dense(rng, width, 1, like=like, scale=0.0),
    }


def cloud_potential(
    params: Params, x: PointCloud, y: PointCloud, /, *, eps: float | Array
) -> tuple[Array, Callable[[Array], Params]]:
    """Potential at the points of x, for the squared Euclidean cost, that the network predicts.

    Equation: META-OT-4. ``f = s² (gaussian / s² + out(h))``, s² the variance of both clouds about their
    middle.

    Parameters
    ----------
    params : dict
        As ``init_cloud_potential`` returns them.
    x, y : PointCloud, points (..., n, d) and (..., m, d); leading axes broadcast
    eps : float, or array of shape (...). Units: data squared.

    Returns
    -------
    f : array, shape (..., n), 0 at padding. Units: data squared.
    pullback : function
        ``d_f -> d_params``.

    Raises
    ------
    ValueError
        As ``gaussian_potential`` does; if the parameters are for another dimension.

    Examples
    --------
    >>> params = init_cloud_potential(np.random.default_rng(0), 1, like=np.zeros(0), width=4)
    >>> x, y = (PointCloud(np.eye(2)[:, :1] + m, np.full(2, 0.5)) for m in (0, 1))
    >>> cloud_potential(params, x, y, eps=0.1)[0].round(9).tolist()  # the Gaussian potential before training
    [-1.0, 1.0]
    """
    return _potential(params, *check_cloud_pair(x, y), eps)[:2]


def _potential(
    params: Params, x: PointCloud, y: PointCloud, eps: float | Array
) -> tuple[Array, Callable[[Array], Params], Array]:
    """``cloud_potential`` of checked clouds, and s²."""
    check_floating(x=x.points, **params["point"])
    d = x.points.shape[-1]
    if params["point"]["weight"].shape[0] != d + 1:
        raise ValueError(
            f"the parameters are for dimension {params['point']['weight'].shape[0] - 1}; got points in {d}"
        )
    xp = array_namespace(x.points)
    near, far, sq_size = _standardized(x, y)
    eps = check_eps(eps, sq_size)
    baseline = gaussian_potential(near, far)
    told_x, pull_x = _summary(params["point"], near)
    told_y, pull_y = _summary(params["point"], far)
    pair = xp.concat([*_moments(near), *_moments(far), _log_ratio(eps, sq_size)[..., None]], axis=-1)
    shape = baseline.shape
    width = told_x.shape[-1]

    def for_all(part: Array) -> Array:
        return xp.broadcast_to(part[..., None, :], (*shape, part.shape[-1]))

    points = xp.broadcast_to(near.points, (*shape, d))
    features = [points, sq_norm(points)[..., None], baseline[..., None]]
    features += [for_all(part) for part in (pair, told_x, told_y)]
    h, pull_in = dense(params["in"], xp.concat(features, axis=-1))
    h, pull_relu = relu(h)
    z, pull_hidden = dense(params["hidden"], h)
    z, pull_last = relu(z)
    correction, pull_out = dense(params["out"], z)
    live = xp.broadcast_to(near.weights > 0, shape)
    f = xp.where(live, baseline + correction[..., 0], xp.zeros_like(baseline)) * sq_size[..., None]

    def pullback(d_f: Array) -> Params:
        d_correction = xp.where(live, d_f, xp.zeros_like(d_f)) * sq_size[..., None]
        d_out, d_z = pull_out(d_correction[..., None])
        d_hidden, d_h = pull_hidden(pull_last(d_z))
        d_in, d_features = pull_in(pull_relu(d_h))
        d_told = xp.sum(d_features[..., -2 * width :], axis=-2)
        parts = pull_x(d_told[..., :width]), pull_y(d_told[..., width:])
        d_point = {name: parts[0][name] + parts[1][name] for name in parts[0]}
        return {"point": d_point, "in": d_in, "hidden": d_hidden, "out": d_out}

    return f, pullback, sq_size


def cloud_loss_and_grad(
    params: Params,
    x: PointCloud,
    y: PointCloud,
    /,
    *,
    eps: float | Array,
    semidual: Callable[..., tuple[Array, Array]] = semidual_value_and_gradient,
) -> tuple[Array, Params]:
    """Loss of Meta OT for clouds, ``-mean S(f)`` in units of each pair's size, and its gradient.

    Equation: META-OT-4. Divided by s², so that pairs count alike whatever their unit. ``semidual`` is the
    semi-dual's value and gradient, or a twin of it.

    Examples
    --------
    >>> params = init_cloud_potential(np.random.default_rng(0), 1, like=np.zeros(0), width=4)
    >>> x, y = (PointCloud(np.full((1, 1), m), np.ones(1)) for m in (0.0, 2.0))
    >>> float(cloud_loss_and_grad(params, x, y, eps=0.1)[0])  # -4 / 1
    -4.0
    """
    x, y = check_cloud_pair(x, y)
    f, pullback, sq_size = _potential(params, x, y, eps)
    cost = sq_euclidean_cost(x.points, y.points)
    value, gradient = semidual(f, cost, x.weights, y.weights, eps=eps, validate=False)
    xp, count = array_namespace(f), max(1, math.prod(value.shape))
    loss = -xp.sum(value / sq_size) / count
    return loss, pullback(gradient * (-1.0 / (count * sq_size[..., None])))


def standardized(x: PointCloud, y: PointCloud, /) -> tuple[PointCloud, PointCloud, Array]:
    """Clouds about the middle of both, in units of their common size s; and s², shape (...).

    Equation: META-OT-4. s² is the mean of the squared distances to the middle, over both clouds and
    coordinates; 1 where it is 0.

    Examples
    --------
    >>> x, y = (PointCloud(np.full((1, 1), m), np.ones(1)) for m in (0.0, 4.0))
    >>> near, far, sq_size = standardized(x, y)
    >>> near.points.tolist(), far.points.tolist(), float(sq_size)
    ([[-1.0]], [[1.0]], 4.0)
    """
    return _standardized(*check_cloud_pair(x, y))


def _standardized(x: PointCloud, y: PointCloud) -> tuple[PointCloud, PointCloud, Array]:
    xp, d = array_namespace(x.points), x.points.shape[-1]
    middle = 0.5 * (_mean(x) + _mean(y))
    centred = [xp.where((c.weights > 0)[..., None], c.points - middle[..., None, :], 0.0) for c in (x, y)]
    # Squares of the largest coordinate would overflow: first a unit of that size.
    largest = _largest(centred[0]) + _largest(centred[1])
    unit = xp.where(largest == 0, xp.ones_like(largest), largest)
    centred = [part / unit[..., None, None] for part in centred]
    spread = sum(
        xp.sum(c.weights * sq_norm(part), axis=-1) for c, part in zip((x, y), centred, strict=True)
    ) / (2.0 * d)
    size = xp.where(spread == 0, xp.ones_like(spread), spread) ** 0.5
    near, far = (
        PointCloud(part / size[..., None, None], xp.broadcast_to(c.weights, part.shape[:-1]))
        for c, part in zip((x, y), centred, strict=True)
    )
    return near, far, (unit * size) ** 2


def _mean(cloud: PointCloud) -> Array:
    return array_namespace(cloud.points).sum(cloud.weights[..., None] * cloud.points, axis=-2)


def _largest(points: Array) -> Array:
    xp = array_namespace(points)
    return xp.max(xp.abs(points), axis=(-2, -1))


def _moments(cloud: PointCloud) -> tuple[Array, Array]:
    """Mean (..., d) and lower triangle of the second moments about 0."""
    points, weights = cloud
    second = transpose(points) @ (weights[..., None] * points)
    return _mean(cloud), vech(second)[0]


def _log_ratio(eps: Array, sq_size: Array) -> Array:
    """``log(eps / s²) / 10``, between -2 and 2, beyond which nothing changes."""
    xp = array_namespace(sq_size)
    ratio = xp.log(eps) - xp.log(sq_size)
    most = xp.full_like(ratio, 20.0)
    return 0.1 * xp.where(ratio > most, most, xp.where(ratio < -most, -most, ratio))


def _summary(params: Params, cloud: PointCloud) -> tuple[Array, Callable[[Array], Params]]:
    """Mean over a cloud of ``relu(dense(point, |point|²))``, (..., width), and its pullback to parameters."""
    xp, (points, weights) = array_namespace(cloud.points), cloud
    z, pull_dense = dense(params, xp.concat([points, sq_norm(points)[..., None]], axis=-1))
    h, pull_relu = relu(z)

    def pullback(d_told: Array) -> Params:
        d_params: Params = pull_dense(pull_relu(weights[..., None] * d_told[..., None, :]))[0]
        return d_params

    return xp.sum(weights[..., None] * h, axis=-2), pullback
