r"""
E11: a field that does not see its measure cannot take two clouds apart
=======================================================================

(16) and (17) print a network of place and time, :math:`f_\theta(x,t)`. Meant is one that sees the
measure, too, :math:`f_\theta(x;\mu_t,t)` (WFM-11). Two clouds that pass through each other are at the
same places at the same time: without the measure the best answer is the mean of both velocities, and its
loss does not vanish.
"""

# %%
# A cloud on its way to the right and one to the left, on the same places at half the time.

import numpy as np

from refwfm.objectives import cloud_loss
from refwfm.paper_figures.drawing import BLUE, GREEN, GREY, RED, bare, panels, show
from refwfm.transport.fields import mean_displacement

rng = np.random.default_rng(0)
n = 300
shape = rng.normal(size=(n, 2)) * [0.4, 0.6]
start = np.stack([shape - [2.0, 0.0], shape + [2.0, 0.0]])
end = np.stack([shape + [2.0, 0.0], shape - [2.0, 0.0]])
weights = np.full((2, n), 1 / n)


def best(x, y, w, t):
    """Best field of place and time, for whatever is pooled in the last but one axis."""
    return mean_displacement(x, y, w, t, radius=0.3)


def losses(t):
    """Loss of the best field that sees which cloud it moves, and of the best that does not."""
    blind = best(start.reshape(-1, 2), end.reshape(-1, 2), weights.ravel() / 2, t).reshape(2, n, 2)
    seeing = best(start, end, weights, t)
    return [float(cloud_loss(field, end - start, weights)[0]) for field in (seeing, blind)]


# %%
# The loss of the best field, by time.

times = np.linspace(0, 1, 41)
curve = np.array([losses(float(t)) for t in times])
figure, axes = panels(2, width=4.0, height=3.0)
for k, color in ((0, BLUE), (1, RED)):
    axes[0].scatter(*start[k].T, s=4, color=color, marker="os"[k])
    axes[0].annotate(
        "",
        end[k].mean(0) + [0, 0.9 - 1.8 * k],
        start[k].mean(0) + [0, 0.9 - 1.8 * k],
        arrowprops={"arrowstyle": "->", "color": "black", "lw": 1.5},
        zorder=5,
    )
bare(axes[0])
axes[0].set_title("two clouds that pass each other", fontsize=10)
axes[1].plot(
    times, curve[:, 0], color=GREEN, lw=2, label=f"sees the measure: at most {curve[:, 0].max():.0f}"
)
axes[1].plot(times, curve[:, 1], color=GREY, lw=2, ls="--", label=f"does not: up to {curve[:, 1].max():.0f}")
axes[1].set(xlabel="time", ylabel="least loss", ylim=(-0.5, 23))
axes[1].legend(frameon=False, loc="upper right")
show(figure, "e11_blind")

assert curve[:, 0].max() < 1e-9
assert curve[20, 1] > 10
