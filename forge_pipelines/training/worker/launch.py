"""torchrun on this machine alone: starts the ranks, waits for them, and says how one ended that could not say it.

It is torchrun's own agent with two differences. The ranks are told its process id, so that they end with it. And it
finds them by a file and under the name localhost: torchrun would open a port on every interface, and ask the name
service for this machine's name.
"""

import os
import signal
import socket
import sys
from pathlib import Path

from forge_pipelines.importing import uncollected

with uncollected():
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    from forge_pipelines.training.job import Failed, TrainingJob, to_line
    from forge_pipelines.training.memory import remedy
    from forge_pipelines.training.worker import LAUNCHER_PID

_SHUTDOWN_SECONDS = 5


def launch(job_path: Path) -> int:
    """Run the ranks of a job to their end; return 0 when all of them succeeded, and end this process otherwise."""
    job = TrainingJob.model_validate_json(job_path.read_text())
    os.environ[LAUNCHER_PID] = str(os.getpid())
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    socket.getfqdn = lambda _name="": "localhost"  # type: ignore[assignment]
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=job.world_size,
        run_id="forge",
        rdzv_backend="c10d",
        rdzv_endpoint=str(job.rendezvous / "launcher"),
        rdzv_configs={"store_type": "file"},
        local_addr="127.0.0.1",
        max_restarts=0,
        logs_specs=DefaultLogsSpecs(log_dir=str(job.rendezvous / "torchrun")),
        shutdown_timeout=_SHUTDOWN_SECONDS,
    )
    try:
        elastic_launch(config, sys.executable)("-m", "forge_pipelines.training.worker", str(job_path))
    except ChildFailedError as error:
        # The ranks that lost a killed one fail too, and may be counted first.
        killed = [(rank, -failure.exitcode) for rank, failure in error.failures.items() if failure.exitcode < 0]
        if killed:
            rank, number = killed[0]
            name = signal.Signals(number).name
            message = f"rank {rank} was ended by {name}"
            if number == signal.SIGKILL:
                message = f"{message}; the usual reason is memory that ran out: {remedy(job.recipe)}"
            sys.stdout.write(to_line(Failed(fault="platform", message=message)))
        sys.stdout.flush()
        # At once: where a full disk has torn its rendezvous' file, torch would read it for ever before it lets go.
        os._exit(1)
    return 0


if __name__ == "__main__":
    sys.exit(launch(Path(sys.argv[1])))
