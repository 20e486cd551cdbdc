"""Displacement interpolation of point clouds: every point moves on a straight line to its image."""

from refwfm._array import Array, expand


def displacement(x: Array, images: Array, t: Array, /) -> Array:
    """Points ``(1 - t) x + t T(x)`` at time t. Equation: WFM-4."""
    t = expand(t, 2)
    return (1.0 - t) * x + t * images


def displacement_velocity(x: Array, images: Array, /) -> Array:
    """Velocity ``T(x) - x`` of every point, the same at all times. Equation: WFM-7."""
    return images - x
