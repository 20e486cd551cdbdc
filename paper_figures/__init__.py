"""Figures and tables of the papers, one module each; ``refwfm reproduce NAME`` runs them.

A module has ``TITLE``, ``KIND`` and, for pictures, ``draw(outcomes, folder)``. Its kind says what else:

``gaussians``
    ``FAMILIES``, on which the three methods are compared; ``scale_of(family, scale)`` where the families are
    not all trained alike.
``clouds``
    ``variants(scale)``: family -> variant -> scale; ``SOURCES`` for flows that start from a family;
    ``PAPER``: its values.
``couplings``
    The same, and ``SHAPE``: what the text of the second paper says.
``few-steps``
    ``SCALES``; ``GAUSSIANS``, families; ``FAMILY`` of clouds and its ``COUPLINGS``.
``meta-ot``
    ``scale(name)``: what is trained and measured; ``PAPER``: its seconds for each start.
``colours``
    ``STARTS`` of the hypernetwork, and ``PAPER``.
``conditional``
    ``tasks(scale, steps, seeds, backend)``.
``oracles``
    ``SCALES``, ``ROWS`` and ``REFERENCE``; nothing is trained.
``populations``
    ``SCALES``, ``PARTS`` and ``METRICS`` of the tables, ``DATA`` that can be asked for, ``SLIDES`` with the
    authors' numbers; ``claims(outcomes)``: what should hold, and whether it does.
``ablation``
    ``FAMILIES``, ``SCALES``, and ``WITHOUT``: the options that leave out each part of a preset.
``times``
    ``measure(scale, backend) -> rows`` and ``SHAPE``; nothing is trained.
"""

FIGURES = {
    "table-2": "refwfm.paper_figures.table_2",
    "figure-2": "refwfm.paper_figures.figure_2",
    "figure-s1": "refwfm.paper_figures.figure_s1",
    "figure-s4": "refwfm.paper_figures.figure_s4",
    "table-3": "refwfm.paper_figures.table_3",
    "table-4": "refwfm.paper_figures.table_4",
    "figure-3": "refwfm.paper_figures.figure_3",
    "figure-4": "refwfm.paper_figures.figure_4",
    "figure-5": "refwfm.paper_figures.figure_5",
    "figure-s5": "refwfm.paper_figures.figure_s5",
    "gwfm-figure-1": "refwfm.paper_figures.gwfm.figure_1",
    "gwfm-figure-3": "refwfm.paper_figures.gwfm.table_3",
    "gwfm-figure-4": "refwfm.paper_figures.gwfm.figure_4",
    "gwfm-figure-5": "refwfm.paper_figures.gwfm.figure_5",
    "gwfm-figure-6": "refwfm.paper_figures.gwfm.figure_6",
    "gwfm-table-1": "refwfm.paper_figures.gwfm.table_1",
    "gwfm-table-2": "refwfm.paper_figures.gwfm.table_2",
    "gwfm-table-3": "refwfm.paper_figures.gwfm.table_3",
    "gwfm-table-4": "refwfm.paper_figures.gwfm.table_4",
    "gwfm-table-5": "refwfm.paper_figures.gwfm.table_5",
    "few-steps": "refwfm.paper_figures.few_steps",
    "meta-ot-mnist": "refwfm.paper_figures.meta.mnist",
    "meta-ot-sphere": "refwfm.paper_figures.meta.sphere",
    "meta-ot-color": "refwfm.paper_figures.meta.colour",
    "meta-ot-conditional": "refwfm.paper_figures.meta.conditional",
    "meta-fm-oracles": "refwfm.paper_figures.meta_fm.oracles",
    "meta-fm-letters": "refwfm.paper_figures.meta_fm.letters",
    "meta-fm-organoid": "refwfm.paper_figures.meta_fm.organoid",
    "ablation": "refwfm.paper_figures.ablation",
}
