"""A family: the N Gaussians a model is trained on, with what is known about them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from refwfm.datasets._basis import Basis
from refwfm.measures import Gaussian, check_gaussian


@dataclass(frozen=True, kw_only=True, eq=False)
class Family:
    """N Gaussians on R^d and what is known about them.

    Attributes
    ----------
    name : str
    gaussians : Gaussian, NumPy float64, mean (N, d), cov (N, d, d). Units: see ``about``.
    labels : int64 array (N,), or None
        ``label_names[labels[i]]`` is the class of member i.
    label_names : tuple of str
    members : tuple of N str, or empty
        The name of every member ("Houston, Texas").
    about : str
        What a member is, its units, its source and its licence.
    groups : dict of arrays of str (N,)
        What else is known of every member, by column: its section, its region. Members are held out by it.
    basis : Basis, or None
        How coordinates become the expression of genes, where they are components of it.
    conditions : float64 array (N, c)
        Numbers that a model is conditioned on, such as an age and a dose; c may be 0.
    condition_names : tuple of c str

    Raises
    ------
    TypeError
        If mean and covariance are not arrays of one real floating dtype, the labels not integers, or the
        conditions not numbers.
    ValueError
        If the family is empty, a shape disagrees, a covariance is not symmetric positive semi-definite,
        a label has no name, or a condition is not finite or has no name of its own.
    """

    name: str
    gaussians: Gaussian
    labels: NDArray[np.int64] | None = None
    label_names: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    about: str = ""
    groups: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)
    basis: Basis | None = None
    conditions: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0)))
    condition_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        mean, cov = (np.asarray(part) for part in self.gaussians)
        if mean.ndim != 2:
            raise ValueError(f"family {self.name!r}: mean must have shape (N, d); got {mean.shape}")
        n = mean.shape[0]
        if n == 0:
            raise ValueError(f"family {self.name!r} is empty: it needs at least one Gaussian")
        # Integers are left to check_gaussian, which refuses them by name.
        if mean.dtype.kind == cov.dtype.kind == "f":
            # The check makes new covariances, which are the most of it all.
            mean, cov = mean.astype(np.float64), cov.astype(np.float64, copy=False)
        gaussians = check_gaussian(Gaussian(mean, cov), f"family {self.name!r}")
        object.__setattr__(self, "gaussians", gaussians)
        object.__setattr__(self, "labels", check_labels(self.name, self.labels, self.label_names, n))
        object.__setattr__(self, "conditions", check_conditions(self, n))
        check_members(self.name, self.members, n, "Gaussians")
        check_cells(self, n)

    def __len__(self) -> int:
        return int(self.gaussians.mean.shape[0])

    @property
    def dimension(self) -> int:
        """The dimension d of the space the Gaussians live on."""
        return int(self.gaussians.mean.shape[1])

    def subset(self, index: Any, /) -> Self:
        """The members at these positions (integers, or one bool for each), in that order."""
        chosen = check_index(self.name, index, len(self))
        mean, cov = self.gaussians
        return replace(self, gaussians=Gaussian(mean[chosen], cov[chosen]), **facts_at(self, chosen))


def facts_at(family: Any, chosen: NDArray[np.int64], /) -> dict[str, Any]:
    """Labels, conditions and names of the members at these positions, as arguments of their family."""
    return {
        "labels": None if family.labels is None else family.labels[chosen],
        "members": tuple(family.members[i] for i in chosen) if family.members else (),
        "groups": {column: values[chosen] for column, values in family.groups.items()},
        "conditions": family.conditions[chosen],
    }


def check_index(name: str, index: Any, n: int, /) -> NDArray[np.int64]:
    """Positions of members as integers in 0 ... n - 1; negative ones count from the end."""
    index = np.asarray(index)
    if index.dtype == np.bool_ and index.shape == (n,):
        return np.flatnonzero(index)
    if index.ndim != 1 or (index.dtype.kind not in "iu" and index.size):
        raise ValueError(
            f"family {name!r}: index must be a list of integers, or {n} booleans; "
            f"got {index.dtype} of shape {index.shape}"
        )
    if index.size and (index.min() < -n or index.max() >= n):
        raise IndexError(
            f"family {name!r} has members 0 ... {n - 1}; got the index {index.min()} ... {index.max()}"
        )
    return index.astype(np.int64) % n


def check_members(name: str, members: tuple[str, ...], n: int, kind: str, /) -> None:
    """Raise unless there is no member name or one for each of the n members."""
    if members and len(members) != n:
        raise ValueError(f"family {name!r}: {len(members)} member names for {n} {kind}")


def check_cells(family: Any, n: int, /) -> None:
    """Raise unless columns of ``groups`` have a value for each of the n members, and the basis fits."""
    for column, values in family.groups.items():
        if np.shape(values) != (n,):
            raise ValueError(
                f"family {family.name!r}: groups[{column!r}] must have shape ({n},); got {np.shape(values)}"
            )
    if family.basis is not None and len(family.basis.loadings) != family.dimension:
        raise ValueError(
            f"family {family.name!r} has dimension {family.dimension}, and its basis has "
            f"{len(family.basis.loadings)} components"
        )


def check_labels(name: str, labels: Any, label_names: tuple[str, ...], n: int, /) -> NDArray[np.int64] | None:
    """Labels as int64 (n,), or None; raise unless each has a name."""
    if labels is None:
        if label_names:
            raise ValueError(f"family {name!r}: label names without labels")
        return None
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iu":
        raise TypeError(
            f"family {name!r}: labels must be integers (positions in label_names); got {labels.dtype}"
        )
    if labels.shape != (n,):
        raise ValueError(f"family {name!r}: labels must have shape ({n},); got {labels.shape}")
    if labels.min() < 0 or labels.max() >= len(label_names):
        raise ValueError(
            f"family {name!r}: labels must lie in 0 ... {len(label_names) - 1}, one for each of the "
            f"{len(label_names)} label names; got {labels.min()} ... {labels.max()}"
        )
    return labels.astype(np.int64)


def check_conditions(family: Any, n: int, /) -> NDArray[np.float64]:
    """Conditions of a family as float64 (n, c); raise unless each column has a name of its own."""
    names, values = tuple(family.condition_names), family.conditions
    if len(set(names)) < len(names) or "" in names:
        raise ValueError(f"family {family.name!r}: condition_names must be distinct; got {', '.join(names)}")
    if not names and np.size(values) == 0:
        return np.zeros((n, 0))
    return check_numbers(family.name, "conditions", values, n, len(names))


def check_numbers(name: str, what: str, values: Any, n: int, columns: int | None, /) -> NDArray[np.float64]:
    """Finite numbers as float64 (n, columns), or of any number of columns."""
    values = np.asarray(values)
    if values.dtype.kind not in "fiu":
        raise TypeError(f"family {name!r}: {what} must be real numbers; got {values.dtype}")
    if values.ndim != 2 or len(values) != n or columns not in (None, values.shape[1]):
        wanted = f"({n}, {'q' if columns is None else columns})"
        raise ValueError(f"family {name!r}: {what} must have shape {wanted}; got {values.shape}")
    if not np.isfinite(values).all():
        wrong = np.flatnonzero(~np.isfinite(values).all(axis=1))
        raise ValueError(
            f"family {name!r}: {what} must be finite; got NaN or infinity in {len(wrong)} of {n} rows, "
            f"the first in row {wrong[0]}"
        )
    return values.astype(np.float64, copy=False)
