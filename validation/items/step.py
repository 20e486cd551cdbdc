"""Audited training step (Algorithm 1): its random batch, its gradient, its update."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import scipy.optimize

from refwfm.bures import EuclideanTangent, Tangent
from refwfm.measures import Gaussian
from refwfm.training import algorithm, gaussians, optim, regression
from refwfm.training.algorithm import State
from refwfm.training.ops import REFERENCE
from refwfm.training.randomness import random_stream
from refwfm.training.regression import GaussianBatch
from refwfm.training.times import sample_times
from refwfm.validation import loops, textbook
from refwfm.validation.check import WELL, Check, Item, Misprint, roundings, worst_of
from refwfm.validation.gaussian_runs import CONFIG, error_of_batch, plain_setting, random_source
from refwfm.validation.plain_network import (
    clipped,
    drifted,
    kingma_ba,
    random_parameters,
    random_scaling,
    tangent,
)
from refwfm.validation.textbook import complex_step, relative, scaled


def items() -> list[Item]:
    """Return the items in the order of the paper."""
    return [algorithm_1()]


# Algorithm 1


def algorithm_1() -> Item:
    """Training step."""
    draw_batch, step = gaussians.draw_batch, algorithm.step
    loss_and_grad = regression.gaussian_loss_and_grad
    return Item(
        id="WFM-Alg1",
        paper="WFM",
        place="Algorithm 1, Gaussian branch",
        title="training step",
        latex=r"t\sim U(0,1),\ \mu\sim\mathfrak p_0,\ \nu\sim\mathfrak p_1;\ \theta\leftarrow"
        r"\mathrm{step}(\theta,\nabla_\theta\|f_\theta(\mu_t,t)-v_t\|^2_{BW(\mu_t)})",
        statement="Draw a source, a target and a time; regress the network on the geodesic's velocity there.",
        functions=(draw_batch, sample_times, loss_and_grad, step, algorithm.learning_rate),
        checks=(
            Check(
                "the recipe by hand, textbook velocity",
                batch_is_the_recipe,
                draw_batch,
                {
                    "as printed: velocity of eq. 9": lambda config, *rest: draw_batch(
                        replace(config, method="euclidean"), *rest
                    ),
                    "the velocity's sign": _changed(lambda b: b._replace(target=scaled(-1.0, b.target))),
                    "twice the velocity": _changed(lambda b: b._replace(target=scaled(2.0, b.target))),
                    "t for 1 - t": _changed(lambda b: b._replace(t=1.0 - b.t)),
                    "source and target exchanged": _exchanged,
                },
                roundings(500, WELL + "; Wishart draws with 4 d degrees of freedom"),
                many_shapes=True,
            ),
            Check(
                "the recipe by hand, matched within labels by SciPy's assignment",
                matched_batch_is_the_recipe,
                draw_batch,
                {
                    "as drawn": lambda config, *rest: draw_batch(replace(config, matching=False), *rest),
                    "matched across the labels": lambda config, setting, family, labels, step: draw_batch(
                        config, setting, family, np.zeros_like(labels), step
                    )._replace(labels=draw_batch(config, setting, family, labels, step).labels),
                    "labels of other members": _changed(lambda b: b._replace(labels=1 - b.labels)),
                },
                roundings(500, WELL + "; Wishart draws with 4 d degrees of freedom"),
                dimensions=(2, 3, 6),
            ),
            Check(
                "units, source and scaling of the network, by NumPy",
                setting_is_by_hand,
                gaussians.prepare,
                {
                    "units of the covariances alone": lambda config, data, *rest: gaussians.prepare(
                        config, _centred(data), *rest
                    ),
                    "deviations for sizes": _deviations_for_sizes,
                    "another stream of random numbers": lambda config, *rest: gaussians.prepare(
                        replace(config, seed=config.seed + 1), *rest
                    ),
                },
                roundings(1000, "means and squares of 4096 draws"),
                dimensions=(2,),
                size=6,
                repeats=1,
            ),
            Check(
                "complex-step derivative of a plain network",
                gradient_of_the_loss,
                loss_and_grad,
                {
                    "half of it": lambda *args, method: _scaled_gradient(0.5, *args, method=method),
                    "the sign": lambda *args, method: _scaled_gradient(-1.0, *args, method=method),
                    "of the Frobenius norm": lambda params, scaling, batch, *, method: loss_and_grad(
                        params,
                        scaling,
                        batch._replace(target=EuclideanTangent(*batch.target)),
                        method="frobenius",
                    ),
                    "without the mean's network": lambda *args, method: (
                        loss_and_grad(*args, method=method)[0],
                        _without_mean(loss_and_grad(*args, method=method)[1]),
                    ),
                },
                roundings(300, "five layers of width 5"),
                dimensions=(1, 2, 3),
                many_shapes=True,
            ),
            Check(
                "Kingma and Ba's Algorithm 1, clipping and averaging by hand",
                step_is_by_hand,
                step,
                {
                    "uphill": _uphill,
                    "without clipping": lambda config, *rest: step(replace(config, clip_norm=0.0), *rest),
                    "without decay of the rate": lambda config, *rest: step(
                        replace(config, decay=1.0), *rest
                    ),
                    "another average": lambda config, *rest: step(replace(config, ema=0.5), *rest),
                },
                roundings(500, "one step of size 0.1 through five layers"),
                dimensions=(1, 2, 3),
                many_shapes=True,
            ),
            *loops.train_checks(),
            loops.scaling_check(),
        ),
        misprints=(
            Misprint(
                "E6",
                r"\text{Gaussian branch: velocity via eq. (9)}",
                r"\text{velocity via eq. (10)}",
                "(9) relates the derivative of the covariance to S and has no mean; a network that learns "
                "its left side does not reach the target (a wrong variant of Algorithm 2).",
                "as printed: velocity of eq. 9",
            ),
        ),
    )


def _changed(change):
    return lambda *args: change(gaussians.draw_batch(*args))


def _exchanged(config, setting, family, labels, step):
    batch = gaussians.draw_batch(config, setting, family, labels, step)
    return batch._replace(
        mu_t=Gaussian(batch.mu_t.mean + (1.0 - 2.0 * batch.t)[:, None] * batch.target.mean, batch.mu_t.cov)
    )


def batch_is_the_recipe(draw_batch, draw):
    """Times, points and velocities, drawn again from the step's own stream of random numbers."""
    source, family, step = random_source(draw), draw.gaussians(size=5), int(draw.rng.integers(100))
    batch = draw.call(
        lambda source, family: draw_batch(CONFIG, plain_setting(source, {}), family, None, step),
        source,
        family,
    )
    mu, index, t = _drawn_by_hand(source, draw.d, random_stream(CONFIG.seed, "batch", step))
    return error_of_batch(batch, mu, textbook.take(family, index), t)


def matched_batch_is_the_recipe(draw_batch, draw):
    """The same where each source gets the best target of the label it was drawn with; infinite for others."""
    source, family, step = random_source(draw), draw.gaussians(size=5), int(draw.rng.integers(100))
    config, labels = replace(CONFIG, matching=True), np.array([0, 1, 0, 1, 0])
    batch = draw.call(
        lambda source, family: draw_batch(config, plain_setting(source, {}, (3, 2)), family, labels, step),
        source,
        family,
    )
    mu, index, t = _drawn_by_hand(source, draw.d, random_stream(CONFIG.seed, "batch", step))
    nu, shown = textbook.take(family, index), labels[index]
    cost = textbook.pairwise_sq_distance(mu, nu)
    apart = cost + 1e3 * np.max(cost) * (shown[:, None] != shown)
    nu = textbook.take(nu, scipy.optimize.linear_sum_assignment(apart)[1])
    return error_of_batch(batch, mu, nu, t) if np.array_equal(batch.labels, shown) else np.inf


def _centred(data):
    mean, cov = data.gaussians
    return SimpleNamespace(
        gaussians=Gaussian(0.0 * mean, cov), labels=data.labels, label_names=data.label_names
    )


def _deviations_for_sizes(*args):
    setting, family = gaussians.prepare(*args)
    return setting._replace(
        scaling={**setting.scaling, "matrix_scale": setting.scaling["mean_scale"]}
    ), family


def setting_is_by_hand(prepare, draw):
    """Units with variance 1, moments of the means, and constants of the network, in the plane.

    One coordinate of the means is constant, and covariances are tiny; roots have closed forms.
    """
    d, labels = draw.d, np.array([0, 1, 1, 0, 1, 1])
    mean, cov = draw.gaussians()
    mean[:, 0], cov = 0.5, draw.rounded(1e-8 * cov)

    def run(family):
        data = SimpleNamespace(gaussians=family, labels=labels, label_names=("a", "b"))
        return prepare(CONFIG, data, None, lambda array: array)

    setting, family = draw.call(run, Gaussian(mean, cov))
    shift = np.sum(mean, axis=0) / 6
    centred = mean - shift
    unit = np.sqrt((np.sum(centred**2) / 6 + np.sum(np.einsum("nii->n", cov)) / 6) / d)
    moments = np.sqrt(np.sum((centred / unit) ** 2, axis=0) / 6)
    mu, index, t = _drawn_by_hand(setting.source, d, random_stream(CONFIG.seed, "scaling"), 4096, 6)
    m, C = centred[index] / unit, cov[index] / unit**2
    root, one, time = _root_in_the_plane(mu.cov), np.eye(d), t[:, None, None]
    inverse = np.linalg.inv(root)
    lift = inverse @ _root_in_the_plane(root @ C @ root) @ inverse - one
    mover = one + time * lift
    lower = np.tril_indices(d)
    velocity = np.concatenate([m - mu.mean, (lift @ np.linalg.inv(mover))[:, *lower]], axis=1)
    place = mu.mean + t[:, None] * (m - mu.mean)
    here = np.concatenate([place, (mover @ mu.cov @ mover)[:, *lower]], axis=1)
    sizes = np.sqrt(np.sum(velocity**2, axis=0) / 4096)
    spread = np.sqrt(np.sum((here - np.sum(here, axis=0) / 4096) ** 2, axis=0) / 4096)
    sizes[0] = spread[0] = 1.0  # of the coordinate that is constant
    scaling = setting.scaling
    return worst_of(
        0.0 if setting.source.df == 2 * d and setting.label_counts.tolist() == [2, 4] else np.inf,
        abs(setting.unit - unit) / unit,
        relative(setting.shift[None], shift[None]),
        relative(family.mean, centred / unit),
        relative(family.cov, cov / unit**2),
        relative(setting.source.std[None], moments[None]),
        relative(scaling["input_shift"][None], np.sum(here, axis=0)[None] / 4096),
        *(
            relative(found, truth, truth)
            for found, truth in (
                (scaling["input_scale"], spread),
                (scaling["mean_scale"], sizes[:d]),
                (scaling["matrix_scale"], sizes[d:]),
            )
        ),
    )


def _root_in_the_plane(cov):
    """``(A + √det A) / √(tr A + 2 √det A)``, by Cayley and Hamilton."""
    det = np.sqrt(np.linalg.det(cov))[:, None, None]
    trace = np.einsum("nii->n", cov)[:, None, None]
    return (cov + det * np.eye(2)) / np.sqrt(trace + 2.0 * det)


def _drawn_by_hand(source, d, rng, n=CONFIG.batch, members=5):
    """Sources, indices of targets, and times of a step."""
    mean = source.mean + source.std * rng.standard_normal((n, d))
    half = source.root @ rng.standard_normal((n, d, source.df))
    return Gaussian(mean, half @ half.mT / source.df), rng.integers(members, size=n), rng.random(n)


def _network(draw):
    """Random parameters and scaling, and a batch without labels."""
    params, scaling = random_parameters(draw), random_scaling(draw)
    mu, target, t = draw.gaussians(), draw.tangents(), draw.times()
    return params, scaling, GaussianBatch(mu, target, t, None)


def _plain_loss(params, scaling, batch):
    pred = tangent(params, scaling, batch.mu_t, batch.t)
    error = Tangent(pred.mean - batch.target.mean, pred.lift - batch.target.lift)
    return np.mean(textbook.inner(batch.mu_t, error, error))


def gradient_of_the_loss(loss_and_grad, draw):
    """Loss, and its derivative along three random directions in the space of parameters."""
    params, scaling, batch = _network(draw)
    value, grads = draw.call(loss_and_grad, params, scaling, batch, method="riemannian")
    worst = abs(value - _plain_loss(params, scaling, batch)) / value
    flat = optim.flatten(grads)
    for _ in range(3):
        way = optim.tree_map(lambda p: draw.rng.standard_normal(p.shape), params)
        slope = complex_step(lambda h, way=way: _plain_loss(drifted(params, way, h), scaling, batch))
        parts = [np.sum(flat[path] * w) for path, w in optim.flatten(way).items()]
        worst = worst_of(worst, abs(sum(parts) - slope) / np.sqrt(sum(np.sum(g**2) for g in flat.values())))
    return worst


def _scaled_gradient(factor, *args, method):
    value, grads = regression.gaussian_loss_and_grad(*args, method=method)
    return value, optim.tree_map(lambda g: factor * g, grads)


def _without_mean(grads):
    return {**grads, "mean": optim.tree_map(lambda g: 0.0 * g, grads["mean"])}


def _uphill(config, setting, family, labels, state):
    def ascend(params, grads, adam, *, learning_rate):
        return optim.adam(params, grads, adam, learning_rate=-learning_rate)

    return algorithm.step(config, setting, family, labels, state, ops=REFERENCE._replace(adam=ascend))


def step_is_by_hand(step, draw):
    """Parameters and their average after step 2000, relative to the learning rate."""
    source, family = random_source(draw), draw.gaussians(size=5)
    params, scaling, _ = _network(draw)
    average = random_parameters(draw)
    first = optim.tree_map(lambda p: 0.05 * draw.normal(*p.shape), params)
    second = optim.tree_map(lambda p: draw.rounded(draw.rng.uniform(0.001, 0.004, p.shape)), params)
    state = State(params, optim.AdamState(first, second, 5), average, 2000)

    def run(source, scaling, family, state):
        return step(CONFIG, plain_setting(source, scaling), family, None, state)

    moved, metrics = draw.call(run, source, scaling, family, state)
    batch = gaussians.draw_batch(CONFIG, plain_setting(source, scaling), family, None, state.step)
    loss, grads = regression.gaussian_loss_and_grad(params, scaling, batch, method="riemannian")
    norm, grads = clipped(optim.flatten(grads), CONFIG.clip_norm)
    rate, decay = CONFIG.learning_rate * 0.97**2.0, 2001 / 2010
    flat, flat_first, flat_second = map(optim.flatten, (params, first, second))
    result, result_average, flat_average = map(optim.flatten, (moved.params, moved.ema, average))
    worst = worst_of(abs(metrics.loss - loss) / loss, abs(metrics.grad_norm - norm) / norm)
    for path, p in flat.items():
        truth = kingma_ba(p, grads[path], flat_first[path], flat_second[path], 6, rate)
        mean = decay * flat_average[path] + (1.0 - decay) * truth
        for found, wanted in ((result[path], truth), (result_average[path], mean)):
            worst = worst_of(worst, float(np.max(np.abs(found - wanted))) / CONFIG.learning_rate)
    return worst if moved.step == 2001 and moved.adam.steps == 6 else np.inf
