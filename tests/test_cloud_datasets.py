"""Families of point clouds: the class, its batches and files, and the named families."""

import gzip
import hashlib
import os
import sys

import anndata
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refwfm import datasets
from refwfm.clouds import check_cloud, unpad
from refwfm.datasets import CloudFamily, _idx, _source, digits, images, meshes
from refwfm.paper_figures import cloud_pictures
from refwfm.paper_figures.cloud_pictures import draw_cloud_family, draw_clouds, draw_clouds_comparison

PNG = b"\x89PNG\r\n\x1a\n"
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


def histograms(seed, *shape):
    rng = np.random.default_rng(seed)
    return rng.random(shape) * (rng.random(shape) < 0.5)


def test_intensity_clouds_are_the_images_as_measures():
    pictures = histograms(0, 3, 4, 5)
    family = datasets.intensity_clouds(pictures)
    centres = images.pixel_centres(4, 5)
    for i, picture in enumerate(pictures):
        share = picture / picture.sum()
        points, weights = family.cloud(i)
        np.testing.assert_allclose(weights @ points, np.einsum("ij,ijk->k", share, centres))
        assert len(points) == np.count_nonzero(picture)
    same = datasets.intensity_clouds(pictures * 7)
    np.testing.assert_allclose(same.weights, family.weights)


def test_points_drawn_from_images_fill_their_pixels():
    picture = np.zeros((1, 2, 4))
    picture[0, 0, 1], picture[0, 1, 3] = 3, 1  # above, second column; below, last column
    points = datasets.sample_from_images(picture, 20000, rng=np.random.default_rng(0))[0]
    first = points[:, 1] > 0.5
    assert abs(first.mean() - 0.75) < 5 * np.sqrt(0.75 * 0.25 / 20000)
    for inside, low in ((first, [0.25, 0.5]), (~first, [0.75, 0.0])):
        within = (points[inside] - low) / [0.25, 0.5]
        assert within.min() >= 0
        assert within.max() <= 1
        np.testing.assert_allclose(within.mean(axis=0), 0.5, atol=5 / np.sqrt(12 * inside.sum()))
        np.testing.assert_allclose(within.var(axis=0), 1 / 12, atol=0.005)


def test_points_drawn_from_images_and_intensity_clouds_agree():
    pictures = histograms(1, 2, 6, 6)
    points = datasets.sample_from_images(pictures, 40000, rng=np.random.default_rng(0))
    want = datasets.gaussians_of(datasets.intensity_clouds(pictures)).gaussians
    got = 2 * points - 1  # from [0, 1]² to the coordinates of clouds
    np.testing.assert_allclose(got.mean(axis=1), want.mean, atol=0.02)
    pixel = (2 / 6) ** 2 / 12 * np.eye(2)  # the variance within a pixel
    np.testing.assert_allclose([np.cov(p.T) for p in got], want.cov + pixel, atol=0.02)


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_bad_histograms(bad):
    pictures = histograms(0, 3, 4, 4)
    pictures[1, 2, 2] = bad
    for function in (
        datasets.intensity_clouds,
        lambda x: datasets.sample_from_images(x, 3, rng=np.random.default_rng(0)),
    ):
        with pytest.raises(ValueError, match="image 1 must be non-negative and finite"):
            function(pictures)
    with pytest.raises(ValueError, match=r"image 0 must be .* at least one pixel above 0"):
        datasets.intensity_clouds(np.zeros((1, 2, 2)))
    with pytest.raises(ValueError, match="n must be at least 1; got 0"):
        datasets.sample_from_images(histograms(0, 1, 2, 2), 0, rng=np.random.default_rng(0))


def test_jitter_stays_within_the_pixel():
    fours = datasets.load("fours-test")
    moved = datasets.jitter_clouds(fours, width=2 / 28, rng=np.random.default_rng(0))
    step = 28 * (moved.points - fours.points)
    assert np.abs(step).max() <= 1
    np.testing.assert_allclose(step.var(), 1 / 3, rtol=0.02)
    with pytest.raises(ValueError, match="width must be non-negative; got -1"):
        datasets.jitter_clouds(fours, width=-1, rng=np.random.default_rng(0))


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


# --- USPS


def usps_file(folder, **groups):
    import h5py

    (folder / "usps").mkdir(exist_ok=True)
    path = folder / "usps" / "usps.h5"
    with h5py.File(path, "w") as file:
        for name, value in groups.items():
            file[f"train/{name}"] = value
    return path


def test_usps_files(tmp_path, monkeypatch):
    monkeypatch.setenv("REFWFM_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"no file .*usps\.h5"):
        datasets.load("usps")
    pictures = histograms(0, 4, 256).astype(np.float32)
    path = usps_file(tmp_path, data=pictures, target=np.arange(4.0))
    read, labels = digits.read_usps()
    np.testing.assert_array_equal(read.reshape(4, 256), pictures)
    assert labels.tolist() == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="damaged or not the file of USPS"):
        digits.read_usps("test")
    whole = path.read_bytes()
    for content in (b"", b"text", whole[:200], whole[:-100]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"usps\.h5 is truncated or not an HDF5 file"):
            digits.read_usps()
    usps_file(tmp_path, data=pictures[:, :100], target=np.arange(4.0))
    with pytest.raises(ValueError, match=r"data must have shape \(N, 256\) .*got \(4, 100\)"):
        digits.read_usps()
    usps_file(tmp_path, other=pictures)
    with pytest.raises(ValueError, match="damaged or not the file of USPS"):
        digits.read_usps()


def test_usps_with_a_damaged_block_is_an_error(tmp_path, monkeypatch):
    import h5py

    monkeypatch.setenv("REFWFM_DATA", str(tmp_path))
    path = usps_file(tmp_path, target=np.zeros(400))
    with h5py.File(path, "a") as file:
        file.create_dataset("train/data", data=histograms(0, 400, 256), compression="gzip")
        where = file["train/data"].id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[where : where + 64] = bytes(64)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"usps\.h5 is damaged"):
        digits.read_usps()


def test_usps_without_h5py(tmp_path, monkeypatch):
    monkeypatch.setenv("REFWFM_DATA", str(tmp_path))
    usps_file(tmp_path, target=np.zeros(1))
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ModuleNotFoundError, match=r'needs h5py: pip install "refwfm\[data\]"'):
        digits.read_usps()


# --- letters


@needs_data
def test_letters_train_and_held_out_are_all_letters():
    for name, count in (("letters", 5934), ("letters-a", 178)):
        train, test = datasets.load(name), datasets.held_out(name)
        assert len(train) + len(test) == count
    letters = datasets.load("letters")
    a = letters.subset(letters.labels == 0)
    np.testing.assert_array_equal(a.points, datasets.load("letters-a").points)


def emnist_files(folder, part, pictures, labels):
    (folder / "emnist").mkdir(exist_ok=True)
    for kind, array in (("images-idx3", pictures), ("labels-idx1", labels)):
        path = folder / "emnist" / f"emnist-letters-{part}-{kind}-ubyte.gz"
        path.write_bytes(gzip.compress(idx(array)))


def test_emnist_is_turned_upright(tmp_path, monkeypatch):
    monkeypatch.setenv("REFWFM_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"no file .*emnist-letters-train-images.*nist\.gov"):
        datasets.load("emnist")
    picture = np.zeros((28, 28))
    picture[2, 20] = 255  # upright: near the top, on the right
    emnist_files(tmp_path, "train", [picture.T, picture.T, picture], [1, 26, 1])
    emnist_files(tmp_path, "test", [picture], [1])
    family = datasets.load("emnist")
    assert [family.label_names[label] for label in family.labels] == ["a", "z", "a"]
    np.testing.assert_allclose(family.cloud(0).points, [[41 / 28 - 1, 1 - 5 / 28]])
    a = datasets.load("emnist-a")
    assert (len(a), a.labels, len(datasets.held_out("emnist-a"))) == (2, None, 1)
    np.testing.assert_array_equal(a.cloud(0).points, family.cloud(0).points)
    emnist_files(tmp_path, "train", [picture, picture], [1])
    with pytest.raises(ValueError, match="EMNIST, train: 2 images but 1 labels"):
        datasets.load("emnist")
    emnist_files(tmp_path, "train", [picture], [0])
    with pytest.raises(ValueError, match=r"labels 1 \.\.\. 26; got 0 \.\.\. 0"):
        datasets.load("emnist")


# --- meshes and folders of shapes

CUBE = """OFF
# the surface of the unit cube but for its top: squares, of two triangles each
8 6 0
0 0 0
1 0 0
1 1 0
0 1 0
0 0 1
1 0 1
1 1 1
0 1 1
4 0 1 2 3
4 0 1 5 4
4 1 2 6 5
4 2 3 7 6
3 3 0 4
3 3 4 7 255 0 0
"""


def test_off_meshes(tmp_path):
    path = tmp_path / "a.off"
    for text in (CUBE, CUBE.replace("OFF\n# the surface", "OFF8 6 0\n#").replace("\n8 6 0\n", "\n")):
        path.write_text(text)
        vertices, triangles = meshes.read_off(path)
        assert vertices.shape == (8, 3)
        assert triangles.tolist()[:2] == [[0, 1, 2], [0, 2, 3]]
        assert triangles.shape == (10, 3)
    for text, match in (
        ("", "does not begin with OFF"),
        ("ply\n", "does not begin with OFF"),
        ("OFF\n", r"damaged or not a mesh"),
        (CUBE[: len(CUBE) // 2], "8 vertices and 6 faces were announced"),
        (CUBE.replace("3 3 0 4\n", "3 3 0\n"), "a face of 3 corners has 2"),
        (CUBE.replace("3 3 0 4\n", "3 3 0 8\n"), "a vertex that there is not"),
        (CUBE.replace("1 1 1\n", "1 1 x\n"), "damaged or not a mesh"),
        (CUBE.replace("1 1 1\n", "1 1 nan\n"), "three finite coordinates"),
        (CUBE.replace("1 1 1\n", "1 1\n"), "damaged or not a mesh"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=match):
            meshes.read_off(path)
    path.write_bytes(bytes(range(256)))
    with pytest.raises(ValueError, match="damaged or not a mesh"):
        meshes.read_off(path)
    with pytest.raises(FileNotFoundError, match="no such file"):
        meshes.read_off(tmp_path / "none.off")


def test_points_on_a_mesh_are_uniform_by_area(tmp_path):
    # Two triangles of areas 1/2 and 3/2 in the plane; moments of the union, by hand.
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [4, 0, 0], [7, 0, 0], [4, 1, 0]])
    triangles = np.array([[0, 1, 2], [3, 4, 5]])
    points = meshes.sample_surface(vertices, triangles, 40000, rng=np.random.default_rng(0))
    mean, cov = np.zeros(3), np.zeros((3, 3))
    for share, corners in ((0.25, vertices[:3]), (0.75, vertices[3:])):
        centre = corners.mean(axis=0)
        spread = (corners - centre).T @ (corners - centre) / 12
        mean, cov = mean + share * centre, cov + share * (spread + np.outer(centre, centre))
    cov -= np.outer(mean, mean)
    assert np.all(np.abs(points.mean(axis=0) - mean) <= 5 * np.sqrt(np.diag(cov) / 40000))
    np.testing.assert_allclose(np.cov(points.T), cov, atol=0.03 * np.trace(cov))
    wrong = vertices[triangles].mean(axis=(0, 1))  # the control: both triangles equally often
    assert np.abs(points.mean(axis=0) - wrong).max() > 0.5
    with pytest.raises(ValueError, match="its area is 0"):
        meshes.sample_surface(vertices, triangles[:0], 3, rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"its area is (inf|nan)"):
        meshes.sample_surface(1e200 * vertices, triangles, 3, rng=np.random.default_rng(0))


@pytest.fixture
def pc15k(tmp_path):
    """Four shapes of two synsets in the folders of ShapeNet PC15k."""
    rng = np.random.default_rng(0)
    root = tmp_path / "ShapeNetCore.v2.PC15k"
    for place in ("03001627/train/a", "03001627/train/b", "03001627/test/c", "02691156/train/d"):
        path = root / f"{place}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, rng.standard_normal((15000, 3)).astype(np.float32))
    return root


def test_shapenet_pc15k(pc15k, monkeypatch):
    monkeypatch.setenv("REFWFM_DATA", str(pc15k.parent))
    family = datasets.load("pc15k-chair")
    assert (family.name, len(family), family.members) == ("pc15k-chair", 2, ("train/a", "train/b"))
    assert family.sizes.tolist() == [2048, 2048]
    assert family.labels is None
    x, y, z = np.load(pc15k / "03001627/train/b.npy").T.astype(float)
    rows = {row.tobytes() for row in np.column_stack([-x, z, y])}  # the second coordinate points up
    drawn = {row.tobytes() for row in family.cloud(1).points}
    assert len(drawn) == 2048
    assert drawn <= rows
    assert datasets.held_out("pc15k-chair").members == ("test/c",)
    every = datasets.read_shapes(pc15k, n_points=None, split="train")
    assert every.label_names == ("02691156", "03001627")
    assert every.sizes.tolist() == [15000] * 3
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*02958343"):
        datasets.load("pc15k-car")
    with pytest.raises(FileNotFoundError, match=r"no shapes .* of the split 'val'"):
        datasets.read_shapes(pc15k, split="val")
    monkeypatch.setenv("REFWFM_DATA", "/no/such/folder")
    with pytest.raises(FileNotFoundError, match=r"no file .*ShapeNetCore\.v2\.PC15k.*PointFlow"):
        datasets.load("pc15k-chair")


def test_modelnet40_meshes(tmp_path, monkeypatch):
    monkeypatch.setenv("REFWFM_DATA", str(tmp_path))
    for place in ("chair/train/chair_0001", "chair/test/chair_0002", "bed/train/bed_0001"):
        path = tmp_path / "ModelNet40" / f"{place}.off"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(CUBE)
    family = datasets.load("modelnet40")
    assert (family.members, family.label_names) == (
        ("bed/train/bed_0001", "chair/train/chair_0001"),
        ("bed", "chair"),
    )
    assert family.sizes.tolist() == [2048, 2048]
    assert len(datasets.held_out("modelnet40")) == 1
    for i in range(2):
        points = family.cloud(i).points
        np.testing.assert_allclose(np.linalg.norm(points, axis=1).max(), 1)
        np.testing.assert_allclose(points.min(axis=0), -points.max(axis=0), atol=1e-12)
    assert not np.array_equal(family.cloud(0).points, family.cloud(1).points)  # own draws for each shape
    np.testing.assert_array_equal(datasets.load("modelnet40").points, family.points)
    plain = datasets.read_shapes(tmp_path / "ModelNet40", n_points=300, seed=1)
    assert np.abs(plain.points - 0.5).max() <= 0.5
    with pytest.raises(ValueError, match=r"bed_0001\.off is a mesh: it needs n_points"):
        datasets.read_shapes(tmp_path / "ModelNet40", n_points=None)


def test_modelnet40_resampled(tmp_path):
    root, rng = tmp_path / "modelnet40_normal_resampled", np.random.default_rng(0)
    arrays = {}
    for name in ("bed_0001", "chair_0001", "chair_0002"):
        arrays[name] = rng.standard_normal((50, 6))
        path = root / name[:-5] / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savetxt(path, arrays[name], delimiter=",")
    (root / "modelnet40_train.txt").write_text("bed_0001\nchair_0002\n")
    (root / "modelnet40_shape_names.txt").write_text("bed\nchair\n")
    family = datasets.read_shapes(root, split="train", n_points=None)
    assert family.members == ("bed/bed_0001", "chair/chair_0002")
    np.testing.assert_allclose(family.cloud(1).points, arrays["chair_0002"][:, :3])
    assert len(datasets.read_shapes(root)) == 3
    assert datasets.read_shapes(root / "chair", n_points=20).sizes.tolist() == [20, 20]


def test_folders_of_shapes_errors(tmp_path, pc15k):
    folder = pc15k / "03001627" / "train"
    for call, match in (
        (lambda: datasets.read_shapes(folder, up="x"), "up must be y or z; got 'x'"),
        (lambda: datasets.read_shapes(folder, n_points=0), "n_points must be at least 1; got 0"),
        (lambda: datasets.read_shapes(folder, split="train"), "has no subfolders, so no split 'train'"),
    ):
        with pytest.raises(ValueError, match=match):
            call()
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        datasets.read_shapes(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no shapes \(\.npy, \.txt, \.off, \.ply, \.obj, \.stl\) in"):
        datasets.read_shapes(tmp_path / "empty")
    path = folder / "a.npy"
    whole = path.read_bytes()
    for content in (b"", b"text", whole[:-7]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.npy is damaged or not a file of points"):
            datasets.read_shapes(folder)
    for array, match in (
        (np.zeros((5, 2)), r"shape \(n, 3 or more\); got float64 of shape \(5, 2\)"),
        (np.zeros((0, 3)), r"got float64 of shape \(0, 3\)"),
        (np.full((5, 3), np.nan), "points must be finite"),
        (np.zeros((5, 3), dtype="U3"), "must hold numbers"),
    ):
        np.save(path, array)
        with pytest.raises(ValueError, match=match):
            datasets.read_shapes(folder)
    path.unlink()
    (folder / "a.txt").write_text("1 2 3\n4 5\n")
    with pytest.raises(ValueError, match=r"a\.txt is damaged or not a file of points"):
        datasets.read_shapes(folder)


# --- shapes of the data folder


@needs_data
def test_shapes_stand_upright():
    # A chair's back, its upper quarter, lies at one side of the seat: the same side for all chairs of a set.
    for name, axis in (("chairs", 1), ("shapenet-chairs", 0)):
        family = datasets.load(name)
        lopsided = []
        for i in range(0, len(family), 5):
            points = family.cloud(i).points
            low, high = points.min(axis=0), points.max(axis=0)
            upper = points[points[:, 2] > low[2] + 0.75 * (high - low)[2]]
            lopsided.append((upper.mean(axis=0) - (low + high) / 2) / (high - low))
        assert np.mean(np.array(lopsided)[:, axis] > 0.1) > 0.8
        assert np.abs(np.median(lopsided, axis=0)[1 - axis]) < 0.02


@needs_data
def test_no_shape_is_both_trained_on_and_held_out():
    for name in ("chairs", "monitors"):
        train, test = datasets.load(name), datasets.held_out(name)
        seen = {train.cloud(i).points.tobytes() for i in range(len(train))}
        assert len(seen) == len(train)
        assert not seen & {test.cloud(i).points.tobytes() for i in range(len(test))}


# --- niches


@given(seed=st.integers(0, 99), n=st.integers(1, 12), radius=st.floats(0.01, 2))
def test_niches_within_a_radius_against_all_distances(seed, n, radius):
    rng = np.random.default_rng(seed)
    features, positions = rng.standard_normal((n, 3)), rng.random((n, 2))
    sections = rng.integers(0, 2, n)
    family = datasets.niche_clouds(features, positions, radius=radius, sections=sections)
    distance = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    near = (distance <= radius) & (sections[:, None] == sections)
    assert len(family) == n
    for i in range(n):
        np.testing.assert_array_equal(family.cloud(i).points, features[near[i]])


def test_gaussians_of_niche_clouds_are_the_neighbourhoods():
    rng = np.random.default_rng(0)
    features, positions = rng.standard_normal((60, 5)), rng.random((60, 2))
    sections = rng.integers(0, 2, 60)
    family = datasets.niche_clouds(features, positions, k=7, sections=sections, labels=["a", "b"] * 30)
    got = datasets.gaussians_of(family).gaussians
    want = datasets.neighbourhoods(features, positions, k=7, sections=sections)
    np.testing.assert_allclose(got.mean, want.mean, atol=1e-14)
    np.testing.assert_allclose(got.cov, want.cov, atol=1e-14)
    np.testing.assert_array_equal(family.points[family.offsets[:-1]], features)  # the cell itself comes first
    assert family.label_names == ("a", "b")


def test_niche_errors():
    x = np.zeros((4, 2))
    for call, match in (
        (lambda: datasets.niche_clouds(x, x), "either k or radius; got k = None and radius = None"),
        (lambda: datasets.niche_clouds(x, x, k=2, radius=1.0), "either k or radius"),
        (lambda: datasets.niche_clouds(x, x, radius=-1.0), "radius must be positive; got -1"),
        (lambda: datasets.niche_clouds(x, x[:3], radius=1.0), "4 rows of features but 3 positions"),
        (lambda: datasets.niche_clouds(x, x, k=5), "k = 5 .* only 4 cells"),
        (lambda: datasets.niche_clouds(x, x * np.nan, radius=1.0), "positions must be finite"),
    ):
        with pytest.raises(ValueError, match=match):
            call()


def test_shipped_niches_are_those_of_their_section():
    train, test = datasets.load("niches-clouds"), datasets.held_out("niches-clouds")
    every = datasets.load_niches(k=16, n_members=None)
    rows = {row.round(9).tobytes() for row in every.gaussians.mean}
    for family in (train, test):
        means = datasets.gaussians_of(family).gaussians.mean
        assert (
            np.mean([row.round(9).tobytes() in rows for row in means]) > 0.99
        )  # but for a digit rounded off
    assert not {row.tobytes() for row in train.points} & {row.tobytes() for row in test.points}
    assert np.bincount(train.labels, minlength=16).min() > 0


@needs_data
def test_niches_in_genes_are_the_same_niches():
    genes, components = datasets.load("niches-genes"), datasets.load("niches-clouds")
    np.testing.assert_array_equal(genes.labels, components.labels)
    # Distances within a niche shrink in fewer components, and keep most of their order.
    for i in (0, 2000, 5000):
        far = np.linalg.norm(genes.cloud(i).points - genes.cloud(i).points[0], axis=1)
        near = np.linalg.norm(components.cloud(i).points - components.cloud(i).points[0], axis=1)
        assert np.all(near <= far + 1e-4)


# --- the user's own files


def test_read_clouds(tmp_path):
    rng = np.random.default_rng(0)
    array = rng.standard_normal((4, 5, 2))
    np.save(tmp_path / "a.npy", array)
    weights = np.full((4, 5), 0.25) * (np.arange(5) < 4)
    np.savez(tmp_path / "padded.npz", points=array, weights=weights, labels=["x", "y", "x", "y"])
    np.savez(tmp_path / "ragged.npz", points=array.reshape(20, 2), offsets=[0, 3, 20], labels=[7, 9])
    np.savez(tmp_path / "many.npz", first=array[0], second=array[1, :2])
    plain = datasets.read_clouds(tmp_path / "a.npy")
    assert (plain.name, plain.sizes.tolist()) == ("a", [5] * 4)
    padded = datasets.read_clouds(tmp_path / "padded.npz")
    assert (padded.sizes.tolist(), padded.label_names) == ([4] * 4, ("x", "y"))
    ragged = datasets.read_clouds(tmp_path / "ragged.npz")
    assert (ragged.sizes.tolist(), ragged.label_names) == ([3, 17], ("7", "9"))
    many = datasets.read_clouds(tmp_path / "many.npz")
    assert (many.sizes.tolist(), many.members) == ([5, 2], ("first", "second"))
    np.testing.assert_array_equal(many.cloud(1).points, array[1, :2])


def test_read_clouds_errors(tmp_path):
    bad = tmp_path / "bad.npz"
    for arrays, match in (
        ({"points": np.zeros((4, 2))}, r"points without offsets must have shape \(N, n, d\); got \(4, 2\)"),
        ({"points": np.zeros((4, 2)), "offsets": [0, 3]}, "offsets must run from 0"),
        ({"a": np.zeros((4, 2)), "b": np.zeros((4, 3))}, "the same dimension; got 2, 3"),
        ({"a": np.zeros(4)}, "cloud 0 must have shape"),
        ({}, "clouds is empty"),
    ):
        np.savez(bad, **arrays)
        with pytest.raises(ValueError, match=rf"bad\.npz does not hold clouds: .*{match}"):
            datasets.read_clouds(bad)
    bad.write_bytes(b"text")
    with pytest.raises(ValueError, match=r"truncated or not a \.npz file"):
        datasets.read_clouds(bad)
    (tmp_path / "bad.npy").write_bytes(b"text")
    with pytest.raises(ValueError, match=r"truncated or not a \.npy file"):
        datasets.read_clouds(tmp_path / "bad.npy")
    (tmp_path / "bad.csv").write_bytes(b"1,2")
    with pytest.raises(ValueError, match=r"read from \.npy and \.npz files; got .*bad\.csv"):
        datasets.read_clouds(tmp_path / "bad.csv")
    with pytest.raises(FileNotFoundError, match="no such file"):
        datasets.read_clouds(tmp_path / "none.npz")


@pytest.fixture(scope="module")
def h5ad(tmp_path_factory):
    """30 cells in two sections, as in a tissue atlas: components, coordinates, classes, clusters."""
    rng = np.random.default_rng(0)
    data = anndata.AnnData(rng.uniform(size=(30, 8)).astype(np.float32))
    data.obsm["X_pca"] = rng.standard_normal((30, 5))
    data.obsm["spatial"] = rng.uniform(size=(30, 2))
    data.obs["kind"] = np.tile(["x", "y", "z"], 10)
    data.obs["section"] = np.repeat([1, 2], 15)
    data.obs["cluster"] = [None, *["p"] * 9, *["q"] * 20]
    path = tmp_path_factory.mktemp("h5ad") / "cells.h5ad"
    data.write_h5ad(path)
    return path


@pytest.mark.parametrize(
    "options",
    [
        {"k": 6, "label": "kind", "section_key": "section"},
        {"by": "neighbourhood", "k": 6, "label": "kind"},
        {"by": "cluster", "cluster_key": "cluster", "label": "kind"},
    ],
)
def test_clouds_of_an_anndata_file_have_the_moments_of_its_gaussians(h5ad, options):
    clouds = datasets.clouds_from_anndata(h5ad, pcs=4, **options)
    want = datasets.from_anndata(h5ad, pcs=4, **options)
    got = datasets.gaussians_of(clouds)
    np.testing.assert_allclose(got.gaussians.mean, want.gaussians.mean, atol=1e-14)
    np.testing.assert_allclose(got.gaussians.cov, want.gaussians.cov, atol=1e-14)
    np.testing.assert_array_equal(got.labels, want.labels)
    assert (got.label_names, got.members) == (want.label_names, want.members)
    assert "cells.h5ad" in clouds.about


@pytest.mark.filterwarnings("ignore:column 'section' has 2 values")  # the hint: they do overlap
def test_clouds_of_an_anndata_file_within_a_radius(h5ad):
    clouds = datasets.clouds_from_anndata(h5ad, pcs=4, radius=0.2)
    data = anndata.read_h5ad(h5ad)
    place = data.obsm["spatial"]
    near = np.linalg.norm(place[:, None] - place[None], axis=-1) <= 0.2
    np.testing.assert_array_equal(clouds.sizes, near.sum(axis=1))
    np.testing.assert_array_equal(clouds.cloud(3).points, data.obsm["X_pca"][near[3], :4])
    assert datasets.clouds_from_anndata(h5ad, pcs=4).sizes.tolist() == [16] * 30
    with pytest.raises(ValueError, match="either k or radius"):
        datasets.clouds_from_anndata(h5ad, pcs=4, k=3, radius=0.2)
    with pytest.raises(ValueError, match=r"no coordinates obsm\['xy'\]"):
        datasets.clouds_from_anndata(h5ad, pcs=4, spatial_key="xy")


# --- pictures


def test_pictures_of_clouds(tmp_path, rng):
    flat, solid, high = family_of(5, 900), family_of(1, 7000, d=3), family_of(3, 3, d=5, labels=["a", "b"])
    for i, family in enumerate((flat, solid, high)):
        draw_cloud_family(family, tmp_path / f"{i}.png", panels=2)
        assert (tmp_path / f"{i}.png").read_bytes().startswith(PNG)
    stray = [rng.standard_normal((4, 2)), 1e6 * np.ones((2, 2))]
    draw_clouds_comparison(flat.batch([0, 1]), stray, tmp_path / "both.png", title="both")
    draw_clouds(np.zeros((2, 1, 2)), tmp_path / "points.pdf", titles=["a", "b"])
    assert (tmp_path / "both.png").read_bytes().startswith(PNG)
    for call, match in (
        (lambda: draw_cloud_family(family_of(3, d=1), tmp_path / "a.png"), "at least two coordinates"),
        (lambda: draw_clouds([], tmp_path / "a.png"), "clouds is empty"),
        (lambda: draw_clouds([P], tmp_path / "a.png", titles=[]), "one for each of the 1 clouds; got 0"),
        (
            lambda: draw_clouds_comparison([P], [P[0]], tmp_path / "a.png"),
            "generated: cloud 0 must have shape",
        ),
    ):
        with pytest.raises(ValueError, match=match):
            call()


def test_the_third_coordinate_points_up_and_near_points_are_dark():
    points = np.array([[0.0, 0, 0], [0, 0, 1], [1, -1, 0], [-1, 1, 0], [1, 1, 0]])
    origin, above, near, far, right = (
        np.concatenate([f[0], d]) for f, d in (cloud_pictures._seen(p[None]) for p in points)
    )
    np.testing.assert_allclose(origin, 0)
    assert above[1] > 0.9  # in the picture, up
    assert abs(above[0]) < 1e-12
    assert near[2] < 0 < far[2]  # the eye is on the side of x > 0, y < 0
    assert right[0] > 1
    flat, depth = cloud_pictures._seen(points)
    assert np.all(np.diff(depth) <= 0)  # the nearest is drawn last
    np.testing.assert_allclose(flat[-1], near[:2])
