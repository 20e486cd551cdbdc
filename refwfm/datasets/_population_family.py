"""A family of populations: particles before and after, and under which condition."""

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from refwfm._array import check_integer
from refwfm.datasets._cloud_family import CloudFamily
from refwfm.datasets._family import check_conditions, check_index, check_members, check_numbers

PARTS = ("train", "validation", "test")


class PopulationBatch(NamedTuple):
    """Particles drawn from B populations, n of each: NumPy arrays on the host.

    Attributes
    ----------
    x0, x1 : float64 arrays (B, n, d)
        Before and after. Row j of both is one particle where the family is paired; otherwise they are drawn
        independently of each other.
    marks : float64 array (B, n, q), or None
        Those of the rows of ``x0``.
    conditions : float64 array (B, c)
    repeated : bool array (B, 2)
        Whether the source, and the target, is smaller than n, so that it was drawn with replacement.
    """

    x0: NDArray[np.float64]
    x1: NDArray[np.float64]
    marks: NDArray[np.float64] | None
    conditions: NDArray[np.float64]
    repeated: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class PopulationFamily:
    """N populations of particles on R^d, each before and after, and what is known about them.

    Attributes
    ----------
    name : str
    source, target : CloudFamily
        N clouds each, of their own sizes, without weights: particles before and after. Units: see ``about``.
    paired : bool
        Whether row j of a source and row j of its target are the same particle.
    marks : float64 array (total, q), or None
        What else is known of each particle of the sources, in their order, such as one-hot kinds of cells:
        read by the embedding, not moved.
    conditions : float64 array (N, c)
        What was done to each population, such as a one-hot treatment; c may be 0.
    condition_names : tuple of c str
    parts : int64 array (N,)
        Positions in ``PARTS``: to train on, or held out for validation or test.
    groups : dict of str to tuple of N str
        What each population belongs to: "letter", "patient", "culture", "replicate", ...
    features : tuple of d str, or empty
    members : tuple of N str, or empty
    about : str

    Raises
    ------
    TypeError
        If an array is not of numbers.
    ValueError
        If shapes or counts disagree, clouds carry weights, paired clouds differ in size, or a value is not
        finite.
    """

    name: str
    source: CloudFamily
    target: CloudFamily
    paired: bool = False
    marks: NDArray[np.float64] | None = None
    conditions: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0)))
    condition_names: tuple[str, ...] = ()
    parts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    features: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    about: str = ""

    def __post_init__(self) -> None:
        n = len(self.source)
        if len(self.target) != n or self.target.dimension != self.source.dimension:
            raise ValueError(
                f"family {self.name!r}: {n} sources in dimension {self.source.dimension}, but "
                f"{len(self.target)} targets in dimension {self.target.dimension}"
            )
        if self.source.weights is not None or self.target.weights is not None:
            raise ValueError(f"family {self.name!r}: particles of a population weigh the same; got weights")
        if self.paired and (self.source.sizes != self.target.sizes).any():
            i = int(np.argmax(self.source.sizes != self.target.sizes))
            raise ValueError(
                f"family {self.name!r}: paired populations need as many particles before as after; "
                f"population {i} has {self.source.sizes[i]} and {self.target.sizes[i]}"
            )
        object.__setattr__(self, "conditions", check_conditions(self, n))
        if self.marks is not None:
            marks = check_numbers(self.name, "marks", self.marks, len(self.source.points), None)
            object.__setattr__(self, "marks", marks)
        parts = np.zeros(n, np.int64) if np.size(self.parts) == 0 else np.asarray(self.parts)
        if parts.shape != (n,) or parts.dtype.kind not in "iu" or not np.isin(parts, range(len(PARTS))).all():
            raise ValueError(f"family {self.name!r}: parts must be {n} positions in {', '.join(PARTS)}")
        object.__setattr__(self, "parts", parts.astype(np.int64))
        for key, values in self.groups.items():
            check_members(f"{self.name}, {key}", values, n, "populations")
        check_members(self.name, self.members, n, "populations")
        if self.features and len(self.features) != self.dimension:
            raise ValueError(
                f"family {self.name!r}: {len(self.features)} names for {self.dimension} features"
            )

    def __len__(self) -> int:
        return len(self.source)

    @property
    def labels(self) -> None:
        """Populations have groups and no labels."""
        return None

    @property
    def label_names(self) -> tuple[str, ...]:
        """None, as there are no labels."""
        return ()

    @property
    def dimension(self) -> int:
        """The dimension d of the space the particles live in."""
        return self.source.dimension

    def subset(self, index: Any, /) -> Self:
        """The populations at these positions (integers, or one bool for each), in that order."""
        chosen = check_index(self.name, index, len(self))
        source, offsets = self.source.subset(chosen), self.source.offsets
        rows = [np.arange(offsets[i], offsets[i + 1]) for i in chosen]
        return replace(
            self,
            source=source,
            target=self.target.subset(chosen),
            marks=None if self.marks is None else self.marks[np.concatenate(rows)],
            conditions=self.conditions[chosen],
            parts=self.parts[chosen],
            groups={key: tuple(values[i] for i in chosen) for key, values in self.groups.items()},
            members=tuple(self.members[i] for i in chosen) if self.members else (),
        )

    def part(self, name: str, /) -> Self:
        """The populations of one part: "train", "validation" or "test"."""
        if name not in PARTS:
            raise ValueError(f"part must be one of {', '.join(PARTS)}; got {name!r}")
        chosen = self.parts == PARTS.index(name)
        if not chosen.any():
            raise ValueError(f"family {self.name!r} has no populations for {name}")
        return self.subset(chosen)

    def draw(self, index: Any, size: int, /, *, rng: np.random.Generator) -> PopulationBatch:
        """Particles of the populations at these positions, ``size`` of each, all equally likely.

        They are drawn without replacement; from a population of fewer particles with replacement, which
        ``repeated`` says.

        Parameters
        ----------
        index : (B,) integers, B >= 1
            Positions of populations; one may come more than once, and is drawn anew each time.
        size : int, at least 1
        rng : numpy.random.Generator
        """
        size = check_integer(size, "size", low=1)
        chosen = check_index(self.name, index, len(self))
        if not chosen.size:
            raise ValueError(f"family {self.name!r}: index names no population to draw from")
        before = np.stack([_drawn_rows(self.source, i, size, rng) for i in chosen])
        if self.paired:
            after = before + (self.target.offsets - self.source.offsets)[chosen, None]
        else:
            after = np.stack([_drawn_rows(self.target, i, size, rng) for i in chosen])
        sizes = np.stack([self.source.sizes[chosen], self.target.sizes[chosen]], axis=-1)
        return PopulationBatch(
            x0=self.source.points[before],
            x1=self.target.points[after],
            marks=None if self.marks is None else self.marks[before],
            conditions=self.conditions[chosen],
            repeated=sizes < size,
        )

    def leaks(self, group: str, /) -> tuple[str, ...]:
        """Values of a group, such as "patient", that are both trained on and held out, sorted."""
        if group not in self.groups:
            raise ValueError(
                f"family {self.name!r} has no group {group!r}; it has {', '.join(self.groups) or 'none'}"
            )
        train = self.parts == PARTS.index("train")
        values = np.asarray(self.groups[group], dtype=np.str_)
        return tuple(str(value) for value in np.intersect1d(values[train], values[~train]))


def _drawn_rows(clouds: CloudFamily, i: np.int64, size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    n = int(clouds.sizes[i])
    return clouds.offsets[i] + rng.choice(n, size, replace=n < size)
