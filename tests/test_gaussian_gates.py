"""Public functions of Gaussians say what is wrong with an argument that is of the wrong kind."""

import numpy as np
import pytest

from refwfm import bures, conditional, psd
from refwfm.barycenter import barycenter
from refwfm.bures import EuclideanTangent, Tangent
from refwfm.measures import Gaussian, check_psd, rescale, take
from refwfm.metrics.nearest_gaussians import nearest
from refwfm.sources.gaussians import fit_gaussian_wishart, sample_empirical, sample_gaussian_wishart

COV = np.stack([np.eye(2), np.diag([4.0, 9.0])])
MU = Gaussian(np.zeros((2, 2)), COV)
V, DV = Tangent(np.ones((2, 2)), COV), EuclideanTangent(np.ones((2, 2)), COV)
HALF = np.full(2, 0.5)
RNG = np.random.default_rng(0)

CALLS = {
    "gelbrich_map": (bures.gelbrich_map, MU, MU),
    "push_forward": (bures.push_forward, COV, MU, MU),
    "log": (bures.log, MU, MU),
    "exp": (bures.exp, MU, V),
    "path": (bures.path, MU, MU, HALF),
    "euclidean_path": (bures.euclidean_path, MU, MU, HALF),
    "interpolate": (bures.interpolate, MU, MU, HALF),
    "velocity": (bures.velocity, MU, MU, HALF),
    "euclidean_velocity": (bures.euclidean_velocity, MU, MU, HALF),
    "to_euclidean": (bures.to_euclidean, COV, V),
    "from_euclidean": (bures.from_euclidean, COV, DV),
    "inner": (bures.inner, MU, V, V),
    "sq_tangent_norm": (bures.sq_tangent_norm, MU, V),
    "sq_distance": (bures.sq_distance, MU, MU),
    "pairwise_sq_distance": (bures.pairwise_sq_distance, MU, MU),
    "rows_per_block": (bures.rows_per_block, MU),
    "factored_sq_distance": (bures.factored_sq_distance, MU.mean, COV, MU.mean, COV),
    "sqrtm": (psd.sqrtm, COV),
    "inv_sqrtm": (psd.inv_sqrtm, COV),
    "project_psd": (psd.project_psd, COV),
    "factor": (psd.factor, COV),
    "procrustes_factors": (psd.procrustes_factors, COV, COV),
    "turned": (psd.turned, COV, COV),
    "solve_lift": (psd.solve_lift, COV, COV),
    "lift_and_kernel": (psd.lift_and_kernel, COV, COV),
    "solve_lyapunov": (psd.solve_lyapunov, COV, COV),
    "nuclear_norm": (psd.nuclear_norm, COV),
    "check_psd": (check_psd, COV),
    "barycenter": (barycenter, MU, HALF),
    "gradient_half_sq_distance": (conditional.gradient_half_sq_distance, MU, MU),
    "premetric_velocity": (conditional.premetric_velocity, MU, HALF, V, HALF),
    "conditional_velocity": (conditional.conditional_velocity, MU, MU, HALF),
    "marginal_velocity": (
        conditional.marginal_velocity,
        *(Gaussian(MU.mean[:1], COV[:1]), MU, HALF, HALF, HALF[:1]),
    ),
    "nearest": (nearest, MU, MU),
    "take": (lambda mu: take(mu, [0]), MU),
    "rescale": (lambda mu: rescale(mu, 2.0), MU),
    "fit_gaussian_wishart": (fit_gaussian_wishart, MU),
    "sample_empirical": (lambda mu: sample_empirical(mu, rng=RNG, size=1), MU),
    "sample_gaussian_wishart": (
        lambda source: sample_gaussian_wishart(source, rng=RNG, size=1),
        fit_gaussian_wishart(MU),
    ),
}

WRONG = {
    "list": lambda x: x.tolist(),
    "None": lambda x: None,
    "integers": lambda x: x.astype(np.int64),
    "half precision": lambda x: x.astype(np.float16),
    "complex": lambda x: x.astype(np.complex128),
    "single beside double": lambda x: x.astype(np.float32),
    "text": lambda x: "0.5",
}


def variants(argument, change):
    """The argument with each of its arrays changed in turn; as a plain tuple, and as None."""
    if isinstance(argument, np.ndarray):
        yield change(argument)
        return
    for name, part in argument._asdict().items():
        if isinstance(part, np.ndarray):
            yield argument._replace(**{name: change(part)})


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("name", CALLS)
def test_arrays_of_the_wrong_kind_are_named(name, kind):
    function, *arguments = CALLS[name]
    function(*arguments)
    tried = 0
    for i, argument in enumerate(arguments):
        for wrong in variants(argument, WRONG[kind]):
            single = kind == "single beside double"
            if single and sum(1 for a in arguments for _ in variants(a, lambda x: x)) < 2:
                continue
            if wrong is None and name == "barycenter" and i == 1:
                continue  # uniform weights
            with pytest.raises(TypeError, match=r"must (be|have)"):
                function(*arguments[:i], wrong, *arguments[i + 1 :])
            tried += 1
    assert tried or kind == "single beside double"


@pytest.mark.parametrize("name", CALLS)
def test_measures_of_the_wrong_kind_are_named(name):
    """Plain tuples have no names for their parts."""
    function, *arguments = CALLS[name]
    for i, argument in enumerate(arguments):
        if not isinstance(argument, np.ndarray):
            for wrong in (tuple(argument), None, argument[0], list(argument)):
                with pytest.raises(TypeError, match=rf"must be an? {type(argument).__name__}\("):
                    function(*arguments[:i], wrong, *arguments[i + 1 :])


@pytest.mark.parametrize("t", ["0.5", None, [0.5, 0.5], np.zeros(2, int), 1j, np.float16(0.5)], ids=repr)
def test_times_of_the_wrong_kind_are_named(t):
    for call in (
        lambda: bures.path(MU, MU, t),
        lambda: bures.interpolate(MU, MU, t),
        lambda: conditional.conditional_velocity(MU, MU, t),
        lambda: conditional.premetric_velocity(MU, HALF, V, t),
    ):
        with pytest.raises(TypeError, match="t must"):
            call()


def test_numbers_that_overflow_when_squared_are_named():
    for bad, message in (
        (
            Gaussian(np.array([1e160, 0.0]), np.eye(2)),
            r"mu\.mean must have entries of at most .*; got 1e\+160",
        ),
        (Gaussian(np.zeros(2), 1e307 * np.eye(2)), r"mu\.cov must have entries of at most .*; got 1e\+307"),
        (
            Gaussian(np.zeros(2, np.float32), np.float32(1e38) * np.eye(2, dtype=np.float32)),
            r"float32; got 1e\+38",
        ),
    ):
        for call in (
            bures.sq_distance,
            bures.gelbrich_map,
            bures.log,
            lambda mu, nu: bures.path(mu, nu, 0.5),
        ):
            with pytest.raises(ValueError, match=message):
                call(bad, bad)
    with pytest.raises(ValueError, match="cov must have entries of at most"):
        psd.sqrtm(1e307 * np.eye(2))
