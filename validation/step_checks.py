"""Checks of the steps of generation: where they begin, and the order of the methods on Gaussians."""

import itertools
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import scipy.integrate

from refwfm.bures import EuclideanTangent, Tangent
from refwfm.generation import RUNGE_KUTTA, TIMES, exponential_step, generate, projected_euler_step, time_steps
from refwfm.measures import Gaussian
from refwfm.validation.check import Check, Draw, Tolerance, roundings, worst_of
from refwfm.validation.textbook import identity

ORDERS = {"euler": 1, "midpoint": 2, "heun": 2, "rk4": 4}


def times_check() -> Check:
    """Check of ``time_steps``."""
    return Check(
        "exact fractions",
        steps_are_the_fractions,
        time_steps,
        {
            "numbered from 1": lambda n, times: time_steps(n + 1, times)[1:],
            "early and late exchanged": lambda n, times: time_steps(
                n, {"early": "late", "late": "early"}.get(times, times)
            ),
            "uniform for all": lambda n, times: time_steps(n),
            "ends instead of lengths": lambda n, times: [(t, t + h) for t, h in time_steps(n, times)],
        },
        roundings(4, "a difference of polynomials of degree 3 in [0, 1]"),
        dimensions=(1,),
        repeats=1,
    )


def steps_are_the_fractions(steps: Any, draw: Draw) -> float:
    """``s``, ``s²``, ``1 - (1 - s)²`` and ``3 s² - 2 s³`` at ``k / N``, and their differences."""
    powers = {
        "uniform": lambda s: s,
        "early": lambda s: s**2,
        "late": lambda s: 1 - (1 - s) ** 2,
        "ends": lambda s: 3 * s**2 - 2 * s**3,
    }
    worst = 0.0 if powers.keys() == TIMES.keys() else np.inf
    for times, power in powers.items():
        for n in (1, 2, 7, 10):
            ends = [power(Fraction(k, n)) for k in range(n + 1)]
            truth = [(float(a), float(b - a)) for a, b in itertools.pairwise(ends)]
            found = steps(n, times)
            worst = worst_of(worst, np.max(np.abs(np.array(found) - truth)) if len(found) == n else np.inf)
    return float(worst)


def order_check() -> Check:
    """Check of ``generate`` with all methods, schedules of time, and both kinds of velocities."""
    return Check(
        "SciPy solve_ivp (DOP853), in means and covariances",
        methods_have_their_order,
        generate,
        {
            "slopes not carried back to where the step begins": _carried(lambda lift, moved: lift),
            "carried back in the other order": _carried(lambda lift, moved: moved @ lift),
            "only their symmetric part": _carried(lambda lift, moved: (lift @ moved + moved @ lift) / 2.0),
            "the times of equal steps": lambda field, source, **how: generate(
                _warped(field, how["n_steps"], how.pop("times")), source, **how
            ),
        },
        Tolerance(0.5, 0.5, "the order seen is that of a few steps, not of the limit"),
        dimensions=(2, 3),
        repeats=1,
    )


def _carried(carry: Any) -> Any:
    """Generation whose later slopes are related to the beginning of the step in another way."""

    def generated(
        field: Any, source: Gaussian, *, n_steps: int, step: Any, method: str, times: str
    ) -> tuple[Gaussian, None]:
        if step is projected_euler_step:
            return generate(field, source, n_steps=n_steps, step=step, method=method, times=times)[0], None
        (stages, final), mu = RUNGE_KUTTA[method], source
        for begin, h in time_steps(n_steps, times):
            slopes: list[Tangent] = []
            for shift in stages:
                point, moved = mu, identity(mu.cov)
                if slopes:
                    point = exponential_step(mu, slopes[-1], shift * h)[0]
                    moved = moved + shift * h * slopes[-1].lift
                v = field(point, np.full(len(mu.mean), begin + shift * h))
                slopes.append(Tangent(v.mean, carry(v.lift, moved)))
            weighted = (
                sum(w * part for w, part in zip(final, parts, strict=True))
                for parts in zip(*slopes, strict=True)
            )
            mu = exponential_step(mu, Tangent(*weighted), h)[0]
        return mu, None

    return generated


def _warped(field: Any, n_steps: int, times: str) -> Any:
    """A field that is asked at other times than it is told."""
    return lambda mu, t: field(mu, 0.0 * t + TIMES[times](float(np.max(t)) if len(t) else 0.0))


def _lift(mu: Gaussian, t: np.ndarray) -> np.ndarray:
    """A symmetric matrix that turns with time and depends on the covariance."""
    d = mu.mean.shape[-1]
    pattern = np.cos(np.add.outer(np.arange(d), np.arange(d)) + 3.0 * t[:, None, None])
    trace = np.trace(mu.cov, axis1=-2, axis2=-1)[:, None, None]
    return np.asarray(0.7 * pattern - mu.cov / trace)


def _rate(mu: Gaussian, t: np.ndarray) -> np.ndarray:
    lift = _lift(mu, t)
    return np.asarray(lift @ mu.cov + mu.cov @ lift)


def methods_have_their_order(generate: Any, draw: Draw) -> float:
    """How far the order, seen as steps are doubled, falls short of 1, 2, 2 and 4."""
    source, worst = draw.gaussians(4.0, size=2), 0.0
    shapes = source.mean.shape, source.cov.shape

    def drift(mu: Gaussian, t: np.ndarray) -> np.ndarray:
        return np.asarray(np.sin(mu.mean + 3.0 * t[:, None]))

    def slope(t: float, y: np.ndarray) -> np.ndarray:
        mean, cov = np.split(y, [source.mean.size])
        mu, time = Gaussian(mean.reshape(shapes[0]), cov.reshape(shapes[1])), np.full(len(source.mean), t)
        return np.concatenate([drift(mu, time).ravel(), _rate(mu, time).ravel()])

    start = np.concatenate([source.mean.ravel(), source.cov.ravel()])
    truth = scipy.integrate.solve_ivp(slope, (0.0, 1.0), start, method="DOP853", rtol=1e-13, atol=1e-13).y[
        :, -1
    ]

    def off(n_steps: int, step: Any, kind: Any, matrix: Any, **how: str) -> float:
        def field(mu: Gaussian, t: Any) -> Any:
            mu, t = Gaussian(*draw.to_host(tuple(mu))), draw.to_host(t)
            return draw.to_backend(kind(drift(mu, t), matrix(mu, t)))

        end = draw.call(partial(generate, step=step, **how), field, source, n_steps=n_steps)[0]
        return float(np.max(np.abs(np.concatenate([end.mean.ravel(), end.cov.ravel()]) - truth)))

    for method, order in ORDERS.items():
        few = 4 if method == "rk4" else 16
        for step, kind, matrix in (
            (exponential_step, Tangent, _lift),
            (projected_euler_step, EuclideanTangent, _rate),
        ):
            for times in ("uniform", "late"):
                how = {"method": method, "times": times}
                errors = [off(n, step, kind, matrix, **how) for n in (few, 2 * few)]
                worst = worst_of(worst, order - np.log2(errors[0] / errors[1]))
    return worst
