"""What an attempt took stands in the ledger, and ends once."""

from pathlib import Path

from forge_pipelines.ledger.attempts import AttemptEnd, AttemptKey, Attempts
from forge_pipelines.ledger.postgres import postgres


def test_an_attempts_seconds_and_energy_are_kept_and_its_first_end_stands(tmp_path: Path) -> None:
    counted, uncounted = (AttemptKey(run="run", step="step", attempt=number) for number in (1, 2))
    with postgres(tmp_path, None) as databases:
        ledger = Attempts(databases.forge)
        for key in (counted, uncounted):
            ledger.begin(key, "tiny", "here", gpus=2)
        end = AttemptEnd(outcome="failed", wall_seconds=3, cpu_seconds=4, gpu_seconds=6, energy_joules=1234.5)
        ledger.end(counted, end)
        ledger.end(counted, AttemptEnd(outcome="succeeded"))
        ledger.end(uncounted, AttemptEnd(outcome="succeeded", wall_seconds=1))
        first, second = ledger.of("tiny")
    assert (first.outcome, first.wall_seconds, first.cpu_seconds, first.gpu_seconds) == ("failed", 3, 4, 6)
    assert (first.energy_joules, second.energy_joules) == (1234.5, None)
