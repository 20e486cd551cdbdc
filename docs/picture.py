"""The picture of the README: one of those that ``refwfm demo`` leaves, in a small size.

``python docs/picture.py [refwfm-demo]`` runs the demo where the folder is missing, for about two minutes.
"""

import subprocess
import sys
from pathlib import Path

from matplotlib import image
from matplotlib.figure import Figure

from refwfm.paper_figures.saving import save_figure

WIDTH = 900  # pixels


def main(folder: Path) -> None:
    """Write ``docs/images/demo.png``."""
    if not (folder / "cities.png").exists():
        subprocess.run([sys.executable, "-m", "refwfm", "demo", "--out", str(folder)], check=True)  # noqa: S603
    pixels = image.imread(folder / "cities.png")
    height, width = pixels.shape[:2]
    figure = Figure(figsize=(WIDTH / 100, WIDTH / 100 * height / width), dpi=100)
    figure.add_axes((0, 0, 1, 1)).imshow(pixels, interpolation="antialiased", aspect="auto")
    figure.axes[0].axis("off")
    save_figure(figure, Path(__file__).parent / "images" / "demo.png")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "refwfm-demo"))
