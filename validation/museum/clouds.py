"""Clouds: what chamfer distances, earth mover's distances and metrics of families have got wrong."""

import numpy as np

from refwfm.measures import PointCloud
from refwfm.metrics.distances import chamfer
from refwfm.metrics.statistics import FamilyDistances, coverage, minimum_matching_distance
from refwfm.objectives import cloud_loss
from refwfm.transport.exact import sq_wasserstein2
from refwfm.transport.sinkhorn import sq_euclidean_cost
from refwfm.validation.museum.exhibit import Exhibit, Mutant, Trap, near, refuses


def exhibits() -> list[Exhibit]:
    """Exhibits of this room."""
    return [
        Exhibit(
            "pytorch3d-1174",
            "chamfer distance of a cloud without points",
            "facebookresearch/pytorch3d#1174",
            2022,
            "A batch with an empty cloud gave a loss of NaN, the mean over no points; negative counts of "
            "points gave 0 without a word.",
            Trap(an_empty_cloud_is_refused, chamfer, mean_over_no_points),
        ),
        Exhibit(
            "OpenSceneFlow-22",
            "points of a small cloud that the kernel does not see",
            "KTH-RPL/OpenSceneFlow#22",
            2025,
            "The CUDA chamfer distance of one point to a cloud that holds the same point was not zero; its "
            "reporter suspected that a part of the cloud is not copied into shared memory.",
            Trap(all_points_are_seen, chamfer, chamfer_to_the_first_points),
        ),
        Exhibit(
            "PoinTr-65",
            "chamfer distance of a transposed array",
            "yuxumin/PoinTr#65",
            2022,
            "Results were inconsistent until the clouds were made contiguous. Here memory is read in order, "
            "whatever the strides of the array say.",
            Trap(strides_do_not_matter, chamfer, chamfer_of_memory),
        ),
        Exhibit(
            "PyTorchEMD-1",
            "a distance that grows with the number of points",
            "daerduoCarey/PyTorchEMD#1",
            2019,
            "Values grew with the size of the clouds: the kernel returns a sum over the points, and the mean "
            "is left to its user, who was going to divide by n m.",
            Mutant(
                "WFM-3", "closed form of affine images (WFM-24, moments divided by n)", sum_over_the_points
            ),
        ),
        Exhibit(
            "pytorch3d-211",
            "an earth mover's distance that is not the least cost",
            "facebookresearch/pytorch3d#211",
            2020,
            "Asked for this loss, the maintainers found that the implementation which papers share has no "
            "guarantee of being right: it spreads mass over near points, round after round.",
            Mutant("WFM-3", "SciPy linprog (HiGHS), unequal sizes and weights", matched_softly),
        ),
        Exhibit(
            "PyTorch-EMDLoss-6",
            "a gradient with one sign",
            "meder411/PyTorch-EMDLoss#6",
            2019,
            "For a cloud against its own translations the gradient was positive on either side, and huge at "
            "distance zero. The distances looked right.",
            Mutant("WFM-U7", "finite differences", gradient_without_its_sign),
        ),
        Exhibit(
            "PointFlow-20",
            "minimum matching distance from the transposed matrix",
            "stevenygd/PointFlow#20",
            2020,
            "A correction exchanged samples and references in the call that fills the matrix of distances, "
            "which was transposed afterwards: a reader saw that all metrics now came from the wrong side.",
            Mutant("COV-MMD", "loop over the reference", matched_from_the_samples),
        ),
        Exhibit(
            "3DQD-15",
            "coverage counted around the samples",
            "colorful-liyu/3DQD#15",
            2023,
            "Generated and reference clouds were handed over in the other order than in the code that others "
            "report, which may be why published numbers differ.",
            Mutant("COV-MMD", "set of the nearest", coverage_of_the_samples),
        ),
    ]


# What goes wrong


def mean_over_no_points(x, y):
    """Mean of squared nearest distances over the points that a cloud has."""
    points = [cloud.points[cloud.weights > 0] for cloud in (x, y)]
    squares = sq_euclidean_cost(*points)
    nearest = (np.min(squares, axis=k, initial=np.inf) for k in (1, 0))
    return sum(np.sum(part) / len(part) if len(part) else np.float64(np.nan) for part in nearest)


def chamfer_to_the_first_points(x, y):
    """As many points of each cloud as the other has are looked at."""
    n = min(len(x.weights), len(y.weights))
    squares = sq_euclidean_cost(x.points, y.points)
    return x.weights @ squares[:, :n].min(axis=1) + y.weights @ squares[:n].min(axis=0)


def chamfer_of_memory(x, y):
    """Points as they lie in memory."""
    read = (PointCloud(c.points.ravel(order="K").reshape(c.points.shape), c.weights) for c in (x, y))
    return chamfer(*read)


def sum_over_the_points(x, y):
    """Cost of the matching, not divided by the number of points."""
    return x.weights.shape[-1] * sq_wasserstein2(x, y)


def matched_softly(x, y):
    """Shares by ``exp(-level d²)`` for falling levels, every point's mass given away once."""
    cost, plan = sq_euclidean_cost(x.points, y.points), 0.0
    left, right = x.weights.copy(), y.weights.copy()
    for level in (64.0, 16.0, 4.0, 1.0, 0.25, 0.0):
        share = np.exp(-level * cost) * right[:, None, :]
        share = share * left[..., None] / (np.sum(share, axis=-1, keepdims=True) + 1e-12)
        share = share * np.minimum(1.0, right / (np.sum(share, axis=-2) + 1e-12))[:, None, :]
        plan = plan + share
        left, right = left - np.sum(share, axis=-1), right - np.sum(share, axis=-2)
    return np.sum(plan * cost, axis=(-2, -1))


def gradient_without_its_sign(pred, target, weights):
    """The right value, and the size of its gradient."""
    value, gradient = cloud_loss(pred, target, weights)
    return value, np.abs(gradient)


def matched_from_the_samples(distances):
    """Mean over the generated clouds of the distance to the nearest reference."""
    return minimum_matching_distance(_exchanged(distances))


def coverage_of_the_samples(distances):
    """Share of the generated clouds that are the nearest of a reference."""
    return coverage(_exchanged(distances))


def _exchanged(distances):
    return FamilyDistances(distances.reference, distances.cross.T, distances.generated)


# What is asked


def an_empty_cloud_is_refused(distance):
    """A cloud whose weights are all zero, against one of two points."""
    y = PointCloud(np.asarray([[0.0], [1.0]]), np.full(2, 0.5))
    return refuses(distance, PointCloud(y.points, np.zeros(2)), y)


def all_points_are_seen(distance):
    """The origin against two points, the second of which is the origin: 0 there, 25 / 2 back."""
    x = PointCloud(np.zeros((1, 2)), np.ones(1))
    y = PointCloud(np.asarray([[3.0, 4.0], [0.0, 0.0]]), np.full(2, 0.5))
    return near(distance(x, y), 12.5, 1e-12)


def strides_do_not_matter(distance):
    """Points as columns of an array, against the same points copied."""
    x = PointCloud(np.arange(6.0).reshape(2, 3).T, np.full(3, 1 / 3))
    return near(distance(x, x._replace(points=x.points.copy())), 0.0, 0.0)
