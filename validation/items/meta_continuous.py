"""Audited formulas of Meta Optimal Transport: convex potentials, their losses and conjugates."""

import numpy as np

from refwfm.clouds import moments
from refwfm.measures import Gaussian
from refwfm.meta import icnn, w2gn
from refwfm.networks import activations
from refwfm.training import optim
from refwfm.training import w2gn as fitting
from refwfm.validation import convex_checks, meta_training, textbook
from refwfm.validation import plain_potentials as plain
from refwfm.validation.check import Check, Item, Misprint, roundings
from refwfm.validation.plain_potentials import PENALTY, M, N, adjoint, largest
from refwfm.validation.textbook import complex_step, relative

SMALL = (1, 2, 3)
WELL = roundings(1000, "five ridges and a quadratic part at a few points; means of them")


def items() -> list[Item]:
    """Return the items in the order of the specification."""
    return [ot_10(), ot_11(), ot_12()]


# The network


def ot_10() -> Item:
    """Input-convex network and its map."""
    return Item(
        id="META-OT-10",
        paper="Meta OT",
        place="section 4.2; implementation",
        title="input-convex network and its gradient",
        latex=r"\psi(x)=w^\top\sigma(Ux+c)+v^\top x+d_0+\|Lx\|^2,\quad"
        r"\nabla\psi(x)=U^\top(w\odot s)+v+2L^\top Lx",
        statement="A sum of convex ridges and a quadratic; its gradient is a monotone map.",
        functions=(
            icnn.potential,
            icnn.gradient_map,
            icnn.potential_and_map,
            icnn.hessian_product,
            icnn.quadratic_parameters,
            w2gn.transfer_colours,
            activations.leaky_relu,
            activations.leaky_slope,
            activations.softplus,
        ),
        checks=(
            Check(
                "plain NumPy, one point at a time",
                potential_is_plain,
                lambda params, x: icnn.potential(params, x)[0],
                {
                    "weights that are not positive": _with_plain_weights,
                    "half of the quadratic": lambda params, x: (
                        icnn.potential(params, x)[0]
                        - 0.5 * np.sum((x @ params["quadratic"].mT) ** 2, axis=-1)
                    ),
                    "without the constant": lambda params, x: icnn.potential(
                        {**params, "constant": 0.0 * params["constant"]}, x
                    )[0],
                },
                WELL,
                dimensions=SMALL,
            ),
            Check(
                "complex-step derivative of plain NumPy in x",
                map_is_gradient,
                lambda params, x: icnn.gradient_map(params, x)[0],
                {
                    "L Lᵀ for LᵀL": lambda params, x: (
                        icnn.gradient_map({**params, "quadratic": params["quadratic"].mT}, x)[0]
                        + (x[..., :1] * 0.1 if x.shape[-1] == 1 else 0.0)
                    ),
                    "without the factor 2": lambda params, x: (
                        icnn.gradient_map(params, x)[0] - 0.5 * icnn.hessian_product(params, x)
                    ),
                    "slopes of a rectifier that does not leak": _without_leak,
                },
                WELL,
                dimensions=SMALL,
            ),
            Check(
                "complex-step derivative of plain NumPy in the parameters",
                pullback_is_adjoint,
                lambda params, x, g, e: icnn.potential_and_map(params, x)[2](g, e),
                {
                    "of the value alone": lambda params, x, g, e: icnn.potential(params, x)[1](g),
                    "of the map alone": lambda params, x, g, e: icnn.gradient_map(params, x)[1](e),
                    "one half of the symmetric product": _half_product,
                },
                WELL,
                dimensions=SMALL,
                many_shapes=True,
            ),
            convex_checks.shared_check(),
            convex_checks.colour_check(),
            Check(
                "closed form between Gaussians (SciPy roots)",
                gaussian_map_is_held,
                lambda A, q, x: icnn.gradient_map(icnn.quadratic_parameters(A, q, width=2), x)[0],
                {
                    "‖L x‖² for half of it": lambda A, q, x: icnn.gradient_map(
                        icnn.quadratic_parameters(2.0 * A, q, width=2), x
                    )[0],
                    "without the shift": lambda A, q, x: icnn.gradient_map(
                        icnn.quadratic_parameters(A, 0.0 * q, width=2), x
                    )[0],
                },
                roundings(1000, "a matrix root of condition number 30"),
                dimensions=SMALL,
            ),
        ),
    )


def _with_plain_weights(params, x):
    raised = np.log(np.expm1(np.abs(params["omega"])))
    return icnn.potential({**params, "omega": raised}, x)[0]


def _without_leak(params, x):
    w = np.log1p(np.exp(params["omega"]))
    off = (x @ params["hidden"].mT + params["bias"][..., None, :]) <= 0
    leak = 0.01 * (off * w[..., None, :]) @ params["hidden"]
    return (
        icnn.gradient_map(params, x)[0] - leak - 0.01 * np.sum(w) * np.sum(params["hidden"], axis=-2)[:, None]
    )


def _half_product(params, x, g, e):
    d_params, d_x = icnn.potential_and_map(params, x)[2](g, e)
    return {**d_params, "quadratic": d_params["quadratic"] - 2.0 * params["quadratic"] @ (e.mT @ x)}, d_x


def potential_is_plain(potential, draw):
    """Values of three networks at four points each."""
    params, x = plain.random_icnn(draw, 3), draw.normal(3, N, draw.d)
    truth = plain.over(plain.potential, params, x)
    return relative(draw.call(potential, params, x), truth, largest(truth))


def map_is_gradient(gradient_map, draw):
    """Gradients of three networks at four points each."""
    params, x = plain.random_icnn(draw, 3), draw.normal(3, N, draw.d)

    def slopes(one, point):
        return np.stack(
            [complex_step(lambda h, e=e: plain.potential(one, point + h * e)) for e in np.eye(draw.d)]
        )

    truth = plain.over(slopes, params, x)
    return relative(draw.call(gradient_map, params, x), truth, largest(truth))


def pullback_is_adjoint(pullback, draw):
    """Of value and map together, in the parameters and in x, for one network that all points share."""
    params, x = plain.random_icnn(draw), draw.normal(3, N, draw.d)
    g, e = draw.normal(3, N), draw.normal(3, N, draw.d)
    d_params, d_x = draw.call(pullback, params, x, g, e)

    def value(tree):
        total = 0.0
        for i in range(3):
            for j in range(N):
                point = tree["x"][i, j]
                total = total + g[i, j] * plain.potential(tree["p"], point)
                total = total + e[i, j] @ plain.gradient(tree["p"], point)
        return total

    return adjoint({"p": d_params, "x": d_x}, {"p": params, "x": x}, value, draw)


def gaussian_map_is_held(transport, draw):
    """``A x + q`` of the map between two Gaussians, with moments pushed forward."""
    mu, nu = draw.gaussians(), draw.gaussians()
    A = draw.rounded(textbook.gelbrich_map(mu.cov, nu.cov))
    q = draw.rounded(nu.mean - np.squeeze(A @ mu.mean[..., None], -1))
    x = draw.normal(draw.size, N, draw.d)
    truth = x @ A + q[:, None, :]
    return relative(draw.call(transport, A, q, x), truth, largest(truth))


# The loss


def ot_11() -> Item:
    """Loss of a pair of networks."""
    return Item(
        id="META-OT-11",
        paper="Meta OT",
        place="section 4.2; implementation",
        title="loss of Wasserstein-2 generative networks",
        latex=r"\mathcal L=\mathbb E_\alpha\psi"
        r"+\mathbb E_\beta[\langle\mathrm{sg}\,\hat x,y\rangle-\psi(\mathrm{sg}\,\hat x)]"
        r"+\gamma(\|\nabla\psi(\hat x)-y\|^2+\|\nabla\bar\psi(\hat y)-x\|^2)",
        statement="The dual value, with a network in place of the conjugate, and cycles that make it one.",
        functions=(w2gn.w2gn_loss_and_grad, fitting.fit),
        checks=(
            Check(
                "plain NumPy, one pair at a time",
                loss_is_plain,
                lambda pair, x, y: w2gn.w2gn_loss_and_grad(pair, x, y, penalty=PENALTY)[0],
                {
                    "the first cycle term only, as printed": lambda pair, x, y: _printed(pair, x, y)[0],
                    "sums over coordinates": lambda pair, x, y: w2gn.w2gn_loss_and_grad(
                        pair, x, y, cycle=3.0 * x.shape[-1] + 0.01, penalty=PENALTY
                    )[0],
                    "without the weights": lambda pair, x, y: w2gn.w2gn_loss_and_grad(
                        pair, x, y, penalty=0.0
                    )[0],
                    "measures exchanged": lambda pair, x, y: w2gn.w2gn_loss_and_grad(
                        pair, y, x, penalty=PENALTY
                    )[0],
                },
                WELL,
                dimensions=SMALL,
                many_shapes=True,
            ),
            Check(
                "complex-step derivative of plain NumPy",
                loss_gradient_is_adjoint,
                lambda pair, x, y: w2gn.w2gn_loss_and_grad(pair, x, y, penalty=PENALTY)[1],
                {
                    "without the stop of the gradient": _unstopped,
                    "the first cycle term only, as printed": lambda pair, x, y: _printed(pair, x, y)[1],
                    "of the mean over problems": lambda pair, x, y: optim.tree_map(
                        lambda g: g / len(x), w2gn.w2gn_loss_and_grad(pair, x, y, penalty=PENALTY)[1]
                    ),
                },
                WELL,
                dimensions=SMALL,
                many_shapes=True,
            ),
            meta_training.fit_check(),
        ),
        misprints=(
            Misprint(
                "META-OT-11",
                r"\gamma\,\mathbb E_\beta\|\nabla\psi(\nabla\bar\psi(y))-y\|^2",
                r"\gamma\left(\mathbb E_\beta\|\nabla\psi(\nabla\bar\psi(y))-y\|^2"
                r"+\mathbb E_\alpha\|\nabla\bar\psi(\nabla\psi(x))-x\|^2\right)",
                "The paper prints one cycle term; its implementation has both, and so has ours.",
                "the first cycle term only, as printed",
            ),
        ),
    )


def _printed(pair, x, y):
    loss, grads = w2gn.w2gn_loss_and_grad(pair, x, y, penalty=PENALTY)
    y_hat, pull_psi = icnn.gradient_map(pair["potential"], x)
    back, pull_conj = icnn.gradient_map(pair["conjugate"], y_hat)
    d_conj, d_y_hat = pull_conj(2.0 * 3.0 * (back - x) / (x.shape[-1] * x.shape[-2]))
    second = {"potential": pull_psi(d_y_hat)[0], "conjugate": d_conj}
    value = 3.0 * np.mean((back - x) ** 2, axis=(-1, -2))
    return loss - value, optim.tree_map(lambda g, s: g - s, grads, second)


def _unstopped(pair, x, y):
    _, grads = w2gn.w2gn_loss_and_grad(pair, x, y, penalty=PENALTY)
    x_hat, pull_conj = icnn.gradient_map(pair["conjugate"], y)
    again, _ = icnn.gradient_map(pair["potential"], x_hat)
    more, _ = pull_conj((y - again) / y.shape[-2])
    return {**grads, "conjugate": optim.tree_map(lambda g, s: g + s, grads["conjugate"], more)}


def loss_is_plain(loss, draw):
    """Losses of three problems with four and three points."""
    pair, x, y = plain.random_pair(draw, 3), draw.normal(3, N, draw.d), draw.normal(3, M, draw.d)
    truth = np.stack(
        [plain.w2gn_loss(plain.member(pair, i), x[i], y[i], cycle=3.0, penalty=PENALTY) for i in range(3)]
    )
    return relative(draw.call(loss, pair, x, y), truth, largest(truth))


def loss_gradient_is_adjoint(gradient, draw):
    """Of the sum over problems; what the correlation sees of the conjugate network stays as it is."""
    pair, x, y = plain.random_pair(draw, 2), draw.normal(2, N, draw.d), draw.normal(2, M, draw.d)

    def value(moved):
        parts = zip(x, y, range(2), strict=True)
        return sum(
            plain.w2gn_loss(
                plain.member(moved, i), xi, yi, cycle=3.0, penalty=PENALTY, frozen=plain.member(pair, i)
            )
            for xi, yi, i in parts
        )

    return adjoint(draw.call(gradient, pair, x, y), pair, value, draw)


# Conjugate, dual value


def ot_12() -> Item:
    """Conjugate by projected gradient, dual value."""
    return Item(
        id="META-OT-12",
        paper="Meta OT",
        place="implementation",
        title="conjugate and dual value",
        latex=r"\hat x=\arg\min_{x\in[0,1]^d}\psi(x)-\langle x,y\rangle,\quad"
        r"-\left[\mathbb E_\alpha\psi+\mathbb E_\beta(\langle\hat x,y\rangle-\psi(\hat x))\right]",
        statement="The conjugate is solved for in a box; none has a larger dual value than the optimal.",
        functions=(w2gn.conjugate, w2gn.dual_value),
        checks=(
            Check(
                "closed form of a diagonal quadratic in a box",
                conjugate_is_clipped,
                w2gn.conjugate,
                {
                    "without the box": lambda params, y, **options: w2gn.conjugate(
                        params, y, **{**options, "low": -1e9, "high": 1e9}
                    ),
                    "one step": lambda params, y, **options: w2gn.conjugate(
                        params, y, **{**options, "max_iter": 1}
                    ),
                    "the start": lambda params, y, **options: np.clip(y, 0.0, 1.0),
                },
                roundings(1e4, "gradient steps with contraction 1/2 until they move by 4 epsilons"),
                dimensions=SMALL,
                many_shapes=True,
            ),
            convex_checks.conjugate_check(),
            Check(
                "closed form between Gaussians (SciPy)",
                dual_value_of_gaussians,
                w2gn.dual_value,
                {
                    "without the sign": lambda *given, **options: -w2gn.dual_value(*given, **options),
                    "measures exchanged": lambda params, x, y, **options: w2gn.dual_value(
                        params, y, x, **options
                    ),
                    "of another potential": lambda params, x, y, **options: w2gn.dual_value(
                        {**params, "linear": params["linear"] + 0.1}, x, y, **options
                    ),
                },
                roundings(1e4, "matrix roots, and the conjugate's error, squared"),
                dimensions=SMALL,
            ),
        ),
    )


def conjugate_is_clipped(conjugate, draw):
    """``clip((y - q) / a)`` for eigenvalues a from 1/2 to 3/2."""
    a, q = draw.rounded(draw.rng.uniform(0.5, 1.5, (3, draw.d))), draw.normal(3, draw.d)
    y = draw.normal(3, N, draw.d)
    params = icnn.quadratic_parameters(a[..., None] * np.eye(draw.d), q, width=1)
    params = optim.tree_map(draw.rounded, params)
    a = 2.0 * np.diagonal(params["quadratic"], axis1=-2, axis2=-1) ** 2
    truth = np.clip((y - q[:, None]) / a[:, None], 0.0, 1.0)
    found = draw.call(
        lambda params, y: conjugate(params, y, tol=(4 * draw.eps) ** 2, max_iter=200), params, y
    )
    return relative(found, truth, 1.0)


def dual_value_of_gaussians(dual_value, draw):
    """``(W₂² - E‖x‖² - E‖y‖²) / 2`` for clouds with the moments of Gaussians whose map is moderate."""
    mu = draw.gaussians(1.5)
    nu = draw.gaussians(1.5)
    x, y = draw.rounded(textbook.cloud(mu)), draw.rounded(textbook.cloud(nu))
    mu, nu = (Gaussian(*moments(z)) for z in (x, y))
    A = textbook.gelbrich_map(mu.cov, nu.cov)
    q = nu.mean - np.squeeze(A @ mu.mean[..., None], -1)
    params = optim.tree_map(draw.rounded, icnn.quadratic_parameters(0.5 * (A + A.mT), q, width=1))
    squares = [np.mean(np.sum(z * z, axis=-1), axis=-1) for z in (x, y)]
    truth = 0.5 * (textbook.sq_distance(mu, nu) - squares[0] - squares[1])
    options = {"low": -1e6, "high": 1e6, "tol": (4 * draw.eps) ** 2, "max_iter": 300}
    found = draw.call(lambda *given: dual_value(*given, **options), params, x, y)
    return relative(found, truth, largest(truth))
