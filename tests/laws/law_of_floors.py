"""Records of flows of the particles of a population: floors."""

import numpy as np
from law_kinds import Kind, cloud, number, points, vectors
from law_record import record

from refwfm.populations import floors

BEFORE = {"x0": cloud("bn")}

record(floors.identity, {"x0": points("bnd")}, points("bnd"))
record(
    floors.mean_shift,
    BEFORE | {"means": points("kd")},
    points("bnd"),
    call=lambda x0, means: floors.mean_shift(x0.points, means, weights=x0.weights),
)


def two_conditions(rng, shape):
    """One-hot, both of them among the rows."""
    return np.eye(2)[np.arange(np.prod(shape[:-1])) % 2].reshape(shape)


CONDITION = Kind("bT", sort="condition")
record(
    floors.mean_shift_by_condition,
    BEFORE | {"condition": CONDITION, "means": points("kd"), "conditions": Kind("kT", sort="condition")},
    points("bnd"),
    call=lambda x0, condition, means, conditions: floors.mean_shift_by_condition(
        x0.points, condition, means, conditions, weights=x0.weights
    ),
    drawn={"condition": two_conditions},
    sizes={"T": (2,), "k": (4, 3, 2)},
)
record(
    floors.ideal_shift,
    {"x0": cloud("bn"), "x1": cloud("bm")},
    points("bnd"),
    call=lambda x0, x1: floors.ideal_shift(
        x0.points, x1.points, weights=x0.weights, target_weights=x1.weights
    ),
)


def fractions(rng, shape):
    shares = rng.integers(1, 9, shape).astype(float)
    return shares / shares.sum(axis=-1, keepdims=True)


record(
    floors.unread_floor,
    {"fractions": Kind("bkT", sort="fractions"), "shifts": vectors("bkd")},
    number("b", 1),
    drawn={"fractions": fractions},
    sizes={"T": (2,), "k": (4, 5, 3)},
    ulps=1e3,
)
