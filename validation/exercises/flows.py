"""Chapter 5: flow matching."""

import numpy as np

from refwfm.validation.exercises.exercise import Exercise, Function, batched
from refwfm.validation.items import (
    cloud_loss,
    meta_fm_metrics,
    meta_fm_objective,
    meta_fm_oracles,
    plan_curves,
)


def exercises() -> list[Exercise]:
    """Return the exercises in their order."""
    return [line(), loss(), meeting(), denoising(), heun()]


# ex-21


def line() -> Exercise:
    """Path and target."""
    return Exercise(
        id="ex-21",
        title="what is learned from: a point on the way, and its velocity",
        stub='''\
def line(x0, x1, t):
    """Points on straight lines from x0 to x1, each at its own time, and their velocities (META-FM-8).

    Parameters
    ----------
    x0, x1 : arrays, shape (n, d): where particles start at t = 0, and where they are at t = 1
    t : array, shape (n,), one time for each particle

    Returns
    -------
    place, velocity : tuple of arrays, shape (n, d)

    Examples
    --------
    >>> place, velocity = line(np.array([[0.0]]), np.array([[4.0]]), np.array([0.25]))
    >>> place.tolist(), velocity.tolist()
    ([[1.0]], [[4.0]])
    """
''',
        item="META-FM-8",
        oracle="lines by loops",
        residual=meta_fm_objective.lines,
        adapt=lambda f: lambda x0, x1, t: batched(f, x0, x1, t),
        mistakes={
            "Time runs backwards: at t = 0 a particle is at x0.": lambda x0, x1, t: (
                t[:, None] * x0 + (1.0 - t[:, None]) * x1,
                x1 - x0,
            ),
            "The sign of the velocity is wrong: from x0 to x1 it is x1 - x0.": lambda x0, x1, t: (
                x0 + t[:, None] * (x1 - x0),
                x0 - x1,
            ),
            "The velocity is multiplied by t: a particle goes at the same speed all the way.": (
                lambda x0, x1, t: (x0 + t[:, None] * (x1 - x0), t[:, None] * (x1 - x0))
            ),
            "This is the way that is left, x1 - x_t: it must be divided by the time that is left, 1 - t.": (
                lambda x0, x1, t: (x0 + t[:, None] * (x1 - x0), (1.0 - t[:, None]) * (x1 - x0))
            ),
            "All particles are at the time of the first: each has its own.": lambda x0, x1, t: (
                x0 + t[0] * (x1 - x0),
                x1 - x0,
            ),
            "The velocity is x1: it is measured from x0.": lambda x0, x1, t: (
                x0 + t[:, None] * (x1 - x0),
                x1,
            ),
        },
        hints=(
            "t has the shape (n,), the points (n, d): t[:, None] multiplies rows.",
            "(1 - t) x0 + t x1; what is its derivative in t?",
            "x0 + t[:, None] * (x1 - x0), x1 - x0.",
        ),
    )


# ex-22


def loss() -> Exercise:
    """Loss of a cloud."""
    return Exercise(
        id="ex-22",
        title="the loss of a cloud",
        stub='''\
def cloud_loss(pred, target, a):
    """Mean of |pred_i - target_i|^2 over the points of a cloud, as a measure (WFM-U7).

    A point that is split into two halves must change nothing.

    Parameters
    ----------
    pred, target : arrays, shape (n, d): predicted velocities, and those of the path
    a : array, shape (n,), weights of the points, which sum to 1; those of padding are 0

    Returns
    -------
    float

    Examples
    --------
    >>> pred, target = np.array([[3.0, 4.0], [0.0, 0.0]]), np.zeros((2, 2))
    >>> float(cloud_loss(pred, target, np.array([0.2, 0.8])))
    5.0
    """
''',
        item="WFM-U7",
        oracle="NumPy, cloud by cloud and point by point",
        residual=cloud_loss.loss_is_the_mean_over_the_measure,
        adapt=lambda f: lambda *batch: (np.mean(batched(f, *batch)), 0.0),
        mistakes={
            "This is the sum over the points, as the paper prints it: large clouds then count more.": (
                lambda p, q, a: np.sum((p - q) ** 2)
            ),
            "The mean is over the rows, padding too: use the weights.": lambda p, q, a: np.mean(
                np.sum((p - q) ** 2, axis=-1)
            ),
            "The mean is over points and coordinates: coordinates are summed, |.|^2.": lambda p, q, a: (
                np.mean((p - q) ** 2)
            ),
            "Padding is left out, but the points that are there count alike: use their weights.": (
                lambda p, q, a: np.mean(np.sum((p - q) ** 2, axis=-1)[a > 0])
            ),
            "The lengths are not squared.": lambda p, q, a: a @ np.linalg.norm(p - q, axis=-1),
            "This is half of it: the derivative then has no 2, but the loss is not the one asked for.": (
                lambda p, q, a: 0.5 * a @ np.sum((p - q) ** 2, axis=-1)
            ),
            "The weights are squared: they multiply |.|^2, not the error.": lambda p, q, a: np.sum(
                (a[:, None] * (p - q)) ** 2
            ),
        },
        hints=(
            "First the squared length of each error, shape (n,).",
            "A mean over a measure is a sum with its weights.",
            "a @ np.sum((pred - target) ** 2, axis=-1).",
        ),
    )


# ex-23


def meeting() -> Exercise:
    """Field of a plan."""
    return Exercise(
        id="ex-23",
        title="what is learned: where lines cross",
        stub='''\
def mean_displacement(x, y, a):
    """Field that flow matching learns from the lines x_i -> y_i, at their middles (GWFM-9 at t = 1/2).

    A network is shown the place z_i = (x_i + y_i) / 2 and the velocity y_i - x_i. Where several lines
    meet in
    one place it cannot tell them apart: the least squares answer is their mean velocity, with the
    weights a.

    Parameters
    ----------
    x, y : arrays, shape (n, d); middles that meet are equal exactly
    a : array, shape (n,), positive weights

    Returns
    -------
    array, shape (n, d): the field at z_i, for each i

    Examples
    --------
    >>> x, y = np.array([[-1.0], [1.0], [5.0]]), np.array([[1.0], [-1.0], [6.0]])
    >>> mean_displacement(x, y, np.array([0.5, 0.25, 0.25])).round(3).tolist()
    [[0.667], [0.667], [1.0]]
    """
''',
        item="GWFM-9",
        oracle="NumPy, pair after pair, of lines that meet at t = 1/2",
        residual=plan_curves.mean_of_those_that_meet,
        adapt=_with_weight,
        mistakes={
            "These are the velocities of the lines themselves. Where two cross, one field "
            "cannot have both values.": (lambda x, y, a: y - x),
            "This is the mean over all lines: only those that meet in the place count there.": (
                lambda x, y, a: np.broadcast_to((a @ (y - x)) / a.sum(), x.shape)
            ),
            "The weights are forgotten.": lambda x, y, a: _met(x, y, np.ones_like(a)),
            "The velocities of those that meet are summed, with their weights, and not divided "
            "by the sum of these weights.": lambda x, y, a: _together(x, y) @ (a[:, None] * (y - x)),
            "The sign is wrong: from x to y it is y - x.": lambda x, y, a: _met(y, x, a),
        },
        hints=(
            "For each i, which j have the same middle?",
            "meet[i, j] = all(z_i == z_j); the answer is a mean of y_j - x_j over j with the "
            "weights meet[i, j] a_j.",
            "w = meet * a; (w @ (y - x)) / w.sum(axis=1, keepdims=True).",
        ),
    )


def _together(x, y):
    z = x + y
    return np.all(z[:, None] == z, axis=-1).astype(float)


def _mean_of(meet, a, v):
    w = meet * a
    return (w @ v) / w.sum(axis=1, keepdims=True)


def _met(x, y, a):
    return _mean_of(_together(x, y), a, y - x)


def _with_weight(f: Function) -> Function:
    def field(x, y, weights, t):
        found = np.zeros_like(x)
        for k, a in enumerate(weights):
            found[k, a > 0] = f(x[k, a > 0], y[k, a > 0], a[a > 0])
        return found

    return field


# ex-24


def denoising() -> Exercise:
    """Velocity between noise and a mixture."""
    return Exercise(
        id="ex-24",
        title="the perfect network, written down",
        stub='''\
def velocity(x, t, c, p, sigma, tau):
    """Field that flow matching converges to when particles lose their noise (META-FM-12).

    A particle is at c_j + tau z' + (1 - t) sigma z: its centre c_j has mass p_j, z and z' are standard
    normal, and
    its velocity is -sigma z. The field at x is the mean of that over all particles that may be at x:

        -(1 - t) sigma^2 / s^2 (x - sum_j w_j c_j),   s^2 = tau^2 + (1 - t)^2 sigma^2,

    where w_j is the probability of centre j, seen from x: a softmax of log p_j - |x - c_j|^2 / (2 s^2).

    Parameters
    ----------
    x : array, shape (n, d)
    t, sigma, tau : floats
    c : array, shape (m, d)
    p : array, shape (m,), positive

    Returns
    -------
    array, shape (n, d)

    Examples
    --------
    >>> velocity(np.array([[8.0]]), 0.5, np.array([[1.0]]), np.array([1.0]), 2.0, 0.0).tolist()
    [[-14.0]]
    """
''',
        item="META-FM-12",
        oracle="complex-step gradient of the log density",
        residual=meta_fm_oracles.velocity_is_score,
        adapt=_by_keyword,
        mistakes={
            "The masses p of the centres are forgotten.": lambda x, t, c, p, s, u: _towards(
                x, t, c, np.ones_like(p), s, u
            ),
            "The factor 1 - t is missing in front.": lambda x, t, c, p, s, u: (
                _towards(x, t, c, p, s, u) / (1.0 - t)
            ),
            "tau is forgotten: this is for centres that are points.": lambda x, t, c, p, s, u: _towards(
                x, t, c, p, s, 0.0
            ),
            "The 2 of 2 s^2 is missing in the exponent.": lambda x, t, c, p, s, u: _towards(
                x, t, c, p, s, u, half=1.0
            ),
            "Every particle goes to the nearest centre: near the middle between two, both must count.": (
                lambda x, t, c, p, s, u: _towards(x, t, c, p, s, u, half=1e9)
            ),
            "The centres are averaged with their masses alone, wherever x is: a particle near a centre is "
            "likely to belong to it.": lambda x, t, c, p, s, u: _towards(x, t, c, p, s, u, half=0.0),
            "This divides by 1 - t, what is right for tau = 0: -(x - sum w c) / (1 - t).": (
                lambda x, t, c, p, s, u: (
                    _towards(x, t, c, p, s, u) * (u**2 + (1 - t) ** 2 * s**2) / ((1 - t) * s) ** 2
                )
            ),
        },
        hints=(
            "Squared distances |x_i - c_j|^2, shape (n, m), then a softmax over j.",
            "Take the largest exponent of each row out before exp: far from all centres they "
            "are all negligible.",
            "z = log(p) - sq / (2 s2); w = exp(z - z.max(1)); w /= w.sum(1); -(1 - t) sigma^2 /"
            " s2 * (x - w @ c).",
        ),
    )


def _towards(x, t, c, p, sigma, tau, half=0.5):
    s2 = tau**2 + (1.0 - t) ** 2 * sigma**2
    z = np.log(p) - half * np.sum((x[:, None] - c) ** 2, axis=-1) / s2
    w = np.exp(z - z.max(axis=1, keepdims=True))
    return -(1.0 - t) * sigma**2 / s2 * (x - (w / w.sum(axis=1, keepdims=True)) @ c)


def _by_keyword(f: Function) -> Function:
    def field(x, t, c, *, sigma, tau, weights):
        return batched(lambda *each: f(*each, sigma, tau), x, t, c, weights)

    return field


# ex-25


def heun() -> Exercise:
    """Heun's method."""
    return Exercise(
        id="ex-25",
        title="following the field: Heun's method",
        stub='''\
def flow(field, x, n_steps):
    """End points, at t = 1, of particles that start at x at t = 0 and follow a field, by Heun's method.

    Each step goes with the mean of two velocities: here, and where an Euler step would lead (META-FM-14).

    Parameters
    ----------
    field : function
        field(x, t): velocities, shape (n, d), of particles at x, shape (n, d), at time t, a float
    x : array, shape (n, d)
    n_steps : int, steps of equal length

    Returns
    -------
    array, shape (n, d)

    Examples
    --------
    >>> flow(lambda x, t: x, np.array([[1.0]]), 2).tolist()
    [[2.640625]]
    """
''',
        item="META-FM-14",
        oracle="powers of I + hA + h²A²/2, and a field of time alone",
        residual=flow_is_heuns,
        adapt=lambda f: f,
        mistakes={
            "This is Euler's method: one velocity each step.": lambda field, x, n: _follow(field, x, n, 0.0),
            "Both velocities are summed: their mean is wanted.": lambda field, x, n: _follow(
                lambda x, t: 2.0 * field(x, t), x, n, 0.5, reach=0.5
            ),
            "This goes with the velocity at the end of the Euler step alone.": lambda field, x, n: _follow(
                field, x, n, 1.0
            ),
            "The second velocity is taken at the time of the first: it must be at t + h.": (
                lambda field, x, n: _follow(field, x, n, 0.5, later=0.0)
            ),
            "The velocities are not multiplied by the step.": lambda field, x, n: _follow(
                lambda x, t: n * field(x, t), x, n, 0.5
            ),
            "One step is missing.": lambda field, x, n: _follow(field, x, n, 0.5, last=1),
            "This is the midpoint rule. It has the same order, and another error.": (
                lambda field, x, n: _follow(field, x, n, 1.0, reach=0.5, later=0.5)
            ),
        },
        hints=(
            "h = 1 / n_steps; step k starts at the time k h.",
            "v = field(x, t); w = field(x + h v, t + h).",
            "x = x + h / 2 * (v + w).",
        ),
    )


def _follow(field, x, n_steps, share, *, reach=1.0, later=1.0, last=0):
    h = 1.0 / n_steps
    for k in range(n_steps - last):
        v = field(x, k * h)
        w = field(x + reach * h * v, (k + later) * h)
        x = x + h * ((1.0 - share) * v + share * w)
    return x


def flow_is_heuns(flow, draw):
    """Along linear fields, and along one that is cubic in time, whose integral is the trapezium rule's."""
    linear = meta_fm_metrics.heun_is_a_polynomial(
        lambda A, x, n: np.stack([flow(lambda p, t, M=M: p @ M, z, n) for M, z in zip(A, x, strict=True)]),
        draw,
    )
    x, t = draw.normal(4, draw.d), np.arange(6) / 5
    timed = flow(lambda p, s: 0.0 * p + s**3, x, 5) - x - np.trapezoid(t**3, t)
    return max(linear, np.max(np.abs(timed)))
