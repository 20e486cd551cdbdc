"""Activations of input-convex and self-normalising networks, with pullbacks; others are in ``layers``."""

from refwfm._array import Array, asarray_like, check_floating, nonnegative
from refwfm.networks.layers import Pullback

SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772
"""With these a layer keeps mean 0 and variance 1 (Klambauer et al., 2017, equation 14)."""


def leaky_relu(x: Array, /, *, slope: float = 0.01) -> tuple[Array, Pullback]:
    """Leaky rectifier: ``x`` where positive, else ``slope x``, elementwise; ``pullback: d_y -> d_x``.

    Equation: META-OT-10, META-OT-16. Their σ.

    Examples
    --------
    >>> y, pullback = leaky_relu(np.asarray([-2.0, 3.0]), slope=0.5)
    >>> y.tolist(), pullback(np.ones(2)).tolist()
    ([-1.0, 3.0], [0.5, 1.0])
    """
    rate = leaky_slope(x, slope=slope)
    return rate * x, lambda d_y: d_y * rate


def leaky_slope(x: Array, /, *, slope: float = 0.01) -> Array:
    """Derivative of ``leaky_relu``: 1 where x is positive, else ``slope``.

    Equation: META-OT-10, META-OT-16. Their ``s = σ'``, constant between the kinks.

    Examples
    --------
    >>> leaky_slope(np.asarray([-2.0, 3.0]), slope=0.5).tolist()
    [0.5, 1.0]
    """
    xp = check_floating(x=x)
    return xp.where(xp.isnan(x), x, xp.where(x > 0, asarray_like(1.0, x), asarray_like(slope, x)))


def softplus(x: Array, /) -> tuple[Array, Pullback]:
    """Smooth rectifier ``log(1 + exp x)``, positive, elementwise; ``pullback: d_y -> d_x``.

    Equation: META-OT-10, META-OT-16. Makes weights positive without a constraint.

    Examples
    --------
    >>> y, pullback = softplus(np.asarray([0.0, 800.0]))
    >>> y.round(4).tolist(), pullback(np.ones(2)).tolist()
    ([0.6931, 800.0], [0.5, 1.0])
    """
    xp = check_floating(x=x)
    y = nonnegative(x) + xp.log1p(xp.exp(-xp.abs(x)))  # exp(x) would overflow
    return y, lambda d_y: d_y * (0.5 * (1.0 + xp.tanh(0.5 * x)))  # 1 / (1 + exp(-x)) would overflow


def selu(x: Array, /) -> tuple[Array, Pullback]:
    """Self-normalising unit ``λ x`` where positive, else ``λ α (exp x - 1)``; ``pullback: d_y -> d_x``.

    Equation: META-FM-5.

    Examples
    --------
    >>> y, pullback = selu(np.asarray([-800.0, 1.0]))
    >>> y.round(4).tolist(), pullback(np.ones(2)).round(4).tolist()
    ([-1.7581, 1.0507], [0.0, 1.0507])
    """
    xp = check_floating(x=x)
    y = SELU_SCALE * (xp.clip(x, min=0.0) + SELU_ALPHA * xp.expm1(xp.clip(x, max=0.0)))

    def pullback(d_y: Array) -> Array:
        # λ α exp x is y + λ α; where y is positive, λ: sums, for a choice takes longer than both.
        steep = xp.astype(y > 0, y.dtype) * (SELU_SCALE * (SELU_ALPHA - 1.0))
        return d_y * (xp.clip(y, max=0.0) + SELU_SCALE * SELU_ALPHA - steep)

    return y, pullback
