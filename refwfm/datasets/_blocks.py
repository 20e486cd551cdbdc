"""Families of any size into files: written a block of members at a time, no more of which is in memory.

The files are those of ``save_family`` and ``save_anndata`` for all members together, whole or not there.
"""

import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from refwfm.datasets._cloud_family import CloudFamily
from refwfm.datasets._family import Family
from refwfm.datasets._files import family_arrays, npz_path
from refwfm.storage import atomic

OF_MEMBERS = ("labels", "conditions", "mean", "cov", "points", "offsets", "weights")
"""Arrays of a family's file that grow with its members; the others are the first block's."""


class _Column:
    """Rows of an array, gathered in a file without a name beside the one that they will be in."""

    def __init__(self, file: IO[bytes], first: NDArray[Any]) -> None:
        self.file, self.dtype, self.tail, self.rows = file, first.dtype, first.shape[1:], 0

    def append(self, rows: NDArray[Any]) -> None:
        self.file.write(np.ascontiguousarray(rows, dtype=self.dtype).data)
        self.rows += len(rows)

    def copy_to(self, file: IO[bytes]) -> None:
        """Write what ``numpy.save`` would."""
        header = {"descr": self.dtype.str, "fortran_order": False, "shape": (self.rows, *self.tail)}
        np.lib.format.write_array_header_1_0(file, header)
        self.file.seek(0)
        shutil.copyfileobj(self.file, file, 2**20)


def save_blocks(path: str | os.PathLike[str], blocks: Iterable[Family | CloudFamily], /) -> Path:
    """Write families to a ``.npz`` file as one, their members one after another; return the file's path.

    The blocks may be made while they are written. Names and groups of members are not written, nor is what
    differs between blocks: what is known of all of them is taken from the first.

    Raises
    ------
    ValueError, OSError
        As for ``save_family``; the file stays as it was, then and where the blocks raise.
    """
    path = npz_path(path)

    def fill(file: IO[bytes]) -> None:
        facts: dict[str, NDArray[Any]] = {}
        columns: dict[str, _Column] = {}
        with ExitStack() as stack:
            for block in blocks:
                arrays = family_arrays(block)
                if "offsets" in columns:
                    arrays["offsets"] = arrays["offsets"][1:] + columns["points"].rows
                facts = facts or arrays
                for name in OF_MEMBERS:
                    if name in arrays:
                        if name not in columns:
                            spool = stack.enter_context(tempfile.TemporaryFile(dir=path.parent))
                            columns[name] = _Column(spool, arrays[name])
                        columns[name].append(arrays[name])
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                for name, array in facts.items():
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                        if name in columns:
                            columns[name].copy_to(member)
                        else:
                            np.lib.format.write_array(member, array, allow_pickle=False)

    atomic.write(path, fill)
    return path


def save_anndata_blocks(path: str | os.PathLike[str], blocks: Iterable[Any], /) -> Path:
    """Write AnnData of the same variables to a ``.h5ad`` file, their cells one after another.

    ``var`` and ``uns`` are the first one's, but for the share of zeros of ``to_anndata``, which is that of
    all cells; categories come in the order in which blocks have them.

    Raises
    ------
    OSError
        If the file cannot be written; it stays as it was, then and where the blocks raise.
    """
    path = Path(path)

    def fill(file: IO[bytes]) -> None:
        import h5py

        rows = iter(blocks)
        first = next(rows)
        first.write_h5ad(Path(file.name))
        shares = [(first.uns.get("refwfm", {}).get("zeros", 0.0), len(first))]
        found: dict[str, dict[str, int]] = {
            key: {str(name): i for i, name in enumerate(column.cat.categories)}
            for key, column in first.obs.items()
            if hasattr(column, "cat")
        }
        for k, block in enumerate(rows):
            with h5py.File(file.name, "a") as store:
                if k == 0:
                    for place in _growing(first, found):
                        _make_growing(store, place, wide=place.endswith("/codes"))
                for place, values in _parts(block, found):
                    old = store[place]
                    old.resize(len(old) + len(values), axis=0)
                    old[-len(values) :] = values
            shares.append((block.uns.get("refwfm", {}).get("zeros", 0.0), len(block)))
        if len(shares) == 1:
            return
        with h5py.File(file.name, "a") as store:
            for key, names in found.items():
                place = f"obs/{key}/categories"
                attributes, kind = dict(store[place].attrs), store[place].dtype
                del store[place]
                store.create_dataset(place, data=list(names), dtype=kind).attrs.update(attributes)
            if "uns/refwfm/zeros" in store:
                store["uns/refwfm/zeros"][()] = sum(zeros * n for zeros, n in shares) / sum(
                    n for _, n in shares
                )

    atomic.write(path, fill)
    return path


def _growing(data: Any, categories: dict[str, dict[str, int]]) -> list[str]:
    """Where in its file the rows of an AnnData are."""
    columns = [f"obs/{key}/codes" if key in categories else f"obs/{key}" for key in data.obs]
    return ["X"] * (data.X is not None) + [f"obsm/{key}" for key in data.obsm] + ["obs/_index", *columns]


def _make_growing(store: Any, place: str, /, *, wide: bool) -> None:
    """Replace a dataset by one of the same rows that may have more; codes get room for more categories."""
    values, attributes = store[place][...], dict(store[place].attrs)
    kind = np.dtype(np.int32) if wide else store[place].dtype
    del store[place]
    most = (None, *values.shape[1:])
    store.create_dataset(place, data=values, dtype=kind, maxshape=most).attrs.update(attributes)


def _parts(data: Any, categories: dict[str, dict[str, int]]) -> Iterable[tuple[str, Any]]:
    """Rows of a block and where they go; categories that are new get the next codes."""
    if data.X is not None:
        yield "X", data.X
    for key in data.obsm:
        yield f"obsm/{key}", data.obsm[key]
    yield "obs/_index", data.obs_names.to_numpy(dtype=object)
    for key, column in data.obs.items():
        if key not in categories:
            yield f"obs/{key}", column.to_numpy()
            continue
        known = categories[key]
        codes = [known.setdefault(str(name), len(known)) for name in column.cat.categories]
        yield f"obs/{key}/codes", np.asarray(codes, dtype=np.int32)[column.cat.codes]
