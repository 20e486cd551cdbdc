"""Chapter 6: flow matching of distributions."""

import numpy as np
from scipy.linalg import solve_continuous_lyapunov

from refwfm.bures import EuclideanTangent, Tangent
from refwfm.measures import Gaussian
from refwfm.validation import textbook
from refwfm.validation.exercises.exercise import Exercise, batched
from refwfm.validation.exercises.gaussians import monge, mover, push, rate_of, velocity_at
from refwfm.validation.items import conditional, training, velocities


def exercises() -> list[Exercise]:
    """Return the exercises in their order."""
    return [rate(), loss(), generation(), conditional_velocity(), gradient()]


# ex-26


def rate() -> Exercise:
    """Euclidean derivative."""
    return Exercise(
        id="ex-26",
        title="two velocities of one curve: the rate of the covariance",
        stub='''\
def rate(A, B, t):
    """Derivative in t of the covariance T_t A T_t of the geodesic from N(., A) to N(., B) (WFM-9).

    T_t = (1 - t) I + t C with the map C of exercise 6. This is the velocity of the *matrix*; exercise 9
    is the
    velocity of the *points*. A network that predicts one and is used as the other fails silently.

    Parameters
    ----------
    A, B : arrays, shape (d, d), symmetric positive definite
    t : float in [0, 1]

    Returns
    -------
    array, shape (d, d)

    Examples
    --------
    >>> rate(np.array([[1.0]]), np.array([[9.0]]), 0.5)
    array([[8.]])
    """
''',
        item="WFM-9",
        oracle="finite differences of the textbook's geodesic",
        residual=velocities.rate_is_the_difference,
        adapt=lambda f: lambda mu, nu, t: EuclideanTangent(nu.mean - mu.mean, batched(f, mu.cov, nu.cov, t)),
        mistakes={
            "This is S_t, the velocity of the points (exercise 9). The rate of the covariance "
            "is S_t Σ_t + Σ_t S_t.": (velocity_at),
            "One of the two terms is missing: the product rule gives (C - I) A T_t and its transpose.": (
                lambda A, B, t: (monge(A, B) - np.eye(len(A))) @ A @ mover(A, B, t)
            ),
            "This is B - A, the rate of the straight line between the covariances, which is not"
            " the geodesic.": (lambda A, B, t: B - A),
            "This is the rate at t = 0.": lambda A, B, t: rate_of(A, B, 0.0),
            "This is the rate at time 1 - t.": lambda A, B, t: rate_of(A, B, 1.0 - t),
            "This is 2 (C - I) T_t, as if A were the identity.": lambda A, B, t: (
                2.0 * (monge(A, B) - np.eye(len(A))) @ mover(A, B, t)
            ),
        },
        hints=(
            "What is the derivative of T_t?",
            "It is C - I. The product rule on T_t A T_t has two terms.",
            "D = C - I; D @ A @ T + T @ A @ D.",
        ),
    )


# ex-27


def _loss(a, S, b, R, cov):
    return np.sum((a - b) ** 2) + np.trace((S - R) @ cov @ (S - R).T)


def loss() -> Exercise:
    """Loss for Gaussians."""
    return Exercise(
        id="ex-27",
        title="the loss, when every sample is a Gaussian",
        stub='''\
def loss(a, S, b, R, cov):
    """Mean of |u(x) - v(x)|^2 over x from N(m, cov), for u = a + S (x - m) and v = b + R (x - m)
    (WFM-11).

    The network's field u is compared with the velocity v of the path where the Gaussian has its mass;
    this is the
    Riemannian norm of their difference. S need not be symmetric.

    Parameters
    ----------
    a, b : arrays, shape (d,)
    S, R, cov : arrays, shape (d, d)

    Returns
    -------
    float

    Examples
    --------
    >>> zero, one = np.zeros(1), np.eye(1)
    >>> float(loss(zero, 3.0 * one, np.ones(1), one, 4.0 * one))
    17.0
    """
''',
        item="WFM-11",
        oracle="exact second moments of clouds",
        residual=training.loss_is_the_error_of_the_field,
        adapt=lambda f: lambda u, v, mu: (np.mean(batched(f, *u, *v, mu.cov)), 0.0),
        mistakes={
            "This is the Frobenius norm of S - R: it weighs all directions alike, also those in"
            " which the Gaussian has no mass.": lambda a, S, b, R, cov: (
                np.sum((a - b) ** 2) + np.sum((S - R) ** 2)
            ),
            "tr((S - R)(S - R) cov): right for symmetric matrices only, and negative for "
            "rotations. One of the two must be transposed.": lambda a, S, b, R, cov: (
                np.sum((a - b) ** 2) + np.trace((S - R) @ (S - R) @ cov)
            ),
            "The means are forgotten.": lambda a, S, b, R, cov: _loss(a, S, a, R, cov),
            "The matrices are forgotten.": lambda a, S, b, R, cov: _loss(a, S, b, S, cov),
            "cov is squared: the norm of (S - R) cov.": lambda a, S, b, R, cov: (
                np.sum((a - b) ** 2) + np.sum(((S - R) @ cov) ** 2)
            ),
            "The transpose is on the wrong side: tr(E^T cov E) is E|E^T x|^2, not E|E x|^2.": (
                lambda a, S, b, R, cov: np.sum((a - b) ** 2) + np.trace((S - R).T @ cov @ (S - R))
            ),
        },
        hints=(
            "The mean of |c + E z|^2 with E z of mean 0: two terms.",
            "E |E z|^2 = E tr(E z z^T E^T), and the mean of z z^T is cov.",
            "|a - b|^2 + trace(E @ cov @ E.T), E = S - R.",
        ),
    )


# ex-28


def _generate(field, mean, A, n_steps, step=push, first=0):
    h = 1.0 / n_steps
    for k in range(n_steps):
        a, S = field(mean, A, (k + first) * h)
        mean, A = mean + h * a, step(A, h * S)
    return mean, A


def generation() -> Exercise:
    """Generation of Gaussians."""
    return Exercise(
        id="ex-28",
        title="generating a Gaussian",
        stub='''\
def generate(field, mean, A, n_steps):
    """Gaussian at t = 1 that starts as N(mean, A) at t = 0 and follows a field, in steps of equal
    length (WFM-Alg2).

    Each step is the exponential map of exercise 10, along h times the field at the beginning of the step.

    Parameters
    ----------
    field : function
        field(mean, cov, t): a tuple (a, S), the velocity a + S (x - mean) of points x
    mean, A : arrays, shapes (d,) and (d, d)
    n_steps : int

    Returns
    -------
    mean, cov : tuple of arrays, shapes (d,) and (d, d)

    Examples
    --------
    >>> mean, cov = generate(lambda m, A, t: (m, np.eye(1)), np.ones(1), np.eye(1), 2)
    >>> float(mean[0]), float(cov[0, 0])
    (2.25, 5.0625)
    """
''',
        item="WFM-Alg2",
        oracle="the geodesic, which its own field follows exactly, in however few steps",
        residual=geodesic_is_followed,
        adapt=lambda f: f,
        mistakes={
            "The covariance takes additive steps, A + h (S A + A S): they are not exact, and "
            "leave the covariances.": (
                lambda field, m, A, n: _generate(field, m, A, n, lambda A, S: A + S @ A + A @ S)
            ),
            "I + h S acts from one side only.": lambda field, m, A, n: _generate(
                field, m, A, n, lambda A, S: A + S @ A
            ),
            "The field is taken at the end of each step.": lambda field, m, A, n: _generate(
                field, m, A, n, first=1
            ),
            "The field is multiplied by no step length.": lambda field, m, A, n: _generate(
                lambda *at: tuple(n * part for part in field(*at)), m, A, n
            ),
            "S is taken for the rate of the covariance: A + h S.": lambda field, m, A, n: _generate(
                field, m, A, n, lambda A, S: A + S
            ),
            "The field is always taken at t = 0.": lambda field, m, A, n: _generate(
                lambda m, A, t: field(m, A, 0.0), m, A, n
            ),
            "S is taken for the rate of the covariance, and turned into a field of points once more.": (
                lambda field, m, A, n: _generate(
                    field, m, A, n, lambda A, S: push(A, solve_continuous_lyapunov(A, S))
                )
            ),
        },
        hints=(
            "A loop: step k is at the time k / n_steps.",
            "a, S = field(mean, A, k h); then exercise 10 with h a and h S.",
            "U = np.eye(d) + h * S; mean = mean + h * a; A = U @ A @ U.T.",
        ),
    )


def geodesic_is_followed(generate, draw):
    """End of the flow of a geodesic's own velocity, by 1, 2 and 5 steps, against the target."""
    mu, nu = draw.gaussians(), draw.gaussians()
    worst = 0.0
    for m, A, n, B in zip(*mu, *nu, strict=True):
        for n_steps in (1, 2, 5):
            mean, cov = generate(lambda x, S, t, A=A, B=B, v=n - m: (v, velocity_at(A, B, t)), m, A, n_steps)
            errors = (textbook.relative(mean[None], n[None], 1.0), textbook.relative(cov[None], B[None]))
            worst = max(worst, *errors)
    return worst


# ex-29


def conditional_velocity() -> Exercise:
    """Conditional field."""
    return Exercise(
        id="ex-29",
        title="the rest of the way over the rest of the time",
        stub='''\
def conditional_velocity(mean, A, target, B, t):
    """Velocity a + S (x - mean) at N(mean, A), at time t, of the flow that reaches N(target, B) at t =
    1 (WFM-23).

    The way that is left, log of the target seen from here, divided by the time that is left. On a
    geodesic it is
    the velocity of exercise 9, but it needs only to know where one is, not where one came from.

    Parameters
    ----------
    mean, target : arrays, shape (d,)
    A, B : arrays, shape (d, d), symmetric positive definite
    t : float in [0, 1)

    Returns
    -------
    a, S : tuple of arrays, shapes (d,) and (d, d)

    Examples
    --------
    >>> a, S = conditional_velocity(np.zeros(1), np.eye(1), np.ones(1), 4.0 * np.eye(1), 0.5)
    >>> float(a[0]), float(S[0, 0])
    (2.0, 2.0)
    """
''',
        item="WFM-23",
        oracle="the textbook's velocity of the geodesic, with SciPy's roots",
        residual=from_where_it_is,
        adapt=lambda f: lambda mu, nu, t: Tangent(*batched(f, *mu, *nu, t)),
        mistakes={
            "The factor 1 / (1 - t) is missing: this is the way that is left, not yet divided by "
            "the time that is left.": (lambda m, A, n, B, t: (n - m, monge(A, B) - np.eye(len(A)))),
            "The sign is that of a misprint: -1 / (1 - t) leads away.": lambda m, A, n, B, t: _over(
                t - 1.0, m, A, n, B
            ),
            "Divided by t, the time that is gone, instead of 1 - t.": lambda m, A, n, B, t: _over(
                t, m, A, n, B
            ),
            "The I is missing in S: C is where points go, C - I the way there.": lambda m, A, n, B, t: (
                (n - m) / (1.0 - t),
                monge(A, B) / (1.0 - t),
            ),
            "The map goes from the target to here.": lambda m, A, n, B, t: (
                (n - m) / (1.0 - t),
                (monge(B, A) - np.eye(len(A))) / (1.0 - t),
            ),
            "S is (B - A) / (1 - t), the velocity of the covariance on a straight line, not of points.": (
                lambda m, A, n, B, t: ((n - m) / (1.0 - t), (B - A) / (1.0 - t))
            ),
            "The mean is right, and S multiplied by T_t^(-1) as in exercise 9. That is for the "
            "Gaussian at t = 0; here A is the covariance now.": lambda m, A, n, B, t: (
                (n - m) / (1.0 - t),
                velocity_at(A, B, t),
            ),
        },
        hints=(
            "In the plane: at x, to reach y at t = 1, the velocity is (y - x) / (1 - t).",
            "y - x becomes the logarithm: (target - mean, C - I) with the C of exercise 6 from A to B.",
            "(target - mean) / (1 - t), (C - I) / (1 - t).",
        ),
    )


def _over(time, m, A, n, B):
    return (n - m) / time, (monge(A, B) - np.eye(len(A))) / time


def from_where_it_is(velocity, draw):
    """At the Gaussian of the geodesic at time t, against the velocity there."""

    def from_the_start(mu, nu, t):
        here = Gaussian(*textbook.path(mu, nu, t)[0])
        return velocity(here, nu, t)

    return conditional.rest_over_rest(from_the_start, draw)


# ex-30


def gradient() -> Exercise:
    """Gradient of half the squared distance."""
    return Exercise(
        id="ex-30",
        title="downhill to a Gaussian",
        stub='''\
def gradient(mean, A, target, B):
    """Gradient of half the squared distance to N(target, B), at N(mean, A), as a field a + S (x - mean)
    (WFM-21).

    To first order, when points move by h u, the half squared distance changes by h times the mean of
    <gradient, u>
    over N(mean, A). Going against the gradient is going to the target.

    Parameters
    ----------
    mean, target : arrays, shape (d,)
    A, B : arrays, shape (d, d), symmetric positive definite

    Returns
    -------
    a, S : tuple of arrays, shapes (d,) and (d, d)

    Examples
    --------
    >>> a, S = gradient(np.zeros(1), np.eye(1), np.ones(1), 4.0 * np.eye(1))
    >>> float(a[0]), float(S[0, 0])
    (-1.0, -1.0)
    """
''',
        item="WFM-21",
        oracle="finite differences of the textbook's distance, along random fields",
        residual=conditional.slope_along_any_tangent,
        adapt=lambda f: lambda mu, nu: Tangent(*batched(f, *mu, *nu)),
        mistakes={
            "This is twice it, the gradient of the whole squared distance (as one paper prints it).": (
                lambda m, A, n, B: (2.0 * (m - n), 2.0 * (np.eye(len(A)) - monge(A, B)))
            ),
            "The sign is wrong: the gradient points uphill, away from the target.": lambda m, A, n, B: (
                n - m,
                monge(A, B) - np.eye(len(A)),
            ),
            "S is the gradient with respect to the matrix A, (I - C) / 2, not a field: fields "
            "are multiplied by cov in the inner product.": lambda m, A, n, B: (
                m - n,
                0.5 * (np.eye(len(A)) - monge(A, B)),
            ),
            "S is multiplied by A: the inner product of fields has cov in it already.": lambda m, A, n, B: (
                m - n,
                (np.eye(len(A)) - monge(A, B)) @ A,
            ),
            "The map goes from the target to here.": lambda m, A, n, B: (m - n, np.eye(len(A)) - monge(B, A)),
            "S is A - B, as if covariances were points of a flat space.": lambda m, A, n, B: (m - n, A - B),
        },
        hints=(
            "In the plane, the gradient of |x - y|^2 / 2 is x - y: minus the way to y.",
            "The way to the target is its logarithm, (target - mean, C - I).",
            "mean - target, I - C.",
        ),
    )
