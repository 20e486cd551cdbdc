"""Checks of when iterations stop, what they say of themselves, and what is refused."""

import numpy as np
from scipy.spatial.distance import cdist

from refwfm.evidence import ConvergenceError
from refwfm.measures import PointCloud
from refwfm.transport.entropic import sinkhorn_divergence
from refwfm.transport.reference import free_support_barycenter
from refwfm.transport.sinkhorn import certified, sinkhorn
from refwfm.validation.check import EXACT, Check, Tolerance, roundings, worst_of
from refwfm.validation.textbook import relative

# Sinkhorn


def sinkhorn_checks():
    """Iterations and errors, and the verdict on them."""
    return (
        Check(
            "Sinkhorn in the kernel domain, until the errors are small",
            iterations_stop_in_time,
            sinkhorn,
            {
                "when one of the batch is done": lambda *given, **options: sinkhorn(
                    *given, **options | {"tol": 1e3 * options["tol"] if options["tol"] else None}
                ),
                "one iteration more": _once_more,
                "errors of one iteration less": lambda *given, **options: sinkhorn(
                    *given, **options | {"max_iter": options["max_iter"] - 1}
                ),
            },
            roundings(1e5, "marginal errors, absolute, of exponents up to ten"),
            dimensions=(1, 2),
            repeats=1,
            many_shapes=True,
        ),
        Check(
            "errors and potentials that are known",
            verdicts,
            certified,
            {
                "always converged": lambda s, **options: s._replace(converged=s.row_error >= 0.0),
                "never converged": lambda s, **options: s._replace(converged=s.row_error < 0.0),
                "never refused": lambda s, **options: certified(s, **options | {"require": False}),
            },
            EXACT,
            dimensions=(1,),
            repeats=1,
            everywhere=False,
        ),
    )


def _once_more(*given, **options):
    found = sinkhorn(*given, **options)
    return found._replace(n_iter=found.n_iter + 1)


def iterations_stop_in_time(solve, draw):
    """Difference of the errors, one if the number of iterations is another; a fast and a slow problem."""
    cost = draw.rounded(np.stack([cdist(*draw.normal(2, 5, draw.d), "sqeuclidean") for _ in range(2)]))
    a, b = (np.stack([draw.weights(5) for _ in range(2)]) for _ in range(2))
    eps = draw.rounded(np.max(cost, axis=(1, 2)) * [2.0, 0.1])
    kernel = np.exp(-cost / eps[:, None, None])
    u, errors = np.ones_like(a), []
    for _ in range(40):
        v = 1.0 / np.einsum("kij,ki->kj", kernel, a * u)
        u = 1.0 / np.einsum("kij,kj->ki", kernel, b * v)
        plan = (a * u)[:, :, None] * kernel * (b * v)[:, None, :]
        errors.append(np.sum(np.abs(plan.sum(axis=1) - b), axis=-1))
    given, worst = (cost, a, b), 0.0
    for tol, every, most in ((None, 1, 7), (1e-2, 3, 40), (1e-3, 1, 40)):
        options = {"eps": eps, "tol": tol, "max_iter": most, "check_every": every, "require": False}
        found = draw.call(solve, *given, **options)
        looks = [k for k in range(1, most) if tol is not None and (k - 1) % every == 0]
        stop = next((k for k in looks if np.all(errors[k - 1] <= tol)), most)
        gap = np.max(np.abs(found.col_error - errors[stop - 1]))
        worst = worst_of(worst, gap, float(found.n_iter != stop), float(np.max(found.row_error)))
    return worst


def verdicts(certified, draw):
    """Number of wrong ones: errors of two problems, a potential with an infinite entry, what is raised."""
    rest = sinkhorn(np.eye(2), np.full((2, 2), 0.5), np.full((2, 2), 0.5), eps=1.0)
    one = np.asarray([0.0, 1.0])
    cases = (
        (rest._replace(col_error=0.5 * one), [True, False]),
        (rest._replace(row_error=0.5 * one), [True, False]),
        (rest._replace(f=np.asarray([[0.0, 0.0], [0.0, np.inf]])), [True, False]),
        (rest._replace(g=np.asarray([[np.inf, 0.0], [0.0, 0.0]])), [False, True]),
        (rest, [True, True]),
    )
    wrong = sum(
        list(certified(solution, tol=0.1, require=False).converged) != truth for solution, truth in cases
    )
    wrong += "0.5 (columns)" not in _complaint(certified, cases[0][0])
    wrong += "0.5 (rows)" not in _complaint(certified, cases[1][0])
    return float(wrong + bool(_complaint(certified, rest)))


def _complaint(certified, solution):
    try:
        certified(solution, tol=0.1, require=True)
    except ConvergenceError as error:
        return str(error)
    return ""


# Divergence


def self_transport_check():
    """Where a cloud's transport to itself starts."""

    def errors(x, y, *, eps):
        found = sinkhorn_divergence(x, y, eps=eps, tol=1e-3, max_iter=1, require=False)
        return np.stack([found.xx.col_error, found.yy.col_error])

    return Check(
        "one iteration for a cloud and itself",
        self_transport_starts_at_its_end,
        errors,
        {"of the pair": lambda x, y, *, eps: _errors_of_the_pair(x, y, eps)},
        Tolerance(1e-3, 1e-3, "what Sinkhorn's iteration is asked for, and does not go beyond"),
        dimensions=(1, 2),
        everywhere=False,
    )


def _errors_of_the_pair(x, y, eps):
    found = sinkhorn_divergence(x, y, eps=eps, tol=1e-3, max_iter=1, require=False)
    return np.stack([found.xy.col_error])


def self_transport_starts_at_its_end(errors, draw):
    """Marginal errors after one iteration, for atoms that are far apart for eps."""
    x, y = (PointCloud(draw.normal(6, draw.d), draw.weights(6)) for _ in range(2))
    return float(np.max(draw.call(errors, x, y, eps=0.1)))


# Barycenter


def barycenter_check():
    """When the fixed-point iteration stops."""
    solve = free_support_barycenter
    return Check(
        "shares of the objectives",
        iteration_stops_by_its_share,
        solve,
        {
            "at once": lambda clouds, *, init, tol: solve(clouds, init=init, tol=0.99),
            "never before it is still": lambda clouds, *, init, tol: solve(clouds, init=init, tol=0.0),
        },
        roundings(1000, "objectives, relative"),
        dimensions=(2,),
        repeats=1,
        everywhere=False,
    )


def iteration_stops_by_its_share(solve, draw):
    """Iterations more or less than the objectives ask for, in three units."""
    points = draw.rng.standard_normal((4, 6, draw.d))
    init, weights = 3.0 * draw.rng.standard_normal((6, draw.d)), np.full((4, 6), 1.0 / 6.0)
    history = np.asarray(
        draw.call(free_support_barycenter, PointCloud(points, weights), init=init, tol=0.0).objective
    )
    shares = 1.0 - history[1:] / history[:-1]
    worst = 0.0
    for tol in (0.7 * shares[0], 1.4 * shares[0]):
        stop = 1 + int(np.argmax(shares <= tol))
        for unit in (1e-6, 1.0, 1e6):
            found = draw.call(solve, PointCloud(unit * points, weights), init=unit * init, tol=float(tol))
            same = relative(np.asarray(found.objective)[None] / unit**2, history[None, : stop + 1])
            worst = worst_of(worst, float(found.n_iter != stop), same) if found.n_iter == stop else 1.0
    return worst
