"""Families of populations before and after, by name."""

from collections.abc import Callable
from typing import NamedTuple

from refwfm.datasets._population_family import PopulationFamily
from refwfm.datasets.letter_populations import letter_populations


class PopulationEntry(NamedTuple):
    """What the catalogue says about a family of populations."""

    about: str
    populations: int
    dimension: int
    shipped: bool
    load: Callable[[], PopulationFamily]


POPULATIONS: dict[str, PopulationEntry] = {
    "letters": PopulationEntry(
        "blurred letters, DejaVu Sans, in 10 orientations; X and Y are held out",
        *(260, 2, True, letter_populations),
    ),
}
"""Families of populations, by name."""


def load_populations(name: str, /) -> PopulationFamily:
    """Load a family of populations by name.

    Raises
    ------
    ValueError
        If the name is unknown.
    ModuleNotFoundError
        If making or reading it needs a library that is not installed.
    """
    if name not in POPULATIONS:
        raise ValueError(f"unknown family of populations {name!r}: expected one of {', '.join(POPULATIONS)}")
    return POPULATIONS[name].load()
