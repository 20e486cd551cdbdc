"""Families of Gaussians: the named ones, their exact moments, the user's own, and their files."""

import functools
import gzip
import hashlib
import http.server
import json
import os
import re
import sys
import threading
from pathlib import Path

import anndata
import numpy as np
import pooch
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refwfm import datasets
from refwfm.datasets import Family, _source, cells, cities, shipped
from refwfm.datasets._files import read_npz
from refwfm.measures import Gaussian, check_gaussian

HAS_DATA = "REFWFM_DATA" in os.environ
needs_data = pytest.mark.skipif(not HAS_DATA, reason="REFWFM_DATA is not set")
GAUSSIANS = [name for name, entry in datasets.CATALOGUE.items() if entry.kind == "Gaussians"]
SHIPPED = [name for name in GAUSSIANS if datasets.CATALOGUE[name].shipped]
NAMED = [*SHIPPED, *(pytest.param(n, marks=needs_data) for n in GAUSSIANS if n not in SHIPPED)]


def assert_same_gaussians(a, b, **tolerance):
    np.testing.assert_allclose(a.mean, b.mean, **tolerance)
    np.testing.assert_allclose(a.cov, b.cov, **tolerance)


# --- families by name


@pytest.mark.parametrize("name", NAMED)
def test_named_family_is_what_the_catalogue_says(name):
    family, entry = datasets.load(name), datasets.CATALOGUE[name]
    mean, cov = family.gaussians
    assert (family.name, len(family), family.dimension) == (name, entry.size, entry.dimension)
    assert mean.dtype == cov.dtype == np.float64
    assert mean.shape == (entry.size, entry.dimension)
    assert cov.shape == (entry.size, entry.dimension, entry.dimension)
    np.testing.assert_array_equal(cov, cov.swapaxes(-1, -2))
    check_gaussian(family.gaussians)
    assert len(family.label_names) == entry.n_labels
    assert (family.labels is not None) == bool(entry.n_labels)
    assert "icence" in family.about
    assert "nit" in family.about


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_families_are_the_same_every_time_and_need_no_data(name, monkeypatch):
    monkeypatch.setenv("REFWFM_DATA", "/no/such/folder")
    first, again = datasets.load(name, seed=3), datasets.load(name, seed=3)
    np.testing.assert_array_equal(first.gaussians.cov, again.gaussians.cov)
    changed = not np.array_equal(first.gaussians.mean, datasets.load(name, seed=4).gaussians.mean)
    assert changed == (name == "two-moons")


def test_synthetic_covariances_are_elongated_and_vary():
    for name in ("spiral-16", "spiral-128", "two-moons", "sphere"):
        deviations = np.sqrt(np.linalg.eigvalsh(datasets.load(name).gaussians.cov))
        ratio = deviations[:, -1] / deviations[:, 0]
        assert 3 <= ratio.min() <= ratio.max() <= 10
        assert np.ptp(np.trace(datasets.load(name).gaussians.cov, axis1=1, axis2=2)) > 1e-3


def test_spiral_ellipses_lie_along_the_arm():
    mean, cov = datasets.spiral(4000).gaussians
    tangent = mean[2:] - mean[:-2]
    main = np.linalg.eigh(cov)[1][1:-1, :, -1]
    cosine = np.abs(np.sum(tangent * main, axis=1)) / np.linalg.norm(tangent, axis=1)
    assert cosine[10:].min() > 1 - 1e-5
    np.testing.assert_allclose(np.hypot(*mean.T), np.sqrt((np.arange(4000) + 0.5) / 4000))


def test_sphere_disks_are_tangent():
    mean, cov = datasets.sphere().gaussians
    np.testing.assert_allclose(np.linalg.norm(mean, axis=1), 1)
    np.testing.assert_allclose(cov @ mean[..., None], 0.02**2 * mean[..., None], atol=1e-15)


def test_two_moons_ellipses_lie_along_their_half_circle():
    family = datasets.two_moons(rng=np.random.default_rng(1))
    centre = np.array([-0.5, -0.25]) + family.labels[:, None] * np.array([1.0, 0.5])
    radial = family.gaussians.mean - centre
    main = np.linalg.eigh(family.gaussians.cov)[1][:, :, -1]
    cosine = np.abs(np.sum(radial * main, axis=1)) / np.linalg.norm(radial, axis=1)
    assert np.median(cosine) < 0.06  # noise of 0.05 turns the radius by about as much
    upper = family.labels == 0
    assert np.mean(radial[upper, 1] > -0.1) > 0.98
    assert np.mean(radial[~upper, 1] < 0.1) > 0.98


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: datasets.spiral(0), "n must be at least 1; got 0"),
        (lambda: datasets.sphere(0), "n must be at least 1; got 0"),
        (lambda: datasets.two_moons(1, rng=np.random.default_rng(0)), "n must be at least 2; got 1"),
        (lambda: datasets.load("spirals"), "unknown family 'spirals': expected a path .*spiral-16"),
        (lambda: datasets.load("cities", seed=-1), "seed must be non-negative; got -1"),
        (lambda: datasets.load_niches(n_members=0), "n_members must lie in 1 ... 11162; got 0"),
    ],
)
def test_bad_names_and_sizes(make, match):
    with pytest.raises(ValueError, match=match):
        make()


# --- Family and its file


def family_of(n=3, **facts):
    return Family(name="f", gaussians=Gaussian(np.zeros((n, 2)), np.tile(np.eye(2), (n, 1, 1))), **facts)


@pytest.mark.parametrize(
    ("error", "make", "match"),
    [
        (ValueError, lambda: family_of(0), "family 'f' is empty"),
        (ValueError, lambda: Family(name="f", gaussians=Gaussian(np.zeros(2), np.eye(2))), r"shape \(N, d\)"),
        (
            ValueError,
            lambda: Family(name="f", gaussians=Gaussian(np.zeros((1, 2)), np.array([[[1.0, 2], [2, 1]]]))),
            "positive semi-definite",
        ),
        (
            TypeError,
            lambda: Family(name="f", gaussians=Gaussian(np.zeros((1, 2), int), np.zeros((1, 2, 2), int))),
            "dtype float32 or float64",
        ),
        (ValueError, lambda: family_of(labels=np.array([0, 1])), r"labels must have shape \(3,\)"),
        (
            ValueError,
            lambda: family_of(labels=np.array([0, 1, 2]), label_names=("a", "b")),
            r"lie in 0 ... 1.*got 0 ... 2",
        ),
        (TypeError, lambda: family_of(labels=np.array(["a", "b", "a"])), "labels must be integers"),
        (ValueError, lambda: family_of(label_names=("a",)), "label names without labels"),
        (ValueError, lambda: family_of(members=("a",)), "1 member names for 3 Gaussians"),
    ],
)
def test_a_family_is_checked(error, make, match):
    with pytest.raises(error, match=match):
        make()


@pytest.mark.parametrize(
    "facts", [{}, {"labels": np.array([1, 0, 1]), "label_names": ("é", "b")}, {"members": ("x", "y", "z")}]
)
def test_family_file_round_trip(tmp_path, facts):
    family = family_of(about="Units: none.", **facts)
    path = datasets.save_family(tmp_path / "a.npz", family)
    for back in (datasets.load_family(path), datasets.load(str(path)), datasets.load(path)):
        assert_same_gaussians(back.gaussians, family.gaussians, rtol=0)
        assert (back.name, back.about, back.members) == (family.name, family.about, family.members)
        assert back.label_names == family.label_names
        assert np.array_equal(back.labels, family.labels) if facts.get("label_names") else back.labels is None
    assert os.listdir(tmp_path) == ["a.npz"]


def test_family_file_errors(tmp_path):
    good = datasets.save_family(tmp_path / "good.npz", datasets.load("cities"))
    whole = good.read_bytes()
    bad = tmp_path / "bad.npz"
    for content in (b"", whole[:100], whole[:-30], b"not a zip", whole[:2000] + b"\0" * 500 + whole[2500:]):
        bad.write_bytes(content)
        with pytest.raises(ValueError, match=r"bad\.npz is truncated or not a \.npz file"):
            datasets.load(bad)
        assert bad.read_bytes() == content
    np.savez(bad, mean=np.zeros(2))
    with pytest.raises(ValueError, match="of another kind: it lacks format"):
        datasets.load(bad)
    np.savez(bad, **{**np.load(good), "format": "refwfm-family-9"})
    with pytest.raises(ValueError, match=r"has the format 'refwfm-family-9'; this version reads"):
        datasets.load(bad)
    np.savez(bad, format="refwfm-family-1", mean=np.zeros(2))
    with pytest.raises(ValueError, match=r"of another kind: it lacks name, about, labels, .*, cov"):
        datasets.load(bad)
    np.savez(bad, **{**np.load(good), "cov": -np.load(good)["cov"]})
    with pytest.raises(ValueError, match=r"bad\.npz does not hold a valid family: .*semi-definite"):
        datasets.load(bad)
    np.savez(bad, **{**np.load(good), "members": np.array([{}], dtype=object)})
    with pytest.raises(ValueError, match="truncated or not a"):
        datasets.load(bad)
    with pytest.raises(FileNotFoundError, match="no such file"):
        datasets.load(tmp_path / "none.npz")
    with pytest.raises(ValueError, match=r"must end in \.npz"):
        datasets.save_family(tmp_path / "family.txt", family_of())
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        datasets.save_family(tmp_path / "none" / "a.npz", family_of())


# --- cities: moments of polygons

SQUARE = [(0, 0), (4, 0), (4, 4), (0, 4)]
HOLE = [(1, 1), (2, 1), (2, 2), (1, 2)]


def rectangle(x, y, width, height):
    return [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]


def test_rectangle_moments_in_any_order_and_place():
    cov = np.diag([4**2 / 12, 3**2 / 12])
    for ring in (rectangle(-95, 40, 4, 3), rectangle(-95, 40, 4, 3)[::-1]):
        for closed in (ring, [*ring, ring[0]]):
            assert_same_gaussians(
                datasets.polygon_moments([[closed]]),
                Gaussian(np.array([-93, 41.5]), cov),
                rtol=1e-13,
                atol=1e-13,
            )


def test_small_shape_far_from_the_origin_keeps_its_digits():
    got = datasets.polygon_moments([[rectangle(-95, 40, 1e-4, 1e-4)]]).cov
    np.testing.assert_allclose(np.diag(got), 1e-8 / 12, rtol=1e-8)


def test_triangle_moments():
    corners = np.array([[0.0, 0], [3, 1], [1, 5]])
    centred = corners - corners.mean(axis=0)
    want = Gaussian(corners.mean(axis=0), centred.T @ centred / 12)
    assert_same_gaussians(datasets.polygon_moments([[corners]]), want, rtol=1e-13)


def test_hole_moments_and_the_control_without_it():
    # Integrals of the square minus those of the hole, by hand.
    area = 16 - 1
    mean = (16 * 2 - 1.5) / area
    xx = (4 * 4**3 / 3 - (2**3 - 1) / 3) / area - mean**2
    xy = (16 * 4 - 1.5**2) / area - mean**2
    want = Gaussian(np.full(2, mean), np.array([[xx, xy], [xy, xx]]))
    for hole in (HOLE, HOLE[::-1]):
        assert_same_gaussians(datasets.polygon_moments([[SQUARE, hole]]), want, rtol=1e-13)
    without = datasets.polygon_moments([[SQUARE]])
    assert np.abs(without.mean - want.mean).max() > 0.03
    assert np.abs(without.cov - want.cov).max() > 0.03


def test_multipolygon_moments_are_those_of_the_mixture():
    a, b = rectangle(0, 0, 1, 1), rectangle(10, 0, 2, 1)
    parts = [datasets.polygon_moments([[r]]) for r in (a, b)]
    weights = np.array([1, 2]) / 3
    mean = sum(w * p.mean for w, p in zip(weights, parts, strict=True))
    cov = sum(
        w * (p.cov + np.outer(p.mean - mean, p.mean - mean)) for w, p in zip(weights, parts, strict=True)
    )
    assert_same_gaussians(datasets.polygon_moments([[a], [b]]), Gaussian(mean, cov), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("polygons", "match"),
    [
        ([], "at least one ring"),
        ([[[(0, 0), (1, 1)]]], r"\(m, 2\) array of at least 3 finite points; got shape \(2, 2\)"),
        ([[[(0, 0), (1, 1), (2, 2)]]], "positive area; got 0"),
        ([[[(0, 0), (1, np.nan), (2, 2)]]], "finite"),
        ([[HOLE, SQUARE]], "positive area; got -15"),
    ],
)
def test_bad_polygons(polygons, match):
    with pytest.raises(ValueError, match=match):
        datasets.polygon_moments(polygons)


def inside(points, rings):
    """Even-odd rule over all rings, holes included: shares nothing with Green's theorem."""
    odd = np.zeros(len(points), bool)
    x, y = points.T
    for ring in rings:
        a = np.asarray(ring)
        for (x0, y0), (x1, y1) in zip(a, np.roll(a, -1, axis=0), strict=True):
            if y0 != y1:
                odd ^= ((y0 > y) != (y1 > y)) & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return odd


def sampled(polygons, n, rng):
    """Moments of uniform points inside, and the standard errors of their mean."""
    rings = [ring for polygon in polygons for ring in polygon]
    every = np.concatenate(rings)
    points = rng.uniform(every.min(axis=0), every.max(axis=0), size=(n, 2))
    points = points[inside(points, rings)]
    cov = np.cov(points.T, ddof=0)
    return Gaussian(points.mean(axis=0), cov), np.sqrt(np.diag(cov) / len(points))


def test_polygon_moments_against_sampling():
    rng = np.random.default_rng(0)
    angle = np.sort(rng.uniform(0, 2 * np.pi, 40))
    star = (2 + np.sin(5 * angle))[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
    polygons = [[star, np.array(HOLE) / 2 - 0.2], [np.array(SQUARE) + 5, 1.5 * np.array(HOLE) + 5]]
    want, error = sampled(polygons, 400_000, rng)
    got = datasets.polygon_moments(polygons)
    assert np.all(np.abs(got.mean - want.mean) < 5 * error)
    np.testing.assert_allclose(got.cov, want.cov, atol=0.02 * np.trace(want.cov))
    control = datasets.polygon_moments([polygon[:1] for polygon in polygons])
    assert np.any(np.abs(control.mean - want.mean) > 10 * error)


@needs_data
def test_city_with_holes_against_sampling():
    # Holes are a third of what Glendale's outer limits enclose.
    features = cities._read_features(_source.locate(cities.FILE))
    (city,) = (f for f in features if f["properties"]["city"] == "Glendale")
    polygons = [[np.asarray(ring) for ring in polygon] for polygon in cities._polygons(city["geometry"])]
    want, error = sampled(polygons, 60_000, np.random.default_rng(1))
    got = datasets.polygon_moments(polygons)
    assert np.all(np.abs(got.mean - want.mean) < 5 * error)
    np.testing.assert_allclose(got.cov, want.cov, atol=0.03 * np.trace(want.cov))
    control = datasets.polygon_moments([polygon[:1] for polygon in polygons])
    assert np.any(np.abs(control.mean - want.mean) > 20 * error)
    assert np.abs(control.cov - want.cov).max() > 0.2 * np.trace(want.cov)


def test_cities_are_where_they_should_be():
    family = datasets.load("cities")
    where = dict(zip(family.members, family.gaussians.mean, strict=True))
    np.testing.assert_allclose(where["Houston, Texas"], [-95.39, 29.78], atol=0.05)
    np.testing.assert_allclose(where["Chicago, Illinois"], [-87.68, 41.84], atol=0.05)
    assert len(set(family.members)) == 100


def test_city_file_errors(tmp_path):
    bad = tmp_path / "c.geojson.gz"
    whole = gzip.compress(json.dumps({"features": []}).encode())
    for content in (b"{}", whole[:-9], gzip.compress(b"{}"), gzip.compress(b"[1, 2"), gzip.compress(b"[]")):
        bad.write_bytes(content)
        with pytest.raises(ValueError, match="truncated or not a gzipped GeoJSON"):
            cities.build_cities(bad)
    bad.write_bytes(whole)
    with pytest.raises(ValueError, match="family 'cities' is empty"):
        cities.build_cities(bad)
    point = {"properties": {"city": "A", "state": "B"}, "geometry": {"type": "Point", "coordinates": [0, 0]}}
    bad.write_bytes(gzip.compress(json.dumps({"features": [point]}).encode()))
    with pytest.raises(ValueError, match="Polygon or a MultiPolygon; got Point"):
        cities.build_cities(bad)


# --- cells


def test_neighbourhoods_against_direct_computation():
    rng = np.random.default_rng(0)
    features, positions = rng.standard_normal((60, 5)), rng.uniform(size=(60, 2))
    sections = rng.integers(0, 2, 60)
    got = datasets.neighbourhoods(features, positions, k=7, sections=sections)
    for i in range(60):
        (same,) = np.nonzero(sections == sections[i])
        distance = np.linalg.norm(positions[same] - positions[i], axis=1)
        cloud = features[same[np.argsort(distance)[:7]]]
        np.testing.assert_allclose(got.mean[i], cloud.mean(axis=0), atol=1e-13)
        np.testing.assert_allclose(got.cov[i], np.cov(cloud.T, ddof=0), atol=1e-13)


def test_neighbourhoods_stay_within_their_section():
    rng = np.random.default_rng(0)
    sections = np.repeat(["a", "b"], 30)
    features = (sections == "b")[:, None] * np.ones((1, 3))
    positions = rng.uniform(size=(60, 2))  # both sections in the same place
    apart = datasets.neighbourhoods(features, positions, k=8, sections=sections)
    np.testing.assert_array_equal(apart.mean, features)
    assert np.abs(apart.cov).max() == 0
    mixed = datasets.neighbourhoods(features, positions, k=8)  # the control: sections forgotten
    assert np.abs(mixed.cov).max() > 0.1


def test_one_neighbour_is_the_cell_itself():
    features = np.arange(6.0).reshape(3, 2)
    got = datasets.neighbourhoods(features, features, k=1)
    assert_same_gaussians(got, Gaussian(features, np.zeros((3, 2, 2))), rtol=0)


def test_principal_components_are_those_of_the_covariance():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((200, 6)) @ rng.standard_normal((6, 6)) + 5
    scores = datasets.principal_components(features, 4)
    values, vectors = np.linalg.eigh(np.cov(features.T, ddof=0))
    np.testing.assert_allclose(np.cov(scores.T, ddof=0), np.diag(values[::-1][:4]), atol=1e-10)
    projected = (features - features.mean(axis=0)) @ vectors[:, ::-1][:, :4]
    np.testing.assert_allclose(np.abs(scores), np.abs(projected), atol=1e-10)
    # The sign does not hang on the solver's choice.
    np.testing.assert_allclose(datasets.principal_components(features[::-1], 4)[::-1], scores, atol=1e-10)


def test_standardize_leaves_constant_columns_at_zero():
    features = np.column_stack([np.arange(5.0), np.full(5, 0.1)])
    z = datasets.standardize(features)
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-15)
    np.testing.assert_allclose(z.std(axis=0), [1, 0])


def test_niches_from_counts():
    rng = np.random.default_rng(0)
    counts, positions = rng.poisson(3.0, (50, 9)), rng.uniform(size=(50, 2))
    z = np.log1p(counts)
    z = (z - z.mean(axis=0)) / z.std(axis=0)
    want = datasets.neighbourhoods(datasets.principal_components(z, 3), positions, k=5)
    got = datasets.niches(counts, positions, k=5, n_components=3)
    assert_same_gaussians(got, want, atol=1e-12)


def test_few_neighbours_give_singular_covariances():
    ranks = np.linalg.matrix_rank(datasets.load("niches-16").gaussians.cov, hermitian=True)
    assert np.all(ranks == 15)
    ranks = np.linalg.matrix_rank(datasets.load("niches").gaussians.cov, hermitian=True)
    assert np.all(ranks == 16)


def test_the_sample_of_niches_is_part_of_all():
    sample, every = datasets.load("niches"), datasets.load("niches-full")
    rows = {row.tobytes() for row in every.gaussians.mean}
    assert all(row.tobytes() in rows for row in sample.gaussians.mean)
    share = np.bincount(sample.labels, minlength=16) / len(sample)
    np.testing.assert_allclose(share, np.bincount(every.labels, minlength=16) / len(every), atol=0.02)


X = np.zeros((6, 2))


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: datasets.neighbourhoods(X, X, k=7), "k = 7 .* only 6 cells"),
        (lambda: datasets.neighbourhoods(X, X, k=0), "k must be at least 1; got 0"),
        (
            lambda: datasets.neighbourhoods(X, X, k=3, sections=[0, 0, 0, 0, 1, 1]),
            "k = 3 .* section 1 has only 2",
        ),
        (lambda: datasets.neighbourhoods(X, X, k=3, sections=[0]), r"sections must have shape \(6,\)"),
        (lambda: datasets.neighbourhoods(X, X[:5], k=3), "6 rows of features but 5 positions"),
        (lambda: datasets.neighbourhoods(X * np.nan, X, k=3), "features must be finite"),
        (lambda: datasets.neighbourhoods(X, X * np.nan, k=3), "positions must be finite"),
        (
            lambda: datasets.neighbourhoods(X[:0], X[:0], k=3),
            r"features must be a matrix .* got shape \(0, 2\)",
        ),
        (
            lambda: datasets.principal_components(X, 3),
            r"n_components must lie in 1 ... 2 .* \(6, 2\); got 3",
        ),
        (lambda: datasets.niches(X - 1, X, k=3, n_components=1), "expression must be non-negative; got -1"),
    ],
)
def test_bad_cells(call, match):
    with pytest.raises(ValueError, match=match):
        call()


@needs_data
def test_shipped_files_can_be_rebuilt(tmp_path):
    for path in datasets.build_shipped(tmp_path):
        keys = tuple(np.load(path))
        new, old = (read_npz(Path(folder) / path.name, keys) for folder in (tmp_path, shipped._folder()))
        for key in keys:
            if old[key].dtype.kind == "f":
                np.testing.assert_allclose(new[key], old[key], rtol=1e-6, atol=1e-6, err_msg=key)
            else:
                np.testing.assert_array_equal(new[key], old[key], err_msg=key)


def test_shipped_files_are_those_recorded_and_small():
    recorded = (shipped._folder() / "README.md").read_text(encoding="utf-8")
    files = [file for file in shipped._folder().iterdir() if file.name.endswith(".npz")]
    assert {file.name for file in files} == {"cities.npz", "niches.npz", "fours.npz"}
    for file in files:
        content = file.read_bytes()
        assert re.search(rf"{file.name} +{hashlib.sha256(content).hexdigest()}", recorded)
        assert len(content) < 1.4e6
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        datasets.build_shipped("/no/such/folder")


@needs_data
def test_merfish_controls_are_left_out():
    found = cells.read_merfish(n_components=1)
    data = np.load(_source.locate(cells.MERFISH))
    kept = [i for i, gene in enumerate(data["genes"]) if not gene.startswith("Blank_")]
    assert len(kept) == 156
    want = datasets.principal_components(
        datasets.standardize(np.log1p(data["expression"][:, kept].astype(float))), 1
    )
    np.testing.assert_allclose(found.components, want, atol=1e-9)
    assert np.array_equal(np.bincount(found.sections), [5578, 5584])


# --- where data come from


def test_locate_under_the_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("REFWFM_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"REFWFM_DATA is .*no file .*us_cities"):
        _source.locate(cities.FILE)
    (tmp_path / "us_cities").mkdir()
    (tmp_path / cities.FILE).write_bytes(b"x")
    assert _source.locate(cities.FILE) == tmp_path / cities.FILE


def test_locate_says_when_there_is_no_home(monkeypatch):
    monkeypatch.delenv("REFWFM_DATA", raising=False)
    for file in (cities.FILE, cells.MERFISH):
        with pytest.raises(FileNotFoundError, match=r"no public address .*https://.* Set REFWFM_DATA"):
            _source.locate(file)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A web server on this machine that serves one registered file into an empty cache."""
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "file.bin").write_bytes(b"the data")
    handler = functools.partial(Quiet, directory=tmp_path / "served")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    monkeypatch.delenv("REFWFM_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache")
    monkeypatch.setitem(
        _source.REGISTRY,
        "a/file.bin",
        _source.Source(
            what="a file",
            sha256=hashlib.sha256(b"the data").hexdigest(),
            url=f"http://127.0.0.1:{server.server_port}/file.bin",
            original="nowhere",
        ),
    )
    yield tmp_path
    server.shutdown()
    thread.join()
    server.server_close()


def test_download_is_checked_and_kept(home, capfd):
    path = _source.locate("a/file.bin")
    assert path == home / "cache" / "a" / "file.bin"
    assert path.read_bytes() == b"the data"
    (home / "served" / "file.bin").unlink()
    assert _source.locate("a/file.bin") == path  # from the cache
    assert capfd.readouterr() == ("", "")


def test_download_with_another_checksum_leaves_nothing(home):
    (home / "served" / "file.bin").write_bytes(b"other data")
    with pytest.raises(OSError, match="no longer serves the expected file: its SHA-256 differs"):
        _source.locate("a/file.bin")
    assert [p for p in (home / "cache").rglob("*") if p.is_file()] == []


def test_failed_download_is_one_line(home):
    (home / "served" / "file.bin").unlink()
    with pytest.raises(
        OSError, match=r"could not download http://.* \(HTTPError\); fetch it by hand"
    ) as failed:
        _source.locate("a/file.bin")
    assert "\n" not in str(failed.value)
    assert [p for p in (home / "cache").rglob("*") if p.is_file()] == []


def test_download_without_pooch(home, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "refwfm\[data\]"'):
        _source.locate("a/file.bin")


@needs_data
def test_data_folder_holds_the_registered_files():
    # The images of MNIST may be compressed anew; their bytes are compared in test_cloud_datasets.
    names = [n for n, source in _source.REGISTRY.items() if source.sha256 and "images-idx3" not in n]
    for name in names:
        assert hashlib.sha256(_source.locate(name).read_bytes()).hexdigest() == _source.REGISTRY[name].sha256


# --- the user's own clouds


@given(
    seed=st.integers(0, 2**31), d=st.integers(1, 4), sizes=st.lists(st.integers(1, 9), min_size=1, max_size=5)
)
@settings(max_examples=50, deadline=None)
def test_gaussians_move_with_their_clouds(seed, d, sizes):
    rng = np.random.default_rng(seed)
    clouds = [rng.standard_normal((n, d)) for n in sizes]
    rotation, shift = np.linalg.qr(rng.standard_normal((d, d)))[0], 10 * rng.standard_normal(d)
    plain = datasets.gaussians_from_clouds(clouds).gaussians
    moved = datasets.gaussians_from_clouds([c @ rotation.T + shift for c in clouds]).gaussians
    want = Gaussian(plain.mean @ rotation.T + shift, rotation @ plain.cov @ rotation.T)
    assert_same_gaussians(moved, want, atol=1e-11)


def test_clouds_as_one_array_with_weights_and_labels():
    rng = np.random.default_rng(0)
    clouds, weights = rng.standard_normal((4, 6, 3)), rng.dirichlet(np.ones(6), 4)
    family = datasets.gaussians_from_clouds(clouds, weights=weights, labels=["b", "a", "b", "a"], name="mine")
    for i in range(4):
        np.testing.assert_allclose(family.gaussians.mean[i], weights[i] @ clouds[i])
        want = np.cov(clouds[i].T, aweights=weights[i], ddof=0)
        np.testing.assert_allclose(family.gaussians.cov[i], want)
    assert (family.name, family.label_names, family.labels.tolist()) == ("mine", ("a", "b"), [1, 0, 1, 0])
    same = datasets.gaussians_from_clouds(clouds, labels=[1, 0, 1, 0], label_names=("a", "b"))
    assert same.labels.tolist() == [1, 0, 1, 0]
    numbered = datasets.gaussians_from_clouds(clouds, labels=[10, 2, 10, 2])
    assert (numbered.label_names, numbered.labels.tolist()) == (("2", "10"), [1, 0, 1, 0])


def test_single_points_and_shrinkage():
    family = datasets.gaussians_from_clouds([[[1, 2]], [[0, 0], [2, 0]]])
    np.testing.assert_array_equal(family.gaussians.cov, [np.zeros((2, 2)), [[1, 0], [0, 0]]])
    shrunk = datasets.gaussians_from_clouds([[[0, 0], [2, 0]]], shrinkage=0.5)
    np.testing.assert_allclose(shrunk.gaussians.cov, [[[0.75, 0], [0, 0.25]]])
    assert "shrunk by 0.5" in shrunk.about


P = np.zeros((3, 2))


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda f: f([]), "clouds is empty"),
        (lambda f: f([P, P[:0]]), r"cloud 1 must have shape \(n, d\) with n, d >= 1; got \(0, 2\)"),
        (lambda f: f([P, P[:, :1]]), "all clouds must have the same dimension; got 1, 2"),
        (lambda f: f([P, P * np.nan]), "cloud 1: points must be finite"),
        (lambda f: f([np.array([["a"]])]), "cloud 0 must hold real numbers; got <U1"),
        (lambda f: f([P], shrinkage=2), r"shrinkage must lie in \[0, 1\]; got 2"),
        (lambda f: f([P, P], weights=[[1, 0, 0]]), "one entry for each of the 2 clouds; got 1"),
        (lambda f: f([P], weights=[[1, 1, 1]]), "cloud 0: weights must be non-negative and sum to 1"),
        (lambda f: f([P], weights=[[1]]), "cloud 0: weights must have shape"),
        (lambda f: f([P], labels=["a", "b"]), r"labels must have shape \(1,\); got \(2,\)"),
        (lambda f: f([P], labels=[["a"]]), r"labels must have shape \(N,\)"),
        (lambda f: f([P], labels=["c"], label_names=("a", "b")), "labels c are not among label_names a, b"),
    ],
)
def test_bad_clouds(call, match):
    with pytest.raises(ValueError, match=match):
        call(datasets.gaussians_from_clouds)


# --- AnnData files


@pytest.fixture(scope="module")
def h5ad(tmp_path_factory):
    """30 cells in two sections, with components, coordinates, classes and clusters."""
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


def test_anndata_niches(h5ad):
    data = anndata.read_h5ad(h5ad)
    family = datasets.from_anndata(h5ad, k=6, pcs=4, label="kind", section_key="section")
    want = datasets.neighbourhoods(
        data.obsm["X_pca"][:, :4], data.obsm["spatial"], k=6, sections=data.obs["section"]
    )
    assert_same_gaussians(family.gaussians, want, atol=1e-14)
    assert (family.name, family.label_names, len(family)) == ("cells", ("x", "y", "z"), 30)
    assert "within one section" in family.about


def test_anndata_clusters(h5ad):
    data = anndata.read_h5ad(h5ad)
    family = datasets.from_anndata(h5ad, by="cluster", cluster_key="cluster", label="kind", pcs=5)
    assert family.members == ("p", "q")
    for i, cells_of in enumerate((slice(1, 10), slice(10, 30))):
        cloud = data.obsm["X_pca"][cells_of]
        np.testing.assert_allclose(family.gaussians.mean[i], cloud.mean(axis=0))
        np.testing.assert_allclose(family.gaussians.cov[i], np.cov(cloud.T, ddof=0))
    assert family.label_names == ("x", "y")


@pytest.mark.filterwarnings("ignore:column 'section' has 2 values")  # the hint: they do overlap
def test_anndata_neighbourhoods_and_computed_components(h5ad, tmp_path):
    family = datasets.from_anndata(h5ad, by="neighbourhood", k=6, pcs=4)
    scores = anndata.read_h5ad(h5ad).obsm["X_pca"][:, :4]
    assert_same_gaussians(family.gaussians, datasets.neighbourhoods(scores, scores, k=6), atol=1e-14)
    data = anndata.read_h5ad(h5ad)
    del data.obsm["X_pca"]
    want = datasets.principal_components(datasets.standardize(data.X), 3)
    from scipy.sparse import csr_matrix

    for i, x in enumerate((data.X, csr_matrix(data.X))):
        data.X = x
        data.write_h5ad(tmp_path / f"{i}.h5ad")
        got = datasets.from_anndata(tmp_path / f"{i}.h5ad", k=6, pcs=3)
        assert "computed from X" in got.about
        assert_same_gaussians(
            got.gaussians, datasets.neighbourhoods(want, data.obsm["spatial"], k=6), atol=1e-12
        )


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"by": "cell"}, "by must be one of niche, cluster, neighbourhood; got 'cell'"),
        ({"spatial_key": "xy"}, r"no coordinates obsm\['xy'\].* it has X_pca, spatial"),
        ({"basis": "X_umap"}, r"no obsm\['X_umap'\]; it has X_pca, spatial"),
        ({"label": "type"}, "no column 'type' in obs; it has kind, section, cluster"),
        ({"by": "cluster", "cluster_key": "type"}, "no column 'type' in obs"),
        ({"by": "cluster"}, "clusters need cluster_key"),
        ({"pcs": 6}, r"pcs = 6, but obsm\['X_pca'\] has only 5 components"),
        ({"pcs": 0}, "pcs must be at least 1; got 0"),
        ({"k": 31}, "k = 31 .* only 30 cells"),
        ({"k": 16, "section_key": "section"}, "k = 16 .* section 1 has only 15 cells"),
    ],
)
@pytest.mark.filterwarnings("ignore:column 'section' has 2 values")  # the hint: they do overlap
def test_anndata_errors(h5ad, options, match):
    with pytest.raises(ValueError, match=match):
        datasets.from_anndata(h5ad, **{"pcs": 4, "k": 6, **options})


def test_anndata_file_errors(tmp_path, h5ad, monkeypatch):
    import h5py

    with pytest.raises(FileNotFoundError, match="no such file"):
        datasets.from_anndata(tmp_path / "none.h5ad")
    bad = tmp_path / "bad.h5ad"
    bad.write_bytes(b"text")
    with pytest.raises(ValueError, match="is not an HDF5 file"):
        datasets.from_anndata(bad)
    whole = h5ad.read_bytes()
    for cut in (len(whole) // 2, len(whole) - 100):
        bad.write_bytes(whole[:cut])
        with pytest.raises(ValueError, match="not a readable AnnData file"):
            datasets.from_anndata(bad)
    with h5py.File(bad, "w") as file:
        file["a"] = np.zeros(3)
    with pytest.raises(ValueError, match=r"bad\.h5ad"):
        datasets.from_anndata(bad)
    monkeypatch.setitem(sys.modules, "anndata", None)
    with pytest.raises(ModuleNotFoundError, match=r'needs anndata: pip install "refwfm\[data\]"'):
        datasets.from_anndata(h5ad)


@needs_data
def test_pbmc_against_direct_computation():
    import h5py

    family = datasets.load("pbmc")
    with h5py.File(_source.locate("pbmc68k_reduced/10x_pbmc68k_reduced.h5ad")) as file:
        scores = file["obsm"]["X_pca"][:, :32]  # a record array: the file is that old
    distance = np.linalg.norm(scores[:, None] - scores[None], axis=-1)
    for i in (0, 350, 699):
        cloud = scores[np.argsort(distance[i])[:40]].astype(float)
        np.testing.assert_allclose(family.gaussians.mean[i], cloud.mean(axis=0), atol=1e-10)
        np.testing.assert_allclose(family.gaussians.cov[i], np.cov(cloud.T, ddof=0), atol=1e-10)
    assert np.linalg.matrix_rank(family.gaussians.cov, hermitian=True).min() == 32
