"""What the tables of the second paper share: the scale of flows to digits, pictures of what was generated."""

from pathlib import Path
from typing import Any

from refwfm.paper_figures.cloud_experiment import CloudScale
from refwfm.paper_figures.cloud_pictures import draw_rows
from refwfm.paper_figures.gwfm.experiment import FlowOutcome, scale_of


def digits(scale: str, /, **changes: Any) -> CloudScale:
    """Scale of a flow to digits."""
    return scale_of(
        scale, laptop={"steps": 1200}, paper={"steps": 100_000, "batch": 128, "width": 256}, **changes
    )


def draw_generated(outcomes: list[FlowOutcome], folder: Path, name: str, title: str, /) -> list[Path]:
    """Draw held-out clouds above those that each coupling gives, in few and many steps; return the files."""
    files = []
    for data in dict.fromkeys(o.task.data for o in outcomes):
        found = [o for o in outcomes if o.task.data == data and o.task.seed == 0]
        rows = {"held out": found[0].held_out}
        for o in found:
            for steps in (min(o.generated), max(o.generated)):
                rows[f"{o.task.variant}, {steps} steps"] = o.generated[steps]
        files.append(folder / f"{name}-{data}.png")
        draw_rows(rows, files[-1], title=title)
    return files
