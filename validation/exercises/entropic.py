"""Chapter 3: entropic transport."""

import numpy as np
from scipy.special import logsumexp

from refwfm.validation.entropic_problems import Solved, plan_of
from refwfm.validation.exercises.exercise import Exercise, Function, batched
from refwfm.validation.items import entropic, plans, sinkhorn


def exercises() -> list[Exercise]:
    """Return the exercises in their order."""
    return [soft_minimum(), sinkhorn_plan(), marginal_errors(), dual_value(), entropic_map()]


# ex-11


def _softmin(cost, g, b, eps):
    return -eps * logsumexp((g - cost) / eps, b=b, axis=-1)


def soft_minimum() -> Exercise:
    """One half of an iteration."""
    return Exercise(
        id="ex-11",
        title="the soft minimum: half an iteration of Sinkhorn",
        stub='''\
def softmin(cost, g, b, eps):
    """Soft minimum of cost_ij - g_j over j, for each row i.

    f_i = -eps log sum_j b_j exp((g_j - cost_ij) / eps): what Sinkhorn's iteration makes f of g (WFM-12).
    Costs may be a thousand times eps: the exponentials must not vanish all at once.

    Parameters
    ----------
    cost : array, shape (n, m)
    g, b : arrays, shape (m,): potential, and weights, some of which may be 0
    eps : float

    Returns
    -------
    array, shape (n,)

    Examples
    --------
    >>> f = softmin(np.array([[1.0, 3000.0]]), np.zeros(2), np.array([1.0, 1.0]), 1.0)
    >>> float(f[0])
    1.0
    """
''',
        item="WFM-12",
        oracle="SciPy's logsumexp, costs up to 2000 eps",
        residual=softmin_is_scipys,
        adapt=lambda f: lambda cost, g, b, eps: batched(f, cost, g, b, eps),
        mistakes={
            "The weights b are forgotten: this is the Gibbs form, whose potentials hide the weights.": (
                lambda cost, g, b, eps: _softmin(cost, g, np.ones_like(b), eps)
            ),
            "The sign of the result is wrong: it is -eps log.": lambda cost, g, b, eps: (
                -_softmin(cost, g, b, eps)
            ),
            "eps is missing before the logarithm: the result must be in units of the cost.": (
                lambda cost, g, b, eps: _softmin(cost, g, b, eps) / eps
            ),
            "This is the hard minimum, what is left for eps = 0.": lambda cost, g, b, eps: np.min(
                np.where(b > 0, cost - g, np.inf), axis=-1
            ),
            "The sign of g is wrong: a target with a high potential attracts, exp((g_j - cost_ij) / eps).": (
                lambda cost, g, b, eps: _softmin(cost, -g, b, eps)
            ),
        },
        hints=(
            "exp(-2000) is 0 in floating point, and the log of a sum of zeros is -inf. Take the"
            " largest exponent out.",
            "log sum exp(z) = max(z) + log sum exp(z - max(z)); weights of 0 must not decide "
            "what the largest is.",
            "scipy.special.logsumexp((g - cost) / eps, b=b, axis=-1), times -eps.",
        ),
    )


def softmin_is_scipys(softmin, draw):
    """Four rows of six entries, one weight 0; costs of thousands of eps."""
    cost, g = 2000.0 * draw.rng.random((2, 4, 6)), 0.1 * draw.normal(2, 6)
    b = np.stack([np.append(draw.weights(5), 0.0) for _ in range(2)])
    cost[1] /= 500.0
    eps = np.array([1.5, 0.7])
    truth = np.stack([_softmin(*each) for each in zip(cost, g, b, eps, strict=True)])
    return np.max(np.abs(draw.call(softmin, cost, g, b, eps) - truth) / np.max(np.abs(truth)))


# ex-12


def _iterated(cost, a, b, eps, iterations=100):
    g = np.zeros(len(b))
    for _ in range(iterations):
        f = _softmin(cost, g, b, eps)
        g = _softmin(cost.T, f, a, eps)
    return plan_of(cost, a, b, np.asarray(eps), f, g)


def sinkhorn_plan() -> Exercise:
    """Sinkhorn's iteration."""
    return Exercise(
        id="ex-12",
        title="Sinkhorn's iteration",
        stub='''\
def entropic_plan(cost, a, b, eps):
    """Entropic plan: the least sum(P * cost) + eps KL(P | a b^T) with row sums a and column sums b
    (WFM-12).

    P_ij = a_i b_j exp((f_i + g_j - cost_ij) / eps), where f and g are soft minima of each other
    (exercise 11).

    Parameters
    ----------
    cost : array, shape (n, m)
    a, b : arrays, shapes (n,) and (m,), positive; each sums to 1
    eps : float, here about half of the largest cost: a hundred iterations are plenty

    Returns
    -------
    array, shape (n, m)

    Examples
    --------
    >>> half = np.array([0.5, 0.5])
    >>> entropic_plan(np.array([[0.0, 1.0], [1.0, 0.0]]), half, half, 1e6).round(3)
    array([[0.25, 0.25],
           [0.25, 0.25]])
    """
''',
        item="WFM-12",
        oracle="POT's sinkhorn_log",
        residual=sinkhorn.plans_are_pots,
        adapt=_as_solved,
        mistakes={
            "The weights are forgotten: this is the plan between equal weights.": lambda cost, a, b, eps: (
                _iterated(cost, np.full_like(a, 1.0 / len(a)), np.full_like(b, 1.0 / len(b)), eps)
            ),
            "This is after one iteration: rows or columns do not have their sums yet.": (
                lambda cost, a, b, eps: _iterated(cost, a, b, eps, iterations=1)
            ),
            "The cost is halved (or eps doubled): conventions differ by this factor between "
            "libraries, ours is the whole squared distance.": lambda cost, a, b, eps: _iterated(
                0.5 * cost, a, b, eps
            ),
            "The sign of the cost is wrong: mass seeks the dearest pairs.": lambda cost, a, b, eps: _iterated(
                -cost, a, b, eps
            ),
        },
        hints=(
            "If f is right for g, rows have their sums; if g is right for f, columns do. Take turns.",
            "Start from g = 0; f = softmin(cost, g, b, eps); g = softmin(cost.T, f, a, eps); a "
            "few hundred times.",
            "Then a[:, None] * b * exp((f[:, None] + g - cost) / eps).",
        ),
    )


def _as_solved(f: Function) -> Function:
    """Plan of a student's function, and its values by sums; atoms of weight 0 are left out."""

    def solve(x, y, eps):
        found = [_member(f, *each) for each in zip(*x, *y, eps, strict=True)]
        parts = [np.stack(part) for part in zip(*found, strict=True)]
        return Solved(*parts[:4], tuple(parts[4:]))

    return solve


def _member(f, p, a, q, b, eps):
    live, reached = a > 0, b > 0
    cost = np.sum((p[live, None] - q[reached]) ** 2, axis=-1)
    u, v = a[live] / a.sum(), b[reached] / b.sum()
    P = f(cost, u, v, eps)
    log_P = np.log(P)
    dual = np.sum(P * cost) + eps * np.sum(P * (log_P - np.log(u[:, None] * v)))
    errors = np.sum(np.abs(P.sum(axis=1) - u)), np.sum(np.abs(P.sum(axis=0) - v))
    full, full_log = np.zeros((len(a), len(b))), np.full((len(a), len(b)), -np.inf)
    full[np.ix_(live, reached)], full_log[np.ix_(live, reached)] = P, log_P
    return full_log, full, np.sum(P * cost), dual, *errors


# ex-13


def marginal_errors() -> Exercise:
    """Evidence of a plan."""
    return Exercise(
        id="ex-13",
        title="is it a plan? The errors of its marginals",
        stub='''\
def marginal_errors(plan, a, b):
    """How far the row sums of a matrix are from a, and its column sums from b, in L1 (WFM-U8).

    A solver that was stopped too early shows it here, and nowhere else.

    Parameters
    ----------
    plan : array, shape (n, m)
    a, b : arrays, shapes (n,) and (m,)

    Returns
    -------
    row_error, column_error : tuple of floats

    Examples
    --------
    >>> errors = marginal_errors(np.array([[0.5, 0.0, 0.5]]), np.array([1.0]), np.array([0.5, 0.25, 0.25]))
    >>> [float(error) for error in errors]
    [0.0, 0.5]
    """
''',
        item="WFM-U8",
        oracle="sums over loops",
        residual=plans.errors_are_sums_over_loops,
        adapt=lambda f: lambda plan, a, b: batched(f, plan, a, b),
        mistakes={
            "These are the largest errors: L1 is the sum of all absolute errors.": lambda P, a, b: (
                np.max(np.abs(P.sum(axis=1) - a)),
                np.max(np.abs(P.sum(axis=0) - b)),
            ),
            "Rows and columns are exchanged in the result.": lambda P, a, b: (
                np.sum(np.abs(P.sum(axis=0) - b)),
                np.sum(np.abs(P.sum(axis=1) - a)),
            ),
            "Without absolute values errors cancel: both are that of the total mass.": lambda P, a, b: (
                np.sum(P.sum(axis=1) - a),
                np.sum(P.sum(axis=0) - b),
            ),
        },
        hints=(
            "Which axis does a row sum run over?",
            "plan.sum(axis=1) is to be a, plan.sum(axis=0) is to be b.",
            "np.abs(plan.sum(axis=1) - a).sum(), np.abs(plan.sum(axis=0) - b).sum().",
        ),
    )


# ex-14


def _dual(cost, a, b, eps, f, g, mass=1.0):
    return f @ a + g @ b - mass * eps * (plan_of(cost, a, b, np.asarray(eps), f, g).sum() - 1.0)


def dual_value() -> Exercise:
    """Dual objective."""
    return Exercise(
        id="ex-14",
        title="a bound that proves: the dual value",
        stub='''\
def dual_value(cost, a, b, eps, f, g):
    """Dual objective <f, a> + <g, b> - eps (sum P - 1) of any potentials (WFM-12).

    P_ij = a_i b_j exp((f_i + g_j - cost_ij) / eps). Whatever f and g are, it is no more than the least
    entropic
    cost, and equal to it for the best ones: so it proves how good a plan is.

    Parameters
    ----------
    cost : array, shape (n, m)
    a, b : arrays, shapes (n,) and (m,); each sums to 1
    eps : float
    f, g : arrays, shapes (n,) and (m,)

    Returns
    -------
    float

    Examples
    --------
    >>> one = np.array([1.0])
    >>> float(dual_value(np.array([[2.0]]), one, one, 1.0, one, one))
    2.0
    """
''',
        item="WFM-12",
        oracle="the dual objective by sums, at random potentials",
        residual=sinkhorn.dual_objective,
        adapt=_from_solution,
        mistakes={
            "The term of the mass is missing. At the optimum sum P = 1 and it is zero; anywhere"
            " else the value without it bounds nothing.": lambda cost, a, b, eps, f, g: f @ a + g @ b,
            "The mass is not compared with 1: it is eps (sum P - 1), so that the optimum has no such term.": (
                lambda cost, a, b, eps, f, g: _dual(cost, a, b, eps, f, g) - eps
            ),
            "The mass is added: too much of it must count against the potentials.": (
                lambda cost, a, b, eps, f, g: _dual(cost, a, b, eps, f, g, mass=-1.0)
            ),
            "The potentials are summed without their weights: <f, a> = sum of a_i f_i.": (
                lambda cost, a, b, eps, f, g: (
                    np.sum(f) + np.sum(g) + _dual(cost, a, b, eps, f, g) - f @ a - g @ b
                )
            ),
        },
        hints=(
            "Three terms. Only the last needs the cost.",
            "P = a[:, None] * b * np.exp((f[:, None] + g - cost) / eps).",
            "f @ a + g @ b - eps * (P.sum() - 1).",
        ),
    )


def _from_solution(f: Function) -> Function:
    def dual(cost, a, b, solution):
        return batched(f, cost, a, b, solution.eps, solution.f, solution.g)

    return dual


# ex-15


def entropic_map() -> Exercise:
    """Entropic map."""
    return Exercise(
        id="ex-15",
        title="the entropic map, at any point",
        stub='''\
def entropic_map(x, y, g, b, eps):
    """Images of points x: means of the target, weighted by b_j exp((g_j - |x - y_j|^2) / eps) (WFM-13).

    It is x - grad f(x) / 2, f the soft minimum of |x - y_j|^2 - g_j: a map made of a plan, and defined
    where no
    point of the sample is.

    Parameters
    ----------
    x : array, shape (q, d)
    y : array, shape (m, d)
    g, b : arrays, shape (m,): potential and weights of the target
    eps : float

    Returns
    -------
    array, shape (q, d)

    Examples
    --------
    >>> y = np.array([[-1.0], [1.0]])
    >>> entropic_map(np.array([[0.0]]), y, np.zeros(2), np.array([0.25, 0.75]), 1.0)
    array([[0.5]])
    """
''',
        item="WFM-13",
        oracle="finite differences of the soft minimum",
        residual=entropic.map_is_the_gradient,
        adapt=_live_targets,
        mistakes={
            "The weights b are forgotten (the formula as one often sees it, for equal weights).": (
                lambda x, y, g, b, eps: _mean(x, y, g, np.ones_like(b), eps)
            ),
            "This is x - grad f, as one paper prints it: for the cost |x - y|^2, without a half, it is "
            "x - grad f / 2.": lambda x, y, g, b, eps: 2.0 * _mean(x, y, g, b, eps) - x,
            "The potential g is forgotten: points then go to targets that are near, and some "
            "targets get too much.": (lambda x, y, g, b, eps: _mean(x, y, np.zeros_like(g), b, eps)),
            "The cost is halved: ours is |x - y|^2 without a half.": _halved,
            "This is the likeliest target of each point, no mean.": lambda x, y, g, b, eps: y[
                np.argmax(np.log(b) + (g - _squares(x, y)) / eps, axis=-1)
            ],
        },
        hints=(
            "It is a mean of the y: weights that are positive and sum to 1, for each x.",
            "z = (g - |x - y|^2) / eps, shape (q, m); the weights are a softmax of z + log b "
            "along the last axis.",
            "w = b * np.exp(z - z.max(-1, keepdims=True)); w /= w.sum(-1, keepdims=True); w @ y.",
        ),
    )


def _squares(x, y):
    return np.sum((x[:, None] - y) ** 2, axis=-1)


def _weighted(exponents, b):
    w = b * np.exp(exponents - exponents.max(axis=-1, keepdims=True))
    return w / w.sum(axis=-1, keepdims=True)


def _mean(x, y, g, b, eps):
    return _weighted((g - _squares(x, y)) / eps, b) @ y


def _halved(x, y, g, b, eps):
    return _weighted((g - 0.5 * _squares(x, y)) / eps, b) @ y


def _live_targets(f: Function) -> Function:
    def images(points, y, b, g, *, eps):
        live = [
            (p, q[w > 0], h[w > 0], w[w > 0], e) for p, q, w, h, e in zip(points, y, b, g, eps, strict=True)
        ]
        return np.stack([f(*each) for each in live])

    return images
