"""Audited generation of point clouds (Algorithm 3), and the conditional flow that reaches its target."""

import itertools
from importlib import import_module

import numpy as np
import scipy.integrate
import scipy.optimize

from refwfm._array import array_namespace, device, to_host
from refwfm.generation import RUNGE_KUTTA, generate_clouds, time_steps
from refwfm.measures import PointCloud
from refwfm.transport.exact import assignment
from refwfm.validation.check import Check, Item, Tolerance, roundings, worst_of
from refwfm.validation.textbook import each, relative

POINTS = 5


def items() -> list[Item]:
    """Return the items in the order of the paper."""
    return [algorithm_3(), prop_3_1_clouds()]


# Algorithm 3


def algorithm_3() -> Item:
    """Generation of point clouds."""
    return Item(
        id="WFM-Alg3",
        paper="WFM",
        place="Algorithm 3",
        title="generation of point clouds",
        latex=r"\hat X\leftarrow\hat X+h\,f(\hat X,kh),\quad k=0,\dots,N-1,\ h=1/N",
        statement="Steps along the field: exact on straight lines, of order 1, 2, 2, 4 on others.",
        functions=(generate_clouds, time_steps),
        checks=(
            Check(
                "straight lines to the targets, for 1, 2, 5 and 10 steps",
                straight_lines_are_exact,
                generate_clouds,
                {
                    "velocity of the middle of the step": _stepped(late=0.5),
                    "without h": _stepped(scale=lambda h: 1.0),
                    "one step too few": _stepped(missing=1),
                    "times backwards": _stepped(backwards=True),
                },
                roundings(300, "a division by 1 - t for each of at most 10 steps"),
            ),
            Check(
                "NumPy's permutations",
                order_of_points_does_not_matter,
                generate_clouds,
                {
                    "the first point stands still": _stepped(rows=lambda n: np.arange(n) > 0),
                    "later points are faster": _stepped(rows=lambda n: 1.0 + 0.1 * np.arange(n)),
                },
                roundings(300, "three steps of a field of slope about 4"),
            ),
            Check(
                "exponential series and quadrature rules",
                methods_are_the_textbooks,
                generate_clouds,
                {
                    "weights ¼ each instead of ⅙, ⅓, ⅓, ⅙": _runge_kutta(rk4=((0, 0.5, 0.5, 1), (0.25,) * 4)),
                    "midpoint at the end of the step": _runge_kutta(midpoint=((0.0, 1.0), (0.0, 1.0))),
                    "trapezium of the first slope only": _runge_kutta(heun=((0.0, 1.0), (1.0, 0.0))),
                    "euler at the middle of the step": _runge_kutta(euler=((0.5,), (1.0,))),
                },
                roundings(300, "four slopes of at most 4 steps"),
            ),
            Check(
                "SciPy solve_ivp (DOP853)",
                methods_have_their_order,
                generate_clouds,
                {
                    "weights ¼ each instead of ⅙, ⅓, ⅓, ⅙": _runge_kutta(rk4=((0, 0.5, 0.5, 1), (0.25,) * 4)),
                    "midpoint at the start of the step": _runge_kutta(midpoint=((0.0, 0.0), (0.0, 1.0))),
                    "trapezium of the first slope only": _runge_kutta(heun=((0.0, 1.0), (1.0, 0.0))),
                },
                Tolerance(0.5, 0.5, "the order seen is that of a few steps, not of the limit"),
                dimensions=(1, 3),
            ),
        ),
    )


def _stepped(late=0.0, scale=lambda h: h, missing=0, backwards=False, rows=None):
    """Algorithm 3 with one thing wrong."""

    def generated(field, source, *, n_steps, observe=lambda k, cloud: None):
        h, cloud = 1.0 / n_steps, source
        for k in range(n_steps - missing):
            time = 1.0 - (k + 1) * h if backwards else (k + late) * h
            v = field(cloud, np.full(len(cloud.points), time))
            v = v if rows is None else rows(v.shape[1])[:, None] * v
            cloud = PointCloud(cloud.points + scale(h) * v, source.weights)
            observe(k + 1, cloud)
        return cloud

    return generated


def _runge_kutta(**wrong):
    """Algorithm 3 with other methods under the same names."""

    def generated(field, source, *, n_steps, method="euler"):
        stages, final = {**RUNGE_KUTTA, **wrong}[method]
        h, x = 1.0 / n_steps, source.points
        for k in range(n_steps):
            slopes = [np.zeros_like(x)]
            for shift in stages:
                moved = PointCloud(x + h * shift * slopes[-1], source.weights)
                slopes.append(field(moved, np.full(len(x), (k + shift) * h)))
            x = x + h * sum(weight * slope for weight, slope in zip(final, slopes[1:], strict=True))
        return PointCloud(x, source.weights)

    return generated


def _on_host(field, draw):
    """A field that is written for the host, for clouds on the backend."""

    def velocity(cloud, t):
        return draw.to_backend(field(PointCloud(*draw.to_host(tuple(cloud))), draw.to_host(t)))

    return velocity


def _clouds(draw):
    points = draw.normal(draw.size, POINTS, draw.d)
    return PointCloud(points, np.full(points.shape[:2], 1.0 / POINTS))


def _matched(x, y):
    """Targets of points x (B, n, d) under SciPy's best assignment to y."""
    cost = np.sum((x[:, :, None] - y[:, None]) ** 2, axis=-1)
    return np.stack([z[scipy.optimize.linear_sum_assignment(k)[1]] for z, k in zip(y, cost, strict=True)])


def straight_lines_are_exact(generate, draw):
    """Clouds on the way of the field ``(Y_σ - X_t) / (1 - t)``, σ the assignment at each step.

    Against points on straight lines to the targets that the first assignment gives them.
    """
    source, y = _clouds(draw), draw.normal(draw.size, POINTS, draw.d)

    def field(cloud, t):
        return (_matched(cloud.points, y) - cloud.points) / (1.0 - t)[:, None, None]

    images, worst = _matched(source.points, y), 0.0
    for n_steps in (1, 2, 5, 10):
        seen = {}
        end = draw.call(
            generate, _on_host(field, draw), source, n_steps=n_steps, observe=seen.__setitem__
        ).points
        for k, points in [(k, draw.to_host(cloud.points)) for k, cloud in seen.items()] + [(n_steps, end)]:
            t = k / n_steps
            worst = worst_of(worst, relative(points, (1.0 - t) * source.points + t * images))
    return worst


def _curved(cloud, t):
    """A smooth field that depends on the place, on the cloud's mean and on time."""
    mean = np.sum(cloud.weights[..., None] * cloud.points, axis=1, keepdims=True)
    return np.sin(cloud.points + 3.0 * t[:, None, None]) - 0.5 * mean


def order_of_points_does_not_matter(generate, draw):
    """Points of a permuted cloud, brought back, against those of the cloud."""
    source, order = _clouds(draw), draw.rng.permutation(POINTS)
    while np.array_equal(order, np.arange(POINTS)):
        order = draw.rng.permutation(POINTS)
    moved = PointCloud(source.points[:, order], source.weights)
    ends = [draw.call(generate, _on_host(_curved, draw), cloud, n_steps=3) for cloud in (source, moved)]
    return relative(ends[1].points, ends[0].points[:, order])


def methods_are_the_textbooks(generate, draw):
    """Fields ``x`` (a truncated exponential series) and ``t⁴`` (left, midpoint, trapezium, Simpson's)."""
    source, n_steps, worst = _clouds(draw), 4, 0.0
    h, left = 1.0 / n_steps, np.arange(n_steps) / n_steps
    terms = {"euler": 2, "midpoint": 3, "heun": 3, "rk4": 5}
    nodes = {
        "euler": ((0.0, 1.0),),
        "midpoint": ((0.5, 1.0),),
        "heun": ((0.0, 0.5), (1.0, 0.5)),
        "rk4": ((0.0, 1 / 6), (0.5, 4 / 6), (1.0, 1 / 6)),
    }
    factorials = np.array([1.0, 1.0, 2.0, 6.0, 24.0])
    for method, count in terms.items():
        growth = np.sum(h ** np.arange(count) / factorials[:count]) ** n_steps
        shift = sum(h * weight * np.sum((left + h * node) ** 4) for node, weight in nodes[method])
        for field, truth in (
            (lambda cloud, t: cloud.points, growth * source.points),
            (lambda cloud, t: 0.0 * cloud.points + t[:, None, None] ** 4, source.points + shift),
        ):
            end = draw.call(generate, _on_host(field, draw), source, n_steps=n_steps, method=method)
            worst = worst_of(worst, relative(end.points, truth))
    return worst


def methods_have_their_order(generate, draw):
    """How far the order, seen as steps are doubled, falls short of 1, 2, 2 and 4."""
    source, worst = _clouds(draw), 0.0
    shape = source.points.shape

    def slope(t, y):
        cloud = PointCloud(y.reshape(shape), source.weights)
        return _curved(cloud, np.full(len(cloud.points), t)).ravel()

    path = scipy.integrate.solve_ivp(
        slope, (0.0, 1.0), source.points.ravel(), method="DOP853", rtol=1e-13, atol=1e-13
    )
    truth = path.y[:, -1].reshape(shape)
    for method, order in {"euler": 1, "midpoint": 2, "heun": 2, "rk4": 4}.items():
        n_steps = 4 if method == "rk4" else 16
        few, many = (
            np.max(
                np.abs(
                    draw.call(generate, _on_host(_curved, draw), source, n_steps=k, method=method).points
                    - truth
                )
            )
            for k in (n_steps, 2 * n_steps)
        )
        worst = worst_of(worst, order - np.log2(few / many))
    return worst


# Proposition 3.1 for clouds


def prop_3_1_clouds() -> Item:
    """The conditional flow of clouds reaches its target."""
    return Item(
        id="WFM-Prop3.1-clouds",
        paper="WFM",
        place="Proposition 3.1 and Corollary B.3, for point clouds",
        title="the conditional flow of clouds reaches its target",
        latex=(
            r"f(X_t,t)=\frac{Y_{\sigma_t}-X_t}{1-t}\ \Rightarrow\ X_1=Y_\sigma,"
            r"\qquad W_2(\mu_t,\nu)=(1-t)\,W_2(\mu,\nu)"
        ),
        statement="Under the conditional field every source cloud ends at nu, at constant speed.",
        functions=(generate_clouds,),
        checks=(
            Check(
                "exhaustive search over all matchings, on the way and at the end",
                flow_reaches_the_target,
                lambda x, y, n: _flow(x, y, n, 1.0),
                {
                    "field of half the speed": lambda x, y, n: _flow(x, y, n, 0.5),
                    "field with the printed factor 2 of eq. 21": lambda x, y, n: _flow(x, y, n, 2.0),
                    "points matched as they come": lambda x, y, n: _flow(x, y, n, 1.0, match=_as_they_come),
                    "points sent to their nearest": lambda x, y, n: _flow(x, y, n, 1.0, match=_nearest),
                },
                roundings(1000, "ten divisions by 1 - t, and a root of a sum of squares"),
                dimensions=(2, 3, 6),
            ),
            Check(
                "POT",
                distance_to_the_target_shrinks,
                lambda x, y, n: _flow(x, y, n, 1.0),
                {
                    "field of half the speed": lambda x, y, n: _flow(x, y, n, 0.5),
                    "points matched as they come": lambda x, y, n: _flow(x, y, n, 1.0, match=_as_they_come),
                },
                roundings(1000, "ten divisions by 1 - t, and a root of a sum of squares"),
                dimensions=(2, 3, 6),
                needs="ot",
            ),
        ),
    )


def _as_they_come(cost):
    return np.arange(len(cost))


def _nearest(cost):
    return np.argmin(cost, axis=1)


def _flow(x, y, n_steps, speed, match=assignment):
    """All clouds of Algorithm 3 under ``speed (Y_σ - X) / (1 - t)``, σ the best matching of the moment."""
    xp, points = array_namespace(x), []

    def field(cloud, t):
        images = []
        for i in range(x.shape[0]):
            cost = np.sum((to_host(cloud.points)[i][:, None] - to_host(y)[i]) ** 2, axis=-1)
            images.append(xp.take(y[i, ...], xp.asarray(match(cost), device=device(x)), axis=0))
        return speed * (xp.stack(images) - cloud.points) / (1.0 - t)[:, None, None]

    source = PointCloud(x, xp.full_like(x[..., 0], 1.0 / x.shape[1]))
    generate_clouds(field, source, n_steps=n_steps, observe=lambda k, cloud: points.append(cloud.points))
    return points


def _exhaustive_distance(x, y):
    """``W2`` of uniform clouds of equal size, over all matchings."""
    cost = np.sum((x[:, None] - y) ** 2, axis=-1)
    permutations = np.array(list(itertools.permutations(range(len(x)))))
    return np.sqrt(np.min(np.mean(cost[np.arange(len(x)), permutations], axis=1)))


def _pot_distance(x, y):
    ot = import_module("ot.lp")
    cost, weights = np.sum((x[:, None] - y) ** 2, axis=-1), np.full(len(x), 1.0 / len(x))
    return np.sqrt(ot.emd2(weights, weights, cost))


def flow_reaches_the_target(flow, draw):
    """Distance to nu after each of 1, 3 and 10 steps against ``(1 - t) W2``; 0 at the end."""
    return _error_of_distance(flow, draw, _exhaustive_distance, (1, 3, 10))


def distance_to_the_target_shrinks(flow, draw):
    """Distance to nu at the times k / 10 against ``(1 - t) W2``."""
    return _error_of_distance(flow, draw, _pot_distance, (10,))


def _error_of_distance(flow, draw, distance, numbers_of_steps):
    x, y = (draw.normal(draw.size, POINTS, draw.d) for _ in range(2))
    whole, worst = each(distance, x, y), 0.0
    for n_steps in numbers_of_steps:
        for k, points in enumerate(draw.call(flow, x, y, n_steps)):
            left = each(distance, points, y)
            worst = worst_of(worst, relative(left, (1.0 - k / n_steps) * whole, whole))
    return worst
