"""The user's own data: cells under a control and under conditions, from arrays or an AnnData file (.h5ad)."""

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refwfm._array import check_integer
from refwfm.datasets._anndata import components_of, opened
from refwfm.datasets._cloud_family import CloudFamily
from refwfm.datasets._grouping import one_hot, rows_by
from refwfm.datasets._population_family import PARTS, PopulationFamily

Floats = NDArray[np.float64]

NO_VALUE = ("", "None", "nan", "NaT", "<NA>")
"""How a missing value reads."""

Held = float | tuple[str, Sequence[str]] | None
"""What is held out: a share of the populations, or a column and some of its values."""


def populations_from_arrays(
    features: Any,
    /,
    *,
    population: Any,
    condition: Any,
    control: str,
    dose: Any | None = None,
    marks: Any | None = None,
    held_out: Held = None,
    validation: Held = None,
    columns: Mapping[str, Any] | None = None,
    min_cells: int = 10,
    seed: int = 0,
    feature_names: Sequence[str] = (),
    name: str = "populations",
    about: str = "",
) -> PopulationFamily:
    """Populations of cells: in each, the control's cells are the source, those of a condition a target.

    Parameters
    ----------
    features : array (cells, d)
        What is moved, such as principal components, as it stands.
    population, condition : (cells,)
        Which sample or patient a cell is from, and what was done to it. Neither may be missing.
    control : str
        The condition that is the control.
    dose : (cells,), optional
        Numbers: each dose of a condition is a target of its own, and the last column of ``conditions``. That
        of the control is not read.
    marks : (cells,), optional
        A kind of each cell: one-hot marks.
    held_out, validation : float, or (str, sequence of str), optional
        For test and for validation: a share of the populations, at random, with all of their pairs (those of
        one population share their control); or a column and values, in ``columns`` or one of "population",
        "condition". Nothing when left out.
    columns : dict of (cells,), optional
        What else is known of the cells, the same for all that are in one target: becomes ``groups``.
    min_cells : int
        A control or target of fewer cells is dropped, with a warning.
    seed : int
        Of the shares.
    feature_names, name, about

    Returns
    -------
    PopulationFamily
        A pair for each population and condition, matched independently. Conditions are one-hot.

    Raises
    ------
    TypeError
        If features or doses are no numbers.
    ValueError
        If a length disagrees, a value is missing or not finite, the control is nowhere, no pair is left, or
        nothing would be held out, or nothing left to train on.

    Warns
    -----
    UserWarning
        Which populations are dropped, and why.
    """
    features = _features(features)
    total = len(features)
    min_cells = check_integer(min_cells, "min_cells", low=1)
    facts = {"population": population, "condition": condition, **(columns or {})}
    known = {key: texts(values, key, total) for key, values in facts.items()}
    pairs, conditions, names = _pairs(known, control, _doses(dose, total, known, control), min_cells)
    groups = {key: tuple(_common(values[p.after], key, p) for p in pairs) for key, values in known.items()}
    if dose is not None:
        groups["dose"] = tuple(f"{pair.dose:g}" for pair in pairs)
    parts = _parts(groups, held_out, validation, seed)
    kinds = None if marks is None else texts(marks, "marks", total)

    def cells(rows: list[NDArray[np.int64]]) -> CloudFamily:
        offsets = np.concatenate([[0], np.cumsum([len(each) for each in rows])])
        return CloudFamily(name=name, points=features[np.concatenate(rows)], offsets=offsets)

    before = [pair.before for pair in pairs]
    return PopulationFamily(
        name=name,
        source=cells(before),
        target=cells([pair.after for pair in pairs]),
        marks=None
        if kinds is None
        else one_hot(kinds[np.concatenate(before)], tuple(np.unique(kinds).tolist())),
        conditions=conditions,
        condition_names=names,
        parts=parts,
        groups=groups,
        features=tuple(feature_names),
        members=tuple(pair.title for pair in pairs),
        about=about or f"{len(pairs)} pairs of {control} and another condition in the same population.",
    )


def populations_from_anndata(
    path: str | os.PathLike[str],
    /,
    *,
    population: str,
    condition: str,
    control: str,
    dose: str | None = None,
    marks: str | None = None,
    basis: str | None = None,
    layer: str | None = None,
    use_raw: bool = False,
    pcs: int = 16,
    held_out: Held = None,
    validation: Held = None,
    min_cells: int = 10,
    seed: int = 0,
) -> PopulationFamily:
    """Populations of cells of an AnnData file (.h5ad), by columns of ``obs``.

    Parameters
    ----------
    path : path of a .h5ad file, or of a .zarr store
    population, condition, dose, marks : str
        Columns of ``obs``; see ``populations_from_arrays``.
    control : str
        The value of the condition that is the control.
    basis : str, optional
        Entry of ``obsm`` whose first ``pcs`` columns are moved. When left out it is "X_pca" if the file has
        it; otherwise components are computed from ``X`` as it stands.
    layer : str, or use_raw : bool
        Compute components from this entry of ``layers``, or from ``raw``, in place of ``X`` and of "X_pca".
    pcs : int
        The dimension d.
    held_out, validation : float, or (str, sequence of str), optional
        A share of the populations, or a column of ``obs`` and values.
    min_cells, seed
        See ``populations_from_arrays``.

    Raises
    ------
    FileNotFoundError, ValueError, ModuleNotFoundError
        If the file is missing, not AnnData, or lacks a column (the message lists what it has); anndata is
        not installed; as ``populations_from_arrays`` does.
    """
    if basis is not None and (layer is not None or use_raw):
        raise ValueError(f"give either basis or an expression to compute components from; got {basis!r} too")
    path = Path(path)
    with opened(path) as data:
        obs = data.obs
        components, origin = components_of(data, pcs, basis, layer, use_raw)
    more = {held[0] for held in (held_out, validation) if isinstance(held, tuple)}
    wanted = {"population": population, "condition": condition, "dose": dose, "marks": marks}
    for key in (*wanted.values(), *sorted(more)):
        if key is not None and key not in obs:
            raise ValueError(
                f"{path.name} has no column {key!r} in obs; it has "
                f"{', '.join(map(str, obs.columns)) or 'none'}"
            )
    for role, key in wanted.items():
        if key is not None:
            _refuse_missing(obs[key].isna().to_numpy(), f"{key} ({role})")
    of_role = {population: "population", condition: "condition"}
    spelt = [
        (of_role.get(held[0], held[0]), held[1]) if isinstance(held, tuple) else held
        for held in (held_out, validation)
    ]
    return populations_from_arrays(
        components,
        population=obs[population],
        condition=obs[condition],
        control=control,
        dose=None if dose is None else obs[dose],
        marks=None if marks is None else obs[marks],
        held_out=spelt[0],
        validation=spelt[1],
        columns={key: obs[key] for key in sorted(more - set(of_role))},
        min_cells=min_cells,
        seed=seed,
        name=path.stem,
        about=f"Cells of {path.name} by {population}: {condition} {control} and after, in {pcs} components "
        f"({origin}).",
    )


def held_of(text: str | None, option: str, /) -> Held:
    """What an option of the command holds out: ``0.2``, or ``column=value,value``."""
    if text is None:
        return None
    column, equals, values = text.partition("=")
    if equals and column and values:
        return column, tuple(values.split(","))
    try:
        return float(text)
    except ValueError as error:
        raise ValueError(
            f"{option} must be a share such as 0.2, or COLUMN=VALUE,VALUE; got {text!r}"
        ) from error


@dataclass(frozen=True)
class _Pair:
    population: str
    condition: str
    dose: float
    before: NDArray[np.int64]
    after: NDArray[np.int64]
    title: str


def _pairs(
    known: dict[str, NDArray[np.str_]], control: str, dose: Floats, min_cells: int
) -> tuple[list[_Pair], Floats, tuple[str, ...]]:
    if control not in known["condition"]:
        values = np.unique(known["condition"])
        shown = ", ".join(values[:20]) + (", ..." if len(values) > 20 else "")
        raise ValueError(f"control {control!r} is no condition of any cell; there are {shown}")
    with_dose = bool(np.isfinite(dose).any())
    found = rows_by(known["population"], known["condition"], np.where(np.isfinite(dose), dose, 0.0))
    enough = {key: rows for key, rows in found.items() if len(rows) >= min_cells}
    controls = {key[0]: rows for key, rows in enough.items() if key[1] == control}
    pairs = [
        _Pair(where, what, amount, controls[where], rows, f"{where}: {what}" + f" {amount:g}" * with_dose)
        for (where, what, amount), rows in enough.items()
        if what != control and where in controls
    ]
    _report(found, enough, controls, pairs, control, min_cells)
    names = tuple(sorted({pair.condition for pair in pairs}))
    conditions = one_hot([pair.condition for pair in pairs], names)
    if with_dose:
        conditions = np.column_stack([conditions, [pair.dose for pair in pairs]])
        names = (*names, "dose")
    return pairs, conditions, names


def _report(found: Any, enough: Any, controls: Any, pairs: list[_Pair], control: str, min_cells: int) -> None:
    """Warn of what is dropped; raise where nothing is left."""
    everywhere = sorted({key[0] for key in found})
    paired = {pair.population for pair in pairs}
    dropped = {
        f"{len(found) - len(enough)} of {len(found)} groups of cells have fewer than {min_cells} cells": [
            ": ".join(map(str, key[:2])) for key in found if key not in enough
        ],
        f"populations without the control {control!r}": [p for p in everywhere if p not in controls],
        "populations without a condition beside the control": [
            p for p in everywhere if p in controls and p not in paired
        ],
    }
    told = "; ".join(
        f"{what}: {', '.join(who[:5])}" + f" and {len(who) - 5} more" * (len(who) > 5)
        for what, who in dropped.items()
        if who
    )
    if not pairs:
        raise ValueError(f"no population has enough cells of {control!r} and of another condition: {told}")
    if told:
        warnings.warn(f"dropped: {told}", UserWarning, stacklevel=4)


def _parts(groups: dict[str, tuple[str, ...]], test: Held, validation: Held, seed: int) -> NDArray[np.int64]:
    rng = np.random.default_rng(seed)
    parts = np.zeros(len(groups["population"]), np.int64)
    for name, held in (("validation", validation), ("test", test)):
        if held is None:
            continue
        free = np.flatnonzero(parts == 0)
        if isinstance(held, tuple):
            column, values = held
            if column not in groups:
                raise ValueError(f"{name}: no column {column!r}; there are {', '.join(groups)}")
            unknown = sorted(set(values) - set(groups[column]))
            if unknown:
                raise ValueError(
                    f"{name}: no pair has {column} {', '.join(unknown)}; there are "
                    f"{', '.join(sorted(set(groups[column])))}"
                )
            chosen = np.isin(groups[column], values)
        else:
            if not 0 < held < 1:
                raise ValueError(f"{name}: a share must lie strictly between 0 and 1; got {held}")
            everywhere = sorted(set(groups["population"]))
            left = sorted({groups["population"][i] for i in free})
            count = round(held * len(everywhere))
            if not 0 < count < len(left):
                raise ValueError(
                    f"{name}: a share of {held:g} holds out {count} of {len(everywhere)} populations, "
                    f"{len(left)} of which are left: choose another share, or values of a column"
                )
            chosen = np.isin(groups["population"], rng.choice(left, count, replace=False))
        if (parts[chosen] != 0).any():
            raise ValueError("held_out and validation overlap: a pair cannot be in both")
        parts[chosen] = PARTS.index(name)
    if not (parts == 0).any():
        raise ValueError(f"all {len(parts)} pairs are held out: there is nothing to train on")
    return parts


def _common(values: NDArray[np.str_], key: str, pair: _Pair) -> str:
    """The one value that all cells of a target have."""
    found = np.unique(values)
    if len(found) > 1:
        raise ValueError(
            f"column {key!r} must be the same for all cells of a population and condition; "
            f"{pair.title} has {', '.join(found[:5])}"
        )
    return str(found[0])


def _features(features: Any) -> Floats:
    values = np.asarray(features)
    if values.dtype.kind not in "fiu":
        raise TypeError(f"features must be real numbers; got {values.dtype}")
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(f"features must have shape (cells, d) with cells, d >= 1; got {values.shape}")
    wrong = ~np.isfinite(values).all(axis=1)
    if wrong.any():
        raise ValueError(
            f"features must be finite; {int(wrong.sum())} of {len(values)} cells have NaN or infinity "
            f"(the first in row {int(np.argmax(wrong))})"
        )
    return values.astype(np.float64)


def texts(values: Any, name: str, total: int, /) -> NDArray[np.str_]:
    """Values (total,) as text; raises where one is missing: None, NaN or ""."""
    given = np.asarray(values, dtype=object)
    if given.shape != (total,):
        raise ValueError(f"{name} must have one value for each of {total} cells; got shape {given.shape}")
    _refuse_missing(np.array([str(value) in NO_VALUE for value in given.tolist()]), name)
    return given.astype(np.str_)


def _doses(dose: Any | None, total: int, known: dict[str, NDArray[np.str_]], control: str) -> Floats:
    """Doses (total,), NaN for the control, and everywhere where there are none."""
    if dose is None:
        return np.full(total, np.nan)
    try:
        values = np.array(dose, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"dose must hold numbers ({error})") from error
    if values.shape != (total,):
        raise ValueError(f"dose must have one value for each of {total} cells; got shape {values.shape}")
    treated = known["condition"] != control
    _refuse_missing(treated & ~np.isfinite(values), "dose")
    return np.where(treated, values, np.nan)


def _refuse_missing(missing: NDArray[np.bool_], name: str) -> None:
    if missing.any():
        raise ValueError(
            f"column {name}: {int(missing.sum())} of {len(missing)} cells have no value (the first in row "
            f"{int(np.argmax(missing))}); leave them out or fill them in beforehand"
        )
