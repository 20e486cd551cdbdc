"""Handwritten digits as point clouds: MNIST, whose fours ship with the package, and USPS."""

import os
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refwfm.datasets._cloud_family import CloudFamily
from refwfm.datasets._files import read_npz
from refwfm.datasets._hdf5 import opened_hdf5
from refwfm.datasets._idx import read_idx
from refwfm.datasets._source import locate
from refwfm.datasets.images import threshold_clouds
from refwfm.storage import atomic

THRESHOLD = 128
"""A pixel of at least this (of 255) is a point; lowering it to 64 makes the drawn line a pixel wider."""

ABOUT = (
    f"the centres of the pixels of at least {THRESHOLD} of 255. Units: half the image's side (14 pixels), "
    "so coordinates lie in [-1, 1], x to the right, y up. Source: MNIST (LeCun, Cortes, Burges). "
    "Licence: CC BY-SA 3.0, as mirrors state."
)

ABOUT_USPS = (
    "the centres of the pixels of at least 1/2, where 1 is black. Units: half the image's side (8 pixels), "
    "so coordinates lie in [-1, 1], x to the right, y up. Source: USPS zip codes (LeCun et al. 1989). "
    "Licence: none stated."
)


def read_mnist(split: str = "train", /) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images (N, 28, 28) and labels (N,) of MNIST, from the IDX files; ``split`` is "train" or "test"."""
    prefix = {"train": "train", "test": "t10k"}[split]
    images = read_idx(locate(f"mnist/{prefix}-images-idx3-ubyte.gz"), ndim=3)
    labels = read_idx(locate(f"mnist/{prefix}-labels-idx1-ubyte.gz"), ndim=1)
    if len(images) != len(labels):
        raise ValueError(f"MNIST, {split}: {len(images)} images but {len(labels)} labels")
    return images, labels


def read_usps(split: str = "train", /) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Images (N, 16, 16) in [0, 1] and labels (N,) of USPS; ``split`` is "train" or "test".

    Raises
    ------
    FileNotFoundError, ModuleNotFoundError
        If the file or h5py is missing.
    ValueError
        If it is not HDF5, is truncated, or holds something else.
    """
    path = locate("usps/usps.h5")
    with opened_hdf5(path) as file:
        try:
            images, labels = file[f"{split}/data"][:], file[f"{split}/target"][:]
        except (KeyError, OSError, RuntimeError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} is damaged or not the file of USPS ({error})") from error
    if images.ndim != 2 or images.shape[1] != 256 or labels.shape != images.shape[:1]:
        raise ValueError(
            f"{path} is not the file of USPS: data must have shape (N, 256) and target (N,); "
            f"got {images.shape} and {labels.shape}"
        )
    return images.reshape(-1, 16, 16), labels.astype(np.int64)


def load_mnist(split: str = "train", /, *, digit: int | None = None, name: str = "mnist") -> CloudFamily:
    """MNIST thresholded: all digits with labels, or one digit."""
    images, labels = read_mnist(split)
    what = f"handwritten digits (MNIST, {split})"
    if digit is None:
        return _labelled(images, labels, name, what, ABOUT)
    return _named(images[labels == digit], name, f"{what}, each a {digit}", ABOUT)


def load_usps(split: str = "train", /, *, name: str = "usps") -> CloudFamily:
    """USPS thresholded: all digits with labels; for intensities see ``read_usps`` and ``images``."""
    images, labels = read_usps(split)
    return _labelled(images, labels, name, f"handwritten digits (USPS, {split})", ABOUT_USPS)


def _named(images: NDArray[Any], name: str, what: str, about: str) -> CloudFamily:
    return replace(threshold_clouds(images, name=name), about=f"{len(images)} {what}: {about}")


def _labelled(images: NDArray[Any], labels: NDArray[Any], name: str, what: str, about: str) -> CloudFamily:
    digits = tuple("0123456789")
    return replace(_named(images, name, what, about), labels=labels.astype(np.int64), label_names=digits)


def load_fours(split: str = "train", /, *, name: str = "fours") -> CloudFamily:
    """The fours of MNIST that ship with the package: 5842 to train on, 982 held out ("test").

    The images were thresholded before they were packed: that is all the clouds need.
    """
    with resources.as_file(resources.files("refwfm.datasets") / "files" / "fours.npz") as path:
        packed = read_npz(path, (split,))[split]
    images = np.unpackbits(packed, axis=1).reshape(-1, 28, 28).astype(bool)
    return _named(images, name, f"handwritten fours (MNIST, {split})", ABOUT)


def build_fours(path: str | os.PathLike[str], /) -> Path:
    """Make ``fours.npz`` from MNIST: thresholded fours in MNIST's order, eight pixels in a byte."""
    path, arrays = Path(path), {}
    for split in ("train", "test"):
        images, labels = read_mnist(split)
        clear = images[labels == 4] >= THRESHOLD
        arrays[split] = np.packbits(clear.reshape(len(clear), -1), axis=1)
    atomic.write(path, lambda file: np.savez_compressed(file, allow_pickle=False, **arrays))
    return path
