"""Pictures in files: whole or not at all, as everything else that is written."""

import os
from pathlib import Path

from matplotlib.figure import Figure

from refwfm.storage import atomic


def save_figure(figure: Figure, path: str | os.PathLike[str], /) -> None:
    """Write a picture, of the kind that the end of its name says.

    Raises
    ------
    ValueError
        If the name ends in none of the kinds that can be drawn.
    OSError
        If it cannot be written; the error names the file, which stays as it was.
    """
    path = Path(path)
    kind, known = path.suffix[1:].lower(), figure.canvas.get_supported_filetypes()
    if kind not in known:
        raise ValueError(f"{path}: the name of a picture must end in .{', .'.join(sorted(known))}")
    atomic.write(path, lambda file: figure.savefig(file, format=kind, dpi=150))
