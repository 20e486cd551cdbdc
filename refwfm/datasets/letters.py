"""Handwritten letters as point clouds: a sample of the "A-Z handwritten" set, and EMNIST."""

from dataclasses import replace
from string import ascii_lowercase, ascii_uppercase

import numpy as np
from numpy.typing import NDArray

from refwfm.datasets._cloud_family import CloudFamily
from refwfm.datasets._files import read_npz
from refwfm.datasets._idx import read_idx
from refwfm.datasets._source import locate
from refwfm.datasets.images import threshold_clouds
from refwfm.datasets.splits import split

FILE = "letters_az/az_letters_sample.npz"

GEOMETRY = (
    "the centres of the pixels of at least 128 of 255. Units: half the image's side (14 pixels), so "
    "coordinates lie in [-1, 1], x to the right, y up."
)


def load_letters(part: str = "train", /, *, letter: str | None = None, name: str = "letters") -> CloudFamily:
    """Capital letters, thresholded: four fifths to train on, one fifth held out ("test").

    Parameters
    ----------
    part : {"train", "test"}
        A random split of all letters, always the same; the split of one letter is its share of that.
    letter : str, optional
        Keep this one only, without labels.
    name : str
    """
    data = read_npz(locate(FILE), ("images", "labels"))
    family = replace(
        threshold_clouds(data["images"], name=name),
        labels=data["labels"].astype(np.int64),
        label_names=tuple(ascii_uppercase),
    )
    family = dict(zip(("train", "test"), split(family), strict=True))[part]
    about = f"handwritten capital letters: {GEOMETRY} One in five held out, at random. "
    return _one_letter(
        family, letter, about + 'Source: "A-Z handwritten", made from NIST. Licence: none stated.'
    )


def read_emnist(part: str = "train", /) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (N, 28, 28), upright, and labels (N,), 0 = a, of EMNIST letters; ``part`` is "train" or "test".

    The files hold every image with rows and columns exchanged, and labels that count from 1.
    """
    images = read_idx(locate(f"emnist/emnist-letters-{part}-images-idx3-ubyte.gz"), ndim=3)
    labels = read_idx(locate(f"emnist/emnist-letters-{part}-labels-idx1-ubyte.gz"), ndim=1)
    if len(images) != len(labels):
        raise ValueError(f"EMNIST, {part}: {len(images)} images but {len(labels)} labels")
    if labels.min(initial=1) < 1 or labels.max(initial=1) > 26:
        raise ValueError(f"EMNIST letters have labels 1 ... 26; got {labels.min()} ... {labels.max()}")
    return images.transpose(0, 2, 1), labels.astype(np.int64) - 1


def load_emnist(part: str = "train", /, *, letter: str | None = None, name: str = "emnist") -> CloudFamily:
    """EMNIST letters, thresholded; both cases of a letter are one class."""
    images, labels = read_emnist(part)
    family = replace(threshold_clouds(images, name=name), labels=labels, label_names=tuple(ascii_lowercase))
    source = "Source: EMNIST letters (Cohen et al. 2017). Licence: public domain (NIST)."
    return _one_letter(
        family, letter, f"handwritten letters (EMNIST, {part}), of both cases: {GEOMETRY} {source}"
    )


def _one_letter(family: CloudFamily, letter: str | None, about: str) -> CloudFamily:
    if letter is not None:
        family = family.subset(family.labels == family.label_names.index(letter))
        family = replace(family, labels=None, label_names=())
        about = about.replace("handwritten", f"letters {letter} among handwritten", 1)
    return replace(family, about=f"{len(family)} {about}")
