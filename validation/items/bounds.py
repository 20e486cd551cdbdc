"""Audited construction of ours: velocities of generation within the bounds of geodesics."""

import numpy as np
import scipy.linalg

from refwfm.bures import Tangent
from refwfm.generation import bound_velocity
from refwfm.validation import textbook
from refwfm.validation.check import WELL, Check, Item, roundings, worst_of
from refwfm.validation.textbook import block, identity, relative


def items() -> list[Item]:
    """Return the item of this section."""
    return [bounds_of_lifts()]


def bounds_of_lifts() -> Item:
    """Bounds of the lifts of geodesics, and the nearest velocity within them."""
    wrong = {
        "bounds exchanged": _clipped(lambda t: (-1.0 / t, 1.0 / (1.0 - t))),
        "bounds nearer by a tenth": _clipped(lambda t: (-0.9 / (1.0 - t), 0.9 / t)),
        "the upper bound for both": _clipped(lambda t: (-1.0 / t, 1.0 / t)),
    }
    return Item(
        id="WFM-BOUNDS",
        paper="WFM",
        place="ours, not the paper's; from its eq. 10",
        title="bounds of the lifts of geodesics",
        latex=r"-\frac1{1-t}I\preceq S_t=(C-I)\,((1-t)I+tC)^{-1}\preceq\frac1t I",
        statement="No geodesic's lift leaves these bounds, nor does a mean of lifts; what is learned may.",
        functions=(bound_velocity,),
        checks=(
            Check(
                "lifts of geodesics of given maps, by NumPy's inverse",
                geodesics_keep_to_them,
                bound_velocity,
                wrong,
                roundings(2000, "maps of condition number 10⁴, whose lifts are known to that many roundings"),
                dimensions=(1, 2, 3, 6),
                size=6,
            ),
            Check(
                "means of two and absolute values, by SciPy's polar decomposition",
                nearest_by_absolute_values,
                bound_velocity,
                {
                    **wrong,
                    "entries for eigenvalues": lambda v, t: Tangent(
                        v.mean, np.clip(v.lift, block(-1.0 / (1.0 - t)), block(1.0 / t))
                    ),
                    "the upper bound alone": _clipped(lambda t: (-np.inf + 0.0 * t, 1.0 / t)),
                    "scaled as a whole": _scaled,
                    "the mean as well": lambda v, t: bound_velocity(v, t)._replace(
                        mean=np.minimum(v.mean, 1.0 / t[:, None])
                    ),
                },
                roundings(300, WELL),
                dimensions=(1, 2, 3, 6),
                size=6,
            ),
        ),
    )


def _clipped(bounds):
    """Projection between other bounds."""

    def project(v, t):
        values, vectors = np.linalg.eigh(v.lift)
        low, high = bounds(t)
        values = np.clip(values, low[:, None], high[:, None])
        return Tangent(v.mean, (vectors * values[:, None, :]) @ vectors.mT)

    return project


def _scaled(v, t):
    """One factor for all eigenvalues, so that the largest of them keeps to the bounds."""
    values = np.linalg.eigvalsh(v.lift)
    excess = np.maximum(values[:, -1] * t, -values[:, 0] * (1.0 - t))
    return Tangent(v.mean, v.lift / block(np.maximum(excess, 1.0)))


def geodesics_keep_to_them(bound, draw):
    """How far ``(C - I) ((1 - t) I + t C)⁻¹`` is moved, for maps C that stretch by 1/100 to 100."""
    t, stretches = draw.times(), 10.0 ** draw.rng.uniform(-2.0, 2.0, (draw.size, draw.d))
    C = draw.from_spectrum(draw.rotations(draw.size), stretches)
    one = identity(C)
    lift = (C - one) @ np.linalg.inv((1.0 - block(t)) * one + block(t) * C)
    v = Tangent(draw.normal(draw.size, draw.d), draw.rounded(0.5 * (lift + lift.mT)))
    found = draw.call(bound, v, t)
    return worst_of(relative(found.mean, v.mean, 1.0), relative(found.lift, v.lift))


def nearest_by_absolute_values(bound, draw):
    """``(a + b + |S - a| - |S - b|) / 2`` clips a number between a < b, and so each eigenvalue of S."""
    size, t = draw.size, draw.times(0.2, 0.8)
    v = Tangent(4.0 * draw.normal(size, draw.d), draw.tangents(8).lift)
    low, high = block(-1.0 / (1.0 - t)) * identity(v.lift), block(1.0 / t) * identity(v.lift)
    first, second = (
        textbook.each(lambda matrix: scipy.linalg.polar(matrix)[1], v.lift - b) for b in (low, high)
    )
    found = draw.call(bound, v, t)
    return worst_of(
        relative(found.mean, v.mean, 1.0),
        relative(found.lift, 0.5 * (low + high + first - second), np.max(np.abs(v.lift), axis=(1, 2))),
    )
