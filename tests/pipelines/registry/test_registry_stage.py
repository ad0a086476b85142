"""Registration against a real MLflow: what is registered, what is refused, and what survives a kill."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from registry_chain import Chain

from forge_pipelines.errors import DataError, GateRefusal, PlatformError
from forge_pipelines.evaluation.report import BITS_PER_CHARACTER as METRIC
from forge_pipelines.progress import Progress
from forge_pipelines.registry.config import RegistrationConfig
from forge_pipelines.registry.stage import register
from forge_pipelines.registry.tracking import Tracking
from forge_pipelines.registry.versions import Draft, set_version
from forge_pipelines.store import Publication, Store

CONFIG = RegistrationConfig(gates=(f"{METRIC} < base", f"{METRIC} < 3.0", f"{METRIC} < xz"))


def versions(tracking: Tracking, model: str) -> list[Any]:
    return list(tracking.ask("search_model_versions", f"name = '{model}'"))


def said(publication: Publication, store: Store) -> dict[str, Any]:
    return dict(json.loads((store.open(publication.manifest) / "model_version.json").read_text()))


def test_a_version_stands_in_mlflow_with_its_lineage_its_verdicts_and_its_card(
    tracking: Tracking, chain: Chain, store: Store
) -> None:
    report = chain.report()
    publication = register(chain.model, report, CONFIG, store, tracking)
    version = tracking.ask("get_model_version_by_alias", chain.model, "candidate")
    assert publication.manifest.counts == {"version": 1, "metrics": 1, "gates_passed": 3}
    assert publication.manifest.classification == "internal"
    assert version.tags["forge.report"] == report.fingerprint
    assert version.tags["forge.checkpoint"] == chain.checkpoint.fingerprint
    assert {"forge.shards", "forge.corpus.prose", "forge.source.handbook", "forge.heldout.prose"} <= set(version.tags)
    assert version.tags["forge.weights"] == store.address_of(chain.checkpoint)
    assert version.tags["forge.classification"] == "internal"
    assert version.tags["forge.gate.1"].endswith("passed")
    run = tracking.ask("get_run", version.run_id)
    assert run.data.metrics == {METRIC: 2.31, f"{METRIC}.base": 6.42, f"{METRIC}.xz": 2.9, "loss": 6.0}
    assert run.data.params["architecture.model_type"] == "llama"
    assert run.info.status == "FINISHED"
    folder = store.open(publication.manifest)
    assert sorted(path.name for path in folder.iterdir()) == [
        "manifest.json",
        "model_card.md",
        "model_version.json",
        "verdicts.json",
    ]
    assert said(publication, store)["run_id"] == version.run_id
    card = (folder / "model_card.md").read_text()
    assert version.description.startswith(card[:1000])
    for words in (
        "Apache-2.0",
        "may be used for support",
        "must not answer anyone outside",
        chain.checkpoint.fingerprint,
    ):
        assert words in card


def test_the_model_loads_by_its_alias_and_its_weights_stand_once(
    tracking: Tracking, chain: Chain, store: Store, artifact_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow
    import torch
    from transformers import AutoModelForCausalLM

    register(chain.model, chain.report(), CONFIG, store, tracking)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking._uri)
    generate = mlflow.transformers.load_model(f"models:/{chain.model}@candidate")
    text = generate("once upon", max_new_tokens=5, do_sample=False, return_full_text=True)[0]["generated_text"]
    assert text.startswith("once upon")
    published = AutoModelForCausalLM.from_pretrained(store.open(chain.checkpoint))
    for name, tensor in published.state_dict().items():
        assert torch.equal(tensor, generate.model.state_dict()[name]), name
    assert list(artifact_root.rglob("MLmodel"))
    assert not list(artifact_root.rglob("*.safetensors"))


def test_from_an_object_store_the_model_loads_from_the_local_copy_of_its_weights(
    database: Tracking, s3_address: str, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    store = Store(s3_address, tmp_path / "scratch")
    chain = Chain(store, weights, "from_s3")
    register(chain.model, chain.report(), CONFIG, store, database)
    (version,) = versions(database, chain.model)
    assert version.tags["forge.weights"].startswith("s3://")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database._uri)
    generate = mlflow.transformers.load_model("models:/from_s3@candidate")
    assert Path(generate.model.name_or_path).is_relative_to(tmp_path / "scratch")


def test_a_refused_gate_leaves_nothing_anywhere_and_names_model_gate_and_numbers(
    tracking: Tracking, chain: Chain, store: Store
) -> None:
    report = chain.report(value=6.5, difference=(-0.02, 0.18))
    with pytest.raises(GateRefusal) as refusal:
        register(chain.model, report, CONFIG, store, tracking)
    assert str(refusal.value).startswith(f"{chain.model} is not registered: gate «{METRIC} < base»: {METRIC} is 6.5")
    assert "[−0.02, +0.18]" in str(refusal.value)
    assert not versions(tracking, chain.model)
    assert tracking.ask("get_experiment_by_name", chain.model) is None
    assert not list(store.manifests(chain.model, "registered_model"))


def test_asked_twice_there_is_one_version_by_whichever_way(
    database: Tracking, server: Tracking, chain: Chain, store: Store
) -> None:
    report = chain.report()
    first = register(chain.model, report, CONFIG, store, database)
    second = register(chain.model, report, CONFIG, store, server)
    assert first.fresh
    assert not second.fresh
    assert first.manifest == second.manifest
    assert len(versions(server, chain.model)) == 1


def test_other_gates_judge_anew_and_keep_the_version(database: Tracking, chain: Chain, store: Store) -> None:
    report = chain.report()
    register(chain.model, report, CONFIG, store, database)
    stricter = RegistrationConfig(gates=(f"{METRIC} < 2.5",), alias="strict")
    publication = register(chain.model, report, stricter, store, database)
    assert publication.fresh
    assert publication.manifest.counts["version"] == 1
    (version,) = versions(database, chain.model)
    assert "to be < 2.5: passed" in version.tags["forge.gate.1"]
    assert "forge.gate.2" not in version.tags


def test_another_report_is_another_version_and_the_alias_follows_what_is_asked_for(
    database: Tracking, chain: Chain, store: Store
) -> None:
    old, new = chain.report(), chain.report(value=2.2)
    for report, expected in ((old, 1), (new, 2), (old, 1)):
        publication = register(chain.model, report, CONFIG, store, database)
        assert publication.manifest.counts["version"] == expected
        assert int(database.ask("get_model_version_by_alias", chain.model, "candidate").version) == expected


def test_a_fresh_mlflow_beside_an_old_store_is_registered_in_anew(
    database: Tracking, empty_database_url: str, chain: Chain, store: Store, tmp_path: Path
) -> None:
    report = chain.report()
    register(chain.model, report, CONFIG, store, database)
    fresh = Tracking(empty_database_url, str(tmp_path / "artifacts"))
    assert register(chain.model, report, CONFIG, store, fresh).fresh
    assert len(versions(fresh, chain.model)) == 1


def test_a_version_deleted_in_mlflow_is_told_and_not_silently_claimed(
    database: Tracking, chain: Chain, store: Store
) -> None:
    report = chain.report()
    register(chain.model, report, CONFIG, store, database)
    database.ask("delete_model_version", chain.model, "1")
    with pytest.raises(DataError, match=r"version 1 has been deleted in MLflow.*remove "):
        register(chain.model, report, CONFIG, store, database)


def test_a_flipped_byte_in_the_checkpoint_is_refused_before_registration(
    database: Tracking, chain: Chain, store: Store
) -> None:
    report = chain.report()
    path = store.open(chain.checkpoint) / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"model\.safetensors does not match its SHA-256"):
        register(chain.model, report, CONFIG, store, database)
    assert not versions(database, chain.model)


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "postgresql://me:secret@127.0.0.1:1/mlflow"])
def test_an_mlflow_that_cannot_be_reached_is_one_sentence_within_ten_seconds(
    address: str, chain: Chain, store: Store, tmp_path: Path
) -> None:
    report = chain.report()
    gone = Tracking(address, str(tmp_path / "artifacts"))
    started = time.monotonic()
    with pytest.raises(PlatformError) as failure:
        register(chain.model, report, CONFIG, store, gone)
    assert time.monotonic() - started < 10
    assert "cannot be reached" in str(failure.value)
    assert "secret" not in str(failure.value)
    assert "\n" not in str(failure.value)
    assert not list(store.manifests(chain.model, "registered_model"))


REGISTER = """
import sys
from pathlib import Path
from forge_pipelines.registry.stage import register
from forge_pipelines.registry.tracking import Tracking
from forge_pipelines.store import Store
from test_registry_stage import CONFIG, die_when_registered

address, scratch, model, uri, artifacts = sys.argv[1:]
store = Store(address, Path(scratch))
report = store.latest(model, "evaluation_report")
register(model, report, CONFIG, store, Tracking(uri, artifacts), die_when_registered)
"""


def die_when_registered(progress: Progress) -> None:
    if "stands in" in progress.message:
        os.kill(os.getpid(), signal.SIGKILL)


def test_killed_between_version_and_publication_there_is_still_one_version(
    database: Tracking, database_url: str, artifact_root: Path, chain: Chain, tmp_path: Path
) -> None:
    report, store = chain.report(), chain.store
    arguments = [store.address, str(tmp_path / "scratch"), chain.model, database_url, str(artifact_root)]
    killed = subprocess.run([sys.executable, "-c", REGISTER, *arguments], cwd=Path(__file__).parent, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(versions(database, chain.model)) == 1
    assert not list(store.manifests(chain.model, "registered_model"))
    publication = register(chain.model, report, CONFIG, store, database)
    assert publication.fresh
    assert publication.manifest.counts["version"] == 1
    assert len(versions(database, chain.model)) == 1


def test_two_that_register_the_same_at_once_make_one_version(
    database: Tracking, server: Tracking, chain: Chain, store: Store
) -> None:
    report = chain.report()
    start = Barrier(2)

    def wait_for_the_other(progress: Progress) -> None:
        if "stands in" not in progress.message:
            start.wait(timeout=60)

    def one(tracking: Tracking) -> Publication:
        return register(chain.model, report, CONFIG, store, tracking, wait_for_the_other)

    with ThreadPoolExecutor() as threads:
        first, second = threads.map(one, [database, server])
    assert first.manifest == second.manifest
    assert len(versions(database, chain.model)) == 1


def test_a_card_longer_than_mlflows_column_is_cut_there_and_says_where_it_stands_whole(database: Tracking) -> None:
    draft = Draft("long_card", "r" * 32, "/nowhere", {"forge.report": "f" * 64}, "wörd " * 2000)
    number = set_version(database, draft)
    description = database.ask("get_model_version", "long_card", str(number)).description
    assert len(description) == 5000
    assert description.endswith("The whole card is the artifact `model_card.md` of the run.")


def test_a_report_whose_checkpoint_is_gone_is_refused_by_name(database: Tracking, chain: Chain, store: Store) -> None:
    report = chain.report()
    shutil.rmtree(store.address_of(chain.checkpoint))
    with pytest.raises(
        DataError, match=f"{chain.model}/trained_checkpoint {chain.checkpoint.fingerprint[:12]} is not in"
    ):
        register(chain.model, report, CONFIG, store, database)
    assert not versions(database, chain.model)
