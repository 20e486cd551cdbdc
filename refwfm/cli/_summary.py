"""A family in a table: sizes, scales, ranks and classes."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from refwfm.datasets import CloudFamily, Family
from refwfm.datasets._stored import blocks


def summarise(family: Family | CloudFamily, /) -> None:
    """Print what is known of a family."""
    table = Table(title=family.name, show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    kind = "clouds" if isinstance(family, CloudFamily) else "Gaussians"
    table.add_row("members", f"{len(family)} {kind}")
    table.add_row("dimension", str(family.dimension))
    rows = _of_clouds(family) if isinstance(family, CloudFamily) else _of_gaussians(family)
    for what, value in rows.items():
        table.add_row(what, value)
    if family.labels is not None:
        counts = np.bincount(family.labels, minlength=len(family.label_names))
        table.add_row(
            "classes", ", ".join(f"{n} {c}" for n, c in zip(family.label_names, counts, strict=True))
        )
    for name, values in zip(family.condition_names, family.conditions.T, strict=True):
        table.add_row(f"condition {name}", _range(values))
    if family.members:
        table.add_row("names", f"{family.members[0]} ... {family.members[-1]}")
    table.add_row("about", family.about)
    Console().print(table)


def _of_gaussians(family: Family) -> dict[str, str]:
    mean, cov = family.gaussians
    eigenvalues = np.clip(np.linalg.eigvalsh(cov), 0, None)  # (N, d), ascending; rounding can push below 0
    ranks = np.linalg.matrix_rank(cov, hermitian=True)
    return {
        "means, smallest and largest coordinate": f"{mean.min():.4g} ... {mean.max():.4g}",
        "means, standard deviation in all": f"{np.sqrt(mean.var(axis=0).sum()):.4g}",
        "longest axis of a member (1 s.d.)": _range(np.sqrt(eigenvalues[:, -1])),
        "shortest axis of a member (1 s.d.)": _range(np.sqrt(eigenvalues[:, 0])),
        "rank of the covariances": f"{ranks.min()} ... {ranks.max()} of {family.dimension}",
    }


def _of_clouds(family: CloudFamily) -> dict[str, str]:
    longest, low, high = [], math.inf, -math.inf
    for start, stop in blocks(family.offsets):  # points in files are never all in memory
        offsets = family.offsets[start : stop + 1]
        points, starts = family.points[offsets[0] : offsets[-1]], offsets[:-1] - offsets[0]
        extent = np.maximum.reduceat(points, starts) - np.minimum.reduceat(points, starts)
        longest.append(extent.max(axis=1))
        low, high = min(low, points.min()), max(high, points.max())
    return {
        "points of a member": _range(family.sizes),
        "points in all": str(len(family.points)),
        "smallest and largest coordinate": f"{low:.4g} ... {high:.4g}",
        "longest side of a member's bounding box": _range(np.concatenate(longest)),
        "weights": "uniform" if family.weights is None else "own",
    }


def _range(values: NDArray[Any]) -> str:
    return f"{values.min():.4g} ... {values.max():.4g}, median {np.median(values):.4g}"
