"""Results in one ``.npz`` file: arrays as they are, the rest as JSON beside them, never a pickle.

What is kept is a named tuple, whose parts may be named tuples, tuples, lists, dicts, arrays and
scalars of NumPy, and what JSON has. JSON has no tuples, no keys but strings, and no types: what it lacks is
written as an object of one entry that names it, ``{"tuple": [...]}`` or ``{"Scale": {...}}``. A reader
rebuilds only the named tuples that its caller lists.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from refwfm.storage import atomic
from refwfm.storage.arrays import member

_JSON = "json"


class RecordError(ValueError):
    """A file does not hold the record that is asked for."""


def save(path: Path, record: Any, /) -> None:
    """Write a record, whole or not at all.

    Raises
    ------
    TypeError
        If a part of it is of another type than those named above.
    OSError
        If the folder cannot be written or the disk is full; the file is then as it was before.
    """
    arrays: dict[str, np.ndarray] = {}
    text = json.dumps(_to_json(record, arrays))
    arrays[_JSON] = np.frombuffer(text.encode(), dtype=np.uint8)
    atomic.write(path, lambda file: np.savez(file, allow_pickle=False, **arrays))


def load(path: Path, kinds: tuple[type, ...], /) -> Any:
    """Read a record; nothing in the file is executed.

    Parameters
    ----------
    kinds : tuple of named tuple types
        All that the record may be made of.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    RecordError
        If it is truncated or foreign. The file is left untouched.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: member(archive, name) for name in archive}
        content = json.loads(arrays[_JSON].tobytes())
        return _from_json(content, arrays, {kind.__name__: kind for kind in kinds})
    except FileNotFoundError:
        raise
    except Exception as error:  # NumPy and zipfile can raise anything on a file of anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise RecordError(f"{path} is truncated or foreign ({reason})") from None


def digest(record: Any, /) -> str:
    """Name for a record without arrays: the same for the same values, in hexadecimal digits."""
    arrays: dict[str, np.ndarray] = {}
    text = json.dumps(_to_json(record, arrays))
    if arrays:
        raise TypeError("a record with arrays has no digest")
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _to_json(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """What JSON can hold of a value; its arrays are put aside under numbers."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, np.ndarray | np.generic):
        if value.dtype.hasobject:
            raise TypeError(f"arrays of objects cannot be kept; got dtype {value.dtype}")
        name = str(len(arrays))
        arrays[name] = np.asarray(value)
        return {"array" if isinstance(value, np.ndarray) else "scalar": name}
    if type(value) is dict:
        return {"dict": [[_to_json(part, arrays) for part in item] for item in value.items()]}
    if type(value) is list:
        return [_to_json(part, arrays) for part in value]
    if type(value) is tuple:
        return {"tuple": [_to_json(part, arrays) for part in value]}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {
            type(value).__name__: {name: _to_json(part, arrays) for name, part in value._asdict().items()}
        }
    raise TypeError(f"a {type(value).__name__} cannot be kept")


def _from_json(value: Any, arrays: dict[str, np.ndarray], kinds: dict[str, type]) -> Any:
    if isinstance(value, list):
        return [_from_json(part, arrays, kinds) for part in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "array":
        return arrays[content]
    if kind == "scalar":
        return arrays[content][()]
    if kind == "dict":
        return {_from_json(k, arrays, kinds): _from_json(v, arrays, kinds) for k, v in content}
    if kind == "tuple":
        return tuple(_from_json(part, arrays, kinds) for part in content)
    return kinds[kind](**{name: _from_json(part, arrays, kinds) for name, part in content.items()})
