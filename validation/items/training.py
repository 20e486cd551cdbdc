"""Audited objectives: what Bures-Wasserstein flow matching minimises, and the two baselines of table 2."""

import numpy as np
import scipy.linalg

from refwfm import bures, generation, objectives, psd
from refwfm.bures import EuclideanTangent, Tangent
from refwfm.measures import Gaussian
from refwfm.validation import textbook
from refwfm.validation.check import Check, Item, Misprint, differences, roundings, worst_of
from refwfm.validation.textbook import derivative, relative, scaled

WELL = "condition number 30, d up to 16"


def items() -> list[Item]:
    """Return the items in the order of the paper."""
    return [wfm_11(), table_2()]


def times_value(factor, loss):
    """Control: the loss times a factor, its derivative left as it is."""
    return lambda *args: (factor * loss(*args)[0], loss(*args)[1])


def times_derivative(factor, loss):
    """Control: the derivative times a factor, the loss left as it is."""
    return lambda *args: (loss(*args)[0], scaled(factor, loss(*args)[1]))


# WFM-11


def wfm_11() -> Item:
    """WFM objective."""
    loss = objectives.riemannian_loss
    return Item(
        id="WFM-11",
        paper="WFM",
        place="section 3, eqs. 11, 16 and 17; section 3.1 for Gaussians",
        title="objective, for Gaussians",
        latex=(
            r"\min_\theta\mathbb E\,\|a_\theta-\dot m_t\|^2"
            r"+\mathrm{Tr}\bigl((S_\theta-S_t)\Sigma_t(S_\theta-S_t)^\top\bigr)"
        ),
        statement="The squared error of the predicted field in L²(mu_t), averaged over pairs and times.",
        functions=(loss,),
        checks=(
            Check(
                "exact second moments",
                loss_is_the_error_of_the_field,
                loss,
                {
                    "half of it": times_value(0.5, loss),
                    "Frobenius norm of the error of S": _unweighted_loss,
                    "sum over the batch": lambda *args: (len(args[2].mean) * loss(*args)[0], loss(*args)[1]),
                    "tr(R R Σ), negative for rotations": _unsymmetric_loss,
                },
                roundings(300, WELL),
            ),
            Check(
                "finite differences of the textbook loss",
                derivative_of_the_loss,
                loss,
                {
                    "without the factor 2": times_derivative(0.5, loss),
                    "the sign": times_derivative(-1.0, loss),
                    "Σ on the other side": lambda pred, target, mu_t: (
                        loss(pred, target, mu_t)[0],
                        Tangent(
                            loss(pred, target, mu_t)[1].mean,
                            2.0 / len(mu_t.mean) * mu_t.cov @ (pred.lift - target.lift),
                        ),
                    ),
                },
                differences(300),
            ),
            Check(
                "quadrature over two Gaussians on the line",
                field_of_the_measure,
                lambda mu, nu, t, x: _field_at(*bures.path(mu, nu, t), x),
                {"as printed in (16), (17): blind to the measure": _blind_field},
                roundings(300, "an integral that is zero for the right field"),
                dimensions=(1,),
                repeats=1,
                many_shapes=True,
            ),
        ),
        misprints=(
            Misprint(
                "E11",
                r"f_\theta(X_t,t) \text{ in (16), (17), with } f_\theta:\mathbb R^d\times[0,1]\to\mathbb R^d",
                r"f_\theta(X_t;\mu_t,t)",
                "Without the measure as an argument this is ordinary flow matching between the mixtures: its "
                "minimum is positive even where (11) has minimum 0.",
                "as printed in (16), (17): blind to the measure",
            ),
        ),
    )


def _unweighted_loss(pred, target, mu_t):
    one = Gaussian(mu_t.mean, np.broadcast_to(np.eye(mu_t.mean.shape[-1]), mu_t.cov.shape))
    return objectives.riemannian_loss(pred, target, one)


def _unsymmetric_loss(pred, target, mu_t):
    R = pred.lift - target.lift
    value = np.mean(np.sum((pred.mean - target.mean) ** 2, axis=-1) + textbook.trace(R @ R @ mu_t.cov))
    return value, objectives.riemannian_loss(pred, target, mu_t)[1]


def _any_tangents(draw):
    """Tangents whose lifts are not symmetric, as matrices with free entries."""
    return Tangent(draw.normal(draw.size, draw.d), draw.normal(draw.size, draw.d, draw.d))


def loss_is_the_error_of_the_field(loss, draw):
    """Mean of ``‖f(x) - v_t(x)‖²`` over clouds with exactly the moments of mu_t."""
    mu, pred, target = draw.gaussians(), _any_tangents(draw), _any_tangents(draw)
    x = textbook.cloud(mu)
    truth = np.mean(np.sum((textbook.field(pred, mu, x) - textbook.field(target, mu, x)) ** 2, axis=-1))
    value, _ = draw.call(loss, pred, target, mu)
    return relative(np.reshape(value, 1), np.reshape(truth, 1))


def derivative_of_the_loss(loss, draw):
    """Derivative along random directions (of any matrices S) against ``⟨derivative, direction⟩``."""
    mu, pred, target, way = draw.gaussians(), *(_any_tangents(draw) for _ in range(3))

    def value(h):
        error = Tangent(pred.mean + h * way.mean - target.mean, pred.lift + h * way.lift - target.lift)
        return np.mean(textbook.inner(mu, error, error))

    _, gradient = draw.call(loss, pred, target, mu)
    return _slope_error(gradient, way, derivative(value))


def _slope_error(gradient, way, slope):
    result = np.sum(gradient[0] * way[0]) + np.sum(gradient[1] * way[1])
    size = np.sqrt(np.sum(gradient[0] ** 2) + np.sum(gradient[1] ** 2))
    size *= np.sqrt(np.sum(way[0] ** 2) + np.sum(way[1] ** 2))
    return abs(result - slope) / size


def _field_at(point, v, x):
    return v.mean + (x - point.mean) * v.lift[..., 0]


def _blind_field(mu, nu, t, x):
    """``E[v_t(x) | x]`` over the mixture of the points mu_t: the best field that only sees x and t."""
    point, v = textbook.path(mu, nu, t)
    variance = point.cov[..., 0]
    density = np.exp(-0.5 * (x - point.mean) ** 2 / variance) / np.sqrt(variance)
    posterior = density / density.sum(axis=0)
    return np.broadcast_to(np.sum(posterior * _field_at(point, v, x), axis=0), x.shape)


def field_of_the_measure(field, draw):
    """Objective (17) of the field, integrated over x and t, for N(0, 1) and N(0, 9) moving to N(0, 1)."""
    zero = np.zeros((2, 1))
    mu, nu = Gaussian(zero, np.array([[[1.0]], [[9.0]]])), Gaussian(zero, np.ones((2, 1, 1)))
    x = draw.rounded(np.linspace(-12.0, 12.0, 801)) * np.ones((2, 1))
    total = 0.0
    for node, weight in zip(*np.polynomial.legendre.leggauss(12), strict=True):
        t = draw.rounded(np.full(2, (1.0 + node) / 2.0))
        point, v = textbook.path(mu, nu, t)
        variance = point.cov[..., 0]
        mass = np.exp(-0.5 * x**2 / variance) / np.sqrt(2.0 * np.pi * variance) * (x[0, 1] - x[0, 0])
        error = draw.call(field, mu, nu, t, x) - _field_at(point, v, x)
        total += weight / 2.0 * np.mean(np.sum(mass * error**2, axis=1))
    return total


# Table 2


def table_2() -> Item:
    """Euclidean and Frobenius baselines."""
    euclidean, frobenius = objectives.euclidean_loss, objectives.frobenius_loss
    step = generation.projected_euler_step
    return Item(
        id="WFM-Table2",
        paper="WFM",
        place="section 4, table 2",
        title="Euclidean and Frobenius baselines",
        latex=(
            r"\|a-\dot m\|^2+\mathrm{Tr}(R\Sigma_tR),\ R\Sigma_t+\Sigma_tR=D-\dot\Sigma_t;"
            r"\qquad\|a-\dot m\|^2+\|D-\dot\Sigma_t\|_F^2"
        ),
        statement="The flow in coordinates (mean, covariance): two norms of the error, projected steps.",
        functions=(euclidean, frobenius, step, psd.project_psd),
        checks=(
            Check(
                "SciPy solve_continuous_lyapunov",
                euclidean_loss_is_the_norm_of_the_field,
                euclidean,
                {
                    "without the ½ of tr(E R) / 2": lambda *args: (
                        2.0 * euclidean(*args)[0] - np.mean(np.sum((args[0][0] - args[1][0]) ** 2, axis=-1)),
                        euclidean(*args)[1],
                    ),
                    "Frobenius norm": frobenius,
                },
                roundings(300, WELL),
            ),
            Check(
                "finite differences of SciPy's solution",
                derivative_of_the_euclidean_loss,
                euclidean,
                {
                    "twice": times_derivative(2.0, euclidean),
                    "2 E instead of R": lambda *args: (euclidean(*args)[0], frobenius(*args)[1]),
                },
                differences(300),
            ),
            Check(
                "NumPy",
                frobenius_loss_is_the_norm,
                frobenius,
                {"spectral norm": _spectral_loss, "half of it": times_value(0.5, frobenius)},
                roundings(100, "sums of up to 272 squares"),
            ),
            Check(
                "finite differences of the norm",
                derivative_of_the_frobenius_loss,
                frobenius,
                {"without the factor 2": times_derivative(0.5, frobenius)},
                differences(100),
            ),
            Check(
                "polar decomposition, SciPy polar",
                projection_is_highams,
                psd.project_psd,
                {
                    "absolute eigenvalues": lambda matrix: textbook.sqrtm(matrix @ matrix),
                    "no projection": lambda matrix: matrix,
                    "entries clipped": lambda matrix: np.maximum(matrix, 0.0),
                },
                roundings(300, "d up to 16"),
            ),
            Check(
                "NumPy, and Higham's projection",
                step_is_projected,
                step,
                {
                    "no projection": lambda mu, v, h: (
                        Gaussian(mu.mean + h * v.mean, mu.cov + h * v.cov),
                        step(mu, v, h)[1],
                    ),
                    "a whole step": lambda mu, v, h: step(mu, v, 1.0),
                },
                roundings(300, "d up to 16"),
            ),
        ),
    )


def _euclidean_tangents(draw):
    return EuclideanTangent(*draw.tangents())


def euclidean_loss_is_the_norm_of_the_field(loss, draw):
    """``‖a - ṁ‖² + tr(R Σ R)`` with SciPy's R."""
    mu, pred, target = draw.gaussians(), _euclidean_tangents(draw), _euclidean_tangents(draw)
    value, _ = draw.call(loss, pred, target, mu)
    return relative(np.reshape(value, 1), np.reshape(_euclidean_value(mu, pred, target), 1))


def _euclidean_value(mu, pred, target):
    error = Tangent(pred.mean - target.mean, textbook.lyapunov(mu.cov, pred.cov - target.cov))
    return np.mean(textbook.inner(mu, error, error))


def derivative_of_the_euclidean_loss(loss, draw):
    """Derivative along random directions (of symmetric D)."""
    mu, pred, target, way = draw.gaussians(), *(_euclidean_tangents(draw) for _ in range(3))
    _, gradient = draw.call(loss, pred, target, mu)
    slope = derivative(lambda h: _euclidean_value(mu, _moved(pred, way, h), target))
    return _slope_error(gradient, way, slope)


def _moved(v, way, h):
    return type(v)(v[0] + h * way[0], v[1] + h * way[1])


def frobenius_loss_is_the_norm(loss, draw):
    """Mean of ``‖a - ṁ‖² + ‖D - dΣ/dt‖_F²``."""
    mu, pred, target = draw.gaussians(), _euclidean_tangents(draw), _euclidean_tangents(draw)
    value, _ = draw.call(loss, pred, target, mu)
    return relative(np.reshape(value, 1), np.reshape(_frobenius_value(pred, target), 1))


def _frobenius_value(pred, target):
    norms = np.linalg.norm(pred[1] - target[1], "fro", axis=(-2, -1))
    return np.mean(np.linalg.norm(pred[0] - target[0], axis=-1) ** 2 + norms**2)


def _spectral_loss(pred, target, mu_t):
    norms = np.linalg.norm(pred[1] - target[1], 2, axis=(-2, -1))
    value = np.mean(np.linalg.norm(pred[0] - target[0], axis=-1) ** 2 + norms**2)
    return value, objectives.frobenius_loss(pred, target, mu_t)[1]


def derivative_of_the_frobenius_loss(loss, draw):
    """Derivative along random directions."""
    mu, pred, target, way = draw.gaussians(), *(_euclidean_tangents(draw) for _ in range(3))
    _, gradient = draw.call(loss, pred, target, mu)
    return _slope_error(gradient, way, derivative(lambda h: _frobenius_value(_moved(pred, way, h), target)))


def projection_is_highams(project_psd, draw):
    """``(X + |X|) / 2`` with the polar factor ``|X| = (X²)^{1/2}``, for random symmetric X."""
    matrix = draw.tangents().lift
    skew = np.tril(draw.rng.integers(-2, 3, matrix.shape), -1) / 4.0  # which changes nothing
    size = np.max(np.abs(matrix), axis=(-2, -1)) + np.max(np.abs(skew), axis=(-2, -1))
    return worst_of(
        *(
            relative(draw.call(project_psd, given), _projection(0.5 * (given + given.mT)), size)
            for given in (matrix, draw.rounded(matrix + skew - skew.mT))
        )
    )


def _projection(matrix):
    return 0.5 * (matrix + textbook.each(lambda single: scipy.linalg.polar(single)[1], matrix))


def step_is_projected(step, draw):
    """``m + h a``, the projection of ``Σ + h D``, and the lowest eigenvalue of that."""
    mu, v = draw.gaussians(), _euclidean_tangents(draw)
    v.cov[0] = -2.0 * mu.cov[0]  # to no variance at all
    result, lowest = draw.call(step, mu, v, 0.5)
    cov = mu.cov + 0.5 * v.cov
    size = np.max(np.abs(mu.cov), axis=(-2, -1)) + np.max(np.abs(cov), axis=(-2, -1))
    return worst_of(
        relative(result.mean, mu.mean + 0.5 * v.mean, 1.0 + np.max(np.abs(mu.mean), axis=-1)),
        relative(result.cov, _projection(cov), size),
        relative(lowest, textbook.each(lambda matrix: np.linalg.eigvalsh(matrix)[0], cov), size),
    )
