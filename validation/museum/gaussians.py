"""Gaussians: distances, geodesics, maps, barycenters."""

import numpy as np
import scipy.linalg

from refwfm import bures, psd
from refwfm.barycenter import barycenter
from refwfm.measures import Gaussian
from refwfm.validation.museum.exhibit import Exhibit, Mutant, Trap, near


def exhibits() -> list[Exhibit]:
    """Exhibits of this room."""
    return [*_distances(), *_geometry()]


def _distances() -> list[Exhibit]:
    return [
        Exhibit(
            "POT-708",
            "one term squared, the other not",
            "PythonOT/POT#708",
            2024,
            "In the distance between Gaussians the squared distance of the means was added to the distance "
            "of the covariances, not to its square; the same report had roots that are all NaN.",
            Mutant("WFM-24", "textbook, SciPy sqrtm", covariances_not_squared),
        ),
        Exhibit(
            "Manifolds-474",
            "trace of the root, root of the trace",
            "JuliaManifolds/Manifolds.jl#474",
            2022,
            "While the Bures-Wasserstein metric was added, its distance took the root of a trace where the "
            "trace of a matrix root is meant.",
            Mutant("WFM-24", "textbook, SciPy sqrtm", root_of_the_trace),
        ),
        Exhibit(
            "POT-695",
            "a mixture is not equal to itself",
            "PythonOT/POT#695",
            2024,
            "The distance between two copies of a mixture of Gaussians in 300 dimensions was 1e-5 in float32 "
            "and up to 1e-3 for the reporter's data. Here the means go through an expanded square.",
            Trap(copies_are_equal, bures.pairwise_sq_distance, distances_of_expanded_means),
        ),
        Exhibit(
            "geomstats-1442",
            "the distance of a covariance to itself is NaN",
            "geomstats/geomstats#1442",
            2022,
            "The metric returned NaN for a matrix and itself. Here traces are subtracted, rounding leaves a "
            "negative number, and its root is taken.",
            Trap(no_distance_is_undefined, distance, distance_by_traces),
        ),
        Exhibit(
            "geomstats-1882",
            "complex distances",
            "geomstats/geomstats#1882",
            2023,
            "The root of a product of two covariances, which is not symmetric, had small imaginary parts. "
            "One backend dropped them in silence, the other failed to compare complex numbers.",
            Trap(distances_are_real, bures.sq_distance, distance_by_the_root_of_a_product),
        ),
        Exhibit(
            "pytorch-fid-13",
            "fewer samples than dimensions",
            "mseitzer/pytorch-fid#13",
            2019,
            "The Fréchet distance of two sets of images stopped with an imaginary component of 0.69: the "
            "covariances of too few samples are singular, and the root of their product is not defined.",
            Trap(few_samples_have_a_distance, bures.sq_distance, distance_by_the_root_of_a_product),
        ),
    ]


def _geometry() -> list[Exhibit]:
    return [
        Exhibit(
            "spd_learn-2",
            "a geodesic that leaves its ends wrongly",
            "spdlearn/spd_learn#2",
            2026,
            "The cross term of the Bures-Wasserstein geodesic was twice a symmetric root in place of a "
            "product and its transpose. Both ends are right; comparison with another library showed it.",
            Mutant("WFM-8", "textbook, SciPy sqrtm", geodesic_with_a_symmetric_cross_term),
        ),
        Exhibit(
            "POT-503",
            "a map of NaN between degenerate samples",
            "PythonOT/POT#503",
            2023,
            "The linear map between two samples was a matrix of NaN when rounding made an eigenvalue of a "
            "covariance negative; nothing was said until a warning was added.",
            Trap(degenerate_maps_exist, bures.gelbrich_map, map_by_plain_roots),
        ),
        Exhibit(
            "ott-199",
            "a barycenter with zeros on its diagonal",
            "ott-jax/ott#199",
            2022,
            "The barycenter of two diagonal Gaussians lost variances: the iteration for matrix roots stopped "
            "at a tolerance that was too wide for small ones.",
            Trap(small_variances_survive, mean_covariance, mean_covariance_of_rough_roots),
        ),
    ]


# What is right


def distance(mu, nu):
    """Root of the squared distance."""
    return np.sqrt(bures.sq_distance(mu, nu))


def mean_covariance(mu, weights):
    """Covariance of the barycenter."""
    return barycenter(mu, weights).gaussian.cov


# What goes wrong


def _means(mu, nu):
    return np.sum((mu.mean - nu.mean) ** 2, axis=-1)


def _traces(mu, nu):
    return np.trace(mu.cov, axis1=-2, axis2=-1) + np.trace(nu.cov, axis1=-2, axis2=-1)


def covariances_not_squared(mu, nu):
    """``‖m - m'‖² + B``, B the distance of the covariances."""
    means = _means(mu, nu)
    return means + np.sqrt(np.maximum(bures.sq_distance(mu, nu) - means, 0.0))


def root_of_the_trace(mu, nu):
    """``tr A + tr B - 2 (tr A^{1/2} B A^{1/2})^{1/2}``."""
    cross = np.trace(mu.cov @ nu.cov, axis1=-2, axis2=-1)
    return _means(mu, nu) + _traces(mu, nu) - 2.0 * np.sqrt(cross)


def distances_of_expanded_means(mu, nu):
    """Means by the expanded square, in their dtype."""
    m, n = mu.mean, nu.mean
    means = np.sum(m * m, axis=-1)[:, None] + np.sum(n * n, axis=-1) - 2 * (m @ n.T)
    centred = [Gaussian(np.zeros_like(g.mean), g.cov) for g in (mu, nu)]
    return np.abs(means) + bures.pairwise_sq_distance(*centred)


def distance_by_traces(mu, nu):
    """Root of the difference of traces."""
    root = psd.sqrtm(mu.cov)
    values = np.linalg.eigvalsh(root @ nu.cov @ root)
    return np.sqrt(_means(mu, nu) + _traces(mu, nu) - 2.0 * np.sum(np.sqrt(np.abs(values)), axis=-1))


def distance_by_the_root_of_a_product(mu, nu):
    """SciPy's root of the product of the covariances."""
    cross = scipy.linalg.sqrtm(mu.cov @ nu.cov)
    return _means(mu, nu) + _traces(mu, nu) - 2.0 * np.trace(cross)


def geodesic_with_a_symmetric_cross_term(mu, nu, t):
    """``t (1 - t) 2 (A^{1/2} B A^{1/2})^{1/2}`` for ``t (1 - t) ((A B)^{1/2} + (B A)^{1/2})``."""
    root = psd.sqrtm(mu.cov)
    middle = psd.sqrtm(psd.symmetrize(root @ nu.cov @ root))
    s = t[:, None, None]
    cov = (1 - s) ** 2 * mu.cov + s**2 * nu.cov + 2.0 * s * (1 - s) * middle
    return Gaussian(bures.interpolate(mu, nu, t).mean, cov)


def map_by_plain_roots(mu, nu):
    """Roots of eigenvalues as they are, and their inverses."""

    def power(matrix, exponent):
        values, vectors = np.linalg.eigh(matrix)
        return (vectors * values**exponent) @ vectors.T

    root, inverse = power(mu.cov, 0.5), power(mu.cov, -0.5)
    return inverse @ power(root @ nu.cov @ root, 0.5) @ inverse


def mean_covariance_of_rough_roots(mu, weights):
    """The fixed-point iteration, roots by Newton's method with a few steps."""

    def rough_root(matrix):
        size = np.linalg.norm(matrix)
        root, inverse = matrix / size, np.eye(len(matrix))
        for _ in range(6):
            correction = 1.5 * np.eye(len(matrix)) - 0.5 * inverse @ root
            root, inverse = root @ correction, correction @ inverse
        return np.sqrt(size) * root

    cov = np.eye(mu.cov.shape[-1])
    for _ in range(20):
        root = rough_root(cov)
        middle = sum(w * rough_root(root @ member @ root) for w, member in zip(weights, mu.cov, strict=True))
        inverse = np.linalg.pinv(root)
        cov = inverse @ middle @ middle @ inverse
    return cov


# What is asked


def copies_are_equal(distances):
    """Ten Gaussians with unit covariances in 64 dimensions against themselves, in single precision."""
    mean = np.random.default_rng(0).random((10, 64)).astype(np.float32)
    mu = Gaussian(mean, np.broadcast_to(np.eye(64, dtype=np.float32), (10, 64, 64)))
    return bool(np.max(np.abs(np.diagonal(distances(mu, mu)))) < 1e-6)


def no_distance_is_undefined(distance):
    """Twenty covariances of size one against themselves: at most the root of rounding."""
    factors = np.random.default_rng(0).standard_normal((20, 4, 4))
    mu = Gaussian(np.zeros((20, 4)), factors @ factors.mT)
    found = distance(mu, mu)
    return bool(np.all(found >= 0) and np.all(found < 1e-6))


def distances_are_real(sq_distance):
    """Covariances of rank two with other images, against the nuclear norm of their factors."""
    x = np.asarray([[1.0, 2.0, 3.0], [1.0, 0.0, 1.0]])
    mu, nu = Gaussian(np.zeros(3), x.T @ x), Gaussian(np.zeros(3), x.T[::-1] @ x[:, ::-1])
    cross = np.linalg.norm(x @ x[:, ::-1].T, ord="nuc")
    return near(sq_distance(mu, nu), 2.0 * np.sum(x**2) - 2.0 * cross, 1e-10)


def few_samples_have_a_distance(sq_distance):
    """Covariances of five samples each in twelve dimensions, against the nuclear norm of the data."""
    x, y = np.random.default_rng(0).standard_normal((2, 5, 12))
    mu, nu = (Gaussian(np.zeros(12), z.T @ z) for z in (x, y))
    truth = np.sum(x**2) + np.sum(y**2) - 2.0 * np.linalg.norm(x @ y.T, ord="nuc")
    return near(sq_distance(mu, nu), truth, 1e-10)


def degenerate_maps_exist(gelbrich_map):
    """From a covariance of rank two to four times it: twice the points of its image."""
    x = np.asarray([[1.0, 2.0, 3.0], [0.1, 0.7, 0.3]])
    cov, zero = x.T @ x, np.zeros(3)
    found = gelbrich_map(Gaussian(zero, cov), Gaussian(zero, 4.0 * cov))
    return near(found @ x.T, 2.0 * x.T, 1e-6)


def small_variances_survive(covariance):
    """Barycenter of diag(0.32, 0.88, 0.11, 0.005) and another, against squared means of deviations."""
    variances, weights = (
        np.asarray([[0.32, 0.88, 0.11, 0.005], [0.31, 0.85, 0.11, 0.006]]),
        np.asarray([0.6, 0.4]),
    )
    mu = Gaussian(np.zeros((2, 4)), variances[:, :, None] * np.eye(4))
    return near(np.diagonal(covariance(mu, weights)) / (weights @ np.sqrt(variances)) ** 2, np.ones(4), 1e-6)
