"""Partial views of shapes: what a flow that completes shapes starts from."""

import numpy as np

from refwfm.datasets._cloud_family import CloudFamily


def partial_views(family: CloudFamily, /, *, keep: float = 0.5, seed: int = 0) -> CloudFamily:
    """Each cloud as it is seen from one side: the points that lie furthest in a random direction.

    Member i is a view of member i. The direction is uniform on the sphere and drawn for each member.

    Parameters
    ----------
    family : CloudFamily
    keep : float in (0, 1]
        Share of the points that are kept, rounded up.
    seed : int, non-negative

    Returns
    -------
    CloudFamily
        Without weights: all points of a view weigh the same.
    """
    if not 0 < keep <= 1:
        raise ValueError(f"keep must lie in (0, 1]; got {keep}")
    rng = np.random.default_rng(seed)
    views = []
    for i in range(len(family)):
        points = family.cloud(i).points
        depth = points @ rng.standard_normal(family.dimension)
        views.append(points[np.sort(np.argsort(-depth, kind="stable")[: int(np.ceil(keep * len(points)))])])
    return CloudFamily(
        name=f"{family.name}, partial views",
        points=np.concatenate(views),
        offsets=np.concatenate([[0], np.cumsum([len(view) for view in views])]),
        labels=family.labels,
        label_names=family.label_names,
        members=family.members,
        conditions=family.conditions,
        condition_names=family.condition_names,
        about=f"{keep:g} of the points, those furthest in a random direction. {family.about}",
    )
