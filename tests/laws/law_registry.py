"""All records, and the functions that no law is about."""

# Records are entered as these are imported.
import law_of_clouds  # noqa: F401
import law_of_families  # noqa: F401
import law_of_floors  # noqa: F401
import law_of_gaussians  # noqa: F401
import law_of_meta  # noqa: F401
import law_of_networks  # noqa: F401
import law_of_oracles  # noqa: F401
import law_of_plans  # noqa: F401
import law_of_populations  # noqa: F401
import law_of_potentials  # noqa: F401
import law_of_slices  # noqa: F401
import law_of_streaming  # noqa: F401
import law_of_training  # noqa: F401
from law_record import REGISTRY

__all__ = ["LAWLESS", "REGISTRY"]

LAWLESS = {
    "networks._order.in_order": "an order of names, not of numbers",
    "_derivatives.with_pullback": "a device of differentiation: the value is its argument's",
    "_derivatives.without_derivative": "a device of differentiation: the value is its argument's",
    "_derivatives.refuse_gradient": "refuses, or does nothing",
    "_derivatives.detached": "a device of differentiation: the value is its argument's",
    "_derivatives.is_differentiated": "a question about an array that its numbers do not answer",
    "_derivatives.is_known": "a question about where an array is, that its numbers do not answer",
    "_derivatives.is_traced": "a question about an array that its numbers do not answer",
    "bures_metric.rows_per_block": "how much memory to take, which has no effect on results",
    "generation.time_steps": "constants",
    **dict.fromkeys(
        (
            "interop.to_pot",
            "interop.from_pot",
            "interop.to_ott",
            "interop.from_ott",
            "interop.to_geomloss",
            "interop.from_geomloss",
            "interop.entropy_value",
        ),
        "a change of convention with eps: the libraries themselves and the way back hold it (test_interop)",
    ),
    "clouds.grid_spacing": "what the laws draw lies on no grid: WFM-GRID and test_clouds hold it",
    "couplings.members.lift": "vectors for a matrix product: laws of couplings.members.lifted_costs hold it",
    "couplings.members.vectors_of": "clouds in an order as vectors: laws of sliced, lazy distances hold them",
    "transport.semidiscrete.fit_semidiscrete": "reads a law to draw from, which is a function",
    "meta.icnn.n_parameters": "a count of parameters",
    "meta.monge.negative_kernels": "a norm of parameters, which have no order, no unit and no origin",
    "meta.picnn.identity_quadratic": "constants",
    "networks.bures_mlp.identity_scaling": "constants",
    "networks.features.grid_frequencies": "one over each number of a sequence",
    "networks.features.without_gradient": "constants",
    "populations.pairs.indicators": "constants",
    "training.muon.is_hidden": "a question about a name and a number of axes",
    "transport.grids.unit_grid": "constants",
    "transport.point_problem.cut": "where blocks begin, which has no effect on results",
    "transport.point_problem.block_side": "how much to take at once, which has no effect on results",
    "transport.point_problem.live": "a question about weights: laws of padding hold what is made of it",
    "transport.programme.blocks": "how much to take at once, which has no effect on results",
    "transport.programme.mean_cost": "a mean on the host; laws of exact.sq_wasserstein2 and emd.emd hold it",
    "transport._parallel.each": "one call after the other, or several at once: the values of its argument",
    "transport._parallel.members": "the same numbers with other axes",
    "sources.clouds.sample_standard_normal": "draws from nothing but a generator: there are no data",
    "sources.clouds.sample_uniform": "draws from nothing but a generator: there are no data",
}
"""Public functions of the mathematics that no law has anything to say about, and why."""
