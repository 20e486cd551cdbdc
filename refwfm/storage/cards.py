"""The card of a run that is handed on: what it was trained on, how, how good it is, and of which file.

``card.json`` lies in the run's folder. It has the SHA-256 of the checkpoint, so that no other file passes for
the one whose numbers it has.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from refwfm.storage import atomic
from refwfm.storage.checkpoints import CheckpointError

CARD = "card.json"
"""Its name in a run's folder."""


def digest(path: Path, /) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def save(folder: Path, card: dict[str, Any], /) -> None:
    """Write a run's card, whole or not at all."""
    atomic.write_text(folder / CARD, json.dumps(card, indent=1, ensure_ascii=False) + "\n")


def load(folder: Path, /) -> dict[str, Any] | None:
    """The card of a run's folder, None where it has none.

    Raises
    ------
    CheckpointError
        If it is no card.
    """
    path = folder / CARD
    if not path.is_file():
        return None
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(card["sha256"], str):
            raise TypeError
    except (ValueError, KeyError, TypeError, RecursionError):
        raise CheckpointError(f"{path} is no card of a model: it lacks the SHA-256 of the file") from None
    return dict(card)


def check(checkpoint: Path, /) -> None:
    """Raise ``CheckpointError`` unless a checkpoint in a folder with a card is the file that it tells of."""
    folder = checkpoint.absolute().parent.parent
    card = load(folder) if checkpoint.is_file() else None
    if card is not None and (found := digest(checkpoint)) != card["sha256"]:
        raise CheckpointError(
            f"{checkpoint} is not the file that {folder / CARD} tells of: its SHA-256 is {found[:12]}..., "
            f"and that of the card {card['sha256'][:12]}...; install refwfm again, or train one of your own"
        )
