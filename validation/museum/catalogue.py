"""The museum's rooms, and how to find an exhibit.

To add one, put an ``Exhibit`` into the module of its room. To add a room, name its module in ``ROOMS``.
"""

from importlib import import_module

from refwfm.training.options import nearest
from refwfm.validation.museum.exhibit import Exhibit

ROOMS = {
    "Distances between points": "points",
    "Clouds and families of clouds": "clouds",
    "Optimal plans": "exact",
    "Entropic plans": "entropic",
    "Gaussians": "gaussians",
    "Matrix roots and derivatives": "roots",
    "Flows and networks": "flows",
}
"""Modules of ``refwfm.validation.museum`` with a function ``exhibits``, by their titles."""


def rooms() -> dict[str, list[Exhibit]]:
    """All exhibits by room."""
    return {
        title: list(import_module(f"refwfm.validation.museum.{name}").exhibits())
        for title, name in ROOMS.items()
    }


def by_id() -> dict[str, Exhibit]:
    """All exhibits by their ids, in order."""
    return {exhibit.id: exhibit for exhibits in rooms().values() for exhibit in exhibits}


def find(id: str, known: dict[str, Exhibit], /) -> Exhibit:
    """Return the exhibit with an id (upper and lower case are the same).

    Raises
    ------
    ValueError
        If there is none: names those that look like it.
    """
    names = {name.casefold(): name for name in known}
    if id.casefold() not in names:
        raise ValueError(f"unknown exhibit {id!r}; {nearest(id, known, listed='refwfm museum')}")
    return known[names[id.casefold()]]
