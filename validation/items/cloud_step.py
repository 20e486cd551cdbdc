"""Audited training step and generation of clouds: Algorithm 1 with any plans, Algorithm 3 with a network."""

from dataclasses import replace

import numpy as np
import scipy.optimize

from refwfm.measures import PointCloud
from refwfm.training import cloud_generation, cloud_network, clouds, noise, optim, regression
from refwfm.training.cloud_fit import Families
from refwfm.training.ops import REFERENCE
from refwfm.training.randomness import random_stream
from refwfm.validation import loops, textbook
from refwfm.validation.check import Check, Item, roundings, worst_of
from refwfm.validation.cloud_problems import frechet
from refwfm.validation.cloud_runs import (
    CARRIED,
    CONFIG,
    LABELS,
    SIZES,
    error_of_batch,
    path_by_hand,
    plain_setting,
    ragged,
    random_network,
    random_source,
)
from refwfm.validation.plain_transformer import plain, slope_error
from refwfm.validation.textbook import relative


def items() -> list[Item]:
    """Return the items in the order of the papers."""
    return [algorithm_1_clouds(), generation()]


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
                many_shapes=True,
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
                many_shapes=True,
            ),
            loops.plan_check(),
            *loops.family_checks(),
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


def batch_is_the_recipe(draw_batch, draw):
    """Times, points and velocities, drawn again from the step's own stream of random numbers."""
    members = [draw.normal(n, draw.d) for n in SIZES]
    source, step = random_source(draw), int(draw.rng.integers(100))
    family = Families(ragged(members), None)
    batch = draw.call(lambda source: draw_batch(CONFIG, plain_setting(source), family, None, step), source)
    rng, index, sources = _drawn_by_hand(CONFIG, source, members, step)
    starts = [x[: len(members[i])] for x, i in zip(sources, index, strict=True)]
    images = [best_images(x, members[i]) for x, i in zip(starts, index, strict=True)]
    return error_of_batch(batch, starts, images, rng.random(CONFIG.batch))


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
    error = error_of_batch(batch, starts, images, t)
    return error if np.array_equal(batch.labels, wanted) else np.inf


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
    return worst_of(abs(value - loss(params)) / value, slope_error(grads, params, loss, draw))


def _changed_gradient(change):
    def wrong(config, setting, params, batch, *, ops):
        value, grads = cloud_network.loss_and_grad(config, setting, params, batch, ops=ops)
        factor = change(1.0, 1.0)
        return factor[0] * value, optim.tree_map(lambda g: factor[1] * g, grads)

    return wrong


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
        functions=(cloud_generation.sample, cloud_generation.learned_field, regression.cloud_velocity),
        checks=(
            Check(
                "Algorithm 3 by hand, a plain network",
                generated_is_by_hand,
                cloud_generation.sample,
                {
                    "one step more": _resampled(lambda options: {**options, "n_steps": 4}),
                    "other labels": _resampled(lambda options: {**options, "labels": 1 - options["labels"]}),
                    "guided more": _resampled(
                        lambda options: {**options, "guidance_weight": options["guidance_weight"] + 1.0}
                    ),
                    "units of the model": _in_model_units,
                },
                roundings(3000, "three steps through two blocks of the transformer"),
                dimensions=(1, 2),
                many_shapes=True,
            ),
            loops.generation_check(),
        ),
    )


def _resampled(change):
    return lambda config, setting, params, **options: cloud_generation.sample(
        config, setting, params, **change(options)
    )


def _in_model_units(config, setting, params, **options):
    cloud, labels = cloud_generation.sample(config, setting, params, **options)
    return PointCloud((cloud.points - setting.shift) / setting.unit, cloud.weights), labels


def generated_is_by_hand(sample, draw):
    """Clouds after three steps, guided and not, relative to their size; infinite for a wrong weight."""
    params, source, shift = random_network(draw), random_source(draw), draw.normal(draw.d)
    labels, sizes, worst = np.array([0, 1, 1, 0]), np.array([3, 1, 2, 3]), 0.0
    options = {"size": 4, "n_steps": 3, "seed": 5, "labels": labels, "sizes": sizes}
    for weight in (0.0, 0.5):

        def run(params, source, weight=weight):
            setting = plain_setting(source, label_counts=(2, 2))._replace(shift=shift, unit=2.0)
            return sample(CONFIG, setting, params, guidance_weight=weight, **options)[0]

        found = draw.call(run, params, source)
        path, mask = path_by_hand(draw, params, source, labels, sizes, weight)
        truth = np.where(mask[..., None], 2.0 * path[-1] + shift, 0.0)
        if not np.array_equal(found.weights > 0, mask):
            return np.inf
        worst = worst_of(worst, relative(found.points, truth, 1.0 + textbook.size(truth)))
    return worst
