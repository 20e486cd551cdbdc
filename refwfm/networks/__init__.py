"""Networks as pure functions that return their value and their pullback; start with `layers`."""

from refwfm.networks.bures_mlp import bures_mlp, identity_scaling, init_bures_mlp, input_features
from refwfm.networks.layers import (
    Params,
    Pullback,
    check_labels,
    dense,
    fourier_features,
    init_dense,
    init_label_embedding,
    init_layer_norm,
    label_embedding,
    layer_norm,
    relu,
    residual,
    silu,
    unvech,
    vech,
)
from refwfm.networks.mlp import block, init_mlp, mlp

__all__ = [
    "Params",
    "Pullback",
    "block",
    "bures_mlp",
    "check_labels",
    "dense",
    "fourier_features",
    "identity_scaling",
    "init_bures_mlp",
    "init_dense",
    "init_label_embedding",
    "init_layer_norm",
    "init_mlp",
    "input_features",
    "label_embedding",
    "layer_norm",
    "mlp",
    "relu",
    "residual",
    "silu",
    "unvech",
    "vech",
]
