"""Surfaces of three-dimensional things as point clouds: chairs, monitors, tables, airplanes.

In all of them the third coordinate points up.
"""

from dataclasses import replace

from refwfm.datasets._cloud_family import CloudFamily
from refwfm.datasets._files import read_npz
from refwfm.datasets._source import locate
from refwfm.datasets.own_arrays import clouds_from_arrays
from refwfm.datasets.shape_files import read_shapes, third_up
from refwfm.datasets.splits import split

MODELNET10 = "shapes_modelnet10_voxels/modelnet10_chair_monitor_vox32.npz"
SHAPENET = "shapes_shapenetpart/shapenetpart_chair_table_2048.npz"
AIRPLANES = "shapes_modelnet40_airplane/modelnet40_airplanes.npz"

GRID = 32
HELD_OUT = "One in five held out, at random."


def load_modelnet10(kind: str, part: str = "train", /, *, name: str) -> CloudFamily:
    """Voxels on the surface of chairs or monitors: as many points as there are, 528 to 10204.

    Parameters
    ----------
    kind : {"chair", "monitor"}
    part : {"train", "test"}
        Four fifths, and one fifth held out at random, always the same. Repeated grids are
        left out first, so that nothing held out was trained on.
    name : str
    """
    data = read_npz(
        locate(MODELNET10), ("surface_ijk", "surface_offsets", "label", "class_names", "duplicate")
    )
    wanted = data["class_names"][data["label"]] == kind
    family = CloudFamily(
        name=name,
        points=(2.0 * data["surface_ijk"] + 1 - GRID) / GRID,
        offsets=data["surface_offsets"],
    ).subset(wanted & ~data["duplicate"])
    return _part(
        family,
        part,
        f"{kind}s: the voxels on their surface, in a grid of {GRID}³. {HELD_OUT} Units: half the grid's "
        "side, so coordinates lie in [-1, 1]; the third points up. Source: ModelNet10 (Wu et al. 2015). "
        "Licence: academic use.",
    )


def load_shapenet(kind: str, part: str = "train", /, *, name: str) -> CloudFamily:
    """2048 points on the surface of chairs or tables.

    Parameters
    ----------
    kind : {"chair", "table"}
    part : {"train", "test"}
        Four fifths, and one fifth held out at random, always the same.
    name : str
    """
    data = read_npz(locate(SHAPENET), ("points", "label", "class_names"))
    points = data["points"][data["class_names"][data["label"]] == kind]
    return _part(
        clouds_from_arrays(third_up(points), name=name),
        part,
        f"{kind}s: 2048 points on their surface. {HELD_OUT} Units: a ball of radius 1/2 holds each; the "
        "third coordinate points up. Source: ShapeNetPart (Yi et al. 2016). Licence: non-commercial research "
        "and education.",
    )


def load_airplanes() -> CloudFamily:
    """Six airplanes, 10000 points each: too few to hold any out."""
    points = read_npz(locate(AIRPLANES), ("points",))["points"]
    return clouds_from_arrays(
        points,
        name="airplanes",
        about=f"{len(points)} airplanes: 10000 points on their surface. Units: the farthest point is 1 from "
        "the bounding box's centre; the third coordinate points up. Source: ModelNet40 (Wu et al. 2015). "
        "Licence: academic use.",
    )


def load_pc15k(synset: str, part: str = "train", /, *, name: str) -> CloudFamily:
    """ShapeNet's clouds as the papers use them: 2048 of the 15000 points of each shape, drawn once.

    Scale and place are those of the files: papers subtract one mean and divide by one deviation, those of
    all the training points.
    """
    family = read_shapes(locate("ShapeNetCore.v2.PC15k") / synset, split=part, up="y", name=name)
    return replace(
        family,
        about=f"{family.about} Turned so that the third coordinate points up. Source: ShapeNetCore.v2 PC15k "
        "(Chang et al. 2015, Yang et al. 2019). Licence: non-commercial research and education.",
    )


def load_modelnet40(part: str = "train", /, *, name: str) -> CloudFamily:
    """All 40 classes of ModelNet40: 2048 points drawn uniformly on each mesh, once."""
    family = read_shapes(locate("ModelNet40"), split=part, normalize=True, name=name)
    return replace(
        family,
        about=f"{family.about} The third coordinate points up. Source: ModelNet40 (Wu et al. 2015). "
        "Licence: academic use.",
    )


def _part(family: CloudFamily, part: str, about: str) -> CloudFamily:
    chosen = dict(zip(("train", "test"), split(family), strict=True))[part]
    return replace(chosen, about=f"{len(chosen)} {about}")
