"""Audited formulas of Meta OT: networks that predict potentials, and the loss that trains them."""

import numpy as np
from scipy.special import logsumexp

from refwfm.meta.cloud_potentials import (
    cloud_loss_and_grad,
    cloud_potential,
    init_cloud_potential,
    standardized,
)
from refwfm.meta.potentials import (
    amortisation_loss,
    init_potential_mlp,
    loss_and_grad,
    potential_mlp,
    unmasked_value_and_gradient,
)
from refwfm.training import optim
from refwfm.validation import cloud_potential_checks
from refwfm.validation.check import Check, Item, Misprint, Tolerance, roundings, worst_of
from refwfm.validation.entropic_problems import padded, potential_steps, problem
from refwfm.validation.textbook import relative

SLOPES = Tolerance(1e-7, 3e-3, "fourth-order differences of a loss; float32: exponents up to twenty")
EPS = 0.3


def items() -> list[Item]:
    """Return the items in the order of the paper."""
    return [meta_ot_4()]


def meta_ot_4() -> Item:
    """Potential networks and amortisation loss."""
    return Item(
        "META-OT-4",
        "Meta OT",
        "section 3.1, eq. 7, and appendix",
        "network of the potential, and its loss",
        r"\min_\theta\ \mathbb E_{(\alpha,\beta)}\big[-S(\hat f_\theta(\alpha,\beta))\big]",
        (
            "A network predicts the potential of a pair. It needs no solutions: it raises the semi-dual, "
            "whose gradient is what the rows lack."
        ),
        (
            potential_mlp,
            amortisation_loss,
            loss_and_grad,
            unmasked_value_and_gradient,
            cloud_potential,
            cloud_loss_and_grad,
            standardized,
        ),
        (*_histograms(), *_clouds(), *cloud_potential_checks.checks()),
        (
            Misprint(
                "META-mask",
                r"-\varepsilon\log\sum_i e^{(\hat f_i-C_{ij})/\varepsilon}"
                r"\ \text{over all atoms (public code)}",
                r"\sum\ \text{over the atoms with } a_i>0",
                "The solver masks atoms without weight, the training loss does not: there the network must "
                "learn very negative values. Ours masks in both; mask_support=False is the code's.",
                "unmasked",
            ),
        ),
    )


def _histograms():
    return (
        Check(
            "the network by loops",
            perceptron,
            lambda params, a, b: potential_mlp(params, a, b)[0],
            {
                "atoms in another order": lambda params, a, b: potential_mlp(params, np.roll(a, 1, -1), b)[0],
                "a rectified output": lambda params, a, b: np.maximum(potential_mlp(params, a, b)[0], 0.0),
                "no biases": lambda params, a, b: potential_mlp(_no_bias(params), a, b)[0],
                "one layer less": lambda params, a, b: potential_mlp(
                    {**params, "hidden": {"0": params["hidden"]["0"]}}, a, b
                )[0],
            },
            roundings(100, "three layers of width 4"),
            dimensions=(1,),
        ),
        Check(
            "the semi-dual by sums over the support",
            losses,
            lambda params, a, b, cost: amortisation_loss(params, a, b, cost, eps=EPS),
            {
                "unmasked": lambda params, a, b, cost: amortisation_loss(
                    params, a, b, cost, eps=EPS, mask_support=False
                ),
                "the sign": lambda *given: -amortisation_loss(*given, eps=EPS),
                "sum instead of mean": lambda params, a, b, cost: (
                    len(a) * amortisation_loss(params, a, b, cost, eps=EPS)
                ),
                "half of eps": lambda *given: amortisation_loss(*given, eps=0.5 * EPS),
            },
            roundings(300, "exponents up to ten"),
            dimensions=(1,),
            many_shapes=True,
        ),
        Check(
            "differences in a direction of the parameters",
            slopes,
            lambda params, a, b, cost, base: loss_and_grad(params, a, b, cost, eps=EPS, baseline=base)[1],
            {
                "the sign": lambda params, a, b, cost, base: optim.tree_map(
                    lambda g: -g, loss_and_grad(params, a, b, cost, eps=EPS, baseline=base)[1]
                ),
                "without the baseline": lambda params, a, b, cost, base: loss_and_grad(
                    params, a, b, cost, eps=EPS
                )[1],
                "sum instead of mean": lambda params, a, b, cost, base: optim.tree_map(
                    lambda g: len(a) * g, loss_and_grad(params, a, b, cost, eps=EPS, baseline=base)[1]
                ),
                "unmasked": lambda params, a, b, cost, base: loss_and_grad(
                    params, a, b, cost, eps=EPS, baseline=base, mask_support=False
                )[1],
            },
            SLOPES,
            dimensions=(1,),
        ),
        Check(
            "the public code's loss, by sums over all atoms, and its slope",
            unmasked,
            lambda f, a, b, cost: unmasked_value_and_gradient(f, cost, a, b, eps=EPS),
            {
                "masked": _masked,
                "the gradient's sign": lambda f, a, b, cost: (
                    unmasked_value_and_gradient(f, cost, a, b, eps=EPS)[0],
                    -unmasked_value_and_gradient(f, cost, a, b, eps=EPS)[1],
                ),
                "mean instead of sum": lambda f, a, b, cost: (
                    unmasked_value_and_gradient(f, cost, a, b, eps=EPS)[0] + EPS * np.log(f.shape[-1]),
                    unmasked_value_and_gradient(f, cost, a, b, eps=EPS)[1],
                ),
            },
            Tolerance(1e-8, 2e-4, "fourth-order differences; float32: exponents up to ten"),
            dimensions=(1,),
        ),
    )


def _no_bias(params):
    return {
        **params,
        "hidden": {k: {**layer, "bias": 0.0 * layer["bias"]} for k, layer in params["hidden"].items()},
    }


def _masked(f, a, b, cost):
    from refwfm.transport.semidual import semidual_value_and_gradient

    return semidual_value_and_gradient(f, cost, a, b, eps=EPS)


def _network(draw):
    """Parameters away from zero, for 4 and 3 atoms; pairs of which some atoms weigh nothing; a cost."""
    params = init_potential_mlp(draw.rng, 4, 3, like=np.zeros(0), width=4, depth=2)
    params = optim.tree_map(lambda p: draw.rounded(p + 0.3 * draw.rng.standard_normal(p.shape)), params)
    a = np.pad(np.stack([draw.weights(3) for _ in range(draw.size)]), [(0, 0), (0, 1)])
    b = np.stack([draw.weights(3) for _ in range(draw.size)])
    return params, a, b, draw.rounded(draw.rng.uniform(0.0, 1.0, (4, 3)))


def _by_loops(params, a, b):
    """The perceptron of one pair."""
    h = np.concatenate([a, b])
    for layer in params["hidden"].values():
        h = np.maximum([h @ w + c for w, c in zip(layer["weight"].T, layer["bias"], strict=True)], 0.0)
    return np.array(
        [h @ w + c for w, c in zip(params["out"]["weight"].T, params["out"]["bias"], strict=True)]
    )


def _loss(params, a, b, cost, base=0.0):
    """``-mean (⟨f, a⟩ - eps ⟨log Σᵢ aᵢ exp((fᵢ - K) / eps), b⟩)``, over the support."""
    total = 0.0
    base = base + np.zeros_like(a)
    for k in range(len(a)):
        f = _by_loops(params, a[k], b[k]) + base[k]
        live = a[k] > 0
        logs = logsumexp((f[live, None] - cost[live]) / EPS, b=a[k][live, None], axis=0)
        total += f[live] @ a[k][live] - EPS * (logs @ b[k])
    return -total / len(a)


def perceptron(network, draw):
    """Potentials of a batch of pairs."""
    params, a, b, _ = _network(draw)
    truth = np.stack([_by_loops(params, *pair) for pair in zip(a, b, strict=True)])
    return relative(draw.call(network, params, a, b), truth)


def losses(loss, draw):
    """Relative to the largest cost."""
    params, a, b, cost = _network(draw)
    return abs(float(draw.call(loss, params, a, b, cost)) - _loss(params, a, b, cost))


def slopes(gradient, draw):
    """Slope of the loss in a random direction, relative to the mass."""
    params, a, b, cost = _network(draw)
    base = draw.rounded(0.3 * draw.rng.standard_normal(a.shape))
    way = optim.tree_map(lambda p: 0.3 * draw.rng.standard_normal(p.shape), params)
    found = draw.call(gradient, params, a, b, cost, base)
    slope = sum(
        np.sum(g * w)
        for g, w in zip(map(np.asarray, optim.tree_leaves(found)), optim.tree_leaves(way), strict=True)
    )
    return abs(
        slope - _slope(lambda s: _loss(optim.tree_map(lambda p, w: p + s * w, params, way), a, b, cost, base))
    )


def _slope(function, h=1e-4):
    values = [function(s * h) for s in (-2, -1, 1, 2)]
    return (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * h)


def unmasked(function, draw):
    """Value and gradient."""
    _, a, b, cost = _network(draw)
    f = draw.rounded(0.3 * draw.rng.standard_normal(a.shape))

    def value(f, k):
        return f @ a[k] - EPS * (logsumexp((f[:, None] - cost) / EPS, axis=0) @ b[k])

    found, gradient = draw.call(function, f, a, b, cost)
    truth = np.array([value(f[k], k) for k in range(draw.size)])
    slopes = [
        [_slope(lambda s, k=k, i=i: value(f[k] + s * np.eye(4)[i], k)) for i in range(4)]
        for k in range(draw.size)
    ]
    return worst_of(relative(found, truth, 1.0), relative(gradient, np.array(slopes), 1.0))


# Clouds


def _clouds():
    return (
        Check(
            "the quadratic of the textbook map, before training",
            untrained,
            lambda params, x, y: cloud_potential(params, x, y, eps=EPS)[0],
            {
                "the sign": lambda params, x, y: -cloud_potential(params, x, y, eps=EPS)[0],
                "no unit": lambda params, x, y: (
                    cloud_potential(params, x, y, eps=EPS)[0] / standardized(x, y)[2][:, None]
                ),
                "zeros": lambda params, x, y: 0.0 * cloud_potential(params, x, y, eps=EPS)[0],
            },
            roundings(3000, "of the largest cost; moments of 12 points"),
            dimensions=(1, 2),
            many_shapes=True,
        ),
        Check(
            "moments by NumPy",
            standards,
            standardized,
            {
                "about the mean of x": lambda x, y: standardized(
                    x._replace(points=x.points - np.mean(x.points, axis=1, keepdims=True)), y
                ),
                "root forgotten": lambda x, y: (*standardized(x, y)[:2], standardized(x, y)[2] ** 0.5),
                "y about its own mean": lambda x, y: (
                    standardized(x, y)[0],
                    standardized(y, y)[0],
                    standardized(x, y)[2],
                ),
            },
            roundings(100, "moments of 5 and 6 points"),
            dimensions=(1, 3),
        ),
        Check(
            "differences in a direction of the parameters, for clouds",
            cloud_slopes,
            lambda params, x, y: cloud_loss_and_grad(params, x, y, eps=EPS),
            {
                "the gradient's sign": lambda params, x, y: (
                    cloud_loss_and_grad(params, x, y, eps=EPS)[0],
                    optim.tree_map(lambda g: -g, cloud_loss_and_grad(params, x, y, eps=EPS)[1]),
                ),
                "half of the loss": lambda params, x, y: (
                    0.5 * cloud_loss_and_grad(params, x, y, eps=EPS)[0],
                    cloud_loss_and_grad(params, x, y, eps=EPS)[1],
                ),
                "the summary of x left out": _without_summary,
            },
            SLOPES,
            dimensions=(2,),
            many_shapes=True,
        ),
    )


def _without_summary(params, x, y):
    loss, grad = cloud_loss_and_grad(params, x, y, eps=EPS)
    return loss, {**grad, "point": optim.tree_map(lambda g: 0.0 * g, grad["point"])}


def untrained(potential, draw):
    """Differences from point to point, relative to the largest cost."""
    x, y, cost, _ = problem(draw, 12, 13)
    params = init_cloud_potential(draw.rng, draw.d, like=np.zeros(0), width=4)
    params = optim.tree_map(draw.rounded, params)
    found = draw.call(potential, params, padded(x, 0), padded(y, 1))
    gap = np.max(np.abs(np.diff(found) - potential_steps(x, y)), axis=1)
    return np.max(gap / np.max(cost, axis=(1, 2)))


def standards(standardize, draw):
    """Both clouds, and the squared unit."""
    x, y, _, _ = problem(draw)
    near, far, sq_size = draw.call(standardize, x, y)
    worst = 0.0
    for k in range(draw.size):
        (p, a), (q, b) = ((c.points[k], c.weights[k] / c.weights[k].sum()) for c in (x, y))
        middle = 0.5 * (a @ p + b @ q)
        square = 0.5 * np.mean(a @ (p - middle) ** 2 + b @ (q - middle) ** 2)
        pairs = (near.points[k], (p - middle) / square**0.5), (far.points[k], (q - middle) / square**0.5)
        worst = worst_of(
            worst, abs(sq_size[k] / square - 1.0), *(float(np.max(np.abs(s - t))) for s, t in pairs)
        )
    return worst


def cloud_slopes(function, draw):
    """Loss against sums at the predicted potential; its slope against differences of that."""
    x, y, _, _ = problem(draw)
    params = init_cloud_potential(draw.rng, draw.d, like=np.zeros(0), width=4)
    params = optim.tree_map(lambda p: draw.rounded(p + 0.3 * draw.rng.standard_normal(p.shape)), params)
    way = optim.tree_map(lambda p: 0.3 * draw.rng.standard_normal(p.shape), params)
    loss, grad = draw.call(function, params, x, y)
    slope = sum(
        np.sum(g * w)
        for g, w in zip(map(np.asarray, optim.tree_leaves(grad)), optim.tree_leaves(way), strict=True)
    )

    def at(s):
        f = cloud_potential(optim.tree_map(lambda p, w: p + s * w, params, way), x, y, eps=EPS)[0]
        total = 0.0
        for k in range(draw.size):
            (p, a), (q, b) = ((c.points[k], c.weights[k] / c.weights[k].sum()) for c in (x, y))
            middle = 0.5 * (a @ p + b @ q)
            square = 0.5 * np.mean(a @ (p - middle) ** 2 + b @ (q - middle) ** 2)
            cost = np.sum((p[:, None] - q) ** 2, axis=-1)
            logs = logsumexp((f[k][:, None] - cost) / EPS, b=a[:, None], axis=0)
            total += (f[k] @ a - EPS * (logs @ b)) / square
        return -total / draw.size

    return worst_of(abs(float(loss) - at(0.0)) / abs(at(0.0)), abs(slope - _slope(at)) / max(1.0, abs(slope)))
