"""The synthetic families: spirals, two moons, a sphere.

The paper names them (Table 2, Figures 2 and S1) and defines none of them. These definitions are
ours: of about unit scale, with covariances that vary smoothly along the shape and are elongated
(ratios of standard deviations from 3 to 8), so that a method which gets only the means right is
seen to be wrong.
"""

import numpy as np
from numpy.typing import NDArray

from refwfm.datasets._family import Family
from refwfm.measures import Gaussian

OURS = "The paper names this family without defining it; the definition is ours. No unit, no licence needed."

Floats = NDArray[np.float64]


def spiral(n: int, /) -> Family:
    """Ellipses along two turns of an Archimedean spiral in the plane; deterministic.

    For i = 0 ... n - 1, with ``s = (i + 1/2) / n``:

    - angle ``θ = 4π √s`` (the root spaces the members about evenly along the arm), radius
      ``r = θ / 4π = √s``, mean ``r (cos θ, sin θ)``;
    - tangent angle ``φ = θ + arctan θ``, the direction of d(mean)/dθ;
    - standard deviations ``σ_t = 0.02 + 0.08 r`` along the tangent and ``σ_n = σ_t / (3 + 4 r)``
      across it, so both size and elongation grow along the arm; covariance
      ``R(φ) diag(σ_t², σ_n²) R(φ)ᵀ``.

    Parameters
    ----------
    n : int
        Number of members, at least 1; the paper has 16 and 128.

    Returns
    -------
    Family
        d = 2, no labels.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1; got {n}")
    radius = np.sqrt((np.arange(n) + 0.5) / n)
    theta = 4 * np.pi * radius
    along = 0.02 + 0.08 * radius
    return Family(
        name=f"spiral-{n}",
        gaussians=Gaussian(
            radius[:, None] * _unit(theta),
            _ellipses(theta + np.arctan(theta), along, along / (3 + 4 * radius)),
        ),
        about=f"{n} ellipses along two turns of an Archimedean spiral. {OURS}",
    )


def tutorial_spiral() -> Family:
    """Ellipses along three turns of a spiral, as in the tutorial that the authors published; deterministic.

    - Radii r: the roots of 133 equidistant numbers from 0 to 10, of which the first five are left out;
    - angle ``2 π r``, mean ``r u`` with ``u`` the unit vector at that angle;
    - covariance ``0.01 (0.9 u uᵀ + 0.1 v vᵀ)`` with ``v`` across ``u``.

    Returns
    -------
    Family
        128 members, d = 2, no labels.
    """
    radius = np.sqrt(np.linspace(0.0, 10.0, 133))[5:]
    angle = 2 * np.pi * radius
    along, across = (np.full(len(radius), np.sqrt(0.01 * share)) for share in (0.9, 0.1))
    return Family(
        name="tutorial-spiral",
        gaussians=Gaussian(radius[:, None] * _unit(angle), _ellipses(angle, along, across)),
        about="128 ellipses along three turns of a spiral, that of the authors' tutorial. No unit, no "
        "licence needed.",
    )


def two_moons(n: int = 256, *, rng: np.random.Generator) -> Family:
    """Ellipses along two interleaved half circles in the plane; labelled by half circle.

    Member i belongs to moon ``m = i mod 2`` and has ``u`` uniform on [0, π]:

    - mean ``(cos u, sin u)`` for m = 0 and ``(1 - cos u, 1/2 - sin u)`` for m = 1, both shifted by
      ``(-1/2, -1/4)`` to centre the pair, plus noise N(0, 0.05² I);
    - tangent angle ``φ = u + π/2`` for m = 0 and ``u - π/2`` for m = 1;
    - ``σ_t = 0.1 + 0.05 cos u`` along the tangent, ``σ_n = σ_t / a`` across it with ``a`` uniform on
      [3, 8]; covariance ``R(φ) diag(σ_t², σ_n²) R(φ)ᵀ``.

    Parameters
    ----------
    n : int
        Number of members, at least 2, so that both moons have some.
    rng : numpy.random.Generator

    Returns
    -------
    Family
        d = 2, labels 0 and 1: "upper" and "lower".
    """
    if n < 2:
        raise ValueError(f"n must be at least 2; got {n}")
    moon = np.arange(n) % 2
    sign = 1.0 - 2.0 * moon
    u = rng.uniform(0, np.pi, n)
    centre = np.array([-0.5, -0.25]) + moon[:, None] * np.array([1.0, 0.5])
    mean = centre + sign[:, None] * _unit(u) + 0.05 * rng.standard_normal((n, 2))
    along = 0.1 + 0.05 * np.cos(u)
    return Family(
        name="two-moons",
        gaussians=Gaussian(mean, _ellipses(u + sign * np.pi / 2, along, along / rng.uniform(3, 8, n))),
        labels=moon.astype(np.int64),
        label_names=("upper", "lower"),
        about=f"{n} ellipses along two interleaved half circles. {OURS}",
    )


def sphere(n: int = 256, /) -> Family:
    """Thin disks lying on the unit sphere in space; deterministic.

    For i = 0 ... n - 1:

    - mean at the Fibonacci point ``z = 1 - (2i + 1)/n``, longitude ``λ = i π (3 - √5)``:
      ``p = (√(1 - z²) cos λ, √(1 - z²) sin λ, z)``;
    - covariance ``σ_e² e eᵀ + σ_h² h hᵀ + τ² p pᵀ`` with ``e`` the unit vector to the east, ``h = p × e``
      the one to the north, ``σ_h = 0.15``, ``σ_e = 0.15 - 0.1 (1 - z²)`` and thickness ``τ = 0.02``:
      circles at the poles, where east is undefined, meridional ellipses of ratio 3 at the equator.

    Parameters
    ----------
    n : int
        Number of members, at least 1.

    Returns
    -------
    Family
        d = 3, no labels; covariances of full rank, thin along the radius.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1; got {n}")
    i = np.arange(n)
    z = 1 - (2 * i + 1) / n
    longitude = i * np.pi * (3 - np.sqrt(5))
    planar = _unit(longitude)
    point = np.column_stack([np.sqrt(1 - z**2)[:, None] * planar, z])
    east = np.column_stack([-planar[:, 1], planar[:, 0], np.zeros(n)])
    north = np.cross(point, east)
    axes = np.stack([east, north, point], axis=-1)  # (n, 3, 3), one axis per column
    scales = np.column_stack([0.15 - 0.1 * (1 - z**2), np.full(n, 0.15), np.full(n, 0.02)])
    return Family(
        name="sphere",
        gaussians=Gaussian(point, _rotated(axes, scales)),
        about=f"{n} thin disks tangent to the unit sphere. {OURS}",
    )


def _unit(angle: Floats) -> Floats:
    """Unit vectors (n, 2) at the angles (n,)."""
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def _ellipses(angle: Floats, along: Floats, across: Floats) -> Floats:
    """Covariances (n, 2, 2) with standard deviation ``along`` the angle and ``across`` it."""
    axes = np.stack([_unit(angle), _unit(angle + np.pi / 2)], axis=-1)
    return _rotated(axes, np.column_stack([along, across]))


def _rotated(axes: Floats, scales: Floats) -> Floats:
    """Covariances ``axes diag(scales²) axesᵀ`` from orthogonal columns (n, d, d) and deviations (n, d)."""
    root = axes * scales[:, None, :]
    return root @ root.swapaxes(-1, -2)
