"""Audited training step and generation of clouds: Algorithm 1 with any plans, Algorithm 3 with a network."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import scipy.optimize

from refwfm.clouds import pad
from refwfm.measures import PointCloud
from refwfm.sources.clouds import CholeskyNormal
from refwfm.training import alignment, cloud_generation, cloud_network, clouds, noise, optim, regression
from refwfm.training.cloud_fit import Families
from refwfm.training.cloud_setting import CloudSetting
from refwfm.training.config import CloudConfig
from refwfm.training.ops import REFERENCE
from refwfm.training.randomness import random_stream
from refwfm.validation import textbook
from refwfm.validation.check import Check, Item, Tolerance, roundings
from refwfm.validation.enumeration import best_order
from refwfm.validation.items.couplings import frechet
from refwfm.validation.items.transformer import plain
from refwfm.validation.plain_network import drifted
from refwfm.validation.textbook import complex_step, relative

CARRIED = roundings(300, "factors and points of a step, carried through a dozen operations")
CONFIG = CloudConfig(
    batch=5,
    seed=3,
    inner="exact",
    width=6,
    heads=2,
    depth=2,
    hidden=4,
    n_frequencies=2,
    learning_rate=1e-3,
    label_drop=0.3,
)
SIZES = (3, 5, 2, 4)
LABELS = np.array([0, 1, 1, 0])


def items() -> list[Item]:
    """Return the items in the order of the papers."""
    return [algorithm_1_clouds(), lazy_step(), generation()]


class Ragged(SimpleNamespace):
    """A family of clouds (a list of points) as a flow wants it."""

    def __len__(self):
        return len(self.members)

    def batch(self, index, *, n_points=None, rng=None):
        """Clouds at these positions, padded; none is thinned."""
        return pad([self.members[i] for i in index])


def ragged(members, labels=None):
    """Family of these members."""
    sizes = np.array([len(points) for points in members])
    names = () if labels is None else ("a", "b")
    return Ragged(
        members=members, sizes=sizes, dimension=members[0].shape[1], labels=labels, label_names=names
    )


def plain_setting(source, reference=None, sizes=SIZES, label_counts=()):
    """Setting of a run in the data's own units."""
    counts = np.array(label_counts, dtype=np.int64)
    return CloudSetting(0.0 * source.mean[0, :], 1.0, source, np.array(sizes), counts, reference)


def random_source(draw):
    """Stochastic-Cholesky law."""
    d = draw.d
    return CholeskyNormal(
        np.tril(draw.normal(d, d)), np.tril(draw.rounded(draw.rng.uniform(0.2, 0.6, size=(d, d))))
    )


def best_images(x, y):
    """Targets of the points of x under SciPy's best assignment."""
    cost = np.sum((x[:, None] - y) ** 2, axis=-1)
    return y[scipy.optimize.linear_sum_assignment(cost)[1]]


# Algorithm 1


def algorithm_1_clouds() -> Item:
    """Training step of clouds."""
    draw_batch, loss_and_grad = clouds.draw_batch, cloud_network.loss_and_grad
    return Item(
        id="WFM-Alg1-clouds",
        paper="WFM",
        place="Algorithm 1, point-cloud branch; appendices C, D, E.2",
        title="training step of clouds",
        latex=r"t\sim U(0,1),\ X\sim\mathfrak p_0,\ Y\sim\mathfrak p_1;\quad "
        r"X_t=(1-t)X+t\hat T(X),\quad v=\hat T(X)-X",
        statement="Draw sources, targets and times; pair them; regress the network on the velocities.",
        functions=(
            draw_batch,
            noise.draw_source,
            loss_and_grad,
            cloud_network.predict,
            regression.cloud_loss_and_grad,
        ),
        checks=(
            Check(
                "the recipe by hand, SciPy's assignments",
                batch_is_the_recipe,
                draw_batch,
                {
                    "the velocity's sign": _changed(lambda b: b._replace(target=-b.target)),
                    "t for 1 - t": _changed(lambda b: b._replace(t=1.0 - b.t)),
                    "points at the sources": _changed(
                        lambda b: b._replace(points=b.points - b.t[:, None, None] * b.target)
                    ),
                    "inner plan at random": lambda config, *rest: draw_batch(
                        replace(config, inner="independent"), *rest
                    ),
                    "standard normal sources": lambda config, *rest: draw_batch(
                        replace(config, source="normal"), *rest
                    ),
                },
                CARRIED,
                dimensions=(1, 2, 3),
            ),
            Check(
                "the recipe by hand, paired by moments, with labels",
                matched_batch_is_the_recipe,
                draw_batch,
                {
                    "paired across the labels": _across_labels,
                    "as drawn": lambda config, *rest: draw_batch(replace(config, outer="independent"), *rest),
                    "labels never hidden": lambda config, *rest: draw_batch(
                        replace(config, label_drop=0.0), *rest
                    ),
                },
                CARRIED,
                dimensions=(2, 3),
            ),
            Check(
                "complex-step derivative of a plain network",
                gradient_of_the_loss,
                loss_and_grad,
                {
                    "half of it": _changed_gradient(lambda value, g: (value, 0.5 * g)),
                    "the sign": _changed_gradient(lambda value, g: (value, -g)),
                    "sum over clouds": _changed_gradient(lambda value, g: (3.0 * value, 3.0 * g)),
                },
                roundings(1000, "two blocks of the transformer"),
                dimensions=(1, 3),
            ),
        ),
    )


def _changed(change):
    return lambda *args: change(clouds.draw_batch(*args))


def _across_labels(config, setting, family, labels, step):
    return clouds.draw_batch(config, setting, family, np.zeros_like(labels), step)


def _drawn_by_hand(config, source, members, step):
    """Generator, indices, and sources (of as many points as the largest target) of a step."""
    rng, B, d = random_stream(config.seed, "batch", step), config.batch, source.mean.shape[0]
    index = rng.integers(len(members), size=B)
    most = max(len(members[i]) for i in index)
    factors = source.mean + source.std * np.tril(rng.standard_normal((B, d, d)))
    z = rng.standard_normal((B * most, d)).reshape(B, most, d)
    return rng, index, z @ factors.mT


def _error_of_batch(batch, starts, images, t):
    """Largest error of points, velocities, weights and times, for clouds of lists of points."""
    n = batch.points.shape[1]
    points, target, weights = (
        np.zeros(batch.points.shape),
        np.zeros(batch.points.shape),
        np.zeros((len(t), n)),
    )
    if n != max(map(len, starts)):
        return np.inf
    for k, (x, y) in enumerate(zip(starts, images, strict=True)):
        points[k, : len(x)] = (1.0 - t[k]) * x + t[k] * y
        target[k, : len(x)] = y - x
        weights[k, : len(x)] = 1.0 / len(x)
    return max(
        relative(batch.points, points, 1.0 + np.max(np.abs(points))),
        relative(batch.target, target, 1.0 + np.max(np.abs(target))),
        relative(batch.weights, weights, 1.0),
        relative(batch.t, t, 1.0),
    )


def batch_is_the_recipe(draw_batch, draw):
    """Times, points and velocities, drawn again from the step's own stream of random numbers."""
    members = [draw.normal(n, draw.d) for n in SIZES]
    source, step = random_source(draw), int(draw.rng.integers(100))
    family = Families(ragged(members), None)
    batch = draw.call(lambda source: draw_batch(CONFIG, plain_setting(source), family, None, step), source)
    rng, index, sources = _drawn_by_hand(CONFIG, source, members, step)
    starts = [x[: len(members[i])] for x, i in zip(sources, index, strict=True)]
    images = [best_images(x, members[i]) for x, i in zip(starts, index, strict=True)]
    return _error_of_batch(batch, starts, images, rng.random(CONFIG.batch))


def matched_batch_is_the_recipe(draw_batch, draw):
    """The same with multisample matching among equal labels; infinite for a wrong label."""
    config = replace(CONFIG, outer="frechet")
    members = [draw.rounded(draw.normal(n + 3, draw.d) + 3.0 * draw.normal(1, draw.d)) for n in SIZES]
    source, step = random_source(draw), int(draw.rng.integers(100))
    family = Families(ragged(members, LABELS), None)
    batch = draw.call(
        lambda source: draw_batch(config, plain_setting(source, label_counts=(2, 2)), family, LABELS, step),
        source,
    )
    rng, index, sources = _drawn_by_hand(config, source, members, step)

    def even(points):
        return points, np.full(len(points), 1.0 / len(points))

    wanted = np.where(rng.random(config.batch) < config.label_drop, 2, LABELS[index])
    cost = np.array([[frechet(even(x), even(members[i])) for i in index] for x in sources])
    cost += 1e6 * (wanted[:, None] != wanted)
    index = index[scipy.optimize.linear_sum_assignment(cost)[1]]
    starts = [x[: len(members[i])] for x, i in zip(sources, index, strict=True)]
    images = [best_images(x, members[i]) for x, i in zip(starts, index, strict=True)]
    t = rng.random(config.batch)
    error = _error_of_batch(batch, starts, images, t)
    return error if np.array_equal(batch.labels, wanted) else np.inf


def random_network(draw):
    """Random parameters of a run's network, with nothing at zero."""
    d = draw.d
    setting = plain_setting(CholeskyNormal(np.eye(d), np.eye(d)), label_counts=(2, 2))
    params = cloud_network.init_params(CONFIG, setting)
    return optim.tree_map(lambda p: draw.rounded(p + 0.3 * draw.rng.standard_normal(p.shape)), params)


def gradient_of_the_loss(loss_and_grad, draw):
    """Loss, and its derivative along three random directions in the space of parameters."""
    params, n = random_network(draw), 4
    mask = np.arange(n) < np.array([4, 2, 3])[:, None]
    weights = draw.rounded(mask / np.sum(mask, axis=1, keepdims=True))
    points, target = (np.where(mask[..., None], draw.normal(3, n, draw.d), 0.0) for _ in range(2))
    t, labels = draw.times(), np.array([0, 2, 1])

    def loss(params):
        error = plain(params, points, mask, t, labels) - target
        return np.sum(weights[..., None] * error**2) / 3.0

    def run(params, points, weights, target, t, labels):
        batch = clouds.CloudBatch(points, weights, target, t, labels)
        return loss_and_grad(CONFIG, None, params, batch, ops=REFERENCE)

    value, grads = draw.call(run, params, points, weights, target, t, labels)
    worst, flat = abs(value - loss(params)) / value, optim.flatten(grads)
    size = np.sqrt(sum(np.sum(g**2) for g in flat.values()))
    for _ in range(3):
        way = optim.tree_map(lambda p: draw.rng.standard_normal(p.shape), params)
        slope = complex_step(lambda h, way=way: loss(drifted(params, way, h)))
        worst = max(
            worst, abs(sum(np.sum(flat[k] * w) for k, w in optim.flatten(way).items()) - slope) / size
        )
    return worst


def _changed_gradient(change):
    def wrong(config, setting, params, batch, *, ops):
        value, grads = cloud_network.loss_and_grad(config, setting, params, batch, ops=ops)
        factor = change(1.0, 1.0)
        return factor[0] * value, optim.tree_map(lambda g: factor[1] * g, grads)

    return wrong


# Lazy and linear steps


def lazy_step() -> Item:
    """Training step with plans by a reference."""
    return Item(
        id="GWFM-38-step",
        paper="GWFM",
        place="section 3, eqs. 34, 38 to 41; appendix C.5",
        title="training step with lazy and linear plans",
        latex=r"X=S+\sigma N,\quad Y=\mathrm{al}_S(\nu),\quad "
        r"K_{kl}=\tfrac1n\|X_k-Y_l\|_F^2,\quad X_t=(1-t)X+tY",
        statement="Targets are thinned and aligned to the reference once; each step compares by index.",
        functions=(clouds.draw_batch, alignment.thin, alignment.fit_reference, alignment.align_family),
        checks=(
            _step_check("lazy", "lazy"),
            _step_check("linear", "linear"),
            _step_check("independent", "lazy"),
            Check(
                "the fixed point, by all permutations",
                reference_is_a_barycenter,
                alignment.fit_reference,
                {
                    "mean in the order of the file": lambda points, *, members: np.mean(points, axis=0),
                    "the first member": lambda points, *, members: points[0],
                    "of two members only": lambda points, *, members: alignment.fit_reference(
                        points, members=2
                    ),
                },
                Tolerance(0.01, 0.01, "stops when an iteration lowers the objective by less than 1e-4"),
                dimensions=(2,),
            ),
        ),
    )


def _step_check(outer, inner):
    def residual(draw_batch, draw):
        """Times, points and velocities of a step with barycentric noise."""
        return _lazy_error(draw_batch, draw, outer, inner)

    def exchanged(config, *rest):
        other = {"lazy": "linear", "linear": "lazy"}
        names = (other.get(config.outer, config.outer), other[config.inner])
        return clouds.draw_batch(replace(config, outer=names[0], inner=names[1]), *rest)

    return Check(
        f"the recipe by hand, all permutations: {outer} and {inner}",
        residual,
        clouds.draw_batch,
        {
            "lazy for linear, linear for lazy": exchanged,
            "targets in their own order": _unaligned,
            "without noise": lambda config, *rest: clouds.draw_batch(replace(config, sigma=0.0), *rest),
        },
        CARRIED,
        dimensions=(2, 3),
    )


def _unaligned(config, setting, family, labels, step):
    turned = np.roll(family.target.points, 1, axis=1)
    aligned = alignment.AlignedClouds(turned, None, ())
    return clouds.draw_batch(config, setting, Families(aligned, None), labels, step)


def _lazy_error(draw_batch, draw, outer, inner):
    config = replace(CONFIG, outer=outer, inner=inner, source="barycentric", sigma=0.7)
    points = draw.normal(4, 5, draw.d)
    family = ragged(list(points))
    thinned = alignment.thin(family, 5)
    reference = draw.rounded(alignment.fit_reference(thinned, members=10))
    aligned = alignment.align_family(family, thinned, reference)
    source, step = CholeskyNormal(np.eye(draw.d), np.eye(draw.d)), int(draw.rng.integers(100))

    def run(source, reference):
        setting = plain_setting(source, reference, sizes=(5,) * 4)
        return draw_batch(config, setting, Families(aligned, None), None, step)

    batch = draw.call(run, source, reference)
    rng = random_stream(config.seed, "batch", step)
    index = rng.integers(4, size=config.batch)
    noise = rng.standard_normal((config.batch * 5, draw.d)).reshape(config.batch, 5, draw.d)
    starts = reference + config.sigma * noise
    if "linear" in (outer, inner):
        starts = np.stack([best_order(reference, x) for x in starts])
    images = np.stack([best_order(reference, points[i]) for i in index])
    if outer != "independent":
        cost = np.mean(np.sum((starts[:, None] - images) ** 2, axis=-1), axis=-1)
        images = images[scipy.optimize.linear_sum_assignment(cost)[1]]
    return _error_of_batch(batch, starts, images, rng.random(config.batch))


def reference_is_a_barycenter(fit, draw):
    """Distance of the reference from the mean of the clouds in its order, relative to their spread."""
    points = np.asarray(draw.normal(8, 5, draw.d))
    found = np.asarray(fit(points, members=8))
    mean = np.mean([best_order(found, x) for x in points], axis=0)
    return np.sqrt(np.mean((found - mean) ** 2) / np.mean(mean**2))


# Generation


def generation() -> Item:
    """Generation by a trained network."""
    return Item(
        id="WFM-Alg3-network",
        paper="WFM",
        place="Algorithm 3, with the network of appendix E.2",
        title="generation of clouds by a trained network",
        latex=r"\hat X\leftarrow\hat X+h\,f_\theta(\hat X,kh)",
        statement="Sources of the data's sizes go along the network's field; back to the units of the data.",
        functions=(clouds.sample, cloud_generation.learned_field),
        checks=(
            Check(
                "Algorithm 3 by hand, a plain network",
                generated_is_by_hand,
                clouds.sample,
                {
                    "one step more": _resampled(lambda options: {**options, "n_steps": 4}),
                    "other labels": _resampled(lambda options: {**options, "labels": 1 - options["labels"]}),
                    "guided": _resampled(lambda options: {**options, "guidance_weight": 1.0}),
                    "units of the model": _in_model_units,
                },
                roundings(3000, "three steps through two blocks of the transformer"),
                dimensions=(1, 2),
            ),
        ),
    )


def _resampled(change):
    return lambda config, setting, params, **options: cloud_generation.sample(
        config, setting, params, **change(options)
    )


def _in_model_units(config, setting, params, **options):
    cloud, labels = cloud_generation.sample(config, setting, params, **options)
    return PointCloud((cloud.points - setting.shift) / setting.unit, cloud.weights), labels


def path_by_hand(draw, params, source, labels, sizes):
    """Positions (4, B, n, d) of clouds on three steps of Algorithm 3 with a plain network; and the mask."""
    rng, d, mask = random_stream(5, "generation"), draw.d, np.arange(max(sizes)) < sizes[:, None]
    rng.choice(2, size=len(sizes), p=[0.5, 0.5])  # labels and sizes, had they not been given
    rng.choice(4, size=len(sizes))
    factors = source.mean + source.std * np.tril(rng.standard_normal((len(sizes), d, d)))
    z = np.zeros((*mask.shape, d))
    z[mask] = rng.standard_normal((np.sum(sizes), d))
    path = [z @ factors.mT]
    for k in range(3):
        velocity = plain(params, path[-1], mask, np.full(len(sizes), k / 3.0), labels)
        path.append(path[-1] + velocity / 3.0)
    return np.stack(path), mask


def generated_is_by_hand(sample, draw):
    """Four clouds after three steps, relative to their size; infinite for a wrong weight."""
    params, source, shift = random_network(draw), random_source(draw), draw.normal(draw.d)
    labels, sizes = np.array([0, 1, 1, 0]), np.array([3, 1, 2, 3])
    options = {"size": 4, "n_steps": 3, "seed": 5, "labels": labels, "sizes": sizes}

    def run(params, source, shift):
        setting = plain_setting(source, label_counts=(2, 2))._replace(shift=shift, unit=2.0)
        return sample(CONFIG, setting, params, **options)[0]

    found = draw.call(run, params, source, shift)
    path, mask = path_by_hand(draw, params, source, labels, sizes)
    truth = np.where(mask[..., None], 2.0 * path[-1] + shift, 0.0)
    if not np.array_equal(found.weights > 0, mask):
        return np.inf
    return relative(found.points, truth, 1.0 + textbook.size(truth))
