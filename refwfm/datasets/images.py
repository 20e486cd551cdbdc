"""Images as point clouds: pixels above a threshold, or all pixels weighted by their intensity."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refwfm.datasets._cloud_family import CloudFamily

Floats = NDArray[np.float64]


def threshold_clouds(images: Any, /, *, threshold: float | None = None, name: str = "images") -> CloudFamily:
    """The centres of each image's pixels with a value of at least ``threshold``, all of equal weight.

    Parameters
    ----------
    images : (N, height, width), real or bool, 0 is the background
    threshold : float, optional
        128 when left out for integers (0 ... 255), 1/2 for floats (0 ... 1) and booleans.
    name : str

    Returns
    -------
    CloudFamily, d = 2
        Coordinates (x to the right, y up) with the image's longer side from -1 to 1: see
        ``pixel_centres``. Clouds have as many points as there are such pixels.

    Raises
    ------
    ValueError
        If an image has no pixel that bright.
    """
    images = _images(images)
    if threshold is None:
        threshold = 128 if images.dtype.kind in "iu" else 0.5
    clear = images >= threshold
    sizes = clear.sum(axis=(1, 2))
    if not sizes.all():
        raise ValueError(
            f"image {np.flatnonzero(sizes == 0)[0]} has no pixel of at least {threshold:g}: "
            "its cloud would be empty"
        )
    _, row, column = np.nonzero(clear)
    return CloudFamily(
        name=name,
        points=pixel_centres(*images.shape[1:])[row, column],
        offsets=np.concatenate([[0], np.cumsum(sizes)]),
        about=f"{len(images)} images: centres of the pixels of at least {threshold:g}. "
        "Units: half the longer side of the image.",
    )


def intensity_clouds(images: Any, /, *, name: str = "images") -> CloudFamily:
    """The centres of each image's pixels above 0, weighted by their intensity.

    Parameters
    ----------
    images : (N, height, width), non-negative, 0 is the background
    name : str

    Returns
    -------
    CloudFamily, d = 2
        Coordinates as in ``threshold_clouds``; weights are shares of the image's total intensity.
    """
    images = _histograms(images)
    sizes = np.count_nonzero(images, axis=(1, 2))
    _, row, column = np.nonzero(images)
    return CloudFamily(
        name=name,
        points=pixel_centres(*images.shape[1:])[row, column],
        offsets=np.concatenate([[0], np.cumsum(sizes)]),
        weights=images[images > 0],
        about=f"{len(images)} images: centres of the pixels, weighted by intensity. "
        "Units: half the longer side of the image.",
    )


def sample_from_images(images: Any, n: int, /, *, rng: np.random.Generator) -> Floats:
    """Points drawn from images read as densities on [0, 1]²: constant within a pixel.

    A pixel is drawn with probability proportional to its intensity, and a point uniformly within it.

    Parameters
    ----------
    images : (N, height, width), non-negative, 0 is the background
    n : int
        Points to draw from each image, at least 1.
    rng : numpy.random.Generator

    Returns
    -------
    float64 array (N, n, 2)
        x to the right, y up; the image fills the unit square, whatever its sides.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1; got {n}")
    images = _histograms(images)
    height, width = images.shape[1:]
    pixels = np.stack([rng.choice(height * width, n, p=image.ravel()) for image in images])
    row, column = np.divmod(pixels, width)
    within = rng.random((*pixels.shape, 2))
    return np.stack([(column + within[..., 0]) / width, 1 - (row + within[..., 1]) / height], axis=-1)


def jitter_clouds(family: CloudFamily, /, *, width: float, rng: np.random.Generator) -> CloudFamily:
    """Every point moved at random within a cube of side ``width`` around it.

    With the side of a pixel (``2 / 28`` for MNIST) clouds of pixel centres become uniform on the pixels,
    and two of them no longer have points in common.
    """
    if not width >= 0:
        raise ValueError(f"width must be non-negative; got {width}")
    moved = family.points + width * (rng.random(family.points.shape) - 0.5)
    return replace(
        family, points=moved, about=f"{family.about} Points moved at random by up to {width / 2:.3g}."
    )


def pixel_centres(height: int, width: int, /) -> Floats:
    """Centre (x, y) of every pixel, shape (height, width, 2): x to the right, y up, the image centred at 0.

    The longer side runs from -1 to 1, pixels are squares of side ``2 / max(height, width)``.
    """
    row, column = np.mgrid[:height, :width]
    return np.stack([2 * column + 1 - width, height - 2 * row - 1], axis=-1) / max(height, width)


def _images(images: Any) -> NDArray[Any]:
    images = np.asarray(images)
    if images.ndim != 3 or 0 in images.shape:
        raise ValueError(
            f"images must have shape (N, height, width) with at least one image and pixel; got {images.shape}"
        )
    if images.dtype.kind not in "fiub":
        raise ValueError(f"images must hold real numbers; got {images.dtype}")
    return images


def _histograms(images: Any) -> Floats:
    """Images scaled to sum 1."""
    images = _images(images).astype(np.float64)
    with np.errstate(over="ignore"):
        total = images.sum(axis=(1, 2), keepdims=True)
    largest = np.max(images, axis=(1, 2), keepdims=True)
    overflows = np.isinf(total) & np.isfinite(largest)
    if np.any(overflows):  # a unit that is too small
        images = images / np.where(overflows, largest, 1.0)
        total = images.sum(axis=(1, 2), keepdims=True)
    bad = np.flatnonzero((images < 0).any(axis=(1, 2)) | ~np.isfinite(total[:, 0, 0]) | (total[:, 0, 0] <= 0))
    if bad.size:
        raise ValueError(f"image {bad[0]} must be non-negative and finite, with at least one pixel above 0")
    return images / total
