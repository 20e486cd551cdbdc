"""Attention over the population: every moving particle reads the encoded particles of its population.

This is ours, not the paper's, whose velocity is told one vector of the whole population, the same for all
of its particles. Here each is told what is near it: a softmax with scores ``-‖x - x_j‖² / 2 s²`` is the mean
of a kernel estimate, and with a key that holds ``x_j`` and ``‖x_j‖²`` it is a product of query and key.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from refwfm._array import Array, array_namespace, check_floating, sq_norm
from refwfm.networks.activations import selu
from refwfm.networks.attention import attention
from refwfm.networks.layers import Params, dense, init_dense
from refwfm.populations.graphs import check_mask

if TYPE_CHECKING:
    from numpy.random import Generator


def init_attention_readout(
    rng: "Generator",
    n_place: int,
    d: int,
    n_particle: int,
    /,
    *,
    like: Array,
    width: int = 64,
    heads: int = 4,
) -> Params:
    """Draw the parameters of ``attention_readout``.

    Parameters
    ----------
    rng : numpy.random.Generator
    n_place : int
        Length of what is known of a moving particle.
    d, n_particle : int
        Coordinates of a particle of the population, and length of its encoding.
    like : array
        Fixes library, dtype and device.
    width, heads : int
        The heads must divide the width.

    Raises
    ------
    ValueError
        If they do not.
    """
    if heads < 1 or width < 1 or width % heads:
        raise ValueError(f"heads must divide the width {width}; got {heads}")
    return {
        "place": init_dense(rng, n_place, width, like=like, scale=1.0),
        "query": init_dense(rng, width, width, like=like, scale=1.0),
        "key": init_dense(rng, n_particle + d + 1, width, like=like, scale=1.0),
        "value": init_dense(rng, n_particle + d + 1, width, like=like, scale=1.0),
        "out": init_dense(rng, width, width, like=like, scale=1.0),
    }


def attention_readout(
    params: Params,
    place: Array,
    coordinates: Array,
    encodings: Array,
    mask: Array | None = None,
    /,
    *,
    heads: int = 4,
) -> tuple[Array, Callable[[Array], tuple[Params, Array]]]:
    """What each moving particle reads of its population: attention, in several subspaces at once.

    Equation: META-FM-7. ``out(attention(query(selu(place(s))), key(p), value(p)))`` with s what is known of
    the moving particle and ``p = [encoding, x, ‖x‖²]`` of those of the population. Ours, not the paper's.

    Parameters
    ----------
    params : dict
        As ``init_attention_readout`` returns them.
    place : array, shape (B, n, n_place)
        Features of time and space of the moving particles, and where they are.
    coordinates, encodings : array, shapes (B, m, d) and (B, m, n_particle)
        Of the population's particles: ``encode_particles``.
    mask : array of bool, shape (B, m), optional
        Which of them are live. Of none of them there is nothing to read: what comes out then means nothing.
    heads : int

    Returns
    -------
    read : array, shape (B, n, width)
    pullback : function
        ``d_read -> (d_params, d_encodings)``. It keeps the weights, an array (B, heads, n, m).

    Notes
    -----
    Moving particles do not see each other: many can be moved a part at a time.

    Examples
    --------
    >>> rng, like = np.random.default_rng(0), np.zeros(0)
    >>> params = init_attention_readout(rng, 3, 2, 4, like=like, width=6, heads=2)
    >>> place, x, z = np.ones((1, 5, 3)), np.ones((1, 7, 2)), np.ones((1, 7, 4))
    >>> read, _ = attention_readout(params, place, x, z, heads=2)
    >>> read.shape
    (1, 5, 6)
    """
    xp = check_floating(
        place=place, coordinates=coordinates, encodings=encodings, params=params["out"]["bias"]
    )
    width = params["out"]["bias"].shape[0]
    fit = place.ndim == coordinates.ndim == encodings.ndim == 3
    if not fit or place.shape[0] != coordinates.shape[0] or encodings.shape[:2] != coordinates.shape[:2]:
        raise ValueError(
            "place, coordinates and encodings must have shapes (B, n, q), (B, m, d) and (B, m, e); got "
            f"{tuple(place.shape)}, {tuple(coordinates.shape)} and {tuple(encodings.shape)}"
        )
    if heads < 1 or width % heads:
        raise ValueError(f"heads must divide the width {width}; got {heads}")
    check_mask(mask, coordinates)
    particles = xp.concat([encodings, coordinates, sq_norm(coordinates)[..., None]], axis=-1)
    if mask is not None:
        particles = xp.where(mask[..., None], particles, 0.0)
    s, pull_place = dense(params["place"], place)
    s, pull_selu = selu(s)
    query, pull_query = dense(params["query"], s)
    key, pull_key = dense(params["key"], particles)
    value, pull_value = dense(params["value"], particles)
    q, k, v = (_split(part, heads) for part in (query, key, value))
    read, pull_attention = attention(q, k, v, None if mask is None else mask[:, None, :])
    y, pull_out = dense(params["out"], _merge(read))

    def pullback(d_y: Array) -> tuple[Params, Array]:
        d_out, d_read = pull_out(d_y)
        d_query, d_key, d_value = (_merge(part) for part in pull_attention(_split(d_read, heads)))
        d_params_query, d_s = pull_query(d_query)
        d_params_key, by_key = pull_key(d_key)
        d_params_value, by_value = pull_value(d_value)
        d_encodings = (by_key + by_value)[..., : encodings.shape[-1]]
        if mask is not None:
            d_encodings = xp.where(mask[..., None], d_encodings, 0.0)
        d_params = {
            "place": pull_place(pull_selu(d_s))[0],
            "query": d_params_query,
            "key": d_params_key,
            "value": d_params_value,
            "out": d_out,
        }
        return d_params, d_encodings

    return y, pullback


def _split(x: Array, heads: int) -> Array:
    """(B, n, width) to (B, heads, n, width / heads)."""
    xp, (size, n, width) = array_namespace(x), x.shape
    return xp.permute_dims(xp.reshape(x, (size, n, heads, width // heads)), (0, 2, 1, 3))


def _merge(x: Array) -> Array:
    """(B, heads, n, c) to (B, n, heads c)."""
    xp, (size, heads, n, c) = array_namespace(x), x.shape
    return xp.reshape(xp.permute_dims(x, (0, 2, 1, 3)), (size, n, heads * c))
