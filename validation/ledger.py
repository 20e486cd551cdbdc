"""The ledger: every audited formula, by section in the order of the papers, and how to find one.

To add a formula, write a function that returns its ``Item`` in the module of its section, and name it in
that module's ``items``. To add a module, name it in ``SECTIONS``.
"""

import re
from difflib import get_close_matches
from importlib import import_module

from refwfm.backends import Backend
from refwfm.validation import twins
from refwfm.validation.check import Item

SECTIONS = {
    # Wasserstein flow matching, in the order of the paper
    "Bures-Wasserstein space": "geometry",
    "Exact transport": "exact",
    "Geodesics between Gaussians": "geodesics",
    "Velocities of Gaussians": "velocities",
    "Displacement interpolation": "interpolation",
    "Objectives for Gaussians": "training",
    "Objective for point clouds": "cloud_loss",
    "Training": "step",
    "Generation of Gaussians": "generation",
    "Generation of point clouds": "cloud_flow",
    "Training and generation of point clouds": "cloud_step",
    "Plans: errors and rounding": "plans",
    "Pairs drawn from a plan": "plan_samples",
    "Entropic plans": "sinkhorn",
    "Entropic maps": "entropic",
    "Rates and divergence of entropic transport": "entropic_rates",
    "Conditional flows": "conditional",
    "Marginal flows": "marginal",
    "Distances between Gaussians": "distances",
    "Barycenter": "barycenter",
    "Sources of Gaussians, matching": "sources",
    "Sources of point clouds": "cloud_sources",
    "Layers": "layers",
    "Network for Gaussians, optimiser": "networks",
    "Network for point clouds": "transformer",
    "Random features": "random_features",
    "Grids of data": "grid_features",
    "Orthogonal steps": "muon",
    "Times of training": "times",
    "Bounds of velocities": "bounds",
    "Pairs that a flow makes": "rectified",
    "Labels and guidance": "labels",
    "Distances between clouds": "cloud_distances",
    "Nearest clouds": "cloud_neighbours",
    "Metrics of families of clouds": "metrics",
    # Its generalisation, in the order of the paper
    "Transport between families": "families",
    "Curves and fields of a plan": "plan_curves",
    "Flows over measures": "plan_flows",
    "Random couplings": "random_couplings",
    "Curves of families": "family_curves",
    "Costs of outer plans": "couplings",
    "Outer plans": "outer_plans",
    "Semidiscrete outer plans": "semidiscrete",
    "Inner plans: maps": "inner_couplings",
    "Inner plans: draws": "inner_draws",
    "Sliced transport": "sliced",
    "Sliced plans": "sliced_plans",
    "Linearised transport": "linearized",
    "Training by a reference": "lazy_step",
    "Laziness of a reference": "stability",
    "Sources of the generalisation": "gwfm_sources",
    "Baseline network": "point_mlp",
    "Straightness of paths": "straightness",
    # Meta optimal transport
    "Meta transport: convex potentials": "meta_continuous",
    "Meta transport: prediction": "meta_prediction",
    "Conditional Monge maps": "meta_conditional",
    "Semi-dual of entropic transport": "meta_discrete",
    "Networks of potentials": "meta_networks",
    "Warm starts": "meta_starts",
    "Grids and the sphere": "meta_grids",
    # Meta flow matching
    "Meta flow matching: graphs": "meta_fm_graphs",
    "Meta flow matching: populations": "meta_fm_embedding",
    "Meta flow matching: features": "meta_fm_features",
    "Meta flow matching: networks": "meta_fm_networks",
    "Meta flow matching: kernels": "meta_fm_kernels",
    "Meta flow matching: objective": "meta_fm_objective",
    "Populations: metrics and flows": "meta_fm_metrics",
    "Populations: oracles": "meta_fm_oracles",
    "Data of populations": "meta_fm_data",
}
"""Modules of ``refwfm.validation.items`` with a function ``items``, by the titles of their sections."""

TWINS = "Twins of this backend"

ALIASES = {
    "WFM-5": "WFM-1",
    "WFM-15": "GWFM-9",
    "WFM-16": "WFM-11",
    "WFM-17": "WFM-11",
    "WFM-20": "WFM-19",
    "WFM-U1": "WFM-19",
    "WFM-U3": "WFM-7",
    "WFM-U6": "WFM-11",
    "WFM-U10": "WFM-21",
    "WFM-B.1": "WFM-21",
    "WFM-B.2": "WFM-23",
    "WFM-B.3": "WFM-Prop3.1",
    "GWFM-2": "GWFM-1",
    "GWFM-4": "GWFM-3",
    **dict.fromkeys(("GWFM-5", "GWFM-6", "GWFM-7", "GWFM-13", "GWFM-14"), "GWFM-12"),
    "GWFM-16": "GWFM-17",
    "GWFM-25": "GWFM-28",
    "GWFM-31": "GWFM-1",
    **{f"GWFM-{number}": "GWFM-11" for number in (42, 43)},
    **{f"GWFM-{number}": "GWFM-18" for number in range(44, 51)},
    **{f"GWFM-{number}": "GWFM-19" for number in range(51, 57)},
    "GWFM-21": "GWFM-20",
    **{f"GWFM-{number}": "GWFM-20" for number in range(57, 71)},
    **{f"GWFM-{number}": "GWFM-22" for number in range(72, 95)},
    **{f"GWFM-{number}": "GWFM-23" for number in range(95, 98)},
    **{f"GWFM-{number}": "GWFM-37" for number in range(98, 105)},
}
"""Equations and lemmas of the papers that the item of another one audits."""


def sections(backend: Backend | None = None, /) -> dict[str, list[Item]]:
    """All items by section; with a backend, also its twins."""
    found = {
        title: list(import_module(f"refwfm.validation.items.{name}").items())
        for title, name in SECTIONS.items()
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
        If there is none: names the nearest.
    """
    names = _names(known)
    if id.casefold() not in names:
        raise ValueError(f"unknown id {id!r}; {_nearest(id, known, list(names.values()))}")
    return known[names[id.casefold()]]


def search(words: str, known: dict[str, Item], /) -> list[Item]:
    """Items that somebody asks for, the most likely one first.

    What is asked for is an id or alias, the number of an equation ("10": the first paper's, then the
    others'), the id of a misprint ("E1"), the name of a function ("velocity", "bures.velocity"), or words
    that the title, statement or place has.

    Raises
    ------
    ValueError
        If there is none: names the nearest.
    """
    asked = words.strip().strip("()").casefold()
    names = _names(known)
    if asked in names:
        return [known[names[asked]]]
    numbered = {names[name]: None for name in names if re.fullmatch(rf"[a-z-]+-{re.escape(asked)}", name)}
    ways = (
        [known[name] for name in numbered],
        [item for item in known.values() if any(asked == each.id.casefold() for each in item.misprints)],
        [item for item in known.values() if asked in _functions(item)],
        [item for item in known.values() if all(word in _told(item) for word in asked.split()) and asked],
    )
    for found in ways:
        if found:
            return found
    functions = sorted({name for item in known.values() for name in _functions(item)})
    raise ValueError(f"nothing is called {words!r}; {_nearest(words, known, [*names.values(), *functions])}")


def _names(known: dict[str, Item]) -> dict[str, str]:
    names = {name.casefold(): name for name in known}
    return names | {alias.casefold(): name for alias, name in ALIASES.items() if name in known}


def _functions(item: Item) -> set[str]:
    """Names of an item's functions, with their modules and without."""
    names = {
        f"{each.__module__}.{each.__name__}".removeprefix("refwfm.").casefold() for each in item.functions
    }
    return names | {
        part for name in names for part in (name.rpartition(".")[2], ".".join(name.split(".")[-2:]))
    }


def _told(item: Item) -> str:
    return f"{item.title} {item.statement} {item.paper} {item.place}".casefold()


def _nearest(asked: str, known: dict[str, Item], names: list[str]) -> str:
    """Words that name what is spelt most alike."""
    by_case = {name.casefold(): name for name in names}
    close = get_close_matches(asked.casefold(), by_case, n=5, cutoff=0.5)
    near = dict.fromkeys(by_case[name] for name in close)
    told = (
        f"nearest: {', '.join(dict.fromkeys(near))}"
        if near
        else f"ids are such as {', '.join(list(known)[:3])}"
    )
    return f"{told} (refwfm explain WORD searches, refwfm verify shows all)"
