"""What one rank keeps in memory, by part: a formula, held against real ranks by its tests.

The states. With N parameters, W ranks and p bytes a number (4 in fp32, 2 in bf16), DeepSpeed 0.19 keeps

    weights          p·N,  over W from ZeRO stage 3 on
    gradients        p·N,  over W from stage 2 on
    AdamW's moments  8·N,  over W from stage 1 on
    master weights   4·N,  over W from stage 1 on; in fp32, too, but not at stage 0
    gathered         p·min(N, 1e9) at stage 3 alone: weights that other ranks keep (``stage3_max_live_parameters``)

(Rajbhandari et al., 2020, «ZeRO», section 3, and what DeepSpeed's optimizers add to it), and besides, the larger of
what passes while gradients are computed and of what passes while the optimizer takes them:

    activations, logits, and buckets of p·min(N, 5e8), where gradients wait for other ranks (``reduce_bucket_size``)
    the update       the gradients in one piece, and that in fp32: 4·N, in bf16 6·N, over W from stage 1 on

The activations: what autograd saves between forward and backward, counted as Korthikanti et al. (2022, «Reducing
Activation Recomputation in Large Transformer Models», section 4) count it, for the networks of today: bytes a token and
layer, with the names of `NetworkShape`,

    attention    p·4·queries (queries, keys and values of every head, result), and p·T for the mask that keeps it
                 within a packed document: SDPA keeps no T×T matrix a head, but this one a layer
    MLP          p·4·mlp where it is gated, p·2·mlp else; of experts, those that a token goes to, with input and output
    norms        2·(4 + 2·p)·hidden: an RMSNorm saves its input in fp32, and its result before and after its weight

and one layer more than there are, for the gradients on their way through a layer. The loss holds the logits three times
in fp32: probabilities, their gradient and that of the logits. Nothing is recomputed.
"""

from pydantic import Field

from forge_pipelines.manifest import Value
from forge_pipelines.training.recipe import Recipe
from forge_pipelines.training.sizing import NetworkShape

_BUCKET, _LIVE = 500_000_000, 1_000_000_000
_CUDA_BYTES = 800_000_000
_CPU_BYTES = 650_000_000
_RESERVED = 0.1
_LOGITS_BYTES = 12
_HIGHEST_STAGE = 3


class Layout(Value):
    """All of a recipe that its memory depends on.

    Attributes:
        number_bytes: p: 4 in fp32, 2 in bf16.
        ranks: W.
        micro_batch: B, the sequences that a rank works on at once.
        sequence_length: T, in tokens.
    """

    number_bytes: int
    zero_stage: int = Field(ge=0, le=3)
    ranks: int = Field(gt=0)
    micro_batch: int = Field(gt=0)
    sequence_length: int = Field(gt=0)

    @property
    def tokens(self) -> int:
        """Tokens that a rank works on at once."""
        return self.micro_batch * self.sequence_length

    def ranks_from(self, stage: int) -> int:
        """Return over how many ranks something is divided that ZeRO divides from a stage on."""
        return self.ranks if self.zero_stage >= stage else 1


class Memory(Value):
    """Bytes of one rank, by part.

    Attributes:
        optimizer: AdamW's moments and the fp32 master weights.
        gathered: weights of other ranks, at ZeRO stage 3.
        buckets: where gradients wait for other ranks.
        update: the gradients as the optimizer takes them; activations, logits and buckets are gone by then.
        runtime: CUDA's context and libraries, or PyTorch and DeepSpeed themselves on a CPU.
    """

    weights: int
    gradients: int
    optimizer: int
    gathered: int
    activations: int
    logits: int
    buckets: int
    update: int
    runtime: int

    @property
    def parts(self) -> dict[str, int]:
        """The parts that are there at the fullest moment, by name, in order, and a reserve of a tenth of them.

        The reserve is for what the allocator holds and cannot use.
        """
        there = self.model_dump()
        is_fullest_at_update = self.update > self.activations + self.logits + self.buckets
        gone = {"activations", "logits", "buckets"} if is_fullest_at_update else {"update"}
        there = {part: num_bytes for part, num_bytes in there.items() if num_bytes and part not in gone}
        return {**there, "reserve": int(_RESERVED * (sum(there.values()) - self.runtime))}

    @property
    def total(self) -> int:
        """All of `parts` together."""
        return sum(self.parts.values())


def layout_of(recipe: Recipe, sequence_length: int) -> Layout:
    """Return the layout of a recipe whose precision is settled."""
    of_a_rank = recipe.batch_sequences // recipe.ranks
    return Layout(
        number_bytes=2 if recipe.precision == "bf16" else 4,
        zero_stage=recipe.zero_stage,
        ranks=recipe.ranks,
        micro_batch=recipe.micro_batch_sequences or of_a_rank,
        sequence_length=sequence_length,
    )


def memory_of(shape: NetworkShape, layout: Layout, *, on_gpu: bool) -> Memory:
    """Return what one rank keeps, by part, in bytes; the formula is the module's."""
    number, parameters = layout.number_bytes, shape.parameters
    of_optimizer = parameters // layout.ranks_from(1)
    has_master = layout.zero_stage >= 1 or number == 2
    has_buckets = layout.zero_stage >= 1 or layout.ranks > 1
    update = 4 * of_optimizer if number == 4 else 6 * of_optimizer
    return Memory(
        weights=number * parameters // layout.ranks_from(3),
        gradients=number * parameters // layout.ranks_from(2),
        optimizer=(12 if has_master else 8) * of_optimizer,
        gathered=number * min(parameters, _LIVE) if layout.zero_stage == 3 else 0,
        activations=(shape.layers + 1) * activation_bytes(shape, layout) * layout.tokens,
        logits=_LOGITS_BYTES * shape.vocabulary * layout.tokens,
        buckets=number * min(parameters, _BUCKET) if has_buckets else 0,
        update=update if has_master else 0,
        runtime=_CUDA_BYTES if on_gpu else _CPU_BYTES,
    )


def remedy(recipe: Recipe) -> str:
    """Say what of a recipe takes less memory when it is changed, the least change first."""
    micro = recipe.micro_batch_sequences or recipe.batch_sequences // recipe.ranks
    smaller = next((size for size in range(micro // 2, 0, -1) if micro % size == 0), None)
    changes = [f"lower training.micro_batch_sequences from {micro} to {smaller}"] if smaller else []
    if not recipe.gradient_checkpointing:
        changes.append("set training.gradient_checkpointing: true")
    if recipe.ranks > 1 and recipe.zero_stage < _HIGHEST_STAGE:
        changes.append(f"raise training.zero_stage from {recipe.zero_stage} to {recipe.zero_stage + 1}")
    if recipe.lora is None and recipe.architecture is None:
        changes.append("train an adapter alone (training.lora)")
    if not changes:
        changes = ["shorten the sequences (shards.sequence_length)", "use a machine with more memory"]
    return f"{', or '.join(changes)}, and run the same command again"


def activation_bytes(shape: NetworkShape, layout: Layout) -> int:
    """Return what autograd saves of one layer, in bytes a token."""
    number, hidden = layout.number_bytes, shape.hidden
    attention = number * (4 * shape.queries + layout.sequence_length)
    match shape.model_type:
        case "gpt_neox":  # its LayerNorms save no fp32, its values stand in the product with queries and keys
            return attention + number * (2 * shape.mlp + 6 * hidden)
        case "olmo2":  # its norms come after attention and MLP, and multiply in fp32
            norms = (16 + 2 * number) * hidden + 8 * (shape.queries + shape.keys)
        case "qwen3":  # it has norms of queries and keys, too
            norms = 2 * (4 + 2 * number) * hidden + (4 + number) * (shape.queries + shape.keys)
        case _:
            norms = 2 * (4 + 2 * number) * hidden
    mlp = number * 4 * shape.mlp
    if shape.experts:
        mlp = shape.experts * (mlp + number * 2 * hidden)
    return attention + norms + mlp
