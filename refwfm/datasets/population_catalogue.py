"""Families of populations before and after, by name."""

import os
from collections.abc import Callable
from typing import NamedTuple

from refwfm.datasets._files import load_population_file
from refwfm.datasets._population_family import PopulationFamily
from refwfm.datasets._source import locate
from refwfm.datasets.letter_populations import PUBLISHED, letter_populations
from refwfm.datasets.screen import prepare_screen
from refwfm.datasets.screen_table import read_screen
from refwfm.datasets.synthetic_screen import synthetic_screen


class PopulationEntry(NamedTuple):
    """What the catalogue says about a family of populations."""

    about: str
    size: str
    """Number of populations, in words."""
    dimension: int
    shipped: bool
    """Whether nothing outside the package is needed."""
    load: Callable[[int], PopulationFamily]
    """Seed -> family."""


def load_screen(seed: int) -> PopulationFamily:
    """The organoid screen in ``REFWFM_DATA``, replica split, at most 5,000 cells of each population."""
    table = read_screen(locate("organoid_screen"))
    return prepare_screen(table, split="replica", seed=seed, max_cells=5000).family


def load_patients(seed: int) -> PopulationFamily:
    """The organoid screen, patient split: replicates of patient 27 for validation, of 21 for test."""
    table = read_screen(locate("organoid_screen"))
    return prepare_screen(table, split="patient", validation="27", seed=seed, max_cells=5000).family


def load_synthetic(seed: int) -> PopulationFamily:
    """The synthetic screen: a patient held out for validation, and one for test."""
    return synthetic_screen(seed=seed).family


def load_letters(seed: int) -> PopulationFamily:
    """Blurred letters in ten orientations; X is held out for validation, Y for test."""
    return letter_populations(PUBLISHED._replace(seed=seed))


POPULATIONS: dict[str, PopulationEntry] = {
    "letter-populations": PopulationEntry(
        "blurred letters, DejaVu Sans, in 10 orientations; X and Y held out", "260", 2, True, load_letters
    ),
    "synthetic-screen": PopulationEntry(
        "a drug screen of 8 patients, drawn", "216", 10, True, load_synthetic
    ),
    "screen": PopulationEntry("organoid drug screen, replicas held out", "files", 43, False, load_screen),
    "screen-patients": PopulationEntry(
        "organoid drug screen, replicas of two patients held out", "files", 43, False, load_patients
    ),
}
"""Families of populations, by name."""


def load_populations(name: str | os.PathLike[str], /, *, seed: int = 0) -> PopulationFamily:
    """Load populations by name, or one's own from a file ending in ``.npz``.

    Parameters
    ----------
    name : str or path
        A key of ``POPULATIONS``, or a path ending in ``.npz``.
    seed : int, non-negative
        Of what is drawn and of the split.

    Raises
    ------
    ValueError
        If the name is unknown, or the file holds no populations.
    OSError
        If a file is missing.
    ModuleNotFoundError
        If reading it needs a library that is not installed.
    """
    text = os.fspath(name)
    if text.lower().endswith(".npz"):
        return load_population_file(text)
    if text not in POPULATIONS:
        raise ValueError(
            f"unknown populations {text!r}: expected a path ending in .npz or one of {', '.join(POPULATIONS)}"
        )
    if seed < 0:
        raise ValueError(f"seed must be non-negative; got {seed}")
    return POPULATIONS[text].load(seed)
