"""Audited formulas of Meta Flow Matching: the network of the velocity, and attention."""

import numpy as np

from refwfm.populations.readout import attention_readout, init_attention_readout
from refwfm.populations.velocity import velocity
from refwfm.training import optim
from refwfm.validation import plain_population as plain
from refwfm.validation.check import Check, Item, roundings
from refwfm.validation.plain_potentials import adjoint
from refwfm.validation.textbook import relative

N = plain.N
WELL = roundings(2000, "a few layers of width 4 to 6")
SLOPES = roundings(2e4, "slopes of a few layers of width 4 to 6")


def items() -> list[Item]:
    """Return the items in the order of the paper."""
    return [meta_fm_6(), meta_fm_7()]


# META-FM-6, META-FM-7


def meta_fm_6() -> Item:
    """Network of the velocity."""
    return plain.population_item(
        6,
        "appendix, architecture; public code",
        "network of the velocity",
        r"o=\mathrm{selu}(W[h,\mathrm{time},\mathrm{space},x,c]+b),\quad "
        r"\ o\leftarrow\mathrm{selu}(Wo+b+o),\quad v=Wo+b",
        "A perceptron of SELU layers, with or without skips, that reads all it is told.",
        (velocity,),
        (
            _velocity_check(True),
            _velocity_check(False),
            Check(
                "complex steps along random parameters and embeddings",
                velocity_slopes,
                _pulled(True),
                {
                    "the sign": lambda *given: plain.negative(_pulled(True)(*given)),
                    "the embedding's forgotten": lambda *given: {
                        **_pulled(True)(*given),
                        "h": 0.0 * _pulled(True)(*given)["h"],
                    },
                    "the last hidden layer's forgotten": lambda *given: {
                        **_pulled(True)(*given),
                        "hidden": plain.without("1", _pulled(True)(*given)["hidden"]),
                    },
                    "without skips": _pulled(False),
                    "mean over particles for h": lambda *given: {
                        **_pulled(True)(*given),
                        "h": _pulled(True)(*given)["h"] / N,
                    },
                },
                SLOPES,
                dimensions=(1, 2),
            ),
        ),
    )


def _field(skip, **options):
    return lambda params, x, t, h, c: velocity(params, x, t, h, c, skip=skip, n_time=plain.TIME, **options)


def _pulled(skip):
    def gradients(params, x, t, h, c, d):
        d_params, d_h, _ = _field(skip)(params, x, t, h, c)[1](d)
        return {**{key: part for key, part in d_params.items() if key != "frequencies"}, "h": d_h}

    return gradients


def _velocity_check(skip):
    right = _field(skip)
    start, both = plain.TIME, plain.TIME + plain.WIDTH

    def permuted(params, order):
        weight = params["in"]["weight"]
        return {**params, "in": {**params["in"], "weight": order(weight)}}

    def skip_after(params, x, t, h, c):
        """``o + selu(W o + b)``."""
        rows = []
        for i in range(len(x)):
            for j in range(x.shape[1]):
                inputs = [
                    h[i],
                    plain.time_of(t[i, j]),
                    plain.space_of(params["frequencies"], x[i, j]),
                    x[i, j],
                    c[i],
                ]
                o = plain.selu(plain.affine(params["in"], np.concatenate(inputs)))
                for layer in params["hidden"].values():
                    o = o + plain.selu(plain.affine(layer, o))
                rows.append(plain.affine(params["out"], o))
        return np.reshape(rows, x.shape)

    wrong = {
        "time before the embedding": lambda p, *given: right(
            permuted(
                p,
                lambda w: np.concatenate([w[start:both], w[:start], w[both:]]),
            ),
            *given,
        )[0],
        "the other kind of layers": lambda *given: _field(not skip)(*given)[0],
        "no condition": lambda p, x, t, h, c: right(p, x, t, h, 0.0 * c)[0],
        "no embedding": lambda p, x, t, h, c: right(p, x, t, 0.0 * h, c)[0],
        "time from 1 to 0": lambda p, x, t, h, c: right(p, x, 1.0 - t, h, c)[0],
        "one time for all": lambda p, x, t, h, c: right(p, x, t[:, 0], h, c)[0],
        "the skip behind the unit": skip_after,
    }
    return Check(
        f"particle by particle, {'with skips' if skip else 'plain'}",
        velocities(skip),
        lambda *given: right(*given)[0],
        wrong,
        WELL,
        dimensions=(1, 2, 6),
    )


def _moving(draw, skip=True):
    params = plain.random_velocity(draw, skip=skip)
    t = draw.rounded(draw.rng.uniform(0.0, 1.0, (draw.size, N)))
    h, c = draw.normal(draw.size, plain.WIDTH), draw.normal(draw.size, plain.CONDITION)
    return params, plain.particles(draw), t, h, c


def _by_particle(params, x, t, h, c, skip=True):
    return np.stack(
        [
            [plain.velocity(params, *pair, h[i], c[i], skip) for pair in zip(x[i], t[i], strict=True)]
            for i in range(len(x))
        ]
    )


def velocities(skip):
    """Residual of one kind of layers."""

    def residual(function, draw):
        """Velocity of each particle."""
        given = _moving(draw, skip)
        return relative(draw.call(function, *given), _by_particle(*given, skip))

    return residual


def velocity_slopes(function, draw):
    """Of a random combination of velocities, along parameters and embeddings."""
    params, x, t, h, c = _moving(draw)
    d = draw.normal(*x.shape)
    grads = draw.call(function, params, x, t, h, c, d)
    variable = {**{key: part for key, part in params.items() if key != "frequencies"}, "h": h}

    def value(p):
        return np.sum(d * _by_particle({**p, "frequencies": params["frequencies"]}, x, t, p["h"], c))

    return adjoint(grads, variable, value, draw)


def meta_fm_7() -> Item:
    """Attention over the population."""
    return plain.population_item(
        7,
        "ours, not the paper's",
        "attention over the population",
        r"r=\mathrm{out}\Big(\sum_j\mathrm{softmax}_j\big(\tfrac{\langle q(x,t),k_j\rangle}{\sqrt c}"
        r"\big)v_j\Big),\quad k_j,v_j\ \text{of}\ [z_j,x_j,\|x_j\|^2]",
        "Each moving particle reads the encoded particles of its population.",
        (attention_readout,),
        (
            Check(
                "head by head, over live particles",
                readouts,
                lambda *given: attention_readout(*given, heads=plain.HEADS)[0],
                {
                    "one head": lambda *given: attention_readout(*given, heads=1)[0],
                    "padding read": lambda *given: attention_readout(*given[:-1], heads=plain.HEADS)[0],
                    "no coordinates": lambda p, s, x, z, m: attention_readout(p, s, 0.0 * x, z, m, heads=2)[
                        0
                    ],
                    "keys and values exchanged": lambda p, *given: attention_readout(
                        {**p, "key": p["value"], "value": p["key"]}, *given, heads=plain.HEADS
                    )[0],
                    "scores not divided": lambda p, *given: attention_readout(
                        {**p, "query": optim.tree_map(lambda w: np.sqrt(2) * w, p["query"])}, *given, heads=2
                    )[0],
                    "mean over the population": _evenly,
                },
                WELL,
                dimensions=(1, 3),
            ),
            Check(
                "complex steps along random parameters and encodings",
                readout_slopes,
                _pulled_readout,
                {
                    "the sign": lambda *given: plain.negative(_pulled_readout(*given)),
                    "the query forgotten": lambda *given: plain.without("query", _pulled_readout(*given)),
                    "encodings by their values alone": _by_values,
                },
                SLOPES,
                dimensions=(1, 3),
            ),
        ),
    )


def _evenly(p, s, x, z, m):
    return attention_readout(
        {**p, "query": optim.tree_map(np.zeros_like, p["query"])}, s, x, z, m, heads=plain.HEADS
    )[0]


def _pulled_readout(p, s, x, z, m, d):
    d_params, d_z = attention_readout(p, s, x, z, m, heads=plain.HEADS)[1](d)
    return {**d_params, "z": d_z}


def _by_values(p, s, x, z, m, d):
    keyless = {**p, "key": optim.tree_map(np.zeros_like, p["key"])}
    return {**_pulled_readout(p, s, x, z, m, d), "z": _pulled_readout(keyless, s, x, z, m, d)["z"]}


def _reading(draw):
    params = init_attention_readout(
        draw.rng, 3, draw.d, plain.WIDTH, like=np.zeros(0), width=4, heads=plain.HEADS
    )
    place, x, z = draw.normal(draw.size, N, 3), plain.particles(draw, plain.M), draw.normal(draw.size, 7, 4)
    mask = np.arange(plain.M) < np.array([[7], [4], [1]])
    return plain.filled(draw, params), place, x, z, mask


def _read_by_loops(params, place, x, z, mask):
    return np.stack(
        [
            [plain.read(params, row, x[i][mask[i]], z[i][mask[i]]) for row in place[i]]
            for i in range(len(place))
        ]
    )


def readouts(function, draw):
    """What each moving particle reads."""
    given = _reading(draw)
    return relative(draw.call(function, *given), _read_by_loops(*given))


def readout_slopes(function, draw):
    """Of a random combination of what is read."""
    params, place, x, z, mask = _reading(draw)
    d = draw.normal(draw.size, N, 4)
    grads = draw.call(function, params, place, x, z, mask, d)

    def value(p):
        return np.sum(d * _read_by_loops(p, place, x, p["z"], mask))

    return adjoint(grads, {**params, "z": z}, value, draw)
