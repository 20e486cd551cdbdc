"""``refwfm cite``: BibTeX of what a run used. The entries are in ``references.bib`` beside this file."""

from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import typer

from refwfm.cli._common import say
from refwfm.cli._errors import clear_errors
from refwfm.cli._run_data import named_run
from refwfm.runs.config_file import read_config

ALWAYS = ("refwfm", "haviv2025wasserstein")
KINDS = {"meta-ot": "amos2023meta", "meta-ot-clouds": "amos2023meta", "meta-fm": "atanackovic2025meta"}
OUTER = {
    "frechet": "pooladian2023multisample",
    "chamfer": "pooladian2023multisample",
    "semidiscrete": "mousavihosseini2025semidiscrete",
}
"""Where outer plans come from: matching within a batch, sources to members one by one; others are of GWFM."""
ENTROPIC = ("auto", "rounded", "entropic", "argmax", "sampled")
DATA = {
    "cities": "tiger2019",
    "niches": "moffitt2018molecular",
    "pbmc": "zheng2017massively",
    "fours": "lecun1998gradient",
    "mnist": "lecun1998gradient",
    "usps": "hull1994database",
    "emnist": "cohen2017emnist",
    "shapenet": "chang2015shapenet",
    "pc15k": "chang2015shapenet",
    "modelnet40": "wu2015shapenets",
    "airplanes": "wu2015shapenets",
    "chairs": "wu2015shapenets",
    "monitors": "wu2015shapenets",
    "screen": "ramoszapatero2023trellis",
}
"""Where families come from, by how their names begin; all others are drawn, or the user's own."""


def cite(
    run: Annotated[
        Path | None,
        typer.Argument(
            parser=named_run,
            metavar="RUN",
            help="Folder of a run, or the name of a model that ships; left out: the software and its paper.",
        ),
    ] = None,
) -> None:
    """Print BibTeX of the papers and data that a run used."""
    with clear_errors():
        keys = list(ALWAYS)
        if run is not None:
            keys += used(*read_config(run / "config.toml"))
        known = entries()
        say("\n\n".join(known[key] for key in dict.fromkeys(keys)))


def used(run: dict[str, Any], train: dict[str, Any], /) -> list[str]:
    """Keys of what a configuration uses, beside ``ALWAYS``."""
    keys = [KINDS[kind] for kind in (run.get("kind"),) if kind in KINDS]
    outer, inner = train.get("outer", "independent"), train.get("inner", "independent")
    if train.get("time_law", "uniform") != "uniform":
        keys.append("esser2024scaling")
    if train.get("optimizer", "adam") == "muon":
        keys.append("jordan2024muon")
    if train.get("rectified_pairs"):
        keys.append("liu2023flow")
    if outer not in ("independent", "paired"):  # of no method: drawn, or as the data have them
        keys.append(OUTER.get(outer, "piening2026generalized"))
    if inner in ("sliced", "linear", "lazy") or train.get("source") in ("pure", "barycentric"):
        keys.append("piening2026generalized")
    if inner in ENTROPIC or train.get("outer_eps"):
        keys.append("cuturi2013sinkhorn")
    if inner == "exact" or outer == "wasserstein":
        keys.append("flamary2021pot")
    names = [str(run[name]) for name in ("data", "source") if run.get(name)]
    return keys + [key for name in names for start, key in DATA.items() if name.startswith(start)]


def entries() -> dict[str, str]:
    """All entries by their keys."""
    text = resources.files("refwfm.cli").joinpath("references.bib").read_text(encoding="utf-8")
    found = (entry.strip() for entry in text.split("\n\n"))
    return {entry.partition("{")[2].partition(",")[0]: entry for entry in found}
