"""What a model's YAML may say under `shards:`."""

from fractions import Fraction
from math import gcd
from typing import Literal, Self

from pydantic import Field, model_validator

from forge_pipelines.manifest import Name, Value

Examples = Literal["texts", "chats", "preferences"]
"""What a model learns from: texts, the answers of chats, or pairs of a better and a worse answer."""

_FINEST_SHARE = 1_000


class CorpusShare(Value):
    """One corpus of a model."""

    corpus: Name = Field(description="Name of the corpus.")
    weight: int = Field(1, gt=0, description="How many sequences are drawn of it, relative to the other corpora.")


class ReplayConfig(Value):
    """A corpus of general text that is read along with the others, so that the model does not forget."""

    corpus: Name = Field(
        description="Name of the corpus. It holds what the others hold: chats where the model learns from chats, and "
        "pairs of answers where it learns from them."
    )
    share: float = Field(
        0.05,
        ge=1 / _FINEST_SHARE,
        le=0.5,
        description="Share of all samples that is drawn of it, whatever the weights of the others.",
    )


class TokenizerConfig(Value):
    """A byte-level BPE tokenizer, trained on the corpora's training documents."""

    vocabulary_size: int = Field(8192, ge=300, description="Number of tokens, special tokens included.")


class ShardsConfig(Value):
    """How documents become fixed-length sequences of token ids."""

    corpora: tuple[CorpusShare, ...] = Field(min_length=1, description="The corpora, with their weights.")
    replay: ReplayConfig | None = Field(
        None, description="General text that is read along with the corpora. Default: none is."
    )
    tokenizer: TokenizerConfig = Field(
        default_factory=TokenizerConfig, description="The tokenizer to train; with a base, its own is used."
    )
    sequence_length: int = Field(
        512,
        ge=16,
        description="Tokens a sequence. A longer text goes on in the next; a longer chat or pair is rejected.",
    )
    optional_sources: tuple[Name, ...] = Field(
        (), description="Sources that may contribute no trainable token; any other that does so fails the build."
    )

    @model_validator(mode="after")
    def _replays_another(self) -> Self:
        if self.replay and self.replay.corpus in {share.corpus for share in self.corpora}:
            message = f"replay names {self.replay.corpus}, which stands among the corpora; give it a weight there"
            raise ValueError(f"{message}, or replay another")
        return self

    @property
    def shares(self) -> tuple[CorpusShare, ...]:
        """All corpora that are read, with their weights: those of `corpora`, then that of `replay`.

        Weights are whole numbers. Where p of q samples are replayed (the nearest such fraction whose q is at most
        1,000) and the others weigh w, together W, they weigh w·(q − p), and what is replayed weighs W·p.
        """
        if self.replay is None:
            return self.corpora
        share = Fraction(self.replay.share).limit_denominator(_FINEST_SHARE)
        others = share.denominator - share.numerator
        weights = [*(each.weight * others for each in self.corpora), self._total_weight * share.numerator]
        names = [*(each.corpus for each in self.corpora), self.replay.corpus]
        return tuple(
            CorpusShare(corpus=name, weight=weight // gcd(*weights))
            for name, weight in zip(names, weights, strict=True)
        )

    @property
    def _total_weight(self) -> int:
        return sum(share.weight for share in self.corpora)
