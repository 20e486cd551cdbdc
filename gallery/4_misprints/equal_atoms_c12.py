"""
C12: a reference with two equal atoms has no stable alignment
=============================================================

Proposition 3.1 gives every reference of n atoms a radius within which its alignment stays optimal
(GWFM-37). It must say n *distinct* atoms: as two of them approach each other the radius falls to zero
with their distance, since exchanging their partners costs less and less.
"""

# %%
# Two of five atoms at a falling distance; the radius is exact, by enumeration of the permutations.

import numpy as np

from refwfm.clouds import uniform
from refwfm.paper_figures.drawing import GREEN, RED, panels, show
from refwfm.transport.stability import stability_radius

rng = np.random.default_rng(2)
cloud = uniform(rng.normal(size=(5, 2)))
others = 2 * rng.normal(size=(4, 2))
gaps = np.geomspace(1e-3, 1.0, 13)
radii = np.array(
    [float(stability_radius(np.concatenate([others, others[:1] + [gap, 0.0]]), cloud)) for gap in gaps]
)
equal = float(stability_radius(np.concatenate([others, others[:1]]), cloud))

# %%
# The radius never exceeds the distance over the root of 2: there both atoms could meet.

figure, axis = panels(1, width=6.0, height=3.4)
axis.loglog(gaps, radii, color=GREEN, marker="o", ms=5, label=f"radius; of equal atoms {equal:.0f}")
axis.loglog(gaps, gaps / 2**0.5, color=RED, ls="--", label="distance / √2")
axis.set(xlabel="distance of two atoms of the reference", ylabel="radius of stability")
axis.legend(frameon=False)
show(figure, "equal_atoms_c12")

assert equal == 0
assert np.all(radii <= gaps / 2**0.5 + 1e-12)
