"""The exercises by chapter, and how to find one.

To add one, put an ``Exercise`` into the module of its chapter, named in ``CHAPTERS``.
"""

from importlib import import_module

from refwfm.training.options import nearest
from refwfm.validation.exercises.exercise import Exercise

CHAPTERS = {
    "Transport on the line": "line",
    "Gaussians and Bures": "gaussians",
    "Entropic transport": "entropic",
    "Clouds and plans": "clouds",
    "Flow matching": "flows",
    "Flow matching of distributions": "distributions",
    "Measures over measures": "families",
    "Cells": "cells",
}
"""Modules of ``refwfm.validation.exercises`` with a function ``exercises``, by the titles of the chapters."""

EACH = 5
"""Exercises of a chapter."""


def chapter(title: str, /) -> list[Exercise]:
    """Exercises of one chapter."""
    return list(import_module(f"refwfm.validation.exercises.{CHAPTERS[title]}").exercises())


def by_id() -> dict[str, Exercise]:
    """All exercises by their ids, in order."""
    return {exercise.id: exercise for title in CHAPTERS for exercise in chapter(title)}


def find(id: str, /) -> Exercise:
    """Return the exercise with an id (upper and lower case are the same); imports its chapter alone.

    Raises
    ------
    ValueError
        If there is none: names those that look like it.
    """
    names = [f"ex-{number:02}" for number in range(1, EACH * len(CHAPTERS) + 1)]
    if id.casefold() not in names:
        raise ValueError(f"unknown exercise {id!r}; {nearest(id, names, listed='refwfm check')}")
    place = names.index(id.casefold())
    return chapter(list(CHAPTERS)[place // EACH])[place % EACH]
