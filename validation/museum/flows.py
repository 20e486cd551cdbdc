"""Flow matching: losses, velocities, time grids, networks and their optimiser."""

import numpy as np

from refwfm import bures
from refwfm.bures_metric import Tangent
from refwfm.conditional import conditional_velocity
from refwfm.generation import generate_clouds
from refwfm.measures import PointCloud
from refwfm.networks import attention
from refwfm.objectives import cloud_loss
from refwfm.validation.museum.exhibit import Exhibit, Mutant, Trap, near


def exhibits() -> list[Exhibit]:
    """Exhibits of this room."""
    return [
        Exhibit(
            "torchcfm-24",
            "training on one point of the batch",
            "atong01/conditional-flow-matching#24",
            2023,
            "One variant of conditional flow matching produced noise although it trained: code left over "
            "from an experiment used a single member of each batch.",
            Mutant("WFM-U7", "NumPy, cloud by cloud and point by point", loss_of_the_first_cloud),
        ),
        Exhibit(
            "torchcfm-175",
            "time in the place of the point",
            "atong01/conditional-flow-matching#175",
            2025,
            "The documented formula of the conditional velocity had the time in its numerator where the "
            "position belongs. The code was right; whoever copies the formula is not.",
            Mutant("WFM-23", "textbook velocity, SciPy sqrtm", velocity_from_the_time),
        ),
        Exhibit(
            "diffusers-13246",
            "a time grid that is shifted twice",
            "huggingface/diffusers#13246",
            2026,
            "Bounds of the schedule were stored after its shift, and shifted again when the steps were "
            "chosen, so that these are not the ones that were asked for. Nothing fails.",
            Mutant("WFM-Alg3", "straight lines to the targets, for 1, 2, 5 and 10 steps", times_shifted),
        ),
        Exhibit(
            "sglang-24708",
            "generation in one step",
            "sgl-project/sglang#24708",
            2026,
            "A schedule of a single step stretched itself by a scale of zero; its times were NaN, which a "
            "workaround had hidden.",
            Trap(one_step_is_a_step, generate_clouds, steps_between_ends),
        ),
        Exhibit(
            "pytorch-26098",
            "attention to nothing",
            "pytorch/pytorch#26098",
            2019,
            "Where a mask leaves no key to a query, the softmax of minus infinities is NaN, and one such row "
            "spoils the whole batch in training.",
            Trap(masked_rows_are_finite, value_of_attention, attention_masked_by_infinity),
        ),
        Exhibit(
            "convnetjs-70",
            "moments corrected the wrong way",
            "karpathy/convnetjs#70",
            2016,
            "Adam did much worse than another optimiser on a demonstration: running moments were multiplied "
            "by what corrects their bias, in place of a division.",
            Mutant("WFM-AppE1-adam", "Kingma and Ba's Algorithm 1, line by line", moments_multiplied),
        ),
    ]


# What is right


def value_of_attention(q, k, v, mask):
    """What the queries read."""
    return attention(q, k, v, mask)[0]


# What goes wrong


def loss_of_the_first_cloud(pred, target, weights):
    """The loss of the first cloud alone."""
    value, gradient = cloud_loss(pred[:1], target[:1], weights[:1])
    return value, np.concatenate([gradient, np.zeros_like(pred[1:])])


def velocity_from_the_time(mu, nu, t):
    """``(m' - t) / (1 - t)`` for the mean, in place of ``(m' - m) / (1 - t)``."""
    found, s = conditional_velocity(bures.interpolate(mu, nu, t), nu, t), t[:, None]
    return Tangent((nu.mean - s) / (1.0 - s), found.lift)


def times_shifted(field, source, **options):
    """The field is asked at times that are shifted towards the end."""
    return generate_clouds(lambda cloud, t: field(cloud, 3.0 * t / (1.0 + 2.0 * t)), source, **options)


def steps_between_ends(field, source, *, n_steps):
    """Times from 0 to 1, both included, and steps between them."""
    times, cloud = np.arange(n_steps) / np.float64(n_steps - 1), source
    for t in times:
        step = 1.0 / np.float64(n_steps - 1) if n_steps > 1 else times[0]
        cloud = PointCloud(cloud.points + step * field(cloud, np.full(len(cloud.points), t)), cloud.weights)
    return cloud


def attention_masked_by_infinity(q, k, v, mask):
    """Scores of masked keys are minus infinity."""
    scores = np.where(mask[..., None, :], q @ k.mT / np.sqrt(q.shape[-1]), -np.inf)
    weights = np.exp(scores - np.max(scores, axis=-1, keepdims=True))
    return weights / np.sum(weights, axis=-1, keepdims=True) @ v


def moments_multiplied(p, g, m, v):
    """``m (1 - b1ᵏ)`` and ``v (1 - b2ᵏ)`` at the third step of size 0.01."""
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
    return p - 0.01 * m * (1.0 - 0.9**3) / (np.sqrt(v * (1.0 - 0.999**3)) + 1e-8)


# What is asked


def one_step_is_a_step(generate):
    """One step of the field x from 1 leads to 2."""
    source = PointCloud(np.ones((1, 1, 1)), np.ones((1, 1)))
    return near(generate(lambda cloud, t: cloud.points, source, n_steps=1).points, [[[2.0]]], 1e-12)


def masked_rows_are_finite(attention):
    """Two clouds, one of which has no live point: what the other reads, and no NaN."""
    q, v = np.zeros((2, 2, 3)), np.asarray([[[0.0], [2.0]]] * 2)
    found = attention(q, q, v, np.asarray([[True, True], [False, False]]))
    return bool(np.all(np.isfinite(found))) and near(found[0], [[1.0], [1.0]], 1e-12)
