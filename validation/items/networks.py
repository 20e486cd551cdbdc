"""Audited constructions of appendix E.1: the network for Gaussians and its optimiser."""

import numpy as np

from refwfm import networks
from refwfm.measures import Gaussian
from refwfm.training import optim
from refwfm.validation import far, plain_network
from refwfm.validation.check import Check, Item, roundings, worst_of
from refwfm.validation.textbook import complex_step, relative


def items() -> list[Item]:
    """Return the items in the order of the appendix."""
    return [network(), adam()]


# The network


def network() -> Item:
    """Network of Bures-Wasserstein flow matching."""
    mlp = networks.bures_mlp
    return Item(
        id="WFM-AppE1-network",
        paper="WFM",
        place="appendix E.1",
        title="network for Gaussians",
        latex=r"(m_t,\mathrm{vech}\,\Sigma_t,\cos\pi kt,\sin\pi kt)\mapsto(a,\mathrm{unvech}\,s)",
        statement="Two perceptrons with skip connections and layer norm read a Gaussian and a time.",
        functions=(mlp, networks.mlp, networks.input_features),
        checks=(
            Check(
                "plain NumPy, one Gaussian at a time",
                network_is_plain,
                lambda params, scaling, mu, t: mlp(params, scaling, mu, t)[0],
                {
                    "without the scaling": lambda params, scaling, mu, t: mlp(
                        params, networks.identity_scaling(mu.mean.shape[-1], like=mu.mean), mu, t
                    )[0],
                    "time reversed": lambda params, scaling, mu, t: mlp(params, scaling, mu, 1.0 - t)[0],
                    "without the covariance": lambda params, scaling, mu, t: mlp(
                        params, scaling, Gaussian(mu.mean, 0.0 * mu.cov), t
                    )[0],
                },
                roundings(300, "five layers of width 5"),
                dimensions=(1, 2, 3, 6),
            ),
            Check(
                "complex-step derivative of plain NumPy",
                pullback_is_adjoint,
                lambda params, scaling, mu, t, labels, g: mlp(params, scaling, mu, t, labels)[1](g),
                {
                    "without the output scaling": lambda params, scaling, mu, t, labels, g: mlp(
                        params, scaling, mu, t, labels
                    )[1]((g[0] / scaling["mean_scale"], g[1])),
                    "lower triangle of the gradient": lambda params, scaling, mu, t, labels, g: mlp(
                        params, scaling, mu, t, labels
                    )[1]((g[0], np.tril(g[1]))),
                    "gradient of the neighbours' labels": lambda params, scaling, mu, t, labels, g: mlp(
                        params, scaling, mu, t, labels if labels is None else np.roll(labels, 1)
                    )[1](g),
                },
                roundings(300, "five layers of width 5"),
                dimensions=(1, 2, 3),
            ),
            Check(
                "plain NumPy, one labelled Gaussian at a time",
                labels_are_plain,
                lambda params, mu, t, labels: mlp(
                    params, networks.identity_scaling(mu.mean.shape[-1], like=mu.mean), mu, t, labels
                )[0],
                {
                    "labels of the neighbours": lambda params, mu, t, labels: mlp(
                        params,
                        networks.identity_scaling(mu.mean.shape[-1], like=mu.mean),
                        mu,
                        t,
                        np.roll(labels, 1),
                    )[0],
                    "twice the outputs": lambda params, mu, t, labels: mlp(
                        params, _doubled(mu), mu, t, labels
                    )[0],
                },
                roundings(300, "five layers of width 5"),
                dimensions=(1, 2, 3),
            ),
        ),
    )


def network_is_plain(network, draw):
    """Velocity of the mean, and symmetric matrix."""
    params, scaling = plain_network.random_parameters(draw), plain_network.random_scaling(draw)
    mu, t = draw.gaussians(), draw.times()
    mean, matrix = draw.call(network, params, scaling, mu, t)
    truth = plain_network.tangent(params, scaling, mu, t)
    return worst_of(
        relative(mean, truth.mean, np.max(np.abs(truth.mean))),
        relative(matrix, truth.lift, np.max(np.abs(truth.lift))),
    )


def labels_are_plain(network, draw):
    """The same with a label for each Gaussian, and constants that change nothing."""
    params, labels = plain_network.random_parameters(draw, 3), np.array([2, 0, 1])
    mu, t, d = draw.gaussians(), draw.times(), draw.d
    sizes = {"input_scale": d + d * (d + 1) // 2, "mean_scale": d, "matrix_scale": d * (d + 1) // 2}
    nothing = {"input_shift": 0.0, **{name: np.ones(size) for name, size in sizes.items()}}
    mean, matrix = draw.call(network, params, mu, t, labels)
    truth = plain_network.tangent(params, nothing, mu, t, labels)
    return worst_of(
        relative(mean, truth.mean, np.max(np.abs(truth.mean))),
        relative(matrix, truth.lift, np.max(np.abs(truth.lift))),
    )


def _doubled(mu):
    scaling = networks.identity_scaling(mu.mean.shape[-1], like=mu.mean)
    return {**scaling, "mean_scale": 2.0 * scaling["mean_scale"]}


def pullback_is_adjoint(pullback, draw):
    """``⟨g, derivative along ξ⟩ = ⟨pullback(g), ξ⟩`` for random directions, also with labels."""
    scaling, mu, t = plain_network.random_scaling(draw), draw.gaussians(), draw.times()
    g = (draw.normal(*mu.mean.shape), draw.normal(*mu.cov.shape))
    worst = 0.0
    for labels in (None, np.array([2, 0, 1])):
        params = plain_network.random_parameters(draw, 0 if labels is None else 3)
        flat = optim.flatten(draw.call(pullback, params, scaling, mu, t, labels, g))
        size = np.sqrt(sum(np.sum(v**2) for v in flat.values()))
        for _ in range(2):
            way = optim.tree_map(lambda p: draw.rng.standard_normal(p.shape), params)

            def value(h, way=way, params=params, labels=labels):
                moved = plain_network.tangent(plain_network.drifted(params, way, h), scaling, mu, t, labels)
                return np.sum(g[0] * moved.mean) + np.sum(g[1] * moved.lift)

            result = sum(np.sum(flat[path] * w) for path, w in optim.flatten(way).items())
            worst = worst_of(worst, abs(result - complex_step(value)) / size)
    return worst


# Optimiser


def adam() -> Item:
    """Adam and its learning rate."""
    return Item(
        id="WFM-AppE1-adam",
        paper="WFM",
        place="appendix E.1",
        title="Adam with exponential decay",
        latex=r"\theta\leftarrow\theta-\eta_k\hat m/(\sqrt{\hat v}+\epsilon),\ \eta_k=\eta_0\,0.97^{k/1000}",
        statement="Kingma and Ba's optimiser; the rate falls by 3 % in 1000 steps.",
        functions=(optim.adam, optim.exponential_decay, optim.clip_by_global_norm, optim.ema),
        checks=(
            Check(
                "Kingma and Ba's Algorithm 1, line by line",
                adam_is_by_hand,
                lambda p, g, m, v: _adam(p, g, m, v, 2),
                {
                    "moments not corrected": lambda p, g, m, v: _adam(p, g, m, v, 10**6),
                    "uphill": lambda p, g, m, v: 2.0 * p - _adam(p, g, m, v, 2),
                    "first moment only": lambda p, g, m, v: p - 0.01 * (0.9 * m + 0.1 * g) / (1.0 - 0.9**3),
                    "moments exchanged": lambda p, g, m, v: _adam(p, g, v, np.abs(m), 2),
                },
                roundings(100, "a dozen operations, relative to the learning rate"),
            ),
            Check(
                "closed form, at multiples of 1000 steps",
                rate_decays,
                optim.exponential_decay,
                {
                    "natural exponential": lambda step, *, base: base * np.exp(-0.97 * step / 1000),
                    "0.97 every step": lambda step, *, base: base * 0.97**step,
                    "constant": lambda step, *, base: base,
                },
                roundings(100, "a power"),
                dimensions=(1,),
            ),
            Check(
                "NumPy norm",
                clipping_is_global,
                optim.clip_by_global_norm,
                {
                    "each array by itself": lambda tree, bound: (
                        {k: optim.clip_by_global_norm({k: v}, bound)[0][k] for k, v in tree.items()},
                        optim.clip_by_global_norm(tree, bound)[1],
                    ),
                    "not at all": lambda tree, bound: (tree, optim.clip_by_global_norm(tree, bound)[1]),
                },
                roundings(100, "sums of up to 272 squares"),
            ),
            far.clipping_check(),
            *far.schedule_checks(),
            Check(
                "closed form of a running mean",
                mean_is_running,
                optim.ema,
                {"decay exchanged": lambda a, p, *, decay: optim.ema(a, p, decay=1.0 - decay)},
                roundings(30, "three operations"),
            ),
        ),
    )


def _adam(p, g, m, v, steps):
    moved, _ = optim.adam({"p": p}, {"p": g}, optim.AdamState({"p": m}, {"p": v}, steps), learning_rate=0.01)
    return moved["p"]


def adam_is_by_hand(adam, draw):
    """Third step of size 0.01, relative to it."""
    shape = (draw.d, draw.d)
    p, g, m = 0.01 * draw.normal(*shape), draw.normal(*shape), draw.normal(*shape)
    p, v = draw.rounded(p), draw.rounded(draw.rng.uniform(0.5, 2.0, shape))
    truth = plain_network.kingma_ba(p, g, m, v, 3, 0.01)
    return relative(draw.call(adam, p, g, m, v), truth, 0.01)


def rate_decays(decay, draw):
    """``0.5 · 0.97ⁿ`` after 1000 n steps."""
    rates = np.array([decay(1000 * n, base=0.5) for n in range(5)])
    return relative(rates, 0.5 * np.cumprod([1.0, 0.97, 0.97, 0.97, 0.97]))


def clipping_is_global(clip, draw):
    """Gradients and norm, for bounds below and above the norm."""
    tree = {"a": draw.normal(draw.d, 3), "b": draw.normal(draw.d)}
    worst = 0.0
    for bound in (0.5, 100.0):
        result, norm = draw.call(clip, tree, bound)
        length, truth = plain_network.clipped(tree, bound)
        worst = worst_of(worst, abs(float(norm) - length) / length)
        worst = worst_of(
            worst, *(relative(result[key], truth[key], np.max(np.abs(truth[key]))) for key in tree)
        )
    return worst


def mean_is_running(ema, draw):
    """``0.9 a + 0.1 p``."""
    a, p = draw.normal(draw.d, 3), draw.normal(draw.d, 3)
    return relative(draw.call(ema, {"x": a}, {"x": p}, decay=0.9)["x"], 0.9 * a + 0.1 * p, 1.0)
