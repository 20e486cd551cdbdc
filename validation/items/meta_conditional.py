"""Audited formulas of conditional Monge maps."""

import numpy as np

from refwfm.meta import monge, picnn
from refwfm.networks import activations
from refwfm.training import monge as fitting
from refwfm.training import optim
from refwfm.validation import meta_training, textbook
from refwfm.validation import plain_potentials as plain
from refwfm.validation.check import Check, Item, roundings, worst_of
from refwfm.validation.plain_potentials import PENALTY, M, N, adjoint, largest
from refwfm.validation.textbook import complex_step, relative

SMALL = (1, 2, 3)
WELL = roundings(1000, "three layers of width four at a few points; means of them")


def items() -> list[Item]:
    """Return the items in the order of the specification."""
    return [ot_16(), ot_17()]


# Conditional maps


def ot_16() -> Item:
    """Conditional Monge maps."""
    return Item(
        id="META-OT-16",
        paper="CondOT",
        place="sections 3 and 4",
        title="partially input-convex network, conditional Monge maps",
        latex=r"z_{i+1}=\sigma(W^z_i(z_i\odot\mathrm{sp}(W^{zu}_iu_i+b))+W^x_i(x\odot(W^{xu}_iu_i+b'))"
        r"+W^u_iu_i),"
        r"\quad T(x|c)=\nabla_xg(x,c)",
        statement="One network is convex in the point, anything in the condition; its gradient is the map.",
        functions=(
            picnn.picnn,
            picnn.monge_map,
            picnn.along,
            monge.map_loss_and_grad,
            monge.potential_loss_and_grad,
            monge.negative_kernels,
            monge.clamp_kernels,
            fitting.fit,
            activations.leaky_relu,
            activations.leaky_slope,
            activations.softplus,
        ),
        checks=(
            Check(
                "plain NumPy, one point at a time, and its complex step in x",
                picnn_is_plain,
                lambda params, x, c: (picnn.picnn(params, x, c)[0], picnn.monge_map(params, x, c)[0]),
                {
                    "conditions of the neighbours": lambda params, x, c: (
                        picnn.picnn(params, x, c[::-1])[0],
                        picnn.monge_map(params, x, c[::-1])[0],
                    ),
                    "without the start": lambda params, x, c: (
                        picnn.picnn(params, x, c)[0] - 0.5 * np.sum(x * x, axis=-1),
                        picnn.monge_map(params, x, c)[0] - x,
                    ),
                },
                WELL,
                dimensions=SMALL,
                many_shapes=True,
            ),
            Check(
                "value and slope from any quadratic, and their complex-step derivative",
                along_is_plain,
                _along,
                {
                    "from the identity": lambda params, x, c, e, A, q, g, s: _along(
                        params, x, c, e, np.eye(x.shape[-1]), q, g, s
                    ),
                    "without the linear part": lambda params, x, c, e, A, q, g, s: _along(
                        params, x, c, e, A, 0.0 * q, g, s
                    ),
                    "of the value alone": lambda params, x, c, e, A, q, g, s: (
                        *_along(params, x, c, e, A, q, g, s)[:2],
                        *_along(params, x, c, e, A, q, g, 0.0 * s)[2:],
                    ),
                },
                WELL,
                dimensions=(2,),
            ),
            Check(
                "complex-step derivative of plain NumPy: loss of the map",
                map_loss_is_adjoint,
                lambda g, f, x, c: monge.map_loss_and_grad(g, f, x, c, penalty=PENALTY),
                {
                    "without the penalty": lambda g, f, x, c: monge.map_loss_and_grad(
                        g, f, x, c, penalty=0.0
                    ),
                    "networks exchanged": lambda g, f, x, c: monge.map_loss_and_grad(
                        f, g, x, c, penalty=PENALTY
                    ),
                    "with the inner product twice": _twice_the_product,
                },
                WELL,
                dimensions=SMALL,
            ),
            Check(
                "complex-step derivative of plain NumPy: loss of the potential",
                potential_loss_is_adjoint,
                monge.potential_loss_and_grad,
                {
                    "uphill": lambda *given: tuple(
                        optim.tree_map(lambda v: -v, part) for part in monge.potential_loss_and_grad(*given)
                    ),
                    "measures exchanged": lambda g, f, x, y, c: monge.potential_loss_and_grad(
                        g, f, y, np.concatenate([x, x], axis=-2), c
                    ),
                },
                WELL,
                dimensions=SMALL,
                many_shapes=True,
            ),
            meta_training.game_check(),
        ),
    )


def _twice_the_product(g, f, x, c):
    loss, grads = monge.map_loss_and_grad(g, f, x, c, penalty=PENALTY)
    moved, pull = picnn.monge_map(g, x, c)
    more, _ = pull(-x / (x.shape[0] * x.shape[1]))
    return loss - np.mean(np.sum(x * moved, axis=-1)), optim.tree_map(lambda p, q: p + q, grads, more)


def picnn_is_plain(function, draw):
    """Values and maps under two conditions."""
    params, x, c = plain.random_picnn(draw), draw.normal(2, N, draw.d), draw.normal(2, 2)
    values, maps = draw.call(function, params, x, c)
    truth = np.stack([[plain.picnn(params, row, c[i]) for row in x[i]] for i in range(2)])
    steps = np.stack(
        [
            [
                [
                    complex_step(lambda h, e=e, r=row, i=i: plain.picnn(params, r + h * e, c[i]))
                    for e in np.eye(draw.d)
                ]
                for row in x[i]
            ]
            for i in range(2)
        ]
    )
    return worst_of(relative(values, truth, largest(truth)), relative(maps, steps, largest(steps)))


def _along(params, x, c, e, A, q, g, s):
    value, slope, pullback = picnn.along(params, x, c, e, picnn.Quadratic(A, q))
    return value, slope, *pullback(g, s)


def along_is_plain(function, draw):
    """Under two conditions, each with a quadratic of its own."""
    params, x, c = plain.random_picnn(draw), draw.normal(2, N, draw.d), draw.normal(2, 2)
    e, g, s, q = draw.normal(2, N, draw.d), draw.normal(2, N), draw.normal(2, N), draw.normal(2, draw.d)
    A = draw.covariances(size=2)

    def parts(tree):
        """Values and slopes; the plain network has the identity's quadratic."""
        found = np.zeros((2, 2, N), dtype=complex)
        for i, j in np.ndindex(2, N):
            z = tree["x"][i, j]
            found[0, i, j] = plain.picnn(tree["p"], z, c[i]) - z @ z / 2 + z @ A[i] @ z / 2 + q[i] @ z
            slope = e[i, j] @ plain.picnn_map(tree["p"], z, c[i])
            found[1, i, j] = slope - e[i, j] @ z + e[i, j] @ (A[i] @ z + q[i])
        return found

    value, slope, d_params, d_x = draw.call(function, params, x, c, e, A, q, g, s)
    truth = parts({"p": params, "x": x}).real
    pulled = adjoint(
        {"p": d_params, "x": d_x},
        {"p": params, "x": x},
        lambda tree: np.sum(parts(tree) * np.stack([g, s])),
        draw,
    )
    return worst_of(relative(np.stack([value, slope]), truth, largest(truth)), pulled)


def map_loss_is_adjoint(function, draw):
    """Loss, and gradient in the parameters of g."""
    g, f = plain.random_picnn(draw), plain.random_picnn(draw)
    x, c = draw.normal(2, N, draw.d), draw.normal(2, 2)

    def value(moved):
        total = 0.0
        for rows, condition in zip(x, c, strict=True):
            for row in rows:
                there = plain.picnn_map(moved, row, condition)
                total = total + plain.picnn(f, there, condition) - row @ there
        below = [np.where(p["wz"].real < 0, p["wz"], 0.0) for p in moved["layers"].values() if "wz" in p]
        return total / (2 * N) + PENALTY * sum(np.sqrt(np.sum(k * k)) for k in below)

    loss, grads = draw.call(function, g, f, x, c)
    truth = float(np.real(value(g)))
    return worst_of(abs(float(loss) - truth) / largest(truth), adjoint(grads, g, value, draw))


def potential_loss_is_adjoint(function, draw):
    """Loss, and gradient in the parameters of f."""
    g, f = plain.random_picnn(draw), plain.random_picnn(draw)
    x, y, c = draw.normal(2, N, draw.d), draw.normal(2, M, draw.d), draw.normal(2, 2)

    def value(moved):
        total = 0.0
        for i in range(2):
            there = [plain.picnn_map(g, row, c[i]) for row in x[i]]
            total = total + sum(plain.picnn(moved, row, c[i]) for row in y[i]) / (2 * M)
            total = total - sum(plain.picnn(moved, row, c[i]) for row in there) / (2 * N)
        return total

    loss, grads = draw.call(function, g, f, x, y, c)
    truth = float(np.real(value(f)))
    return worst_of(abs(float(loss) - truth) / largest(truth), adjoint(grads, f, value, draw))


def ot_17() -> Item:
    """Starts of conditional maps."""
    return Item(
        id="META-OT-17",
        paper="CondOT",
        place="section 4",
        title="identity and Gaussian starts",
        latex=r"g_0(x)=\tfrac12\|x\|^2,\quad g_0(x|c)=\tfrac12x^\top A_cx+\langle q_c,x\rangle",
        statement="Before training the map is the identity, or that between Gaussians, under each condition.",
        functions=(picnn.identity_quadratic, monge.gaussian_quadratic),
        checks=(
            Check(
                "closed form between Gaussians (SciPy)",
                quadratic_is_gaussian,
                monge.gaussian_quadratic,
                {
                    "the way back": lambda mu, nu, *, ridge: monge.gaussian_quadratic(nu, mu, ridge=ridge),
                    "without the ridge": lambda mu, nu, *, ridge: monge.gaussian_quadratic(mu, nu, ridge=0.0),
                },
                roundings(1000, "matrix roots of condition number 30"),
                dimensions=SMALL,
            ),
            Check(
                "the points themselves",
                start_moves_nothing,
                lambda params, x, c: picnn.monge_map(
                    params, x, c, picnn.identity_quadratic(x.shape[-1], like=x)
                )[0],
                {
                    "a quadratic twice as large": lambda params, x, c: 2.0 * picnn.monge_map(params, x, c)[0],
                    "a last layer that is not 0": lambda params, x, c: picnn.monge_map(
                        optim.tree_map(lambda p: p + 0.1, params), x, c
                    )[0],
                },
                roundings(10, "one addition"),
                dimensions=SMALL,
            ),
        ),
    )


def quadratic_is_gaussian(function, draw):
    """``A`` and ``m_ν - A m_μ`` of widened covariances."""
    mu, nu, ridge = draw.gaussians(), draw.gaussians(), 0.25
    A = textbook.gelbrich_map(mu.cov + ridge * np.eye(draw.d), nu.cov + ridge * np.eye(draw.d))
    q = nu.mean - np.squeeze(A @ mu.mean[..., None], -1)
    found = draw.call(function, mu, nu, ridge=ridge)
    return worst_of(relative(found[0], A, largest(A)), relative(found[1], q, largest(q)))


def start_moves_nothing(function, draw):
    """Under two conditions."""
    params = picnn.init_picnn(draw.rng, draw.d, 2, like=np.zeros(0), width=4, depth=2)
    params = optim.tree_map(draw.rounded, params)
    x, c = draw.normal(2, N, draw.d), draw.normal(2, 2)
    return relative(draw.call(function, params, x, c), x, largest(x))
