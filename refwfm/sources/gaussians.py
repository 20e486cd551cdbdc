"""Source meta-measures: where the flow starts, a law over Gaussians fitted to the targets.

``fit_gaussian_wishart`` looks at the data once; ``sample_gaussian_wishart`` draws as many Gaussians
as asked for. ``sample_empirical`` draws members of any family, for flows between two families.
"""

from typing import NamedTuple

import numpy as np

from refwfm._array import Array, asarray_like, check_integer, symmetrize, to_host, transpose
from refwfm.barycenter import barycenter
from refwfm.measures import Gaussian, check_gaussian, check_record, take
from refwfm.psd import sqrtm


class GaussianWishart(NamedTuple):
    """Independent normal means and Wishart covariances.

    Attributes
    ----------
    mean, std : array, shape (d,)
        Mean and deviation of the random means, for each coordinate.
    root : array, shape (d, d)
        Symmetric root of the mean covariance Σ̄: unlike other factors it is unique, so that all libraries and
        devices draw the same covariances.
    df : int
        Degrees of freedom of the Wishart law, at least d. When large, all covariances are near Σ̄.
    """

    mean: Array
    std: Array
    root: Array
    df: int


def fit_gaussian_wishart(
    family: Gaussian, /, *, df: int | None = None, validate: bool = True
) -> GaussianWishart:
    """Source fitted to a family: its means' moments, and its covariances' Bures barycenter.

    Equation: WFM-AppD1. ``m ~ N(m̄, diag(s²))`` and ``Σ ~ Wishart(Σ̄ / df, df)``, so that ``E Σ = Σ̄``.
    (The paper prints the scale Σ̄, whose Wishart law has mean ``df Σ̄``.) Fitted in float64 on the host,
    whatever the family's dtype and device: what is fitted once should not lose digits.

    Parameters
    ----------
    family : Gaussian, mean (n, d), cov (n, d, d)
    df : int, optional
        Degrees of freedom, at least d; the paper does not state its value. 2 d when left out.

    Raises
    ------
    ValueError
        If df is below d (the draws would be singular).
    TypeError
        If df is not an integer.

    Examples
    --------
    >>> source = fit_gaussian_wishart(Gaussian(np.asarray([[0.0], [2.0]]), np.asarray([[[1.0]], [[9.0]]])))
    >>> source.mean.tolist(), source.std.tolist(), source.root.round(6).tolist(), source.df
    ([1.0], [1.0], [[2.0]], 2)
    """
    family = check_gaussian(family, "family", validate=validate)
    d = family.mean.shape[-1]
    df = 2 * d if df is None else df
    df = check_integer(df, "df", low=1)
    if df < d:
        raise ValueError(f"df must be an integer of at least d = {d} for covariances of full rank; got {df}")
    host = Gaussian(*(to_host(part).astype(np.float64) for part in family))
    root = sqrtm(barycenter(host, validate=False).gaussian.cov, validate=False)
    fitted = np.mean(host.mean, axis=0), np.std(host.mean, axis=0), root
    mean, std, root = (asarray_like(part, family.mean) for part in fitted)
    return GaussianWishart(mean, std, root, df)


def sample_gaussian_wishart(source: GaussianWishart, /, *, rng: np.random.Generator, size: int) -> Gaussian:
    """Draw ``size`` Gaussians: ``m = m̄ + s z``, ``Σ = Σ̄^{1/2} Z Zᵀ Σ̄^{1/2} / df`` with standard normal z, Z.

    Equation: WFM-AppD1. Drawn on the host in float64: the same on every library and device.

    Returns
    -------
    Gaussian, mean (size, d), cov (size, d, d)

    Examples
    --------
    >>> source = GaussianWishart(np.zeros(2), np.ones(2), np.eye(2), 4)
    >>> sample_gaussian_wishart(source, rng=np.random.default_rng(0), size=3).cov.shape
    (3, 2, 2)
    """
    check_record(source, GaussianWishart, "source", arrays=("mean", "std", "root"))
    size = check_integer(size, "size", low=0)
    d = source.mean.shape[0]
    z = asarray_like(rng.standard_normal((size, d)), source.mean)
    Z = asarray_like(rng.standard_normal((size, d, source.df)), source.mean)
    half = source.root @ Z
    return Gaussian(source.mean + source.std * z, symmetrize(half @ transpose(half)) / source.df)


def sample_empirical(
    family: Gaussian, /, *, rng: np.random.Generator, size: int
) -> tuple[Gaussian, np.ndarray]:
    """Draw ``size`` members of a family with replacement, and their indices (on the host).

    Equation: GWFM-SRC3. It also draws the targets of Algorithm 1.

    Examples
    --------
    >>> family = Gaussian(np.asarray([[0.0], [10.0], [20.0]]), np.ones((3, 1, 1)))
    >>> nu, index = sample_empirical(family, rng=np.random.default_rng(0), size=5)
    >>> bool(np.all(nu.mean[:, 0] == 10 * index))
    True
    """
    size = check_integer(size, "size", low=0)
    n = check_gaussian(family, "family", validate=False).mean.shape[0]
    if n == 0:
        raise ValueError("family must have at least one member; got none")
    index = rng.integers(n, size=size)
    return take(family, index), index
