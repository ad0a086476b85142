"""What an attempt took stands in the ledger, ends once, and is summed up for a person."""

from pathlib import Path

import pytest

from forge_assets.attempts import ledger_of
from forge_assets.cli.attempts import show_attempts
from forge_assets.executor.outcomes import OpenAttempt, Outcomes, Usage
from forge_assets.settings import exported, load_settings
from forge_pipelines.ledger.attempts import AttemptKey
from forge_pipelines.ledger.postgres import postgres


def test_an_attempts_seconds_and_energy_are_kept_and_its_first_end_stands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counted, uncounted = (AttemptKey(run="run", step="step", attempt=number) for number in (1, 2))
    usage = Usage(wall_seconds=3, cpu_seconds=4, energy_joules=1234.4, devices=("first", "second"))
    with exported({"FORGE_HOME": str(tmp_path)}):
        settings = load_settings()
    with postgres(settings.home, settings.postgres_url):
        ledger = ledger_of(settings)
        for key in (counted, uncounted):
            ledger.begin(key, "tiny", "here", gpus=2)
        outcomes = Outcomes(ledger)
        outcomes.use(OpenAttempt(counted, outcome="failed"), usage)
        outcomes.use(OpenAttempt(counted, outcome="succeeded"), Usage())
        outcomes.use(OpenAttempt(uncounted, outcome="succeeded"), Usage(wall_seconds=1))
        first, second = ledger.of("tiny")
        assert show_attempts("tiny", settings) == 0
    assert (first.outcome, first.wall_seconds, first.cpu_seconds, first.gpu_seconds) == ("failed", 3, 4, 6)
    assert (first.energy_joules, second.energy_joules) == (1234.4, None)
    assert "2 attempts: 4.0 s, 4.0 CPU s, 6.0 GPU s, 1,234 J on GPUs (counted in 1)" in capsys.readouterr().out
