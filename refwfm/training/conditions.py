"""Conditions of a model: numbers, such as an age and a dose, that it reads beside or instead of a label.

What the network is shown in the place of a label is one vector: the class as 0 and 1, where there are
classes, and the standardised numbers. An affine embedding of it (``networks.feature_embedding``) is a learned
vector for the class plus an affine function of the numbers; NaN stands for no condition.

Outer plans do not look at conditions. A plan of least cost lets sources give them away in training, which
those of generation do not: independent pairs, the default, are right.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from refwfm._array import Array, asarray_like, on_device_of
from refwfm.training.labels import wanted_labels

Floats = NDArray[np.float64]


class Conditions(NamedTuple):
    """Conditions of the members that a model is trained on; on the host, in float64.

    Attributes
    ----------
    values : float64 array (N, c), in their own units
    labels : int64 array (N,), or (0,) for a model without classes
    mean, deviation : float64 arrays (c,)
        By which they are standardised.
    names : tuple of c str
    """

    values: Floats
    labels: NDArray[np.int64]
    mean: Floats
    deviation: Floats
    names: tuple[str, ...]


def fit_conditions(data: Any, /, *, conditional: bool) -> Conditions | None:
    """Conditions of a family, or None where it has none or the model is unconditional.

    Equation: none. Wiring of a run.
    """
    names = getattr(data, "condition_names", ())
    if not conditional or not names:
        return None
    values, lowest = data.conditions, data.conditions.min(axis=0)
    spread = values.max(axis=0) - lowest
    unit = np.where(spread > 0, spread, 1.0)  # a constant says nothing, and has no deviation but rounding
    scaled = (values - lowest) / unit
    deviation = np.where(spread > 0, unit * scaled.std(axis=0), 1.0)
    labels = np.zeros(0, dtype=np.int64) if data.labels is None else data.labels
    return Conditions(values, labels, lowest + unit * scaled.mean(axis=0), deviation, tuple(names))


def shown_to_network(setting: Any, labels: np.ndarray | None, values: Floats | None, /) -> np.ndarray | None:
    """What the network reads: labels (B,), or vectors (B, n_labels + c) of a model with conditions, or None.

    Equation: none. Wiring of a run.

    Parameters
    ----------
    labels : integers (B,), or None
    values : float64 array (B, c), or None
        Conditions; a row with NaN is shown as no condition, and no label.
    """
    known: Conditions | None = setting.conditions
    if known is None or values is None:
        return labels
    vectors = (values - known.mean) / known.deviation
    if labels is not None:
        classes = labels[:, None] == np.arange(len(setting.label_counts))
        vectors = np.concatenate([classes.astype(np.float64), vectors], axis=-1)
    return np.where(np.isnan(values).any(axis=-1, keepdims=True), np.nan, vectors)


def hide(
    setting: Any, labels: np.ndarray | None, values: Floats | None, hidden: np.ndarray, /
) -> tuple[np.ndarray | None, Floats | None]:
    """Labels and conditions, without those that are hidden: the class after the last, and NaN.

    Equation: none. Wiring of a run.

    Parameters
    ----------
    labels : integers (B,), or None
    values : float64 array (B, c), or None
    hidden : bool array (B,)
    """
    labels = None if labels is None else np.where(hidden, len(setting.label_counts), labels)
    return labels, None if values is None else np.where(hidden[:, None], np.nan, values)


def on_backend(shown: np.ndarray | None, like: Array, /) -> Array | None:
    """Bring what ``shown_to_network`` returned to the library and device of ``like``, vectors to its dtype.

    Equation: none. Wiring of a run.
    """
    if shown is None or shown.dtype.kind == "f":
        return None if shown is None else asarray_like(shown, like)
    return on_device_of(like, shown)


def network_sizes(setting: Any, /) -> dict[str, int]:
    """Number of classes, or length of the vectors, that the network is made for.

    Equation: none. Wiring of a run.
    """
    n_labels = len(setting.label_counts)
    if setting.conditions is None:
        return {"n_labels": n_labels}
    return {"n_labels": 0, "n_features": n_labels + len(setting.conditions.names)}


def wanted_conditions(
    setting: Any, labels: np.ndarray | None, values: Any, size: int, /, *, rng: np.random.Generator
) -> tuple[np.ndarray | None, Floats | None]:
    """Labels and conditions to generate: those asked for; the others are of members that were trained on.

    Equation: none. Wiring of a run.

    Parameters
    ----------
    labels : integers (size,), optional
    values : float64 array (size, c), optional
        When left out, those of a training member of the same label, or of any, drawn for each.

    Raises
    ------
    ValueError
        If what is asked for is not what the model has.
    """
    known: Conditions | None = setting.conditions
    if known is None:
        if values is not None:
            raise ValueError("conditions were given, but the model was trained without")
        return wanted_labels(setting.label_counts, labels, size, rng=rng), None
    if labels is not None or values is not None:
        labels = wanted_labels(setting.label_counts, labels, size, rng=rng)
    if values is None:
        member = rng.integers(len(known.values), size=size)
        if labels is not None:
            for label in np.unique(labels):
                (same,) = np.nonzero(known.labels == label)
                if not same.size:
                    raise ValueError(f"no training member has label {label}: say at which conditions")
                member[labels == label] = rng.choice(same, size=int(np.sum(labels == label)))
        elif len(known.labels):
            labels = known.labels[member]
        return labels, known.values[member]
    values = np.asarray(values, dtype=np.float64)
    if values.shape != (size, len(known.names)) or not np.isfinite(values).all():
        wanted = f"finite, of shape ({size}, {len(known.names)}), for {', '.join(known.names)}"
        raise ValueError(f"conditions must be {wanted}; got shape {values.shape}")
    return labels, values


def at_named(setting: Any, asked: dict[str, float], size: int, /) -> Floats:
    """Conditions (size, c) by name, the same for all.

    Equation: none. Wiring of a run.

    Raises
    ------
    ValueError
        If names are missing or unknown, or a number is not finite.
    """
    names: tuple[str, ...] = () if setting.conditions is None else setting.conditions.names
    if not names:
        raise ValueError(f"the model was trained without conditions; got {', '.join(asked)}")
    if set(asked) != set(names):
        raise ValueError(
            f"a value for each of the model's conditions is needed, {', '.join(names)}; "
            f"got {', '.join(asked) or 'none'}"
        )
    if not np.isfinite(list(asked.values())).all():
        raise ValueError(f"conditions must be finite; got {asked}")
    return np.tile([float(asked[name]) for name in names], (size, 1))


def out_of_range(setting: Any, values: Any, /) -> list[str]:
    """Say of each condition that goes beyond what was seen in training by how much.

    Equation: none. Wiring of a run.
    """
    known: Conditions = setting.conditions
    told = []
    for name, asked, seen in zip(known.names, values.T, known.values.T, strict=True):
        outside = asked[(asked < seen.min()) | (asked > seen.max())]
        if outside.size:
            farthest = outside[np.argmax(np.abs(outside - seen.mean()))]
            span = f"{seen.min():g} ... {seen.max():g}"
            told.append(f"{name} = {farthest:g} is outside of what training has seen, {span}")
    return told


def pack_conditions(known: Conditions | None, /) -> tuple[dict[str, Any], dict[str, Any]]:
    """Take conditions apart for a checkpoint: nothing for a model without.

    Equation: none. Wiring of a run.
    """
    if known is None:
        return {}, {}
    # As integers, which a checkpoint leaves on the host: floats would be rounded to the run's dtype.
    arrays = {"bits": np.ascontiguousarray(known.values).view(np.int64), "labels": known.labels}
    numbers = {"names": list(known.names), "mean": known.mean.tolist(), "deviation": known.deviation.tolist()}
    return {"conditions": arrays}, {"conditions": numbers}


def unpack_conditions(arrays: dict[str, Any], numbers: dict[str, Any], /) -> Conditions | None:
    """Put conditions together again: the inverse of ``pack_conditions``.

    Equation: none. Wiring of a run.
    """
    if "conditions" not in numbers:
        return None
    kept, told = arrays["conditions"], numbers["conditions"]
    mean, deviation = (np.asarray(told[name], dtype=np.float64) for name in ("mean", "deviation"))
    return Conditions(kept["bits"].view(np.float64), kept["labels"], mean, deviation, tuple(told["names"]))
