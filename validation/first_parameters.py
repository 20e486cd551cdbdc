"""Checks of what convex potentials are trained from: the laws of first parameters, and starts by name."""

import math
from typing import Any

import numpy as np

from refwfm.meta import hypernetwork, icnn, picnn, w2gn
from refwfm.training import meta_icnn
from refwfm.training import w2gn as fitting
from refwfm.validation.check import EXACT, STANDARD_ERRORS, Check, worst_of
from refwfm.validation.draws import Draw
from refwfm.validation.meta_training import LIKE, difference


def kinds_check() -> Check:
    """Check of ``training.meta_icnn.init_start``."""

    def kinds(rng: np.random.Generator) -> tuple[Any, ...]:
        options = {"like": LIKE, "width": 3, "pretraining": 2, "require": False}
        return tuple(meta_icnn.init_start(kind, rng, 2, **options).pair for kind in meta_icnn.STARTS)

    return Check(
        "the starts by name: ridges, a trained pair, a drawn one",
        kinds_are_themselves,
        kinds,
        {
            "in another order": lambda rng: kinds(rng)[::-1],
            "another draw": lambda rng: kinds(np.random.default_rng(6)),
        },
        EXACT,
        dimensions=(1,),
        repeats=1,
        everywhere=False,
    )


def kinds_are_themselves(kinds: Any, draw: Draw) -> float:
    """Drawn one after the other from one generator."""
    rng = np.random.default_rng(5)
    ridges = hypernetwork.init_ridges(rng, 2, like=LIKE, width=3)
    drawn = w2gn.init_pair(rng, 2, like=LIKE, width=3)
    trained = fitting.pretrain_identity(drawn, rng=rng, n_steps=2, require=False)[0]
    truth = ridges, trained, w2gn.init_pair(rng, 2, like=LIKE, width=3)
    return worst_of(*map(difference, kinds(np.random.default_rng(5)), truth))


def laws_check() -> Check:
    """Check of what networks are drawn from."""
    return Check(
        "laws of the first parameters, in standard errors",
        laws_hold,
        _first_parameters,
        {
            "twice as large": lambda rng: {name: 2.0 * part for name, part in _first_parameters(rng).items()},
            "without the kinks": lambda rng: _first_parameters(rng) | {"kinks": np.zeros(900)},
            "normal kernels": lambda rng: _first_parameters(rng) | {"kernels": rng.standard_normal(900)},
        },
        STANDARD_ERRORS,
        dimensions=(3,),
        repeats=1,
        everywhere=False,
    )


def _first_parameters(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Samples of a convex network, of ridges (where in the cube a kink is), of kernels; constants."""
    one = icnn.init_icnn(rng, 30, like=LIKE, width=300)
    ridges = hypernetwork.init_ridges(rng, 3, like=LIKE, width=900, weight=0.25)["conjugate"]
    kernels = picnn.init_picnn(rng, 3, 2, like=LIKE, width=30, depth=1, kernels=0.5)["layers"]
    U = ridges["hidden"]
    return {
        **{name: np.ravel(one[name]) for name in ("hidden", "omega", "linear", "quadratic")},
        "kinks": -ridges["bias"] - 0.5 * np.sum(U, axis=-1),
        "kernels": np.ravel(kernels["0"]["wx"]) - 0.25,
        "lengths": np.sum(U**2, axis=-1),
        "weights": np.log1p(np.exp(ridges["omega"])),
        "gates": np.log1p(np.exp(kernels["1"]["zu"]["bias"])),
    }


def laws_hold(first: Any, draw: Draw) -> float:
    """Means and variances of samples; what is the same in each draw to 1e-12."""
    found = first(np.random.default_rng([draw.d, 5]))
    variances = {"hidden": 0.01, "omega": 0.01, "linear": 0.01, "quadratic": 1e-4}
    variances |= {"kinks": 1.0 / 12.0, "kernels": 0.25 / 12.0}
    worst = 0.0
    for name, variance in variances.items():
        z = found[name] / math.sqrt(variance)
        worst = worst_of(
            worst, abs(z.mean()) * math.sqrt(z.size), abs(np.mean(z**2) - 1.0) * math.sqrt(z.size / 2.0)
        )
    for name, value in {"lengths": 1.0, "weights": 0.25, "gates": 1.0}.items():
        worst = worst_of(worst, float(np.max(np.abs(found[name] - value))) * 1e12)
    return worst
