"""Handwritten digits as point clouds: MNIST, whose fours ship with the package."""

import os
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from refwfm.datasets._cloud_family import CloudFamily
from refwfm.datasets._files import read_npz, write_atomically
from refwfm.datasets._idx import read_idx
from refwfm.datasets._source import locate
from refwfm.datasets.images import threshold_clouds

THRESHOLD = 128
"""A pixel of at least this (of 255) is a point; between it and 64 the drawn line gets a pixel wider."""

ABOUT = (
    f"the centres of the pixels of at least {THRESHOLD} of 255. Units: half the image's side (14 pixels), "
    "so coordinates lie in [-1, 1], x to the right, y up. Source: MNIST (LeCun, Cortes, Burges). "
    "Licence: CC BY-SA 3.0, as mirrors state."
)


def read_mnist(split: str = "train", /) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images (N, 28, 28) and labels (N,) of MNIST, from the IDX files; ``split`` is "train" or "test"."""
    prefix = {"train": "train", "test": "t10k"}[split]
    images = read_idx(locate(f"mnist/{prefix}-images-idx3-ubyte.gz"), ndim=3)
    labels = read_idx(locate(f"mnist/{prefix}-labels-idx1-ubyte.gz"), ndim=1)
    if len(images) != len(labels):
        raise ValueError(f"MNIST, {split}: {len(images)} images but {len(labels)} labels")
    return images, labels


def load_fours(split: str = "train", /, *, name: str = "fours") -> CloudFamily:
    """The fours of MNIST that ship with the package: 5842 to train on, 982 held out ("test").

    The images were thresholded before they were packed: that is all the clouds need.
    """
    with resources.as_file(resources.files("refwfm.datasets") / "files" / "fours.npz") as path:
        packed = read_npz(path, (split,))[split]
    images = np.unpackbits(packed, axis=1).reshape(-1, 28, 28).astype(bool)
    family = threshold_clouds(images, name=name)
    return replace(family, about=f"{len(family)} handwritten fours (MNIST, {split}): {ABOUT}")


def build_fours(path: str | os.PathLike[str], /) -> Path:
    """Make ``fours.npz`` from MNIST: thresholded fours in MNIST's order, eight pixels in a byte."""
    path, arrays = Path(path), {}
    for split in ("train", "test"):
        images, labels = read_mnist(split)
        clear = images[labels == 4] >= THRESHOLD
        arrays[split] = np.packbits(clear.reshape(len(clear), -1), axis=1)
    write_atomically(path, lambda file: np.savez_compressed(file, allow_pickle=False, **arrays))
    return path
