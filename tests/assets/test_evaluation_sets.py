"""Projects whose models are measured on other corpora: what is refused when their definitions load, and what is run."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import indent

import dagster as dg
import pytest
from dg_project import begin_project

from forge_assets.checks import expectation_checks
from forge_assets.cli.run import _select, load_definitions
from forge_assets.settings import Settings
from forge_pipelines.errors import ConfigError

SOURCE = """
name: NAME
folder: {path: /nowhere, include: ["**/*.md"]}
labels: {licence: CC-BY-4.0, classification: internal}
"""

MODEL = """
name: clerk
shards:
  corpora: [CORPORA]
  tokenizer: {vocabulary_size: 400}
  sequence_length: 64
  REPLAY
training:
  architecture: {model_type: mistral, hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2,
                 num_attention_heads: 2, num_key_value_heads: 2}
  steps: 10
  batch_sequences: 4
  learning_rate: 0.01
evaluation: {general: [GENERAL]}
"""

Load = Callable[..., dg.Definitions]


@pytest.fixture
def load(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Load a project of some corpora, each with a source and the corpora that it must not hold, and perhaps a model."""
    name = "acme_" + re.sub(r"\W", "_", tmp_path.name)
    monkeypatch.syspath_prepend(str(tmp_path))

    def component(kind: str, folder: str, attributes: str) -> None:
        head = f"type: forge_assets.components.{kind}\n\nattributes:\n"
        path = tmp_path / name / "defs" / folder / "defs.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(head + indent(attributes.strip(), "  ") + "\n")

    def load_project(
        corpora: Mapping[str, str], general: str = "", trained_on: str = "{corpus: letters}", replay: str = ""
    ) -> dg.Definitions:
        begin_project(tmp_path, name)
        for corpus, against in corpora.items():
            component("Source", f"{corpus}_post", SOURCE.replace("NAME", f"{corpus}_post"))
            sets = f"\ndecontamination: {{evaluation_sets: [{against}]}}" if against else ""
            component("Corpus", corpus, f"name: {corpus}\nsources: [{corpus}_post]{sets}")
        model = MODEL.replace("CORPORA", trained_on).replace("GENERAL", general)
        component("Model", "clerk", model.replace("REPLAY", f"replay: {{corpus: {replay}}}" if replay else ""))
        return load_definitions(f"{name}.definitions")

    return load_project


AGAINST_WIKI = "{corpus: wiki}"


def refused(load: Load, corpora: Mapping[str, str], **fields: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(corpora, **fields)
    said = str(caught.value)
    assert "\n" not in said
    return said


def test_a_model_that_is_measured_on_what_its_corpus_may_hold_is_refused(load: Load) -> None:
    said = refused(load, {"letters": "", "wiki": ""}, general="wiki")
    assert "clerk/defs.yaml" in said
    assert said.endswith(
        "model clerk is measured on what corpus wiki holds out (evaluation.general), and corpus letters, which it is "
        "trained on, may hold the same text; write `- {corpus: wiki}` under decontamination.evaluation_sets in the "
        "YAML of letters"
    )


def test_each_corpus_that_the_model_is_trained_on_must_name_it(load: Load) -> None:
    said = refused(
        load,
        {"letters": AGAINST_WIKI, "notes": "{corpus: letters}", "wiki": ""},
        general="wiki",
        trained_on="{corpus: letters}, {corpus: notes}",
    )
    assert "corpus notes, which it is trained on" in said


def test_files_of_the_same_name_do_not_stand_for_the_corpus(load: Load, tmp_path: Path) -> None:
    (tmp_path / "wiki.txt").write_text("A text.")
    said = refused(load, {"letters": f"{{name: wiki, path: {tmp_path}/wiki.txt}}", "wiki": ""}, general="wiki")
    assert "write `- {corpus: wiki}`" in said


@pytest.mark.parametrize(
    ("corpora", "sentence"),
    [
        ({"letters": "{corpus: letters}"}, "corpus letters names itself under decontamination.evaluation_sets; remove"),
        (
            {"letters": AGAINST_WIKI, "wiki": "{corpus: letters}"},
            "the corpora letters → wiki → letters name each other's held-out documents under decontamination.",
        ),
        (
            {"letters": AGAINST_WIKI, "wiki": "{corpus: archive}", "archive": "{corpus: letters}"},
            "the corpora archive → letters → wiki → archive name each other's held-out documents",
        ),
        ({"letters": "{corpus: wikki}", "wiki": ""}, "unknown corpus wikki; there are letters, wiki"),
        ({"letters": "{corpus: wiki, name: exam}", "wiki": ""}, "so leave wiki alone"),
    ],
)
def test_corpora_that_cannot_be_made_are_one_sentence(load: Load, corpora: Mapping[str, str], sentence: str) -> None:
    said = refused(load, corpora)
    assert sentence in said
    assert "defs.yaml" in said


def test_whatever_is_run_makes_the_named_corpus_first(load: Load) -> None:
    definitions = load({"letters": AGAINST_WIKI, "wiki": "", "unused": ""}, general="wiki")
    made = {key.to_user_string() for key in _select("letters", definitions)}
    own = {"letters_post/raw_documents", "letters/validated_corpus"}
    assert made == own | {"wiki_post/raw_documents", "wiki/validated_corpus"}
    graph = definitions.resolve_asset_graph()
    parents = graph.get(dg.AssetKey(["letters", "validated_corpus"])).parent_keys
    assert dg.AssetKey(["wiki", "validated_corpus"]) in parents
    job = definitions.resolve_job_def("clerk")
    assert {key.to_user_string() for key in job.asset_layer.executable_asset_keys} == made | {
        f"clerk/{stage}"
        for stage in ("tokenized_shards", "trained_checkpoint", "evaluation_report", "registered_model")
    }


def test_a_replayed_corpus_is_made_first_and_its_sources_too(load: Load) -> None:
    definitions = load({"letters": "", "wiki": ""}, replay="wiki")
    graph = definitions.resolve_asset_graph()
    wiki = dg.AssetKey(["wiki", "validated_corpus"])
    for stage in ("tokenized_shards", "evaluation_report"):
        assert wiki in graph.get(dg.AssetKey(["clerk", stage])).parent_keys
    made = {key.to_user_string() for key in definitions.resolve_job_def("clerk").asset_layer.executable_asset_keys}
    assert made >= {"wiki/validated_corpus", "wiki_post/raw_documents"}


@pytest.mark.parametrize(
    ("corpora", "fields", "sentence"),
    [
        ({"letters": ""}, {"replay": "wikki"}, "unknown corpus wikki; there are letters"),
        (
            {"letters": "", "wiki": ""},
            {"replay": "wiki", "general": "wiki"},
            "evaluation.general names wiki, which the model is trained on",
        ),
        (
            {"letters": "{corpus: prose}", "wiki": "", "prose": ""},
            {"replay": "wiki", "general": "prose"},
            "corpus wiki, which it is trained on, may hold the same text",
        ),
        (
            {"letters": ""},
            {"replay": "letters"},
            "replay names letters, which stands among the corpora; give it a weight there, or replay another",
        ),
    ],
)
def test_a_replayed_corpus_is_one_that_the_model_is_trained_on(
    load: Load, corpora: Mapping[str, str], fields: dict[str, str], sentence: str
) -> None:
    said = refused(load, corpora, **fields)
    assert sentence in said
    assert "clerk/defs.yaml" in said


def test_a_check_says_what_a_warning_says(tmp_path: Path) -> None:
    rows = (
        '[{"severity": "warning", "success": false, "expectation": "contributions(mail)", "message": "keeps 3 of 63"}]'
    )
    (tmp_path / "expectations.json").write_text(rows)
    blocking, warnings = expectation_checks(tmp_path)
    assert (blocking.passed, blocking.description) == (True, None)
    assert (warnings.passed, warnings.description) == (False, "keeps 3 of 63")
    assert warnings.metadata["failed"].value == "contributions(mail)"
