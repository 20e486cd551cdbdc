"""Audited formulas of Meta Optimal Transport: what predicts convex potentials, and how well."""

import numpy as np

from refwfm.meta import hypernetwork as hyper
from refwfm.meta import icnn, w2gn
from refwfm.training import meta_icnn, optim
from refwfm.training import w2gn as fitting
from refwfm.validation import first_parameters, meta_training, textbook
from refwfm.validation import plain_potentials as plain
from refwfm.validation.check import Check, Item, roundings, worst_of
from refwfm.validation.plain_network import affine, positive
from refwfm.validation.plain_potentials import PENALTY, M, N, adjoint, largest
from refwfm.validation.textbook import relative

SMALL = (1, 2, 3)
WIDER = 0.25
WELL = roundings(1000, "five ridges and a quadratic part at a few points; means of them")


def items() -> list[Item]:
    """Return the items in the order of the specification."""
    return [ot_13(), ot_14(), ot_15()]


# The hypernetwork


def ot_13() -> Item:
    """Hypernetwork."""
    return Item(
        id="META-OT-13",
        paper="Meta OT",
        place="section 4.2",
        title="hypernetwork of convex potentials",
        latex=r"(\varphi,\bar\varphi)=\hat\varphi_\theta(\alpha,\beta),\quad"
        r"\min_\theta\mathbb E\,\mathcal L(\hat\varphi_\theta(\alpha,\beta);\alpha,\beta)",
        statement="A network reads summaries of two clouds and corrects the start of a pair of potentials.",
        functions=(
            hyper.summary,
            hyper.hypernetwork,
            hyper.predict,
            hyper.loss_and_grad,
            hyper.gaussian_start,
            meta_icnn.train,
        ),
        checks=(
            Check(
                "NumPy mean, covariance and histogram, SciPy root",
                summary_is_numpy,
                hyper.summary,
                {
                    "the next box": lambda x: hyper.summary((x + 0.25) % 1.0),
                    "colours exchanged": lambda x: hyper.summary(x[..., ::-1]) + 0.1 * (x.shape[-1] == 1),
                    "shares for their roots": lambda x: hyper.summary(x) ** 2,
                },
                roundings(1000, "a matrix root of condition number up to 100"),
                dimensions=SMALL,
            ),
            Check(
                "plain NumPy: the loss, and its complex-step derivative",
                hyper_gradient_is_adjoint,
                lambda *given: hyper.loss_and_grad(*given, penalty=PENALTY),
                {
                    "of the sum over problems": lambda *given: optim.tree_map(
                        lambda g: 2.0 * g, dict(enumerate(hyper.loss_and_grad(*given, penalty=PENALTY)))
                    ).values(),
                    "potentials exchanged": lambda *given: hyper.loss_and_grad(
                        *given[:3],
                        {"potential": given[3]["conjugate"], "conjugate": given[3]["potential"]},
                        *given[4:],
                        penalty=PENALTY,
                    ),
                    "clouds exchanged": lambda p, s, t, start, x, y: hyper.loss_and_grad(
                        p, t, s, start, x, y, penalty=PENALTY
                    ),
                },
                WELL,
                dimensions=(1, 2),
                many_shapes=True,
            ),
            Check(
                "closed form between Gaussians (SciPy)",
                start_is_gaussian,
                lambda mu, nu, ridges: hyper.gaussian_start(mu, nu, ridges, ridge=WIDER),
                {
                    "the way back": lambda mu, nu, ridges: hyper.gaussian_start(nu, mu, ridges, ridge=WIDER),
                    "as they are": lambda mu, nu, ridges: hyper.gaussian_start(mu, nu, ridges, ridge=0.0),
                },
                roundings(1000, "matrix roots of condition number 30"),
                dimensions=(2, 3),
            ),
            *meta_training.hyper_checks(),
            first_parameters.kinds_check(),
            first_parameters.laws_check(),
        ),
    )


def summary_is_numpy(summary, draw):
    """One cloud at a time."""
    x = draw.rounded(draw.rng.uniform(0.0, 1.0, (3, 12, draw.d)))
    rows = []
    for cloud in x:
        cov = np.cov(cloud.T, bias=True).reshape(draw.d, draw.d)
        boxes = np.histogramdd(cloud, bins=hyper.BINS, range=[(0.0, 1.0)] * draw.d)[0]
        root = textbook.sqrtm(cov[None])[0]
        parts = (
            4.0 * (cloud.mean(0) - 0.5),
            4.0 * root[np.tril_indices(draw.d)],
            np.sqrt(boxes.ravel() / 12),
        )
        rows.append(np.concatenate(parts))
    return relative(draw.call(summary, x), np.stack(rows), 1.0)


def hyper_gradient_is_adjoint(gradient, draw):
    """Of the mean over two problems, through prediction and loss."""
    width, features = 4, 3
    count = icnn.n_parameters(draw.d, plain.WIDTH)
    like = np.zeros(0)
    params = hyper.init_hypernetwork(draw.rng, features, count, like=like, width=width)
    params = optim.tree_map(lambda p: draw.rounded(p + 0.2 * draw.rng.standard_normal(p.shape)), params)
    of_x, of_y = draw.normal(2, features), draw.normal(2, features)
    start = plain.random_pair(draw, 2)
    x, y = draw.normal(2, N, draw.d), draw.normal(2, M, draw.d)

    def pair_of(moved, i):
        flat = affine(moved["out"], positive(affine(moved["in"], np.concatenate([of_x[i], of_y[i]]))))
        pair = {}
        for k, name in enumerate(("potential", "conjugate")):
            own = plain.member(start[name], i)
            pieces = np.split(
                flat[k * count : (k + 1) * count], np.cumsum([p.size for p in own.values()])[:-1]
            )
            pair[name] = {
                key: p + piece.reshape(p.shape) for (key, p), piece in zip(own.items(), pieces, strict=True)
            }
        return pair

    def value(moved):
        losses = [
            plain.w2gn_loss(
                pair_of(moved, i), x[i], y[i], cycle=3.0, penalty=PENALTY, frozen=pair_of(params, i)
            )
            for i in range(2)
        ]
        return sum(losses) / 2.0

    loss, found = draw.call(gradient, params, of_x, of_y, start, x, y)
    truth = float(np.real(value(params)))
    return worst_of(abs(float(loss) - truth) / largest(truth), adjoint(found, params, value, draw))


def start_is_gaussian(start, draw):
    """The affine map and its inverse where the ridges weigh nothing, at random points."""
    mu, nu = draw.gaussians(), draw.gaussians()
    ridges = hyper.init_ridges(draw.rng, draw.d, like=np.zeros(0), width=3)
    ridges = optim.tree_map(draw.rounded, ridges)
    for params in ridges.values():
        params["omega"] = np.full(3, -200.0)
    pair = draw.call(start, mu, nu, ridges)
    x, worst = draw.normal(draw.size, N, draw.d), 0.0
    for name, (first, second) in {"potential": (mu, nu), "conjugate": (nu, mu)}.items():
        A = textbook.gelbrich_map(*(each.cov + WIDER * np.eye(draw.d) for each in (first, second)))
        truth = (x - first.mean[:, None]) @ A + second.mean[:, None]
        worst = worst_of(worst, relative(plain.over(plain.gradient, pair[name], x), truth, largest(truth)))
    return worst


# Starts and scales


def ot_14() -> Item:
    """Identity pre-training."""
    return Item(
        id="META-OT-14",
        paper="Meta OT",
        place="appendix B; implementation",
        title="pre-training to the identity",
        latex=r"\|\nabla\psi(x)-x\|^2+\|\nabla\bar\psi(x)-x\|^2"
        r"+\lambda(\overline{\varphi^2}+\overline{\bar\varphi^2})",
        statement="Both maps are trained to move nothing in a box somewhat larger than the data's.",
        functions=(w2gn.identity_loss_and_grad, fitting.pretrain_identity),
        checks=(
            Check(
                "complex-step derivative of plain NumPy",
                identity_gradient_is_adjoint,
                lambda pair, x: w2gn.identity_loss_and_grad(pair, x, penalty=PENALTY),
                {
                    "sums over coordinates": lambda pair, x: optim_scaled(pair, x, x.shape[-1] + 0.1),
                    "without the weights": lambda pair, x: w2gn.identity_loss_and_grad(pair, x, penalty=0.0),
                    "towards minus the identity": lambda pair, x: w2gn.identity_loss_and_grad(
                        pair, -x, penalty=PENALTY
                    ),
                },
                WELL,
                dimensions=SMALL,
            ),
            meta_training.pretraining_check(),
        ),
    )


def optim_scaled(pair, x, factor):
    """Loss and gradient, times a factor."""
    loss, grads = w2gn.identity_loss_and_grad(pair, x, penalty=PENALTY)
    return factor * loss, optim.tree_map(lambda g: factor * g, grads)


def identity_gradient_is_adjoint(function, draw):
    """Loss, and gradient of the sum over two problems."""
    pair, x = plain.random_pair(draw, 2), draw.normal(2, N, draw.d)

    def losses(moved):
        return [plain.identity_loss(plain.member(moved, i), x[i], penalty=PENALTY) for i in range(2)]

    loss, grads = draw.call(function, pair, x)
    truth = np.stack(losses(pair))
    return worst_of(
        relative(loss, truth, largest(truth)), adjoint(grads, pair, lambda moved: sum(losses(moved)), draw)
    )


def ot_15() -> Item:
    """Normalised dual values."""
    normalised = w2gn.normalised_dual_values
    return Item(
        id="META-OT-15",
        paper="Meta OT",
        place="table 2; implementation",
        title="normalised dual values",
        latex=r"\frac{v-\min}{\max-\min}",
        statement="For each problem the values that all runs logged are put on one scale from 0 to 1.",
        functions=(normalised,),
        checks=(
            Check(
                "plain NumPy, one problem at a time",
                values_are_normalised,
                normalised,
                {
                    "each run by itself": lambda a, b: (*normalised(a), *normalised(b)),
                    "all problems on one scale": lambda a, b: tuple(
                        run.reshape(v.shape)
                        for run, v in zip(normalised(a.ravel(), b.ravel()), (a, b), strict=True)
                    ),
                    "the least is the best": lambda a, b: tuple(1.0 - v for v in normalised(a, b)),
                },
                roundings(100, "two differences and a quotient"),
                dimensions=(2, 3),
            ),
        ),
    )


def values_are_normalised(normalised, draw):
    """Of runs of d and of three values on two problems, and on one where all are equal."""
    a, b = draw.normal(3, draw.d), draw.normal(3, 3)
    a[2], b[2] = 0.5, 0.5
    results = draw.call(normalised, a, b)
    worst = 0.0
    for i in range(3):
        both = np.concatenate([a[i], b[i]])
        span = both.max() - both.min()
        truth = (both - both.min()) / span if span else np.ones(both.shape)
        worst = worst_of(worst, float(np.max(np.abs(np.concatenate([r[i] for r in results]) - truth))))
    return worst
