"""WFM Figures 5 and 6: cell niches, real and generated: an embedding by class, and expression signatures."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from refwfm.datasets import load
from refwfm.paper_figures.cloud_experiment import CloudOutcome, CloudScale, scale_of
from refwfm.paper_figures.ellipses import PALETTE
from refwfm.paper_figures.saving import save_figure

TITLE = "Figures 5 and 6: cell niches, real and generated"
KIND = "clouds"
FAMILY = "niches-clouds"


def variants(scale: str, /) -> dict[str, dict[str, CloudScale]]:
    """Niches conditioned on the class of their centre, one seed."""
    return {FAMILY: {"WFM": scale_of(scale, FAMILY)._replace(seeds=1)}}


def draw(outcomes: list[CloudOutcome], folder: Path, /) -> list[Path]:
    """Draw the embedding and the signatures; return the files."""
    outcome = outcomes[0]
    names = load(FAMILY).label_names
    means = [
        np.array([points.mean(axis=0) for points in part]) for part in (outcome.held_out, outcome.generated)
    ]
    labels = [outcome.held_out_labels, outcome.labels]
    paths = [folder / "figure-5.png", folder / "figure-6.png"]
    _embedding(means, labels, names, paths[0])
    _signatures(means, labels, names, paths[1])
    return paths


def _embedding(means: list[np.ndarray], labels: list[np.ndarray], names: tuple[str, ...], path: Path) -> None:
    """Mean expression of each niche on the two axes that tell the real classes apart best."""
    axes_of = _discriminants(means[0], labels[0])
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    for ax, mean, label, title in zip(panels, means, labels, ("real, held out", "generated"), strict=True):
        flat = (mean - means[0].mean(axis=0)) @ axes_of
        for i, name in enumerate(names):
            if np.any(labels[0] == i) or np.any(labels[1] == i):
                some = flat[label == i]
                ax.scatter(*some.T, s=10, color=PALETTE[i % len(PALETTE)], label=name, alpha=0.8)
        ax.set_title(title, fontsize="medium")
        ax.set_xlabel("discriminant 1")
    panels[0].set_ylabel("discriminant 2")
    handles, texts = panels[0].get_legend_handles_labels()
    figure.legend(handles, texts, loc="outside right center", fontsize="x-small", frameon=False)
    figure.suptitle("niches by the class of their centre, mean expression", fontsize="medium")
    save_figure(figure, path)


def _discriminants(mean: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Two directions (d, 2) of largest variance between classes relative to that within (Fisher)."""
    from scipy.linalg import eigh

    between, within = np.zeros((2, mean.shape[1], mean.shape[1]))
    for i in np.unique(label):
        some = mean[label == i]
        gap = some.mean(axis=0) - mean.mean(axis=0)
        between += len(some) * np.outer(gap, gap)
        within += (some - some.mean(axis=0)).T @ (some - some.mean(axis=0))
    ridge = 1e-3 * np.trace(within) / len(within) * np.eye(len(within))
    found: np.ndarray = eigh(between, within + ridge)[1][:, ::-1][:, :2]
    return found


def _signatures(
    means: list[np.ndarray], labels: list[np.ndarray], names: tuple[str, ...], path: Path
) -> None:
    """Mean of every component over the niches of a class, real beside generated."""
    classes = [i for i in range(len(names)) if all(np.any(label == i) for label in labels)]
    tables = [
        np.array([mean[label == i].mean(axis=0) for i in classes]).reshape(len(classes), mean.shape[1])
        for mean, label in zip(means, labels, strict=True)
    ]
    figure = Figure(figsize=(10, 1.2 + 0.3 * max(len(classes), 4)), layout="constrained")
    panels: list[Axes] = list(figure.subplots(1, 2, sharey=True))
    reach = max(float(np.abs(table).max(initial=0.0)) for table in tables) or 1.0
    for ax, table, title in zip(panels, tables, ("real, held out", "generated"), strict=True):
        image = ax.imshow(
            table if classes else np.zeros((1, table.shape[1])),
            cmap="RdBu_r",
            vmin=-reach,
            vmax=reach,
            aspect="auto",
        )
        ax.set_title(title, fontsize="medium")
        ax.set_xlabel("principal component of the expression")
        ax.set_yticks(range(len(classes)), [names[i] for i in classes], fontsize="small")
    figure.colorbar(image, ax=panels, shrink=0.8, label="mean score")
    if len(classes) > 1:
        agreement = np.corrcoef(tables[0].ravel(), tables[1].ravel())[0, 1]
        figure.suptitle(f"expression signatures by class, correlation {agreement:.3f}", fontsize="medium")
    save_figure(figure, path)
