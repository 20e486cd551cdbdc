"""The façade: a model over clouds or Gaussians as an estimator with ``fit``, ``sample`` and ``score``."""

from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from refwfm.clouds import unpad
from refwfm.datasets import CloudFamily, Family, as_family, clouds_from_arrays, to_anndata
from refwfm.datasets.own_arrays import encode_labels
from refwfm.metrics.nearest_gaussians import nearest
from refwfm.runs import evaluate_clouds, evaluate_gaussians, folders, models
from refwfm.runs.rectified import prepare_rectified, rectified_config
from refwfm.storage import records
from refwfm.training import algorithm
from refwfm.training.conditions import at_named
from refwfm.training.config import CloudConfig, GaussianConfig
from refwfm.training.presets import with_preset

SHARED = ("steps", "batch", "width", "depth", "learning_rate", "ema", "seed")  # options of every run


class NotFittedError(ValueError, AttributeError):
    """An estimator that has learned nothing yet."""


@dataclass(kw_only=True, eq=False, repr=False)
class WassersteinFlow:
    """Generative model whose samples are point clouds or Gaussians (Wasserstein Flow Matching).

    ``preset`` to ``seed``, and all others in ``options``, are those of ``refwfm train``; what is None, or not
    in ``options``, is as the preset has it (``training.presets``). ``measure`` and ``cells`` say how data are
    read (``datasets.as_family``), ``backend`` is what ``refwfm.backends.load`` returns, with its faster
    functions. ``fit`` leaves ``model_``, ``classes_``, ``n_features_in_``, and ``basis_``, by which
    components become expression.

    Examples
    --------
    >>> clouds = [np.random.default_rng(n).standard_normal((n, 2)) + n for n in (4, 5, 6, 7)]
    >>> flow = WassersteinFlow(steps=3, batch=2, width=8, depth=1, options={"heads": 2, "hidden": 8})
    >>> new = flow.fit(clouds, ["small", "small", "large", "large"]).sample(2, y="large", n_steps=2)
    >>> [cloud.shape[1] for cloud in new], flow.classes_, 0 <= flow.score(clouds) <= 1
    ([2, 2], ('large', 'small'), True)
    >>> flow.set_params(steps=4, options=None)
    WassersteinFlow(steps=4, batch=2, width=8, depth=1)
    """

    measure: str = "clouds"
    preset: str = "laptop"
    steps: int | None = None
    batch: int | None = None
    width: int | None = None
    depth: int | None = None
    learning_rate: float | None = None
    ema: float | None = None
    seed: int = 0
    options: dict[str, Any] | None = None
    cells: dict[str, Any] | None = None
    backend: Any = None

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters by name, as they were given; none is an estimator for ``deep`` to look into."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def set_params(self, **params: Any) -> Self:
        """Replace parameters."""
        for name in params.keys() - self.get_params().keys():
            raise ValueError(f"no parameter {name!r}; there are {', '.join(self.get_params())}")
        vars(self).update(params)
        return self

    def __repr__(self) -> str:
        params, defaults = self.get_params(), {each.name: each.default for each in fields(self)}
        changed = (f"{name}={value!r}" for name, value in params.items() if value != defaults[name])
        return f"{type(self).__name__}({', '.join(changed)})"

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn from clouds, Gaussians or cells, with labels ``y``: see ``datasets.as_family``."""
        family = as_family(X, y, measure=self.measure, cells=self.cells)
        shared = {name: getattr(self, name) for name in SHARED if getattr(self, name) is not None}
        kind: Any = CloudConfig if isinstance(family, CloudFamily) else GaussianConfig
        given = {**(self.options or {}), **shared}
        config = kind(**with_preset(self.preset, kind, given, family=family))
        backend = self.backend or models.Host()
        model, data = models.prepare(config, family, backend)
        with np.errstate(over="ignore", invalid="ignore"):  # an overflow shows in the loss
            state = algorithm.train(config, model.setting, data, family.labels, model.state, ops=backend.ops)
        return self._learned(model._replace(state=state), family.basis)

    def rectify(self, **options: Any) -> Self:
        """Learn anew from the model's own pairs (reflow): then few steps of ``sample`` do.

        ``options`` are those in which it may differ from the first training (``runs.rectified.OWN``), such as
        ``steps`` and ``rectified_pairs``.
        """
        backend, before = self.backend or models.Host(), self._fitted()
        model, pairs = prepare_rectified(rectified_config(before.config, options), before, backend)
        with np.errstate(over="ignore", invalid="ignore"):  # an overflow shows in the loss
            state = algorithm.train(model.config, model.setting, pairs, None, model.state, ops=backend.ops)
        return self._learned(model._replace(state=state), self.basis_)

    def sample(
        self,
        n: int = 1,
        *,
        y: Any = None,
        at: dict[str, float] | None = None,
        n_steps: int = 50,
        seed: int = 0,
    ) -> Any:
        """New measures: a list of arrays (n_i, d), a ``Gaussian``, or an AnnData where there is a ``basis_``.

        ``y`` is a class, or one for each; drawn as often as in the data when left out. ``at``
        are the conditions, ``{"age": 30.0}``; those of training members when left out.
        """
        family = self._generated(n, y, n_steps, seed, at)
        if family.basis is not None:
            return to_anndata(family)
        return (
            family.gaussians if isinstance(family, Family) else np.split(family.points, family.offsets[1:-1])
        )

    def score(self, X: Any, y: Any = None, *, n_steps: int = 50, seed: int = 0) -> float:
        """How near as many new measures are to these, at most 200, larger is better; ``y`` is not used.

        Of clouds ``evaluate_clouds.likeness``, in [0, 1]; of Gaussians minus the mean least W2² to these.
        """
        real = as_family(X, measure=self.measure, cells=self.cells)
        new = self._generated(min(len(real), 200), None, n_steps, seed)
        if isinstance(real, Family) and isinstance(new, Family):
            return -float(nearest(new.gaussians, real.gaussians, validate=False).sq_distance.mean())
        if not (isinstance(real, CloudFamily) and isinstance(new, CloudFamily)):
            raise ValueError("X: clouds are compared with a model of clouds, Gaussians with one of Gaussians")
        some = evaluate_clouds.subsample(real, len(new), self.model_.config, seed=seed)
        return evaluate_clouds.likeness(new.batch(range(len(new))), some)

    def save(self, folder: Path | str) -> Path:
        """Write a new run's folder, which ``load`` and ``refwfm generate`` read; return it."""
        model, saved = self._fitted(), Path(folder) / "checkpoints"
        saved.mkdir(parents=True)
        models.save_model(saved / f"{model.state.step:08d}.safetensors", model, self.backend or models.Host())
        if self.basis_ is not None:
            records.save(Path(folder) / folders.BASIS, self.basis_)
        return Path(folder)

    @classmethod
    def load(cls, folder: Path | str, *, backend: Any = None) -> Self:
        """Read what ``save`` or ``refwfm train`` left in a folder; nothing in it is executed."""
        model = models.load_model(folder, backend or models.Host())
        asked, clouds = asdict(model.config), isinstance(model.config, CloudConfig)
        asked.pop("rectified_pairs", None)  # fit learns from data
        shared = {name: asked.pop(name) for name in SHARED}
        flow = cls(measure="clouds" if clouds else "gaussians", **shared, options=asked, backend=backend)
        return flow._learned(model, folders.read_basis(Path(folder)))

    def _learned(self, model: Any, basis: Any) -> Self:
        self.model_, self.basis_, self.classes_ = model, basis, tuple(model.about["label_names"])
        self.n_features_in_ = int(model.setting.shift.shape[0])
        return self

    def _fitted(self) -> Any:
        if not hasattr(self, "model_"):
            raise NotFittedError("this WassersteinFlow is not fitted yet: call fit, or load")
        return self.model_

    def _generated(
        self, n: int, y: Any, n_steps: int, seed: int, at: dict[str, float] | None = None
    ) -> Family | CloudFamily:
        how: dict[str, Any] = {"size": n, "n_steps": n_steps, "seed": seed}
        model, backend = self._fitted(), self.backend or models.Host()
        if at is not None:
            how["conditions"] = at_named(model.setting, at, n)
        if y is not None:
            how["labels"], _ = encode_labels(np.broadcast_to(np.asarray(y).astype(str), n), self.classes_)
        if isinstance(model.config, CloudConfig):
            clouds, labels = evaluate_clouds.generate_with(model, ops=backend.ops, **how)
            made = clouds_from_arrays(unpad(clouds), labels=labels, label_names=self.classes_)
            return replace(made, basis=self.basis_)
        gaussians, labels, _ = evaluate_gaussians.generate_with(model, backend, **how)
        facts: dict[str, Any] = {"labels": labels, "label_names": self.classes_, "basis": self.basis_}
        return Family(name="new", gaussians=gaussians, **facts)
