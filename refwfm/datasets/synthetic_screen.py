"""A synthetic drug screen in which the same cell answers differently in different company.

Every population is a mixture of the same two kinds of cells, A and B, and what a treatment does to all of its
cells depends on the share w of kind A: they move by ``g(w) u`` with ``g(w) = 8 (w - 1/2)² - 1`` and u the
direction of the treatment. A map that does not read the population moves means by something linear in w
(``populations.floors.unread_floor``), and g is a parabola: no such map can fit all patients, however it is
trained. The mean of a population shows w, so that one number read from it is enough.
"""

import itertools

import numpy as np
from numpy.typing import NDArray

from refwfm._array import check_integer
from refwfm.datasets.screen import COFACTOR, Screen, prepare_screen
from refwfm.datasets.screen_table import ScreenTable

CULTURES = ("F", "PDO", "PDOF")
TREATMENTS = ("C", "O", "S")
DOSES = (("DMSO", 0.0), *((treatment, dose) for treatment in TREATMENTS for dose in (1.0, 2.0)))
DIMENSION = 10
APART = 3.0
"""Half the distance between the centres of the kinds, along the first feature; their deviations are 0.5."""
DEVIATION = 0.5
STRENGTH = 1.5


def shift_strength(fraction: NDArray[np.float64] | float, /) -> NDArray[np.float64]:
    """How far cells move in company of a share w of kind A: ``8 (w - 1/2)² - 1``.

    Equation: META-FM-19. The true shift of the synthetic screen, over its strength; 1 at 0 and 1, -1 between.
    """
    return 8.0 * (np.asarray(fraction, dtype=np.float64) - 0.5) ** 2 - 1.0


def synthetic_table(
    *,
    patients: int = 8,
    plates: int = 1,
    replicates: int = 3,
    cells: int = 400,
    seed: int = 0,
) -> ScreenTable:
    """Cells of a synthetic screen in the form of the published tables: raw intensities and their origin.

    Patients "1", "2", ... differ in their share of kind A, from 0.1 to 0.9; cultures and replicates differ a
    little from their patient. There are a control (DMSO, dose 0) and three treatments at doses 1 and 2, of
    which the first does half of what the second does. Kind A is listed before kind B, as the published tables
    list types; ``cell_type`` tells them apart.

    Parameters
    ----------
    patients, plates, replicates : int
    cells : int
        Of each population.
    seed : int

    Returns
    -------
    ScreenTable, d = 10
        ``arcsinh(x / 5)`` of its features are the cells of the module's docstring.
    """
    counts = {"patients": patients, "plates": plates, "replicates": replicates, "cells": cells}
    for what, value in counts.items():
        check_integer(value, what, low=1)
    rng = np.random.default_rng(seed)
    shares = np.linspace(0.1, 0.9, patients)
    ends = np.zeros((2, DIMENSION))
    ends[:, 0] = APART, -APART
    features, facts, kinds = [], [], []
    places = itertools.product(range(patients), CULTURES, range(plates), range(replicates))
    for patient, culture, plate, replicate in places:
        near = np.clip(shares[patient] + rng.uniform(-0.06, 0.06), 0.02, 0.98)
        first = round(near * cells)  # exactly so many, in every population of the experiment
        kind = np.repeat([0, 1], [first, cells - first])
        for treatment, dose in DOSES:
            drawn = ends[kind] + DEVIATION * rng.standard_normal((cells, DIMENSION))
            features.append(drawn + treatment_shift(treatment, dose, first / cells))
            facts.append((culture, str(patient + 1), str(plate + 1), str(replicate + 1), treatment, dose))
            kinds.append(np.array(["A", "B"])[kind])
    names = ("culture", "patient", "plate", "replicate", "treatment", "dose")
    columns = [np.repeat(np.array(column), cells) for column in zip(*facts, strict=True)]
    return ScreenTable(
        features=COFACTOR * np.sinh(np.concatenate(features)),
        feature_names=tuple(f"marker_{i + 1}" for i in range(DIMENSION)),
        cell_type=np.concatenate(kinds),
        **dict(zip(names, columns, strict=True)),
    )


def treatment_shift(treatment: str, dose: float, fraction: float, /) -> NDArray[np.float64]:
    """How all cells of a population move, shape (d,): along a feature of the treatment's own."""
    shift = np.zeros(DIMENSION)
    if treatment in TREATMENTS:
        shift[1 + TREATMENTS.index(treatment)] = STRENGTH * dose / 2 * shift_strength(fraction)
    return shift


def synthetic_screen(*, split: str = "whole-patient", seed: int = 0, **options: int) -> Screen:
    """Populations of the synthetic screen, by the same pairing, split and normalisation as the real one.

    Parameters
    ----------
    split : {"whole-patient", "patient", "replica"}
        Of patients, "3" is held out for test and "6" for validation, whose shares of kind A lie between those
        of others; of replicas, two of each culture. See ``prepare_screen``.
    seed : int
    options : int
        See ``synthetic_table``.
    """
    return prepare_screen(
        synthetic_table(seed=seed, **options),
        split=split,
        seed=seed,
        min_cells=1,
        groups=2,
        test="3",
        validation="6",
        name="synthetic-screen",
        about="A synthetic screen: two kinds of cells, whose shift depends on their shares",
    )
