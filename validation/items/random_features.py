"""Audited construction of ours: random Fourier features of states and points, beside what a network reads."""

import numpy as np

from refwfm import networks
from refwfm.measures import Gaussian
from refwfm.training import optim
from refwfm.validation import plain_network, plain_point_mlp, plain_transformer
from refwfm.validation.check import Check, Item, Tolerance, roundings, worst_of
from refwfm.validation.textbook import complex_step, relative

M, MANY = 3, 4096


def items() -> list[Item]:
    """Return the items of this section."""
    return [random_features()]


def random_features() -> Item:
    """Features, and the networks that read them."""
    read, init = networks.input_features, networks.init_frequencies
    return Item(
        id="WFM-RFF",
        paper="WFM",
        place="ours, not the paper's",
        title="random Fourier features of states and points",
        latex=r"\phi(x)=(\cos 2\pi xB,\sin 2\pi xB),\ 2\pi B_{il}\sim N(0,s_i^2),\quad "
        r"\tfrac1m\langle\phi(x),\phi(y)\rangle\to e^{-\sum_is_i^2(x_i-y_i)^2/2}",
        statement="Networks read sines and cosines of the standardised state, or of points, beside it.",
        functions=(
            networks.space_features,
            networks.init_frequencies,
            networks.init_space,
            networks.input_features,
            networks.bures_mlp,
            networks.with_features,
            networks.transformer,
            networks.point_mlp,
        ),
        checks=(
            Check(
                "the Gaussian kernel, of 4096 frequencies",
                kernel_is_gaussian,
                init,
                {
                    "turns for radians": lambda rng, scales, n, *, like: (
                        2 * np.pi * init(rng, scales, n, like=like)
                    ),
                    "radians for turns": lambda rng, scales, n, *, like: (
                        init(rng, scales, n, like=like) / (2 * np.pi)
                    ),
                    "a variance for a deviation": lambda rng, scales, n, *, like: init(
                        rng, np.sqrt(scales), n, like=like
                    ),
                    "one scale for all": lambda rng, scales, n, *, like: init(
                        rng, [scales[-1]] * len(scales), n, like=like
                    ),
                },
                Tolerance(0.05, 0.05, "four standard errors of a mean of 4096 cosines"),
                dimensions=(2, 3),
                everywhere=False,
            ),
            Check(
                "plain NumPy, one state at a time",
                states_are_plain,
                lambda scaling, params, mu, t: read(params, scaling, mu, t),
                {
                    "features of the raw state": lambda scaling, params, mu, t: read(
                        params,
                        {**scaling, "frequencies": scaling["frequencies"] * scaling["input_scale"][:, None]},
                        mu,
                        t,
                    ),
                    "radians": lambda scaling, params, mu, t: read(
                        params, {**scaling, "frequencies": scaling["frequencies"] / (2 * np.pi)}, mu, t
                    ),
                    "the other way round": lambda scaling, params, mu, t: read(
                        params, {**scaling, "frequencies": -scaling["frequencies"]}, mu, t
                    ),
                    "without the covariance": lambda scaling, params, mu, t: read(
                        params, scaling, Gaussian(mu.mean, 0.0 * mu.cov), t
                    ),
                },
                roundings(300, "angles up to about ten"),
                dimensions=(1, 2, 3),
            ),
            Check(
                "plain NumPy, one Gaussian at a time",
                tangents_are_plain,
                lambda params, scaling, mu, t: networks.bures_mlp(params, scaling, mu, t)[0],
                {
                    "the other way round": lambda params, scaling, mu, t: networks.bures_mlp(
                        params, {**scaling, "frequencies": -scaling["frequencies"]}, mu, t
                    )[0],
                    "features of the neighbours": lambda params, scaling, mu, t: networks.bures_mlp(
                        params, scaling, Gaussian(mu.mean[::-1], mu.cov[::-1]), t
                    )[0],
                },
                roundings(300, "five layers of width 5"),
                dimensions=(1, 2, 3),
            ),
            _clouds("transformer", clouds_are_plain, plain_transformer.run),
            _clouds("baseline network", points_are_plain, plain_point_mlp.run),
            Check(
                "complex-step derivative of plain NumPy, frequencies held",
                pullback_holds_frequencies,
                _pullback,
                {
                    "of the other features": lambda params, points, mask, t, g: _pullback(
                        {**params, "frequencies": -params["frequencies"]}, points, mask, t, g
                    ),
                    "features without gradient": lambda *given: _first_rows(_pullback(*given)),
                    "frequencies trained": lambda *given: {
                        **_pullback(*given),
                        "frequencies": np.ones_like(given[0]["frequencies"]),
                    },
                },
                roundings(1000, "eight layers of width 6"),
                dimensions=(1, 2, 3),
                many_shapes=True,
            ),
        ),
    )


def _clouds(name, residual, run):
    def of(change):
        return lambda params, points, mask, t: run(
            {**params, "frequencies": change(params["frequencies"])}, points, mask, t
        )

    return Check(
        f"plain NumPy, one cloud and one point at a time: {name}",
        residual,
        run,
        {
            "radians": of(lambda B: B / (2 * np.pi)),
            "the other way round": of(lambda B: -B),
            "no frequencies": of(lambda B: 0.0 * B),
        },
        roundings(1000, "eight layers of width 6"),
        dimensions=(1, 2, 3),
        many_shapes=True,
    )


def kernel_is_gaussian(init, draw):
    """Mean products of features of three points, at scales that differ between coordinates."""
    scales, x = np.linspace(0.5, 2.0, draw.d), draw.normal(3, draw.d)
    features = networks.space_features(init(draw.rng, scales, MANY, like=x), x)
    gaps = np.sum((scales * (x[:, None] - x)) ** 2, axis=-1)
    return float(np.max(np.abs(features @ features.T / MANY - np.exp(-0.5 * gaps))))


def _states(draw):
    scaling = plain_network.random_scaling(draw, M)
    return plain_network.random_parameters(draw, n_state=M), scaling, draw.gaussians(), draw.times()


def states_are_plain(read, draw):
    """All that both networks read."""
    params, scaling, mu, t = _states(draw)
    k = np.pi * np.arange(1, plain_network.FREQUENCIES + 1)
    rows = []
    for mean, cov, time in zip(*mu, t, strict=True):
        state = np.concatenate([mean, cov[np.tril_indices(draw.d)]])
        state = (state - scaling["input_shift"]) / scaling["input_scale"]
        turns = plain_network.space_of(scaling["frequencies"], state)
        rows.append(np.concatenate([state, np.cos(k * time), np.sin(k * time), turns]))
    return relative(draw.call(read, scaling, params, mu, t), np.stack(rows))


def tangents_are_plain(network, draw):
    """Velocity of the mean, and symmetric matrix."""
    given = _states(draw)
    truth = plain_network.tangent(*given)
    parts = zip(draw.call(network, *given), truth, strict=True)
    return worst_of(*(relative(part, right, np.max(np.abs(right))) for part, right in parts))


def _of_clouds(draw):
    params = plain_transformer.random_parameters(draw, n_space=M, space_scale=1.0)
    return params, *plain_transformer.random_clouds(draw)


def clouds_are_plain(run, draw):
    """Velocities of all points."""
    given = _of_clouds(draw)
    truth = plain_transformer.plain(*given)
    return relative(draw.call(run, *given), truth, np.max(np.abs(truth)))


def points_are_plain(run, draw):
    """Velocities of all points."""
    params = plain_point_mlp.random_parameters(draw, n_space=M, space_scale=1.0)
    points, mask, t = plain_point_mlp.random_clouds(draw)
    truth = plain_point_mlp.plain(lambda x, s: plain_point_mlp.plain_cloud(params, x, s), points, mask, t)
    return relative(draw.call(run, params, points, mask, t), truth, np.max(np.abs(truth)))


def _pullback(params, points, mask, t, g):
    return networks.transformer(params, points, mask, t, heads=plain_transformer.HEADS)[1](g)


def _first_rows(grads):
    """The gradient of what reads the features forgotten."""
    weight = np.array(grads["in"]["weight"])
    weight[-2 * M :] = 0.0
    return {**grads, "in": {**grads["in"], "weight": weight}}


def pullback_holds_frequencies(pullback, draw):
    """``⟨g, derivative along ξ⟩ = ⟨pullback(g), ξ⟩`` for ξ of trained parameters; zeros for frequencies."""
    params, points, mask, t = _of_clouds(draw)
    g = draw.normal(*points.shape)
    flat = optim.flatten(draw.call(pullback, params, points, mask, t, g))
    worst = float(np.max(np.abs(flat.pop("frequencies"))))
    size = np.sqrt(sum(np.sum(grad**2) for grad in flat.values()))
    for _ in range(2):
        way = optim.tree_map(lambda p: draw.rng.standard_normal(p.shape), params)
        way["frequencies"] = 0.0 * params["frequencies"]

        def value(h, way=way):
            return np.sum(g * plain_transformer.plain(plain_network.drifted(params, way, h), points, mask, t))

        result = sum(np.sum(grad * optim.flatten(way)[path]) for path, grad in flat.items())
        worst = worst_of(worst, abs(result - complex_step(value)) / size)
    return worst
