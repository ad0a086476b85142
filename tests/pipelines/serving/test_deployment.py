"""What a deployment leaves on the disk: nothing, whatever ends its process."""

import subprocess
import sys
from pathlib import Path

from forge_pipelines.serving.admission import Limits
from forge_pipelines.serving.deployment import SERVED, Deployment, ServedModel

_DEPLOY = """
import sys, time
from pathlib import Path
from forge_pipelines.serving.admission import Limits
from forge_pipelines.serving.deployment import Deployment, ServedModel
model = ServedModel("tiny:1", frozenset(), tuple(Path(sys.argv[1]).iterdir()))
deployment = Deployment(model, Path(sys.argv[2]), Limits())
print("made", flush=True)
time.sleep(600)
"""


def folders(log: Path) -> list[Path]:
    return [path for path in (log.parent / SERVED).iterdir() if path.is_dir()]


def test_what_an_engine_saw_is_removed_at_its_end_and_after_a_kill_at_the_next_start(
    models: Path, tmp_path: Path
) -> None:
    log, files = tmp_path / "serve.log", models / "v1"
    with subprocess.Popen([sys.executable, "-c", _DEPLOY, files, log], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "made\n"
        finally:
            process.kill()
    [left] = folders(log)
    deployment = Deployment(ServedModel("tiny:1", frozenset(), tuple(files.iterdir())), log, Limits())
    [own] = folders(log)
    assert own != left
    assert {path.name for path in own.iterdir()} == {path.name for path in files.iterdir()}
    deployment.end()
    assert folders(log) == []
