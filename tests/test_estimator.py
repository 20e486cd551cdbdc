"""The façade: what it learns, gives and keeps, and what scikit-learn asks of an estimator."""

import copy
import inspect
import pickle
import subprocess
import sys

import anndata
import numpy as np
import pytest
from command import succeed

import refwfm
from refwfm import backends, datasets
from refwfm.measures import Gaussian, PointCloud
from refwfm.runs.estimator import NotFittedError, WassersteinFlow

TINY = {"steps": 3, "batch": 2, "width": 8, "depth": 1}
SMALL = {**TINY, "options": {"heads": 2, "hidden": 8, "n_frequencies": 2}}
GAUSSIAN = {**TINY, "options": {"n_frequencies": 2}}


@pytest.fixture
def clouds(rng):
    return [rng.standard_normal((n, 2)) + n for n in (4, 5, 6, 7, 4, 5)]


@pytest.fixture
def gaussians(rng):
    half = rng.standard_normal((6, 2, 2))
    return Gaussian(rng.standard_normal((6, 2)), half @ half.mT + np.eye(2))


@pytest.fixture
def cells(rng):
    data = anndata.AnnData(rng.poisson(2.0, size=(20, 7)).astype(np.float32))
    data.obs["kind"] = ["x", "y"] * 10
    data.obsm["spatial"] = rng.uniform(size=(20, 2))
    return data


# --- what scikit-learn asks (utils.estimator_checks), without it


def clone(estimator):
    """As ``sklearn.base.clone`` makes it: copies of all parameters to the constructor."""
    params = {name: copy.deepcopy(value) for name, value in estimator.get_params(deep=False).items()}
    made = type(estimator)(**params)
    for name, value in made.get_params(deep=False).items():
        assert value is params[name], f"the constructor changed {name}"
    return made


PARAMS = [{}, SMALL, {"measure": "gaussians", "seed": 3}, {"backend": backends.load("numpy")}]


@pytest.mark.parametrize("params", PARAMS)
def test_parameters_are_what_was_given(params):
    flow = WassersteinFlow(**params)
    signature = inspect.signature(WassersteinFlow.__init__).parameters
    assert list(flow.get_params()) == [name for name in signature if name != "self"]
    assert not [each for each in signature.values() if each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
    assert {name: flow.get_params()[name] for name in params} == params
    assert set(vars(flow)) == set(flow.get_params())  # nothing that ends with _ before fit
    assert clone(flow).get_params().keys() == flow.get_params().keys()
    assert repr(clone(flow)) == repr(flow)
    assert flow.set_params(**flow.get_params()) is flow
    assert flow.set_params() is flow


def test_parameters_can_be_set():
    flow = WassersteinFlow(steps=5)
    assert repr(WassersteinFlow()) == "WassersteinFlow()"
    assert repr(flow) == "WassersteinFlow(steps=5)"
    assert repr(flow.set_params(measure="gaussians", steps=None)) == "WassersteinFlow(measure='gaussians')"
    with pytest.raises(ValueError, match="no parameter 'stepz'; there are measure, preset, steps, batch"):
        flow.set_params(seed=9, stepz=1)
    assert flow.seed == 0  # all or nothing


def test_nothing_is_checked_before_fit(clouds):
    for params, match in (
        ({"steps": 0}, "steps must be at least 1; got 0"),
        ({"measure": "cells"}, "measure must be clouds or gaussians; got 'cells'"),
        ({"options": {"plan": 1}}, "plan"),
    ):
        with pytest.raises((ValueError, TypeError), match=match):
            WassersteinFlow(**params).fit(clouds)


@pytest.mark.parametrize("call", [lambda f, x: f.sample(), lambda f, x: f.score(x), lambda f, x: f.save(".")])
def test_what_is_not_fitted_says_so(clouds, call):
    with pytest.raises(NotFittedError, match="not fitted yet: call fit, or load") as caught:
        call(WassersteinFlow(), clouds)
    assert isinstance(caught.value, ValueError) and isinstance(caught.value, AttributeError)  # noqa: PT018


def test_fit_changes_neither_parameters_nor_data(clouds):
    labels = np.array(["a", "b"] * 3)
    flow, before = WassersteinFlow(**SMALL), [cloud.copy() for cloud in clouds]
    params = copy.deepcopy(flow.get_params())
    assert flow.fit(clouds, labels) is flow
    assert flow.get_params() == params
    for cloud, was in zip(clouds, before, strict=True):
        np.testing.assert_array_equal(cloud, was)
    for cloud in clouds:
        cloud.flags.writeable = False
    again = WassersteinFlow(**SMALL).fit(clouds, labels)
    refitted = flow.fit(clouds, labels)  # starts anew
    for other in (again, refitted, pickle.loads(pickle.dumps(flow))):
        for one, two in zip(flow.sample(3), other.sample(3), strict=True):
            np.testing.assert_array_equal(one, two)
    assert (flow.n_features_in_, flow.classes_) == (2, ("a", "b"))
    differs = clone(flow).set_params(seed=1).fit(clouds, labels).sample(3)
    assert not np.allclose(differs[0][0], flow.sample(3)[0][0])


# --- what it learns from, and gives


def test_clouds(clouds):
    flow = WassersteinFlow(**SMALL).fit(clouds, [0, 1, 0, 1, 0, 1])
    new = flow.sample(5, y=1, n_steps=2, seed=1)
    assert {len(cloud) for cloud in new} <= {4, 5, 6, 7}
    assert {cloud.shape[1] for cloud in new} == {2}
    many = flow.sample(2, y=["1", "0"], n_steps=2)
    assert len(many) == 2
    with pytest.raises(ValueError, match="labels 2 are not among label_names 0, 1"):
        flow.sample(2, y=2)
    assert flow.basis_ is None
    padded = PointCloud(np.ones((3, 4, 2)), np.full((3, 4), 0.25))
    assert WassersteinFlow(**SMALL).fit(padded).classes_ == ()


def test_the_model_is_that_of_the_command(clouds, tmp_path):
    path = datasets.save_family(tmp_path / "own.npz", datasets.clouds_from_arrays(clouds))
    options = [f"--{k}={v}" for k, v in {**TINY, "preset": "laptop"}.items()]
    network = ("--heads", 2, "--hidden", 8, "--n-frequencies", 2)
    succeed("train", "--data", path, *options, *network, "--out", tmp_path / "run", "--reference")
    flow = WassersteinFlow(**SMALL).fit(clouds)
    for one, two in zip(flow.sample(2), WassersteinFlow.load(tmp_path / "run").sample(2), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5)
    succeed("generate", flow.save(tmp_path / "mine"), "--size", 2, "--out", tmp_path / "new.npz")
    np.testing.assert_allclose(
        datasets.load(tmp_path / "new.npz").points, np.concatenate(flow.sample(2)), rtol=1e-4
    )


def test_gaussians(gaussians, clouds):
    flow = WassersteinFlow(**GAUSSIAN).fit(gaussians, list("aabbab"))
    new = flow.sample(4, y="b", n_steps=2)
    assert isinstance(new, Gaussian)
    assert (new.mean.shape, new.cov.shape) == ((4, 2), (4, 2, 2))
    with pytest.raises(ValueError, match="X: clouds are compared with a model of clouds"):
        flow.score(clouds)
    of_clouds = WassersteinFlow(measure="gaussians", **GAUSSIAN).fit(clouds)
    assert isinstance(of_clouds.sample(1), Gaussian)


@pytest.mark.parametrize("measure", ["clouds", "gaussians"])
def test_cells_in_cells_out(cells, tmp_path, measure):
    how = {"k": 5, "pcs": 3, "label": "kind"}
    flow = WassersteinFlow(measure=measure, cells=how, **(SMALL if measure == "clouds" else GAUSSIAN))
    new = flow.fit(cells).sample(2, n_steps=2)
    assert new.shape == (10 if measure == "clouds" else 2, 7)
    assert set(new.obs["niche_kind"]) <= {"x", "y"}
    cells.write_h5ad(tmp_path / "cells.h5ad")
    same = clone(flow).fit(tmp_path / "cells.h5ad").sample(2, n_steps=2)
    np.testing.assert_array_equal(same.X, new.X)
    assert np.isfinite(flow.score(cells, n_steps=2))
    loaded = WassersteinFlow.load(flow.save(tmp_path / "run"))
    np.testing.assert_array_equal(loaded.sample(2, n_steps=2).X, new.X)
    with pytest.raises(ValueError, match=r"labels: cells .* and families have their own"):
        flow.fit(cells, ["x"] * 20)


# --- score


def test_score_is_best_for_the_data_themselves(gaussians, monkeypatch):
    flow = WassersteinFlow(**GAUSSIAN).fit(gaussians)
    untrained = flow.score(gaussians)
    assert untrained < 0
    family = datasets.as_family(gaussians)
    monkeypatch.setattr(WassersteinFlow, "_generated", lambda *given: family)
    assert flow.score(gaussians) == pytest.approx(0, abs=1e-12)


def test_likeness_of_clouds(rng, monkeypatch):
    real = [rng.standard_normal((6, 2)) for _ in range(30)]
    flow = WassersteinFlow(**SMALL).fit(real)
    for shift, low, high in ((0.0, 0.6, 1.0), (50.0, 0.0, 0.0)):
        other = datasets.clouds_from_arrays([rng.standard_normal((6, 2)) + shift for _ in range(30)])
        monkeypatch.setattr(WassersteinFlow, "_generated", lambda *given, other=other: other)
        assert low <= flow.score(real) <= high


# --- files and imports


def test_save_and_load(clouds, tmp_path):
    flow = WassersteinFlow(**SMALL).fit(clouds, list("aabbab"))
    with pytest.raises(FileExistsError):
        flow.save(flow.save(tmp_path / "run"))
    loaded = WassersteinFlow.load(tmp_path / "run")
    assert {name: loaded.get_params()[name] for name in TINY} == TINY
    assert (loaded.classes_, loaded.n_features_in_) == (("a", "b"), 2)
    for one, two in zip(flow.sample(3, y="b"), loaded.sample(3, y="b"), strict=True):
        np.testing.assert_array_equal(one, two)
    again = clone(loaded).fit(clouds, list("aabbab"))  # with the same options
    np.testing.assert_array_equal(again.sample(1, y="a")[0], flow.sample(1, y="a")[0])
    with pytest.raises(FileNotFoundError):
        WassersteinFlow.load(tmp_path / "none")


def test_a_backend_trains_it(clouds, library_name):
    name = "strict" if library_name.startswith("array_api_strict") else library_name
    flow = WassersteinFlow(**SMALL, backend=backends.load(name, dtype="float64")).fit(clouds)
    plain = WassersteinFlow(**SMALL).fit(clouds)
    assert flow.model_.about["dtype"] == "float64"
    np.testing.assert_allclose(flow.sample(1)[0], plain.sample(1)[0], atol=1e-3)


def test_it_is_had_from_the_package_and_imported_when_asked_for():
    assert refwfm.WassersteinFlow is WassersteinFlow
    with pytest.raises(AttributeError, match="no attribute 'WasserstainFlow'"):
        _ = refwfm.WasserstainFlow
    code = "import sys, refwfm; print('refwfm.runs' in sys.modules, refwfm.WassersteinFlow.__name__)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["False", "WassersteinFlow"]


@pytest.mark.parametrize("kind", ["clouds", "gaussians"])
def test_rectified_it_has_other_parameters_and_the_same_classes(kind, clouds, gaussians, tmp_path):
    labels = ["a", "b", "a", "b", "a", "b"]
    options = SMALL if kind == "clouds" else {**GAUSSIAN, "measure": "gaussians"}
    flow = WassersteinFlow(**options).fit(clouds if kind == "clouds" else gaussians, labels)
    before = flow.model_
    assert flow.rectify(steps=2, rectified_pairs=6, rectified_steps=2) is flow
    assert (flow.model_.config.steps, flow.classes_) == (2, ("a", "b"))
    assert flow.model_.about["rectifies"]
    assert flow.model_.setting is before.setting
    assert len(flow.sample(3, n_steps=1)[0]) in (3, 4, 5, 6, 7)
    with pytest.raises(ValueError, match="width must be that of the run that is rectified, 8; got 9"):
        flow.rectify(width=9)
    again = WassersteinFlow.load(flow.save(tmp_path / "run"))
    assert again.model_.config.rectified_pairs == 6
    again.set_params(steps=1).fit(clouds if kind == "clouds" else gaussians, labels)
    with pytest.raises(NotFittedError):
        WassersteinFlow().rectify()
