"""
A Gaussian guess is a head start for Sinkhorn, not a better rate
================================================================

Sinkhorn's iteration usually starts at zeros. The optimal map between the Gaussians with the clouds'
moments has a potential in closed form. Starting there changes nothing in the answer and saves the first
iterations, most of those that a plan for training needs. What is left of the error falls at the
iteration's own rate: whoever wants many digits saves nothing, and here even loses.
"""

# %%
# Two clouds of 200 points that differ in place, size and direction, and in more than that.

import numpy as np

from refwfm.clouds import uniform
from refwfm.paper_figures.drawing import GREEN, GREY, panels, show
from refwfm.transport.sinkhorn import sq_euclidean_cost
from refwfm.transport.starts import error_curve, iterations_to, start_potential

rng = np.random.default_rng(0)
n, eps = 200, 0.1
x = rng.normal(size=(n, 2)) @ np.array([[1.0, 0.6], [0.0, 0.4]]) + [2.0, 0.0]
y = rng.normal(size=(n, 2)) @ np.array([[0.4, 0.0], [-0.5, 1.0]]) + 0.3 * rng.choice([-1.0, 1.0], size=(n, 2))
cost, a = sq_euclidean_cost(x, y), np.full(n, 1 / n)
curves = {}
for name in ("zeros", "gaussian"):
    f = start_potential(name, uniform(x), uniform(y))
    curves[name] = error_curve(cost, a, a, eps=eps, n_iter=250, f_init=f)
needed = {name: int(iterations_to(curve, 1e-3)) for name, curve in curves.items()}

# %%
# The error is the L1 distance of the marginals.

figure, axis = panels(1, width=6.0, height=3.4)
for (name, curve), color, style in zip(curves.items(), (GREY, GREEN), ("--", "-"), strict=True):
    axis.semilogy(
        curve, color=color, ls=style, lw=2, label=f"from {name}: {needed[name]} iterations to 0.001"
    )
axis.axhline(1e-3, color="black", lw=0.6, ls=":")
axis.set(xlabel="iterations", ylabel="marginal error")
axis.legend(frameon=False)
show(figure, "sinkhorn_start")

assert 0 < needed["gaussian"] < 0.7 * needed["zeros"]
