"""Going back: training on masked shards goes on where an earlier training had not yet met what is masked in them."""

from collections.abc import Callable, Collection

import numpy as np

from forge_pipelines.errors import ConfigError, DataError
from forge_pipelines.manifest import Manifest, StageRequest
from forge_pipelines.shards.masking import key_unmasked, masked_texts
from forge_pipelines.shards.order import samples_of
from forge_pipelines.shards.reading import CORPORA, DOCUMENTS, SPANS
from forge_pipelines.store import Store
from forge_pipelines.training.batches import batch_of
from forge_pipelines.training.consumption import among, order_of, rows_where
from forge_pipelines.training.kept import kept_in, take_up
from forge_pipelines.training.recipe import Recipe
from forge_pipelines.training.workspace import Workspace

_SHARDS = "shards"
_ASK = "train without rewind_from to begin from the start"


def rewind(
    earlier: Manifest,
    request: StageRequest,
    shards: Manifest,
    recipe: Recipe,
    store: Store,
    workspace: Workspace,
    say: Callable[[str], None],
) -> None:
    """Put the kept checkpoints of an earlier training into the workspace of one whose shards have more masked.

    They are those before the first sample of any document that is masked in the new shards and was not in the old,
    in the order of samples: of batches that were skipped, too, for what they did shaped the training.

    Args:
        earlier: its `trained_checkpoint`.
        request: the new training's.
        shards: the new training's.
        say: told in a sentence what is spared.

    Raises:
        ConfigError: the recipes, the versions, or the numbers of ranks differ.
        DataError: the shards are not those of the earlier training with more of their documents masked, or something
            that is needed is missing or damaged.
    """
    title = f"{earlier.name}/{earlier.kind} {earlier.fingerprint[:12]}"
    before = store.published(shards.name, shards.kind, earlier.inputs[_SHARDS])
    _require_same_recipe(title, earlier, request, recipe.ranks)
    _require_masked(title, before, shards)
    num_batches = batch_of(recipe.steps, earlier.counts["skipped_batches"]) + 1
    texts = masked_texts(shards) - masked_texts(before)
    first = _first_sample(store, shards, texts, recipe.seed, num_batches * recipe.batch_sequences)
    met = "it never read the masked documents" if first is None else f"it met a masked document at sample {first}"
    clean = [kept for kept in kept_in(earlier, store) if first is None or kept.samples[1] <= first]
    if not clean:
        say(f"{title} keeps no checkpoint to go back to ({met}); training begins from the start")
        return
    for kept in clean:
        take_up(earlier, kept, store, workspace.checkpoints, request.key)
    workspace.skip(batch for batch in clean[-1].skipped_batches if batch not in workspace.skipped)
    step = clean[-1].step
    say(f"going back to step {step} of {title} ({met}): {step} of {recipe.steps} steps are spared")


def _first_sample(store: Store, shards: Manifest, texts: Collection[str], seed: int, num_samples: int) -> int | None:
    """Return the first sample that holds tokens of any of some texts, if one does; those of skipped batches count."""
    needed = tuple(entry for entry in shards.files if entry.path in {CORPORA, DOCUMENTS, SPANS})
    folder = store.open(shards.model_copy(update={"files": needed}))
    documents = rows_where(folder / DOCUMENTS, among("text_sha256", texts), ["doc_index", "text_sha256"])
    standing = among("doc_index", [row["doc_index"] for row in documents])
    spans = rows_where(folder / SPANS, standing, ["doc_index", "sequence"])
    sequences = np.array([span["sequence"] for span in spans], dtype=np.int64)
    samples = samples_of(order_of(folder / CORPORA, seed), sequences, num_samples)
    return int(samples[0]) if len(samples) else None


def _require_same_recipe(title: str, earlier: Manifest, request: StageRequest, ranks: int) -> None:
    there, here = earlier.parameters, request.parameters
    other = sorted(name for name in {*there, *here} if there.get(name) != here.get(name))
    bases = [{role: made for role, made in each.inputs.items() if role != _SHARDS} for each in (earlier, request)]
    if bases[0] != bases[1]:
        other.append("base")
    if other:
        raise ConfigError(f"{title} was trained with another recipe ({', '.join(other)}); use the same, or {_ASK}")
    if earlier.code_version != request.code_version:
        versions = f"{earlier.code_version}, and these are {request.code_version}"
        raise ConfigError(f"{title} was trained by other versions ({versions}); install the same, or {_ASK}")
    if not here["deterministic"] and (here["compile"] or earlier.measured["device"] == "cuda"):
        raise ConfigError(f"{title} was trained with deterministic: false, and nothing makes the same again; {_ASK}")
    other_ranks = sorted({*earlier.measured["world_sizes"]} - {ranks})
    if other_ranks:
        had = " and ".join(map(str, other_ranks))
        message = (
            f"{title} was trained by {had} rank(s), and the recipe asks for {ranks}, which adds up in another order"
        )
        raise ConfigError(f"{message}; change training.gpus.count, or {_ASK}")


def _require_masked(title: str, before: Manifest, shards: Manifest) -> None:
    if key_unmasked(before) != key_unmasked(shards) or masked_texts(before) - masked_texts(shards):
        what = f"the shards {shards.fingerprint[:12]} are not those of {title} with more of their documents masked"
        raise DataError(f"{what}; mask them in these, or {_ASK}")
