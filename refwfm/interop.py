"""Between conventions: potentials, eps and values of entropic transport in POT, OTT-JAX and GeomLoss.

Here the cost is the squared distance, whole, and weights stand outside of the exponent:
``P_ij = a_i b_j exp((f_i + g_j - K_ij) / eps)``. A plan of mass 1 is the same array in all four libraries; of
what else there is,

=============  ================================  ====================  =====================
library        potentials                        eps                   value
=============  ================================  ====================  =====================
POT            ``log_u = f / eps + log a``       the same (``reg``)    the same (``"KL"``)
OTT-JAX        ``f + eps log a``                 the same              the same
GeomLoss       ``f / 2``                         ``2 blur²``           half
=============  ================================  ====================  =====================

Potentials are known up to a constant that moves from f to g. The converters look at nothing but their
arguments: they need none of the libraries, and take arrays of any.
"""

import math

from refwfm._array import Array, check_floating

__all__ = ["entropy_value", "from_geomloss", "from_ott", "from_pot", "to_geomloss", "to_ott", "to_pot"]


def to_pot(f: Array, g: Array, a: Array, b: Array, /, *, eps: float) -> tuple[Array, Array]:
    """Logarithms of POT's scalings: ``log["log_u"]`` of ``ot.sinkhorn``, or its argument ``warmstart``.

    Equation: none. A change of convention.

    Parameters
    ----------
    f, g : array, shapes (..., n), (..., m)
        Potentials, in units of the cost.
    a, b : array, shapes (..., n), (..., m)
        Weights.
    eps : float
        Temperature, in units of the cost: POT's ``reg``.

    Returns
    -------
    log_u, log_v : array, shapes (..., n), (..., m)
        ``f / eps + log a``, without unit; -inf where a weight is 0.

    Raises
    ------
    TypeError, ValueError
        If the arrays are not of one library, device and floating dtype, or eps is not positive and finite.

    Examples
    --------
    >>> log_u, _ = to_pot(np.asarray([1.0, 3.0]), np.zeros(1), np.full(2, 0.5), np.ones(1), eps=2.0)
    >>> (log_u - np.log(0.5)).tolist()
    [0.5, 1.5]
    """
    f, g = to_ott(f, g, a, b, eps=eps)
    return f / eps, g / eps


def from_pot(log_u: Array, log_v: Array, a: Array, b: Array, /, *, eps: float) -> tuple[Array, Array]:
    """Potentials from POT's ``log["log_u"]`` and ``log["log_v"]``; 0 where a weight is 0. See ``to_pot``.

    Equation: none. A change of convention.

    Examples
    --------
    >>> f, g = from_pot(np.log([0.25, 0.5]), np.zeros(1), np.full(2, 0.5), np.ones(1), eps=1.0)
    >>> f.round(4).tolist(), g.tolist()
    ([-0.6931, 0.0], [0.0])
    """
    check_floating(log_u=log_u, log_v=log_v, a=a, b=b)
    _check_eps(eps)
    return from_ott(eps * log_u, eps * log_v, a, b, eps=eps)


def to_ott(f: Array, g: Array, a: Array, b: Array, /, *, eps: float) -> tuple[Array, Array]:
    """Potentials of OTT-JAX, which have absorbed the weights: ``f + eps log a``. Parameters: ``to_pot``.

    Equation: none. A change of convention.

    They are the ``init`` of its solver, whose geometry has ``epsilon=eps`` and its default cost,
    ``SqEuclidean``.

    Examples
    --------
    >>> to_ott(np.asarray([1.0, 3.0]), np.zeros(1), np.ones(2), np.ones(1), eps=2.0)[0].tolist()
    [1.0, 3.0]
    """
    xp = check_floating(f=f, g=g, a=a, b=b)
    _check_eps(eps)
    log_a, log_b = (
        xp.where(each == 0, -xp.inf, xp.log(xp.where(each == 0, xp.ones_like(each), each))) for each in (a, b)
    )
    return f + eps * log_a, g + eps * log_b


def from_ott(f: Array, g: Array, a: Array, b: Array, /, *, eps: float) -> tuple[Array, Array]:
    """Potentials from those of OTT-JAX; 0 where a weight is 0, for none is known there. See ``to_ott``.

    Equation: none. A change of convention.

    Examples
    --------
    >>> a = np.asarray([0.5, 0.0])
    >>> from_ott(np.log([0.5, 1e-9]), np.zeros(1), a, np.ones(1), eps=1.0)[0].tolist()
    [0.0, 0.0]
    """
    xp = check_floating(f=f, g=g, a=a, b=b)
    _check_eps(eps)
    return tuple(
        xp.where(
            each == 0,
            xp.zeros_like(each),
            potential - eps * xp.log(xp.where(each == 0, xp.ones_like(each), each)),
        )
        for potential, each in ((f, a), (g, b))
    )


def to_geomloss(f: Array, g: Array, /, *, eps: float) -> tuple[Array, Array, float]:
    """Potentials and ``blur`` of GeomLoss's ``SamplesLoss("sinkhorn", p=2)``, whose cost is half of ours.

    Equation: none. A change of convention.

    Half the cost at half of eps has the same plan and half the value. The potentials are those of
    ``SamplesLoss(..., debias=False, potentials=True)``.

    Parameters
    ----------
    f, g : array, shapes (..., n), (..., m)
        Potentials, in units of the cost.
    eps : float
        Temperature, in units of the cost.

    Returns
    -------
    f, g : array
        Halves of them.
    blur : float
        ``√(eps / 2)``, a length.

    Raises
    ------
    TypeError, ValueError
        As for ``to_pot``.

    Examples
    --------
    >>> f, _, blur = to_geomloss(np.asarray([1.0, 3.0]), np.zeros(1), eps=0.5)
    >>> f.tolist(), blur
    ([0.5, 1.5], 0.5)
    """
    check_floating(f=f, g=g)
    _check_eps(eps)
    return f / 2.0, g / 2.0, math.sqrt(eps / 2.0)


def from_geomloss(f: Array, g: Array, /, *, blur: float) -> tuple[Array, Array, float]:
    """Potentials and eps from those of GeomLoss and its ``blur``. See ``to_geomloss``.

    Equation: none. A change of convention.

    Examples
    --------
    >>> f, _, eps = from_geomloss(np.asarray([0.5, 1.5]), np.zeros(1), blur=0.5)
    >>> f.tolist(), eps
    ([1.0, 3.0], 0.5)
    """
    check_floating(f=f, g=g)
    _check_eps(blur, "blur")
    return 2.0 * f, 2.0 * g, 2.0 * blur * blur


def entropy_value(value: Array, a: Array, b: Array, /, *, eps: float) -> Array:
    """Value with ``eps Σ P log P`` for ``eps KL(P | a ⊗ b)``: ``value + eps (Σ a log a + Σ b log b)``.

    Equation: none. A change of convention.

    It is what POT's ``ot.solve(..., reg_type="entropy").value`` and OTT-JAX's ``ent_reg_cost`` are;
    ``value``, shape (...), is ``transport.sinkhorn.dual_value`` at convergence, as are POT's with
    ``reg_type="KL"`` and OTT-JAX's ``reg_ot_cost``. Other parameters, and errors: ``to_pot``.

    Examples
    --------
    >>> half = np.full(2, 0.5)
    >>> round(float(entropy_value(np.asarray(3.0), half, half, eps=1.0)), 6)     # 3 - 2 log 2
    1.613706
    """
    xp = check_floating(value=value, a=a, b=b)
    _check_eps(eps)
    return value + eps * sum(
        xp.sum(each * xp.log(xp.where(each == 0, xp.ones_like(each), each)), axis=-1) for each in (a, b)
    )


def _check_eps(eps: float, name: str = "eps") -> None:
    if not (isinstance(eps, int | float) and 0 < eps < math.inf):
        raise ValueError(f"{name} must be a positive, finite number; got {eps!r}")
