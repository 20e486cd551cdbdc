"""Making, saving and loading a model: what was asked for, what was fitted to the data, what was learned."""

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np

from refwfm._array import check_integer
from refwfm.measures import Gaussian
from refwfm.psd import project_psd
from refwfm.storage import cards, checkpoints
from refwfm.training.algorithm import NonFiniteLossError, State, init_state
from refwfm.training.base_config import TrainingConfig
from refwfm.training.flows import CONFIGS, FLOWS, flow_of, kind_of
from refwfm.training.ops import REFERENCE, Ops
from refwfm.training.optim import AdamState, flatten, unflatten

AT_ONCE = 2**18
"""Rows of which the fingerprint is taken together."""


class Backend(Protocol):
    """What a run needs of a backend (see ``refwfm.backends.Backend``)."""

    @property
    def dtype(self) -> str: ...  # noqa: D102
    @property
    def asarray(self) -> Callable[[Any], Any]: ...  # noqa: D102
    @property
    def to_numpy(self) -> Callable[[Any], np.ndarray]: ...  # noqa: D102
    @property
    def ops(self) -> Ops: ...  # noqa: D102


class Host(NamedTuple):
    """A ``Backend``: NumPy in float32, and the plain functions."""

    dtype: str = "float32"
    to_numpy: Callable[[Any], np.ndarray] = np.asarray
    ops: Ops = REFERENCE

    def asarray(self, values: Any) -> np.ndarray:  # noqa: D102
        array = np.asarray(values)
        return array.astype(self.dtype) if array.dtype.kind == "f" else array


class Data(Protocol):
    """What a run needs of a family, besides the measures themselves (see ``refwfm.datasets``)."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def labels(self) -> np.ndarray | None: ...  # noqa: D102
    @property
    def label_names(self) -> tuple[str, ...]: ...  # noqa: D102


Config = TypeVar("Config", bound=TrainingConfig)
"""The kind of a model, which is that of its configuration."""


class Model(NamedTuple, Generic[Config]):
    """A model, trained or in training: configuration, setting, state, and what it was trained on.

    ``about`` has the data's name, its fingerprint and that of a source family, the run's dtype and the names
    of the classes.
    """

    config: Config
    setting: Any
    state: State
    about: dict[str, Any]


def prepare(
    config: Config,
    data: Data,
    backend: Backend,
    /,
    *,
    source: Data | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Model[Config], Any]:
    """Fit the setting, draw the first state; also return the family as the flow wants it.

    Parameters
    ----------
    data : family of the kind that the configuration is for
    source : family, optional
        Where flows between two families start.
    progress : callable, optional
        Called with (done, in all) where clouds have to be aligned, or where a start is fitted.
    """
    if getattr(config, "rectified_pairs", 0):
        raise ValueError(
            "rectified_pairs is for a run that rectifies another one: refwfm train --rectify RUN, or "
            "runs.rectified.prepare_rectified"
        )
    flow = flow_of(config)
    setting, family = flow.prepare(config, data, source, backend.asarray, progress=progress)
    about = {
        "data": data.name,
        "fingerprint": fingerprint(config, data),
        "source": "" if source is None else fingerprint(config, source),
        "dtype": backend.dtype,
        "label_names": list(data.label_names) if len(setting.label_counts) else [],
    }
    return Model(config, setting, init_state(config, setting), about), family


def fingerprint(config: TrainingConfig, data: Data, /) -> str:
    """SHA-256 of a family's numbers, so that a run is never continued on other data."""
    digest = hashlib.sha256()
    array: Any
    for array in flow_of(config).arrays_of(data):
        rows = 0 if array is None or np.ndim(array) == 0 else len(array)
        for start in range(0, rows, AT_ONCE):  # of what is in a file, never all is in memory
            digest.update(np.ascontiguousarray(array[start : start + AT_ONCE]).tobytes())
        if array is not None and np.ndim(array) == 0:
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def save_model(path: Path, model: Model[Any], backend: Backend, /) -> None:
    """Write a checkpoint of a model; see ``storage.checkpoints.save``.

    Raises
    ------
    training.algorithm.NonFiniteLossError
        If an array of it has NaN or infinity; nothing is written then.
    """
    flow, state = flow_of(model.config), model.state
    setting, numbers = flow.pack(model.setting)
    tree: dict[str, Any] = {"params": state.params, "setting": setting}
    if state.adam is not None:
        tree["adam"] = {"first": state.adam.first, "second": state.adam.second}
    if state.ema is not None:
        tree["ema"] = state.ema
    arrays = {
        name: leaf if isinstance(leaf, np.ndarray) else backend.to_numpy(leaf)
        for name, leaf in flatten(tree).items()
    }
    broken = _not_finite(arrays)
    if broken is not None:
        raise NonFiniteLossError(f"{broken} has NaN or infinity after step {state.step}, and is not saved")
    about = {
        "kind": kind_of(model.config),
        "config": asdict(model.config),
        "step": state.step,
        **({} if state.adam is not None else {"only_trained": True}),
        **numbers,
        "about": model.about,
    }
    checkpoints.save(path, arrays, about)


def load_model(path: Path | str, backend: Backend, /) -> Model[Any]:
    """Read a model from a checkpoint, or from the newest one of a run's folder that can be read.

    Its kind is only known from the file: ``config`` is a ``GaussianConfig`` or a ``CloudConfig``. A damaged
    checkpoint is passed over with a ``CheckpointWarning`` for the one before it.

    Raises
    ------
    FileNotFoundError, checkpoints.CheckpointError
        The latter names the file, and the tensor that is missing, strange, not finite, of another shape or
        dtype.
    """
    path = Path(path)
    if not path.is_dir():
        return _read(path, backend)
    newest_checkpoint(path)  # an error where there is none
    damage = None
    for each in reversed(checkpoints_in(path)):
        try:
            model = _read(each, backend)
        except checkpoints.NewerCheckpointError:
            raise
        except checkpoints.CheckpointError as error:
            damage = damage or error
            continue
        if damage is not None:
            warnings.warn(f"{damage}; taking {each} instead", checkpoints.CheckpointWarning, stacklevel=2)
        return model
    assert damage is not None
    raise damage


def _read(path: Path, backend: Backend) -> Model[Any]:
    cards.check(path)
    arrays, about = checkpoints.load(path)
    try:
        kind = about.get("kind", "gaussians")
        flow = FLOWS[kind]
        config = CONFIGS[kind](**about["config"])
        # Integers are the host's bookkeeping: counts of labels, sizes of clouds.
        tree = unflatten({k: v if v.dtype.kind == "i" else backend.asarray(v) for k, v in arrays.items()})
        setting = flow.unpack(tree["setting"], about)
        check_integer(about["step"], "step", low=0)
        params = flow.init_params(config, setting)
        whole = not about.get("only_trained", False)
        expected = {"params": params}
        if whole:
            expected |= {"adam": {"first": params, "second": params}} | (
                {"ema": params} if config.ema else {}
            )
        _check_tensors(
            path, arrays, expected | {"setting": flow.pack(setting)[0]}, about["about"].get("dtype")
        )
        adam = AdamState(tree["adam"]["first"], tree["adam"]["second"], about["step"]) if whole else None
        state = State(tree["params"], adam, tree.get("ema"), about["step"])
        return Model(config, setting, state, about["about"])
    except checkpoints.CheckpointError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        raise checkpoints.CheckpointError(
            f"{path} is a checkpoint, but not of a model that this version knows ({error})"
        ) from None


def _check_tensors(
    path: Path, arrays: dict[str, np.ndarray], expected: dict[str, Any], dtype: str | None
) -> None:
    """Raise ``CheckpointError`` unless a file has a model's arrays, finite, in their shapes and dtype."""
    wanted = flatten(expected)
    for name in sorted(wanted.keys() | arrays.keys()):
        if name not in arrays:
            raise checkpoints.CheckpointError(f"{path} lacks the tensor {name}")
        if name not in wanted:
            raise checkpoints.CheckpointError(f"{path} has a tensor {name}, which its model does not have")
        shapes = tuple(arrays[name].shape), tuple(wanted[name].shape)
        if shapes[0] != shapes[1]:
            raise checkpoints.CheckpointError(
                f"{path}: the tensor {name} has the shape {shapes[0]}; its model has {shapes[1]}"
            )
        found = str(arrays[name].dtype)
        if not name.startswith("setting/") and found != (dtype or found):
            raise checkpoints.CheckpointError(
                f"{path}: the tensor {name} has the dtype {found}; its model has {dtype}"
            )
    broken = _not_finite(arrays)
    if broken is not None:
        raise checkpoints.CheckpointError(f"{path}: the tensor {broken} has NaN or infinity")


def _not_finite(arrays: dict[str, np.ndarray]) -> str | None:
    """Name of the first array with NaN or infinity, None where there is none."""
    return next((name for name, array in arrays.items() if not np.all(np.isfinite(array))), None)


def checkpoints_in(folder: Path, /) -> list[Path]:
    """Checkpoints of a run's folder, the newest last; other files there are none.

    Raises
    ------
    OSError
        If the folder cannot be read, which a search by pattern takes for an empty one.
    """
    try:
        found = list((folder / "checkpoints").iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(
        (path for path in found if path.suffix == ".safetensors" and path.stem.isdecimal()), key=step_of
    )


def step_of(checkpoint: Path, /) -> int:
    """Step that a checkpoint is of, from its name."""
    return int(checkpoint.stem)


def conditions_of(model: Model[Any], data: Any, index: np.ndarray, /) -> dict[str, Any]:
    """Labels and conditions of members, as arguments of ``generate_with``; none for a model without.

    Raises
    ------
    ValueError
        If the family has not the model's conditions, or not its classes.
    """
    known = model.setting.conditions
    if known is None:
        return {}
    names = tuple(getattr(data, "condition_names", ()))
    if names != known.names:
        raise ValueError(
            f"the model is conditioned on {', '.join(known.names)}; {data.name} has "
            f"{', '.join(names) or 'no conditions'}"
        )
    if not len(known.labels):
        return {"conditions": data.conditions[index]}
    if list(data.label_names) != model.about["label_names"]:
        raise ValueError(
            f"the classes of {data.name} must be the model's: {', '.join(model.about['label_names'])}"
        )
    return {"labels": data.labels[index], "conditions": data.conditions[index]}


def newest_checkpoint(folder: Path, /) -> Path:
    """The newest checkpoint of a run's folder."""
    found = checkpoints_in(folder)
    if not found:
        raise FileNotFoundError(f"no checkpoint in {folder / 'checkpoints'}")
    return found[-1]


def host_gaussian(mu: Gaussian, backend: Backend, /) -> Gaussian:
    """Gaussians as NumPy float64, their covariances freed from the rounding of the run's dtype."""
    mean, cov = (backend.to_numpy(part).astype(np.float64) for part in mu)
    return Gaussian(mean, project_psd(cov))
