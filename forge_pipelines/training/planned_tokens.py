"""How much a training that is planned will read: of its shards, or of its corpora where the shards were never made."""

from dataclasses import dataclass

from forge_pipelines.manifest import Manifest
from forge_pipelines.shards.config import ShardsConfig
from forge_pipelines.store import Store
from forge_pipelines.training.config import TrainingConfig

_TOLD_APART_BY = ("corpora", "tokenizer", "sequence_length")
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


def shards_made(name: str, config: ShardsConfig, store: Store) -> Manifest | None:
    """Return the model's shards, where they are of these corpora, this vocabulary and this length of sequences."""
    if not store.pointers([f"{name}/tokenized_shards"]):
        return None
    made, wanted = store.latest(name, "tokenized_shards"), config.model_dump(mode="json")
    # Shards that have a base's tokenizer name none.
    is_same = all(made.parameters.get(key, wanted[key]) == wanted[key] for key in _TOLD_APART_BY)
    return made if is_same else None


def planned_tokens(recipe: TrainingConfig, config: ShardsConfig, made: Manifest | None, store: Store) -> Tokens:
    """Return what a recipe reads; ``made`` are the shards, if they exist."""
    if made:
        sequences, source = int(made.counts["sequences"]), "as its shards have them"
    else:
        sequences, source = _guess_sequences(config, store)
    return Tokens(recipe.steps, recipe.batch_sequences, config.sequence_length, sequences or None, source)


def _guess_sequences(config: ShardsConfig, store: Store) -> tuple[int, str]:
    """Guess how many sequences the corpora's training documents give."""
    stages = [f"{share.corpus}/validated_corpus" for share in config.corpora]
    missing = sorted(set(stages) - set(store.pointers(stages)))
    if missing:
        return 0, f"{missing[0]} was never made, so nobody knows how many sequences there are"
    characters = 0.0
    for share in config.corpora:
        counts = store.latest(share.corpus, "validated_corpus").counts
        characters += counts["characters"] * counts["train"] / max(1, counts["train"] + counts["heldout"])
    sequences = int(characters / _CHARACTERS_A_TOKEN / config.sequence_length)
    return sequences, f"guessed at {_CHARACTERS_A_TOKEN} characters a token: its shards were never made"
