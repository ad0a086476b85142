"""One rank, as `launch` starts it: ``python -m forge_pipelines.training.worker JOB.json``."""

import os
import sys
import traceback
from pathlib import Path

from forge_pipelines import processes
from forge_pipelines.gpu.joining import LEASE_VARIABLE, join_lease
from forge_pipelines.training.worker import LAUNCHER_PID

# The first acts of a rank, before the slow imports: it ends with its launcher, and holds its step's devices until then.
processes.die_with_parent(int(os.environ[LAUNCHER_PID]))
join_lease(os.environ.get(LEASE_VARIABLE))
# DeepSpeed's autotuner imports MLflow where it is installed; a rank has no business with it.
sys.modules["mlflow"] = None  # type: ignore[assignment]

import torch  # noqa: E402

from forge_pipelines.errors import ForgeError, PlatformError  # noqa: E402
from forge_pipelines.training.job import Event, Failed, TrainingJob, to_line  # noqa: E402
from forge_pipelines.training.worker.training import train_rank  # noqa: E402


def main(job_path: Path) -> int:
    """Train as the rank that torchrun's variables name; report every failure that has a sentence, and return 1."""
    # Events alone go to standard output: what libraries print there goes to the log.
    events = os.dup(1)
    os.dup2(2, 1)

    def report(event: Event) -> None:
        os.write(events, to_line(event).encode())

    job = TrainingJob.model_validate_json(job_path.read_text())
    try:
        train_rank(job, int(os.environ["RANK"]), report)
    except ForgeError as error:
        report(Failed.of(error))
        return 1
    except torch.OutOfMemoryError:
        traceback.print_exc()
        message = "the GPU's memory ran out; lower training.micro_batch_sequences or raise training.zero_stage"
        report(Failed.of(PlatformError(message)))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
