"""Labels of a conditional model: how often each occurs, and which ones to generate."""

import numpy as np


def count_labels(labels: np.ndarray | None, n_labels: int, /, *, conditional: bool) -> np.ndarray:
    """Members of each class, shape (n_labels,); empty for a model that is not conditional on labels.

    Equation: none. Wiring of a run.
    """
    if not conditional or labels is None:
        return np.zeros(0, dtype=np.int64)
    return np.bincount(labels, minlength=n_labels).astype(np.int64)


def wanted_labels(
    counts: np.ndarray, labels: np.ndarray | None, size: int, /, *, rng: np.random.Generator
) -> np.ndarray | None:
    """Labels to generate, shape (size,): those asked for, else drawn as often as they occur; or None.

    Equation: none. Wiring of a run.

    Parameters
    ----------
    counts : numpy.ndarray, shape (n_labels,)
        Empty for an unconditional model.
    labels : numpy.ndarray of integers, shape (size,), optional

    Raises
    ------
    ValueError
        If the labels asked for are none of the model's, or the model has none.
    """
    if not len(counts):
        if labels is not None:
            raise ValueError("labels were given, but the model is unconditional")
        return None
    drawn = rng.choice(len(counts), size=size, p=counts / counts.sum())
    if labels is None:
        return drawn
    labels, wanted = np.asarray(labels), f"labels must be {size} integers from 0 to {len(counts) - 1}"
    if labels.dtype.kind not in "iu" or labels.shape != (size,):
        raise ValueError(f"{wanted}; got {labels.dtype} of shape {labels.shape}")
    wrong = labels[(labels < 0) | (labels >= len(counts))]
    if wrong.size:
        raise ValueError(f"{wanted}; got {wrong[0]}")
    return labels
