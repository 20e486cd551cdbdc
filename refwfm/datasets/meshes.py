"""Meshes in files, and points drawn uniformly on a surface."""

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def read_off(path: str | os.PathLike[str], /) -> tuple[Floats, NDArray[np.int64]]:
    """Vertices (v, 3) and triangles (t, 3) of a mesh in the format OFF; polygons are cut into triangles.

    ModelNet's files with the counts on the line of the word OFF are read as well, and what stands for
    colours, normals and texture (STCNOFF) is left out. trimesh reads this format too, but takes a file that
    was cut off for a smaller mesh.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is truncated or not a mesh in that format.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        lines = [line.split("#")[0] for line in path.read_text(encoding="utf-8").splitlines()]
        lines = [line for line in lines if line.strip()]
        begin = re.match(r"\s*(ST)?C?N?OFF", lines[0], re.IGNORECASE) if lines else None
        if begin is None:
            raise ValueError("it does not begin with OFF")
        lines[0] = lines[0][begin.end() :]
        if not lines[0].strip():
            del lines[0]
        n_vertices, n_faces = (int(number) for number in lines[0].split()[:2])
        if min(n_vertices, n_faces) < 0:
            raise ValueError("it announces a negative number")
        if len(lines) < 1 + n_vertices + n_faces:
            raise ValueError(f"{n_vertices} vertices and {n_faces} faces were announced")
        vertices = np.array([line.split()[:3] for line in lines[1 : 1 + n_vertices]], dtype=np.float64)
        triangles = []
        for line in lines[1 + n_vertices : 1 + n_vertices + n_faces]:
            count, *corners = (int(number) for number in line.split()[: 1 + int(line.split()[0])])
            if len(corners) != count:
                raise ValueError(f"a face of {count} corners has {len(corners)}")
            triangles += [(corners[0], *corners[i : i + 2]) for i in range(1, count - 1)]
        faces = np.array(triangles, dtype=np.int64).reshape(-1, 3)
        if vertices.shape != (n_vertices, 3) or not np.isfinite(vertices).all():
            raise ValueError("a vertex needs three finite coordinates")
        if faces.size and (faces.min() < 0 or faces.max() >= n_vertices):
            raise ValueError("a face names a vertex that there is not")
    except (ValueError, IndexError, OverflowError) as error:  # the last: a corner beyond 64 bits
        raise ValueError(f"{path} is damaged or not a mesh in the format OFF ({error})") from error
    return vertices, faces


def read_mesh(path: str | os.PathLike[str], /) -> tuple[Floats, NDArray[np.int64]]:
    """Vertices (v, 3) and triangles (t, 3) of a mesh, .ply, .obj or .stl, by trimesh; without any a cloud.

    Raises
    ------
    FileNotFoundError, ModuleNotFoundError
        If there is no such file; trimesh is not installed.
    ValueError
        If it is truncated or not a mesh in the format of its ending.
    """
    path = Path(path)
    if path.suffix.lower() == ".off":
        return read_off(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        import trimesh
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f'reading {path} needs trimesh: pip install "refwfm[meshes]"') from error
    try:
        # As they stand: nothing is merged, and no file of materials is looked for.
        found = trimesh.load_scene(path, process=False, skip_materials=True)
        parts: Any = found.dump()
        if not len(parts):
            raise ValueError("it holds no mesh and no point")
        vertices = np.concatenate([part.vertices for part in parts]).astype(np.float64)
        starts = np.cumsum([0, *(len(part.vertices) for part in parts)])
        triangles = [
            start + part.faces for start, part in zip(starts, parts, strict=False) if hasattr(part, "faces")
        ]
        faces = np.concatenate([np.zeros((0, 3)), *triangles]).astype(np.int64)
    except Exception as error:  # readers of a dozen dialects can raise anything on a file of anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path} is damaged or not a mesh ({reason})") from error
    if vertices.ndim != 2 or vertices.shape[1] != 3 or not np.isfinite(vertices).all():
        raise ValueError(f"{path} is damaged or not a mesh: a vertex needs three finite coordinates")
    if faces.size and (faces.min() < 0 or faces.max() >= len(vertices)):
        raise ValueError(f"{path} is damaged or not a mesh: a face names a vertex that there is not")
    if path.suffix.lower() == ".ply" and not _is_whole(path.read_bytes(), len(vertices), len(faces)):
        raise ValueError(f"{path} is damaged: it holds less than it announces")
    return vertices, faces


def _is_whole(content: bytes, n_vertices: int, n_triangles: int) -> bool:
    """Whether a PLY file was not cut off: trimesh takes what is left of one for a smaller mesh."""
    header, _, body = content.partition(b"end_header")
    counts = {kind: int(n) for kind, n in re.findall(rb"element\s+(\w+)\s+(\d{1,18})\b", header)}
    faces = counts.get(b"face", 0)
    if n_vertices != counts.get(b"vertex") or n_triangles < faces:
        return False
    if b"ascii" not in header or not faces or len(counts) > 2:
        return True
    lines = [line.split() for line in body.splitlines() if line.strip()]
    # Only the last line can be cut; of polygons some triangles may be left without it.
    return len(lines) >= n_vertices + faces and len(lines[-1]) > float(lines[-1][0])


def sample_surface(
    vertices: Floats, triangles: NDArray[np.int64], n: int, /, *, rng: np.random.Generator
) -> Floats:
    """Points (n, 3) drawn uniformly by area on a mesh.

    A triangle is drawn in proportion to its area, then a point in it: with u, v uniform on [0, 1],
    ``(1 - √u) A + √u (1 - v) B + √u v C``.
    """
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    with np.errstate(over="ignore", invalid="ignore"):  # refused below
        area = np.linalg.norm(np.cross(b - a, c - a), axis=1)  # twice the area
    if not 0 < area.sum() < np.inf:
        raise ValueError(f"the mesh must have a surface to draw points on; its area is {area.sum() / 2:g}")
    chosen = rng.choice(len(area), n, p=area / area.sum())
    u, v = np.sqrt(rng.random((n, 1))), rng.random((n, 1))
    points: Floats = (1 - u) * a[chosen] + u * (1 - v) * b[chosen] + u * v * c[chosen]
    return points
