"""Runs a job's ranks as child processes, and turns how they ended into a result or an error."""

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from forge_pipelines import processes
from forge_pipelines.errors import PlatformError
from forge_pipelines.staging import FULL_DISK_BYTES
from forge_pipelines.training.job import Failed, Finished, StepDone, TrainingJob, from_line
from forge_pipelines.training.usage import Meter
from forge_pipelines.training.vigil import Vigil, sentence_of


@dataclass(frozen=True, slots=True)
class TrainingEnvironment:
    """What training may use of the machine.

    Attributes:
        cache_folder: where libraries keep what they compile.
        log_folder: where the ranks' logs are written.
        visible_gpus: GPUs that the ranks will see; with 0 they train on the CPU.
        gpu_memory_bytes: of the smallest of them; None where that is not known.
    """

    cache_folder: Path
    log_folder: Path
    visible_gpus: int = 0
    gpu_memory_bytes: int | None = None


def run_ranks(
    job: TrainingJob,
    folder: Path,
    environment: TrainingEnvironment,
    log: Path,
    on_step: Callable[[StepDone], None],
    locks: Sequence[int] = (),
) -> Finished:
    """Train in processes of their own; none of them is left when this returns or raises.

    Args:
        job: what to train.
        folder: an existing folder for the job's own files.
        environment: what may be used of the machine.
        log: file that the ranks' output is appended to.
        on_step: told of every step.
        locks: descriptors of locks that stay held until the last of the processes is gone, even if this one is killed.

    Raises:
        ConfigError: no network can be built from the recipe.
        DataError: the loss is no longer a number.
        PlatformError: a rank hangs, was killed, ran out of memory or disk, or failed for a reason that only the log
            tells.
    """
    job_path = folder / "job.json"
    job_path.write_text(job.model_dump_json(indent=2))
    shutil.rmtree(job.rendezvous, ignore_errors=True)
    job.rendezvous.mkdir()
    log.parent.mkdir(parents=True, exist_ok=True)
    ends: list[Finished | Failed] = []
    vigil, meter = Vigil(job), Meter(job, folder)

    def on_line(line: str) -> None:
        event = from_line(line)
        if isinstance(event, StepDone):
            meter.goes_on(event.energy_joules)
            on_step(event)
        elif event is not None:
            ends.append(event)

    def on_silence() -> None:
        meter.goes_on()
        if stall := vigil.look():
            vigil.ask_for_stacks(log)
            raise PlatformError(f"{job.name}: {sentence_of(stall, job, log)}")

    try:
        code = processes.run(
            [sys.executable, "-m", "forge_pipelines.training.worker.launch", str(job_path)],
            on_line,
            environment=_variables(job, environment),
            log=log,
            on_silence=on_silence,
            pass_descriptors=locks,
        )
    finally:
        meter.ended()
    failures = [end for end in ends if isinstance(end, Failed)]
    if failures:
        raise failures[0].error(job.name)
    if code != 0 or not ends:
        raise PlatformError(f"{job.name}: {unexplained('the training processes', code, folder, log)}")
    assert isinstance(ends[0], Finished)
    return ends[0]


def unexplained(what: str, code: int, folder: Path, log: Path) -> str:
    """Say why processes may have ended with an exit code and without a word: the disk is full, or the log knows."""
    if shutil.disk_usage(folder).free < FULL_DISK_BYTES:
        return f"the disk that holds {folder} is full; free some space and run the same command again"
    return f"{what} ended with exit code {code}; the log {log} says why"


def _variables(job: TrainingJob, environment: TrainingEnvironment) -> Mapping[str, str]:
    variables = {
        "OMP_NUM_THREADS": str(max(1, processes.available_cores() // job.world_size)),
        "TOKENIZERS_PARALLELISM": "false",
        "DS_ACCELERATOR": job.device,
        "TORCH_EXTENSIONS_DIR": str(environment.cache_folder / "torch_extensions"),
        "TRITON_CACHE_DIR": str(environment.cache_folder / "triton"),
        "TORCHINDUCTOR_CACHE_DIR": str(environment.cache_folder / "inductor"),
        # One layer is compiled, for all of them: it starts sooner, and what stands around layers may depend on numbers.
        "ACCELERATE_DYNAMO_USE_REGIONAL_COMPILATION": "true",
        # The ranks of one machine talk over loopback alone.
        "GLOO_SOCKET_IFNAME": "lo",
        "NCCL_SOCKET_IFNAME": "lo",
        **processes.NOTHING_LEAVES,
    }
    if job.device == "cuda":
        return {**variables, "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}  # without it, cuBLAS may add up in another order
    return {**variables, **processes.KEEPS_MEMORY, **processes.NO_GPU}
