"""The ledger: every audited formula, by section in the order of the papers, and how to find one.

To add a formula, write a function that returns its ``Item`` in the module of its section, and name it in
that module's ``items``. To add a module, name it in ``SECTIONS``.
"""

from importlib import import_module

from refwfm.backends import Backend
from refwfm.validation import twins
from refwfm.validation.check import Item

SECTIONS = {
    "Bures-Wasserstein space": "items_geometry",
    "Exact transport": "items_exact",
    "Geodesics between Gaussians": "items_geodesics",
    "Velocities of Gaussians": "items_velocities",
    "Displacement interpolation": "items_interpolation",
    "Objectives for Gaussians": "items_training",
    "Objective for point clouds": "items_cloud_loss",
    "Training": "items_step",
    "Generation of Gaussians": "items_generation",
    "Generation of point clouds": "items_cloud_flow",
    "Conditional flows": "items_conditional",
    "Distances between Gaussians": "items_distances",
    "Plans: rounding and sampling": "items_plans",
    "Barycenter": "items_barycenter",
    "Sources of Gaussians, matching": "items_sources",
    "Sources of point clouds": "items_cloud_sources",
    "Layers": "items_layers",
    "Network for Gaussians, optimiser": "items_networks",
    "Network for point clouds": "items_transformer",
    "Sliced transport": "items_sliced",
    "Linearised transport": "items_linearized",
    "Laziness of a reference": "items_laziness",
    "Metrics of families of clouds": "items_metrics",
}
"""Modules of ``refwfm.validation`` with a function ``items``, by the titles of their sections."""

TWINS = "Twins of this backend"

ALIASES = {
    "WFM-5": "WFM-1",
    "WFM-16": "WFM-11",
    "WFM-17": "WFM-11",
    "WFM-U6": "WFM-11",
    "WFM-B.1": "WFM-21",
    "WFM-B.2": "WFM-23",
    "WFM-B.3": "WFM-Prop3.1",
}
"""Equations and lemmas of the papers that the item of another one audits."""


def sections(backend: Backend | None = None, /) -> dict[str, list[Item]]:
    """All items by section; with a backend, also its twins."""
    found = {
        title: list(import_module(f"refwfm.validation.{name}").items()) for title, name in SECTIONS.items()
    }
    if backend is not None:
        found[TWINS] = twins.items(backend)
    return {title: items for title, items in found.items() if items}


def by_id(backend: Backend | None = None, /) -> dict[str, Item]:
    """All items by their ids, in order; with a backend, also its twins."""
    return {item.id: item for items in sections(backend).values() for item in items}


def find(id: str, known: dict[str, Item], /) -> Item:
    """Return the item with an id or an alias (upper and lower case are the same).

    Raises
    ------
    ValueError
        If there is none: names those there are.
    """
    names = {name.casefold(): name for name in known}
    names |= {alias.casefold(): name for alias, name in ALIASES.items() if name in known}
    if id.casefold() not in names:
        raise ValueError(f"unknown id {id!r}; the ledger has {', '.join(known)}")
    return known[names[id.casefold()]]
