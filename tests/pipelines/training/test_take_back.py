"""A document is taken back: training goes on without it where it had not yet been met, to the very same weights."""

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import JsonValue

from forge_pipelines.errors import ConfigError, DataError
from forge_pipelines.manifest import Classification, Document, Manifest, Segment, StageRequest
from forge_pipelines.progress import Progress
from forge_pipelines.shards.config import CorpusShare, ShardsConfig, TokenizerConfig
from forge_pipelines.shards.masking import mask
from forge_pipelines.shards.stage import shard
from forge_pipelines.store import Made, Publication, Store
from forge_pipelines.tables import documents_writer
from forge_pipelines.training.checkpoints import Done, checkpoint_folder, latest_complete, read_checkpoint, seal
from forge_pipelines.training.config import TrainingConfig
from forge_pipelines.training.consumption import Consumption
from forge_pipelines.training.kept import KEPT_STEPS, kept_in, publish_kept
from forge_pipelines.training.ranks import TrainingEnvironment
from forge_pipelines.training.recipe import settle
from forge_pipelines.training.rewinding import rewind
from forge_pipelines.training.stage import train, training_request
from forge_pipelines.training.workspace import Workspace

Recipe = Callable[..., TrainingConfig]
TWICE = {
    "steps": 15,
    "batch_sequences": 2,
    "checkpoint_every_steps": 3,
    "keep_every_steps": 3,
    "gpus": {"count": 1},
}
"""One and a half times through the shards, so that some documents are read twice and others once."""

NUM_DOCUMENTS = 30


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def text_of(number: int) -> str:
    return " ".join(f"word{number * step % 89}" for step in range(1, 9))


def document(number: int) -> Document:
    text, nothing = text_of(number), None
    return Document(
        doc_id=sha256(f"letters{text}"),
        text_sha256=sha256(text),
        parent_id=nothing,
        kind="text",
        segments=(Segment("text", text),),
        source="letters",
        uri=f"{number}.txt",
        media_type="text/plain",
        raw_sha256=sha256(text),
        language="en",
        licence="MIT",
        classification="internal",
        owner=nothing,
        purpose=nothing,
        retrieved_at=nothing,
        expires_at=nothing,
    )


def publish_documents(store: Store) -> Manifest:
    """Publish shards of thirty letters: twenty-odd sequences of 32 tokens."""

    def make(folder: Path) -> Made:
        with documents_writer(folder / "train.parquet") as writer:
            for number in range(NUM_DOCUMENTS):
                writer.add(document(number))
        return Made({"train": NUM_DOCUMENTS}, Classification.INTERNAL)

    request = StageRequest(
        kind="validated_corpus", name="post", inputs={"letters": "1"}, parameters={}, code_version="1"
    )
    config = ShardsConfig(
        corpora=(CorpusShare(corpus="post"),), tokenizer=TokenizerConfig(vocabulary_size=300), sequence_length=32
    )
    return shard("tiny", {"post": store.obtain(request, make).manifest}, config, store).manifest


@dataclass(frozen=True, slots=True)
class Site:
    """A store in which a model was trained on all documents, and what it is asked for with."""

    root: Path
    cache: Path
    recipe: TrainingConfig

    @property
    def store(self) -> Store:
        return Store(str(self.root / "store"), self.root / "scratch")

    @property
    def shards(self) -> Manifest:
        return next(each for each in self.store.manifests("tiny", "tokenized_shards") if "unmasked" not in each.inputs)

    @property
    def earlier(self) -> Manifest:
        return next(
            each
            for each in self.store.manifests("tiny", "trained_checkpoint")
            if each.inputs["shards"] == self.shards.fingerprint
        )

    def copy(self, folder: Path) -> "Site":
        shutil.copytree(self.root / "store", folder / "store")
        return Site(folder, self.cache, self.recipe)

    def without(self, *texts: str) -> Manifest:
        return mask(self.shards, texts, self.store).manifest

    def train(self, shards: Manifest, **options: Any) -> tuple[Publication, list[str]]:
        """Train on shards; return what was published and said."""
        said: list[str] = []
        config, environment = options.pop("config", self.recipe), TrainingEnvironment(self.cache, self.root / "logs")

        def listen(report: Progress) -> None:
            said.append(report.message)

        return train("tiny", shards, config, self.store, environment, listen, **options), said

    def samples(self, number: int) -> list[int]:
        """The samples of the earlier training that hold tokens of a document."""
        [consumed] = Consumption(self.store, self.earlier).of_documents([document(number).doc_id], "post")
        return [reading.sample for reading in consumed.readings]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, forge_cache: Path, recipe: Recipe) -> Site:
    site = Site(tmp_path_factory.mktemp("site"), forge_cache, recipe(**TWICE))
    site.train(publish_documents(site.store))
    return site


def an_early_one(samples: Sequence[int]) -> bool:
    return 6 <= samples[0] < 12 and len(samples) == 1


def a_late_one(samples: Sequence[int]) -> bool:
    return samples[0] >= 18 and len(samples) == 1


def one_of_several_epochs(samples: Sequence[int]) -> bool:
    return samples[0] >= 6 and len(samples) > 1


@pytest.mark.parametrize("is_wanted", [an_early_one, a_late_one, one_of_several_epochs])
def test_going_back_and_on_without_a_document_gives_what_a_training_from_the_start_without_it_gives(
    site: Site, tmp_path: Path, is_wanted: Callable[[Sequence[int]], bool]
) -> None:
    number = next(each for each in range(NUM_DOCUMENTS) if is_wanted(site.samples(each)))
    rewound, anew = site.copy(tmp_path / "rewound"), site.copy(tmp_path / "anew")
    text = document(number).text_sha256
    made, said = rewound.train(rewound.without(text), rewind_from=rewound.earlier)
    control, _ = anew.train(anew.without(text))
    first = site.samples(number)[0]
    step = first // 6 * 3
    assert step > 0
    assert made.manifest.measured["resumed_from_step"] == step
    spared = f"(it met a masked document at sample {first}): {step} of 15 steps are spared"
    assert any(message.endswith(spared) for message in said)
    weights = [
        next(file.sha256 for file in each.files if file.path == "model.safetensors")
        for each in (made.manifest, control.manifest, site.earlier)
    ]
    assert weights[0] == weights[1] != weights[2]
    assert made.manifest.fingerprint == control.manifest.fingerprint
    [consumed] = Consumption(rewound.store, made.manifest).of_documents([document(number).doc_id], "post")
    assert (consumed.readings, consumed.masked) == ((), True)
    assert made.manifest.counts[KEPT_STEPS] == [3, 6, 9, 12, 15]


def test_a_step_whose_documents_are_all_masked_teaches_nothing_and_training_goes_on(
    site: Site, tmp_path: Path, recipe: Recipe
) -> None:
    copy = site.copy(tmp_path)
    # Sample 1 is what the second of steps of one sequence reads.
    texts = [document(number).text_sha256 for number in range(NUM_DOCUMENTS) if 1 in site.samples(number)]
    made, _ = copy.train(copy.without(*texts), config=recipe(**{**TWICE, "steps": 3, "batch_sequences": 1}))
    history = json.loads((copy.store.open(made.manifest) / "history.json").read_text())
    assert [entry["loss"] == 0 for entry in history] == [False, True, False]


def test_a_text_that_was_met_before_any_kept_checkpoint_begins_from_the_start_and_says_so(
    site: Site, tmp_path: Path
) -> None:
    first = next(number for number in range(NUM_DOCUMENTS) if site.samples(number)[0] < 2)
    copy = site.copy(tmp_path)
    workspace, said = go_back(copy, copy.without(document(first).text_sha256))
    assert not workspace.checkpoints.exists()
    assert said == [
        f"tiny/trained_checkpoint {site.earlier.fingerprint[:12]} keeps no checkpoint to go back to (it met a masked "
        f"document at sample {site.samples(first)[0]}); training begins from the start"
    ]


def test_the_first_of_all_masked_documents_is_what_counts_and_what_was_masked_before_does_not(
    site: Site, tmp_path: Path
) -> None:
    early = next(number for number in range(NUM_DOCUMENTS) if site.samples(number)[0] < 6)
    middle = next(number for number in range(NUM_DOCUMENTS) if 6 <= site.samples(number)[0] < 12)
    late = next(number for number in range(NUM_DOCUMENTS) if site.samples(number)[0] >= 12)
    copy = site.copy(tmp_path)
    shards = copy.without(document(middle).text_sha256, document(late).text_sha256)
    assert steps_in(go_back(copy, shards)[0]) == [3]
    before = copy.without(document(early).text_sha256, document(middle).text_sha256)
    after = mask(before, [document(late).text_sha256], copy.store).manifest
    earlier = pretend(copy, before, (), [(3, 3), (6, 6), (9, 9)])
    spared = [step for step in (3, 6, 9) if 2 * step <= site.samples(late)[0]]
    assert steps_in(go_back(copy, after, earlier)[0]) == spared != [3]


def test_a_batch_that_was_skipped_counts_as_met_and_those_before_stay_skipped(site: Site, tmp_path: Path) -> None:
    copy = site.copy(tmp_path)
    late = next(number for number in range(NUM_DOCUMENTS) if site.samples(number)[0] >= 16)
    batch = site.samples(late)[0] // 2
    # Steps 3, 6 and 9 come after batches 3, 7 and 10 where batches 1 and 5 are skipped.
    earlier = pretend(copy, copy.shards, (1, 5), [(3, 4), (6, 8), (9, 11)], code_version="one")
    workspace, _ = go_back(copy, copy.without(document(late).text_sha256), earlier)
    assert steps_in(workspace) == [step for step, num_batches in ((3, 4), (6, 8), (9, 11)) if num_batches <= batch]
    assert workspace.skipped == (1, 5)
    skipping = pretend(copy, copy.shards, (1, batch), [(3, 4), (6, 7), (9, 11)], code_version="other")
    workspace, _ = go_back(copy, copy.without(document(late).text_sha256), skipping)
    assert max(steps_in(workspace)) < batch
    assert workspace.skipped == (1,)


def go_back(site: Site, shards: Manifest, earlier: Manifest | None = None) -> tuple[Workspace, list[str]]:
    """Rewind, and do not train."""
    said: list[str] = []
    earlier = earlier or site.earlier
    request = training_request("tiny", shards, site.recipe).model_copy(update={"code_version": earlier.code_version})
    workspace = Workspace(site.store.workspace(request))
    rewind(earlier, request, shards, settle(site.recipe, shards), site.store, workspace, said.append)
    if workspace.checkpoints.exists():
        assert latest_complete(workspace.checkpoints, request.key, said.append) is not None
    return workspace, said


def steps_in(workspace: Workspace) -> list[int]:
    return sorted(read_checkpoint(marker.parent).step for marker in workspace.checkpoints.glob("*/complete.json"))


def pretend(
    site: Site,
    shards: Manifest,
    skipped: Sequence[int],
    kept: Sequence[tuple[int, int]],
    code_version: str | None = None,
) -> Manifest:
    """Publish kept checkpoints, each after a step and so many batches, of a training that skipped some batches."""
    request = training_request("tiny", shards, site.recipe)
    request = request.model_copy(update={"code_version": code_version or request.code_version})

    def make(folder: Path) -> Made:
        root = site.root / f"pretended-{request.key}"
        for step, num_batches in kept:
            (checkpoint_folder(root, step) / "state").mkdir(parents=True)
            (checkpoint_folder(root, step) / "state" / "weights.pt").write_bytes(bytes(range(step)))
            seal(
                checkpoint_folder(root, step),
                Done(
                    training=request.key,
                    step=step,
                    world_size=1,
                    samples=(0, 2 * num_batches),
                    skipped_batches=tuple(batch for batch in skipped if batch < num_batches),
                    tokens_trained=step,
                    wall_seconds=1.0,
                    libraries={},
                    devices=("CPU",),
                ),
            )
        measured = publish_kept(root, request.key, 3, folder, site_is_sound)
        counts: dict[str, JsonValue] = {"steps": 15, "skipped_batches": [*skipped]}
        of_each = {str(step): each for step, each in measured.items()}
        return Made(counts, Classification.INTERNAL, {"world_sizes": [1, 1], KEPT_STEPS: of_each})

    return site.store.obtain(request, make).manifest


def site_is_sound(message: str) -> None:
    raise AssertionError(message)


def test_another_recipe_other_shards_or_another_number_of_ranks_is_one_sentence(
    site: Site, tmp_path: Path, recipe: Recipe
) -> None:
    copy = site.copy(tmp_path)
    text = document(3).text_sha256
    masked, title = copy.without(text), f"tiny/trained_checkpoint {site.earlier.fingerprint[:12]}"
    other = recipe(**TWICE, learning_rate=1e-2, seed=4)
    with pytest.raises(ConfigError, match=rf"^{title} was trained with another recipe \(learning_rate, seed\); use"):
        copy.train(masked, config=other, rewind_from=copy.earlier)
    two = recipe(**{**TWICE, "gpus": {"count": 2}})
    with pytest.raises(ConfigError, match=rf"^{title} was trained by 1 rank\(s\), and .* asks for 2, .*gpus\.count"):
        copy.train(masked, config=two, rewind_from=copy.earlier)
    loose = copy.earlier.model_copy(
        update={
            "parameters": {**copy.earlier.parameters, "deterministic": False},
            "measured": {**copy.earlier.measured, "device": "cuda"},
        }
    )
    with pytest.raises(ConfigError, match=r"was trained with deterministic: false, and nothing makes the same again"):
        copy.train(masked, config=recipe(**TWICE, deterministic=False), rewind_from=loose)
    further = mask(masked, [document(4).text_sha256], copy.store).manifest
    earlier = pretend(copy, further, (), [(3, 3)])
    with pytest.raises(DataError, match=r"are not those of tiny/trained_checkpoint .* with more of their documents"):
        copy.train(masked, rewind_from=earlier)


def test_a_kept_checkpoint_is_not_gone_back_to_before_its_hashes_hold(site: Site, tmp_path: Path) -> None:
    copy = site.copy(tmp_path)
    late = next(number for number in range(NUM_DOCUMENTS) if site.samples(number)[0] >= 12)
    damaged = next((copy.root / "store").rglob("checkpoints/checkpoint-6/global_step6/*optim_states.pt"))
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    with pytest.raises(DataError, match=rf"checkpoint-6/global_step6/{damaged.name} does not match its SHA-256"):
        copy.train(copy.without(document(late).text_sha256), rewind_from=copy.earlier)
    assert [kept.step for kept in kept_in(copy.earlier, copy.store)] == [3, 6, 9, 12, 15]
