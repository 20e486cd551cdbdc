"""A family: the N Gaussians a model is trained on, with what is known about them, and its file."""

import os
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from refwfm.measures import Gaussian, check_gaussian

FORMAT = "refwfm-family-1"


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

    Raises
    ------
    TypeError
        If mean and covariance are not arrays of one real floating dtype, or the labels not integers.
    ValueError
        If the family is empty, a shape disagrees, a covariance is not symmetric positive semi-definite,
        or a label has no name.
    """

    name: str
    gaussians: Gaussian
    labels: NDArray[np.int64] | None = None
    label_names: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    about: str = ""

    def __post_init__(self) -> None:
        mean, cov = (np.asarray(part) for part in self.gaussians)
        if mean.ndim != 2:
            raise ValueError(f"family {self.name!r}: mean must have shape (N, d); got {mean.shape}")
        n = mean.shape[0]
        if n == 0:
            raise ValueError(f"family {self.name!r} is empty: it needs at least one Gaussian")
        # Integers are left to check_gaussian, which refuses them by name.
        if mean.dtype.kind == cov.dtype.kind == "f":
            mean, cov = mean.astype(np.float64), cov.astype(np.float64)
        gaussians = check_gaussian(Gaussian(mean, cov), f"family {self.name!r}")
        object.__setattr__(self, "gaussians", gaussians)
        object.__setattr__(self, "labels", _check_labels(self.name, self.labels, self.label_names, n))
        if self.members and len(self.members) != n:
            raise ValueError(f"family {self.name!r}: {len(self.members)} member names for {n} Gaussians")

    def __len__(self) -> int:
        return int(self.gaussians.mean.shape[0])

    @property
    def dimension(self) -> int:
        """The dimension d of the space the Gaussians live on."""
        return int(self.gaussians.mean.shape[1])


def _check_labels(name: str, labels: Any, label_names: tuple[str, ...], n: int) -> NDArray[np.int64] | None:
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


def save_family(path: str | os.PathLike[str], family: Family, /) -> Path:
    """Write a family to a ``.npz`` file, completely or not at all; return the file's path.

    Raises
    ------
    ValueError
        If the name does not end in ``.npz`` (``load`` tells files from names by that).
    OSError
        If the folder is missing or not writable.
    """
    path = _npz_path(path)
    labels = np.empty(0, np.int64) if family.labels is None else family.labels
    arrays = {
        "format": np.array(FORMAT),
        "name": np.array(family.name),
        "about": np.array(family.about),
        "mean": family.gaussians.mean,
        "cov": family.gaussians.cov,
        "labels": labels,
        "label_names": np.array(family.label_names, dtype=np.str_),
        "members": np.array(family.members, dtype=np.str_),
    }
    write_atomically(path, lambda file: np.savez_compressed(file, allow_pickle=False, **arrays))
    return path


def load_family(path: str | os.PathLike[str], /) -> Family:
    """Read a family written by ``save_family``. Nothing in the file is executed.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is truncated, or is not a family.
    """
    path = _npz_path(path)
    arrays = read_npz(path, ("format", "name", "about", "mean", "cov", "labels", "label_names", "members"))
    if str(arrays["format"]) != FORMAT:
        raise ValueError(f"{path} has the format {str(arrays['format'])!r}; this version reads {FORMAT!r}")
    label_names = tuple(str(name) for name in arrays["label_names"])
    try:
        return Family(
            name=str(arrays["name"]),
            gaussians=Gaussian(arrays["mean"], arrays["cov"]),
            labels=arrays["labels"] if label_names else None,
            label_names=label_names,
            members=tuple(str(name) for name in arrays["members"]),
            about=str(arrays["about"]),
        )
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} does not hold a valid family: {error}") from error


def read_npz(path: Path, keys: tuple[str, ...], /) -> dict[str, NDArray[Any]]:
    """Read the arrays ``keys`` of a ``.npz`` file; never unpickles.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is truncated, not a .npz file, or lacks one of the arrays.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            missing = [key for key in keys if key not in archive]
            if not missing:
                return {key: archive[key] for key in keys}
    except (ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is truncated or not a .npz file of arrays ({error})") from error
    raise ValueError(f"{path} is a .npz file of another kind: it lacks {', '.join(missing)}")


def write_atomically(path: Path, write: Callable[[IO[bytes]], object], /) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then rename it.

    No reader, and no crash, ever sees half a file.
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: there is no folder {path.parent}")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OSError(f"cannot write {path}: {error.strerror or error}") from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _npz_path(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"a family's file must end in .npz; got {path}")
    return path
