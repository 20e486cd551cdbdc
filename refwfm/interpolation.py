"""Displacement interpolation of point clouds: every point moves on a straight line to its image.

The image of a point may come from any map or plan: an assignment (``y[perm]``), a rounded plan, an entropic
map, or drawn pairs. For the optimal map the moving cloud is the geodesic of the 2-Wasserstein distance.
"""

from numbers import Real

from refwfm._array import Array, array_namespace, check_floating, expand, shown
from refwfm.measures import check_broadcast


def displacement(x: Array, images: Array, t: Array, /, *, validate: bool = True) -> Array:
    """Points at time t on their way from x to their images, ``(1 - t) x + t T(x)``.

    Equation: WFM-4, WFM-5-clouds, WFM-PropA1, GWFM-8, GWFM-28. The weights of the points do not change.

    Parameters
    ----------
    x, images : array, shape (..., n, d). Units: data.
    t : array, shape (...), or a number
        Times in [0, 1]: 0 gives x, 1 the images, both exactly.
    validate : bool
        Check that the times lie in [0, 1]. On a GPU this waits for the device.

    Returns
    -------
    array, shape (..., n, d)

    Raises
    ------
    TypeError
        If t is an array of another dtype than x.
    ValueError
        If the shapes of x and images differ, or a time lies outside [0, 1].

    Examples
    --------
    >>> displacement(np.asarray([[0.0], [1.0]]), np.asarray([[4.0], [1.0]]), 0.25).tolist()
    [[1.0], [1.0]]
    """
    _check_images(x, images)
    if isinstance(t, Real):  # NumPy's numbers too
        t = float(t)
    else:
        check_floating(t=t)
        if t.dtype != x.dtype:
            raise TypeError(f"t must be a number or have the dtype of x, {x.dtype}; got {t.dtype}")
        check_floating(x=x, t=t)
        check_broadcast(x=x.shape[:-2], t=t.shape)
    if validate and not _all_in_unit_interval(t):
        raise ValueError(f"t must lie in [0, 1] (0 is the source, 1 the target); got {shown(t)}")
    t = expand(t, 2)
    return (1.0 - t) * x + t * images


def displacement_velocity(x: Array, images: Array, /) -> Array:
    """Velocity of the points on their way from x to their images, ``T(x) - x`` at all times.

    Equation: WFM-7, WFM-U3, WFM-5-clouds, GWFM-28. As a field it is ``(T - id) ∘ T_t⁻¹``; a particle keeps
    its velocity, so nothing is divided by ``1 - t``.

    Parameters
    ----------
    x, images : array, shape (..., n, d). Units: data.

    Returns
    -------
    array, shape (..., n, d). Units: data per unit of time.

    Examples
    --------
    >>> displacement_velocity(np.asarray([[0.0], [1.0]]), np.asarray([[4.0], [1.0]])).tolist()
    [[4.0], [0.0]]
    """
    _check_images(x, images)
    return images - x


def _check_images(x: Array, images: Array) -> None:
    check_floating(x=x, images=images)
    if x.ndim < 2 or tuple(x.shape) != tuple(images.shape):
        raise ValueError(
            "x and images must have the same shape (..., n, d), an image for each point; "
            f"got {tuple(x.shape)} and {tuple(images.shape)}"
        )


def _all_in_unit_interval(t: Array) -> bool:
    if isinstance(t, float):
        return 0 <= t <= 1
    return bool(array_namespace(t).all((t >= 0) & (t <= 1)))
