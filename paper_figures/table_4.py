"""WFM Table 4: 1-NN accuracies on fours, the letter a, and cell niches."""

from refwfm.paper_figures.cloud_experiment import CloudScale, scale_of

TITLE = "Table 4: 1-NN accuracy on handwriting and cell niches"
KIND = "clouds"

PAPER = {"fours": (63.34, 59.97), "letters-a": (62.12, 58.68), "niches-clouds": (52.80, 54.52)}
"""The paper's values in %, Chamfer and EMD. Its fours are ours; its letters (EMNIST, lower case) and its
niches (MERFISH, motor cortex) are of the same kind as ours, not the same."""


def variants(scale: str, /) -> dict[str, dict[str, CloudScale]]:
    """Our recipe for each family at this scale."""
    return {family: {"WFM": scale_of(scale, family)} for family in PAPER}
