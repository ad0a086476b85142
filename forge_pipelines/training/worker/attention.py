"""Attention on GPUs that works out no block between two documents of a packed sequence: FlexAttention.

SDPA is told by a T×T mask what it must not attend to, and works it out all the same: on an H200, with six documents in
4,096 tokens, forward and backward through a compiled network of 1.2 billion parameters took 929 ms with it, and 428 ms
without. See Dong et al., 2024, «Flex Attention».
"""

from transformers import PreTrainedModel

_NARROWEST, _WIDEST = 16, 128
"""Of heads: it takes no narrower ones, and wider ones need more shared memory than some GPUs have."""


def has_blocks(network: PreTrainedModel) -> bool:
    """Tell whether attention of a network can be worked out block by block."""
    config = network.config
    drops = getattr(config, "attention_dropout", 0) > 0
    return network._supports_flex_attn and not drops and _NARROWEST <= head_width(network) <= _WIDEST


def head_width(network: PreTrainedModel) -> int:
    """Return the width of one head of attention."""
    config = network.config
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def attend_in_blocks(network: PreTrainedModel) -> None:
    """Have attention worked out block by block, where it can be; it is called as before."""
    if has_blocks(network):
        network.set_attn_implementation("flex_attention")
