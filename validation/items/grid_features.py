"""Audited construction of ours: where a point lies in the grid of the data."""

import numpy as np

from refwfm.clouds import grid_spacing
from refwfm.networks import grid_frequencies, init_space, space_features
from refwfm.validation.check import EXACT, Check, Item, Tolerance, roundings, worst_of
from refwfm.validation.textbook import relative


def items() -> list[Item]:
    """Return the item of this section."""
    return [grid_features()]


def grid_features() -> Item:
    """The grid that data lie on, and what a network reads of it."""
    return Item(
        id="WFM-GRID",
        paper="WFM",
        place="ours, not the paper's",
        title="features of the grid that data lie on",
        latex=r"x_i\in a_i+h_i\mathbb Z\ \Rightarrow\ \phi(x)=(\cos2\pi x_i/h_i,\sin2\pi x_i/h_i)_i",
        statement="Points that are pixels lie on a grid; sines of one turn from node to node say where.",
        functions=(grid_spacing, grid_frequencies, init_space, space_features),
        checks=(
            Check(
                "grids of known spacing, in any unit and at any place",
                spacing_is_known,
                grid_spacing,
                {
                    "the mean gap": lambda x: float(np.mean(np.diff(np.unique(x)))),
                    "the largest gap": lambda x: float(np.max(np.diff(np.unique(x)))),
                    "half of it": lambda x: 0.5 * grid_spacing(x),
                    "of distances from zero": lambda x: float(np.min(np.abs(x))),
                },
                Tolerance(1e-9, 1e-5, "places of the nodes are rounded, to the run's dtype"),
                dimensions=(1, 2, 3),
                everywhere=False,
            ),
            Check(
                "none where one number is off it, nor for two numbers",
                off_the_grid,
                grid_spacing,
                {
                    "the smallest gap": lambda x: float(np.min(np.diff(np.unique(x)))),
                    "the nearest grid": lambda x: np.ptp(x) / 27,
                },
                EXACT,
                dimensions=(1, 2, 3),
                everywhere=False,
            ),
            Check(
                "a share of a turn, by the share of the gap",
                turns_are_shares,
                lambda spacing, x: space_features(grid_frequencies(spacing, like=x), x),
                {
                    "spacings for frequencies": lambda spacing, x: space_features(np.diag(spacing), x),
                    "radians": lambda spacing, x: space_features(
                        grid_frequencies(spacing, like=x) / (2 * np.pi), x
                    ),
                    "half a turn": lambda spacing, x: space_features(
                        0.5 * grid_frequencies(spacing, like=x), x
                    ),
                    "coordinates exchanged": lambda spacing, x: space_features(
                        grid_frequencies(spacing, like=x)[::-1], x
                    ),
                },
                roundings(2000, "angles of up to fifty turns"),
                dimensions=(2, 3),
            ),
        ),
    )


def _nodes(draw):
    """Numbers of nodes, with gaps, and two that are next to each other."""
    return np.concatenate([[-3, 11, 12], draw.rng.integers(-20, 20, 9)])


def spacing_is_known(spacing, draw):
    """Relative error of the spacing."""
    h, origin = 10.0 ** draw.rng.uniform(-3.0, 3.0), draw.rng.uniform(-3.0, 3.0)
    values = draw.rng.permutation(h * (_nodes(draw) + origin))
    return abs(spacing(draw.rounded(values)) / h - 1.0)


def off_the_grid(spacing, draw):
    """The spacing that should be none."""
    nodes = _nodes(draw).astype(np.float64)
    nodes[draw.rng.integers(len(nodes))] += 1 / np.pi
    return worst_of(spacing(nodes), spacing(nodes[:2]))


def turns_are_shares(read, draw):
    """Cosines and sines, of points so many gaps and a share of one away."""
    spacing = draw.rounded(draw.rng.uniform(0.2, 2.0, draw.d))
    share = draw.rng.uniform(size=(5, draw.d))
    x = draw.rounded(spacing * (draw.rng.integers(-20, 20, (5, draw.d)) + share))
    angle = 2 * np.pi * np.mod(x / spacing, 1.0)
    truth = np.concatenate([np.cos(angle), np.sin(angle)], axis=1)
    return relative(draw.call(lambda x: read(spacing, x), x), truth, 1.0)
