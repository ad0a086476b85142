"""What is said where a step's loss is a fault: which samples and documents it was on, and what to do."""

import numpy as np

from forge_pipelines.manifest import Manifest
from forge_pipelines.shards.order import sequences_of
from forge_pipelines.shards.reading import documents_in, open_shards
from forge_pipelines.store import Store
from forge_pipelines.training.recipe import Recipe

REMEDY = (
    "lower training.learning_rate or training.max_gradient_norm, raise training.warmup_steps, look at these documents, "
    "or let such batches be skipped (training.skip_batches)"
)
_SHOWN_DIGITS, _MOST_NAMED = 12, 10


def samples_named(batch: int, recipe: Recipe, shards: Manifest, store: Store) -> str:
    """Name the samples of a batch, and the documents that stand in them.

    Raises:
        DataError: the shards are damaged.
    """
    folder, size = store.open(shards), recipe.batch_sequences
    samples = np.arange(batch * size, (batch + 1) * size)
    sequences = sequences_of(open_shards(folder).order(recipe.seed), samples)
    names = [each["doc_id"][:_SHOWN_DIGITS] for each in documents_in(folder, sequences)]
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f"samples {samples[0]} to {samples[-1]}, of documents {', '.join(names[:_MOST_NAMED])}{more}"
