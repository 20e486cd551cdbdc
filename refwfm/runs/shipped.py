"""Models that ship with the package, each a run's folder, by the name of the family that it was trained on.

They are trained by ``python -m refwfm.validation.shipped_models``, never by hand, and read as all runs are. A
folder has no state of the optimiser and no log, and has a card besides (``storage.cards``).
"""

from pathlib import Path
from typing import Any

from refwfm.storage import cards

FOLDER = Path(__file__).parent / "shipped"
"""Where they are."""

WITHOUT = {
    "niches-full": "niches is a sample of it",
    "spiral-16": "spiral-128 is the same spiral",
    "small-circles": "circles are the same, larger",
}
"""Families that ship and have no model, and why."""


def names() -> tuple[str, ...]:
    """Names of the models that ship, which are those of their families."""
    return tuple(sorted(path.parent.name for path in FOLDER.glob(f"*/{cards.CARD}")))


def folder(name: str, /) -> Path:
    """Folder of the model that ships for a family, for ``models.load_model`` and ``WassersteinFlow.load``.

    Raises
    ------
    ValueError
        If none does.
    """
    if name not in names():
        why = f" ({WITHOUT[name]})" if name in WITHOUT else ""
        raise ValueError(f"no model of {name} ships{why}: those that do are {', '.join(names())}")
    return FOLDER / name


def is_shipped(run: Path, /) -> bool:
    """Whether a run's folder is that of a model that ships."""
    return run.absolute().parent == FOLDER


def card(name: str, /) -> dict[str, Any]:
    """What is recorded of the model that ships for a family: data, options, cost, scores, SHA-256."""
    found = cards.load(folder(name))
    assert found is not None
    return found
