"""The YAML that people write: scaffolded ready to use, checked with file, line and field, loaded fast."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dg_project import begin_project
from pydantic import ValidationError

from forge_assets.components.corpus import CorpusScaffolder
from forge_assets.components.model import ModelConfig, ModelScaffolder
from forge_assets.components.source import SourceScaffolder
from forge_assets.definitions import defs
from forge_pipelines.corpus.config import CorpusConfig
from forge_pipelines.gpu.request import GPU_TAG
from forge_pipelines.manifest import STAGES
from forge_pipelines.sources.config import SourceConfig


def dg(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(project), "DAGSTER_HOME": str(project / "home"), "COLUMNS": "200"}
    (project / "home").mkdir(exist_ok=True)
    command = [Path(sys.executable).parent / "dg", *arguments]
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    begin_project(tmp_path, "acme")
    (tmp_path / "acme" / "defs").mkdir()
    (tmp_path / "acme" / "defs" / "__init__.py").touch()
    (tmp_path / "acme" / "definitions.py").write_text(
        "from pathlib import Path\nimport dagster as dg\n"
        "defs = dg.load_from_defs_folder(path_within_project=Path(__file__).parent)\n"
    )
    return tmp_path


@pytest.mark.parametrize(
    ("scaffolder", "config"),
    [(SourceScaffolder, SourceConfig), (CorpusScaffolder, CorpusConfig), (ModelScaffolder, ModelConfig)],
)
def test_a_scaffolded_file_works_after_two_fields_are_filled_in(scaffolder: type, config: type) -> None:
    template = scaffolder.template
    assert template.count("FILL-IN") <= 2
    filled_in = template.replace("licence: FILL-IN", "licence: MIT").replace("FILL-IN", "something")
    attributes = yaml.safe_load(filled_in.replace("NAME", "mine"))
    assert config.model_validate(attributes).name == "mine"


WRONG = {
    "stepz": ("steps: 300", "steps: 300\n    stepz: 4"),
    "learning_rate": ("learning_rate: 0.001", "learning_rate: fast"),
    "batch_sequences": ("batch_sequences: 8", "batch_sequences: 0"),
}


def test_dg_scaffolds_a_model_and_names_file_line_and_field_of_what_is_wrong(project: Path) -> None:
    result = dg(project, "scaffold", "defs", "forge_assets.components.Model", "models/mine")
    assert result.returncode == 0, result.stdout + result.stderr
    mine = project / "acme/defs/models/mine/defs.yaml"
    mine.write_text(mine.read_text().replace("FILL-IN", "letters"))
    checked = dg(project, "check", "yaml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    for old, new in WRONG.values():
        mine.write_text(mine.read_text().replace(old, new))
    checked = dg(project, "check", "yaml")
    assert checked.returncode != 0
    for field in WRONG:
        lines = enumerate(mine.read_text().splitlines(), 1)
        line = next(number for number, text in lines if text.strip().startswith(f"{field}:"))
        assert f"models/mine/defs.yaml:{line}" in checked.stdout, checked.stdout
        assert field in checked.stdout


BASED = {"name": "mine", "base": "llama", "shards": {"corpora": [{"corpus": "letters"}]}, "training": {"steps": 1}}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"base": None}, "needs a `base` to adapt, or a `training.architecture`"),
        ({"training": {"steps": 1, "architecture": {"model_type": "llama"}}}, "remove `training.architecture`"),
        ({"shards": {**BASED["shards"], "tokenizer": {"vocabulary_size": 400}}}, "remove `shards.tokenizer`"),
        (
            {"base": None, "training": {"steps": 1, "objective": "continue"}},
            "continue goes on from an open model; name it",
        ),
        (
            {"base": None, "training": {"steps": 1, "objective": "sft"}},
            "sft goes on from an open model; name it as `base`",
        ),
        (
            {
                "shards": {**BASED["shards"], "tokenizer": {"vocabulary_size": 400}},
                "training": {"steps": 1, "objective": "dpo"},
            },
            "remove `shards.tokenizer`",
        ),
    ],
)
def test_a_model_is_adapted_or_trained_from_scratch_and_says_which(changes: dict[str, object], sentence: str) -> None:
    assert ModelConfig.model_validate(BASED).base == "llama"
    with pytest.raises(ValidationError, match=sentence):
        ModelConfig.model_validate({**BASED, **changes})


def test_the_definitions_load_fast_and_without_the_heavy_packages() -> None:
    script = (
        "import sys, time, json; import dagster; started = time.process_time(); import forge_assets.definitions;"
        "heavy = ['torch', 'mlflow', 'transformers', 'datasets', 'great_expectations'];"
        "print(json.dumps([time.process_time() - started, [name for name in heavy if name in sys.modules]]))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    seconds, heavy = json.loads(result.stdout.splitlines()[-1])
    assert heavy == []
    assert seconds < 4, "the house's own budget is 2 s on a quiet machine"


def test_the_six_assets_stand_under_their_fixed_names() -> None:
    keys = {key.to_user_string() for key in defs.resolve_asset_graph().executable_asset_keys}
    assert keys >= {"bank_knowledge/raw_documents", "bank/validated_corpus"}
    assert keys >= {f"{model}/{stage}" for model in ("bank_assistant", "tiny") for stage in STAGES[2:]}


def test_training_and_evaluation_carry_the_gpu_tag() -> None:
    keys = defs.resolve_asset_graph().executable_asset_keys
    tagged = {key.path[-1] for key in keys if GPU_TAG in defs.resolve_assets_def(key).op.tags}
    assert tagged == {"trained_checkpoint", "evaluation_report"}
