"""Audited training step of clouds whose plans are read off by a reference (GWFM section 3, C.5)."""

from dataclasses import replace

import numpy as np
import scipy.optimize

from refwfm.sources.clouds import CholeskyNormal
from refwfm.training import alignment, clouds
from refwfm.training.cloud_fit import Families
from refwfm.training.randomness import random_stream
from refwfm.validation import refusals
from refwfm.validation.check import Check, Item, Tolerance
from refwfm.validation.cloud_runs import CARRIED, CONFIG, error_of_batch, plain_setting, ragged
from refwfm.validation.enumeration import best_order


def items() -> list[Item]:
    """Return the only item."""
    return [lazy_step()]


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
                _fitted,
                {
                    "mean in the order of the file": lambda points, *, members: np.mean(points, axis=0),
                    "the first member": lambda points, *, members: points[0],
                    "of two members only": lambda points, *, members: _fitted(points, members=2),
                },
                Tolerance(0.01, 0.01, "stops when an iteration lowers the objective by less than 1e-4"),
                dimensions=(2,),
            ),
            refusals.thin_check(),
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


def _fitted(points, *, members):
    return alignment.fit_reference(points, members=members, rng=random_stream(0, "alignment", 1))


def _lazy_error(draw_batch, draw, outer, inner):
    config = replace(CONFIG, outer=outer, inner=inner, source="barycentric", sigma=0.7)
    points = draw.normal(4, 5, draw.d)
    family = ragged(list(points))
    thinned = alignment.thin(family, 5, rng=random_stream(0, "alignment"))
    reference = draw.rounded(_fitted(thinned, members=10))
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
    return error_of_batch(batch, starts, images, rng.random(config.batch))


def reference_is_a_barycenter(fit, draw):
    """Distance of the reference from the mean of the clouds in its order, relative to their spread."""
    points = np.asarray(draw.normal(8, 5, draw.d))
    found = np.asarray(fit(points, members=8))
    mean = np.mean([best_order(found, x) for x in points], axis=0)
    return np.sqrt(np.mean((found - mean) ** 2) / np.mean(mean**2))
