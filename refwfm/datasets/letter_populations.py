"""Letters that are blurred by noise, each turned by an angle of its own: the particles know where to go.

The recipe is that of Meta Flow Matching (Atanackovic et al. 2024), with another font: DejaVu Sans, which
matplotlib ships, in place of Arial, which may not be passed on.
"""

from pathlib import Path
from string import ascii_uppercase
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from refwfm.datasets._cloud_family import CloudFamily
from refwfm.datasets._population_family import PARTS, PopulationFamily
from refwfm.datasets.own_arrays import clouds_from_arrays

Floats = NDArray[np.float64]

FONT = "DejaVu Sans"
HEIGHT, CANVAS = 100, 200
"""Pixels: of the font, and of the side of the picture that a letter is drawn on."""

HALF = 3.0
"""Half the longer side of a letter, in the data's unit."""

TRAIN_METRICS = (2, 11, 23, 31, 45, 52, 61, 72, 83, 94)
"""Positions of the training populations that metrics are reported of: one of each letter from A to J."""

_ANGLE, _SUBSET, _JITTER, _NOISE = range(4)


class LetterRecipe(NamedTuple):
    """What letters are made, and how.

    Attributes
    ----------
    letters, validation, test : str
        Capital letters to train on, and held out; no letter twice.
    orientations : int
        Populations of each letter.
    points : int, optional
        Particles of each population: drawn from the letter's pixels without replacement, or with, where it
        has fewer. All pixels, once each, when left out.
    jitter, noise : float
        Standard deviations of what is added to the pixels, and to that for the source.
    seed : int
    """

    letters: str = "ABCDEFGHIJKLMNOPQRSTUVWZ"
    validation: str = "X"
    test: str = "Y"
    orientations: int = 10
    points: int | None = None
    jitter: float = 0.05
    noise: float = 0.5
    seed: int = 0


PUBLISHED = LetterRecipe()
"""That of the paper, but for the font."""


def letter_populations(recipe: LetterRecipe = PUBLISHED, /, *, name: str = "letters") -> PopulationFamily:
    """Paired populations: letters at t = 1, the same particles under noise at t = 0.

    Equation: none. A recipe for data: ``x₁ = R(c + jitter ε)``, ``x₀ = x₁ + noise ε'``, for pixels c.

    Populations come in the order of their letters, those to train on first. Each is drawn from the seed, its
    letter and its number alone: with other letters beside it, it is the same.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib, which has the font, or Pillow, which draws it, is not installed.
    ValueError
        If the recipe makes no sense.

    Examples
    --------
    >>> family = letter_populations(LetterRecipe(letters="AB", orientations=2, points=50))
    >>> len(family), family.members[1], family.source.sizes.tolist()
    (8, 'A1', [50, 50, 50, 50, 50, 50, 50, 50])
    """
    target = letter_targets(recipe)
    sources = [
        points + recipe.noise * _stream(recipe, letter, k, _NOISE).standard_normal(points.shape)
        for (letter, k), points in zip(_order(recipe), _members(target), strict=True)
    ]
    parts = [
        PARTS.index(part)
        for part, letters in zip(PARTS, (recipe.letters, recipe.validation, recipe.test), strict=True)
        for _ in range(len(letters) * recipe.orientations)
    ]
    short = {letter: len(glyph(letter)) for letter, _ in _order(recipe)}
    repeated = [c for c, n in short.items() if recipe.points is not None and recipe.points > n]
    return PopulationFamily(
        name=name,
        source=clouds_from_arrays(sources, name=f"{name}, source"),
        target=target,
        paired=True,
        parts=np.asarray(parts, dtype=np.int64),
        groups={
            "letter": tuple(letter for letter, _ in _order(recipe)),
            "orientation": tuple(str(k) for _, k in _order(recipe)),
        },
        members=tuple(f"{letter}{k}" for letter, k in _order(recipe)),
        about=f"capital letters, {FONT}, {HEIGHT} pixels high, every pixel that the letter touches. Units: "
        f"{2 * HALF:g} for the letter's longer side, y up, before it is turned by a random angle. Jitter "
        f"{recipe.jitter:g}; the source is the target with noise {recipe.noise:g}. "
        + (f"Pixels repeat in {', '.join(repeated)}, which have fewer. " if repeated else "")
        + "Source: drawn by Pillow; the font's licence (Bitstream Vera) allows it.",
    )


def letter_targets(
    recipe: LetterRecipe = PUBLISHED, /, *, fresh: int = 0, name: str = "letters"
) -> CloudFamily:
    """The letters at t = 1; with ``fresh`` from 1 on, other samples of the same laws.

    Jitter comes before the turn, which changes nothing about its law. Without ``points`` all pixels are there
    each time, and the jitter alone is new.
    """
    clouds = []
    for letter, k in _order(recipe):
        pixels = glyph(letter)
        if recipe.points is not None:
            chosen = _stream(recipe, letter, k, _SUBSET, fresh).choice(
                len(pixels), recipe.points, replace=recipe.points > len(pixels)
            )
            pixels = pixels[chosen]
        noise = _stream(recipe, letter, k, _JITTER, fresh).standard_normal(pixels.shape)
        clouds.append((pixels + recipe.jitter * noise) @ _turn(recipe, letter, k).T)
    return clouds_from_arrays(clouds, name=f"{name}, target")


def letter_centres(recipe: LetterRecipe = PUBLISHED, /, *, name: str = "letters") -> CloudFamily:
    """Where the jitter is about: all pixels of each population's letter, turned as it is.

    The law of a population at t = 1 is the mixture of ``N(c, jitter² I)`` over these c.
    """
    clouds = [glyph(letter) @ _turn(recipe, letter, k).T for letter, k in _order(recipe)]
    return clouds_from_arrays(clouds, name=f"{name}, centres")


def glyph(letter: str, /) -> Floats:
    """Pixels (n, 2) that a capital letter touches, y up, the longer side from -3 to 3.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib, which has the font, or Pillow, which draws it, is not installed.
    ValueError
        If it is no capital letter.
    """
    if letter not in ascii_uppercase or len(letter) != 1:
        raise ValueError(f"letters must be capitals from A to Z; got {letter!r}")
    if letter not in _GLYPHS:
        _GLYPHS[letter] = centred(_pixels(letter))
        _GLYPHS[letter].flags.writeable = False
    return _GLYPHS[letter]


_GLYPHS: dict[str, Floats] = {}


def centred(pixels: Floats, /) -> Floats:
    """Points (n, 2) with both sides of their box about 0, the longer one from -3 to 3.

    Examples
    --------
    >>> centred(np.asarray([[10.0, 0.0], [10.0, 4.0], [12.0, 0.0]])).tolist()
    [[-1.5, -3.0], [-1.5, 3.0], [1.5, -3.0]]
    """
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    return (pixels - (low + high) / 2) * (2 * HALF / np.max(high - low))


def _pixels(letter: str) -> Floats:
    """Columns and heights of the pixels that a letter touches."""
    try:
        import matplotlib
        from PIL import Image, ImageDraw, ImageFont
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'the letters need {error.name}: pip install "refwfm[figures]", for the font and what draws it'
        ) from None
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    picture = Image.new("L", (CANVAS, CANVAS), 0)
    font = ImageFont.truetype(str(path), HEIGHT)
    ImageDraw.Draw(picture).text((CANVAS // 4, CANVAS // 4), letter, fill=255, font=font)
    row, column = np.nonzero(np.asarray(picture))
    return np.stack([column, -row], axis=-1).astype(np.float64)


def _order(recipe: LetterRecipe) -> list[tuple[str, int]]:
    """Letter and number of each population; the recipe is checked."""
    letters = recipe.letters + recipe.validation + recipe.test
    if len(set(letters)) < len(letters) or not recipe.letters:
        raise ValueError(
            f"letters to train on and held out must differ, one at least to train on; got "
            f"{recipe.letters!r}, {recipe.validation!r} and {recipe.test!r}"
        )
    if recipe.orientations < 1 or (recipe.points is not None and recipe.points < 1):
        raise ValueError(
            f"orientations and points must be at least 1; got {recipe.orientations} and {recipe.points}"
        )
    if not (recipe.jitter >= 0 and recipe.noise >= 0 and recipe.seed >= 0):
        raise ValueError(
            f"jitter, noise and seed must not be negative; got {recipe.jitter}, {recipe.noise}, {recipe.seed}"
        )
    return [(letter, k) for letter in letters for k in range(recipe.orientations)]


def _stream(recipe: LetterRecipe, letter: str, k: int, purpose: int, fresh: int = 0) -> np.random.Generator:
    return np.random.default_rng([recipe.seed, ord(letter), k, purpose, fresh])


def _turn(recipe: LetterRecipe, letter: str, k: int) -> Floats:
    angle = _stream(recipe, letter, k, _ANGLE).uniform(0.0, 2.0 * np.pi)
    return np.asarray([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _members(family: CloudFamily) -> list[Floats]:
    return np.split(family.points, family.offsets[1:-1])
