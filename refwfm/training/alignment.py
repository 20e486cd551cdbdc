"""Alignment of whole families to one reference cloud: once, before training, and kept on disk.

Linear and lazy plans compare clouds as vectors, so that all of them need the same number n of points, in the
order of one reference (``linearized``). A family gets there in two steps. Each member is thinned to n points,
once and always to the same ones; a member of fewer points cannot be. Then each is aligned to the reference,
the free-support barycenter of some of the members, by one exact assignment. All of it is a function of the
data alone.

Assignments of a large family take minutes. They are kept under the SHA-256 of what they were computed from,
in the folder ``$REFWFM_CACHE/alignments``, or in ``refwfm/alignments`` of the user's cache folder.
"""

import contextlib
import hashlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from refwfm.clouds import uniform
from refwfm.measures import PointCloud
from refwfm.storage import checkpoints
from refwfm.training.randomness import random_stream
from refwfm.transport.linearized import align_to_reference, free_support_barycenter, reorder

WORTH_A_FILE = 2**24
"""Entries of all cost matrices together, below which an alignment is computed again each time."""

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
        As those of the family that it was made of.
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
        """Clouds at these positions, points (B, n, d); the rest is for families that have to be thinned."""
        return uniform(self.points[index])


def thin(family: Clouds, n: int, /, *, name: str = "the family") -> np.ndarray:
    """Members of a family with n points each, the same ones in every call. Shape (N, n, d), data units.

    Raises
    ------
    ValueError
        If a member has fewer points, or its points weigh differently.
    """
    smallest = int(family.sizes.min())
    if smallest < n:
        raise ValueError(
            f"linear and lazy plans, and barycentric sources, need clouds of n_points = {n} points each, and "
            f"{name} has one of {smallest}: lower n_points, draw more points of each member, or use the "
            "'sliced' or 'exact' plans"
        )
    clouds = family.batch(np.arange(len(family)), n_points=n, rng=random_stream(0, "scaling"))
    if np.ptp(clouds.weights) > 1e-6 / n:
        raise ValueError(
            f"linear and lazy plans, and barycentric sources, need uniform weights, and {name} has others: "
            "use the 'sliced' or 'exact' plans"
        )
    return clouds.points


def fit_reference(points: np.ndarray, /, *, members: int) -> np.ndarray:
    """Reference of a family: the free-support barycenter of ``members`` of its clouds, or of all.

    Equation: REF. (Of how many clouds, and which, is not stated.)

    Parameters
    ----------
    points : numpy.ndarray, shape (N, n, d)

    Returns
    -------
    numpy.ndarray, shape (n, d)
    """
    count = min(members, len(points))
    chosen = np.sort(random_stream(0, "scaling", 1).choice(len(points), size=count, replace=False))

    def compute() -> np.ndarray:
        some = uniform(points[chosen])
        return np.asarray(free_support_barycenter(some, tol=TOLERANCE, n_jobs=-1).points)

    return _kept(compute, points[chosen], shape=points.shape[1:])


def align_family(
    family: Clouds, points: np.ndarray, reference: np.ndarray, /, *, progress: Progress | None = None
) -> AlignedClouds:
    """Family of the clouds (N, n, d), aligned to the reference (n, d).

    Equation: GWFM-38.
    """

    def compute() -> np.ndarray:
        clouds = uniform(points)
        return np.asarray(align_to_reference(reference, clouds, n_jobs=-1, progress=progress, validate=False))

    permutation = _kept(compute, points, reference, shape=points.shape[:2])
    if progress is not None:
        progress(len(points), len(points))
    return AlignedClouds(reorder(points, permutation), family.labels, family.label_names)


# The cache


def _cache_folder() -> Path:
    """Folder of the files: ``$REFWFM_CACHE``, or ``refwfm`` in the folder that the system has for such."""
    if "REFWFM_CACHE" in os.environ:
        return Path(os.environ["REFWFM_CACHE"]) / "alignments"
    home = Path.home()
    folder: Any = {
        "win32": os.environ.get("LOCALAPPDATA", home),
        "darwin": home / "Library" / "Caches",
    }.get(sys.platform, os.environ.get("XDG_CACHE_HOME", home / ".cache"))
    return Path(folder) / "refwfm" / "alignments"


def _kept(compute: Callable[[], np.ndarray], /, *inputs: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Result of a computation on these arrays: from its file, if a whole one is there, else computed."""
    if inputs[0].shape[0] * inputs[0].shape[1] ** 2 < WORTH_A_FILE:
        return compute()
    digest = hashlib.sha256()
    for array in inputs:
        digest.update(f"{array.dtype} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    file = _cache_folder() / f"{digest.hexdigest()}.safetensors"
    with contextlib.suppress(FileNotFoundError, checkpoints.CheckpointError):
        result = checkpoints.load(file)[0].get("result")
        if result is not None and result.shape == shape:
            return result
    result = compute()
    with contextlib.suppress(OSError):  # without a place to keep it, it is computed again the next time
        file.parent.mkdir(parents=True, exist_ok=True)
        checkpoints.save(file, {"result": result}, {"kind": "alignment"})
    return result
