"""Random Fourier features of places and states, read beside the raw coordinates.

A perceptron learns smooth functions first, and what turns within a fraction of the data's spread last (Tancik
et al., "Fourier features let networks learn high frequency functions", 2020). Sines and cosines along random
directions show it such turns from the start. On average the inner product of the features of two points is a
Gaussian kernel, exp(-s² ‖x - y‖² / 2) for frequencies of standard deviation s in radians: 1 / s is the
distance that the network tells apart.

References
----------
Rahimi and Recht, "Random features for large-scale kernel machines", 2007.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from refwfm._array import Array, array_namespace, asarray_like, check_floating
from refwfm.networks.layers import Params

if TYPE_CHECKING:
    from numpy.random import Generator


def init_frequencies(rng: "Generator", scales: Sequence[float], n: int, /, *, like: Array) -> Array:
    """Draw the frequencies of ``space_features``: normal, those of coordinate i with deviation ``scales[i]``.

    Equation: WFM-RFF.

    Parameters
    ----------
    rng : numpy.random.Generator
    scales : sequence of float
        Standard deviation for each coordinate, in radians / unit of the coordinate.
    n : int
    like : array
        Fixes library, dtype and device.

    Returns
    -------
    array, shape (d, n), in turns, of 2 π radians

    Examples
    --------
    >>> init_frequencies(np.random.default_rng(0), [3.0, 0.0], 4, like=np.zeros(0)).shape
    (2, 4)
    """
    turns = np.asarray(scales, dtype=np.float64)[:, None] / (2.0 * math.pi)
    return asarray_like(turns * rng.standard_normal((len(turns), n)), like)


def grid_frequencies(spacing: Sequence[float], /, *, like: Array) -> Array:
    """Frequencies of a grid for ``space_features``: one turn from node to node along every coordinate.

    Equation: WFM-GRID.

    Parameters
    ----------
    spacing : sequence of float, length d
        Of the grid, coordinate by coordinate; 0 where there is none (see ``clouds.grid_spacing``).
    like : array
        Fixes library, dtype and device.

    Returns
    -------
    array, shape (d, number of coordinates with a grid), in turns, of 2 π radians

    Examples
    --------
    >>> grid_frequencies([0.5, 0.0, 0.25], like=np.zeros(0)).tolist()
    [[2.0, 0.0], [0.0, 0.0], [0.0, 4.0]]
    """
    check_floating(like=like)
    steps = np.asarray(spacing, dtype=np.float64)
    on_grid = np.flatnonzero(steps)
    frequencies = np.zeros((len(steps), len(on_grid)))
    frequencies[on_grid, np.arange(len(on_grid))] = 1.0 / steps[on_grid]
    return asarray_like(frequencies, like)


def init_space(
    rng: "Generator", d: int, n: int, scale: float, grid: Sequence[float] = (), /, *, like: Array
) -> Params:
    """Parameters of what a network reads of a place: ``n`` random frequencies and a grid's, or nothing.

    Equation: WFM-RFF, WFM-GRID.

    Examples
    --------
    >>> init_space(np.random.default_rng(0), 2, 3, 1.0, (0.5, 0.0), like=np.zeros(0))["frequencies"].shape
    (2, 4)
    >>> init_space(np.random.default_rng(0), 2, 0, 1.0, like=np.zeros(0))
    {}
    """
    parts = [init_frequencies(rng, [scale] * d, n, like=like)] if n else []
    parts += [grid_frequencies(grid, like=like)] if any(grid) else []
    return {"frequencies": array_namespace(like).concat(parts, axis=-1)} if parts else {}


def space_features(frequencies: Array, x: Array, /) -> Array:
    """Random Fourier features ``cos(2π x B), sin(2π x B)`` of points.

    Equation: META-FM-4, WFM-RFF, WFM-GRID.

    Parameters
    ----------
    frequencies : array, shape (d, m)
        B, normal, drawn once, or those of a grid.
    x : array, shape (..., d)

    Returns
    -------
    array, shape (..., 2 m), the cosines first

    Examples
    --------
    >>> space_features(np.asarray([[0.25]]), np.ones((1, 1))).round(9).tolist()  # a quarter of a turn
    [[0.0, 1.0]]
    """
    xp = check_floating(frequencies=frequencies, x=x)
    angle = x @ ((2.0 * math.pi) * frequencies)
    return xp.concat([xp.cos(angle), xp.sin(angle)], axis=-1)


def with_features(params: Params, read: Array, x: Array, /) -> Array:
    """What is read of points, beside the Fourier features of where they are, if there are frequencies.

    Equation: WFM-RFF.

    Parameters
    ----------
    params : dict
        ``frequencies`` (d, m), or none.
    read : array, shape (..., q)
    x : array, shape (..., d)

    Returns
    -------
    array, shape (..., q + 2 m), or (..., q)

    Examples
    --------
    >>> params, x = {"frequencies": np.asarray([[0.25]])}, np.ones((1, 1))
    >>> with_features(params, x, x).round(9).tolist(), with_features({}, x, x).tolist()
    ([[1.0, 0.0, 1.0]], [[1.0]])
    """
    if "frequencies" not in params:
        return read
    xp = check_floating(read=read, x=x)
    return xp.concat([read, space_features(params["frequencies"], x)], axis=-1)


def without_gradient(params: Params, /) -> Params:
    """Zeros for the frequencies, which are not trained; nothing where there are none.

    Equation: none. A gradient that is not taken.

    Examples
    --------
    >>> without_gradient({"frequencies": np.ones((1, 2))}), without_gradient({})
    ({'frequencies': array([[0., 0.]])}, {})
    """
    if "frequencies" not in params:
        return {}
    xp = check_floating(frequencies=params["frequencies"])
    return {"frequencies": xp.zeros_like(params["frequencies"])}
