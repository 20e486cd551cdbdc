"""Audited formulas of Meta Flow Matching: the embedding of a population."""

import numpy as np

from refwfm.populations.embedding import encode_particles, pool, population_embedding, tell, unit_norm
from refwfm.populations.graphs import neighbour_mean
from refwfm.validation import plain_population as plain
from refwfm.validation.check import Check, Item, roundings, worst_of
from refwfm.validation.plain_potentials import adjoint
from refwfm.validation.textbook import complex_step, relative

N = plain.N
WELL = roundings(2000, "a few layers of width 4 to 6")
SLOPES = roundings(2e4, "slopes of a few layers of width 4 to 6")


def items() -> list[Item]:
    """Return the items in the order of the paper."""
    return [meta_fm_2(), meta_fm_3()]


# META-FM-2, META-FM-3


def meta_fm_2() -> Item:
    """Layers of the graph network."""
    return plain.population_item(
        2,
        "section 4, population embedding; public code",
        "graph convolutions",
        r"Z'=\mathrm{relu}\big(\hat D^{-1/2}(A+I)\hat D^{-1/2}ZW+b\big)",
        "The average over a particle and its neighbours, then an affine map; the last is not rectified.",
        (encode_particles,),
        (
            Check(
                "layers by loops",
                encodings,
                lambda *given: encode_particles(*given)[0],
                {
                    "the last rectified": lambda *given: encode_particles(*given, activations=(True,) * 3)[0],
                    "none rectified": lambda *given: encode_particles(*given, activations=(False,) * 3)[0],
                    "without edges": lambda p, x, i, m: encode_particles(p, x, i[..., :0], m)[0],
                    "marks first": lambda p, x, i, m: encode_particles(p, m, i, x)[0],
                    "averaged twice": lambda p, x, i, m: neighbour_mean(encode_particles(p, x, i, m)[0], i)[
                        0
                    ],
                },
                WELL,
                dimensions=(1, 2, 6),
            ),
            Check(
                "complex steps along random parameters",
                encoding_slopes,
                lambda p, x, i, m, d: encode_particles(p, x, i, m)[1](d),
                {
                    "the sign": lambda p, x, i, m, d: plain.negative(encode_particles(p, x, i, m)[1](d)),
                    "the first layer forgotten": lambda p, x, i, m, d: plain.without(
                        "0", encode_particles(p, x, i, m)[1](d)
                    ),
                    "not rectified": lambda p, x, i, m, d: encode_particles(
                        p, x, i, m, activations=(False,) * 3
                    )[1](d),
                },
                SLOPES,
                dimensions=(1, 2, 6),
            ),
        ),
    )


def _population(draw):
    x, marks = plain.particles(draw), draw.normal(draw.size, N, plain.MARKS)
    return plain.random_embedding(draw), x, np.array(plain.graphs(x)), marks


def _encoded(params, x, index, marks):
    return [
        plain.encode(params, np.concatenate(pair, axis=1), graph.tolist())
        for *pair, graph in zip(x, marks, index, strict=True)
    ]


def encodings(function, draw):
    """Of each particle."""
    given = _population(draw)
    return relative(draw.call(function, *given), np.stack(_encoded(*given)))


def encoding_slopes(function, draw):
    """Of a random combination of all encodings."""
    params, *rest = _population(draw)
    d = draw.normal(draw.size, N, plain.WIDTH)
    grads = draw.call(function, params, *rest, d)
    return adjoint(grads, params, lambda p: np.sum(d * np.stack(_encoded(p, *rest))), draw)


def meta_fm_3() -> Item:
    """Summary and unit norm."""
    return plain.population_item(
        3,
        "section 4, population embedding; public code",
        "embedding of a population",
        r"h=\frac{\bar z}{\|\bar z\|},\quad \bar z=\frac1n\sum_jz_j,\quad "
        r"\ \partial h=\frac{I-hh^\top}{\|\bar z\|}\,\partial\bar z",
        "The mean over the particles, divided by its norm. Other summaries are ours.",
        (population_embedding, pool, unit_norm, tell),
        (
            *(_summary_check(name) for name in ("mean", "moments", "mean-max")),
            Check(
                "one population after the other",
                embeddings,
                lambda *given: population_embedding(*given)[0],
                {
                    "missing unit norm": lambda *given: pool(encode_particles(*given)[0])[0],
                    "norm of each particle": lambda *given: pool(unit_norm(encode_particles(*given)[0])[0])[
                        0
                    ],
                    "sum of absolute values": lambda *given: _by_sum(pool(encode_particles(*given)[0])[0]),
                    "the largest": lambda *given: unit_norm(np.max(encode_particles(*given)[0], axis=-2))[0],
                },
                WELL,
                dimensions=(1, 2, 6),
            ),
            Check(
                "complex steps along random parameters, the norm with them",
                embedding_slopes,
                lambda p, x, i, m, d: population_embedding(p, x, i, m)[1](d),
                {
                    "the norm as a constant": _constant_norm,
                    "the sign": lambda p, x, i, m, d: plain.negative(population_embedding(p, x, i, m)[1](d)),
                    "not divided by the norm": _projected,
                },
                SLOPES,
                dimensions=(1, 2, 6),
            ),
            Check(
                "both at once, one population after the other",
                told_by_loops,
                lambda p, x, i, m, d, e: _told_and_pulled(tell(p, x, i, m), d, e),
                {
                    "encodings of unit norm": lambda p, x, i, m, d, e: _told_and_pulled(
                        _unit_particles(tell(p, x, i, m)), d, e
                    ),
                    "the gradient by the particles forgotten": lambda p, x, i, m, d, e: _told_and_pulled(
                        tell(p, x, i, m), d, 0.0 * e
                    ),
                    "the gradient by the embedding forgotten": lambda p, x, i, m, d, e: _told_and_pulled(
                        tell(p, x, i, m), 0.0 * d, e
                    ),
                },
                SLOPES,
                dimensions=(2,),
            ),
        ),
    )


def _by_sum(z):
    return z / np.sum(np.abs(z), axis=-1, keepdims=True)


def _constant_norm(p, x, i, m, d):
    z, pull = encode_particles(p, x, i, m)
    pooled, pull_pool = pool(z)
    return pull(pull_pool(d / np.linalg.norm(pooled, axis=-1, keepdims=True)))


def _projected(p, x, i, m, d):
    z, pull = encode_particles(p, x, i, m)
    pooled, pull_pool = pool(z)
    return pull(pull_pool(unit_norm(pooled)[1](d) * np.linalg.norm(pooled, axis=-1, keepdims=True)))


def _unit_particles(told):
    return told[0]._replace(z=unit_norm(told[0].z)[0]), told[1]


def _told_and_pulled(told, d, e):
    return told[0].h, told[0].z, told[1](d, e)


def _summary_check(pooling):
    def masked(z, mask):
        value, pullback = pool(z, mask, pooling=pooling)
        return value, pullback(value)

    def of_all(z, mask):
        value, pullback = pool(z, pooling=pooling)
        return value, pullback(value)

    wrong = {
        "padding counted": of_all,
        "sum instead of mean": lambda z, mask: (masked(z, mask)[0] * z.shape[-2], masked(z, mask)[1]),
        "gradient of a sum": lambda z, mask: (masked(z, mask)[0], masked(z, mask)[1] * z.shape[-2]),
    }
    return Check(
        f"sums over live particles: {pooling}",
        summaries(pooling),
        masked,
        wrong,
        roundings(200, "sums of six, and their products"),
        dimensions=(1, 3),
    )


def summaries(pooling):
    """Residual of one kind of summary."""

    def residual(function, draw):
        """Summary, and its pullback of itself, of populations of six, three and one."""
        z = draw.normal(draw.size, N, draw.d)
        mask = np.arange(N) < np.array([[6], [3], [1]])
        value, gradient = draw.call(function, z, mask)
        worst = 0.0
        for i, n in enumerate((6, 3, 1)):
            truth, slopes = plain.summary(z[i, :n], pooling), np.zeros((N, draw.d))
            slopes[:n] = _slopes(
                lambda live, truth=truth: np.sum(truth * plain.summary(live, pooling)), z[i, :n]
            )
            size = 1.0 + z[i, :n].max() ** 2
            worst = worst_of(worst, relative(value[i], truth, 1.0), relative(gradient[i], slopes, size))
        return worst

    return residual


def _slopes(function, z):
    """By complex steps, entry by entry."""
    slopes = np.zeros(z.shape)
    for place in np.ndindex(z.shape):
        way = np.zeros(z.shape)
        way[place] = 1.0
        slopes[place] = complex_step(lambda h, way=way: function(z + h * way))
    return slopes


def _embedded(params, x, index, marks):
    return np.stack([plain.unit(plain.summary(z)) for z in _encoded(params, x, index, marks)])


def embeddings(function, draw):
    """Of norm 1."""
    given = _population(draw)
    return relative(draw.call(function, *given), _embedded(*given), 1.0)


def embedding_slopes(function, draw):
    """Of a random combination of embeddings."""
    params, *rest = _population(draw)
    d = draw.normal(draw.size, plain.WIDTH)
    grads = draw.call(function, params, *rest, d)
    return adjoint(grads, params, lambda p: np.sum(d * _embedded(p, *rest)), draw)


def told_by_loops(function, draw):
    """Embedding, encodings, and the slope of a random combination of both."""
    params, *rest = _population(draw)
    d, e = draw.normal(draw.size, plain.WIDTH), draw.normal(draw.size, N, plain.WIDTH)
    h, z, grads = draw.call(function, params, *rest, d, e)

    def value(p):
        return np.sum(d * _embedded(p, *rest)) + np.sum(e * np.stack(_encoded(p, *rest)))

    return worst_of(
        relative(h, _embedded(params, *rest), 1.0),
        relative(z, np.stack(_encoded(params, *rest))),
        adjoint(grads, params, value, draw),
    )
