"""What a training consumed is computed from its manifest alone, and is what its steps really read."""

import shutil
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import consumption_chain
import numpy as np
import pyarrow.parquet as pq
import pytest
from consumption_chain import MODEL, publish_training
from tokenizers import Tokenizer

from forge_pipelines.errors import ConfigError, DataError
from forge_pipelines.manifest import Manifest
from forge_pipelines.shards.reading import open_shards
from forge_pipelines.store import Made, Store
from forge_pipelines.training.config import TrainingConfig
from forge_pipelines.training.consumption import Consumed, Consumption, Reading
from forge_pipelines.training.ranks import TrainingEnvironment
from forge_pipelines.training.stage import train
from forge_pipelines.training.whereabouts import Whereabouts, find_document
from forge_pipelines.training.worker.samples import SamplesInOrder

Recipe = Callable[..., TrainingConfig]
STEPS, BATCH = 60, 4


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store in which shards stand, and all that they were made from."""
    root = tmp_path_factory.mktemp("chain")
    consumption_chain.make_shards(store_in(root))
    return root


def store_in(root: Path) -> Store:
    return Store(str(root / "store"), root / "scratch")


def shards_in(root: Path) -> Manifest:
    return store_in(root).latest(MODEL, "tokenized_shards")


@pytest.fixture(scope="module")
def consumption(root: Path) -> Consumption:
    return consumption_of(root)


def consumption_of(root: Path, *, skipped: Sequence[int] = ()) -> Consumption:
    store = store_in(root)
    training = publish_training(store, shards_in(root), steps=STEPS, batch=BATCH, skipped=skipped)
    return Consumption(store, training)


@pytest.fixture
def copied(root: Path, tmp_path: Path) -> Path:
    """The same, to be spoilt."""
    return shutil.copytree(root, tmp_path / "copy")


def only(found: list[Whereabouts]) -> Whereabouts:
    assert len(found) == 1
    return found[0]


def pieces(batch: dict[str, Any]) -> list[tuple[int, ...]]:
    """The pieces of documents that stand in a batch, told by the positions, which begin anew at each; no padding."""
    found = []
    for ids, positions in zip(batch["input_ids"].tolist(), batch["position_ids"].tolist(), strict=True):
        begins = [place for place, position in enumerate(positions) if position == 0]
        found += [tuple(ids[begin:end]) for begin, end in zip(begins, [*begins[1:], len(ids)], strict=True)]
    return [piece for piece in found if piece != (0,)]


def holds(text: tuple[int, ...], piece: tuple[int, ...]) -> bool:
    return any(text[place : place + len(piece)] == piece for place in range(len(text) - len(piece) + 1))


def token_ids(root: Path) -> dict[str, tuple[int, ...]]:
    """The token ids of every document that is trained on, with the marks around them, by its id."""
    store, known = store_in(root), {}
    tokenizer = Tokenizer.from_file(str(store.open(shards_in(root)) / "tokenizer" / "tokenizer.json"))
    for corpus in ("library", "notes"):
        for row in pq.read_table(store.open(store.latest(corpus, "validated_corpus")) / "train.parquet").to_pylist():
            text = row["segments"][0]["text"]
            known[row["doc_id"]] = (1, *tokenizer.encode(text, add_special_tokens=False).ids, 2)
    return known


def test_what_a_real_training_consumed_at_a_step_are_the_documents_whose_tokens_stand_in_its_batch(
    root: Path, recipe: Recipe, forge_cache: Path
) -> None:
    store, shards = store_in(root), shards_in(root)
    config = recipe(steps=6, seed=5, checkpoint_every_steps=4)
    environment = TrainingEnvironment(forge_cache, root / "logs")
    consumption = Consumption(store, train(MODEL, shards, config, store, environment).manifest)
    samples = SamplesInOrder(open_shards(store.open(shards)), config)
    texts = token_ids(root)
    for step in range(1, 7):
        batch = samples.__getitems__(range((step - 1) * BATCH, step * BATCH))
        consumed = {each.doc_id: each.tokens for each in consumption.of_step(step)}
        standing: defaultdict[str, int] = defaultdict(int)
        for piece in pieces(batch):
            candidates = [doc_id for doc_id, ids in texts.items() if holds(ids, piece)]
            assert len(candidates) == 1, "these texts tell every piece apart"
            standing[candidates[0]] += len(piece)
        assert consumed == standing
        assert len(consumed) > 1


@pytest.mark.parametrize("skipped", [(), (0, 7, 8, 59, 61)])
def test_each_step_lists_what_each_document_says_of_it(root: Path, skipped: tuple[int, ...]) -> None:
    consumption = consumption_of(root, skipped=skipped)
    by_step = [consumption.of_step(step) for step in range(1, STEPS + 1)]
    found: defaultdict[str, list[Reading]] = defaultdict(list)
    for each in (each for step in by_step for each in step):
        found[each.doc_id] += each.readings
    asked = token_ids(root)
    documents = [each for corpus in ("library", "notes") for each in consumption.of_documents(asked, corpus)]
    assert {each.doc_id: [*each.readings] for each in documents} == found
    assert len(found) == len(asked)
    for readings in found.values():
        assert readings == sorted(readings, key=lambda reading: reading.sample)


def test_a_step_reads_the_whole_batch_that_training_gives_it_when_batches_are_skipped(
    root: Path, recipe: Recipe
) -> None:
    skipped = (0, 7, 8, 59, 61)
    consumption = consumption_of(root, skipped=skipped)
    config = recipe(steps=STEPS, batch_sequences=BATCH)
    samples = SamplesInOrder(open_shards(store_in(root).open(shards_in(root))), config, skipped)
    read = []
    for step in range(1, STEPS + 1):
        consumed = consumption.of_step(step)
        batch = samples.__getitems__(range((step - 1) * BATCH, step * BATCH))
        assert sum(each.tokens for each in consumed) == sum(map(len, pieces(batch)))
        assert {reading.step for each in consumed for reading in each.readings} == {step}
        read += [reading.sample for each in consumed for reading in each.readings]
    batches = sorted({sample // BATCH for sample in read})
    assert batches == [batch for batch in range(max(batches) + 1) if batch not in skipped]
    assert len(batches) == STEPS


def test_every_token_of_an_epoch_is_consumed_in_it_whatever_the_weights(consumption: Consumption, root: Path) -> None:
    readings = [
        reading
        for corpus in ("library", "notes")
        for each in consumption.of_documents(token_ids(root), corpus)
        for reading in each.readings
    ]
    size = consumption.order.num_sequences
    assert {reading.epoch for reading in readings} == set(range(1, -(-STEPS * BATCH // size) + 1))
    assert all(reading.epoch == reading.sample // size + 1 for reading in readings)
    assert all(reading.step == reading.sample // BATCH + 1 for reading in readings)
    assert {reading.sample for reading in readings} == set(range(STEPS * BATCH))


def test_a_document_is_named_by_its_source_and_path(consumption: Consumption, root: Path) -> None:
    table = pq.read_table(store_in(root).open(store_in(root).latest("library", "validated_corpus")) / "table.parquet")
    uris = {row["doc_id"]: row["uri"] for row in table.to_pylist()}
    of_library = [each for each in consumption.of_step(2) if each.corpus == "library"]
    assert of_library
    assert [(each.source, each.uri) for each in of_library] == [("handbook", uris[each.doc_id]) for each in of_library]


def test_a_document_is_found_by_its_id_by_eight_digits_of_it_and_by_its_path(
    consumption: Consumption, root: Path
) -> None:
    whole: Consumed = next(each for each in consumption.of_step(1) if each.corpus == "library")
    assert whole.uri is not None
    found = [only(find_document(consumption, asked)) for asked in (whole.doc_id, whole.doc_id[:8].upper())]
    assert found[0] == found[1]
    assert (found[0].doc_id, found[0].uri, found[0].reason) == (whole.doc_id, whole.uri, "")
    assert found[0].readings[0].step == 1
    assert whole.uri.startswith("pages/")
    with pytest.raises(DataError, match=f"tiny was not trained on {whole.doc_id[:7]}: .* library, notes; .* 8 digits"):
        find_document(consumption, whole.doc_id[:7])


def test_what_has_the_same_path_in_two_sources_is_told_apart(consumption: Consumption, root: Path) -> None:
    with pytest.raises(ConfigError, match=r"^scans/plan\.pdf is 2 documents: handbook: .*\), wiki: .*; write the dig"):
        find_document(consumption, consumption_chain.SCAN)
    doc_id = consumption_chain.document_id("wiki", consumption_chain.SCAN, "wiki")
    found = only(find_document(consumption, doc_id[:8]))
    assert (found.place, found.readings) == ("source wiki", ())
    assert found.reason == "rejected in source wiki by the rule needs_ocr: holds pictures of text alone"


def test_a_held_out_document_and_a_rejected_one_are_explained(consumption: Consumption, root: Path) -> None:
    store = store_in(root)
    folder = store.open(store.latest("library", "validated_corpus"))
    heldout = pq.read_table(folder / "heldout.parquet", columns=["doc_id"]).to_pylist()[0]["doc_id"]
    found = only(find_document(consumption, heldout))
    assert (found.readings, found.survivor) == ((), None)
    assert found.reason == "held out of corpus library, so that a model can be measured on it"
    assert only(find_document(consumption, "stub.md")).reason == (
        "rejected in corpus library by the rule length: 9 characters, fewer than 50"
    )


def test_of_a_copy_the_answer_are_the_steps_of_the_one_that_stands_for_it(consumption: Consumption) -> None:
    paths = (consumption_chain.COPIED, "copies/exact.md", "copies/near.md")
    same = [only(find_document(consumption, path)) for path in paths]
    survivor = next(each for each in same if not each.reason)
    copies = [each for each in same if each is not survivor]
    assert len(copies) == 2
    assert survivor.readings
    for copy in copies:
        assert copy.readings == ()
        assert copy.survivor == survivor
        assert copy.reason.startswith(f"a copy of {survivor.title}, Jaccard similarity ")


def test_a_document_whose_turn_never_came_is_explained(root: Path) -> None:
    store = store_in(root)
    consumption = Consumption(store, publish_training(store, shards_in(root), steps=1, batch=1))
    read = {each.doc_id for each in consumption.of_step(1)}
    unread = next(doc_id for doc_id in token_ids(root) if doc_id not in read)
    found = only(find_document(consumption, unread))
    assert found.readings == ()
    size = consumption.order.num_sequences
    assert found.reason.endswith(f"an epoch has {size:,} samples, and training came past 1")


@pytest.mark.parametrize("step", [0, -1, STEPS + 1])
def test_a_step_that_never_was_is_a_sentence(consumption: Consumption, step: int) -> None:
    with pytest.raises(ConfigError, match=f"^tiny was trained for steps 1 to {STEPS}, so there is no step {step}; ask"):
        consumption.of_step(step)


def test_without_its_corpora_the_steps_are_still_known(copied: Path, consumption: Consumption) -> None:
    shutil.rmtree(copied / "store" / "library")
    shutil.rmtree(copied / "store" / "notes")
    alone = consumption_of(copied)
    before, after = consumption.of_step(3), alone.of_step(3)
    assert [each.uri for each in after] == [None] * len(before)
    assert [(each.doc_id, each.readings) for each in after] == [(each.doc_id, each.readings) for each in before]
    found = only(find_document(alone, before[0].doc_id[:12]))
    assert found.readings == only(find_document(consumption, before[0].doc_id)).readings
    with pytest.raises(DataError, match=r"what library, notes rejected or held out is no longer in the store"):
        find_document(alone, "stub.md")


def test_a_flipped_byte_in_what_is_read_is_named_and_sequences_are_not_read(copied: Path) -> None:
    folder = Path(store_in(copied).address_of(shards_in(copied)))
    flip(folder / "sequences.arrow")
    assert consumption_of(copied).of_step(1)
    flip(folder / "spans.parquet")
    with pytest.raises(DataError, match=r"spans\.parquet does not match its SHA-256"):
        consumption_of(copied)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)


def test_on_an_object_store_only_what_is_asked_for_is_fetched(
    root: Path, consumption: Consumption, s3_address: str, tmp_path: Path
) -> None:
    remote = Store(s3_address, tmp_path / "scratch")
    for manifest in store_in(root).manifests():
        upload(store_in(root), manifest, remote)
    training = publish_training(store_in(root), shards_in(root), steps=STEPS, batch=BATCH)
    there = Consumption(remote, remote.published(MODEL, "trained_checkpoint", training.fingerprint))
    assert there.of_step(1) == consumption.of_step(1)
    assert find_document(there, "copies/near.md") == find_document(consumption, "copies/near.md")
    assert {path.name for path in (tmp_path / "scratch").rglob("*.arrow")} == set()
    assert (remote.open(remote.latest(MODEL, "tokenized_shards")) / "sequences.arrow").is_file()


def upload(here: Store, manifest: Manifest, there: Store) -> None:
    """Publish the same anew, under the same key and fingerprint."""

    def make(folder: Path) -> Made:
        shutil.copytree(here.open(manifest), folder, dirs_exist_ok=True)
        (folder / "manifest.json").unlink()
        return Made(manifest.counts, manifest.classification, manifest.measured)

    assert there.obtain(consumption_chain.request_of(manifest), make).manifest.fingerprint == manifest.fingerprint


def test_a_step_of_a_training_of_a_thousand_million_steps_is_answered_like_any_other(root: Path) -> None:
    store = store_in(root)
    training = publish_training(store, shards_in(root), steps=10**9, batch=BATCH)
    consumed = Consumption(store, training).of_step(10**9 - 5)
    assert {reading.sample // BATCH for each in consumed for reading in each.readings} == {10**9 - 6}
    assert np.unique([each.doc_id for each in consumed]).size == len(consumed)
