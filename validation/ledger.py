"""The ledger: every audited formula, by section, and how to find one.

To add a formula, write a function that returns its ``Item`` in the module of its section, and name it in
that module's ``items``.
"""

from refwfm.backends import Backend
from refwfm.validation import (
    items_barycenter,
    items_conditional,
    items_distances,
    items_generation,
    items_geodesics,
    items_geometry,
    items_layers,
    items_networks,
    items_sources,
    items_step,
    items_training,
    items_velocities,
    twins,
)
from refwfm.validation.check import Item

SECTIONS = {
    "Bures-Wasserstein space": items_geometry.items,
    "Distances": items_distances.items,
    "Barycenter": items_barycenter.items,
    "Geodesics": items_geodesics.items,
    "Velocities": items_velocities.items,
    "Conditional flows": items_conditional.items,
    "Objectives": items_training.items,
    "Training": items_step.items,
    "Generation": items_generation.items,
    "Sources and matching": items_sources.items,
    "Layers": items_layers.items,
    "Network and optimiser": items_networks.items,
}
TWINS = "Twins of this backend"


def sections(backend: Backend | None = None, /) -> dict[str, list[Item]]:
    """All items by section; with a backend, also its twins."""
    found = {title: items() for title, items in SECTIONS.items()}
    if backend is not None:
        found[TWINS] = twins.items(backend)
    return {title: items for title, items in found.items() if items}


def identifiers(backend: Backend | None = None, /) -> list[str]:
    """Ids of all items, in order."""
    return [item.id for items in sections(backend).values() for item in items]


def lookup(id: str, backend: Backend | None = None, /) -> Item:
    """Return the item with an id (upper and lower case are the same).

    Raises
    ------
    ValueError
        If there is none: names those there are.
    """
    for items in sections(backend).values():
        for item in items:
            if item.id.casefold() == id.casefold():
                return item
    raise ValueError(f"unknown id {id!r}; the ledger has {', '.join(identifiers(backend))}")
