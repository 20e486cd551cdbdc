"""Networks as pure functions that return their value and their pullback; start with ``layers``."""

from refwfm.networks.attention import attention, init_multi_head_attention, multi_head_attention
from refwfm.networks.bures_mlp import bures_mlp, identity_scaling, init_bures_mlp, input_features
from refwfm.networks.conditioning import feature_embedding, guidance, unlabelled
from refwfm.networks.features import (
    grid_frequencies,
    init_frequencies,
    init_space,
    space_features,
    with_features,
)
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
from refwfm.networks.point_mlp import init_point_mlp, nearest_neighbours, point_mlp, surroundings
from refwfm.networks.transformer import (
    feed_forward,
    init_transformer,
    transformer,
    transformer_block,
)

__all__ = [
    "Params",
    "Pullback",
    "attention",
    "block",
    "bures_mlp",
    "check_labels",
    "dense",
    "feature_embedding",
    "feed_forward",
    "fourier_features",
    "grid_frequencies",
    "guidance",
    "identity_scaling",
    "init_bures_mlp",
    "init_dense",
    "init_frequencies",
    "init_label_embedding",
    "init_layer_norm",
    "init_mlp",
    "init_multi_head_attention",
    "init_point_mlp",
    "init_space",
    "init_transformer",
    "input_features",
    "label_embedding",
    "layer_norm",
    "mlp",
    "multi_head_attention",
    "nearest_neighbours",
    "point_mlp",
    "relu",
    "residual",
    "silu",
    "space_features",
    "surroundings",
    "transformer",
    "transformer_block",
    "unlabelled",
    "unvech",
    "vech",
    "with_features",
]
