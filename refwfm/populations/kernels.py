"""What a particle sees of its population at several scales: kernel estimates of the density about it.

This is ours, not the paper's, whose velocity is told one vector of the whole population, the same for all
of its particles. A flow that takes noise off is a multiple of the gradient of a log-density, and kernels
estimate that gradient from the particles themselves: for populations that no training has seen as well as for
others. Particles that are trained on must not see themselves, or the way they have come would tell where they
go.
"""

import math
from collections.abc import Sequence

from refwfm._array import Array, asarray_like, check_floating, nonnegative, sq_distances
from refwfm.populations.graphs import check_mask


def kernel_readout(
    x: Array, particles: Array, mask: Array | None = None, /, *, bandwidths: Sequence[float]
) -> tuple[Array, Array]:
    """Steps to kernel means of a population, and distances to it, at each bandwidth.

    Equation: META-FM-20. ``(Σ_j w_j x_j - x) / s = s ∇ log p_s(x)``, ``w = softmax_j(-‖x - x_j‖² / 2 s²)``;
    ``s sqrt(-2 log mean_j exp(-‖x - x_j‖² / 2 s²))``. Ours, not the paper's.

    Parameters
    ----------
    x : array, shape (B, n, d)
        Where to look from.
    particles : array, shape (B, m, d)
        Of each population.
    mask : array of bool, shape (B, m), optional
        Which of them are live. Where none are, both results are 0.
    bandwidths : sequence of K float
        Standard deviations s of the kernels, positive. Units: those of ``x``.

    Returns
    -------
    steps : array, shape (B, n, K, d)
        In units of the bandwidths. Times ``1 / s``, the gradient of the logarithm of the kernel estimate.
    distances : array, shape (B, n, K)
        What distance one particle alone would have for as much density. Units: those of ``x``.

    Raises
    ------
    TypeError, ValueError
        If arrays are of different kinds, shapes disagree, or a bandwidth is not positive.

    Examples
    --------
    >>> x, one = np.zeros((1, 1, 2)), np.asarray([[[3.0, 4.0]]])
    >>> steps, distances = kernel_readout(x, one, bandwidths=(1.0, 5.0))
    >>> steps.tolist(), distances.round(9).tolist()  # one particle is its own mean
    ([[[[3.0, 4.0], [0.6, 0.8]]]], [[[5.0, 5.0]]])
    """
    xp = check_floating(x=x, particles=particles)
    if (
        x.ndim != 3
        or particles.ndim != 3
        or (x.shape[0], x.shape[2]) != (particles.shape[0], particles.shape[2])
    ):
        raise ValueError(
            "x and particles must have shapes (B, n, d) and (B, m, d); got "
            f"{tuple(x.shape)} and {tuple(particles.shape)}"
        )
    check_mask(mask, particles)
    bandwidths = tuple(bandwidths)
    if not bandwidths or not all(0 < s < math.inf for s in bandwidths):
        raise ValueError(f"bandwidths must be positive numbers, at least one; got {bandwidths}")
    widest = max(bandwidths)
    if mask is not None:
        particles = xp.where(mask[..., None], particles, 0.0)
    sq = sq_distances(x / widest, particles / widest)
    steps, distances = [], []
    for s in bandwidths:
        mean, log_density = _kernel_mean(sq * (-0.5 * (widest / s) ** 2), particles, mask)
        steps.append((mean - x) / s)
        distances.append(s * xp.sqrt(nonnegative(-2.0 * log_density)))
    step, distance = xp.stack(steps, axis=-2), xp.stack(distances, axis=-1)
    if mask is None:
        return step, distance
    anybody = xp.any(mask, axis=-1)[:, None, None]
    return xp.where(anybody[..., None], step, 0.0), xp.where(anybody, distance, 0.0)


def _kernel_mean(scores: Array, particles: Array, mask: Array | None) -> tuple[Array, Array]:
    """Means of particles with weights ``exp(scores)``, and the logarithm of the mean weight."""
    xp, count = check_floating(scores=scores, particles=particles), scores.shape[-1]
    if mask is not None:
        live = mask[:, None, :]
        scores = xp.where(live, scores, asarray_like(-math.inf, scores))
        count = xp.sum(xp.astype(live, scores.dtype), axis=-1, keepdims=True)
        nobody = count == 0
        count = xp.where(nobody, xp.ones_like(count), count)
    top = xp.max(scores, axis=-1, keepdims=True)
    if mask is not None:
        top = xp.where(nobody, 0.0, top)
    weights = xp.exp(scores - top)
    total = xp.sum(weights, axis=-1, keepdims=True)
    if mask is not None:
        total = xp.where(nobody, 1.0, total)
    log_density = top + xp.log(total / count)
    return (weights @ particles) / total, log_density[..., 0]
