"""
E3, E4: a stray minus runs away, a stray 2 arrives without speed
================================================================

The conditional velocity is minus the gradient of half the squared distance over the time that is left
(WFM-21, WFM-23). Lemma B.1 prints twice the gradient, one line of Lemma B.2 a minus too many. With the
factor the distance falls like :math:`(1-t)^2`: right at the end, wrong on the way. With the minus it
grows like :math:`1/(1-t)`.
"""

# %%
# One flow, three readings.

import numpy as np

from refwfm import bures
from refwfm.conditional import conditional_velocity
from refwfm.generation import generate
from refwfm.measures import Gaussian
from refwfm.paper_figures.drawing import GREEN, GREY, RED, panels, show

mu = Gaussian(np.array([[4.0, 0.0]]), np.array([[[1.0, 0.2], [0.2, 0.5]]]))
nu = Gaussian(np.array([[0.0, 0.0]]), np.array([[[0.6, -0.3], [-0.3, 1.2]]]))
n_steps = 400


def distances(factor):
    """Distance to the target along the flow of a multiple of the velocity."""
    path = {}

    def field(here, t):
        v = conditional_velocity(here, nu, t)
        return bures.Tangent(factor * v.mean, factor * v.lift)

    generate(field, mu, n_steps=n_steps, observe=path.__setitem__)
    return np.array([float(bures.sq_distance(path[k], nu)[0]) ** 0.5 for k in range(n_steps)])


# %%
# The last step is left out: the printed minus has no end.

times = np.arange(n_steps) / n_steps
readings = {"meant": (1.0, GREEN, "-"), "E3, twice": (2.0, GREY, "--"), "E4, minus": (-1.0, RED, ":")}
found = {name: distances(factor) for name, (factor, _, _) in readings.items()}
figure, axis = panels(1, width=6.0, height=3.6)
half = n_steps // 2
for name, (_, color, style) in readings.items():
    label = f"{name}: {found[name][half] / found[name][0]:.2f} of the way left at t = ½"
    axis.plot(times, found[name], color=color, ls=style, lw=2, label=label)
axis.set(xlabel="time", ylabel="distance to the target", ylim=(0, 16), xlim=(0, 1))
axis.legend(frameon=False, loc="upper left")
show(figure, "e03_e4_sign_and_factor")

assert np.allclose(found["meant"], found["meant"][0] * (1 - times))
assert abs(found["E3, twice"][half] / found["E3, twice"][0] - 0.25) < 0.01
assert found["E4, minus"][-1] > 20 * found["E4, minus"][0]
