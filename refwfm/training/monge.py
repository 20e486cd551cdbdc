"""Fitting conditional Monge maps: one pair of partially input-convex networks for all conditions.

References
----------
Bunne, Krause and Cuturi, "Supervised training of conditional Monge maps", 2022.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from refwfm._array import Array, check_floating, check_integer
from refwfm.meta.monge import clamp_kernels, map_loss_and_grad, potential_loss_and_grad
from refwfm.meta.picnn import Quadratic, check_picnn
from refwfm.networks.layers import Params
from refwfm.training.optim import AdamState, adam, init_adam
from refwfm.training.w2gn import sample

if TYPE_CHECKING:
    from numpy.random import Generator


class Game(NamedTuple):
    """Both networks of a conditional Monge map, and what Adam remembers of each.

    Attributes
    ----------
    g, f : dict
        Parameters of the map's network and of the dual potential, as ``meta.picnn.init_picnn`` returns them.
    g_adam, f_adam : AdamState
    """

    g: Params
    f: Params
    g_adam: AdamState
    f_adam: AdamState


def init_game(g: Params, f: Params, /) -> Game:
    """A game before its first step; f is made convex."""
    f = clamp_kernels(f)
    return Game(g, f, init_adam(g), init_adam(f))


def fit(
    game: Game,
    x: Array,
    y: Array,
    c: Array,
    /,
    *,
    rng: "Generator",
    n_steps: int,
    inner: int = 10,
    batch_size: int = 256,
    learning_rate: float = 1e-4,
    b1: float = 0.5,
    b2: float = 0.9,
    penalty: float = 1.0,
    g_start: Quadratic | None = None,
    f_start: Quadratic | None = None,
    report: Callable[[int, Game], None] | None = None,
) -> Game:
    """Play the game of a conditional Monge map: ``inner`` steps of g for each of f, all conditions at once.

    Equation: META-OT-16. Adam on batches of points that are drawn with replacement; after each of its steps
    the kernels of f are clamped, so that it stays convex.

    Parameters
    ----------
    game : Game
    x, y : array, shape (C, n, d) and (C, m, d)
        All points of source and target under each of C conditions, of equal weight.
    c : array, shape (C, k)
    rng : numpy.random.Generator
        Draws the batches.
    n_steps : int
        Steps of f.
    penalty : float
        On negative kernels of g.
    g_start, f_start : Quadratic, optional
        What the networks are added to: the identity when left out.
    report : callable, optional
        ``report(step, game)`` after each step of f.

    Returns
    -------
    Game

    Raises
    ------
    TypeError, ValueError
        If the arrays do not fit the networks, or each other.
    """
    check_floating(x=x, y=y, c=c)
    check_picnn(game.g, x, c)
    check_picnn(game.f, y, c)
    n_steps, inner = check_integer(n_steps, "n_steps", low=0), check_integer(inner, "inner", low=1)
    g, f, g_adam, f_adam = game
    rates = {"learning_rate": learning_rate, "b1": b1, "b2": b2}
    starts = {"g_start": g_start, "f_start": f_start}
    for step in range(n_steps):
        for _ in range(inner):
            some = sample(x, batch_size, rng=rng)
            _, grads = map_loss_and_grad(g, f, some, c, penalty=penalty, **starts)
            g, g_adam = adam(g, grads, g_adam, **rates)
        some, others = (sample(points, batch_size, rng=rng) for points in (x, y))
        _, grads = potential_loss_and_grad(g, f, some, others, c, **starts)
        f, f_adam = adam(f, grads, f_adam, **rates)
        f = clamp_kernels(f)
        if report is not None:
            report(step + 1, Game(g, f, g_adam, f_adam))
    return Game(g, f, g_adam, f_adam)
