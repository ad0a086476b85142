"""One rank, as `launch` starts it: ``python -m forge_pipelines.training.worker JOB.json``."""

import os
import sys
import traceback
from pathlib import Path

from forge_pipelines import processes
from forge_pipelines.gpu.joining import LEASE_VARIABLE, join_lease
from forge_pipelines.importing import uncollected
from forge_pipelines.training.worker import LAUNCHER_PID

# The first acts of a rank, before the slow imports: it ends with its launcher, and holds its step's devices until then.
processes.die_with_parent(int(os.environ[LAUNCHER_PID]))
join_lease(os.environ.get(LEASE_VARIABLE))
# DeepSpeed's autotuner imports MLflow where it is installed; a rank has no business with it.
sys.modules["mlflow"] = None  # type: ignore[assignment]

from forge_pipelines.channel import standard_output  # noqa: E402
from forge_pipelines.training.heartbeat import Heart  # noqa: E402
from forge_pipelines.training.job import Failed, TrainingJob, to_line  # noqa: E402

_JOB = TrainingJob.model_validate_json(Path(sys.argv[1]).read_text())
_RANK = int(os.environ["RANK"])
_HEART = Heart(_JOB.rendezvous, _RANK)

with uncollected():
    from forge_pipelines.training.worker.failures import named
    from forge_pipelines.training.worker.training import train_rank
    from forge_pipelines.training.worker.watch import Report


def main() -> int:
    """Train as the rank that torchrun's variables name; report every failure that has a sentence, and return 1."""
    with standard_output() as events:
        return _train(lambda event: events.write(to_line(event)))


def _train(report: Report) -> int:
    read = [folder for folder in (_JOB.base, _JOB.resume_from) if folder is not None]
    sizes = (path.stat().st_size for folder in read for path in folder.rglob("*") if path.is_file())
    _HEART.beat("starting", slow_bytes=sum(sizes))
    try:
        train_rank(_JOB, _RANK, report, _HEART)
    except Exception as error:
        traceback.print_exc()
        if (failure := named(error, _JOB)) is None:
            raise
        report(Failed.of(failure))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
