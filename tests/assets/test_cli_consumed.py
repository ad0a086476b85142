"""`forge consumed` says what a step consumed, and which steps consumed a document: to a person, or a line a row."""

import re
import resource
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import consumption_chain
import pytest
from command_line import Forge, plain
from consumption_chain import COPIED, MODEL, publish_training

from forge_assets.instance import forge_environment
from forge_assets.resources import forge_resources
from forge_assets.settings import Settings
from forge_pipelines.manifest import Classification, Manifest, StageRequest
from forge_pipelines.store import Made, Store
from forge_pipelines.training.consumption import Consumption

STEPS = 60


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a store in which shards stand, and all that they were made from."""
    root = tmp_path_factory.mktemp("chain")
    consumption_chain.make_shards(Store(str(root / "store"), root / "scratch"))
    return root / "store"


@pytest.fixture
def store(made: Path, settings: Settings) -> Store:
    """That store, as the settings name it."""
    store: Store = forge_resources(settings)["forge_store"].open()
    shutil.copytree(made, store.address, dirs_exist_ok=True)
    return store


@pytest.fixture
def training(store: Store) -> Manifest:
    return publish_training(store, store.latest(MODEL, "tokenized_shards"), steps=STEPS, batch=4)


@pytest.fixture
def run(forge: Forge) -> Forge:
    """Call `forge consumed`."""
    return partial(forge, "consumed")


def register(store: Store, training: Manifest, version: int, experiment: str) -> None:
    """Publish what a registration leaves in the store: a report of the training, and its version."""
    report = _publish(store, "evaluation_report", {"checkpoint": training.fingerprint}, {"metrics": 1})
    _publish(store, "registered_model", {"report": report.fingerprint, "mlflow": experiment}, {"version": version})


def _publish(store: Store, kind: str, inputs: dict[str, str], counts: dict[str, int]) -> Manifest:
    request = StageRequest(kind=kind, name=MODEL, inputs=inputs, parameters={}, code_version="1")
    return store.obtain(request, lambda _: Made(counts, Classification.INTERNAL)).manifest


def test_in_a_pipe_each_document_of_a_step_is_one_line_with_its_columns_between_tabs(
    run: Forge, store: Store, training: Manifest
) -> None:
    code, lines, said = run(MODEL, "--step", "7")
    expected = Consumption(store, training).of_step(7)
    assert code == 0
    assert [line.split("\t") for line in lines] == [
        [each.doc_id, each.corpus, each.source, each.uri, "1", str(each.tokens)] for each in expected
    ]
    assert said.splitlines() == [
        f"tiny/trained_checkpoint {training.fingerprint[:12]}, made {training.created_at}: 60 steps of 4 sequences",
        f"step 7 consumed {len(expected)} documents, {sum(each.tokens for each in expected)} tokens",
    ]


def test_a_person_sees_the_first_and_the_last_step_of_a_document_and_a_table_of_all(
    run: Forge, store: Store, training: Manifest
) -> None:
    document = Consumption(store, training).of_step(STEPS)[0]
    whole = Consumption(store, training).of_documents([document.doc_id], document.corpus)[0]
    code, lines, said = run(MODEL, "--doc", document.doc_id, terminal=True)
    shown = plain(lines)
    steps = sorted({reading.step for reading in whole.readings})
    assert (code, said) == (0, "")
    title = f"{document.source}: {document.uri} ({document.doc_id[:12]})"
    consumed = f"consumed at {len(steps)} steps, first {steps[0]}, last {STEPS}, from corpus {document.corpus}"
    assert shown[1] == f"{title}: {consumed}"
    assert shown[2].split() == ["document", "corpus", "step", "epoch", "sample", "tokens"]
    assert [row.split() for row in shown[3:]] == [
        [document.doc_id[:12], document.corpus, *map(str, (each.step, each.epoch, each.sample, each.tokens))]
        for each in whole.readings
    ]


def test_a_copy_is_answered_with_the_steps_of_the_one_that_stands_for_it(run: Forge, training: Manifest) -> None:
    answers = {path: run(MODEL, "--doc", path) for path in (COPIED, "copies/exact.md", "copies/near.md")}
    assert {code for code, _, _ in answers.values()} == {0}
    assert len({tuple(lines) for _, lines, _ in answers.values()}) == 1
    copies = [said.splitlines()[1] for _, _, said in answers.values() if ": a copy of handbook: " in said]
    assert len(copies) == 2
    assert all("that one: consumed at " in sentence for sentence in copies)


def test_a_document_that_no_step_consumed_is_explained_and_the_exit_code_is_1(run: Forge, training: Manifest) -> None:
    code, lines, said = run(MODEL, "--doc", "stub.md")
    assert (code, lines) == (1, [])
    assert re.fullmatch(
        r"handbook: stub\.md \([0-9a-f]{12}\): rejected in corpus library by the rule length: .*", said.splitlines()[1]
    )


ONE_QUESTION = "forge consumed answers one question at a time; write --step N or --doc ID"
NO_STEP = "tiny was trained for steps 1 to 60, so there is no step {}; ask for one of these"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("tiny --step 61", NO_STEP.format(61)),
        ("tiny --step 0", NO_STEP.format(0)),
        ("tiny", ONE_QUESTION),
        ("tiny --step 1 --doc x", ONE_QUESTION),
        ("tiny --step 1 --version 3", "tiny has no version 3 in STORE; it has none"),
        ("tiny@b --step 1 --version 3", "tiny@b names a version itself; leave --version away, or the alias"),
        ("Tiny --step 1", "«Tiny» names no model; write MODEL or MODEL@ALIAS, for example tiny@champion"),
        ("other --step 1", "no finished training of other is in STORE: trained are tiny; run `forge run other`"),
        (
            "tiny --doc nowhere.md",
            "tiny was not trained on nowhere.md: it is in none of its corpora, library, notes; write a doc_id, at "
            "least 8 digits of its beginning, or a uri, as `forge documents` shows it",
        ),
    ],
)
def test_what_cannot_be_answered_is_one_sentence(
    run: Forge, store: Store, training: Manifest, arguments: str, sentence: str
) -> None:
    code, lines, said = run(*arguments.split())
    assert (code, lines) == (1, [])
    assert said.splitlines()[-1] == f"forge: {sentence.replace('STORE', store.address)}"


def test_shards_without_a_finished_training_are_no_answer(run: Forge, store: Store) -> None:
    code, lines, said = run(MODEL, "--step", "1")
    assert (code, lines) == (1, [])
    assert said == (
        f"forge: no finished training of tiny is in {store.address}: no model is trained yet; run `forge run tiny`\n"
    )


def test_a_version_is_that_of_its_own_training_and_not_the_latest(run: Forge, store: Store, training: Manifest) -> None:
    register(store, training, version=1, experiment="a")
    longer = publish_training(store, store.latest(MODEL, "tokenized_shards"), steps=2 * STEPS, batch=4)
    register(store, longer, version=2, experiment="a")
    assert run(MODEL, "--step", "61")[0] == 0
    assert run(MODEL, "--step", "61", "--version", "2")[0] == 0
    code, _, said = run(MODEL, "--step", "61", "--version", "1")
    assert (code, "steps 1 to 60, so there is no step 61" in said) == (1, True)
    assert run(MODEL, "--step", "1", "--version", "7")[2].endswith(f"no version 7 in {store.address}; it has 1, 2\n")
    register(store, longer, version=1, experiment="b")
    code, _, said = run(MODEL, "--step", "1", "--version", "1")
    assert (code, said) == (1, "forge: 2 MLflows have a version 1 of tiny; write tiny@ALIAS for this one's\n")


def test_an_alias_names_the_training_of_its_version_in_this_mlflow(
    run: Forge, store: Store, training: Manifest, settings: Settings
) -> None:
    longer = publish_training(store, store.latest(MODEL, "tokenized_shards"), steps=2 * STEPS, batch=4)
    with forge_environment(settings):
        tracking = forge_resources(settings)["forge_registry"].open()
        register(store, longer, version=1, experiment="another MLflow")
        register(store, training, version=1, experiment=tracking.experiment(MODEL).identity)
        tracking.ask("create_registered_model", MODEL)
        tracking.ask("create_model_version", MODEL, store.address)
        tracking.ask("set_registered_model_alias", MODEL, "champion", "1")
        code, _, said = run(f"{MODEL}@champion", "--step", "61")
        assert (code, "steps 1 to 60, so there is no step 61" in said) == (1, True)
        assert run(f"{MODEL}@champion", "--step", "60")[0] == 0
        code, _, said = run(f"{MODEL}@candidate", "--step", "60")
        assert (code, "tiny has no alias @candidate; it has @champion (version 1)" in said) == (1, True)


def test_the_answer_takes_less_than_a_second_of_a_core_on_top_of_the_start_of_any_command(training: Manifest) -> None:
    start, said = core_seconds("--help")
    assert "consumed" in said
    whole, said = core_seconds("consumed", MODEL, "--doc", COPIED)
    assert said.count("\n") > 1
    assert whole - start < 1.0


def core_seconds(*arguments: str) -> tuple[float, str]:
    """Run `forge` as a process; return the seconds of a core that it took, and what it wrote."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "forge_assets.cli", *arguments]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, said
