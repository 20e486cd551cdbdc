"""Audited layers of appendix E.1: symmetric matrices as vectors, and the pullbacks of all layers."""

import numpy as np

from refwfm import networks
from refwfm.training import optim
from refwfm.validation import plain_network
from refwfm.validation.check import EXACT, STANDARD_ERRORS, Check, Item, roundings, worst_of
from refwfm.validation.textbook import complex_step, relative, size, standard_errors


def items() -> list[Item]:
    """Return the items in the order of the appendix."""
    return [triangles(), layers()]


# Vectors of lower triangles


def triangles() -> Item:
    """Vech and its inverse."""
    vech, unvech = networks.vech, networks.unvech
    return Item(
        id="WFM-AppE1-vech",
        paper="WFM",
        place="appendix E.1",
        title="symmetric matrices as vectors",
        latex=r"\mathrm{vech}(S)=(S_{11},S_{21},S_{22},S_{31},\dots)\in\mathbb R^{d(d+1)/2}",
        statement="The network reads and returns the lower-triangular entries of symmetric matrices.",
        functions=(vech, unvech),
        checks=(
            Check(
                "NumPy tril_indices",
                vech_is_numpys,
                lambda matrix: vech(matrix)[0],
                {
                    "upper triangle, row by row": lambda matrix: matrix[
                        :, *np.triu_indices(matrix.shape[-1])
                    ],
                    "without the diagonal": lambda matrix: vech(matrix - matrix * np.eye(matrix.shape[-1]))[
                        0
                    ],
                },
                EXACT,
                dimensions=(3, 6, 16),
            ),
            Check(
                "NumPy tril_indices, filled",
                unvech_is_numpys,
                lambda vector, d: unvech(vector, d)[0],
                {
                    "lower triangle only": lambda vector, d: np.tril(unvech(vector, d)[0]),
                    "both halves of twice the diagonal": lambda vector, d: (
                        np.tril(unvech(vector, d)[0]) + np.tril(unvech(vector, d)[0]).mT
                    ),
                },
                EXACT,
                dimensions=(2, 3, 6, 16),
            ),
            Check(
                "adjoint of vech",
                pullback_of_vech,
                lambda matrix, g: vech(matrix)[1](g),
                {"symmetric, each entry twice": lambda matrix, g: unvech(g, matrix.shape[-1])[0]},
                roundings(300, "sums of up to 272 products"),
                dimensions=(2, 3, 6, 16),
            ),
            Check(
                "adjoint of unvech",
                pullback_of_unvech,
                lambda vector, d, g: unvech(vector, d)[1](g),
                {"each entry off the diagonal once": lambda vector, d, g: vech(g)[0]},
                roundings(300, "sums of up to 272 products"),
                dimensions=(2, 3, 6, 16),
            ),
        ),
    )


def vech_is_numpys(vech, draw):
    """Entries of a matrix that need not be symmetric."""
    matrix = draw.normal(draw.size, draw.d, draw.d)
    return relative(draw.call(vech, matrix), matrix[:, *np.tril_indices(draw.d)])


def unvech_is_numpys(unvech, draw):
    """Entries of the symmetric matrix."""
    vector = draw.normal(draw.size, draw.d * (draw.d + 1) // 2)
    return relative(draw.call(unvech, vector, draw.d), _filled(vector, draw.d))


def _filled(vector, d):
    truth = np.zeros((len(vector), d, d))
    truth[:, *np.tril_indices(d)] = vector
    return truth + np.tril(truth, -1).mT


def pullback_of_vech(pullback, draw):
    """``⟨g, vech(X)⟩ = ⟨pullback(g), X⟩`` for any X."""
    matrix, g = draw.normal(draw.size, draw.d, draw.d), draw.normal(draw.size, draw.d * (draw.d + 1) // 2)
    truth = np.sum(g * matrix[:, *np.tril_indices(draw.d)], axis=-1)
    return relative(np.sum(draw.call(pullback, matrix, g) * matrix, axis=(-2, -1)), truth, draw.d)


def pullback_of_unvech(pullback, draw):
    """``⟨G, unvech(x)⟩ = ⟨pullback(G), x⟩`` for any G."""
    vector, g = draw.normal(draw.size, draw.d * (draw.d + 1) // 2), draw.normal(draw.size, draw.d, draw.d)
    truth = np.sum(g * _filled(vector, draw.d), axis=(-2, -1))
    return relative(np.sum(draw.call(pullback, vector, draw.d, g) * vector, axis=-1), truth, draw.d)


# Layers


def layers() -> Item:
    """Layers and their pullbacks."""
    return Item(
        id="WFM-AppE1-layers",
        paper="WFM",
        place="appendix E.1",
        title="layers and their pullbacks",
        latex=r"\langle g, J\,\xi\rangle=\langle J^\top g,\xi\rangle",
        statement="Each layer's pullback multiplies with the transposed Jacobian of its value.",
        functions=(
            networks.dense,
            networks.layer_norm,
            networks.relu,
            networks.silu,
            networks.residual,
            networks.label_embedding,
            networks.fourier_features,
            networks.init_dense,
        ),
        checks=(
            Check(
                "plain NumPy, and its complex-step derivative",
                layers_are_adjoint,
                lambda name, params, x: _layer(name)(params, x),
                {
                    "without the mean's share in layer_norm": _careless,
                    "gradients not summed over the batch": _last_only,
                    "pullback of another point": lambda name, params, x: (
                        _layer(name)(params, x)[0],
                        _layer(name)(params, -x)[1],
                    ),
                },
                roundings(300, "rows of length up to 8"),
                dimensions=(2, 6),
            ),
            Check(
                "closed form",
                features_are_waves,
                lambda t: networks.fourier_features(t, 3)[0],
                {
                    "whole periods only": lambda t: networks.fourier_features(2.0 * t, 3)[0],
                    "sines first": lambda t: np.roll(networks.fourier_features(t, 3)[0], 3, axis=-1),
                },
                roundings(100, "angles up to 3 π"),
                dimensions=(1,),
            ),
            Check(
                "complex-step derivative of the closed form",
                pullback_of_features,
                lambda t, g: networks.fourier_features(t, 3)[1](g),
                {
                    "the sign": lambda t, g: -networks.fourier_features(t, 3)[1](g),
                    "without the frequencies": lambda t, g: networks.fourier_features(t, 3)[1](
                        g / np.tile(np.pi * np.arange(1, 4), 2)
                    ),
                },
                roundings(100, "angles up to 3 π"),
                dimensions=(1,),
            ),
            Check(
                "indexing",
                embedding_is_indexing,
                _embedding,
                {
                    "examples of a label not added up": _overwritten,
                    "labels shifted by one": lambda table, labels, g: _embedding(table, (labels + 1) % 4, g),
                },
                roundings(30, "sums over a batch of 8"),
                dimensions=(3,),
                size=8,
            ),
            Check(
                "moments of the initial weights, Monte Carlo",
                initial_weights_keep_the_variance,
                _initial(lambda n_in, n_out: np.sqrt(2.0)),
                {
                    "not divided by the width": _initial(lambda n_in, n_out: np.sqrt(2.0 * n_in)),
                    "by the width, not its root": _initial(lambda n_in, n_out: np.sqrt(2.0 / n_in)),
                    "by the outputs' number": _initial(lambda n_in, n_out: np.sqrt(2.0 * n_in / n_out)),
                    "without the factor of the ReLU": _initial(lambda n_in, n_out: 1.0),
                },
                STANDARD_ERRORS,
                dimensions=(20,),
                repeats=1,
            ),
        ),
    )


def _initial(scale):
    return lambda rng, n_in, n_out, like: networks.init_dense(
        rng, n_in, n_out, like=like, scale=scale(n_in, n_out)
    )


def initial_weights_keep_the_variance(init, draw):
    """Mean 0 and variance ``2 / n_in`` of weights, ``E cos w = exp(-1 / n_in)``; no bias."""
    n_in, n_out = draw.d, 1000
    layer = draw.call(lambda like: init(draw.rng, n_in, n_out, like), np.zeros(1))
    if layer["weight"].shape != (n_in, n_out) or np.any(layer["bias"]):
        return np.inf
    weight = layer["weight"].reshape(-1)
    return worst_of(
        standard_errors(weight, 0.0),
        standard_errors(weight**2, 2.0 / n_in),
        standard_errors(np.cos(weight), np.exp(-1.0 / n_in)),
    )


def _layer(name):
    without = {"relu": networks.relu, "silu": networks.silu}
    if name in without:

        def layer(params, x):
            y, pullback = without[name](x)
            return y, lambda g: ({}, pullback(g))

        return layer
    if name == "residual":
        return networks.residual(networks.block)
    return {"dense": networks.dense, "layer_norm": networks.layer_norm}[name]


def _plain(name, params, x):
    """One vector after the other."""
    functions = {
        "dense": plain_network.affine,
        "layer_norm": plain_network.normalised,
        "relu": lambda params, x: plain_network.positive(x),
        "silu": lambda params, x: x / (1.0 + np.exp(-x)),
        "residual": lambda params, x: (
            x
            + plain_network.positive(
                plain_network.affine(params["dense"], plain_network.normalised(params["norm"], x))
            )
        ),
    }
    return np.stack([functions[name](params, row) for row in x])


def _layer_parameters(name, draw):
    n = draw.d + 2
    dense = {"weight": draw.normal(n, n), "bias": draw.normal(n)}
    norm = {"scale": 1.0 + draw.normal(n) / 4.0, "shift": draw.normal(n)}
    named = {"dense": dense, "layer_norm": norm, "residual": {"dense": dense, "norm": norm}}
    return named.get(name, {})


def layers_are_adjoint(layer, draw):
    """Value, and ``⟨g, derivative along ξ⟩ = ⟨pullback(g), ξ⟩`` in parameters and input, for each layer."""
    worst = 0.0
    for name in ("dense", "layer_norm", "relu", "silu", "residual"):
        params = _layer_parameters(name, draw)
        x, g, way = (draw.normal(draw.size, draw.d + 2) for _ in range(3))
        drift = optim.tree_map(lambda p: draw.rng.standard_normal(p.shape), params)

        def run(params, x, g, name=name):
            y, pullback = layer(name, params, x)
            return y, pullback(g)

        y, (d_params, d_x) = draw.call(run, params, x, g)

        def moved(h, name=name, params=params, drift=drift, x=x, way=way):
            there = plain_network.drifted(params, drift, h)
            return _plain(name, there, x + h * way)

        slope = np.sum(g * complex_step(moved))
        flat, flat_drift = optim.flatten(d_params), optim.flatten(drift)
        result = np.sum(d_x * way) + sum(np.sum(flat[path] * flat_drift[path]) for path in flat_drift)
        norm = np.linalg.norm(way) * np.linalg.norm(d_x) + sum(np.linalg.norm(v) for v in flat.values())
        worst = worst_of(
            worst, relative(y, _plain(name, params, x), 1.0 + size(x)), abs(result - slope) / norm
        )
    return worst


def _careless(name, params, x):
    y, pullback = _layer(name)(params, x)
    if name != "layer_norm":
        return y, pullback
    centred = x - x.mean(axis=-1, keepdims=True)
    inverse = 1.0 / np.sqrt(np.mean(centred**2, axis=-1, keepdims=True) + 1e-5)
    return y, lambda g: (pullback(g)[0], g * params["scale"] * inverse)


def _last_only(name, params, x):
    y, pullback = _layer(name)(params, x)
    last = np.arange(len(x))[:, None] == len(x) - 1
    return y, lambda g: (pullback(g * last)[0], pullback(g)[1])


def features_are_waves(features, draw):
    """``cos(π k t)``, then ``sin(π k t)``, k = 1, 2, 3."""
    t = draw.times(0.0, 1.0)
    return relative(draw.call(features, t), _waves(t))


def _waves(t):
    angle = np.pi * t[:, None] * np.arange(1, 4)
    return np.concatenate([np.cos(angle), np.sin(angle)], axis=-1)


def pullback_of_features(pullback, draw):
    """``d/dt ⟨g, features(t)⟩``."""
    t, g = draw.times(0.0, 1.0), draw.normal(draw.size, 6)
    truth = complex_step(lambda h: np.sum(g * _waves(t + h), axis=-1))
    return relative(draw.call(pullback, t, g), truth, 3.0 * np.pi * size(g))


def _embedding(table, labels, g):
    y, pullback = networks.label_embedding({"table": table}, labels)
    return y, pullback(g)[0]["table"]


def _overwritten(table, labels, g):
    d_table = np.zeros_like(table)
    d_table[labels] = g
    return _embedding(table, labels, g)[0], d_table


def embedding_is_indexing(embedding, draw):
    """Rows of the table, and the sums of the gradients of each label."""
    table, g = draw.normal(4, draw.d), draw.normal(draw.size, draw.d)
    labels = draw.rng.integers(4, size=draw.size)
    y, d_table = draw.call(embedding, table, labels, g)
    truth = np.stack([g[labels == label].sum(axis=0) for label in range(4)])
    return worst_of(relative(y, table[labels]), relative(d_table, truth, 1.0))
