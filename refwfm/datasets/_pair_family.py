"""Pairs of histograms on fixed atoms: what Meta OT learns, and what tells one family of them from another."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

Draw = Callable[..., tuple[Floats, Floats]]
"""``draw(size, seed=, step=, stream=) -> (a (size, n), b (size, m))``; see ``pairs.image_pairs``."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PairFamily:
    """Pairs of histograms whose atoms and cost are the same for all.

    Attributes
    ----------
    name : str
    draw : function
        ``(size, *, seed, step, stream) -> (a, b)``: in the stream "batch" from the pairs to train on, in
        "evaluation" from those that are held out, each at most once: fewer than ``size`` where there are no
        more.
    eps : float. Units: cost.
        Entropic regularisation, unless a run asks for another.
    axes : tuple of arrays, or None
        Of the grid that both measures live on; the cost is its squared distance.
    cost : array (n, m), or None on a grid
    points : tuple of arrays (n, d) and (m, d), or None
        Where the atoms are, if that is known besides their cost.
    numbers : tuple of arrays
        The histograms; what is drawn anew for each step has none.
    held_out : int, or None
        Number of distinct held-out pairs; None where they are drawn anew without end.
    about : str
    """

    name: str
    draw: Draw
    eps: float
    axes: tuple[Floats, ...] | None = None
    cost: Floats | None = None
    points: tuple[Floats, Floats] | None = None
    numbers: tuple[NDArray[Any], ...] = ()
    held_out: int | None = None
    about: str = ""
    labels: None = None
    label_names: tuple[str, ...] = ()

    @property
    def sizes(self) -> tuple[int, int]:
        """Numbers of atoms n and m."""
        if self.axes is not None:
            n = int(np.prod([len(axis) for axis in self.axes]))
            return n, n
        n, m = np.asarray(self.cost).shape
        return n, m
