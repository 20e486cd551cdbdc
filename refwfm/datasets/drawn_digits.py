"""Handwritten digits as clouds of equal size: points drawn once from each image, read as a density."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from refwfm.datasets._cloud_family import CloudFamily
from refwfm.datasets.digits import read_mnist, read_usps
from refwfm.datasets.images import sample_from_images
from refwfm.datasets.own_arrays import clouds_from_arrays

AT_ONCE = 4096
"""Number of images read as densities at a time, which bounds the memory."""


def load_drawn(data: str, n: int, part: str = "train", /, *, name: str) -> CloudFamily:
    """Every digit as n points, drawn with the intensity of its pixels: the same ones every time.

    Parameters
    ----------
    data : {"mnist", "usps"}
    n : int
        Points of each cloud.
    part : {"train", "test"}
    name : str

    Returns
    -------
    CloudFamily
        d = 2, coordinates in [0, 1], labelled; see ``images.sample_from_images``.
    """
    images: NDArray[Any]
    images, labels = read_mnist(part) if data == "mnist" else read_usps(part)
    rng = np.random.default_rng([n, ("train", "test").index(part)])
    parts = [sample_from_images(images[i : i + AT_ONCE], n, rng=rng) for i in range(0, len(images), AT_ONCE)]
    return clouds_from_arrays(
        np.concatenate(parts),
        labels=labels.astype(np.int64),
        label_names=tuple("0123456789"),
        name=name,
        about=f"{len(images)} handwritten digits ({data.upper()}, {part}): {n} points of each, drawn with "
        "the intensity of its pixels. Units: the image's side, so coordinates lie in [0, 1]. "
        f"Source and licence: see {data}.",
    )
