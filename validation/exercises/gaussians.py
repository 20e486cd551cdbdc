"""Chapter 2: Gaussians and Bures."""

import numpy as np
from scipy.linalg import solve_continuous_lyapunov, sqrtm

from refwfm.bures import Tangent
from refwfm.measures import Gaussian
from refwfm.validation.exercises.exercise import Exercise, batched
from refwfm.validation.items import distances, geodesics, geometry, velocities


def exercises() -> list[Exercise]:
    """Return the exercises in their order."""
    return [gelbrich_map(), sq_distance(), geodesic(), velocity(), exponential()]


def monge(A, B):
    """Matrix of the optimal map."""
    root = np.real(sqrtm(A))
    inverse = np.linalg.inv(root)
    return inverse @ np.real(sqrtm(root @ B @ root)) @ inverse


def mover(A, B, t):
    """``T_t``."""
    return (1.0 - t) * np.eye(len(A)) + t * monge(A, B)


# ex-06


def gelbrich_map() -> Exercise:
    """Map between Gaussians."""
    return Exercise(
        id="ex-06",
        title="the optimal map between two Gaussians",
        stub='''\
def gelbrich_map(A, B):
    """Matrix C of the optimal map x -> mean1 + C (x - mean0) from N(mean0, A) to N(mean1, B).

    C is the one symmetric, positive definite solution of C A C = B (WFM-U4).

    Parameters
    ----------
    A, B : arrays, shape (d, d), symmetric positive definite

    Returns
    -------
    array, shape (d, d)

    Examples
    --------
    >>> gelbrich_map(np.diag([1.0, 4.0]), np.diag([9.0, 4.0]))
    array([[3., 0.],
           [0., 1.]])
    """
''',
        item="WFM-U4",
        oracle="the textbook's formula with SciPy's roots",
        residual=geometry.map_is_the_textbooks,
        adapt=lambda f: lambda mu, nu: batched(f, mu.cov, nu.cov),
        mistakes={
            "This is the map from B to A: the arguments are exchanged.": lambda A, B: monge(B, A),
            "The inverse roots on the outside are missing: A^(1/2) B A^(1/2) is B seen where A is the "
            "identity, and the map must come back from there.": lambda A, B: sqrtm(sqrtm(A) @ B @ sqrtm(A)),
            "This is A^(-1/2) B^(1/2), as if A and B commuted. It does send A to B (C A C^T = B), but it is"
            " not symmetric, so not the gradient of a convex function, and not optimal.": lambda A, B: (
                np.linalg.inv(sqrtm(A)) @ sqrtm(B)
            ),
            "This is B^(1/2) A^(-1/2), as if A and B commuted. It does send A to B (C A C^T = B), but it is"
            " not symmetric, so not the gradient of a convex function, and not optimal.": lambda A, B: (
                sqrtm(B) @ np.linalg.inv(sqrtm(A))
            ),
            "This map is made of Cholesky's factors. It does send A to B, but it is triangular, not "
            "symmetric: not optimal.": lambda A, B: (
                np.linalg.cholesky(B) @ np.linalg.inv(np.linalg.cholesky(A))
            ),
            "A root is missing: this multiplies variances by B / A, so it is the square of what a map does "
            "to lengths.": lambda A, B: np.linalg.inv(A) @ B,
            "NumPy's ** and np.sqrt work entry by entry: a matrix root is scipy.linalg.sqrtm, "
            "or comes from np.linalg.eigh.": lambda A, B: np.sqrt(np.abs(B / A)),
        },
        hints=(
            "Multiply C A C = B by A^(1/2) on both sides: what is the square of A^(1/2) C A^(1/2)?",
            "(A^(1/2) C A^(1/2))^2 = A^(1/2) B A^(1/2), and both sides are positive definite: take the root.",
            "root = sqrtm(A), inverse = inv(root); C = inverse @ sqrtm(root @ B @ root) @ inverse.",
        ),
    )


# ex-07


def _sq_distance(m, A, n, B):
    root = np.real(sqrtm(A))
    return np.sum((m - n) ** 2) + np.trace(A + B - 2.0 * np.real(sqrtm(root @ B @ root)))


def sq_distance() -> Exercise:
    """Bures-Wasserstein distance."""
    return Exercise(
        id="ex-07",
        title="the squared distance of two Gaussians",
        stub='''\
def sq_distance(mean0, A, mean1, B):
    """Squared 2-Wasserstein distance between N(mean0, A) and N(mean1, B).

    The squared distance of the means, and a term of the covariances that is the squared distance of the
    standard
    deviations when d = 1 (WFM-24).

    Parameters
    ----------
    mean0, mean1 : arrays, shape (d,)
    A, B : arrays, shape (d, d), symmetric positive definite

    Returns
    -------
    float

    Examples
    --------
    >>> float(sq_distance(np.zeros(1), np.array([[1.0]]), np.array([3.0]), np.array([[4.0]])))
    10.0
    """
''',
        item="WFM-24",
        oracle="the textbook's formula with SciPy's roots",
        residual=distances.distance_is_the_textbooks,
        adapt=lambda f: lambda mu, nu: batched(f, *mu, *nu),
        mistakes={
            "The means are forgotten: this is the Bures part alone.": lambda m, A, n, B: _sq_distance(
                m, A, m, B
            ),
            "The covariances are forgotten: this is the squared distance of the means alone.": (
                lambda m, A, n, B: np.sum((m - n) ** 2)
            ),
            "The cross term must count twice, as 2ab does in (a - b)^2.": lambda m, A, n, B: (
                np.sum((m - n) ** 2) + np.trace(A + B - np.real(sqrtm(sqrtm(A) @ B @ sqrtm(A))))
            ),
            "The cross term is as if A and B commuted: tr(A^(1/2) B^(1/2)) is too small when they do not.": (
                lambda m, A, n, B: np.sum((m - n) ** 2) + np.trace(A + B - 2.0 * sqrtm(A) @ sqrtm(B))
            ),
            "The cross term lacks its root: A^(1/2) B A^(1/2) has the unit of a variance squared.": (
                lambda m, A, n, B: np.sum((m - n) ** 2) + np.trace(A + B - 2.0 * sqrtm(A) @ B @ sqrtm(A))
            ),
            "This adds the squared Frobenius norm of A - B, which has the unit of a variance squared.": (
                lambda m, A, n, B: np.sum((m - n) ** 2) + np.sum((A - B) ** 2)
            ),
            "The distance of the means is not squared.": lambda m, A, n, B: (
                np.sqrt(np.sum((m - n) ** 2)) + _sq_distance(m, A, m, B)
            ),
        },
        hints=(
            "E |x - T(x)|^2 with the map T of exercise 6: the mean of |mean0 - mean1 + (I - C)(x - "
            "mean0)|^2.",
            "That is |mean0 - mean1|^2 + tr((I - C) A (I - C)) = ... + tr(A - 2 C A + B).",
            "|mean0 - mean1|^2 + trace(A + B - 2 sqrtm(sqrtm(A) @ B @ sqrtm(A))).",
        ),
    )


# ex-08


def geodesic() -> Exercise:
    """Geodesic between Gaussians."""
    return Exercise(
        id="ex-08",
        title="the geodesic between two Gaussians",
        stub='''\
def geodesic(mean0, A, mean1, B, t):
    """Mean and covariance at time t on the geodesic from N(mean0, A) to N(mean1, B).

    Each point x of the first goes straight to its image T(x); the points at time t are again Gaussian
    (WFM-8).

    Parameters
    ----------
    mean0, mean1 : arrays, shape (d,)
    A, B : arrays, shape (d, d), symmetric positive definite
    t : float in [0, 1]

    Returns
    -------
    mean, cov : tuple of arrays, shapes (d,) and (d, d)

    Examples
    --------
    >>> mean, cov = geodesic(np.zeros(1), np.array([[1.0]]), np.array([2.0]), np.array([[9.0]]), 0.5)
    >>> float(mean[0]), float(cov[0, 0])
    (1.0, 4.0)
    """
''',
        item="WFM-8",
        oracle="the textbook's geodesic with SciPy's roots",
        residual=geodesics.curve_is_the_geodesic,
        adapt=lambda f: lambda mu, nu, t: Gaussian(*batched(f, *mu, *nu, t)),
        mistakes={
            "The covariance goes straight from A to B. That is no transport: along a geodesic deviations, "
            "not variances, change at constant speed (with d = 1).": lambda m, A, n, B, t: (
                _mean(m, n, t),
                (1.0 - t) * A + t * B,
            ),
            "The covariance is T_t A: a map that is applied to points acts on a covariance from"
            " both sides.": (lambda m, A, n, B, t: (_mean(m, n, t), mover(A, B, t) @ A)),
            "Time runs backwards: at t = 0 it must be N(mean0, A).": lambda m, A, n, B, t: (
                _mean(n, m, t),
                mover(B, A, t) @ B @ mover(B, A, t),
            ),
            "The roots are mixed and squared: ((1 - t) A^(1/2) + t B^(1/2))^2 is the geodesic only where A "
            "and B commute.": lambda m, A, n, B, t: (
                _mean(m, n, t),
                _square(np.real((1.0 - t) * sqrtm(A) + t * sqrtm(B))),
            ),
            "T_t acts on B: it moves points of the first Gaussian, so it acts on A.": lambda m, A, n, B, t: (
                _mean(m, n, t),
                mover(A, B, t) @ B @ mover(A, B, t),
            ),
            "The covariance is right, and the mean stays where it was.": lambda m, A, n, B, t: (
                m,
                mover(A, B, t) @ A @ mover(A, B, t),
            ),
        },
        hints=(
            "A point at time t is (1 - t) x + t T(x). Which matrix multiplies x - mean0?",
            "T_t = (1 - t) I + t C, with the C of exercise 6. How does a covariance change under a linear "
            "map?",
            "mean = (1 - t) mean0 + t mean1, cov = T_t @ A @ T_t.",
        ),
    )


def _mean(m, n, t):
    return (1.0 - t) * m + t * n


def _square(matrix):
    return matrix @ matrix


# ex-09


def velocity_at(A, B, t):
    """``S_t``."""
    return (monge(A, B) - np.eye(len(A))) @ np.linalg.inv(mover(A, B, t))


def velocity() -> Exercise:
    """Velocity of the geodesic."""
    return Exercise(
        id="ex-09",
        title="the velocity of the geodesic",
        stub='''\
def velocity(A, B, t):
    """Symmetric matrix S_t of the velocity field x -> (mean1 - mean0) + S_t (x - mean_t) of the geodesic.

    The field that carries the Gaussian at time t on its way from N(., A) to N(., B) (WFM-10). A point
    that
    started at x is now at T_t(x) and has the velocity T(x) - x: say this in terms of where it is now.

    Parameters
    ----------
    A, B : arrays, shape (d, d), symmetric positive definite
    t : float in [0, 1]

    Returns
    -------
    array, shape (d, d)

    Examples
    --------
    >>> velocity(np.array([[1.0]]), np.array([[9.0]]), 0.5)
    array([[1.]])
    """
''',
        item="WFM-10",
        oracle="the textbook's velocity with SciPy's roots",
        residual=velocities.velocity_is_the_textbooks,
        adapt=lambda f: lambda mu, nu, t: Tangent(nu.mean - mu.mean, batched(f, mu.cov, nu.cov, t)),
        mistakes={
            "This is C - I, the velocity at t = 0, without the factor T_t^(-1): a point that is now at y "
            "started at T_t^(-1)(y), and has the velocity that it started with.": lambda A, B, t: (
                monge(A, B) - np.eye(len(A))
            ),
            "This is the rate dΣ/dt of the covariance (WFM-9), not the field that moves the points: "
            "dΣ/dt = S Σ + Σ S.": rate_of,
            "This divides by 1 - t as if C were the map that is left; from the point at time t the rest of "
            "the way is C T_t^(-1) - I.": lambda A, B, t: (monge(A, B) - np.eye(len(A))) / (1.0 - t),
            "C - I is multiplied by T_t instead of its inverse.": lambda A, B, t: (
                (monge(A, B) - np.eye(len(A))) @ mover(A, B, t)
            ),
            "The I of C - I is missing: C moves a point to its goal, C - I is the way.": lambda A, B, t: (
                monge(A, B) @ np.linalg.inv(mover(A, B, t))
            ),
            "This is the velocity at time 1 - t.": lambda A, B, t: velocity_at(A, B, 1.0 - t),
            "This is half of dΣ/dt Σ^(-1): right only where S and Σ commute. Solve S Σ + Σ S = dΣ/dt.": (
                lambda A, B, t: 0.5 * rate_of(A, B, t) @ np.linalg.inv(mover(A, B, t) @ A @ mover(A, B, t))
            ),
        },
        hints=(
            "With d = 1 the deviation goes straight from sqrt(A) to sqrt(B). Where is a point at time t, "
            "and how fast?",
            "The velocity is (C - I)(x - mean0), and x - mean0 = T_t^(-1) (y - mean_t).",
            "(C - I) @ inv((1 - t) I + t C), with the C of exercise 6.",
        ),
    )


def rate_of(A, B, t):
    """``dΣ/dt``."""
    T, rate = mover(A, B, t), monge(A, B) - np.eye(len(A))
    return rate @ A @ T + T @ A @ rate


# ex-10


def exponential() -> Exercise:
    """Exponential map."""
    return Exercise(
        id="ex-10",
        title="one step along a field",
        stub='''\
def exponential(mean, A, a, S):
    """Gaussian that N(mean, A) becomes when each point x moves by the field a + S (x - mean).

    This is the exponential map (WFM-U2), and the step with which Gaussians are generated.

    Parameters
    ----------
    mean, a : arrays, shape (d,)
    A, S : arrays, shape (d, d), symmetric

    Returns
    -------
    mean, cov : tuple of arrays, shapes (d,) and (d, d)

    Examples
    --------
    >>> mean, cov = exponential(np.zeros(1), np.array([[1.0]]), np.array([2.0]), np.array([[-0.5]]))
    >>> float(mean[0]), float(cov[0, 0])
    (2.0, 0.25)
    """
''',
        item="WFM-U2",
        oracle="a cloud of points with these moments, moved point by point",
        residual=geometry.exp_moves_a_cloud,
        adapt=lambda f: lambda mu, v: Gaussian(*batched(f, *mu, *v)),
        mistakes={
            "The term S A S is missing: A + S A + A S is the start of the step only, and stops being a "
            "covariance when the step is large.": lambda m, A, a, S: (m + a, A + S @ A + A @ S),
            "I + S acts from one side only.": lambda m, A, a, S: (m + a, (np.eye(len(A)) + S) @ A),
            "The step goes backwards.": lambda m, A, a, S: (m - a, push(A, -S)),
            "The I is missing: a point moves *by* S (x - mean), it does not become it.": lambda m, A, a, S: (
                m + a,
                S @ A @ S,
            ),
            "The mean does not move.": lambda m, A, a, S: (m, push(A, S)),
            "S is added to the covariance: it is a field, with no unit, that moves points.": (
                lambda m, A, a, S: (m + a, A + S)
            ),
            "This is S as the rate of the covariance, dΣ/dt = S, turned into a field first: S is the field "
            "already.": (lambda m, A, a, S: (m + a, push(A, solve_continuous_lyapunov(A, S)))),
        },
        hints=(
            "Write down where a point x goes: x + a + S (x - mean). What is the mean of that?",
            "Measured from the new mean, the point is at (I + S)(x - mean).",
            "mean + a, and (I + S) @ A @ (I + S).",
        ),
    )


def push(A, S):
    """Covariance after a step along the field S."""
    T = np.eye(len(A)) + S
    return T @ A @ T.T
