"""What the catalogue says about a family."""

from collections.abc import Callable
from typing import NamedTuple

from refwfm.datasets._cloud_family import CloudFamily
from refwfm.datasets._family import Family


class Entry(NamedTuple):
    """A family that can be loaded, and its facts, known without loading it."""

    about: str
    size: int | None
    """Number of members N; None where it depends on the files."""
    dimension: int
    n_labels: int
    """Number of classes; 0 when there are no labels."""
    shipped: bool
    """Whether nothing outside the package is needed."""
    load: Callable[[int], Family | CloudFamily]
    """Seed -> family."""
    kind: str = "Gaussians"
    """What the members are: "Gaussians" or "clouds"."""
    sizes: tuple[int, int] | None = None
    """Of clouds: points of the smallest and of the largest; None where it depends on the files."""
    held_out: str = ""
    """Name of the family with the members held out of this one, where there is one."""
