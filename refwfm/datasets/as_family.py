"""Whatever one has, arrays, Gaussians or cells, as a family."""

from pathlib import Path
from typing import Any

from refwfm.datasets._cloud_family import CloudFamily
from refwfm.datasets._family import Family
from refwfm.datasets.annotated import clouds_from_anndata, from_anndata
from refwfm.datasets.own_arrays import clouds_from_arrays, encode_labels, gaussians_of
from refwfm.measures import Gaussian, PointCloud


def as_family(
    data: Any, labels: Any = None, /, *, measure: str = "clouds", cells: dict[str, Any] | None = None
) -> Family | CloudFamily:
    """Family of clouds or Gaussians of what is given.

    Parameters
    ----------
    data : clouds (arrays (n_i, d), or a PointCloud), Gaussian, AnnData or the path of its file, or a family
    labels : (N,), optional
        Classes of clouds or Gaussians, any values.
    measure : {"clouds", "gaussians"}
        What cells and clouds are taken for; a Gaussian is what it is.
    cells : dict, optional
        Arguments of ``clouds_from_anndata`` or ``from_anndata``.

    Raises
    ------
    ValueError
        As these do, ``clouds_from_arrays`` and ``Family``; or if labels are given for what has its own.
    """
    if measure not in ("clouds", "gaussians"):
        raise ValueError(f"measure must be clouds or gaussians; got {measure!r}")
    annotated = hasattr(data, "obsm") or isinstance(data, str | Path)
    if labels is not None and (annotated or isinstance(data, Family | CloudFamily)):
        raise ValueError("labels: cells (cells={'label': COLUMN}) and families have their own")
    if annotated:
        read: Any = clouds_from_anndata if measure == "clouds" else from_anndata
        found: Family | CloudFamily = read(data, **(cells or {}))
        return found
    if isinstance(data, Gaussian):
        positions, names = encode_labels(labels)
        return Family(name="Gaussians", gaussians=data, labels=positions, label_names=names)
    if not isinstance(data, Family | CloudFamily):
        points, weights = data if isinstance(data, PointCloud) else (data, None)
        data = clouds_from_arrays(points, weights=weights, labels=labels)
    return gaussians_of(data) if measure == "gaussians" and isinstance(data, CloudFamily) else data
