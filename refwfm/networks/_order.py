"""Layers "0", "1", ... in their order, which a dictionary may have lost: in files "10" stands before "2"."""

from typing import Any


def in_order(layers: dict[str, Any], /) -> list[tuple[str, Any]]:
    """Items by their numbers.

    Examples
    --------
    >>> [name for name, _ in in_order({"0": None, "10": None, "2": None})]
    ['0', '2', '10']
    """
    return sorted(layers.items(), key=lambda item: int(item[0]))
