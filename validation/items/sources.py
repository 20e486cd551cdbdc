"""Audited formulas around training: sources and minibatch matching."""

import itertools

import numpy as np
import scipy.optimize

from refwfm.couplings.outer import match_minibatch
from refwfm.measures import Gaussian
from refwfm.sources.gaussians import (
    GaussianWishart,
    fit_gaussian_wishart,
    sample_empirical,
    sample_gaussian_wishart,
)
from refwfm.transport.exact import assignment
from refwfm.validation import textbook
from refwfm.validation.check import (
    FIXED_POINT,
    STANDARD_ERRORS,
    WELL,
    Check,
    Item,
    Misprint,
    roundings,
    worst_of,
)
from refwfm.validation.textbook import relative

DRAWS = 20000


def items() -> list[Item]:
    """Return the items in the order of the paper."""
    return [app_c(), app_d1(), src_3()]


# Appendix C


def app_c() -> Item:
    """Multisample matching."""
    return Item(
        id="WFM-AppC",
        paper="WFM",
        place="appendix C",
        title="multisample matching of a minibatch",
        latex=r"\min_{\sigma\in S_n}\sum_iK_{i\sigma(i)},\qquad K_{ij}=W_2^2(\mu_i,\nu_j)",
        statement="Sources and targets of a batch are paired at least total squared distance.",
        functions=(match_minibatch,),
        checks=(
            Check(
                "exhaustive search, textbook distances",
                matching_is_the_best_of_all,
                match_minibatch,
                {
                    "as they come": lambda mu, nu: np.arange(len(mu.mean)),
                    "the inverse permutation": lambda mu, nu: np.argsort(match_minibatch(mu, nu)),
                    "by distances of the means": lambda mu, nu: assignment(
                        np.sum((mu.mean[:, None] - nu.mean) ** 2, axis=-1)
                    ),
                    "by unsquared distances": lambda mu, nu: assignment(
                        np.sqrt(textbook.pairwise_sq_distance(mu, nu))
                    ),
                },
                roundings(300, WELL),
                dimensions=(1, 2, 3, 6),
                size=6,
                repeats=4,
            ),
            Check(
                "SciPy linprog (HiGHS)",
                assignment_solves_the_linear_programme,
                assignment,
                {
                    "nearest of each row": lambda cost: np.argmin(cost, axis=1),
                    "largest total cost": lambda cost: assignment(-cost),
                    "the inverse permutation": lambda cost: np.argsort(assignment(cost)),
                },
                roundings(1000, "HiGHS is exact at a vertex up to its sums"),
                dimensions=(2, 6, 16),
            ),
        ),
    )


def matching_is_the_best_of_all(match, draw):
    """Total cost of the pairing against the least of all 720, relative to it; infinite for no permutation."""
    mu, nu = draw.gaussians(), draw.gaussians()
    cost = textbook.pairwise_sq_distance(mu, nu)
    permutations = np.array(list(itertools.permutations(range(draw.size))))
    best = cost[np.arange(draw.size), permutations].sum(axis=1).min()
    return _excess(draw.call(match, mu, nu), cost, best)


def assignment_solves_the_linear_programme(assignment, draw):
    """Total cost against the linear programme over doubly stochastic matrices."""
    n = draw.d + 2
    cost = draw.normal(n, n) ** 2
    rows, columns = np.kron(np.eye(n), np.ones(n)), np.kron(np.ones(n), np.eye(n))
    found = scipy.optimize.linprog(cost.ravel(), A_eq=np.concatenate([rows, columns]), b_eq=np.ones(2 * n))
    return _excess(draw.call(assignment, cost), cost, found.fun)


def _excess(perm, cost, best):
    if sorted(np.asarray(perm).tolist()) != list(range(len(cost))):
        return np.inf
    return abs(cost[np.arange(len(cost)), perm].sum() - best) / best


# Appendix D-1


def app_d1() -> Item:
    """Gaussian-Wishart source."""
    return Item(
        id="WFM-AppD1",
        paper="WFM",
        place="appendix D",
        title="Gaussian-Wishart source",
        latex=(
            r"m\sim\mathcal N(\bar m,\mathrm{diag}(s^2)),"
            r"\qquad \Sigma\sim\mathcal W(\bar\Sigma/\mathrm{df},\mathrm{df})"
        ),
        statement="Means with the targets' moments; covariances that average to their barycenter.",
        functions=(fit_gaussian_wishart, sample_gaussian_wishart),
        checks=(
            Check(
                "first and second moments, Monte Carlo",
                moments_of_the_source,
                sample_gaussian_wishart,
                {
                    "as printed: scale Σ̄ instead of Σ̄ / df": _changed_draw(lambda cov, df: cov * df),
                    "divided by df - 1": _changed_draw(lambda cov, df: cov * (df / (df - 1.0))),
                    "s read as a variance": lambda source, *, rng, size: sample_gaussian_wishart(
                        source._replace(std=np.sqrt(source.std)), rng=rng, size=size
                    ),
                    "factor transposed": lambda source, *, rng, size: sample_gaussian_wishart(
                        source._replace(root=source.root.T), rng=rng, size=size
                    ),
                    "twice the degrees of freedom": lambda source, *, rng, size: sample_gaussian_wishart(
                        source._replace(df=2 * source.df), rng=rng, size=size
                    ),
                },
                STANDARD_ERRORS,
                dimensions=(1, 2, 3),
                repeats=1,
            ),
            Check(
                "NumPy, and the closed form of commuting covariances",
                source_is_fitted,
                fit_gaussian_wishart,
                {
                    "s as a variance": _fit_with_variance,
                    "mean of the covariances instead of their barycenter": lambda family, *, df: (
                        fit_gaussian_wishart(family, df=df)._replace(
                            root=np.linalg.cholesky(family.cov.mean(axis=0))
                        )
                    ),
                },
                FIXED_POINT,
            ),
        ),
        misprints=(
            Misprint(
                "E14",
                r"\Sigma\sim\mathcal W(\bar\Sigma,\mathrm{df}) \text{ with the barycenter as its scale}",
                r"\Sigma\sim\mathcal W(\bar\Sigma/\mathrm{df},\mathrm{df})",
                "A Wishart law W(V, df) has mean df V. The authors' released code divides by df.",
                "as printed: scale Σ̄ instead of Σ̄ / df",
            ),
        ),
    )


def _fit_with_variance(family, *, df):
    source = fit_gaussian_wishart(family, df=df)
    return source._replace(std=source.std**2)


def _changed_draw(change):
    def sample(source, *, rng, size):
        drawn = sample_gaussian_wishart(source, rng=rng, size=size)
        return Gaussian(drawn.mean, change(drawn.cov, source.df))

    return sample


def moments_of_the_source(sample, draw):
    """Means and variances of all entries of 20000 draws, in standard errors.

    ``Var Σᵢⱼ = (Σ̄ᵢⱼ² + Σ̄ᵢᵢ Σ̄ⱼⱼ) / df`` for a Wishart law of mean Σ̄.
    """
    d, df = draw.d, 3 * draw.d + 5
    signs = draw.rng.choice([-0.5, 0.5], size=(d, d))
    root = np.tril(signs, -1) + np.diag(draw.rounded(np.sqrt(draw.spectrum(10.0, d))))
    std = draw.rounded(np.sqrt(draw.spectrum(30.0, d)))
    source = GaussianWishart(draw.normal(d), std, root, df)
    family = draw.call(lambda source: sample(source, rng=draw.rng, size=DRAWS), source)
    center = root @ root.T
    diagonal = np.diag(center)
    wishart = (center**2 + np.outer(diagonal, diagonal)) / df
    cases = ((family.mean, source.mean, std**2), (family.cov, center, wishart))
    return worst_of(*(z(*case) for case in cases for z in (_z_of_mean, _z_of_variance)))


def _z_of_mean(x, mean, variance):
    return float(np.max(np.abs(x.mean(axis=0) - mean) / np.sqrt(variance / len(x))))


def _z_of_variance(x, mean, variance):
    squares = (x - mean) ** 2
    return float(np.max(np.abs(squares.mean(axis=0) - variance) / (squares.std(axis=0) / np.sqrt(len(x)))))


def source_is_fitted(fit, draw):
    """Mean, deviation (of the population) and covariance ``(mean of the roots)²`` of a commuting family."""
    cov, roots = draw.commuting(5)
    family = Gaussian(draw.normal(5, draw.d), cov)
    df = draw.d + 2
    source = draw.call(lambda family: fit(family, df=df), family)
    center = np.mean(roots, axis=0)
    errors = (
        relative(source.mean[None], family.mean.mean(axis=0)[None], 1.0),
        relative(source.std[None], family.mean.std(axis=0)[None]),
        relative((source.root @ source.root.T)[None], (center @ center)[None]),
    )
    return worst_of(*errors) if source.df == df else np.inf


# Empirical source


def src_3() -> Item:
    """Empirical source."""
    return Item(
        id="GWFM-SRC3",
        paper="GWFM",
        place="section 4.1",
        title="empirical source, and the targets of Algorithm 1",
        latex=r"\mu=\mu_I,\qquad I\sim U\{1,\dots,n\}",
        statement="Draws are members of the family, each equally often, with replacement.",
        functions=(sample_empirical,),
        checks=(
            Check(
                "the members, and their frequencies",
                draws_are_members,
                sample_empirical,
                {
                    "the first half only": lambda family, *, rng, size: sample_empirical(
                        Gaussian(family.mean[:4], family.cov[:4]), rng=rng, size=size
                    ),
                    "without replacement": lambda family, *, rng, size: (
                        family,
                        rng.permutation(len(family.mean)),
                    ),
                    "indices of other members": lambda family, *, rng, size: (
                        sample_empirical(family, rng=rng, size=size)[0],
                        rng.integers(len(family.mean), size=size),
                    ),
                },
                STANDARD_ERRORS,
                size=8,
                dimensions=(2,),
            ),
        ),
    )


def draws_are_members(sample, draw):
    """Frequencies of 20000 draws in standard errors; infinite if a draw is another member than said."""
    family = draw.gaussians()
    members, index = draw.call(lambda family: sample(family, rng=draw.rng, size=DRAWS), family)
    if len(index) != DRAWS or not np.array_equal(members.cov, family.cov[index]):
        return np.inf
    share = 1.0 / draw.size
    counts = np.bincount(index, minlength=draw.size)
    return np.max(np.abs(counts - DRAWS * share)) / np.sqrt(DRAWS * share * (1.0 - share))
