"""Checks of networks, sources, couplings on what ordinary inputs leave out: NaN in part, extreme units."""

import numpy as np

from refwfm.couplings.inner import couple
from refwfm.measures import PointCloud
from refwfm.networks.conditioning import feature_embedding
from refwfm.networks.point_mlp import nearest_neighbours
from refwfm.sources.clouds import cholesky
from refwfm.transport.sinkhorn import sinkhorn
from refwfm.validation.check import EXACT, Check, roundings, worst_of
from refwfm.validation.textbook import relative

# Networks and sources


def absent_features_check():
    """Embeddings of vectors that are absent, or absent in part."""

    def embedded(weight, bias, none, features):
        return feature_embedding({"weight": weight, "bias": bias, "none": none}, features)[0]

    return Check(
        "plain NumPy, NaN in part of a vector",
        absence_in_part_is_nan,
        embedded,
        {
            "absent in part is absent": lambda w, b, none, x: embedded(
                w, b, none, np.where(np.any(np.isnan(x), axis=-1, keepdims=True), np.nan, x)
            ),
            "NaN as zeros": lambda w, b, none, x: embedded(w, b, none, np.nan_to_num(x)),
        },
        roundings(30, "sums of three products"),
        dimensions=(3,),
        everywhere=False,
    )


def absence_in_part_is_nan(embedded, draw):
    """Difference of a whole vector and of none; infinite if one with a NaN is not NaN."""
    weight, bias, none, x = draw.normal(3, 2), draw.normal(2), draw.normal(2), draw.normal(3, 3)
    x[1], x[2, 0] = np.nan, np.nan
    found = np.asarray(embedded(weight, bias, none, x))
    if not np.all(np.isnan(found[2])):
        return np.inf
    return relative(found[:2], np.stack([x[0] @ weight + bias, none]))


def neighbours_in_any_units_check():
    """Distances of neighbours whose squares would overflow or vanish."""
    return Check(
        "in units of 2^±600",
        distances_in_any_units,
        lambda points, mask: nearest_neighbours(points, mask, neighbours=2)[1],
        {
            "squares": lambda points, mask: nearest_neighbours(points, mask, neighbours=2)[1] ** 2,
            "plain norms": lambda points, mask: np.sqrt(
                np.sum(nearest_neighbours(points, mask, neighbours=2)[0] ** 2, axis=-1)
            ),
        },
        roundings(30, "norms of up to three coordinates"),
        dimensions=(1, 2, 3),
        everywhere=False,
    )


def distances_in_any_units(distances, draw):
    """Relative; three points, two of which differ in one coordinate only."""
    points = draw.rng.standard_normal((1, 3, draw.d))
    points[0, 1, 1:] = points[0, 0, 1:]
    mask, worst = np.ones((1, 3), dtype=bool), 0.0
    truth = np.sort(np.linalg.norm(points[0, :, None] - points[0], axis=-1), axis=-1)[:, 1:]
    for unit in (2.0**600, 2.0**-600):
        with np.errstate(over="ignore"):
            found = np.asarray(distances(unit * points, mask))[0]
        worst = worst_of(worst, relative(np.sort(found, axis=-1) / unit, truth))
    return worst


def graded_factor_check():
    """Cholesky factors of coordinates in units of their own."""
    return Check(
        "LAPACK, each coordinate in a unit of its own",
        factor_in_any_units,
        cholesky,
        {
            "of the variances": lambda cov: cholesky(cov) * np.diagonal(cov)[:, None] ** 0.5,
            "upper factor": lambda cov: cholesky(cov).T,
        },
        roundings(3000, "condition number 30, in the coordinates' units"),
        dimensions=(2, 3, 6),
        everywhere=False,
    )


def factor_in_any_units(cholesky, draw):
    """Relative to the largest entry, in units of 2^100 to 2^-100."""
    cov = draw.covariances(size=1)[0]
    units = 2.0 ** np.round(np.linspace(100.0, -100.0, draw.d))
    found = np.asarray(cholesky(cov * units[:, None] * units))
    return relative((found / units[:, None])[None], np.linalg.cholesky(cov)[None])


# Inner couplings


def evidence_check():
    """What pairs say of the plans behind them."""

    def evidence(x, y, inner):
        found = couple(x, y, inner, rng=np.random.default_rng(0), solve=_solve)
        return found.error, found.n_iter

    return Check(
        "marginal errors of the worst plan, by its sums",
        evidence_is_of_the_worst,
        evidence,
        {
            "exchanged": lambda *given: evidence(*given)[::-1],
            "half": lambda *given: (0.5 * evidence(*given)[0], evidence(*given)[1]),
        },
        roundings(1e4, "sums of the plan"),
        dimensions=(2,),
        everywhere=False,
    )


def _solve(cost, a, b, **options):
    eps = 0.05 * np.arange(1, 4) * np.max(cost, axis=(-2, -1))
    return sinkhorn(cost, a, b, eps=eps, tol=None, max_iter=3, **options)


def evidence_is_of_the_worst(evidence, draw):
    """Relative error; infinite if the number of iterations is not 3, or 0 without any."""
    x, y = (PointCloud(draw.rng.standard_normal((3, 5, draw.d)), np.full((3, 5), 0.2)) for _ in range(2))
    error, n_iter = evidence(x, y, "exact")
    if np.shape(error) != () or float(error) != 0.0 or not isinstance(n_iter, int) or n_iter != 0:
        return np.inf
    error, n_iter = evidence(x, y, "entropic")
    cost = np.sum((x.points[:, :, None] - y.points[:, None]) ** 2, axis=-1)
    kernel = np.exp(-cost / (0.05 * np.arange(1, 4) * np.max(cost, axis=(-2, -1)))[:, None, None])
    u = np.ones((3, 5))
    for _ in range(3):
        v = 0.2 / np.einsum("kij,ki->kj", kernel, u)
        u = 0.2 / np.einsum("kij,kj->ki", kernel, v)
    columns = np.sum(u[:, :, None] * kernel * v[:, None], axis=1)
    truth = np.max(np.sum(np.abs(columns - 0.2), axis=-1))
    return abs(float(error) / truth - 1.0) if n_iter == 3 else np.inf


def drawn_check():
    """Pairs drawn from a plan whose mass is not quite 1."""

    def drawn(x, y, seed, share):
        def solve(cost, a, b, **options):
            found = _solve(cost, a, b, **options)
            return found._replace(f=found.f + found.eps[:, None] * np.log(share))

        found = couple(x, y, "sampled", rng=np.random.default_rng(seed), solve=solve, replace=True)
        return found.x, found.y

    return Check(
        "pairs of the plan of mass 1",
        mass_does_not_matter,
        drawn,
        {
            "other pairs": lambda x, y, seed, share: drawn(x, y, seed + (share != 1.0), 1.0),
            "exchanged": lambda x, y, seed, share: drawn(x, y, seed, 1.0)[:: 1 if share == 1.0 else -1],
        },
        EXACT,
        dimensions=(2,),
        everywhere=False,
    )


def mass_does_not_matter(drawn, draw):
    """Largest difference of the pairs, for plans of mass 1 and 1.0009."""
    x, y = (PointCloud(draw.rng.standard_normal((3, 5, draw.d)), np.full((3, 5), 0.2)) for _ in range(2))
    pairs = zip(drawn(x, y, 0, 1.0), drawn(x, y, 0, 1.0009), strict=True)
    return worst_of(*(float(np.max(np.abs(one - other))) for one, other in pairs))
