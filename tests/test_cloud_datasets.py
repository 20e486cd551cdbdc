"""Families of point clouds: the class, its batches and files, and the named families."""

import gzip
import hashlib
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refwfm import datasets
from refwfm.clouds import check_cloud, unpad
from refwfm.datasets import CloudFamily, _idx, _source, digits, images

HAS_DATA = "REFWFM_DATA" in os.environ
needs_data = pytest.mark.skipif(not HAS_DATA, reason="REFWFM_DATA is not set")
CLOUDS = [name for name, entry in datasets.CATALOGUE.items() if entry.kind == "clouds"]
SHIPPED = [name for name in CLOUDS if datasets.CATALOGUE[name].shipped]
# Nine digits of MNIST are enough of a wait at "mnist" and "mnist-4".
FETCHED = [name for name in CLOUDS if name not in SHIPPED and datasets.CATALOGUE[name].size]
FETCHED = [name for name in FETCHED if not name.startswith("mnist-") or name.startswith("mnist-4")]
NAMED = [*SHIPPED, *(pytest.param(name, marks=needs_data) for name in FETCHED)]


def family_of(*sizes, d=2, seed=0, weighted=False, **facts):
    rng = np.random.default_rng(seed)
    clouds = [rng.standard_normal((n, d)) for n in sizes]
    weights = [rng.dirichlet(np.ones(n)) for n in sizes] if weighted else None
    return datasets.clouds_from_arrays(clouds, weights=weights, name="f", **facts)


# --- families by name


@pytest.mark.parametrize("name", NAMED)
def test_named_family_is_what_the_catalogue_says(name):
    family, entry = datasets.load(name), datasets.CATALOGUE[name]
    assert isinstance(family, CloudFamily)
    assert (family.name, len(family), family.dimension) == (name, entry.size, entry.dimension)
    assert (family.sizes.min(), family.sizes.max()) == entry.sizes
    assert family.points.dtype == np.float64
    assert len(family.label_names) == entry.n_labels
    assert (family.labels is not None) == bool(entry.n_labels)
    assert "icence" in family.about
    assert "Units: " in family.about
    check_cloud(family.batch([0, len(family) - 1]))


@pytest.mark.parametrize("name", [name for name in CLOUDS if datasets.CATALOGUE[name].held_out])
def test_what_is_held_out_is_of_the_same_kind(name):
    entry = datasets.CATALOGUE[name]
    other = datasets.CATALOGUE[entry.held_out]
    assert entry.held_out == f"{name}-test"
    assert (other.dimension, other.n_labels, other.shipped) == (
        entry.dimension,
        entry.n_labels,
        entry.shipped,
    )
    assert other.held_out == ""


def test_held_out_loads_the_other_members():
    assert datasets.held_out("fours").name == "fours-test"
    for name in ("cities", "fours-test", "no such name"):
        with pytest.raises(ValueError, match=f"no members are held out of '{name}'"):
            datasets.held_out(name)


# --- the class


def test_a_family_of_clouds_and_its_members():
    family = family_of(3, 1, 4, labels=["b", "a", "b"], weighted=True)
    assert (len(family), family.dimension) == (3, 2)
    np.testing.assert_array_equal(family.sizes, [3, 1, 4])
    points, weights = family.cloud(-1)
    np.testing.assert_array_equal(points, family.points[4:])
    np.testing.assert_array_equal(weights, family.weights[4:])
    some = family.subset([2, 0])
    np.testing.assert_array_equal(some.points, np.concatenate([family.points[4:], family.points[:3]]))
    assert some.labels.tolist() == [1, 1]
    same = family.subset(np.array([False, True, False]))
    np.testing.assert_array_equal(same.points, family.points[3:4])
    with pytest.raises(IndexError, match=r"has members 0 ... 2; got the index 0 ... 3"):
        family.subset([0, 3])
    with pytest.raises(ValueError, match="must be a list of integers, or 3 booleans; got float64"):
        family.subset([0.5])
    with pytest.raises(ValueError, match="family 'f' is empty"):
        family.subset([])


def test_a_family_of_gaussians_has_subsets_too():
    cities = datasets.load("cities")
    some = cities.subset([5, 0])
    assert some.members == (cities.members[5], cities.members[0])
    np.testing.assert_array_equal(some.gaussians.cov, cities.gaussians.cov[[5, 0]])


P = np.zeros((3, 2))


@pytest.mark.parametrize(
    ("error", "facts", "match"),
    [
        (ValueError, {"points": P[:0], "offsets": [0]}, "family 'f' is empty"),
        (ValueError, {"points": P[0], "offsets": [0, 2]}, r"points must have shape \(total, d\)"),
        (ValueError, {"points": P[:, :0], "offsets": [0, 3]}, "with d >= 1"),
        (TypeError, {"points": P + 1j, "offsets": [0, 3]}, "points must be real numbers; got complex128"),
        (ValueError, {"points": P, "offsets": [0, 2]}, "run from 0 to the number of points, 3; got 0 ... 2"),
        (ValueError, {"points": P, "offsets": [1, 3]}, "run from 0"),
        (ValueError, {"points": P, "offsets": [[0, 3]]}, r"offsets must have shape \(N \+ 1,\)"),
        (TypeError, {"points": P, "offsets": [0.0, 3.0]}, "offsets must be integers; got float64"),
        (ValueError, {"points": P, "offsets": [0, 2, 2, 3]}, "cloud 1 runs from row 2 to row 2"),
        (ValueError, {"points": P, "offsets": [0, 5, 3]}, "cloud 1 runs from row 5 to row 3"),
        (
            ValueError,
            {"points": np.array([[0.0], [0.0], [np.inf]]), "offsets": [0, 2, 3]},
            "NaN or infinity in cloud 1",
        ),
        (ValueError, {"weights": [0.5, 0.5]}, r"weights must have shape \(3,\)"),
        (ValueError, {"weights": [0.5, 0.5, 0.0]}, "weights must be positive"),
        (ValueError, {"weights": [0.5, 0.5, np.nan]}, "weights must be positive"),
        (ValueError, {"weights": [0.5, 0.5, 0.9]}, "those of cloud 1 sum to 0.9"),
        (TypeError, {"weights": ["a", "b", "c"]}, "weights must be real numbers"),
        (ValueError, {"labels": [0, 1], "label_names": ("a",)}, "labels must lie in 0 ... 0"),
        (ValueError, {"members": ("a",)}, "1 member names for 2 clouds"),
    ],
)
def test_a_family_of_clouds_is_checked(error, facts, match):
    facts = {"points": P, "offsets": [0, 2, 3], **facts}
    with pytest.raises(error, match=match):
        CloudFamily(name="f", **facts)


@pytest.mark.parametrize("make", [lambda: family_of(*range(1, 12)), lambda: datasets.load("cities")])
def test_split_is_a_partition_and_the_same_every_time(make):
    family = make()
    train, test = datasets.split(family, held_out=0.3, seed=1)
    assert len(test) == round(0.3 * len(family))
    assert len(train) + len(test) == len(family)
    again = datasets.split(family, held_out=0.3, seed=1)
    other = datasets.split(family, held_out=0.3, seed=2)
    if isinstance(family, CloudFamily):
        assert sorted([*train.sizes, *test.sizes]) == list(range(1, 12))
        np.testing.assert_array_equal(again[1].points, test.points)
        assert other[1].sizes.tolist() != test.sizes.tolist()
    else:
        assert {*train.members, *test.members} == {*family.members}
        assert again[1].members == test.members != other[1].members


def test_weights_are_scaled_to_sum_to_one_once():
    family = family_of(3, weighted=True)
    rough = family.weights * (1 + 5e-7)
    scaled = CloudFamily(name="f", points=family.points, offsets=family.offsets, weights=rough)
    np.testing.assert_allclose(scaled.weights, family.weights, rtol=1e-14)


def test_split_takes_the_same_share_of_every_class():
    family = family_of(*range(1, 31), labels=["a"] * 20 + ["b"] * 10)
    train, test = datasets.split(family)
    assert np.bincount(test.labels).tolist() == [4, 2]
    assert np.bincount(train.labels).tolist() == [16, 8]


def test_split_errors():
    with pytest.raises(ValueError, match="would hold out 0 of the 1 members of family 'f'"):
        datasets.split(family_of(3))
    with pytest.raises(ValueError, match="would hold out 2 of the 2 members"):
        datasets.split(family_of(3, 3), held_out=0.9)
    for share in (0, 1, np.nan):
        with pytest.raises(ValueError, match="held_out must lie strictly between 0 and 1"):
            datasets.split(family_of(3, 3), held_out=share)


# --- batches

SIZES = st.lists(st.integers(1, 7), min_size=1, max_size=6)


@given(
    sizes=SIZES, weighted=st.booleans(), n_points=st.integers(1, 8), seed=st.integers(0, 99), data=st.data()
)
def test_batches_hold_points_of_the_clouds_and_nothing_else(sizes, weighted, n_points, seed, data):
    family = family_of(*sizes, weighted=weighted, seed=seed)
    index = data.draw(st.lists(st.integers(0, len(sizes) - 1), min_size=1, max_size=5))
    batch = check_cloud(family.batch(index, n_points=n_points, rng=np.random.default_rng(seed)))
    assert batch.points.shape[1] == max(min(sizes[i], n_points) for i in index)
    for i, points in zip(index, unpad(batch), strict=True):
        cloud = {row.tobytes() for row in family.cloud(i).points}
        drawn = {row.tobytes() for row in points}
        assert len(drawn) == len(points) == min(sizes[i], n_points)  # without replacement
        assert drawn <= cloud


@given(sizes=SIZES, weighted=st.booleans(), size=st.integers(0, 9))
def test_a_whole_batch_is_the_family(sizes, weighted, size):
    family = family_of(*sizes, weighted=weighted)
    points, weights = family.batch(range(len(family)), size=size)
    assert points.shape == (len(sizes), max(size, *sizes, 0), 2)
    for i in range(len(family)):
        cloud = family.cloud(i)
        np.testing.assert_array_equal(points[i, : sizes[i]], cloud.points)
        np.testing.assert_allclose(weights[i, : sizes[i]], cloud.weights, rtol=1e-15)
        assert not points[i, sizes[i] :].any()
        assert not weights[i, sizes[i] :].any()


def test_every_point_is_drawn_equally_often_and_weights_are_kept():
    family = datasets.clouds_from_arrays([np.arange(5.0)[:, None]], weights=[[0.1, 0.1, 0.2, 0.2, 0.4]])
    points, weights = family.batch(np.zeros(20000, int), n_points=2, rng=np.random.default_rng(0))
    counts = np.bincount(points.astype(int).ravel(), minlength=5)
    assert np.abs(counts / 20000 - 0.4).max() < 5 * np.sqrt(0.4 * 0.6 / 20000)
    mass = family.weights[points[..., 0].astype(int)]
    np.testing.assert_allclose(weights, mass / mass.sum(axis=1, keepdims=True))


def test_batch_errors():
    family = family_of(3, 5)
    for call, match in (
        (
            lambda: family.batch([0, 1], n_points=4),
            "cloud 1 of family 'f' has 5 points: drawing 4 .* needs rng",
        ),
        (lambda: family.batch([0], n_points=0), "n_points must be at least 1; got 0"),
        (lambda: family.batch([]), "a batch needs at least one cloud"),
    ):
        with pytest.raises(ValueError, match=match):
            call()
    with pytest.raises(IndexError, match=r"has members 0 \.\.\. 1"):
        family.batch([2])
    assert family.batch([0], n_points=3).points.shape == (1, 3, 2)  # nothing is drawn


# --- files


@given(sizes=SIZES, weighted=st.booleans(), d=st.integers(1, 3), labelled=st.booleans())
def test_cloud_file_round_trip(tmp_path_factory, sizes, weighted, d, labelled):
    labels = [f"é{i % 2}" for i in range(len(sizes))] if labelled else None
    family = family_of(*sizes, weighted=weighted, d=d, labels=labels, about="Units: none.")
    path = datasets.save_family(tmp_path_factory.mktemp("clouds") / "a.npz", family)
    back = datasets.load(path)
    assert isinstance(back, CloudFamily)
    for part in ("points", "offsets", "weights", "labels"):
        np.testing.assert_array_equal(getattr(back, part), getattr(family, part))
    for part in ("name", "about", "label_names", "members"):
        assert getattr(back, part) == getattr(family, part)


def test_cloud_file_errors(tmp_path):
    good = datasets.save_family(tmp_path / "good.npz", family_of(30, 40))
    whole, bad = good.read_bytes(), tmp_path / "bad.npz"
    for content in (b"", whole[:100], whole[:-30], whole[:300] + bytes(100) + whole[400:]):
        bad.write_bytes(content)
        with pytest.raises(ValueError, match=r"bad\.npz is truncated or not a \.npz file"):
            datasets.load(bad)
        assert bad.read_bytes() == content
    np.savez(bad, **{**np.load(good), "format": "refwfm-clouds-9"})
    with pytest.raises(ValueError, match=r"format 'refwfm-clouds-9'; this version reads .*refwfm-clouds-1"):
        datasets.load(bad)
    np.savez(bad, **{**np.load(good), "offsets": [0, 30, 69]})
    with pytest.raises(ValueError, match=r"bad\.npz does not hold a valid family: .*offsets must run from"):
        datasets.load(bad)
    np.savez(bad, **{key: value for key, value in np.load(good).items() if key != "points"})
    with pytest.raises(ValueError, match="of another kind: it lacks points"):
        datasets.load(bad)


# --- the user's own clouds, and Gaussians of clouds


def test_own_clouds_in_any_form():
    rng = np.random.default_rng(0)
    array = rng.standard_normal((4, 6, 3)).astype(np.float32)
    family = datasets.clouds_from_arrays(array, labels=[1, 0, 1, 0], label_names=("a", "b"), about="Mine.")
    np.testing.assert_array_equal(family.points, array.reshape(24, 3))
    assert (family.labels.tolist(), family.about) == ([1, 0, 1, 0], "Mine.")
    weights = rng.dirichlet(np.ones(6), 4)
    weights[:, 4:] = 0
    weights /= weights.sum(axis=1, keepdims=True)
    array[:, 4:] = np.nan  # padding, whatever it holds
    padded = datasets.clouds_from_arrays(array, weights=weights)
    assert padded.sizes.tolist() == [4, 4, 4, 4]
    np.testing.assert_allclose(padded.weights.reshape(4, 4), weights[:, :4])


@pytest.mark.parametrize("weighted", [False, True])
def test_gaussians_of_clouds_are_their_moments(weighted):
    family = family_of(5, 2, 5, 9, weighted=weighted, labels=["a", "b", "a", "b"])
    got = datasets.gaussians_of(family)
    for i in range(4):
        points, weights = family.cloud(i)
        np.testing.assert_allclose(got.gaussians.mean[i], weights @ points)
        np.testing.assert_allclose(got.gaussians.cov[i], np.cov(points.T, aweights=weights, ddof=0))
    assert (got.name, got.labels.tolist()) == ("f", [0, 1, 0, 1])


# --- images


def test_pixel_centres_are_upright_and_square():
    centres = images.pixel_centres(2, 4)
    np.testing.assert_allclose(centres[0, 0], [-0.75, 0.25])  # top left
    np.testing.assert_allclose(centres[1, 3], [0.75, -0.25])  # bottom right
    steps = np.diff(centres, axis=1)[..., 0], -np.diff(centres, axis=0)[..., 1]
    for step in steps:
        np.testing.assert_allclose(step, 0.5)


def test_threshold_clouds():
    image = np.zeros((2, 3, 3), np.uint8)
    image[0, 0, 2], image[0, 1, 1], image[1, 2, 0] = 128, 127, 255
    family = datasets.threshold_clouds(image)
    assert family.sizes.tolist() == [1, 1]
    np.testing.assert_allclose(family.points, [[2 / 3, 2 / 3], [-2 / 3, -2 / 3]])
    assert datasets.threshold_clouds(image, threshold=127).sizes.tolist() == [2, 1]
    assert datasets.threshold_clouds(image / 255).sizes.tolist() == [1, 1]
    assert datasets.threshold_clouds(image > 0).sizes.tolist() == [2, 1]
    for bad, match in (
        (image[:0], r"images must have shape \(N, height, width\)"),
        (image[0], r"got \(3, 3\)"),
        (image.astype(str), "real numbers"),
        (0 * image, "image 0 has no pixel of at least 128"),
    ):
        with pytest.raises(ValueError, match=match):
            datasets.threshold_clouds(bad)


# --- MNIST


def test_fours_look_like_fours():
    family = datasets.load("fours")
    # A four is open at the top: above its bar two strokes, with a gap in between.
    middle = np.abs(family.points[:, 0]) < 0.15
    top = family.points[:, 1] > 0.4
    side = np.abs(family.points[:, 0]) > 0.2
    assert (top & middle).sum() < 0.35 * (top & side).sum()
    low = np.minimum.reduceat(family.points, family.offsets[:-1])
    high = np.maximum.reduceat(family.points, family.offsets[:-1])
    assert np.abs([low, high]).max() == 25 / 28  # a margin of one pixel at least
    height = (high - low)[:, 1]
    assert 1.1 < np.median(height) < 1.5  # the digits were fitted to 20 of 28 pixels
    # MNIST centres the mass of each image
    assert np.abs(datasets.gaussians_of(family).gaussians.mean).max() < 0.15


@needs_data
def test_fours_are_those_of_mnist():
    for split, name in (("train", "fours"), ("test", "fours-test")):
        pictures, labels = digits.read_mnist(split)
        want = pictures[labels == 4]
        family = datasets.load(name)
        for i in (0, 17, len(family) - 1):
            points = family.cloud(i).points
            column = np.round(14 * points[:, 0] + 13.5).astype(int)
            row = np.round(13.5 - 14 * points[:, 1]).astype(int)
            seen = np.zeros((28, 28), bool)
            seen[row, column] = True
            np.testing.assert_array_equal(seen, want[i] >= 128)


@needs_data
def test_mnist_is_the_original():
    sums = {
        "train-images-idx3": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1": "27ae3e4e09519cfbb04c329615203637",
    }
    for name, md5 in sums.items():
        content = gzip.decompress(_source.locate(f"mnist/{name}-ubyte.gz").read_bytes())
        assert hashlib.md5(content).hexdigest() == md5


def idx(array, magic=(0, 0, 8)):
    array = np.asarray(array, np.uint8)
    return bytes([*magic, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def test_idx_files(tmp_path):
    path, array = tmp_path / "a-idx3", np.arange(24).reshape(2, 3, 4)
    for content in (idx(array), gzip.compress(idx(array))):
        path.write_bytes(content)
        np.testing.assert_array_equal(_idx.read_idx(path, ndim=3), array)
    whole = idx(array)
    for content, match in (
        (b"", "not an IDX file.*an empty file"),
        (idx(array, (0, 0, 9)), "must begin with 00000803; got 00000903"),
        (idx(array[0]), "must begin with 00000803; got 00000802"),
        (whole[:-1], r"shape \(2, 3, 4\) has 40 bytes; got 39"),
        (whole + b"x", "has 40 bytes; got 41"),
        (whole[:10], "is damaged"),
        (gzip.compress(whole)[:-10], "damaged or truncated gzip file"),
        (b"\x1f\x8b" + whole, "damaged or truncated gzip file"),
        (gzip.compress(whole)[:20] + b"xxxxx" + gzip.compress(whole)[25:], "damaged or truncated gzip file"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=match):
            _idx.read_idx(path, ndim=3)
    with pytest.raises(FileNotFoundError, match="no such file"):
        _idx.read_idx(tmp_path / "none", ndim=3)


def test_missing_and_mismatched_mnist(tmp_path, monkeypatch):
    monkeypatch.setenv("REFWFM_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"REFWFM_DATA is .*no file .*train-images-idx3"):
        digits.read_mnist()
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "train-images-idx3-ubyte.gz").write_bytes(idx(np.ones((2, 28, 28))))
    (tmp_path / "mnist" / "train-labels-idx1-ubyte.gz").write_bytes(idx(np.ones(3)))
    with pytest.raises(ValueError, match="MNIST, train: 2 images but 3 labels"):
        digits.read_mnist()
