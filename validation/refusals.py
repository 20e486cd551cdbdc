"""Checks of what is refused and reported: times, small members, gradients; and of other devices."""

from typing import Any

import numpy as np

from refwfm import clouds, psd
from refwfm.interpolation import displacement
from refwfm.measures import PointCloud
from refwfm.metrics.neighbours import nearest_clouds
from refwfm.training import alignment
from refwfm.validation.check import Check, roundings
from refwfm.validation.cloud_runs import (
    ragged,
)
from refwfm.validation.draws import Draw
from refwfm.validation.loops import here
from refwfm.validation.textbook import relative

# Neighbours


def search_check() -> Check:
    """What the search of neighbours reports."""
    return here(
        "what is reported of small clouds",
        search_is_reported,
        nearest_clouds,
        {
            "nothing": lambda *rest, **options: nearest_clouds(*rest, **{**options, "progress": None}),
            "bounds for all": lambda *rest, **options: nearest_clouds(*rest, **options)._replace(n_dual=1),
        },
    )


def search_is_reported(search: Any, draw: Draw) -> float:
    """How much is wrong: no pair is bounded by a potential; members decided rise from none to all 7."""
    done: list[tuple[int, int]] = []
    family = clouds.uniform(draw.normal(7, 6, draw.d))
    rng = np.random.default_rng(0)
    found = search(family, squared=True, rng=rng, n_jobs=1, progress=lambda *pair: done.append(pair))
    counts = [first for first, _ in done]
    rises = counts == sorted(counts) and counts[:1] == [0] and counts[-1:] == [7]
    return int(found.n_dual != 0) + int(not rises)


# Refusals


def _refuses(error: type[Exception], function: Any, *arguments: Any, **options: Any) -> bool:
    try:
        function(*arguments, **options)
    except error:
        return True
    return False


def time_check() -> Check:
    """Times outside of the unit interval."""
    return here(
        "which times are refused",
        times_are_refused,
        displacement,
        {"none": lambda x, images, t: x, "numbers only": lambda x, images, t: displacement(x, images, 0.5)},
    )


def times_are_refused(displacement: Any, draw: Draw) -> float:
    """How many of six are refused that lie in [0, 1], or not refused that do not, for all clouds or one."""
    x = draw.normal(2, 3, draw.d)
    bad = ([0.5, 1.5], [-0.5, 0.5], [2.0, 3.0], [-1.0, 0.0])
    wrong = sum(not _refuses(ValueError, displacement, x, x, np.array(t)) for t in bad)
    return wrong + sum(
        _refuses(ValueError, displacement, x, x, np.array(t)) for t in ([0.0, 1.0], [0.5, 0.5])
    )


def thin_check() -> Check:
    """Members with too few points."""
    return here(
        "which families cannot be thinned",
        small_members_are_refused,
        alignment.thin,
        {
            "none": lambda family, n, *, rng: None,
            "members one point too small are taken": lambda family, n, *, rng: alignment.thin(
                family, n - 1, rng=rng
            ),
        },
    )


def small_members_are_refused(thin: Any, draw: Draw) -> float:
    """How many of three decisions are wrong."""
    wrong = 0
    for sizes, refused in (((5, 5, 5), False), ((5, 4, 5), True), ((4, 4, 4), True)):
        family = ragged([draw.normal(n, draw.d) for n in sizes])
        wrong += _refuses(ValueError, thin, family, 5, rng=draw.rng) != refused
    return wrong


def gradient_check() -> Check:
    """Tensors that somebody differentiates, and that would be copied to the host."""
    return here(
        "tensors that ask for gradients (torch)",
        gradients_are_refused,
        lambda function, cloud: function(cloud),
        {
            "detached": lambda function, cloud: function(PointCloud(*(part.detach() for part in cloud))),
            "none": lambda function, cloud: cloud,
        },
        needs="torch",
    )


def gradients_are_refused(call: Any, draw: Draw) -> float:
    """How many are not refused: of points, of weights, for clouds taken apart or compared."""
    import torch

    from refwfm.metrics.distances import pairwise_chamfer

    wrong = 0
    for function in (clouds.unpad, pairwise_chamfer):
        for place in (0, 1):
            parts = [
                torch.asarray(draw.normal(2, 3, draw.d)),
                torch.full((2, 3), 1.0 / 3.0, dtype=torch.float64),
            ]
            parts[place].requires_grad_()
            wrong += not _refuses(TypeError, call, function, PointCloud(*parts))
    return wrong


def device_check() -> Check:
    """Sum of singular values away from the CPU."""
    return here(
        "SciPy svdvals, on a device (array-api-strict)",
        norm_on_a_device,
        psd.nuclear_norm,
        {
            "Frobenius norm": lambda matrix: (matrix**2.0)[:, 0, 0],
            "half of it": lambda matrix: 0.5 * psd.nuclear_norm(matrix),
        },
        tolerance=roundings(100, "d = 3"),
        dimensions=(3,),
        needs="array_api_strict",
    )


def norm_on_a_device(norm: Any, draw: Draw) -> float:
    """Norms of random matrices on a device that NumPy cannot read."""
    import array_api_strict as xp

    device = xp.Device("device1")
    matrix = draw.normal(draw.size, draw.d, draw.d)
    found = norm(xp.asarray(matrix, device=device)).to_device(xp.Device("CPU_DEVICE"))
    return relative(np.asarray(found), np.linalg.svd(matrix, compute_uv=False).sum(axis=-1))
