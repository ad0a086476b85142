"""How much a training that is planned will read: of its shards, or of its corpora where the shards were never made."""

from dataclasses import dataclass

from forge_pipelines.manifest import Manifest
from forge_pipelines.shards.config import Examples, ShardsConfig
from forge_pipelines.store import Store

_TOLD_APART_BY = ("corpora", "replay", "tokenizer", "sequence_length", "examples")
_CHARACTERS_A_TOKEN = 4
"""The usual figure for English in a vocabulary of tens of thousands of tokens; in a smaller one there are fewer."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """What is trained on.

    Attributes:
        steps: optimizer steps.
        batch_sequences: sequences a step.
        sequence_length: tokens a sequence.
        sequences: how many there are; None where neither shards nor corpora exist.
        source: how that is known, in words.
    """

    steps: int
    batch_sequences: int
    sequence_length: int
    sequences: int | None
    source: str

    @property
    def total(self) -> int:
        """Tokens of the whole training, padding included."""
        return self.steps * self.batch_sequences * self.sequence_length

    @property
    def epochs(self) -> float | None:
        """How often each sequence is read; None where nobody knows how many there are."""
        return self.steps * self.batch_sequences / self.sequences if self.sequences else None


def shards_made(name: str, config: ShardsConfig, examples: Examples, store: Store) -> Manifest | None:
    """Return the model's shards, where they are of these examples, corpora, vocabulary and length of sequences."""
    if not store.pointers([f"{name}/tokenized_shards"]):
        return None
    made = store.latest(name, "tokenized_shards")
    wanted = {**config.model_dump(mode="json"), "examples": examples}
    # Shards that have a base's tokenizer name none.
    is_same = all(made.parameters.get(key, wanted[key]) == wanted[key] for key in _TOLD_APART_BY)
    return made if is_same else None


def known_sequences(
    config: ShardsConfig, examples: Examples, made: Manifest | None, store: Store
) -> tuple[int | None, str]:
    """Return how many sequences there are and how that is known; ``made`` are the shards, if they exist."""
    if made:
        return int(made.counts["sequences"]), "as its shards have them"
    return _guess_sequences(config, examples, store)


def _guess_sequences(config: ShardsConfig, examples: Examples, store: Store) -> tuple[int | None, str]:
    """Guess how many sequences the corpora's training documents give."""
    stages = [f"{share.corpus}/validated_corpus" for share in config.shares]
    missing = sorted(set(stages) - set(store.pointers(stages)))
    if missing:
        return None, f"{missing[0]} was never made, so nobody knows how many sequences there are"
    corpora = [store.latest(share.corpus, "validated_corpus").counts for share in config.shares]
    if examples == "preferences":
        return sum(counts["train"] for counts in corpora), "if each document is a pair: its shards were never made"
    characters = 0.0
    for counts in corpora:
        characters += counts["characters"] * counts["train"] / max(1, counts["train"] + counts["heldout"])
    sequences = int(characters / _CHARACTERS_A_TOKEN / config.sequence_length)
    return sequences or None, f"guessed at {_CHARACTERS_A_TOKEN} characters a token: its shards were never made"
