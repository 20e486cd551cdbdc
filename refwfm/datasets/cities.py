"""The 100 most populous cities of the contiguous United States, as Gaussians.

A city is the uniform distribution over the area inside its limits, in degrees of longitude and
latitude; its Gaussian has the same mean and covariance, computed exactly from the boundary.
"""

import gzip
import json
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refwfm.datasets._family import Family
from refwfm.datasets._source import locate
from refwfm.measures import Gaussian

FILE = "us_cities/us_cities_top100_boundaries.geojson.gz"
ABOUT = (
    "The 100 most populous cities of the contiguous US (2013 estimates): mean and covariance of the area "
    "within the city limits as published (water and far islands included, such as San Francisco's "
    "Farallones). Units: degrees of longitude, latitude. Source: US Census TIGER/Line 2019 places. "
    "Licence: public domain."
)

Floats = NDArray[np.float64]


def build_cities(path: str | os.PathLike[str] | None = None, /) -> Family:
    """Compute the family from the GeoJSON of boundaries (found by ``locate`` when not given).

    The limits are taken as published. Where they include open water or far islands (New York's
    harbour, the Farallones 40 km off San Francisco) so do the moments: San Francisco's ellipse is
    several times the size of the peninsula.

    Returns
    -------
    Family
        N = 100 in the order of population, d = 2, no labels; members such as "Houston, Texas".
    """
    path = locate(FILE) if path is None else Path(path)
    members, means, covs = [], [], []
    for feature in _read_features(path):
        properties = feature["properties"]
        mean, cov = polygon_moments(_polygons(feature["geometry"]))
        members.append(f"{properties['city']}, {properties['state']}")
        means.append(mean)
        covs.append(cov)
    return Family(
        name="cities",
        gaussians=Gaussian(np.asarray(means).reshape(-1, 2), np.asarray(covs).reshape(-1, 2, 2)),
        members=tuple(members),
        about=ABOUT,
    )


def polygon_moments(polygons: Sequence[Sequence[Any]], /) -> Gaussian:
    """Mean and covariance of the uniform distribution over the interior of polygons with holes.

    Green's theorem turns the integrals over the area into sums over the edges: with
    ``cᵢ = xᵢ yᵢ₊₁ - xᵢ₊₁ yᵢ`` a ring has

    - area ``½ Σ cᵢ``,
    - first moment ``∫x = ⅙ Σ (xᵢ + xᵢ₊₁) cᵢ``,
    - second moments ``∫x² = ¹⁄₁₂ Σ (xᵢ² + xᵢ xᵢ₊₁ + xᵢ₊₁²) cᵢ`` and
      ``∫xy = ¹⁄₂₄ Σ (2 xᵢ yᵢ + xᵢ yᵢ₊₁ + xᵢ₊₁ yᵢ + 2 xᵢ₊₁ yᵢ₊₁) cᵢ``,

    positive when it runs counter-clockwise. Outer rings count positive and holes negative whichever
    way they run, for files disagree about it.

    Parameters
    ----------
    polygons : sequence of polygons, each a sequence of rings (m, 2): the outer one, then the holes
        The coordinates of a GeoJSON MultiPolygon. A ring may or may not repeat its first point.

    Returns
    -------
    Gaussian, mean (2,), cov (2, 2). Units: those of the points, and squared.

    Raises
    ------
    ValueError
        If a ring is not an (m, 2) array of at least 3 finite points, or no area is left.
    """
    rings = [(sign, _ring(ring)) for polygon in polygons for sign, ring in _signed(polygon)]
    if not rings:
        raise ValueError("polygons must hold at least one ring")
    # About a nearby origin: second moments about the far origin of the map would cancel to nothing.
    origin = rings[0][1].mean(axis=0)
    totals = [_ring_integrals(ring - origin, sign) for sign, ring in rings]
    area = sum(total[0] for total in totals)
    first = sum((total[1] for total in totals), start=np.zeros(2))
    second = sum((total[2] for total in totals), start=np.zeros((2, 2)))
    if not area > 0:
        raise ValueError(f"polygons must enclose a positive area; got {area:.3g}")
    centre = first / area
    return Gaussian(origin + centre, second / area - np.outer(centre, centre))


def _ring_integrals(ring: Floats, sign: float) -> tuple[float, Floats, Floats]:
    """Area, first (2,) and second (2, 2) moments of a ring's interior, all times ``sign``."""
    after = np.roll(ring, -1, axis=0)
    c = ring[:, 0] * after[:, 1] - after[:, 0] * ring[:, 1]
    if c.sum() < 0:
        c = -c
    c = sign * c
    first = (ring + after).T @ c / 6
    weighted, cross = c[:, None] * ring, ring.T @ (c[:, None] * after)
    second = (2 * ring.T @ weighted + 2 * after.T @ (c[:, None] * after) + cross + cross.T) / 24
    return float(c.sum() / 2), first, second


def _signed(polygon: Sequence[Any]) -> list[tuple[float, Any]]:
    return [(1.0 if i == 0 else -1.0, ring) for i, ring in enumerate(polygon)]


def _ring(ring: Any) -> Floats:
    points = np.asarray(ring, dtype=np.float64)
    if points.ndim != 2 or points.shape[0] < 3 or points.shape[1] != 2 or not np.isfinite(points).all():
        raise ValueError(
            f"a ring must be an (m, 2) array of at least 3 finite points; got shape {points.shape}"
        )
    return points


def _polygons(geometry: dict[str, Any]) -> list[Any]:
    kind = geometry["type"]
    if kind not in {"Polygon", "MultiPolygon"}:
        raise ValueError(f"a boundary must be a Polygon or a MultiPolygon; got {kind}")
    return [geometry["coordinates"]] if kind == "Polygon" else list(geometry["coordinates"])


def _read_features(path: Path) -> list[dict[str, Any]]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            features: list[dict[str, Any]] = json.load(file)["features"]
    except (gzip.BadGzipFile, EOFError, zlib.error, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is truncated or not a gzipped GeoJSON of features ({error})") from error
    return features
