"""A drug screen as populations: control before, highest dose of each treatment after.

The organoid screen of Ramos Zapatero et al. (*Cell* 2023) is mass cytometry of organoids (PDO), fibroblasts
(F) and both together (PDOF) of ten patients. An *experiment* is what shares culture, patient, plate and
replicate; a *population*, the cells of an experiment under one treatment at one dose.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from refwfm._array import check_integer
from refwfm.datasets._cloud_family import CloudFamily
from refwfm.datasets._grouping import one_hot, rows_by
from refwfm.datasets._population_family import PARTS, PopulationFamily
from refwfm.datasets.screen_table import ScreenTable

CONTROLS = ("DMSO", "AH", "H2O")
COFACTOR = 5.0
SPLITS = ("replica", "patient", "whole-patient")

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


class Experiment(NamedTuple):
    """What was done on one day in one well plate: the cells of it share everything but the treatment."""

    culture: str
    patient: str
    plate: str
    replicate: str


class Pair(NamedTuple):
    """Rows of a table: cells of an experiment without treatment, and under one."""

    experiment: Experiment
    treatment: str
    dose: float
    control: Rows
    treated: Rows


class Normalisation(NamedTuple):
    """What is subtracted from each feature, and the one number that all are divided by."""

    mean: Floats
    scale: float


class Screen(NamedTuple):
    """Populations of a screen, and how their features were normalised."""

    family: PopulationFamily
    normalisation: Normalisation


# Pairs


def make_pairs(
    table: ScreenTable, /, *, min_cells: int = 1000, controls: Sequence[str] = CONTROLS
) -> list[Pair]:
    """Pairs of control and treated cells: in each experiment, dose 0 with the highest dose of each treatment.

    Populations of fewer than ``min_cells`` are dropped first, so that the highest dose is the highest of
    those that are left; then experiments without a control, or without a treatment. Where an experiment has
    several controls (DMSO, AH, H2O), their cells are one control. A control at another dose, and another
    treatment at dose 0, take no part.

    Equation: META-FM-17.

    Returns
    -------
    list of Pair
        In the order of the experiments, and of the treatments in each.

    Raises
    ------
    ValueError
        If there is no pair: says what there is.
    """
    min_cells = check_integer(min_cells, "min_cells", low=1)
    keys = (table.culture, table.patient, table.plate, table.replicate, table.treatment, table.dose)
    found = rows_by(*keys)
    kept = {key: rows for key, rows in found.items() if len(rows) >= min_cells}
    untreated: dict[Experiment, list[Rows]] = {}
    highest: dict[tuple[Experiment, str], tuple[float, Rows]] = {}
    for (*place, treatment, dose), rows in kept.items():  # doses of a treatment come in ascending order
        experiment = Experiment(*place)
        if treatment in controls and dose == 0:
            untreated.setdefault(experiment, []).append(rows)
        elif treatment not in controls and dose > 0:
            highest[experiment, treatment] = dose, rows
    pairs = [
        Pair(experiment, treatment, dose, np.sort(np.concatenate(untreated[experiment])), rows)
        for (experiment, treatment), (dose, rows) in highest.items()
        if experiment in untreated
    ]
    if not pairs:
        raise ValueError(
            f"no experiment has a control ({', '.join(controls)} at dose 0) and a treatment: of {len(found)} "
            f"populations {len(kept)} have at least min_cells = {min_cells} cells, of which "
            f"{sum(map(len, untreated.values()))} are controls and {len(highest)} highest doses of treatments"
        )
    return pairs


def thin(rows: Rows, most: int | None, seed: int, number: int, /) -> Rows:
    """At most so many of the rows, at random, in their order: tables list the cells of one type together."""
    if most is None or len(rows) <= most:
        return rows
    rng = np.random.default_rng([seed, number])
    return np.sort(rng.choice(rows, most, replace=False))


# Features


def arcsinh(features: Any, /, *, cofactor: float = COFACTOR) -> Floats:
    """Transformed intensities ``arcsinh(x / 5)``: linear near 0, logarithmic far from it, whatever the sign.

    Equation: META-FM-16. Its first step.
    """
    if not cofactor > 0:
        raise ValueError(f"cofactor must be positive; got {cofactor:g}")
    return np.arcsinh(np.asarray(features, dtype=np.float64) / cofactor)


def fit_normalisation(transformed: Any, /) -> Normalisation:
    """Mean of each feature, and the mean over features of their standard deviations, of training cells.

    One scale for all keeps their variances relative to each other. Deviations divide by the number of cells.

    Equation: META-FM-16. What is fitted, on training populations only.

    Parameters
    ----------
    transformed : array (cells, d)
        Each cell once, however many pairs it is in.

    Raises
    ------
    ValueError
        If there is no cell, or all cells are the same.
    """
    values = np.asarray(transformed, dtype=np.float64)
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(f"transformed must have shape (cells, d), none of them 0; got {values.shape}")
    scale = float(np.mean(values.std(axis=0)))
    if not scale > 1e-12 * float(np.abs(values).max()):
        raise ValueError(f"all {len(values)} training cells are the same: there is no scale to divide by")
    return Normalisation(values.mean(axis=0), scale)


def normalise(features: Any, normalisation: Normalisation, /, *, cofactor: float = COFACTOR) -> Floats:
    """Features in the unit of training: ``(arcsinh(x / 5) - mean) / scale``.

    Equation: META-FM-16.
    """
    return (arcsinh(features, cofactor=cofactor) - normalisation.mean) / normalisation.scale


# Splits: positions in PARTS by experiment


def replica_split(
    experiments: Sequence[Experiment], /, *, groups: int = 10, seed: int = 0
) -> dict[Experiment, int]:
    """Hold out one replicate of some (culture, patient, plate), for validation and for test.

    In each culture ``groups`` of those with at least two replicates are chosen for validation and as many
    others for test; one replicate of each, at random, is held out. The others stay: every patient that is
    held out is seen in training.

    Raises
    ------
    ValueError
        If a culture has too few.
    """
    groups = check_integer(groups, "groups", low=1)
    rng, parts = np.random.default_rng(seed), dict[Experiment, int]()
    by_group = _replicates(experiments)
    for culture in sorted({each.culture for each in by_group}):
        several = [each for each in by_group.values() if each[0].culture == culture and len(each) > 1]
        if len(several) < 2 * groups:
            raise ValueError(
                f"culture {culture}: {groups} groups (culture, patient, plate) each for validation and test "
                f"need {2 * groups} with at least two replicates; there are {len(several)}"
            )
        chosen = rng.choice(len(several), 2 * groups, replace=False)
        for position, i in enumerate(chosen):
            held_out = several[i][rng.integers(len(several[i]))]
            parts[held_out] = PARTS.index("validation" if position < groups else "test")
    return {each: parts.get(each, 0) for each in experiments}


def patient_split(
    experiments: Sequence[Experiment],
    /,
    *,
    test: str,
    validation: str | None = None,
    whole: bool = False,
    seed: int = 0,
) -> dict[Experiment, int]:
    """Hold out a patient for test, and another for validation.

    Parameters
    ----------
    experiments : sequence of Experiment
    test, validation : str
        Patients; no validation where the second is left out.
    whole : bool
        All experiments of the patients. Otherwise one replicate, at random, of each of their plates and
        cultures, of those with at least two: the others stay in training, which so knows the patients.
    seed : int

    Raises
    ------
    ValueError
        If there is no such patient, or no replicate to spare.
    """
    rng, parts = np.random.default_rng(seed), dict[Experiment, int]()
    if test == validation:
        raise ValueError(f"test and validation must be two patients; got {test} for both")
    known = sorted({each.patient for each in experiments})
    for patient, part in ((validation, "validation"), (test, "test")):
        if patient is None:
            continue
        if patient not in known:
            raise ValueError(f"no patient {patient!r} to hold out for {part}; there are {', '.join(known)}")
        own = [each for each in _replicates(experiments).values() if each[0].patient == patient]
        spare = [each for each in own if len(each) > 1]
        if not whole and not spare:
            raise ValueError(f"patient {patient} has no plate with two replicates, of which to hold one out")
        held_out = (
            [experiment for each in own for experiment in each]
            if whole
            else [each[rng.integers(len(each))] for each in spare]
        )
        parts |= dict.fromkeys(held_out, PARTS.index(part))
    return {each: parts.get(each, 0) for each in experiments}


def _replicates(experiments: Sequence[Experiment]) -> dict[Experiment, list[Experiment]]:
    """Experiments by all but their replicate, in sorted order."""
    found: dict[Experiment, list[Experiment]] = {}
    for each in sorted(set(experiments)):
        found.setdefault(each._replace(replicate=""), []).append(each)
    return found


# All of it


def prepare_screen(
    table: ScreenTable,
    /,
    *,
    split: str = "replica",
    seed: int = 0,
    min_cells: int = 1000,
    max_cells: int | None = None,
    groups: int = 10,
    test: str = "21",
    validation: str | None = None,
    name: str = "screen",
    about: str = "",
) -> Screen:
    """Populations of a screen: paired, split, and normalised by what is trained on.

    Parameters
    ----------
    table : ScreenTable
    split : {"replica", "patient", "whole-patient"}
        See ``replica_split`` (``groups``) and ``patient_split`` (``test``, ``validation``).
    seed : int
        Of the split, and of which cells are kept.
    min_cells : int
        Smaller populations are dropped.
    max_cells : int, optional
        Of a larger population so many cells are kept, at random: what saves memory.
    groups, test, validation
        See above.
    name, about : str

    Returns
    -------
    Screen
        Cells before and after are matched independently. Conditions are one-hot treatments, marks one-hot
        types of cells where the table has them. The normalisation is fitted on the cells kept of training
        pairs.

    Raises
    ------
    ValueError
        See the functions above.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}; got {split!r}")
    if max_cells is not None:
        max_cells = check_integer(max_cells, "max_cells", low=1)
    pairs = make_pairs(table, min_cells=min_cells)
    experiments = list(dict.fromkeys(pair.experiment for pair in pairs))
    if split == "replica":
        parts = replica_split(experiments, groups=groups, seed=seed)
    else:
        whole = split == "whole-patient"
        parts = patient_split(experiments, test=test, validation=validation, whole=whole, seed=seed)
    number = {experiment: i for i, experiment in enumerate(experiments)}
    before = [thin(pair.control, max_cells, seed, 2 * number[pair.experiment]) for pair in pairs]
    after = [thin(pair.treated, max_cells, seed, 2 * i + 1) for i, pair in enumerate(pairs)]
    part = np.array([parts[pair.experiment] for pair in pairs])
    if (part != 0).all():
        raise ValueError(f"all {len(pairs)} pairs are held out: there is nothing to train on")
    training = np.unique(
        np.concatenate([rows[i] for rows in (before, after) for i in np.flatnonzero(part == 0)])
    )
    fitted = fit_normalisation(arcsinh(table.features[training]))

    def cells(rows: list[Rows]) -> CloudFamily:
        points = [normalise(table.features[each], fitted) for each in rows]
        offsets = np.concatenate([[0], np.cumsum([len(each) for each in rows])])
        return CloudFamily(name=name, points=np.concatenate(points), offsets=offsets)

    treatments = tuple(sorted({pair.treatment for pair in pairs}))
    types = () if table.cell_type is None else tuple(str(each) for each in np.unique(table.cell_type))
    groups_of = {field: tuple(getattr(p.experiment, field) for p in pairs) for field in Experiment._fields}
    groups_of["experiment"] = tuple("/".join(pair.experiment) for pair in pairs)
    groups_of["treatment"] = tuple(pair.treatment for pair in pairs)
    groups_of["dose"] = tuple(f"{pair.dose:g}" for pair in pairs)
    kept = "all cells" if max_cells is None else f"at most {max_cells} cells of each at random"
    family = PopulationFamily(
        name=name,
        source=cells(before),
        target=cells(after),
        marks=None if table.cell_type is None else one_hot(table.cell_type[np.concatenate(before)], types),
        conditions=one_hot([pair.treatment for pair in pairs], treatments),
        condition_names=treatments,
        parts=part,
        groups=groups_of,
        features=table.feature_names,
        members=tuple(f"{'/'.join(pair.experiment)} {pair.treatment} {pair.dose:g}" for pair in pairs),
        about=f"{about or 'A drug screen'}: control and highest dose, {kept}, {split} split of seed {seed}; "
        "arcsinh(x/5), centred, over one scale.",
    )
    return Screen(family, fitted)
