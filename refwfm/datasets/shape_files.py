"""Folders of shapes, one file each: clouds (.npy, .txt) and meshes (.off, .ply, .obj, .stl)."""

import os
import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refwfm.datasets._cloud_family import CloudFamily
from refwfm.datasets._files import read_npy
from refwfm.datasets.meshes import read_mesh, sample_surface
from refwfm.datasets.own_arrays import clouds_from_arrays

Floats = NDArray[np.float64]

MESHES = (".off", ".ply", ".obj", ".stl")
ENDINGS = (".npy", ".txt", *MESHES)


def read_shapes(
    folder: str | os.PathLike[str],
    /,
    *,
    split: str | None = None,
    n_points: int | None = 2048,
    up: str = "z",
    normalize: bool = False,
    seed: int = 0,
    name: str | None = None,
) -> CloudFamily:
    """Family of the shapes under a folder, one file each; subfolders are classes.

    The sets this is made for, as they come out of their archives:

    - ``ShapeNetCore.v2.PC15k/<synset>/<train|val|test>/<model>.npy``: 15000 points, ``up="y"``;
    - ``ModelNet40/<class>/<train|test>/<shape>.off``: meshes, ``normalize=True``;
    - ``modelnet40_normal_resampled/<class>/<shape>.txt``: 10000 points and their normals, which are
      left out; the shapes of a split are listed in ``modelnet40_<split>.txt``; ``up="y"``.

    Meshes of other kinds (.ply, .obj, .stl) are read by trimesh; one without faces is a cloud.

    Parameters
    ----------
    folder : path
        A whole set, or a folder in it. Where it has several subfolders other than splits, they are the
        classes.
    split : str, optional
        Keep the files that lie in a folder of that name ("train", "val", "test"), or are listed.
    n_points : int or None
        Points of each shape: drawn uniformly on a mesh, and without replacement from a larger
        cloud. None keeps clouds as they are; meshes need a number.
    up : {"y", "z"}
        The coordinate that points up in the files; it becomes the third.
    normalize : bool
        Centre every shape's bounding box and scale its farthest point to distance 1.
    seed : int
        Seed of the draws; those of a shape depend only on the seed and its place in the sorted list.
    name : str, optional
        The folder's name when left out.

    Returns
    -------
    CloudFamily, d = 3
        In the order of the sorted paths, which are the members' names.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or no shape in it.
    ValueError
        If a file is damaged, or meshes come without ``n_points``.
    ModuleNotFoundError
        If trimesh is needed and not installed.

    Warns
    -----
    UserWarning
        Which files are left out, by their endings.
    """
    folder = Path(folder)
    if up not in ("y", "z"):
        raise ValueError(f"up must be y or z; got {up!r}")
    if n_points is not None and n_points < 1:
        raise ValueError(f"n_points must be at least 1; got {n_points}")
    files = _shapes_in(folder, split)
    clouds = []
    for i, file in enumerate(files):
        points = _thinned(file, n_points, np.random.default_rng((seed, i)))
        points = third_up(points) if up == "y" else points
        clouds.append(normalized(points) if normalize else points)
    members = [file.relative_to(folder) for file in files]
    names = [member.with_suffix("").as_posix() for member in members]
    if len(set(names)) < len(names):  # files that differ in their endings alone
        names = [member.as_posix() for member in members]
    classes = [member.parts[0] if len(member.parts) > 1 else "" for member in members]
    labelled = len(set(classes)) > 1 and not set(classes) <= {"train", "val", "test"}
    family = clouds_from_arrays(
        clouds,
        labels=classes if labelled else None,
        name=folder.name if name is None else name,
        about=f"{len(clouds)} shapes{f' ({split})' if split else ''} of {folder.name}. Units: "
        + ("the farthest point is 1 from the bounding box's centre." if normalize else "those of the files."),
    )
    return replace(family, members=tuple(names))


def third_up(points: Any, /) -> Floats:
    """Points (..., 3) turned so that the second coordinate becomes the third: ``(x, y, z) -> (-x, z, y)``."""
    points = np.asarray(points, dtype=np.float64)
    return np.stack([-points[..., 0], points[..., 2], points[..., 1]], axis=-1)


def normalized(points: Floats, /) -> Floats:
    """Points (n, d), the bounding box centred at 0 and the farthest at distance 1."""
    centred = points - (points.min(axis=0) + points.max(axis=0)) / 2
    radius = np.linalg.norm(centred, axis=1).max()
    return centred / (radius or 1.0)


def _shapes_in(folder: Path, split: str | None) -> list[Path]:
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")

    def refuse(error: OSError) -> None:  # a search by pattern leaves out a folder that cannot be read
        raise error

    under = (Path(place) / name for place, _, names in os.walk(folder, onerror=refuse) for name in names)
    found = sorted(path for path in under if path.is_file() and not path.name.startswith("."))
    files = [path for path in found if path.suffix.lower() in ENDINGS]
    others = Counter(path.suffix for path in found if path.suffix.lower() not in ENDINGS)
    if files and others:
        told = ", ".join(f"{count} {ending or 'without ending'}" for ending, count in sorted(others.items()))
        warnings.warn(f"left out of {folder}, which are no shapes: {told}", UserWarning, stacklevel=3)
    if any(path.is_dir() for path in folder.iterdir()):
        # Text files beside folders of shapes are lists.
        lists = files
        files = [path for path in files if path.suffix.lower() != ".txt" or path.parent != folder]
        listed = [path for path in lists if path.parent == folder and path.stem.endswith(f"_{split}")]
        if split is not None and listed:
            names = set(listed[0].read_text(encoding="utf-8").split())
            files = [path for path in files if path.stem in names]
        elif split is not None:
            files = [path for path in files if split in path.relative_to(folder).parts]
    elif split is not None:
        raise ValueError(f"{folder} has no subfolders, so no split {split!r}: name the folder above it")
    if not files:
        which = f" of the split {split!r}" if split else ""
        raise FileNotFoundError(f"no shapes ({', '.join(ENDINGS)}){which} in {folder}")
    return files


def _thinned(file: Path, n_points: int | None, rng: np.random.Generator) -> Floats:
    if file.suffix.lower() in MESHES:
        points, triangles = read_mesh(file)
        if len(triangles) and n_points is None:
            raise ValueError(f"{file} is a mesh: it needs n_points, how many points to draw on it")
        if len(triangles):
            try:
                return sample_surface(points, triangles, n_points or 0, rng=rng)
            except ValueError as error:
                raise ValueError(f"{file}: {error}") from error
        if not len(points):
            raise ValueError(f"{file} has no points")
    else:
        points = _read_points(file)
    if n_points is None or len(points) <= n_points:
        return points
    return points[rng.choice(len(points), n_points, replace=False)]


def _read_points(file: Path) -> Floats:
    """The first three columns of a file of points."""
    try:
        if file.suffix.lower() == ".npy":
            points = read_npy(file)
        else:
            text = file.read_text(encoding="utf-8").replace(",", " ").splitlines()
            points = np.array([line.split() for line in text if line.strip()], dtype=np.float64)
    except (ValueError, EOFError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is damaged or not a file of points ({error})") from error
    if points.ndim != 2 or points.shape[1] < 3 or len(points) == 0 or points.dtype.kind not in "fiu":
        raise ValueError(
            f"{file} must hold numbers of shape (n, 3 or more); got {points.dtype} of shape {points.shape}"
        )
    points = points[:, :3].astype(np.float64)
    if not np.isfinite(points).all():
        raise ValueError(f"{file}: points must be finite; got NaN or infinity")
    return points
