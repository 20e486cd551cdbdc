"""Clouds of colours in the cube ``[0, 1]³``: synthetic palettes, and the photographs that packages ship.

A picture is an array (height, width, 3) of red, green and blue in [0, 1]; its palette is the cloud of its
pixels. No photograph ships with this package and none is downloaded: scikit-image and scikit-learn hold
theirs inside their wheels, with the licences that ``PHOTOGRAPHS`` states. (SciPy's, ``scipy.datasets.face``,
is downloaded, and not used.)
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Photograph(NamedTuple):
    """Where a photograph is, who made it, and what may be done with it."""

    package: str
    path: str
    author: str
    licence: str


_SKLEARN, _SKIMAGE = "sklearn", "skimage"
PHOTOGRAPHS = {
    "china": Photograph(_SKLEARN, "datasets/images/china.jpg", "danielbuechele", "CC BY 2.0"),
    "flower": Photograph(_SKLEARN, "datasets/images/flower.jpg", "vultilion", "CC BY 2.0"),
    "astronaut": Photograph(_SKIMAGE, "data/astronaut.png", "NASA", "public domain"),
    "chelsea": Photograph(_SKIMAGE, "data/chelsea.png", "Stéfan van der Walt", "CC0"),
    "coffee": Photograph(_SKIMAGE, "data/coffee.png", "Rachel Michetti", "CC0"),
    "rocket": Photograph(_SKIMAGE, "data/rocket.jpg", "SpaceX", "public domain"),
    "hubble": Photograph(_SKIMAGE, "data/hubble_deep_field.jpg", "NASA", "public domain"),
}
"""Photographs by name. Attribution, where the licence asks for it, is the author's name on flickr.com."""

DISTRIBUTIONS = {_SKLEARN: "scikit-learn", _SKIMAGE: "scikit-image"}


def available_photographs() -> list[str]:
    """Names of the photographs whose package is installed, and that it still ships."""
    return [name for name in PHOTOGRAPHS if _path(name) is not None]


def photograph(name: str, /) -> Floats:
    """Load a photograph as an array (height, width, 3) in [0, 1].

    Raises
    ------
    ValueError
        If there is none of that name: says which there are.
    ModuleNotFoundError
        If the package that ships it is not installed, or Pillow, which reads it: says what to install.

    Notes
    -----
    scikit-image moves pictures between its wheel and its downloads from one release to the next; what the
    installed one does not ship is a ``FileNotFoundError``.
    """
    if name not in PHOTOGRAPHS:
        raise ValueError(f"unknown photograph {name!r}; there are {', '.join(PHOTOGRAPHS)}")
    package = PHOTOGRAPHS[name].package
    hint = 'pip install "refwfm[photographs]"'
    if find_spec(package) is None:
        raise ModuleNotFoundError(f"the photograph {name!r} ships with {DISTRIBUTIONS[package]}: {hint}")
    path = _path(name)
    if path is None:
        raise FileNotFoundError(f"the installed {DISTRIBUTIONS[package]} ships no {PHOTOGRAPHS[name].path}")
    return read_picture(path)


def read_picture(path: str | Path, /) -> Floats:
    """Read a picture from a file of any format that Pillow knows, as an array (height, width, 3) in [0, 1].

    Raises
    ------
    ModuleNotFoundError
        If Pillow is not installed.
    """
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'reading {path} needs Pillow: pip install "refwfm[photographs]"'
        ) from error
    with Image.open(path) as file:
        known = file.mode in ("L", "LA", "RGB", "RGBA")
        picture = file if known else file.convert("RGBA" if "transparency" in file.info else "RGB")
        return as_colours(np.asarray(picture))


def as_colours(picture: Any, /) -> Floats:
    """Picture as an array (height, width, 3) in [0, 1]: grey, in colours, or with alpha.

    Grey is as much red as green and blue. Where there is an alpha channel, the picture lies on white.

    Parameters
    ----------
    picture : array, shape (height, width) or (height, width, 1 to 4)
        ``uint8`` from 0 to 255, or floating in [0, 1].

    Raises
    ------
    TypeError, ValueError
        If it has another dtype, shape or range.

    Examples
    --------
    >>> as_colours(np.asarray([[[0, 0]]], dtype=np.uint8)).tolist()  # black, and transparent
    [[[1.0, 1.0, 1.0]]]
    """
    values = np.asarray(picture)
    if values.dtype == np.uint8:
        values = values / 255.0
    elif values.dtype.kind != "f":
        raise TypeError(f"a picture must be of uint8, from 0 to 255, or floating; got {values.dtype}")
    values = values.astype(np.float64)
    values = values[..., None] if values.ndim == 2 else values
    if values.ndim != 3 or values.shape[-1] not in (1, 2, 3, 4) or 0 in values.shape:
        raise ValueError(
            f"a picture must have shape (height, width) or (height, width, 1 to 4); got {np.shape(picture)}"
        )
    if not (np.min(values) >= 0.0 and np.max(values) <= 1.0):  # so is NaN
        raise ValueError(
            f"floating pictures must lie in [0, 1]; got {np.min(values):.9g} ... {np.max(values):.9g}; "
            "divide those up to 255 by 255"
        )
    channels = values.shape[-1]
    colours = values[..., : 1 if channels < 3 else 3]
    if channels in (2, 4):
        alpha = values[..., -1:]
        colours = alpha * colours + (1.0 - alpha)
    return np.repeat(colours, 3, axis=-1) if channels < 3 else colours


def palette(picture: Floats, n: int, /, *, rng: np.random.Generator) -> Floats:
    """Draw the colours of n pixels of a picture, shape (n, 3); with replacement where it has fewer."""
    pixels = np.reshape(picture, (-1, 3))
    if n < 1:
        raise ValueError(f"n must be at least 1; got {n}")
    return pixels[rng.choice(len(pixels), n, replace=n > len(pixels))]


def crops(picture: Floats, count: int, /, *, rng: np.random.Generator, size: float = 0.4) -> list[Floats]:
    """Draw rectangular regions of a picture, with sides of ``size`` times its own.

    Regions of one photograph differ in their colours, as sky and roof do, and make many pairs out of few
    photographs.
    """
    if not 0.0 < size <= 1.0:
        raise ValueError(f"size must lie in (0, 1]; got {size}")
    height, width = picture.shape[:2]
    h, w = max(1, round(size * height)), max(1, round(size * width))
    tops, lefts = rng.integers(0, height - h + 1, count), rng.integers(0, width - w + 1, count)
    return [picture[top : top + h, left : left + w] for top, left in zip(tops, lefts, strict=True)]


def synthetic_palettes(count: int, n: int, /, *, rng: np.random.Generator) -> Floats:
    """Draw palettes that are mixtures of 2 to 4 Gaussians in the cube, shape (count, n, 3).

    Means are uniform in ``[0.1, 0.9]³``, shares Dirichlet(2), covariances ``s² F Fᵀ`` with F standard normal
    (3, 3) and s uniform in [0.02, 0.1]; colours outside the cube are moved to its surface. The specification
    of the mixtures is ours: the paper has photographs of paintings, which may not be copied.
    """
    result = np.empty((count, n, 3))
    for i in range(count):
        k = int(rng.integers(2, 5))
        means, spreads = rng.uniform(0.1, 0.9, (k, 3)), rng.uniform(0.02, 0.1, (k, 1, 1))
        factors = spreads * rng.standard_normal((k, 3, 3))
        parts = rng.choice(k, n, p=rng.dirichlet(np.full(k, 2.0)))
        noise = rng.standard_normal((n, 3))
        result[i] = means[parts] + np.einsum("nij,nj->ni", factors[parts], noise)
    return np.clip(result, 0.0, 1.0)


def _path(name: str) -> Path | None:
    """File of a photograph, None where its package is not there or ships it no longer."""
    spec = find_spec(PHOTOGRAPHS[name].package)
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / PHOTOGRAPHS[name].path
    return path if path.exists() else None
