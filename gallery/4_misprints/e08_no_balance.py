r"""
E8: with the printed exponent nothing is balanced
=================================================

The temperature of an entropic map is chosen where its variance and its squared bias are equal (WFM-14).
With the printed :math:`\varepsilon^{-d/2-1}` they are not, at the temperature that the same page prints:
the variance would be of a lower order. With :math:`\varepsilon^{-d/2}` both fall as
:math:`n^{-2/(d+4)}`.
"""

# %%
# Both terms at the schedule's temperature, without the logarithm that they share, in two dimensions.

import numpy as np

from refwfm.paper_figures.drawing import BLUE, GREEN, RED, panels, show
from refwfm.transport.entropic import epsilon_schedule

d = 2
counts = np.geomspace(1e2, 1e6, 9)
eps = np.array([epsilon_schedule(int(n), d) for n in counts])
terms = {
    "variance, printed": counts**-0.5 * eps ** (-d / 2 - 1),
    "variance, meant": counts**-0.5 * eps ** (-d / 2),
    "squared bias": eps**2,
}
slopes = {name: float(np.polyfit(np.log(counts), np.log(values), 1)[0]) for name, values in terms.items()}

# %%
# The slopes are the exponents of n.

figure, axis = panels(1, width=6.0, height=3.6)
styles = (
    {"color": RED, "marker": "s"},
    {"color": GREEN, "marker": "o"},
    {"color": BLUE, "lw": 7, "alpha": 0.4},
)
for (name, values), style in zip(terms.items(), styles, strict=True):
    axis.loglog(counts, values, label=f"{name}: exponent {slopes[name]:.2f}", **style)
axis.set(xlabel="points", ylabel="term of the error bound")
axis.legend(frameon=False)
show(figure, "e08_no_balance")

assert abs(slopes["variance, meant"] - slopes["squared bias"]) < 1e-3
assert slopes["variance, printed"] > slopes["squared bias"] + 0.1
