"""Two gloo ranks train for real: publication, resume, refusals."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from forge_pipelines.errors import DataError, PlatformError
from forge_pipelines.manifest import Classification, Manifest
from forge_pipelines.progress import Progress
from forge_pipelines.shards.reading import open_shards
from forge_pipelines.store import Publication, Store, hash_file
from forge_pipelines.training.checkpoints import read_checkpoint
from forge_pipelines.training.config import TrainingConfig
from forge_pipelines.training.ranks import TrainingEnvironment
from forge_pipelines.training.stage import train
from forge_pipelines.training.worker.network import build_network
from forge_pipelines.training.worker.samples import SamplesInOrder

Recipe = Callable[..., TrainingConfig]
Start = Callable[[Path, TrainingConfig], subprocess.Popen[str]]
LONG = {"steps": 60, "checkpoint_every_steps": 5}


@pytest.fixture(scope="module")
def control(
    tmp_path_factory: pytest.TempPathFactory, forge_cache: Path, recipe: Recipe, publish: Callable[[Store], Manifest]
) -> tuple[Store, Publication]:
    """A training that nothing interrupts, and its store."""
    root = tmp_path_factory.mktemp("control")
    store = Store(str(root / "store"), root / "scratch")
    environment = TrainingEnvironment(forge_cache, root / "logs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPROFILEIMPORTTIME", "1")
        patch.setenv("TMPDIR", temporary(root))
        return store, train("tiny", publish(store), recipe(**LONG), store, environment)


@pytest.fixture(scope="module")
def interrupted(
    tmp_path_factory: pytest.TempPathFactory,
    start_training: Start,
    recipe: Recipe,
    publish: Callable[[Store], Manifest],
) -> Path:
    """The root of the same training, whose process was killed after two checkpoints; no rank outlived it for long."""
    root = tmp_path_factory.mktemp("interrupted")
    publish(Store(str(root / "store"), root / "scratch"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", temporary(root))
        process = start_training(root, recipe(**LONG))
    for done, _ in reports(process):
        if done >= 13:
            break
    assert len([process for process in processes_of(root) if is_rank(process)]) == 2
    process.kill()
    deadline = time.monotonic() + 30
    while processes_of(root):
        assert time.monotonic() < deadline, "a rank outlived the process that ran it"
        time.sleep(0.05)
    return root


def temporary(root: Path) -> str:
    (root / "tmp").mkdir()
    return str(root / "tmp")


def reports(process: subprocess.Popen[str]) -> Iterator[tuple[Any, Any]]:
    assert process.stdout is not None
    yield from map(json.loads, process.stdout)


def processes_of(root: Path) -> list[psutil.Process]:
    """The ranks whose job stands below a folder, and what started them."""
    running = [process for process in psutil.process_iter(["cmdline"]) if process.info["cmdline"]]
    return [process for process in running if process.info["cmdline"][-1].startswith(str(root)) and is_alive(process)]


def is_rank(process: psutil.Process) -> bool:
    return "forge_pipelines.training.worker" in process.info["cmdline"]


def is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def resume(root: Path, recipe: TrainingConfig, cache: Path) -> tuple[Publication, list[str]]:
    """Ask again for an interrupted training, in a copy of its folder."""
    store = Store(str(root / "store"), root / "scratch")
    said: list[str] = []

    def listen(progress: Progress) -> None:
        said.append(progress.message)

    manifest = store.latest("words", "tokenized_shards")
    return train("tiny", manifest, recipe, store, TrainingEnvironment(cache, root / "logs"), listen), said


def weights_hash(publication: Publication) -> str:
    return next(file.sha256 for file in publication.manifest.files if file.path == "model.safetensors")


def nothing_published(store: Store) -> bool:
    return not list(store.manifests(kind="trained_checkpoint"))


def test_what_is_published_loads_and_says_what_was_consumed(control: tuple[Store, Publication]) -> None:
    store, publication = control
    folder = store.open(publication.manifest)
    network, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert network.config.vocab_size == len(tokenizer)
    assert {path.suffix for path in folder.iterdir()} == {".json", ".safetensors", ".png"}
    record = json.loads((folder / "training.json").read_text())
    history = json.loads((folder / "history.json").read_text())
    counts = publication.manifest.counts
    assert record["samples"] == [0, 240]
    assert [entry["step"] for entry in history] == list(range(1, 61))
    assert counts["final_loss"] == history[-1]["loss"] < history[0]["loss"]
    assert counts["parameters"] == sum(parameter.numel() for parameter in network.parameters())
    assert publication.manifest.measured["resumed_from_step"] == publication.manifest.measured["restarts"] == 0
    assert publication.manifest.classification == Classification.CONFIDENTIAL


def test_nothing_is_left_in_the_temporary_folder_whether_a_training_ends_or_is_killed(
    control: tuple[Store, Publication], interrupted: Path
) -> None:
    for root in (Path(control[0].address).parent, interrupted):
        assert list((root / "tmp").iterdir()) == []


def test_the_first_loss_is_the_untrained_networks_on_the_first_samples_of_the_order(
    control: tuple[Store, Publication], recipe: Recipe
) -> None:
    store, publication = control
    config = recipe(**LONG)
    shards = open_shards(store.open(store.latest("words", "tokenized_shards")))
    network = build_network(config.architecture, shards.tokenizer_folder, config.seed)
    batch = SamplesInOrder(shards, config).__getitems__([0, 1, 2, 3])
    with torch.no_grad():
        loss = network(**batch, use_cache=False).loss.item()
    history = json.loads((store.open(publication.manifest) / "history.json").read_text())
    assert loss == pytest.approx(history[0]["loss"], rel=1e-5)


def test_every_label_of_every_sample_is_counted_once(control: tuple[Store, Publication], recipe: Recipe) -> None:
    store, publication = control
    shards = open_shards(store.open(store.latest("words", "tokenized_shards")))
    labels = SamplesInOrder(shards, recipe(**LONG)).__getitems__(range(240))["labels"]
    assert publication.manifest.counts["tokens_trained"] == int((labels != -100).sum())


def test_the_ranks_import_neither_dagster_nor_mlflow(control: tuple[Store, Publication]) -> None:
    log = next((Path(control[0].address).parent / "logs").iterdir()).read_text()
    imported = set(re.findall(r"^import time:.*\| +(\w+)\.\w+", log, re.MULTILINE))
    assert "deepspeed" in imported
    assert not imported & {"dagster", "mlflow", "great_expectations"}


def test_the_same_request_again_starts_no_process(
    control: tuple[Store, Publication], recipe: Recipe, tmp_path: Path
) -> None:
    store, publication = control
    shards = store.latest("words", "tokenized_shards")
    config = recipe(**LONG, keep_checkpoints=3, gpus={"count": 1})
    again = train("tiny", shards, config, store, TrainingEnvironment(tmp_path, tmp_path / "logs"))
    assert not again.fresh
    assert again.manifest == publication.manifest
    assert not (tmp_path / "logs").exists()


def test_a_checkpoint_in_progress_says_what_was_consumed_by_whom_and_in_what_time(
    interrupted: Path, recipe: Recipe
) -> None:
    store = Store(str(interrupted / "store"), interrupted / "scratch")
    shards = open_shards(store.open(store.latest("words", "tokenized_shards")))
    folders = [marker.parent for marker in (interrupted / "scratch").rglob("checkpoint-*/complete.json")]
    first, second = sorted((read_checkpoint(folder) for folder in folders), key=lambda each: each.step)
    for each in (first, second):
        assert (each.samples, each.skipped_batches, each.world_size) == ((0, 4 * each.step), (), 2)
        labels = SamplesInOrder(shards, recipe(**LONG)).__getitems__(range(4 * each.step))["labels"]
        assert each.tokens_trained == int((labels != -100).sum())
        assert each.libraries["torch"] == version("torch")
        assert len(each.devices) == 1
    assert 0 < first.wall_seconds < second.wall_seconds


def test_a_killed_training_goes_on_from_its_last_checkpoint_to_the_very_same_weights(
    interrupted: Path, control: tuple[Store, Publication], recipe: Recipe, forge_cache: Path, tmp_path: Path
) -> None:
    root = shutil.copytree(interrupted, tmp_path / "copy")
    publication, _ = resume(root, recipe(**LONG), forge_cache)
    assert publication.manifest.measured["resumed_from_step"] >= 10
    assert weights_hash(publication) == weights_hash(control[1])
    assert publication.manifest.fingerprint == control[1].manifest.fingerprint
    assert list((root / "scratch" / "work" / "tiny" / "trained_checkpoint").glob("*/*")) == []


def test_a_flipped_byte_in_a_checkpoint_is_named_and_training_goes_on_from_the_one_before(
    interrupted: Path, control: tuple[Store, Publication], recipe: Recipe, forge_cache: Path, tmp_path: Path
) -> None:
    root = shutil.copytree(interrupted, tmp_path / "copy")
    markers = (root / "scratch").rglob("checkpoint-*/complete.json")
    newest = max(int(marker.parent.name.removeprefix("checkpoint-")) for marker in markers)
    damaged = next((root / "scratch").rglob(f"checkpoint-{newest}/global_step*/*optim_states.pt"))
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    publication, said = resume(root, recipe(**LONG), forge_cache)
    assert any(f"checkpoint-{newest} is damaged" in message and damaged.name in message for message in said)
    assert publication.manifest.measured["resumed_from_step"] == newest - 5
    assert weights_hash(publication) == weights_hash(control[1])


def test_zero_3_publishes_whole_weights(
    store: Store, shards: Manifest, recipe: Recipe, environment: TrainingEnvironment
) -> None:
    publication = train("tiny", shards, recipe(zero_stage=3), store, environment)
    network = AutoModelForCausalLM.from_pretrained(store.open(publication.manifest))
    assert publication.manifest.counts["parameters"] == sum(parameter.numel() for parameter in network.parameters())
    assert publication.manifest.measured["world_size"] == 2


def test_a_matrix_that_stands_in_two_places_is_published_once(
    store: Store, shards: Manifest, recipe: Recipe, environment: TrainingEnvironment
) -> None:
    config = recipe(gpus={"count": 1})
    tied = recipe(gpus={"count": 1}, architecture={**config.architecture, "tie_word_embeddings": True})
    for each, expected in ((config, True), (tied, False)):
        folder = store.open(train("tiny", shards, each, store, environment).manifest)
        assert ("lm_head.weight" in load_file(folder / "model.safetensors")) is expected
        network, found = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
        assert not found["missing_keys"]
        assert torch.equal(network.lm_head.weight, network.model.embed_tokens.weight) is not expected


def test_bf16_trains_on_one_rank_and_without_a_compiler(
    store: Store, shards: Manifest, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    environment = TrainingEnvironment(tmp_path / "empty_cache", tmp_path / "logs")
    config = recipe(precision="bf16", zero_stage=2, micro_batch_sequences=2, gpus={"count": 1})
    publication = train("tiny", shards, config, store, environment)
    network = AutoModelForCausalLM.from_pretrained(store.open(publication.manifest))
    assert network.dtype == torch.bfloat16


def test_a_loss_that_is_no_number_ends_in_one_sentence_and_publishes_nothing(
    store: Store, shards: Manifest, recipe: Recipe, environment: TrainingEnvironment
) -> None:
    norms: dict[float, float] = {}

    def listen(report: Progress) -> None:
        if report.metrics:
            norms[report.done] = report.metrics["grad_norm"]

    with pytest.raises(DataError, match=r"^tiny: at step 2 the loss is nan .* lower training\.learning_rate") as error:
        train("tiny", shards, recipe(learning_rate=1e38, zero_stage=0), store, environment, listen)
    assert "\n" not in str(error.value)
    assert list(norms) == [1]
    assert norms[1] > 0
    assert nothing_published(store)


def test_a_killed_rank_ends_the_training_in_one_sentence(
    store: Store, shards: Manifest, recipe: Recipe, environment: TrainingEnvironment, tmp_path: Path
) -> None:
    def kill_a_rank(report: Progress) -> None:
        if report.done == 7:
            next(filter(is_rank, processes_of(tmp_path))).kill()

    with pytest.raises(PlatformError, match=r"tiny: rank \d was ended by SIGKILL; .* lower training\.micro_batch_seq"):
        train("tiny", shards, recipe(**LONG), store, environment, kill_a_rank)
    assert processes_of(tmp_path) == []
    assert nothing_published(store)


def test_of_two_that_train_the_same_at_once_one_waits_and_finds_it(
    tmp_path: Path, store: Store, shards: Manifest, recipe: Recipe, start_training: Start
) -> None:
    both = [start_training(tmp_path, recipe()) for _ in range(2)]
    told = [list(reports(process)) for process in both]
    assert [process.wait() for process in both] == [0, 0]
    assert sorted(lines[-1][1] for lines in told) == [False, True]
    waited = next(lines for lines in told if not lines[-1][1])
    assert [bool("waiting" in message) for _, message in waited[:-1]] == [True]


def test_gpus_that_are_missing_are_a_sentence(store: Store, shards: Manifest, recipe: Recipe, tmp_path: Path) -> None:
    environment = TrainingEnvironment(tmp_path, tmp_path, visible_gpus=1)
    with pytest.raises(PlatformError, match="tiny asks for 2 GPUs and 1 can be seen"):
        train("tiny", shards, recipe(), store, environment)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA device is visible")
def test_one_gpu_trains_in_bf16(
    store: Store, shards: Manifest, recipe: Recipe, forge_cache: Path, tmp_path: Path
) -> None:
    environment = TrainingEnvironment(forge_cache, tmp_path / "logs", visible_gpus=1)
    publication = train("tiny", shards, recipe(precision="bf16", gpus={"count": 1}), store, environment)
    assert publication.manifest.measured["device"] == "cuda"
    assert hash_file(store.open(publication.manifest) / "model.safetensors") == weights_hash(publication)
