"""Images as point clouds: pixels above a threshold, or all pixels weighted by their intensity."""

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
