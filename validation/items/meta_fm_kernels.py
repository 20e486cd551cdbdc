"""Audited formula of Meta Flow Matching: what kernels see of a population."""

from functools import partial

import numpy as np
from scipy.special import logsumexp, softmax

from refwfm._array import asarray_like
from refwfm.populations.kernels import kernel_readout
from refwfm.validation import plain_population as plain
from refwfm.validation.check import Check, Item, roundings
from refwfm.validation.textbook import relative

BANDWIDTHS = (0.4, 1.0, 3.0)
WELL = roundings(2000, "exponents of some tens")

looked = partial(kernel_readout, bandwidths=BANDWIDTHS)


def items() -> list[Item]:
    """Return the items of this section."""
    return [meta_fm_20()]


def meta_fm_20() -> Item:
    """Kernel means and distances."""
    return plain.population_item(
        20,
        "ours, not the paper's",
        "kernel estimates about a particle",
        r"\tfrac1s\Big(\sum_jw_jx_j-x\Big)=s\,\nabla\log p_s(x),\quad "
        r"\ w=\mathrm{softmax}_j\Big(-\tfrac{\|x-x_j\|^2}{2s^2}\Big),\quad "
        r"\ s\sqrt{-2\log\tfrac1m\sum_je^{-\|x-x_j\|^2/2s^2}}",
        "A moving particle sees the density of its population about it, at several scales.",
        (kernel_readout,),
        (
            Check(
                "softmax of SciPy, over live particles",
                kernel_means,
                lambda *given: looked(*given)[0],
                {
                    "padding read": lambda x, y, mask: looked(x, y)[0],
                    "without the half": lambda x, y, mask: _steps(x, y, mask, np.sqrt(0.5)),
                    "the mean itself": lambda x, y, mask: (
                        looked(x, y, mask)[0] + x[:, :, None, :] / np.array(BANDWIDTHS)[:, None]
                    ),
                    "not divided by the bandwidth": lambda *given: (
                        looked(*given)[0] * np.array(BANDWIDTHS)[:, None]
                    ),
                    "one bandwidth for all": lambda *given: _steps(*given, 1.0, (1.0,) * 3),
                },
                WELL,
                dimensions=(1, 2, 6),
            ),
            Check(
                "complex steps through the logarithm of the density",
                log_density_slopes,
                gradients,
                {
                    "the sign": lambda *given: -gradients(*given),
                    "divided by s once": lambda *given: looked(*given)[0],
                    "of a kernel without the half": lambda *given: (
                        _steps(*given, np.sqrt(0.5)) / np.array(BANDWIDTHS)[:, None]
                    ),
                },
                WELL,
                dimensions=(1, 2, 6),
            ),
            Check(
                "logsumexp of SciPy",
                kernel_distances,
                lambda *given: looked(*given)[1],
                {
                    "to the nearest": lambda x, y, mask: looked(x, _only_nearest(x, y, mask))[1],
                    "the sum for the mean": _of_the_sum,
                    "padding counted": lambda x, y, mask: looked(x, np.where(mask[..., None], y, 1e3))[1],
                    "squared": lambda *given: looked(*given)[1] ** 2,
                    "without the half": lambda x, y, mask: kernel_readout(
                        *(x, y, mask), bandwidths=np.sqrt(0.5) * np.array(BANDWIDTHS)
                    )[1],
                },
                WELL,
                dimensions=(1, 2, 6),
            ),
        ),
    )


def gradients(x, y, mask):
    """Of the logarithms of the densities."""
    steps = looked(x, y, mask)[0]
    return steps / asarray_like(np.array(BANDWIDTHS)[:, None], steps)


def _steps(x, y, mask, factor, bandwidths=BANDWIDTHS):
    """Steps of kernels that are ``factor`` as wide, in units of the right ones."""
    return factor * kernel_readout(x, y, mask, bandwidths=factor * np.array(bandwidths))[0]


def _only_nearest(x, y, mask):
    """The live particle nearest to the first that looks."""
    sq = np.where(mask, np.sum((x[:, :1] - y) ** 2, axis=-1), np.inf)
    return np.take_along_axis(y, np.argmin(sq, axis=-1)[:, None, None], axis=1)


def _of_the_sum(x, y, mask):
    s, count = np.array(BANDWIDTHS), np.sum(mask, axis=-1)[:, None, None]
    return np.sqrt(np.maximum(looked(x, y, mask)[1] ** 2 - 2 * s**2 * np.log(count), 0.0))


def _looking(draw):
    mask = np.arange(plain.M) < np.array([[7], [4], [2]])
    return plain.particles(draw), plain.particles(draw, plain.M), mask


def _exponents(x, live, s):
    """Of one particle x (d,) and the live ones (m, d)."""
    return -np.sum((x - live) ** 2, axis=-1) / (2 * s * s)


def _by_particle(x, y, mask, function):
    """``function(particle, live particles, bandwidth)`` for each of them."""
    return np.array(
        [[[function(point, y[i][mask[i]], s) for s in BANDWIDTHS] for point in x[i]] for i in range(len(x))]
    )


def kernel_means(function, draw):
    """Of each particle, in units of the bandwidths."""
    given = _looking(draw)
    right = _by_particle(*given, lambda x, live, s: (softmax(_exponents(x, live, s)) @ live - x) / s)
    return relative(draw.call(function, *given), right)


def log_density_slopes(function, draw):
    """The gradient of the logarithm of a density, coordinate by coordinate."""
    given = _looking(draw)

    def slopes(x, live, s):
        steps = 1e-30j * np.eye(len(x))
        return [np.log(np.mean(np.exp(_exponents(x + step, live, s)))).imag / 1e-30 for step in steps]

    return relative(draw.call(function, *given), _by_particle(*given, slopes))


def kernel_distances(function, draw):
    """What distance one particle alone would have for as much density."""
    given = _looking(draw)

    def distance(x, live, s):
        return s * np.sqrt(-2.0 * (logsumexp(_exponents(x, live, s)) - np.log(len(live))))

    return relative(draw.call(function, *given), _by_particle(*given, distance))
