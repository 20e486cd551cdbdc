"""Chunks of Zarr arrays, whose first bytes are believed by what reads them: looked at before."""

import math
from pathlib import Path
from typing import Any

LARGE, DENSEST = 2**26, 2**14
"""Bytes of an array from which on it is doubted that fewer bytes hold it, and by how much they may."""

TEXTS = "OT"
"""Kinds of arrays of texts of any length: of objects, and NumPy's own."""


def check_chunks(array: Any, folder: Path, /) -> int:
    """The bytes in an array's files; each chunk is looked at.

    Blosc makes room for as many bytes as a chunk says that it unpacks to, and what reads texts for as many as
    it says that there are: a chunk of twenty bytes asked for two gigabytes. Texts in Zarr's third format, and
    what zstd says of itself, are not looked at.

    Raises
    ------
    ValueError
        If a chunk says that it has other bytes than its file, or that it holds more than a chunk does.
    """
    files = [each for each in folder.rglob("*") if each.is_file()]
    about = getattr(array, "metadata", None)  # of the third version of Zarr's library
    second = about is None or hasattr(about, "compressor")
    codec = (array.compressor if about is None else about.compressor) if second else None
    codecs = [codec, *getattr(about, "codecs", ())]
    blosc = any("blosc" in type(each).__name__.lower() for each in codecs)
    for file in files:
        if not file.name.startswith(".") and file.name != "zarr.json":
            if blosc:
                _check_blosc(array, file)
            if second and array.dtype.kind in TEXTS:
                _check_texts(array, codec, file)
    return sum(each.stat().st_size for each in files)


def _check_blosc(array: Any, file: Path) -> None:
    size = file.stat().st_size
    with file.open("rb") as opened:
        head = opened.read(16)
    holds, has = (int.from_bytes(head[at : at + 4], "little") for at in (4, 12))
    if len(head) < 16 or has != size:
        raise ValueError(f"the chunk {file.name} of {file.parent.name} has {size} bytes, and says {has}")
    texts = array.dtype.kind in TEXTS
    most = 16 * math.prod(array.chunks) * array.dtype.itemsize  # filters can widen numbers, to 16 bytes
    if holds > (max(LARGE, DENSEST * size) if texts else most):
        raise ValueError(f"the chunk {file.name} of {file.parent.name} says that it holds {holds} bytes")


def _check_texts(array: Any, codec: Any, file: Path) -> None:
    content = file.read_bytes()
    count = int.from_bytes(bytes((codec.decode(content) if codec else content)[:4]), "little")
    if count > math.prod(array.chunks):
        raise ValueError(f"the chunk {file.name} of {file.parent.name} says that it holds {count} texts")


def check_group(group: Any, folder: Path, /) -> None:
    """Look at all arrays of a group, and of the groups in it; errors as for ``check_chunks``."""
    for name, array in group.arrays():
        check_size(f"{folder.name}/{name}", array, check_chunks(array, folder / name))
    for name, each in group.groups():
        check_group(each, folder / name)


def check_size(name: str, array: Any, stored: int, /) -> None:
    """Raise ``ValueError`` where so many bytes in a file cannot hold an array of this shape."""
    size = math.prod(array.shape) * array.dtype.itemsize
    if size > LARGE and size > DENSEST * stored:
        raise ValueError(f"{name} is to have shape {tuple(array.shape)}, and has {stored} bytes in the file")
