"""The velocity of particles: a perceptron that reads time, place, condition, and what it is told.

References
----------
Atanackovic et al., "Meta Flow Matching", 2024. Klambauer et al., "Self-normalizing neural networks", 2017.
Rahimi and Recht, "Random features for large-scale kernel machines", 2007. Vaswani et al., 2017, section 3.5.
"""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from refwfm._array import (
    Array,
    array_namespace,
    asarray_like,
    check_floating,
    check_integer,
    device,
    transpose,
)
from refwfm.networks._order import in_order
from refwfm.networks.activations import selu
from refwfm.networks.features import space_features
from refwfm.networks.layers import Params, dense, init_dense
from refwfm.populations.embedding import Told, check_record
from refwfm.populations.kernels import kernel_readout
from refwfm.populations.readout import attention_readout, init_attention_readout

if TYPE_CHECKING:
    from numpy.random import Generator

LONGEST = 10_000.0
"""Ratio of the fastest to the slowest feature of time."""


def time_features(t: Array, n: int = 128, /) -> Array:
    """Sines and cosines ``sin(t ν_l), cos(t ν_l)`` of times, ``ν_l = 10000^(-l / (n / 2 - 1))``.

    Equation: META-FM-4. l from 0 to n / 2 - 1: the fastest turns once in 2 π.

    Parameters
    ----------
    t : array, shape (...)
    n : int
        Even, at least 4.

    Returns
    -------
    array, shape (..., n), the sines first

    Examples
    --------
    >>> time_features(np.asarray(1.0), 4).round(4).tolist()  # sin 1, sin 1e-4, cos 1, cos 1e-4
    [0.8415, 0.0001, 0.5403, 1.0]
    """
    xp = check_floating(t=t)
    if check_integer(n, "n", low=4) % 2:
        raise ValueError(f"n must be even, for as many sines as cosines; got {n}")
    half = n // 2
    power = xp.arange(half, dtype=t.dtype, device=device(t)) / (half - 1.0)
    angle = t[..., None] * xp.exp(-math.log(LONGEST) * power)
    return xp.concat([xp.sin(angle), xp.cos(angle)], axis=-1)


def init_velocity(
    rng: "Generator",
    d: int,
    *,
    like: Array,
    n_embedding: int = 0,
    n_condition: int = 0,
    width: int = 512,
    depth: int = 4,
    skip: bool = True,
    n_time: int = 128,
    n_space: int = 128,
    space_scale: float = 0.01,
    attention: int = 0,
    heads: int = 4,
    n_particle: int = 0,
    kernels: int = 0,
) -> Params:
    """Draw the parameters of ``velocity``. The defaults are the paper's.

    Parameters
    ----------
    rng : numpy.random.Generator
    d : int
    like : array
        Fixes library, dtype and device.
    n_embedding, n_condition : int
        Lengths of what is told of the population, and of its condition.
    width, depth : int
        A plain perceptron has ``depth`` layers, one with skips ``depth`` and the first.
    skip : bool
        For which of the two.
    n_time, n_space : int
        Features of time, and frequencies of space.
    space_scale : float
        Standard deviation of the frequencies, in units of 1 / data.
    attention : int
        Width of the readout of the population's particles (ours, not the paper's); 0 for none.
    heads, n_particle : int
        Of the readout: how many, and the length of a particle's encoding.
    kernels : int
        Bandwidths at which moving particles look at their population (ours, not the paper's); 0 for none.

    Returns
    -------
    dict
        ``frequencies`` (d, n_space), which are not trained; ``in``; ``hidden`` ("0", "1", ...) and
        ``readout``, if there are any; ``out``, whose weights are zero: training starts from the zero field.

    Raises
    ------
    ValueError
        If a plain perceptron has fewer than 2 layers, one with skips fewer than 1, or the number of features
        of time is odd.
    """
    check_integer(depth, "depth", low=1 if skip else 2)
    time_features(asarray_like(0.0, like), n_time)  # checks n_time
    n_place = n_time + 2 * n_space + d
    n_in = n_embedding + n_place + n_condition + attention + kernels * (d + 1)
    hidden = range(depth - 1 if skip else depth - 2)
    params: Params = {
        "frequencies": asarray_like(space_scale * rng.standard_normal((d, n_space)), like),
        "in": init_dense(rng, n_in, width, like=like, scale=1.0),
    }
    if hidden:
        params["hidden"] = {str(i): init_dense(rng, width, width, like=like, scale=1.0) for i in hidden}
    params["out"] = init_dense(rng, width, d, like=like, scale=0.0)
    if attention:
        params["readout"] = init_attention_readout(
            rng, n_place, d, n_particle, like=like, width=attention, heads=heads
        )
    return params


def velocity(
    params: Params,
    x: Array,
    t: Array,
    /,
    h: Array | None = None,
    c: Array | None = None,
    *,
    skip: bool = True,
    n_time: int = 128,
    heads: int = 4,
    population: Told | None = None,
    bandwidths: Sequence[float] = (),
) -> tuple[Array, Callable[[Array], tuple[Params, Array | None, Array | None]]]:
    """Velocity of particles at time t, given what is told of their population.

    Equation: META-FM-6. ``o = selu(in[h, time, space, x, c])``; in each hidden layer ``o ← selu(W o + b)``,
    or with skips ``o ← selu(W o + b + o)``; ``out(o)``. What kernels and a readout read stands behind c.

    Parameters
    ----------
    params : dict
        As ``init_velocity`` returns them.
    x : array, shape (B, n, d)
        Where the particles are.
    t : array, shape (B,), or (B, n)
        One time for a population, or for each particle.
    h : array, shape (B, n_embedding), optional
        The population's embedding, or index.
    c : array, shape (B, n_condition), optional
    skip, n_time, heads
        As in ``init_velocity``.
    population : Told, optional
        The population's particles and their encodings, for kernels and the readout; required where there are
        any.
    bandwidths : sequence of float
        Of ``kernels.kernel_readout``, as many as the parameters were drawn for. Units: those of ``x``.

    Returns
    -------
    v : array, shape (B, n, d)
    pullback : function
        ``d_v -> (d_params, d_h, d_encodings)``, with None for what was not given. Frequencies get zeros.

    Raises
    ------
    TypeError, ValueError
        If arrays are of different kinds, or shapes do not fit each other or the parameters.

    Examples
    --------
    >>> params = init_velocity(np.random.default_rng(0), 2, like=np.zeros(0), n_embedding=3, width=8)
    >>> v, pullback = velocity(params, np.ones((4, 5, 2)), np.full(4, 0.5), np.ones((4, 3)))
    >>> v.shape, float(np.max(np.abs(v))), pullback(v)[1].shape  # the zero field before training
    ((4, 5, 2), 0.0, (4, 3))
    """
    _check(params, x, t, h, c, population, n_time, len(bandwidths))
    xp, (size, n, d) = array_namespace(x), x.shape
    time, space = time_features(t, n_time), space_features(params["frequencies"], x)
    parts = [(h, False), (time, t.ndim == 2), (space, True), (x, True), (c, False)]
    if population is not None and bandwidths:
        steps, distances = kernel_readout(x, population.x, population.mask, bandwidths=bandwidths)
        parts += [(xp.reshape(steps, (size, n, -1)), True), (distances, True)]
    if population is not None and "readout" in params:
        per_particle = time if t.ndim == 2 else xp.broadcast_to(time[:, None, :], (size, n, n_time))
        place = xp.concat([per_particle, space, x], axis=-1)
        _, coordinates, encodings, mask = population
        read, pull_readout = attention_readout(
            params["readout"], place, coordinates, encodings, mask, heads=heads
        )
        parts.append((read, True))
    o, pull_in = _dense_of_parts(params["in"], [part for part in parts if part[0] is not None], size, n)
    o, pull_selu = selu(o)
    pullbacks = {}
    for name, layer in in_order(params.get("hidden", {})):
        z, pull_dense = dense(layer, o)
        o, pull_hidden = selu(z + o if skip else z)
        pullbacks[name] = pull_dense, pull_hidden
    v, pull_out = dense(params["out"], o)

    def pullback(d_v: Array) -> tuple[Params, Array | None, Array | None]:
        d_out, d_o = pull_out(xp.reshape(d_v, (size * n, d)))
        d_hidden = {}
        for name in reversed(pullbacks):
            pull_dense, pull_hidden = pullbacks[name]
            d_z = pull_hidden(d_o)
            d_hidden[name], d_o = pull_dense(d_z)
            d_o = d_o + d_z if skip else d_o
        d_in, d_parts = pull_in(pull_selu(d_o))
        d_params = {
            "frequencies": xp.zeros_like(params["frequencies"]),
            "in": d_in,
            "out": d_out,
        }
        if "hidden" in params:
            d_params["hidden"] = {name: d_hidden[name] for name in params["hidden"]}
        d_encodings = None
        if "readout" in params:
            d_params["readout"], d_encodings = pull_readout(d_parts(-1))
        d_params = {name: d_params[name] for name in params}
        return d_params, None if h is None else d_parts(0), d_encodings

    return xp.reshape(v, (size, n, d)), pullback


def _dense_of_parts(
    params: Params, parts: list[tuple[Array, bool]], size: int, n: int
) -> tuple[Array, Callable[[Array], tuple[Params, Callable[[int], Array]]]]:
    """``dense`` of parts side by side, of particles (B, n, f) or of populations (B, f): (B n, width).

    What a population shares is multiplied once for all of its particles. The pullback gives the gradient of
    the parameters, and a function for that of one part: most are not needed.
    """
    weight, width = params["weight"], params["weight"].shape[1]
    xp, rows, start = array_namespace(weight), [], 0
    for part, _ in parts:
        rows.append(weight[start : start + part.shape[-1], :])
        start += part.shape[-1]
    shared = params["bias"]
    for (part, each), block in zip(parts, rows, strict=True):
        shared = shared if each else shared + part @ block
    shared = xp.broadcast_to(shared, (size, width))
    own = [(part, block) for (part, each), block in zip(parts, rows, strict=True) if each]
    features = xp.reshape(xp.concat([part for part, _ in own], axis=-1), (size * n, -1))
    y = features @ xp.concat([block for _, block in own], axis=0)
    y = xp.reshape(xp.reshape(y, (size, n, width)) + shared[:, None, :], (size * n, width))

    def pullback(d_y: Array) -> tuple[Params, Callable[[int], Array]]:
        d_shared = xp.sum(xp.reshape(d_y, (size, n, width)), axis=1)
        d_own = transpose(features) @ d_y
        d_weight, at = [], 0
        for part, each in parts:
            if each:
                d_weight.append(d_own[at : at + part.shape[-1], :])
                at += part.shape[-1]
            else:
                d_weight.append(transpose(part) @ d_shared)

        def of_part(i: int) -> Array:
            part, each = parts[i]
            return xp.reshape((d_y if each else d_shared) @ transpose(rows[i]), part.shape)

        return {"weight": xp.concat(d_weight, axis=0), "bias": xp.sum(d_shared, axis=0)}, of_part

    return y, pullback


def _check(
    params: Params,
    x: Array,
    t: Array,
    h: Array | None,
    c: Array | None,
    population: Told | None,
    n_time: int,
    kernels: int,
) -> None:
    told = {name: part for name, part in (("h", h), ("c", c)) if part is not None}
    check_floating(params=params["frequencies"], x=x, t=t, **told)
    d = params["frequencies"].shape[0]
    if x.ndim != 3 or x.shape[-1] != d:
        raise ValueError(f"x must have shape (B, n, d) with the parameters' d = {d}; got {tuple(x.shape)}")
    if tuple(t.shape) not in (tuple(x.shape[:1]), tuple(x.shape[:2])):
        raise ValueError(
            f"t must have shape {tuple(x.shape[:1])}, a time per population, or {tuple(x.shape[:2])}, one "
            f"per particle; got {tuple(t.shape)}"
        )
    for name, part in (("h", h), ("c", c)):
        if part is not None and (part.ndim != 2 or part.shape[0] != x.shape[0]):
            raise ValueError(
                f"{name} must have shape ({x.shape[0]}, q), a row per population; got {tuple(part.shape)}"
            )
    if population is not None:
        check_record(population, Told, "population")
    if ("readout" in params or kernels > 0) != (population is not None):
        raise ValueError(
            "these parameters read the population's particles: give population, as embedding.tell returns it"
            if population is None
            else "without a readout and bandwidths no particles are read; got a population"
        )
    read = params["readout"]["out"]["bias"].shape[0] if "readout" in params else 0
    n_told = sum(part.shape[-1] for part in (h, c) if part is not None)
    n_in = n_told + n_time + 2 * params["frequencies"].shape[1] + d + read + kernels * (d + 1)
    if n_in != params["in"]["weight"].shape[0]:
        raise ValueError(
            f"the first layer of these parameters reads {params['in']['weight'].shape[0]} numbers, but h "
            f"{_shape(h)}, c {_shape(c)}, n_time {n_time}, {kernels} bandwidths and the rest make {n_in}"
        )


def _shape(x: Array | None) -> tuple[int, ...] | None:
    return None if x is None else tuple(x.shape)
