"""How a library is asked: an ``Adapter`` is a dictionary from questions to functions of arrays.

To ask another library, write a module with one of them::

    import numpy as np
    import mylibrary
    from refwfm.validation.hostile.adapters import Adapter

    def sq_wasserstein2(x, y, a=None, b=None):
        return mylibrary.emd2(x, y, a, b)

    ADAPTER = Adapter("mylibrary", mylibrary.__version__, lambda values, dtype: values.astype(dtype),
                      {"sq_wasserstein2": sq_wasserstein2}, dtypes=("float64",))

and run ``refwfm hostile --library path/to/module.py:ADAPTER``. A function takes the arguments of the cases by
name (``questions`` says what is meant) and returns a number or an array. Fair means: the way that the
library's own documentation recommends, as exact as it can be set, and no question that it does not claim to
answer (for some arguments only: raise ``NotAskedError``). What the library says in its result, such as
``converged``, the adapter has to pass on as a warning. An answer of NaN counts as an error, since nobody
takes it for a number.
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

PEERS = {"pot": "POT", "ott": "OTT-JAX", "geomloss": "GeomLoss"}
"""Modules of this folder, and what they ask."""


class NotAskedError(Exception):
    """Raised by an adapter: the library does not claim to answer the question for these arguments."""


class Adapter(NamedTuple):
    """A library to be asked.

    Attributes
    ----------
    name, version : str
    array : callable
        ``array(values, dtype)``: a NumPy array as one of the library's.
    questions : dict
        Functions by the name of the question.
    dtypes : tuple of str
        Those to ask in: the best that the library has.
    rtol : float
        Relative error granted to all its answers, where its documentation promises an approximation.
    """

    name: str
    version: str
    array: Callable[[np.ndarray, str], Any]
    questions: dict[str, Callable[..., Any]]
    dtypes: tuple[str, ...] = ("float64",)
    rtol: float = 0.0


def find(name: str, /) -> Adapter:
    """Adapter of a peer, or one's own: ``path/to/file.py:NAME`` or ``module:NAME``.

    Raises
    ------
    ImportError
        If the library is not installed.
    ValueError
        If there is no such adapter.
    """
    if name in PEERS:
        try:
            return importlib.import_module(f"refwfm.validation.hostile.adapters.{name}").ADAPTER
        except ImportError as error:
            raise ImportError(
                f'{PEERS[name]} is not installed ({error}): pip install "refwfm[bench]"'
            ) from error
    place, colon, attribute = name.rpartition(":")
    if not colon:
        raise ValueError(
            f"unknown library {name!r}; choose one of refwfm, {', '.join(PEERS)}, or path.py:ADAPTER of yours"
        )
    module = _load_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    adapter = getattr(module, attribute, None)
    if not isinstance(adapter, Adapter):
        raise ValueError(f"{name!r} is no Adapter; got {type(adapter).__name__}")
    return adapter


def _load_file(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ValueError(f"there is no file {str(path)!r}")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)
    spec.loader.exec_module(module)
    return module
