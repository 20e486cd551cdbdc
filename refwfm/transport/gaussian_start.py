"""Where Sinkhorn's iteration may start: the closed form for Gaussians, at the points of clouds."""

from refwfm import bures
from refwfm._array import Array, array_namespace, matvec
from refwfm.clouds import check_cloud_pair, moments
from refwfm.measures import PointCloud


def gaussian_potential(x: PointCloud, y: PointCloud, /) -> Array:
    """Potential, at the points of x, of the optimal map between the Gaussians with the clouds' moments.

    Equation: WFM-12, META-OT-6. With the map of WFM-U4, ``T(p) = m_y + C (p - m_x)`` and ``∇f(p) = 2 (p -
    T(p))``: ``f(p) = 2 ⟨m_x - m_y, p - m_x⟩ + ⟨p - m_x, (I - C) (p - m_x)⟩``. A good ``f_init`` for
    ``sinkhorn``.

    Parameters
    ----------
    x, y : PointCloud, points (..., n, d) and (..., m, d); leading axes broadcast

    Returns
    -------
    array, shape (..., n). Units: data squared.

    Examples
    --------
    >>> gaussian_potential(*(PointCloud(np.eye(2)[:, :1] + m, np.full(2, 0.5)) for m in (0, 1))).tolist()
    [-1.0, 1.0]
    """
    x, y = check_cloud_pair(x, y)
    mu, nu = moments(*x), moments(*y)
    C = bures.gelbrich_map(mu, nu, validate=False)  # where there is no map, of least norm
    centred = x.points - mu.mean[..., None, :]
    moved = centred @ C  # C is symmetric
    shift = matvec(centred, mu.mean - nu.mean)
    return 2.0 * shift + array_namespace(centred).sum(centred * (centred - moved), axis=-1)
