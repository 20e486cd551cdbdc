"""What is read of an AnnData file (.h5ad) or store (.zarr): expression, entries of obsm, columns of obs."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refwfm.datasets._chunks import check_group, check_size
from refwfm.datasets._grouping import missing_in, refuse_missing
from refwfm.datasets._hdf5 import check_texts
from refwfm.datasets.cells import nearest, principal_components, sparse_components, standardize

Floats = NDArray[np.float64]

ENDINGS = (".h5ad", ".zarr")

SAMPLES = (
    *("section", "sample", "slice", "slide", "batch", "library", "donor", "patient", "animal", "mouse"),
    *("replicate", "specimen", "puck", "capture", "bregma"),
)
"""Words in the names of columns that may tell pieces of tissue apart."""


def is_anndata(path: Path, /) -> bool:
    """Whether a path is named like an AnnData file or store."""
    return path.suffix.lower() in ENDINGS


@contextmanager
def opened(path: Path, /) -> Iterator[Any]:
    """Open an AnnData file without reading its expression matrix into memory; a store is read whole.

    Raises
    ------
    FileNotFoundError, ModuleNotFoundError
        If there is no such file or store; anndata is not installed.
    ValueError
        If it is truncated or something else.
    """
    is_store = path.suffix.lower() == ".zarr"
    if not (path.is_dir() or path.is_file() if is_store else path.is_file()):
        raise FileNotFoundError(f"no such file: {path}")
    try:
        import anndata
        import h5py

        if is_store:
            import zarr  # noqa: F401  # older versions of anndata do without
    except ModuleNotFoundError as error:
        needed = "zarr" if error.name == "zarr" else "anndata"
        raise ModuleNotFoundError(f'reading {path} needs {needed}: pip install "refwfm[data]"') from error
    if not is_store and not h5py.is_hdf5(path):
        raise ValueError(f"{path} is not an HDF5 file, so not an AnnData (.h5ad) file, or it is truncated")
    # Files of older anndata versions are welcome; anndata warns that it converts them.
    with warnings.catch_warnings():
        for category in (FutureWarning, DeprecationWarning, PendingDeprecationWarning):
            warnings.simplefilter("ignore", category)
        try:
            if not is_store:
                check_texts(path)
            _check_sizes(path, is_store)
            data = anndata.read_zarr(path) if is_store else anndata.read_h5ad(path, backed="r")
        except Exception as error:  # readers of Zarr and HDF5 can raise anything on a file of anything
            kind = "a Zarr store" if is_store else "an HDF5 file"
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ValueError(f"{path} is {kind} but not a readable AnnData file ({reason})") from error
        try:
            yield data
        finally:
            if not is_store:
                data.file.close()


def _check_sizes(path: Path, is_store: bool) -> None:
    """Raise for an array that a few bytes say is huge: room would be made for it before it is read."""
    if is_store:
        import zarr

        check_group(zarr.open_group(path, mode="r"), path)
        return
    import h5py

    def check(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.shape is not None:
            check_size(name, item, item.id.get_storage_size())

    with h5py.File(path, "r") as file:
        file.visititems(check)


def matrix_of(data: Any, layer: str | None = None, use_raw: bool = False, /) -> tuple[Any, Any, str]:
    """A matrix of expression (N, g), its genes, and its name: X, a layer or raw.

    A dense one may lie in the file still; it is None where X is asked for and there is none.
    """
    if layer is not None and use_raw:
        raise ValueError("give either a layer or use_raw; got both")
    if layer is not None and layer not in data.layers:
        raise ValueError(f"the file has no layer {layer!r}; it has {_names(data.layers) or 'none'}")
    if use_raw and data.raw is None:
        raise ValueError("the file has no raw, which use_raw (--use-raw) reads")
    genes = data.raw.var_names if use_raw else data.var_names
    if layer is not None:
        found, origin = data.layers[layer], f"layers[{layer!r}]"
    elif use_raw:
        found, origin = data.raw.X, "raw.X"
    else:
        try:
            found, origin = data.X, "X"
        except KeyError:  # what anndata says of an open file without
            found, origin = None, "X"
    return found.to_memory() if hasattr(found, "to_memory") else found, genes, origin


def read_expression(data: Any, layer: str | None = None, use_raw: bool = False, /) -> tuple[Any, str]:
    """Expression (N, g) in memory, finite, an array or a sparse one, and where it is from (``matrix_of``)."""
    found, _, origin = matrix_of(data, layer, use_raw)
    if found is None:
        layers = _names(data.layers)
        other = [f"layers {layers}: name one with layer (--layer)"] * bool(layers)
        other += ["raw: read it with use_raw (--use-raw)"] * (data.raw is not None)
        raise ValueError(
            "the file has neither obsm['X_pca'] nor an expression matrix X"
            + (f"; it has {'; '.join(other)}" if other else "")
        )
    values = found.data if hasattr(found, "tocsr") else np.asarray(found[...])
    if values.dtype.kind not in "fiub":
        raise ValueError(f"{origin} must hold numbers; got {values.dtype}")
    wrong = np.flatnonzero(~np.isfinite(values))
    if wrong.size:
        # Of sparse ones by columns the place says no cell.
        rows = found.tocoo().row[wrong[:1]] if hasattr(found, "tocsr") else wrong[:1] // values.shape[1]
        raise ValueError(
            f"{origin} must be finite; {wrong.size} of its values are NaN or infinite (the first in cell "
            f"{data.obs_names[rows[0]]}): leave these cells or genes out of the file"
        )
    return found if hasattr(found, "tocsr") else values, origin


def components_of(
    data: Any, pcs: int, basis: str | None, layer: str | None = None, use_raw: bool = False, /
) -> tuple[Floats, str]:
    """Components (N, pcs), and in words where they come from.

    Of ``obsm[basis]``; without that name they are computed of a layer or raw that is asked for; else of X_pca
    where the file has it, or computed from X.
    """
    if pcs < 1:
        raise ValueError(f"pcs must be at least 1; got {pcs}")
    if basis is None and layer is None and not use_raw and "X_pca" in data.obsm:
        basis = "X_pca"
    if basis is None:
        expression, origin = read_expression(data, layer, use_raw)
        cells, genes = expression.shape
        if pcs > min(cells, genes):
            raise ValueError(
                f"pcs = {pcs}, but {origin} has {cells} cells and {genes} genes: name fewer (--pcs)"
            )
        make = sparse_components if hasattr(expression, "tocsr") else _dense_components
        components = make(expression, pcs)
        if not components.any():
            raise ValueError(f"{origin} is the same in all {cells} cells: there are no components of it")
        return components, f"computed from {origin}, every gene z-scored"
    scores = entry_of(data, basis)
    if pcs > scores.shape[1]:
        raise ValueError(f"pcs = {pcs}, but obsm[{basis!r}] has only {scores.shape[1]} components")
    return scores[:, :pcs], f"obsm[{basis!r}]"


def _dense_components(expression: Any, pcs: int) -> Floats:
    return principal_components(standardize(expression), pcs)


def coordinates_of(data: Any, key: str, /) -> Floats:
    """Coordinates (N, s) of the cells."""
    if key not in data.obsm:
        raise ValueError(
            f"the file has no coordinates obsm[{key!r}], which niches need; it has "
            f"{_names(data.obsm) or 'none'}. Name another entry with "
            "spatial_key, or choose clusters or neighbourhoods"
        )
    values = entry_of(data, key)
    if len(values) > 1 and (values == values[0]).all():
        raise ValueError(f"obsm[{key!r}] has all {len(values)} cells in one place: none is near to another")
    return values


def warn_of_twins(components: Floats, /) -> None:
    """Warn where cells are there twice, as after a file was put to itself: held out ones are no new ones."""
    unit = np.abs(components).max(initial=0.0) or 1.0  # to rounding, in which computed components differ
    twice = len(components) - len(np.unique(np.round(components / unit, 9), axis=0))
    if twice > 0.01 * len(components):
        warnings.warn(
            f"{twice} of {len(components)} cells have the very components of another one: if they are there "
            "twice, leave them out of the file, or what is held out is known from training",
            UserWarning,
            stacklevel=4,
        )


def entry_of(data: Any, key: str, /) -> Floats:
    """An entry of obsm (N, p), finite."""
    if key not in data.obsm:
        raise ValueError(f"the file has no obsm[{key!r}]; it has {_names(data.obsm) or 'none'}")
    found = data.obsm[key]
    values = np.asarray(found.toarray() if hasattr(found, "toarray") else found)
    if values.ndim != 2 or 0 in values.shape or values.dtype.kind not in "fiub":
        raise ValueError(f"obsm[{key!r}] must be a matrix of numbers; got {values.dtype} {values.shape}")
    values = values.astype(np.float64)
    wrong = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if wrong.size:
        first = ", ".join(map(str, data.obs_names[wrong[:3]])) + (", ..." if wrong.size > 3 else "")
        raise ValueError(
            f"obsm[{key!r}] must be finite; {wrong.size} of {len(values)} cells have NaN or infinity "
            f"({first}): leave these cells out of the file"
        )
    return values


def column_of(data: Any, key: str, /) -> NDArray[Any]:
    """A column of obs (N,) as it stands."""
    if key not in data.obs:
        raise ValueError(f"the file has no column {key!r} in obs; it has {_names(data.obs) or 'none'}")
    return np.asarray(data.obs[key], dtype=object)


def sections_of(data: Any, key: str, /) -> NDArray[Any]:
    """A column of obs that tells sections apart, as text: no cell may lack one."""
    column = column_of(data, key)
    refuse_missing(missing_in(column), key, "no section")
    return column.astype(np.str_)


def warn_of_overlap(data: Any, positions: Floats, /) -> None:
    """Warn where no section was named, and a column names samples whose cells lie among each other.

    Cells of samples that were put over each other have the nearest other cell in another sample as often as
    cells in any order would; at seams of one tissue this is rare.
    """
    near = None
    for name in data.obs.columns:
        if not any(word in str(name).lower() for word in SAMPLES):
            continue
        values = column_of(data, name).astype(np.str_)
        share = np.unique(values, return_counts=True)[1] / len(values)
        if not 1 < len(share) <= len(values) / 10:  # few cells say little
            continue
        near = nearest(positions, 2, rows=len(values))[:, 1] if near is None else near
        mixed = float((values[near] != values).mean())
        if mixed > 0.5 * (1 - (share**2).sum()):
            warnings.warn(
                f"column {str(name)!r} has {len(share)} values, and {mixed:.0%} of the cells have their "
                "nearest cell in another one: if these are pieces of tissue whose coordinates share no "
                f"origin, niches mix them; keep them apart with section_key (--section-key {name})",
                UserWarning,
                stacklevel=4,
            )
            return


def _names(keys: Any) -> str:
    return ", ".join(str(key) for key in keys)
