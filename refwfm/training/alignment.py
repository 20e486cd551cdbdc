"""Alignment of whole families to one reference cloud: once, before training, and kept on disk.

Linear and lazy plans compare clouds as vectors, so all of them need the same number n of points, in the
order of one reference (``linearized``). A family gets there in two steps. Each member is thinned to n points,
once and always to the same ones; a member with fewer points is refused. Then each is aligned to the
reference, the free-support barycenter of some of the members, by one exact assignment. All of it depends on
the data alone.

Assignments of a large family take minutes: they are kept in a cache (``storage.cache``).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from refwfm.clouds import all_even, uniform
from refwfm.measures import PointCloud
from refwfm.storage.cache import cached
from refwfm.transport.linearized import align_to_reference, reorder
from refwfm.transport.reference import free_support_barycenter

WORTH_A_FILE = 2**24
"""Entries of all cost matrices together, below which an alignment is not kept but computed each time."""

TOLERANCE = 1e-4
"""Share of the objective by which the barycenter's last iteration may lower it: it need not be exact."""

Progress = Callable[[int, int], None]
"""``progress(done, total)``"""


class Clouds(Protocol):
    """What a flow needs of a family of clouds (see ``refwfm.datasets.CloudFamily``)."""

    def __len__(self) -> int: ...
    @property
    def dimension(self) -> int: ...  # noqa: D102
    @property
    def sizes(self) -> np.ndarray: ...  # noqa: D102
    @property
    def batch(self) -> Callable[..., PointCloud]: ...  # noqa: D102
    @property
    def labels(self) -> np.ndarray | None: ...  # noqa: D102
    @property
    def label_names(self) -> tuple[str, ...]: ...  # noqa: D102


@dataclass(frozen=True, eq=False)
class AlignedClouds:
    """A family of clouds of n points each, in the order of a reference.

    Attributes
    ----------
    points : numpy.ndarray, shape (N, n, d). Units: data.
    labels, label_names
        Those of the family that it was made from.
    """

    points: np.ndarray
    labels: np.ndarray | None
    label_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.points)

    @property
    def dimension(self) -> int:
        """The dimension d of the space the points live in."""
        return int(self.points.shape[2])

    @property
    def sizes(self) -> np.ndarray:
        """Number of points of every cloud, shape (N,)."""
        return np.full(len(self.points), self.points.shape[1])

    def batch(
        self, index: np.ndarray, /, *, n_points: int | None = None, rng: np.random.Generator | None = None
    ) -> PointCloud:
        """Clouds at these positions, points (B, n, d); other arguments are for families to be thinned.

        Equation: GWFM-SRC3-clouds.
        """
        return uniform(self.points[index])


def thin(family: Clouds, n: int, /, *, rng: np.random.Generator, name: str = "the family") -> np.ndarray:
    """Members of a family with n points each, drawn without replacement. Shape (N, n, d), data units.

    Parameters
    ----------
    rng : numpy.random.Generator
        For the choice of points. Alignments can be kept when every run draws the same.
    name : str
        Name of the family, for messages.

    Equation: GWFM-38-step.

    Raises
    ------
    ValueError
        If a member has fewer points, or points of different weights.
    """
    smallest = int(family.sizes.min())
    if smallest < n:
        raise ValueError(
            f"linear and lazy plans, and barycentric sources, need clouds of n_points = {n} points each, and "
            f"{name} has one of {smallest}: lower n_points, draw more points of each member, or use the "
            "'sliced' or 'exact' plans"
        )
    clouds = family.batch(np.arange(len(family)), n_points=n, rng=rng)
    if not all_even(clouds):
        raise ValueError(
            f"linear and lazy plans, and barycentric sources, need uniform weights, and {name} has others: "
            "use the 'sliced' or 'exact' plans"
        )
    return clouds.points


def fit_reference(points: np.ndarray, /, *, members: int, rng: np.random.Generator) -> np.ndarray:
    """Reference of a family: the free-support barycenter of ``members`` of its clouds, or of all.

    Equation: GWFM-38-step. (The paper does not state of how many clouds, and which, it is the barycenter.)

    Parameters
    ----------
    points : numpy.ndarray, shape (N, n, d)
    members : int
        How many clouds the barycenter is of, at most; drawn without replacement.
    rng : numpy.random.Generator

    Returns
    -------
    numpy.ndarray, shape (n, d)
    """
    count = min(members, len(points))
    chosen = np.sort(rng.choice(len(points), size=count, replace=False))

    def compute() -> np.ndarray:
        some = uniform(points[chosen])
        return np.asarray(free_support_barycenter(some, tol=TOLERANCE, n_jobs=-1).points)

    return _kept(compute, points[chosen], shape=points.shape[1:])


def align_family(
    family: Clouds, points: np.ndarray, reference: np.ndarray, /, *, progress: Progress | None = None
) -> AlignedClouds:
    """Family of the clouds (N, n, d), aligned to the reference (n, d).

    Equation: GWFM-38-step. The alignment map of GWFM-38.
    """

    def compute() -> np.ndarray:
        clouds = uniform(points)
        return np.asarray(align_to_reference(reference, clouds, n_jobs=-1, progress=progress, validate=False))

    permutation = _kept(compute, points, reference, shape=points.shape[:2])
    if progress is not None:
        progress(len(points), len(points))
    return AlignedClouds(reorder(points, permutation), family.labels, family.label_names)


def _kept(compute: Callable[[], np.ndarray], /, *inputs: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Result of assignments between these arrays, from the cache where they are many."""
    n_costs = inputs[0].shape[0] * inputs[0].shape[1] ** 2
    return cached(compute, *inputs, shape=shape, kind="alignments") if n_costs >= WORTH_A_FILE else compute()
