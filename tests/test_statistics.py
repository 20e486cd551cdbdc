"""Statistics of the nearest members; those of distance matrices are tested with the distances."""

import numpy as np
import pytest

from refwfm.metrics.statistics import label_accuracy


def test_label_accuracy():
    labels = np.array([0, 1, 1])
    assert label_accuracy(np.array([0, 2, 1, 0]), labels, np.array([0, 1, 0, 1])) == 0.5
    with pytest.raises(ValueError, match="same shape"):
        label_accuracy(np.array([0]), labels, np.array([0, 1]))
