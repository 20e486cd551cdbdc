"""Figures and tables of the papers, one module each; ``refwfm reproduce NAME`` runs them.

A module has ``TITLE``, ``FAMILIES`` (what to train on) and, for pictures, ``draw(outcomes, folder)``.
"""

FIGURES = {
    "table-2": "refwfm.paper_figures.table_2",
    "figure-2": "refwfm.paper_figures.figure_2",
    "figure-s1": "refwfm.paper_figures.figure_s1",
    "figure-s4": "refwfm.paper_figures.figure_s4",
}
