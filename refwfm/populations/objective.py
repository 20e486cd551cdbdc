"""The objective of flow matching between populations of particles: the loss and its gradient.

One loss, by what the velocity is told of the population, ``CONDITIONS``:

=============  ==============  ==================================================
condition      in the paper    the velocity is told
=============  ==============  ==================================================
``none``       FM              nothing
``index``      CGFM            which population it is, one-hot
``embedding``  MFM             the embedding of the particles that the flow moves
=============  ==============  ==================================================

References
----------
Atanackovic et al., "Meta Flow Matching: integrating vector fields on the Wasserstein manifold", 2024.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from refwfm._array import Array, array_namespace, check_floating
from refwfm.networks.layers import Params
from refwfm.populations.embedding import Told, check_record, tell
from refwfm.populations.graphs import check_mask
from refwfm.populations.pairs import linear_path
from refwfm.populations.velocity import velocity

CONDITIONS = ("none", "index", "embedding")
PARTS = ("velocity", "embedding")


class Population(NamedTuple):
    """The particles that an embedding reads.

    Attributes
    ----------
    x : array, shape (B, m, d)
    index : array of integers, shape (B, m, k)
        Their graph: ``knn_graph``.
    marks : array, shape (B, m, q), or None
    mask : array of bool, shape (B, m), or None
        Live particles; None if all are.
    """

    x: Array
    index: Array
    marks: Array | None = None
    mask: Array | None = None


class ParticleBatch(NamedTuple):
    """One training step: particles in pairs, of B populations.

    Attributes
    ----------
    x0, x1 : array, shape (B, n, d)
        Where each particle starts and ends.
    t : array, shape (B, n)
    mask : array of bool, shape (B, n), or None
        Live pairs; None if all are. Padding has no influence, whatever it holds.
    condition : array, shape (B, c), or None
        What was done to each population.
    population : Population or None
        What the embedding reads; not the noise that a flow may start from.
    indicator : array, shape (B, N), or None
        One-hot numbers of the populations: ``pairs.indicators``.
    """

    x0: Array
    x1: Array
    t: Array
    mask: Array | None = None
    condition: Array | None = None
    population: Population | None = None
    indicator: Array | None = None


def flow_matching_loss(v: Array, u: Array, mask: Array | None = None, /) -> tuple[Array, Array]:
    """Squared error of velocities, averaged over the particles of a population and then over populations.

    Equation: META-FM-8. ``mean_i mean_j ‖v_ij - u_ij‖²``.

    Parameters
    ----------
    v, u : array, shape (B, n, d)
        Velocities as the network has them, and as they should be.
    mask : array of bool, shape (B, n), optional
        Live particles; a population without any counts as one without error.

    Returns
    -------
    value : array, shape ()
    gradient : array, shape (B, n, d)
        With respect to v.

    Examples
    --------
    >>> value, gradient = flow_matching_loss(np.ones((1, 2, 1)), np.asarray([[[1.0], [4.0]]]))
    >>> float(value), gradient.tolist()
    (4.5, [[[0.0], [-3.0]]])
    """
    xp, weights = _weights(v, u, mask)
    error = v - u if mask is None else xp.where(mask[..., None], v - u, 0.0)
    weighted = weights * error
    return xp.sum(weighted * error), 2.0 * weighted


def flow_matching_loss_without_constant(
    v: Array, u: Array, mask: Array | None = None, /
) -> tuple[Array, Array]:
    """The public code's loss ``‖v‖² - 2 ⟨v, u⟩``: less by ``‖u‖²``, on which no parameter has an influence.

    Equation: META-FM-8. Parameters and results as for ``flow_matching_loss``; the gradient is the same.

    Examples
    --------
    >>> value, gradient = flow_matching_loss_without_constant(np.ones((1, 1, 1)), np.full((1, 1, 1), 4.0))
    >>> float(value), gradient.tolist()  # 1 - 8; the loss is 9
    (-7.0, [[[-6.0]]])
    """
    xp, weights = _weights(v, u, mask)
    if mask is not None:
        v, u = (xp.where(mask[..., None], part, 0.0) for part in (v, u))
    return xp.sum(weights * v * (v - 2.0 * u)), 2.0 * weights * (v - u)


def _weights(v: Array, u: Array, mask: Array | None) -> tuple[Any, Array | float]:
    """Share of each particle in the mean, shape (B, n, 1)."""
    xp = check_floating(v=v, u=u)
    if v.ndim != 3 or v.shape != u.shape or v.shape[0] == 0:
        raise ValueError(
            f"v and u must have the same shape (B, n, d), B >= 1; got {tuple(v.shape)} and {tuple(u.shape)}"
        )
    check_mask(mask, v)
    if mask is None:
        return xp, 1.0 / (v.shape[0] * v.shape[1])
    live = xp.astype(mask, v.dtype)[..., None]
    return xp, live / (v.shape[0] * xp.clip(xp.sum(live, axis=1, keepdims=True), min=1.0))


# Of a batch


def loss_and_grad(
    params: Params,
    batch: ParticleBatch,
    /,
    *,
    condition: str = "embedding",
    told: Told | None = None,
    parts: Sequence[str] = PARTS,
    with_constant: bool = True,
    embedding: Mapping[str, Any] | None = None,
    **options: Any,
) -> tuple[Array, Params]:
    """Loss of a batch, and its gradient, through the velocity into the embedding.

    Equation: META-FM-8. ``mean ‖v_t(x_t | h, c) - (x1 - x0)‖²``.

    Parameters
    ----------
    params : dict
        ``velocity``, and ``embedding`` where the condition is one.
    batch : ParticleBatch
    condition : str
        What the velocity is told: a name of ``CONDITIONS``.
    told : Told, optional
        What an embedding said before, taken as constant: for steps that change the velocity alone. The
        embedding then gets no gradient.
    parts : sequence of str
        Parts whose gradient is wanted: ``velocity``, ``embedding``.
    with_constant : bool
        Whether the loss is the squared error, or the public code's without ``‖u‖²``.
    embedding : dict, optional
        Options of ``tell``: ``pooling``, ``activations``.
    **options
        Of ``velocity``: ``skip``, ``n_time``, ``heads``, ``bandwidths``.

    Returns
    -------
    loss : array, shape ()
    grads : dict
        The wanted parts, each like its parameters.

    Raises
    ------
    ValueError
        If the condition is unknown, or the batch lacks what it needs.

    Examples
    --------
    >>> from refwfm.populations.velocity import init_velocity
    >>> params = {"velocity": init_velocity(np.random.default_rng(0), 2, like=np.zeros(0), width=8)}
    >>> batch = ParticleBatch(np.zeros((1, 3, 2)), np.ones((1, 3, 2)), np.full((1, 3), 0.5))
    >>> loss, grads = loss_and_grad(params, batch, condition="none")
    >>> round(float(loss), 12), sorted(grads)  # ‖0 - (1, 1)‖²
    (2.0, ['velocity'])
    """
    check_record(batch, ParticleBatch, "batch")
    h, told, pull_told = _condition(params, batch, condition, told, dict(embedding or {}))
    wanted = set(parts)
    if not wanted or wanted - set(PARTS) or (wanted == {"embedding"} and pull_told is None):
        raise ValueError(
            f"parts must be some of {', '.join(PARTS)}, the embedding only where one is computed; got {parts}"
        )
    xp, mask, x0, x1 = array_namespace(batch.x0), batch.mask, batch.x0, batch.x1
    if mask is not None:
        check_mask(mask, x0)
        x0, x1 = (xp.where(mask[..., None], x, 0.0) for x in (x0, x1))
    x_t, u = linear_path(x0, x1, batch.t)
    population = told if "readout" in params["velocity"] or options.get("bandwidths") else None
    v, pull_velocity = velocity(
        params["velocity"], x_t, batch.t, h, batch.condition, population=population, **options
    )
    loss_of = flow_matching_loss if with_constant else flow_matching_loss_without_constant
    loss, d_v = loss_of(v, u, mask)
    d_velocity, d_h, d_particles = pull_velocity(d_v)
    grads = {"velocity": d_velocity} if "velocity" in wanted else {}
    if "embedding" in wanted and pull_told is not None:
        grads["embedding"] = pull_told(d_h, d_particles)
    return loss, grads


def _condition(
    params: Params, batch: ParticleBatch, condition: str, told: Told | None, options: dict[str, Any]
) -> tuple[Array | None, Told | None, Any]:
    """What the velocity is told of a population, what it may read of it, the pullback to the embedding."""
    if condition not in CONDITIONS:
        raise ValueError(f"condition must be one of {', '.join(CONDITIONS)}; got {condition!r}")
    if condition == "none":
        return None, None, None
    if condition == "index":
        if batch.indicator is None:
            raise ValueError("the condition 'index' needs the batch's indicator: see pairs.indicators")
        return batch.indicator, None, None
    if told is not None:
        check_record(told, Told, "told")
        return told.h, told, None
    if batch.population is None:
        raise ValueError("the condition 'embedding' needs the batch's population, or what was told of it")
    check_record(batch.population, Population, "population")
    x, index, marks, mask = batch.population
    told, pullback = tell(params["embedding"], x, index, marks, mask=mask, **options)
    return told.h, told, pullback
