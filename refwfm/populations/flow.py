"""The particles of populations along a field: in equal steps, or in steps as large as an error allows.

The steps are those of ``generation``; here the field takes points without weights, and may know the
population it is asked for.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from refwfm._array import Array, array_namespace, asarray_like, check_floating, to_host
from refwfm._derivatives import without_derivative
from refwfm.clouds import uniform
from refwfm.evidence import ConvergenceError
from refwfm.generation import generate_clouds
from refwfm.measures import NonFiniteError

Field = Callable[[Array, Array], Array]
"""``field(x, t)``: velocities (B, n, d) of the particles x (B, n, d) of B populations at times t (B,)."""


class Adapted(NamedTuple):
    """Particles at t = 1, and how often the field was asked.

    Attributes
    ----------
    points : array, shape (B, n, d)
    evaluations, steps : int
    """

    points: Array
    evaluations: int
    steps: int


def integrate(field: Field, x: Array, /, *, n_steps: int, method: str = "heun") -> Array:
    """Particles of populations at t = 1, along a field from t = 0 in ``n_steps`` equal steps.

    Equation: META-FM-14.

    Parameters
    ----------
    field : callable
        ``field(x, t)`` with x (B, n, d) and t (B,): velocities (B, n, d). Heun and rk4 ask at t = 1 too.
    x : array, shape (B, n, d)
        Particles at t = 0. Rows of padding may be anything that the field takes.
    n_steps : int
    method : str
        ``euler``, ``midpoint``, ``heun`` or ``rk4``, of order 1, 2, 2, 4.

    Returns
    -------
    array, shape (B, n, d)

    Raises
    ------
    TypeError, ValueError
        As ``generation.generate_clouds`` does.

    Examples
    --------
    >>> integrate(lambda x, t: x, np.ones((1, 1, 1)), n_steps=1).tolist()  # 1 + 1 + 1/2
    [[[2.5]]]
    """
    _check_batch(x)
    source = uniform(x)
    return generate_clouds(
        lambda cloud, t: field(cloud.points, t), source, n_steps=n_steps, method=method
    ).points


def integrate_adaptively(
    field: Field, x: Array, /, *, rtol: float = 1e-4, atol: float = 1e-4, max_evaluations: int = 100_000
) -> Adapted:
    """Particles of populations at t = 1, by Dormand and Prince's steps of order 5 with errors of order 4.

    Equation: META-FM-14. SciPy's ``RK45``, on the host in float64; the field is asked where x is.

    Parameters
    ----------
    field : callable
        ``field(x, t)`` with x (B, n, d) and t (B,): velocities (B, n, d).
    x : array, shape (B, n, d)
    rtol, atol : float, positive
        Error allowed in a step, ``atol + rtol |x|``, as a root mean square over *all* coordinates of all
        particles: populations of one call share their steps, and one of many may err by more. ``atol`` is in
        units of the data.
    max_evaluations : int
        Of the field, before giving up.

    Returns
    -------
    Adapted, points in the library, dtype and device of x, without a derivative

    Raises
    ------
    NonFiniteError
        If the field gives NaN or infinity.
    ConvergenceError
        If steps became too small, or too many.

    Examples
    --------
    >>> found = integrate_adaptively(lambda x, t: x, np.ones((1, 1, 1)), rtol=1e-9, atol=1e-9)
    >>> round(float(found.points[0, 0, 0]), 6), found.evaluations > 20
    (2.718282, True)
    """
    from scipy.integrate import RK45

    _check_batch(x)
    for name, value in (("rtol", rtol), ("atol", atol)):
        if not value > 0:
            raise ValueError(f"{name} must be positive; got {value!r}")
    xp, shape = array_namespace(x), tuple(x.shape)

    def velocity(t: float, state: np.ndarray) -> np.ndarray:
        points = asarray_like(state.reshape(shape), x)
        found = field(points, xp.full_like(points[:, 0, 0], t))
        check_floating(x=x, **{"the field's velocity": found})
        if tuple(found.shape) != shape:
            raise ValueError(
                f"the field must give a velocity for each particle, {shape}; got {tuple(found.shape)}"
            )
        host = to_host(found).astype(np.float64).ravel()
        if not np.all(np.isfinite(host)):
            raise NonFiniteError(f"the field gives NaN or infinity at t = {t:.6g}")
        return host

    solver = RK45(velocity, 0.0, to_host(x).astype(np.float64).ravel(), 1.0, rtol=rtol, atol=atol)
    steps = 0
    while solver.status == "running":
        if solver.nfev > max_evaluations:
            raise ConvergenceError(
                f"t = {solver.t:.6g} after {solver.nfev} evaluations of the field: raise max_evaluations, or "
                "rtol and atol"
            )
        why = solver.step()
        steps += 1
    if solver.status != "finished":
        raise ConvergenceError(f"the step became too small at t = {solver.t:.6g}: {why}; raise rtol and atol")
    points = asarray_like(solver.y.reshape(shape), x)
    return Adapted(without_derivative(points, "what SciPy integrates", x), solver.nfev, steps)


def _check_batch(x: Array) -> None:
    check_floating(x=x)
    if x.ndim != 3 or 0 in x.shape[1:]:
        raise ValueError(f"x must have shape (B, n, d) with n, d >= 1; got {tuple(x.shape)}")
