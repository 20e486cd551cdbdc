"""The catalogue of point clouds: what can be loaded by name, and what is held out of it."""

from collections.abc import Callable
from functools import partial

from refwfm.datasets._cloud_family import CloudFamily
from refwfm.datasets._entry import Entry
from refwfm.datasets.circles import HIGH, LOW, load_circles
from refwfm.datasets.digits import load_fours, load_mnist, load_usps
from refwfm.datasets.drawn_digits import load_drawn
from refwfm.datasets.letters import load_emnist, load_letters
from refwfm.datasets.niche_clouds import load_niche_clouds, load_seqfish_clouds
from refwfm.datasets.shapes import load_airplanes, load_modelnet10, load_modelnet40, load_pc15k, load_shapenet


def _clouds(
    name: str,
    about: str,
    dimension: int,
    n_labels: int,
    load: Callable[..., CloudFamily],
    train: tuple[int, int, int] | None,
    test: tuple[int, int, int] | None,
    *,
    shipped: bool = False,
) -> dict[str, Entry]:
    """Entries of a family to train on and of its held-out counterpart.

    ``load(part, name=...)`` loads part "train" or "test"; ``train`` and ``test`` are the number of clouds,
    points of the smallest and points of the largest, where they are known.
    """
    entries = {}
    for part, facts in (("train", train), ("test", test)):
        size, *sizes = facts or (None,)
        other = f"{name}-test"
        entries[name if part == "train" else other] = Entry(
            about if part == "train" else f"held out of {name}",
            size,
            dimension,
            n_labels,
            shipped,
            _loader(load, part, name if part == "train" else other),
            kind="clouds",
            sizes=(sizes[0], sizes[1]) if sizes else None,
            held_out=other if part == "train" else "",
        )
    return entries


def _loader(load: Callable[..., CloudFamily], part: str, name: str) -> Callable[[int], CloudFamily]:
    return lambda seed: load(part, name=name)


Facts = tuple[int, int, int]

DIGITS: tuple[tuple[Facts, Facts], ...] = (
    ((5923, 46, 312), (980, 55, 253)),
    ((6742, 15, 173), (1135, 19, 141)),
    ((5958, 35, 261), (1032, 44, 258)),
    ((6131, 31, 235), (1010, 35, 226)),
    ((5842, 32, 214), (982, 35, 184)),
    ((5421, 32, 237), (892, 29, 204)),
    ((5918, 37, 241), (958, 27, 234)),
    ((6265, 34, 208), (1028, 29, 177)),
    ((5851, 36, 275), (974, 48, 244)),
    ((5949, 37, 210), (1009, 32, 206)),
)
"""For every digit of MNIST: number of clouds, fewest points, most points; to train on, and held out."""

PC15K = {"airplane": "02691156", "car": "02958343", "chair": "03001627"}
"""The synsets of ShapeNet that the papers use."""

DRAWN = {"mnist": (60000, 10000), "usps": (7291, 2007)}
"""Digits from which points are drawn: members to train on, and held out."""

CLOUDS: dict[str, Entry] = {
    **_clouds(
        "fours",
        "the digit 4, MNIST",
        *(2, 0, load_fours),
        *((5842, 32, 214), (982, 35, 184)),
        shipped=True,
    ),
    **_clouds(
        "niches-clouds",
        "cell niches of the mouse hypothalamus, 16 cells each",
        *(16, 16, load_niche_clouds),
        *((5584, 16, 16), (5578, 16, 16)),
        shipped=True,
    ),
    **_clouds(
        "niches-genes",
        "the same niches in 156 genes",
        *(156, 16, partial(load_niche_clouds, genes=True)),
        *((5584, 16, 16), (5578, 16, 16)),
    ),
    **_clouds(
        "seqfish-clouds",
        "cell niches of the mouse visual cortex, 16 cells each",
        *(16, 9, load_seqfish_clouds),
        *((1279, 16, 16), (318, 16, 16)),
    ),
    **_clouds(
        "mnist",
        "digits, MNIST",
        *(2, 10, load_mnist),
        *((60000, 15, 312), (10000, 19, 258)),
    ),
    **{
        name: entry
        for digit, facts in enumerate(DIGITS)
        for name, entry in _clouds(
            f"mnist-{digit}", f"the digit {digit}, MNIST", 2, 0, partial(load_mnist, digit=digit), *facts
        ).items()
    },
    **_clouds(
        "usps",
        "digits, USPS",
        *(2, 10, load_usps),
        *((7291, 3, 167), (2007, 11, 167)),
    ),
    **{
        name: entry
        for data, sizes in DRAWN.items()
        for n in (64, 128, 256)
        for name, entry in _clouds(
            f"{data}-{n}",
            f"digits, {data.upper()}, {n} points drawn by intensity",
            *(2, 10, partial(load_drawn, data, n)),
            *((size, n, n) for size in sizes),
        ).items()
    },
    **{
        name: entry
        for kind, law in {"circles": HIGH, "small-circles": LOW}.items()
        for name, entry in _clouds(
            kind,
            kind.replace("-", " ") + " of 30 points",
            *(2, 0, partial(load_circles, law)),
            *((1024, 30, 30), (256, 30, 30)),
            shipped=True,
        ).items()
    },
    **_clouds(
        "letters",
        "capital letters, NIST",
        *(2, 26, load_letters),
        *((4748, 25, 289), (1186, 32, 266)),
    ),
    **_clouds(
        "letters-a",
        "the letter A, NIST",
        *(2, 0, partial(load_letters, letter="A")),
        *((142, 60, 208), (36, 65, 202)),
    ),
    **_clouds("emnist", "letters, EMNIST", 2, 26, load_emnist, None, None),
    **_clouds("emnist-a", "the letter a, EMNIST", 2, 0, partial(load_emnist, letter="a"), None, None),
    **_clouds(
        "chairs",
        "chairs, ModelNet10, surface voxels",
        *(3, 0, partial(load_modelnet10, "chair")),
        *((671, 552, 6166), (168, 528, 5796)),
    ),
    **_clouds(
        "monitors",
        "monitors, ModelNet10, surface voxels",
        *(3, 0, partial(load_modelnet10, "monitor")),
        *((361, 700, 8037), (90, 1038, 10204)),
    ),
    **_clouds(
        "shapenet-chairs",
        "chairs, ShapeNetPart",
        *(3, 0, partial(load_shapenet, "chair")),
        *((58, 2048, 2048), (14, 2048, 2048)),
    ),
    **_clouds(
        "shapenet-tables",
        "tables, ShapeNetPart",
        *(3, 0, partial(load_shapenet, "table")),
        *((86, 2048, 2048), (22, 2048, 2048)),
    ),
    "airplanes": Entry(
        "airplanes, ModelNet40",
        *(6, 3, 0, False),
        lambda seed: load_airplanes(),
        kind="clouds",
        sizes=(10000, 10000),
    ),
    **{
        name: entry
        for kind, synset in PC15K.items()
        for name, entry in _clouds(
            f"pc15k-{kind}", f"{kind}s, ShapeNet PC15k", 3, 0, partial(load_pc15k, synset), None, None
        ).items()
    },
    **_clouds("modelnet40", "all classes, ModelNet40", 3, 40, load_modelnet40, None, None),
}
