"""What a model's YAML may say under `shards:`."""

from typing import Literal

from pydantic import Field

from forge_pipelines.manifest import Name, Value

Examples = Literal["texts", "chats", "preferences"]
"""What a model learns from: texts, the answers of chats, or pairs of a better and a worse answer."""


class CorpusShare(Value):
    """One corpus of a model."""

    corpus: Name = Field(description="Name of the corpus.")
    weight: int = Field(1, gt=0, description="How many sequences are drawn of it, relative to the other corpora.")


class TokenizerConfig(Value):
    """A byte-level BPE tokenizer, trained on the corpora's training documents."""

    vocabulary_size: int = Field(8192, ge=300, description="Number of tokens, special tokens included.")


class ShardsConfig(Value):
    """How documents become fixed-length sequences of token ids."""

    corpora: tuple[CorpusShare, ...] = Field(min_length=1, description="The corpora, with their weights.")
    tokenizer: TokenizerConfig = Field(
        default_factory=TokenizerConfig, description="The tokenizer to train; with a base, its own is used."
    )
    sequence_length: int = Field(512, ge=16, description="Tokens a sequence.")
    optional_sources: tuple[Name, ...] = Field(
        (), description="Sources that may contribute no trainable token; any other that does so fails the build."
    )
