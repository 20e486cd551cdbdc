"""WFM Table 3: 1-NN accuracies on shapes."""

from refwfm.paper_figures.cloud_experiment import CloudScale, scale_of

TITLE = "Table 3: 1-NN accuracy on shapes"
KIND = "clouds"

FAMILIES = ("chairs", "shapenet-chairs")

PAPER = {"shapenet-chairs": (57.62, 57.93), "chairs": (57.62, 57.93)}
"""The paper's values in %, Chamfer and EMD, for the chairs of ShapeNet with 2048 points. Ours are of
ModelNet10 (surface voxels), and the few of ShapeNetPart that could be had: to be seen side by side, not to
be compared."""


def variants(scale: str, /) -> dict[str, dict[str, CloudScale]]:
    """Our recipe for each family at this scale."""
    return {family: {"WFM": scale_of(scale, family)} for family in FAMILIES}
