"""Audited formulas of Meta Flow Matching: paths, pairs, the loss and its gradient."""

import numpy as np
from scipy.optimize import linear_sum_assignment

from refwfm.populations import objective, pairs
from refwfm.populations.embedding import tell
from refwfm.populations.graphs import knn_graph
from refwfm.populations.objective import ParticleBatch, Population, loss_and_grad
from refwfm.training import optim
from refwfm.validation import plain_population as plain
from refwfm.validation.check import EXACT, Check, Item, Tolerance, roundings, worst_of
from refwfm.validation.plain_potentials import adjoint
from refwfm.validation.textbook import relative

LOSS = roundings(2e4, "two networks of a few layers of width 4 to 6, and slopes of them")
OPTIONS = {"n_time": plain.TIME, "heads": plain.HEADS}


def items() -> list[Item]:
    """Return the items in the order of the paper."""
    return [meta_fm_8()]


def meta_fm_8() -> Item:
    """Objective of meta flow matching."""
    return plain.population_item(
        8,
        "section 4, objective and algorithm; public code",
        "objective of meta flow matching",
        r"\mathbb E_i\,\mathbb E_{\pi(x_0,x_1|i)}\,\mathbb E_t"
        r"\|(x_1-x_0)-v_t(x_t\mid\varphi(\{x_0^j\}),c^i)\|^2,\ x_t=(1-t)x_0+tx_1",
        "The velocity is told nothing (FM), which population it is (CGFM), or its embedding (MFM).",
        (
            pairs.linear_path,
            pairs.start_points,
            pairs.optimal_pairs,
            pairs.indicators,
            objective.flow_matching_loss,
            objective.flow_matching_loss_without_constant,
            loss_and_grad,
        ),
        (*_paths(), *_losses(), *_gradients()),
    )


# Paths and pairs


def _paths():
    return (
        Check(
            "lines by loops",
            lines,
            pairs.linear_path,
            {
                "reversed": lambda x0, x1, t: (pairs.linear_path(x1, x0, t)[0], x1 - x0),
                "the velocity's sign": lambda x0, x1, t: (pairs.linear_path(x0, x1, t)[0], x0 - x1),
                "one time for all": lambda x0, x1, t: pairs.linear_path(x0, x1, t[:, :1] + 0.0 * t),
                "the velocity at time t": lambda x0, x1, t: (
                    pairs.linear_path(x0, x1, t)[0],
                    x1 - pairs.linear_path(x0, x1, t)[0],
                ),
            },
            roundings(10, "a sum of two products"),
            dimensions=(1, 3),
        ),
        Check(
            "assignments by SciPy",
            optimal,
            lambda x0, x1: pairs.optimal_pairs(x0, x1, 40, rng=np.random.default_rng(1)),
            {
                "pairs as they come": lambda x0, x1: (x0, x1),
                "independent": lambda x0, x1: (x0, x1[:, np.random.default_rng(1).permutation(plain.N)]),
                "of another population": lambda x0, x1: pairs.optimal_pairs(
                    x0, x1[::-1], 40, rng=np.random.default_rng(1)
                ),
                "the other way": lambda x0, x1: pairs.optimal_pairs(x1, x0, 40, rng=np.random.default_rng(1)),
            },
            EXACT,
            dimensions=(1, 3),
            repeats=1,
            everywhere=False,  # plans and draws are of the host
        ),
        Check(
            "moments of many draws",
            noise,
            lambda x0: pairs.start_points(x0, "noise", rng=np.random.default_rng(1)),
            {
                "the data": lambda x0: pairs.start_points(x0, "data", rng=np.random.default_rng(1)),
                "about the data": lambda x0: (
                    x0 + pairs.start_points(x0, "noise", rng=np.random.default_rng(1))
                ),
                "uniform": lambda x0: np.random.default_rng(1).uniform(-1.0, 1.0, x0.shape),
            },
            Tolerance(5.0, 5.0, "in standard errors of 4000 draws"),
            dimensions=(1, 3),
        ),
        Check(
            "rows of the unit matrix, and their mean",
            one_hot,
            lambda like: (pairs.indicators([3, 0], 5, like=like), pairs.indicators(None, 5, like=like)),
            {
                "counted from 1": lambda like: (
                    pairs.indicators([2, 4], 5, like=like),
                    pairs.indicators(None, 5, like=like),
                ),
                "unseen is nothing": lambda like: (
                    pairs.indicators([3, 0], 5, like=like),
                    0.0 * pairs.indicators(None, 5, like=like),
                ),
                "unseen is all": lambda like: (
                    pairs.indicators([3, 0], 5, like=like),
                    5.0 * pairs.indicators(None, 5, like=like),
                ),
            },
            roundings(1, "a quotient"),
            dimensions=(1,),
        ),
    )


def lines(function, draw):
    """Places and velocities, in units of the data."""
    x0, x1 = plain.particles(draw), plain.particles(draw)
    t = draw.rounded(draw.rng.uniform(0.0, 1.0, (draw.size, plain.N)))
    place, u = draw.call(function, x0, x1, t)
    truth = np.empty(x0.shape)
    for index in np.ndindex(x0.shape):
        truth[index] = x0[index] + t[index[:-1]] * (x1[index] - x0[index])
    return worst_of(relative(place, truth, 1.0), relative(u, x1 - x0, 1.0))


def optimal(function, draw):
    """Pairs that are not of the assignment, and particles that are in none of 40 draws of 6."""
    x0, x1 = plain.particles(draw), plain.particles(draw)
    before, after = draw.call(function, x0, x1)
    wrong = 0
    for i in range(draw.size):
        cost = np.sum((x0[i][:, None] - x1[i]) ** 2, axis=-1)
        right = {
            (x0[i, j].tobytes(), x1[i, k].tobytes())
            for j, k in zip(*linear_sum_assignment(cost), strict=True)
        }
        found = {(a.tobytes(), b.tobytes()) for a, b in zip(before[i], after[i], strict=True)}
        wrong += len(found ^ right)
    return wrong


def noise(function, draw):
    """Means, variances, fourth moments, and products with the data, in standard errors."""
    x0 = draw.rounded(2.0 + draw.rng.standard_normal((1, 4000, draw.d)))
    z = draw.call(function, x0)
    n = z.size**0.5
    moments = np.mean(z) * n, (np.mean(z**2) - 1) * n / 2**0.5, (np.mean(z**4) - 3) * n / 96**0.5
    return worst_of(*(abs(float(m)) for m in moments), abs(float(np.mean(z * (x0 - 2.0)))) * n)


def one_hot(function, draw):
    """Entries that are wrong."""
    seen, unseen = draw.call(function, np.zeros(1))
    return worst_of(
        relative(seen, np.array([[0, 0, 0, 1, 0], [1, 0, 0, 0, 0]])),
        relative(unseen, np.full((1, 5), 0.2), 1.0),
    )


# The loss of velocities


def _losses():
    loss, without = objective.flow_matching_loss, objective.flow_matching_loss_without_constant
    return (
        Check(
            "sums by loops, populations of unequal sizes",
            squared_errors,
            loss,
            {
                "sum over particles": lambda v, u, mask: _times(loss(v, u, mask), plain.N),
                "sum over populations": lambda v, u, mask: _times(loss(v, u, mask), len(v)),
                "mean over coordinates": lambda v, u, mask: _times(loss(v, u, mask), 1.0 / v.shape[-1]),
                "padding counted": lambda v, u, mask: loss(v, u),
                "each particle alike": _all_alike,
                "half": lambda v, u, mask: _times(loss(v, u, mask), 0.5),
                "the sign of u": lambda v, u, mask: loss(v, -u, mask),
                "gradient with respect to u": lambda v, u, mask: (
                    loss(v, u, mask)[0],
                    -loss(v, u, mask)[1],
                ),
                "without the constant": without,
            },
            roundings(50, "sums of eighteen"),
            dimensions=(2, 3),
        ),
        Check(
            "sums by loops, without the constant",
            without_constant,
            without,
            {
                "with it": loss,
                "one product instead of two": lambda v, u, mask: without(v, 0.5 * u, mask),
                "padding counted": lambda v, u, mask: without(v, u),
                "the sign of u": lambda v, u, mask: without(v, -u, mask),
                "half": lambda v, u, mask: _times(without(v, u, mask), 0.5),
            },
            roundings(50, "sums of eighteen"),
            dimensions=(2, 3),
        ),
    )


def _times(loss, factor):
    return factor * loss[0], factor * loss[1]


def _all_alike(v, u, mask):
    error = np.where(mask[..., None], v - u, 0.0)
    return np.sum(error**2) / mask.sum(), 2.0 * error / mask.sum()


def _velocities(draw):
    return draw.normal(draw.size, plain.N, draw.d), draw.normal(draw.size, plain.N, draw.d)


def _held(function, draw, constant):
    v, u = _velocities(draw)
    mask = np.arange(plain.N) < np.array([[6], [3], [1]])
    value, gradient = draw.call(function, v, u, mask)
    total, slopes = 0.0, np.zeros(v.shape)
    for i in range(draw.size):
        n = int(mask[i].sum())
        for j in range(n):
            error = v[i, j] - u[i, j]
            total += (error @ error - (0.0 if constant else u[i, j] @ u[i, j])) / n / draw.size
            slopes[i, j] = 2.0 * error / n / draw.size
    return worst_of(abs(float(value) - total), relative(gradient, slopes))


def squared_errors(function, draw):
    """Value and gradient."""
    return _held(function, draw, True)


def without_constant(function, draw):
    """Value and gradient."""
    return _held(function, draw, False)


# The gradient through both networks


def _gradients():
    def right(condition, **more):
        return lambda params, batch: loss_and_grad(params, batch, condition=condition, **OPTIONS, **more)

    def changed(condition, change):
        return lambda params, batch: right(condition)(params, change(batch))

    paths = {
        "the path reversed": lambda batch: batch._replace(t=1.0 - batch.t),
        "from the end to the start": lambda batch: batch._replace(x0=batch.x1, x1=batch.x0),
        "no condition": lambda batch: batch._replace(condition=0.0 * batch.condition),
        "padding counted": lambda batch: batch._replace(mask=None),
    }

    def wrong(condition):
        return {name: changed(condition, change) for name, change in paths.items()} | {
            "the sign": lambda params, batch: (
                right(condition)(params, batch)[0],
                plain.negative(right(condition)(params, batch)[1]),
            ),
        }

    embedded = wrong("embedding") | {
        "the embedding as a constant": lambda params, batch: _detached(params, batch, right("embedding")),
        "another population's embedding": changed(
            "embedding",
            lambda batch: batch._replace(
                population=batch.population._replace(
                    x=batch.population.x[::-1],
                    index=batch.population.index[::-1],
                    marks=batch.population.marks[::-1],
                    mask=batch.population.mask[::-1],
                )
            ),
        ),
        "the embedding reads padding": changed(
            "embedding", lambda batch: batch._replace(population=batch.population._replace(mask=None))
        ),
    }
    moments = {"embedding": {"pooling": "moments"}}
    names = {"none": "nothing", "index": "its index"}
    return (
        *(
            Check(
                f"particle by particle, and complex steps: told {names[condition]}",
                objectives(condition),
                right(condition),
                wrong(condition),
                LOSS,
                dimensions=(2,),
            )
            for condition in names
        ),
        Check(
            "particle by particle, and complex steps: told the embedding",
            objectives("embedding"),
            right("embedding"),
            embedded,
            LOSS,
            dimensions=(1, 2),
        ),
        Check(
            "particle by particle, and complex steps: attention, and moments",
            objectives("embedding", attention=4, pooling="moments"),
            right("embedding", **moments),
            {
                "the sign": lambda params, batch: (
                    right("embedding", **moments)(params, batch)[0],
                    plain.negative(right("embedding", **moments)(params, batch)[1]),
                ),
                "the embedding as a constant": lambda params, batch: _detached(
                    params, batch, right("embedding", **moments)
                ),
                "particles without gradient": _particles_constant,
            },
            LOSS,
            dimensions=(2,),
        ),
    )


def _detached(params, batch, function):
    loss, grads = function(params, batch)
    return loss, {**grads, "embedding": optim.tree_map(lambda g: 0.0 * g, grads["embedding"])}


def _particles_constant(params, batch):
    """The gradient by the embedding alone, as if the encodings that are attended to were fixed."""
    x, index, marks, mask = batch.population
    told, pullback = tell(params["embedding"], x, index, marks, mask=mask, pooling="moments")
    loss, grads = loss_and_grad(params, batch, told=told, **OPTIONS)
    h = 1e-6
    slopes = np.zeros(told.h.shape)
    for place in np.ndindex(told.h.shape):
        step = np.zeros(told.h.shape)
        step[place] = h
        ends = [
            loss_and_grad(params, batch, told=told._replace(h=told.h + s * step), **OPTIONS)[0]
            for s in (1, -1)
        ]
        slopes[place] = (ends[0] - ends[1]) / (2 * h)
    return loss, {**grads, "embedding": pullback(slopes, None)}


def _batch(draw, attention=0, pooling="mean", condition="embedding"):
    told = {"none": 0, "index": 5, "embedding": plain.WIDTH * (1 if pooling == "mean" else 2)}[condition]
    params = {"velocity": plain.random_velocity(draw, told, attention=attention)}
    if condition == "embedding":
        params["embedding"] = plain.random_embedding(draw)
    x = plain.particles(draw, plain.M)
    live = np.arange(plain.M) < np.array([[7], [5], [3]])
    batch = ParticleBatch(
        plain.particles(draw),
        plain.particles(draw),
        draw.rounded(draw.rng.uniform(0.0, 1.0, (draw.size, plain.N))),
        np.arange(plain.N) < np.array([[6], [3], [1]]),
        draw.normal(draw.size, plain.CONDITION),
        Population(x, knn_graph(x, plain.K, live), draw.normal(draw.size, plain.M, plain.MARKS), live),
        pairs.indicators([4, 0, 2], 5, like=np.zeros(1)),
    )
    return params, batch


def objectives(condition, attention=0, pooling="mean"):
    """Residual of the objective by what the velocity is told."""

    def residual(function, draw):
        """Loss, and its slope along all parameters but the frequencies, which are not trained."""
        params, batch = _batch(draw, attention, pooling, condition)
        value, grads = draw.call(function, params, batch)
        fixed = params["velocity"]["frequencies"]

        def loss(p):
            whole = {**p, "velocity": {**p["velocity"], "frequencies": fixed}}
            return plain.loss(whole, batch, pooling=pooling, condition=condition)

        truth = float(np.real(loss(_trained(params))))
        slope = adjoint(_trained(grads), _trained(params), loss, draw)
        return worst_of(abs(float(value) - truth) / max(1.0, truth), slope)

    return residual


def _trained(tree):
    return {**tree, "velocity": {key: x for key, x in tree["velocity"].items() if key != "frequencies"}}
