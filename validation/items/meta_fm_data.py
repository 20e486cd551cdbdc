"""Audited formulas of the data of Meta Flow Matching: a drug screen, trivial floors, a synthetic screen."""

import itertools
import statistics
from fractions import Fraction
from math import asinh

import numpy as np
from scipy.optimize import least_squares

from refwfm.datasets import screen, synthetic_screen
from refwfm.datasets.screen_table import ScreenTable
from refwfm.populations import floors
from refwfm.validation.check import EXACT, Check, Item, Tolerance, roundings, worst_of
from refwfm.validation.textbook import relative

SMALL = (1, 2, 3)
SUMS = roundings(300, "sums of a few hundred numbers of order one")


def items() -> list[Item]:
    """Return the items in order."""
    return [fm_16(), fm_17(), fm_18(), fm_19()]


def fm_item(number, place, title, latex, statement, functions, checks):
    """Item of the paper."""
    return Item(f"META-FM-{number}", "Meta FM", place, title, latex, statement, functions, checks)


# Normalisation of a screen


def fm_16() -> Item:
    """Normalisation of a screen's features."""
    return fm_item(
        16,
        "appendix on the organoid data",
        "normalisation of mass cytometry",
        r"\tilde x=\frac{\operatorname{arcsinh}(x/5)-\hat\mu}{\hat s},"
        r"\quad \hat s=\frac1d\sum_{j\le d}\hat\sigma_j",
        "Mean of each feature and one scale for all, both of training populations only.",
        (screen.arcsinh, screen.fit_normalisation, screen.normalise),
        (
            Check(
                "one number at a time, in exact fractions where it can be",
                normalised_is_plain,
                normalised_by_training,
                {
                    "fitted on all cells": lambda train, new: screen.normalise(
                        new, screen.fit_normalisation(screen.arcsinh(np.concatenate([train, new])))
                    ),
                    "each feature by its own deviation": _own_deviation,
                    "deviation of all numbers together": _pooled_deviation,
                    "deviations that divide by n - 1": _divisor_less_one,
                    "without the cofactor": lambda train, new: screen.normalise(
                        new, screen.fit_normalisation(screen.arcsinh(train, cofactor=1.0)), cofactor=1.0
                    ),
                    "log1p for arcsinh": _log1p,
                },
                roundings(1000, "a standard deviation of twenty numbers"),
                dimensions=(2, 3, 6),
                everywhere=False,
            ),
        ),
    )


def normalised_by_training(train, new):
    """New cells by training cells."""
    return screen.normalise(new, screen.fit_normalisation(screen.arcsinh(train)))


def _own_deviation(train, new):
    values = screen.arcsinh(train)
    return (screen.arcsinh(new) - values.mean(axis=0)) / values.std(axis=0)


def _pooled_deviation(train, new):
    values = screen.arcsinh(train)
    return (screen.arcsinh(new) - values.mean(axis=0)) / values.std()


def _divisor_less_one(train, new):
    values = screen.arcsinh(train)
    return (screen.arcsinh(new) - values.mean(axis=0)) / values.std(axis=0, ddof=1).mean()


def _log1p(train, new):
    train, new = (np.sign(x) * np.log1p(np.abs(x) / 5) for x in (train, new))
    return (new - train.mean(axis=0)) / train.std(axis=0).mean()


def normalised_is_plain(function, draw):
    """Intensities of other sizes in every feature, other cells to be normalised."""
    sizes = 10.0 ** np.arange(draw.d)
    train, new = draw.normal(20, draw.d) * sizes, (draw.normal(7, draw.d) + 1.0) * sizes
    columns = [[Fraction(asinh(x / 5)) for x in column] for column in train.T.tolist()]
    means = [sum(column) / len(column) for column in columns]
    scale = statistics.fmean(float(statistics.pstdev(column)) for column in columns)
    truth = [
        [float(Fraction(asinh(x / 5)) - mean) / scale for x, mean in zip(row, means, strict=True)]
        for row in new.tolist()
    ]
    return relative(function(train, new), np.array(truth))


# Pairs of a screen


def fm_17() -> Item:
    """Pairs of a screen."""
    return fm_item(
        17,
        "appendix on the organoid data",
        "pairs of a drug screen",
        r"p_0=\{x: \mathrm{dose}=0\},\quad p_1=\{x: \mathrm{dose}=\max\}",
        "Control against the highest dose of each treatment, within one experiment.",
        (screen.make_pairs,),
        (
            Check(
                "one experiment and one treatment at a time",
                pairs_are_plain,
                lambda table, least: screen.make_pairs(table, min_cells=least),
                {
                    "lowest dose": lambda table, least: _paired(table, least, pick=min),
                    "controls of all replicates": lambda table, least: _paired(table, least, controls_of=3),
                    "small populations kept": lambda table, least: screen.make_pairs(table, min_cells=1),
                    "dropped after the highest dose is chosen": lambda table, least: [
                        pair for pair in screen.make_pairs(table, min_cells=1) if len(pair.treated) >= least
                    ],
                    "one control of several": lambda table, least: screen.make_pairs(
                        table, min_cells=least, controls=("DMSO",)
                    ),
                },
                EXACT,
                dimensions=(2,),
                everywhere=False,
            ),
        ),
    )


def a_screen(rng, d):
    """A table whose populations have all doses, controls, sizes that a rule can fail on, in random order."""
    rows = []
    for place in itertools.product("FP", "12", "1", "ab"):
        for treatment, dose in (("DMSO", 0), ("AH", 0), ("DMSO", 1), *itertools.product("OS", (0, 1, 2, 3))):
            rows += [(*place, treatment, dose)] * int(rng.integers(1, 9))
    rows = [rows[i] for i in rng.permutation(len(rows))]
    *columns, dose = (np.array(column) for column in zip(*rows, strict=True))
    names = ("culture", "patient", "plate", "replicate", "treatment")
    return ScreenTable(
        features=rng.standard_normal((len(rows), d)),
        feature_names=tuple(f"m{i}" for i in range(d)),
        dose=dose.astype(np.float64),
        **dict(zip(names, columns, strict=True)),
    )


def _paired(table, least, *, pick=max, controls_of=4):
    """Pairs by looping over all; wrong in one way where an option says so."""
    keys = ("culture", "patient", "plate", "replicate", "treatment", "dose")
    cells = list(zip(*(getattr(table, key).tolist() for key in keys), strict=True))
    sizes = {cell: cells.count(cell) for cell in set(cells)}
    big = {cell for cell in sizes if sizes[cell] >= least}
    pairs = []
    for place in sorted({cell[:4] for cell in cells}):
        for treatment in sorted({cell[4] for cell in cells} - {"DMSO", "AH", "H2O"}):
            doses = [cell[5] for cell in big if cell[:5] == (*place, treatment) and cell[5] > 0]
            control = [
                i
                for i, cell in enumerate(cells)
                if cell in big
                and cell[:controls_of] == place[:controls_of]
                and cell[4] in ("DMSO", "AH", "H2O")
                and cell[5] == 0
            ]
            if doses and control:
                chosen = (*place, treatment, pick(doses))
                treated = [i for i, cell in enumerate(cells) if cell == chosen]
                pairs.append(screen.Pair(screen.Experiment(*place), treatment, pick(doses), control, treated))
    return pairs


def pairs_are_plain(function, draw):
    """Number of pairs that differ."""
    table = a_screen(draw.rng, draw.d)
    found, truth = ([_as_text(pair) for pair in pairs] for pairs in (function(table, 3), _paired(table, 3)))
    return float(len(set(found) ^ set(truth)) + abs(len(found) - len(truth)))


def _as_text(pair):
    return str((*pair[:3], [int(i) for i in pair.control], [int(i) for i in pair.treated]))


# Floors


def fm_18() -> Item:
    """Trivial floors."""
    return fm_item(
        18,
        "tables of results",
        "identity, mean shift, ideal shift",
        r"x_0,\quad x_0-\mu_0+\bar\mu_1,\quad x_0-\mu_0+\mu_1",
        "What a prediction must be better than; the last one reads the answer.",
        (floors.identity, floors.mean_shift, floors.mean_shift_by_condition, floors.ideal_shift),
        (
            Check(
                "the particles themselves",
                identity_is_plain,
                floors.identity,
                {
                    "centred": lambda x0: x0 - np.mean(x0, axis=-2, keepdims=True),
                    "doubled": lambda x0: 2 * x0,
                },
                EXACT,
                dimensions=SMALL,
            ),
            Check(
                "one particle at a time: mean shift",
                mean_shift_is_plain,
                lambda x0, means, w: floors.mean_shift(x0, means, weights=w),
                {
                    "μ0 not removed": lambda x0, means, w: x0 + means.mean(axis=-2),
                    "padding in the mean": lambda x0, means, w: floors.mean_shift(x0, means),
                    "mean of the particles for their own": lambda x0, means, w: (
                        x0 - x0.mean(axis=(0, 1)) + means.mean(axis=-2)
                    ),
                    "μ0 added": lambda x0, means, w: 2 * x0 - floors.mean_shift(x0, -means, weights=w),
                },
                SUMS,
                dimensions=SMALL,
            ),
            Check(
                "one population at a time: mean shift of a condition",
                by_condition_is_plain,
                floors.mean_shift_by_condition,
                {
                    "of all conditions": lambda x0, c, means, C: floors.mean_shift(x0, means),
                    "of the other conditions": lambda x0, c, means, C: floors.mean_shift_by_condition(
                        x0, 1 - c, means, C
                    ),
                    "divided by all populations": lambda x0, c, means, C: (
                        x0 - x0.mean(axis=-2, keepdims=True) + ((c @ C.T) @ means / len(C))[:, None, :]
                    ),
                },
                SUMS,
                dimensions=SMALL,
            ),
            Check(
                "exact transport: of all shifts it is nearest (SciPy's assignment)",
                ideal_is_nearest,
                floors.ideal_shift,
                {
                    "μ0 not removed": lambda x0, x1: x0 + x1.mean(axis=-2, keepdims=True),
                    "half of the way": lambda x0, x1: (x0 + floors.ideal_shift(x0, x1)) / 2,
                    "medians": lambda x0, x1: (
                        x0 + np.median(x1, axis=-2, keepdims=True) - np.median(x0, axis=-2, keepdims=True)
                    ),
                },
                SUMS,
                dimensions=SMALL,
            ),
        ),
    )


def identity_is_plain(function, draw):
    """Two populations."""
    x0 = draw.normal(2, 4, draw.d)
    return relative(draw.call(function, x0), x0)


def mean_shift_is_plain(function, draw):
    """Populations of three and four particles, the first with a row of padding."""
    x0, means = draw.normal(2, 4, draw.d) + 2.0, draw.normal(5, draw.d)
    w = np.array([[0.25, 0.25, 0.5, 0.0], [0.25] * 4])
    truth = x0.copy()
    for i, j in np.ndindex(2, 4):
        for k in range(draw.d):
            own = sum(w[i, row] * x0[i, row, k] for row in range(4))
            truth[i, j, k] += sum(means[:, k]) / 5 - own
    return relative(draw.call(function, draw.rounded(x0), means, w), truth, np.max(np.abs(truth)))


def by_condition_is_plain(function, draw):
    """Two conditions, of two and of three training populations."""
    x0, means, which = draw.normal(2, 4, draw.d), draw.normal(5, draw.d), [0, 1, 1, 0, 1]
    truth = np.empty_like(x0)
    for i in range(2):
        same = [means[j] for j in range(5) if which[j] == i]
        truth[i] = x0[i] - sum(x0[i]) / 4 + sum(same) / len(same)
    found = draw.call(function, x0, np.eye(2), means, np.eye(2)[which])
    return relative(found, truth, np.max(np.abs(truth)))


def ideal_is_nearest(function, draw):
    """Squared distance after the shift, against that to the best shift of the best assignment."""
    x0, x1 = draw.rounded(draw.normal(1, 5, draw.d) + 1.0), draw.rounded(draw.normal(1, 5, draw.d) ** 2)
    found = draw.call(function, x0, x1)[0]
    # Whatever the assignment, the best shift is the mean difference: the best of all orders is the least.
    orders = [x1[0, list(order)] for order in itertools.permutations(range(5))]
    best = min(np.mean(np.sum((y - x0[0] - (y - x0[0]).mean(axis=0)) ** 2, axis=1)) for y in orders)
    got = min(np.mean(np.sum((y - found) ** 2, axis=1)) for y in orders)
    # One that is no shift could come nearer.
    rigid = relative(found - found[:1], x0[0] - x0[0, :1], np.max(np.abs(x0)))
    return worst_of(abs(got - best) / max(best, 1.0), rigid)


# The synthetic screen


def fm_19() -> Item:
    """What a map that does not read the population cannot do."""
    return fm_item(
        19,
        "derived",
        "least error of maps that do not read the population",
        r"\min_D\frac1N\sum_i\|s_i-\sum_kf_{ik}D_k\|^2\le\frac1N\sum_iW_2^2(T_\#p_i,p_i^1)",
        "Means of mixtures move linearly in the fractions under any one map; a parabola is out of its reach.",
        (floors.unread_floor, synthetic_screen.shift_strength),
        (
            Check(
                "search over the shifts of the components (SciPy)",
                floor_is_least,
                floors.unread_floor,
                {
                    "one shift for all": lambda f, s: floors.unread_floor(np.ones((len(f), 1)), s),
                    "one component": lambda f, s: floors.unread_floor(f[:, :1], s),
                    "sum for mean": lambda f, s: np.sqrt(len(f)) * floors.unread_floor(f, s),
                    "mean of the errors": lambda f, s: np.mean(
                        np.linalg.norm(s - f @ np.linalg.lstsq(f, s, rcond=None)[0], axis=1)
                    ),
                },
                roundings(1000, "a linear problem of six equations, by two decompositions"),
                dimensions=SMALL,
            ),
            Check(
                "means of populations of the synthetic screen under maps of all kinds",
                bound_holds,
                synthetic_screen.shift_strength,
                {
                    "linear in the share": lambda w: 2.0 * w - 1.0,
                    "the same for all": np.ones_like,
                    "no shift": np.zeros_like,
                },
                Tolerance(0.0, 0.0, "the true floor is at least half of the shifts' own size"),
                dimensions=(2,),
                repeats=1,
                everywhere=False,
            ),
        ),
    )


def floor_is_least(function, draw):
    """Six populations of two components, shifts of any kind."""
    first = draw.rounded(draw.rng.uniform(0.1, 0.9, 6))
    fractions, shifts = np.stack([first, 1 - first], axis=-1), draw.normal(6, draw.d)

    def left(D):
        return (shifts - fractions @ D.reshape(2, draw.d)).ravel()

    best = least_squares(left, np.zeros(2 * draw.d), method="lm").fun
    truth = np.sqrt(np.sum(best * best) / 6)
    return float(abs(draw.call(function, fractions, shifts) - truth) / truth)


def bound_holds(function, draw):
    """How much nearer than half of the shifts' size some map comes that does not read the population.

    Maps: shift of each region of a partition of the line, fitted to all means at once, by quadrature of the
    two kinds of cells. The share of each population in a region is linear in w, whatever the region.
    """
    w = np.linspace(0.1, 0.9, 9)
    strength = function(w)
    edges = np.sort(draw.rng.uniform(-5, 5, 4))
    x = np.linspace(-8.0, 8.0, 4001)
    kinds = [
        np.exp(-0.5 * ((x - end) / synthetic_screen.DEVIATION) ** 2)
        for end in (synthetic_screen.APART, -synthetic_screen.APART)
    ]
    region = np.searchsorted(edges, x)
    shares = np.array([[k[region == r].sum() / k.sum() for r in range(5)] for k in kinds])  # (2, 5)
    mixed = np.stack([w, 1 - w], axis=-1) @ shares
    fitted = np.linalg.lstsq(mixed, strength, rcond=None)[0]
    error = np.sqrt(np.mean((strength - mixed @ fitted) ** 2))
    # A shift of order one is wanted, so that there is something to be missed.
    return worst_of(0.0, 0.5 * max(np.sqrt(np.mean(strength**2)), 0.5) - error)
