"""Trivial predictions of how a population changes, and what no map that ignores the population can do better.

Whatever a model predicts should be nearer to the truth than these: particles left where they are, particles
all moved by what the populations of the training set moved to on average, and, which a prediction cannot
know, to their own true mean.
"""

from refwfm._array import Array, array_namespace, check_floating, machine_eps, sq_norm
from refwfm._derivatives import is_traced


def identity(x0: Array, /) -> Array:
    """Particles where they are: the floor "nothing happens". Shape (..., n, d), as ``x0``.

    Equation: META-FM-18. Identity.

    Examples
    --------
    >>> identity(np.asarray([[1.0], [2.0]])).tolist()
    [[1.0], [2.0]]
    """
    check_floating(x0=x0)
    _check_particles(x0, None, "x0")
    return x0


def mean_shift(x0: Array, treated_means: Array, /, *, weights: Array | None = None) -> Array:
    """Particles moved together until their mean is that of the treated means ``x0 - μ0 + mean_i μ1^i``.

    Equation: META-FM-18. Mean shift.

    Parameters
    ----------
    x0 : array, shape (..., n, d)
        Particles before.
    treated_means : array, shape (..., N, d)
        Mean after of each training population; each counts the same, whatever its size and its treatment.
    weights : array, shape (..., n), optional
        Of the particles, summing to 1; those of weight 0 are padding. All the same when left out.

    Returns
    -------
    array, shape (..., n, d). Units: those of ``x0``.

    Raises
    ------
    ValueError
        If shapes disagree, or there is no particle or no training population.

    Examples
    --------
    >>> mean_shift(np.asarray([[0.0], [2.0]]), np.asarray([[4.0], [8.0]])).tolist()
    [[5.0], [7.0]]
    """
    xp = check_floating(x0=x0, treated_means=treated_means)
    _check_particles(x0, weights, "x0")
    _check_same_dimension(x0, treated_means, "treated_means")
    return x0 + (xp.mean(treated_means, axis=-2) - _mean(x0, weights))[..., None, :]


def mean_shift_by_condition(
    x0: Array,
    condition: Array,
    treated_means: Array,
    conditions: Array,
    /,
    *,
    weights: Array | None = None,
) -> Array:
    """Mean shift to those training populations that were under the same condition.

    Equation: META-FM-18. Mean shift, within a condition.

    Parameters
    ----------
    x0 : array, shape (..., n, d)
    condition : array, shape (..., c)
        Of each population, such as a one-hot treatment.
    treated_means : array, shape (N, d)
    conditions : array, shape (N, c)
        Of the training populations: the same condition is the same numbers.
    weights : array, shape (..., n), optional
        See ``mean_shift``.

    Returns
    -------
    array, shape (..., n, d). Units: those of ``x0``.

    Raises
    ------
    ValueError
        If shapes disagree, or no training population was under a condition (on a GPU this waits for the
        device; while JAX traces, the answer is NaN instead).

    Examples
    --------
    >>> x0, means = np.asarray([[0.0], [2.0]]), np.asarray([[4.0], [8.0]])
    >>> mean_shift_by_condition(x0, np.asarray([0.0, 1.0]), means, np.eye(2)).tolist()
    [[7.0], [9.0]]
    """
    xp = check_floating(x0=x0, condition=condition, treated_means=treated_means, conditions=conditions)
    _check_particles(x0, weights, "x0")
    _check_same_dimension(x0, treated_means, "treated_means")
    n, c = treated_means.shape[0], conditions.shape[-1]
    if treated_means.ndim != 2 or tuple(conditions.shape) != (n, c):
        raise ValueError(
            "treated_means and conditions must have shapes (N, d) and (N, c); "
            f"got {tuple(treated_means.shape)} and {tuple(conditions.shape)}"
        )
    if tuple(condition.shape) != (*x0.shape[:-2], c):
        raise ValueError(
            f"condition must have shape {(*x0.shape[:-2], c)}, the leading axes of x0 and the columns of "
            f"conditions; got {tuple(condition.shape)}"
        )
    same = xp.all(condition[..., None, :] == conditions, axis=-1)  # (..., N)
    if not is_traced(same) and not bool(xp.all(xp.any(same, axis=-1))):
        unseen = int(xp.sum(xp.astype(~xp.any(same, axis=-1), xp.int64)))
        raise ValueError(
            f"condition: no training population was under that of {unseen} of the populations; leave them "
            "out, or use mean_shift, which does not read it"
        )
    count = xp.sum(xp.astype(same, x0.dtype), axis=-1)
    # Not a product with 0: what is NaN or infinite under another condition is not to come in.
    total = xp.sum(xp.where(same[..., None], treated_means, xp.zeros_like(treated_means)), axis=-2)
    return x0 + (total / count[..., None] - _mean(x0, weights))[..., None, :]


def ideal_shift(
    x0: Array, x1: Array, /, *, weights: Array | None = None, target_weights: Array | None = None
) -> Array:
    """Particles moved together to the true mean after, ``x0 - μ0 + μ1``: no floor but the best shift.

    Of all shifts it has the least squared Wasserstein distance to ``x1``. It reads the answer: a model that
    is nearer predicts more than a mean.

    Equation: META-FM-18. Ideal shift.

    Parameters
    ----------
    x0, x1 : arrays, shapes (..., n, d) and (..., m, d)
        Particles before and after.
    weights, target_weights : arrays, shapes (..., n) and (..., m), optional
        See ``mean_shift``.

    Returns
    -------
    array, shape (..., n, d). Units: those of ``x0``.

    Raises
    ------
    ValueError
        If shapes disagree, or a population has no particle.

    Examples
    --------
    >>> ideal_shift(np.asarray([[0.0], [2.0]]), np.asarray([[4.0]])).tolist()
    [[3.0], [5.0]]
    """
    check_floating(x0=x0, x1=x1)
    _check_particles(x0, weights, "x0")
    _check_same_dimension(x0, x1, "x1", target_weights)
    return x0 + (_mean(x1, target_weights) - _mean(x0, weights))[..., None, :]


def unread_floor(fractions: Array, shifts: Array, /) -> Array:
    """Least error in the means of any map that does not read the population it is applied to.

    Where every population is a mixture ``p_i = Σ_k f_ik q_k`` of the same K components, a map T, whatever it
    is, moves the mean of population i by ``Σ_k f_ik D_k`` with ``D_k = E_{q_k}[T(x) - x]``: linear in the
    fractions. True shifts of the means that are not cannot be met, and what is left of them is

    ``min_D sqrt(mean_i ‖shift_i - Σ_k f_ik D_k‖²)``,

    which bounds the root mean square of ``W_2(T_# p_i, true p_i after)``, and of ``W_1``, from below. A map
    that reads fractions, or an embedding that shows them, has no such bound.

    Equation: META-FM-19.

    Parameters
    ----------
    fractions : array, shape (..., N, K)
        Share of each component in each population.
    shifts : array, shape (..., N, d)
        True differences of the means after and before.

    Returns
    -------
    array, shape (...). Units: those of ``shifts``.

    Raises
    ------
    ValueError
        If shapes disagree, or there is no population or component.

    Examples
    --------
    >>> w = np.asarray([0.0, 0.5, 1.0])[:, None]
    >>> two = np.concatenate([w, 1 - w], axis=1)
    >>> bool(unread_floor(two, 3 * w - 1) < 1e-12)  # a straight line in w: some map does it
    True
    >>> round(float(unread_floor(two, w * (1 - w))) ** 2, 6)  # no line comes nearer than 1/12, -1/6, 1/12
    0.013889
    """
    xp = check_floating(fractions=fractions, shifts=shifts)
    _check_particles(fractions, None, "fractions")
    _check_particles(shifts, None, "shifts")
    if tuple(fractions.shape[:-1]) != tuple(shifts.shape[:-1]):
        raise ValueError(
            "fractions and shifts must have shapes (..., N, K) and (..., N, d) with the same leading axes; "
            f"got {tuple(fractions.shape)} and {tuple(shifts.shape)}"
        )
    # In units of the largest shift, so that squares do not overflow.
    unit = xp.max(xp.abs(shifts), axis=(-2, -1))
    unit = xp.where(unit == 0, xp.ones_like(unit), unit)
    shifts = shifts / unit[..., None, None]
    # NaN in the fractions of one family is its own NaN: the decomposition would fail for all.
    finite = xp.all(xp.isfinite(fractions), axis=(-2, -1))
    fractions = xp.where(finite[..., None, None], fractions, xp.zeros_like(fractions))
    # Fractions that differ by rounding only, as where all populations have the same, explain nothing.
    rtol = 10 * max(fractions.shape[-2:]) * machine_eps(fractions)
    left = shifts - fractions @ (xp.linalg.pinv(fractions, rtol=rtol) @ shifts)
    floor = unit * xp.sqrt(xp.mean(sq_norm(left), axis=-1))
    return xp.where(finite, floor, xp.full_like(floor, xp.nan))


def _mean(x: Array, weights: Array | None) -> Array:
    """Mean of the particles, shape (..., d); what padding holds has no effect."""
    xp = array_namespace(x)
    if weights is None:
        return xp.mean(x, axis=-2)
    return xp.sum(xp.where((weights != 0)[..., None], weights[..., None] * x, xp.zeros_like(x)), axis=-2)


def _check_particles(x: Array, weights: Array | None, name: str) -> None:
    if x.ndim < 2 or 0 in x.shape[-2:]:
        raise ValueError(
            f"{name} must have shape (..., n, d) with at least one row and column; got {tuple(x.shape)}"
        )
    if weights is not None:
        check_floating(**{name: x, f"weights of {name}": weights})
        if tuple(weights.shape) != tuple(x.shape[:-1]):
            raise ValueError(
                f"weights of {name} must have shape {tuple(x.shape[:-1])}; got {tuple(weights.shape)}"
            )


def _check_same_dimension(x0: Array, other: Array, name: str, weights: Array | None = None) -> None:
    _check_particles(other, weights, name)
    if x0.shape[-1] != other.shape[-1]:
        raise ValueError(
            f"x0 and {name} must live in the same dimension; got {x0.shape[-1]} and {other.shape[-1]}"
        )
