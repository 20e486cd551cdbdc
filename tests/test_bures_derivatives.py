"""Derivatives of distances and roots, at repeated eigenvalues too; and certificates of decompositions."""

import array_api_strict
import numpy as np
import oracles
import pytest
from oracles import relative

from refwfm import bures, psd
from refwfm._array import to_host
from refwfm.barycenter import barycenter
from refwfm.evidence import ConvergenceError, eigh, svd
from refwfm.measures import Gaussian, SingularCovarianceError

torch = pytest.importorskip("torch")

FD = 1e-6  # a central difference with step 1e-5, relative to a gradient of order one


def gradients(function, *arrays):
    """Of the sum of the results, by torch."""
    leaves = [torch.asarray(x.copy()).requires_grad_() for x in arrays]
    torch.sum(function(*leaves)).backward()
    return [to_host(leaf.grad) for leaf in leaves]


def differences(function, *arrays):
    """Of the sum of the results; in symmetric directions for matrices, the only argument or every second."""
    result = []
    for k, x in enumerate(arrays):
        gradient = np.zeros_like(x)
        for index in np.ndindex(x.shape):
            step = np.zeros_like(x)
            step[index] = 1e-5
            if k % 2 or len(arrays) == 1:
                step = 0.5 * (step + step.mT)
            ends = [np.sum(function(*arrays[:k], x + s * step, *arrays[k + 1 :])) for s in (1, -1)]
            gradient[index] = (ends[0] - ends[1]) / 2e-5
        result.append(gradient)
    return result


def sq_distance(*parts):
    return bures.sq_distance(Gaussian(*parts[:2]), Gaussian(*parts[2:]))


def matrix_of_distances(*parts):
    value = bures.pairwise_sq_distance(Gaussian(*parts[:2]), Gaussian(*parts[2:]))
    weights = np.arange(1.0, 1.0 + np.prod(value.shape)).reshape(value.shape)
    return value * (torch.asarray(weights) if isinstance(value, torch.Tensor) else weights)


@pytest.mark.parametrize("library", ["torch", "jax"])
def test_gradient_at_repeated_eigenvalues(library):
    """``I - C``: at N(0, I) against diag(4, 4, 9), where the derivatives of eigenvectors are infinite."""
    mean, cov, other = np.zeros(3), np.eye(3), np.diag([4.0, 4.0, 9.0])
    if library == "torch":
        _, of_cov, _, of_other = gradients(sq_distance, mean, cov, mean, other)
    else:
        jax = pytest.importorskip("jax")
        jax.config.update("jax_enable_x64", True)
        parts = map(jax.numpy.asarray, (mean, cov, mean, other))
        of_cov, of_other = jax.grad(sq_distance, argnums=(1, 3))(*parts)
    np.testing.assert_allclose(of_cov, np.diag([-1.0, -1.0, -2.0]), atol=1e-14)
    np.testing.assert_allclose(of_other, np.diag([1 / 2, 1 / 2, 2 / 3]), atol=1e-14)


@pytest.mark.parametrize("equal", [False, True])
@pytest.mark.parametrize("d", [1, 2, 3])
def test_distance_against_differences(d, equal, rng):
    """Batches that broadcast; two equal measures, where the gradient is 0."""
    mu, nu = oracles.random_gaussian(rng, 2, 1, d), oracles.random_gaussian(rng, 3, d)
    if equal:
        nu = Gaussian(mu.mean[0], mu.cov[0])
    found, truth = gradients(sq_distance, *mu, *nu), differences(sq_distance, *mu, *nu)
    for gradient, expected in zip(found, truth, strict=True):
        assert relative(gradient, expected, 1.0) < FD
        assert equal or relative(-gradient, expected) > 0.1


@pytest.mark.parametrize("d", [1, 2, 3])
def test_matrix_against_differences(d, rng):
    mu, nu = oracles.random_gaussian(rng, 2, d), oracles.random_gaussian(rng, 3, d)
    nu.cov[0] = mu.cov[0]  # a close pair
    found = gradients(matrix_of_distances, *mu, *nu)
    for gradient, expected in zip(found, differences(matrix_of_distances, *mu, *nu), strict=True):
        assert relative(gradient, expected, 1.0) < FD


def test_blocks_do_not_change_the_gradient(rng, monkeypatch):
    mu, nu = oracles.random_gaussian(rng, 4, 3), oracles.random_gaussian(rng, 3, 3)
    whole = gradients(matrix_of_distances, *mu, *nu)
    monkeypatch.setattr("refwfm.bures_metric.PAIRWISE_BLOCK", 1)
    for gradient, expected in zip(gradients(matrix_of_distances, *mu, *nu), whole, strict=True):
        assert relative(gradient, expected) < 1e-13


@pytest.mark.parametrize("d", [1, 2, 3])
def test_factored_distance_against_differences(d, rng):
    m0, F, m1, G = (rng.standard_normal(shape) for shape in ((2, d), (2, 1, d, d), (d,), (2, d, d)))
    m0 = m0[:, None]

    def function(m0, F, m1, G):
        return bures.factored_sq_distance(m0, F, m1, G)

    found = gradients(function, m0, F, m1, G)
    symmetric = [(g + g.mT) / 2 if k % 2 else g for k, g in enumerate(found)]
    for gradient, expected in zip(symmetric, differences(function, m0, F, m1, G), strict=True):
        assert relative(gradient, expected, 1.0) < FD


ROOTS = {"sqrtm": psd.sqrtm, "inv_sqrtm": psd.inv_sqrtm, "nuclear_norm": psd.nuclear_norm}


@pytest.mark.parametrize("spectrum", ["distinct", "repeated"])
@pytest.mark.parametrize("name", ROOTS)
def test_roots_against_differences(name, spectrum, rng):
    weights = rng.standard_normal((3, 3))
    cov = oracles.random_cov(rng, 3) if spectrum == "distinct" else np.diag([4.0, 4.0, 9.0])

    def weighted(cov):
        value = ROOTS[name](cov)
        return (
            value * (torch.asarray(weights) if isinstance(value, torch.Tensor) else weights)
            if value.ndim
            else value
        )

    (found,), (truth,) = gradients(weighted, cov), differences(weighted, cov)
    assert relative(found, truth) < FD
    assert relative(2 * found, truth) > 0.1


def test_a_singular_covariance_has_no_gradient_and_is_no_obstacle_to_others():
    mean, flat, full = np.zeros(2), np.diag([1.0, 0.0]), np.diag([4.0, 9.0])
    with pytest.raises(SingularCovarianceError, match="no derivative at a singular covariance"):
        gradients(
            lambda A: sq_distance(*map(torch.asarray, (mean,)), A, torch.asarray(mean), torch.asarray(full)),
            flat,
        )
    (found,) = gradients(
        lambda A: sq_distance(torch.asarray(mean), A, torch.asarray(mean), torch.asarray(flat)), full
    )
    np.testing.assert_allclose(found, np.diag([1 - 0.5, 1.0]), atol=1e-15)  # I - diag(1 / 2, 0)
    (found,) = gradients(
        lambda m: sq_distance(m, *map(torch.asarray, (flat, mean, full))), np.array([1.0, 2.0])
    )
    np.testing.assert_allclose(found, [2.0, 4.0])
    for function in ROOTS.values():
        with pytest.raises(SingularCovarianceError, match=r"derivative|no inverse root"):
            gradients(function, flat)


WITHOUT = {
    "gelbrich_map": bures.gelbrich_map,
    "log": lambda mu, nu: bures.log(mu, nu).lift,
    "point": lambda mu, nu: bures.path(mu, nu, 0.5)[0].cov,
    "velocity": lambda mu, nu: bures.velocity(mu, nu, 0.5).lift,
    "interpolate": lambda mu, nu: bures.interpolate(mu, nu, 0.5).cov,
    "euclidean_velocity": lambda mu, nu: bures.euclidean_velocity(mu, nu, 0.5).cov,
    "from_euclidean": lambda mu, nu: bures.from_euclidean(mu.cov, bures.EuclideanTangent(*nu)).lift,
    "factor": lambda mu, nu: psd.factor(mu.cov),
    "solve_lyapunov": lambda mu, nu: psd.solve_lyapunov(mu.cov, nu.cov),
    "solve_lift": lambda mu, nu: psd.solve_lift(mu.cov, nu.cov),
    "project_psd": lambda mu, nu: psd.project_psd(mu.cov),
    "barycenter": lambda mu, nu: barycenter(Gaussian(mu.mean[None, :], mu.cov[None, :, :])).gaussian.cov,
}


@pytest.mark.parametrize("library", ["torch", "jax"])
@pytest.mark.parametrize("name", WITHOUT)
def test_the_rest_has_no_derivative_and_says_so(name, library):
    """At repeated eigenvalues, where the libraries' own would be NaN."""
    if library == "torch":
        mean, cov = torch.zeros(3, dtype=torch.float64), torch.eye(3, dtype=torch.float64, requires_grad=True)
        value = WITHOUT[name](Gaussian(mean, cov), Gaussian(mean, 4.0 * torch.eye(3, dtype=torch.float64)))
        with pytest.raises(RuntimeError, match="has no derivative; detach"):
            torch.sum(value).backward()
        return
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    mean, other = jax.numpy.zeros(3), 4.0 * jax.numpy.eye(3)

    def total(cov):
        return jax.numpy.sum(WITHOUT[name](Gaussian(mean, cov), Gaussian(mean, other)))

    with pytest.raises(
        (RuntimeError, TypeError), match=r"has no derivative; detach|neither trace nor diff|Abstract tracer"
    ):
        jax.grad(total)(jax.numpy.eye(3))


# Certificates


@pytest.fixture
def strict_linalg():
    return array_api_strict.linalg


BROKEN = {
    "not orthogonal": lambda parts: (parts[0], 1.001 * parts[1]),
    "another matrix": lambda parts: (1.001 * parts[0], parts[1]),
    "NaN": lambda parts: (parts[0] * float("nan"), parts[1]),
    "in another order": lambda parts: (array_api_strict.flip(parts[0], axis=-1), parts[1]),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_what_a_device_returns_is_checked(fault, rng, monkeypatch):
    """As batched solvers of GPUs have returned it; the second device of array-api-strict stands for one."""
    place = array_api_strict.Device("device1")
    cov = oracles.random_cov(rng, 2, 3)
    there, here = (array_api_strict.asarray(cov, device=device) for device in (place, None))
    proper = array_api_strict.linalg.eigh
    assert np.allclose(to_host(psd.sqrtm(there)), [oracles.sqrtm(c) for c in cov])
    monkeypatch.setattr(array_api_strict.linalg, "eigh", lambda matrix: BROKEN[fault](proper(matrix)))
    with pytest.raises(
        ConvergenceError, match=r"decomposition of cov on .*device1.* failed: .*move the arrays"
    ):
        eigh(there, "cov")
    with pytest.raises(ConvergenceError, match="failed"):
        psd.factor(there)
    eigh(here, "cov")  # LAPACK is not doubted


def test_singular_values_of_a_device_are_checked(rng, monkeypatch):
    place = array_api_strict.Device("device1")
    there = array_api_strict.asarray(rng.standard_normal((2, 3, 3)), device=place)
    assert psd.nuclear_norm(there).device == place
    proper = array_api_strict.linalg.svd

    def broken(matrix):
        left, sigma, right = proper(matrix)
        return left, sigma, array_api_strict.flip(right, axis=-1)

    monkeypatch.setattr(array_api_strict.linalg, "svd", broken)
    for call in (
        lambda: svd(there, "x"),
        lambda: psd.nuclear_norm(there),
        lambda: psd.solve_lift(there, there),
    ):
        with pytest.raises(ConvergenceError, match=r"decomposition of .* failed"):
            call()


def test_nan_on_a_device_is_no_failure_of_its_solver():
    place = array_api_strict.Device("device1")
    cov = array_api_strict.asarray(np.stack([np.eye(2), np.full((2, 2), np.nan)]), device=place)
    values = to_host(eigh(cov, "cov")[0])
    assert np.all(np.isnan(values[1]))
    np.testing.assert_array_equal(values[0], 1.0)
