"""The file of a run's configuration: its tables [run] and [train], and what each may hold."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refwfm.training.flows import CONFIGS
from refwfm.training.options import Option, check_option, check_type, nearest, option, options_of
from refwfm.training.presets import PRESETS, in_words

LARGEST = 2**18
"""Bytes of a configuration's file, which has some hundred options."""

_DOTTED = re.compile(r"(?:(?:\"[^\"\n]*\"|'[^'\n]*'|[\w-]+)[ \t]*\.[ \t]*){50}")


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What a run needs besides its configuration: the table [run] of a file."""

    kind: str = option(
        "flow",
        "What is learned: a flow that generates Gaussians or clouds, as the data are; Meta OT, which "
        "predicts potentials of pairs of histograms; or Meta Flow Matching, which predicts populations.",
        choices=("flow", "meta-ot", "meta-fm"),
    )
    preset: str = option(
        "paper",
        "Values of what is given neither here nor in a file. "
        + ". ".join(map(in_words, PRESETS))
        + " (other values in more than two dimensions: refwfm.training.presets.ABOVE; no outer plan for "
        "conditions).",
        choices=PRESETS,
    )
    data: str = option(
        "cities",
        "Family to learn: a name in the catalogue (refwfm data list), an .npz file, or a folder of arrays.",
    )
    source: str | None = option(None, "Family of clouds that the flow starts from.")
    rectify: str | None = option(
        None,
        "Run to learn anew from pairs of its own (reflow): sources, and where its model takes them; then few "
        "steps of generation do. Data, source, network and what else is not about training are that run's.",
    )
    hold_out: str | None = option(
        None,
        "Members to hold out, which evaluation compares with: a share, COLUMN=VALUE,VALUE of what a family "
        "made from AnnData knows of its cells, or COLUMN for whole values of it, such as sections (default "
        "0.1 for one's own .npz of at least 20 members; 0 for none).",
    )
    out: str | None = option(None, "Folder of the run.")
    backend: str | None = option(
        None,
        "Array library, and device: numpy, torch, torch:cuda, cupy, jax or strict; the variable "
        "REFWFM_BACKEND when left out, else numpy.",
    )
    dtype: str = option("float32", "Floating type of the run.", choices=("float32", "float64"))
    reference: bool = option(False, "Use the plain functions and no faster twins.")
    precision: str | None = option(
        None,
        "Arithmetic of the network's layers on torch, tf32 on GPUs only; transport, loss and optimiser stay "
        "in --dtype.",
        choices=("float32", "tf32", "bf16"),
    )
    compile: bool = option(False, "Whether torch compiles the network's layers and their pullback.")
    log_every: int = option(50, "Steps between two lines of the log.", low=1)
    checkpoint_every: int = option(
        1000,
        "Steps between two checkpoints, which are made when a line of the log is written; there is one each "
        "minute besides.",
        low=1,
    )


TABLES: dict[str, dict[str, Option]] = {
    "run": options_of(RunOptions),
    "train": {name: each for kind in CONFIGS.values() for name, each in options_of(kind).items()},
}
"""The tables of a configuration's file, and what each may hold."""


def read_config(path: Path, /) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read a TOML file's tables ``run`` and ``train``.

    Raises
    ------
    ValueError
        If it is not TOML, or has an unknown name.
    """
    import tomllib

    if path.is_dir():
        raise IsADirectoryError(f"{path} is a directory, and no TOML file")
    if not path.exists():
        raise FileNotFoundError(f"no such file: {path}")
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path} is no configuration: it has more than {LARGEST} bytes")
    try:
        text = path.read_text(encoding="utf-8")
        if _DOTTED.search(text):  # each part costs the parser a copy of those before it
            raise ValueError("a name has more than fifty parts")
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # no TOML, no UTF-8, 5000 digits; 1000 brackets
        raise ValueError(f"{path} is no TOML file: {error}") from None
    for table, values in tables.items():
        if table not in TABLES or not isinstance(values, dict):
            raise ValueError(f"{path}: unknown table {table!r}; expected [run] and [train]")
        for key in values:
            if key not in TABLES[table]:
                raise ValueError(
                    f"{path}: unknown name {key!r} in [{table}]; "
                    + nearest(key, TABLES[table], listed="refwfm train --help")
                )
        # Only types in [train]: the constructor of the configuration checks the rest, and knows its kind.
        check = check_option if table == "run" else check_type
        try:
            for key, value in values.items():
                check(TABLES[table][key], value)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
    return tables.get("run", {}), tables.get("train", {})


def check_run_options(values: dict[str, Any], /) -> None:
    """Raise ``ValueError`` unless each value of a table [run] is of its type and within bounds."""
    for name, value in values.items():
        check_option(TABLES["run"][name], value)
