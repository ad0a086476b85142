"""The scoring process, seen from outside: its job, its lines, its end."""

import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field

from forge_pipelines import processes
from forge_pipelines.errors import DataError, PlatformError
from forge_pipelines.manifest import Value
from forge_pipelines.progress import OnProgress, Progress

OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false"}


class ScoringJob(Value):
    """What the worker is told, as a JSON file.

    Attributes:
        model: name of the model, for its progress reports.
        checkpoint: verified folder of the model and its tokenizer.
        untrained_seed: seed from which the base, the untrained network, is rebuilt.
        workspace: folder for the files that the two processes exchange.
        parent_pid: process that the worker must not outlive.
    """

    model: str
    checkpoint: Path
    untrained_seed: int
    device: Literal["cpu", "cuda"]
    workspace: Path
    parent_pid: int = Field(default_factory=os.getpid)

    @property
    def texts(self) -> Path:
        """JSON file with the texts, a list of strings."""
        return self.workspace / "texts.json"

    @property
    def scores(self) -> Path:
        """Where the worker writes its `Scores`."""
        return self.workspace / "scores.json"


class Scores(Value):
    """What the worker found, text by text.

    Attributes:
        context_tokens: tokens that the model sees at once.
        tokens: tokens of each text; beginning and end of the document are not counted.
        bits: bits that the checkpoint needs for each text.
        bits_base: bits that the base needs for each text.
    """

    # A likelihood that is not finite is a finding, which JSON would turn into null.
    model_config = ConfigDict(ser_json_inf_nan="constants")

    context_tokens: int
    tokens: tuple[int, ...]
    bits: tuple[float, ...]
    bits_base: tuple[float, ...]


@dataclass(slots=True)
class _Listener:
    """Takes the worker's lines: progress as it comes, or the sentence of a refusal."""

    on_progress: OnProgress
    refusal: str | None = None

    def hear(self, line: str) -> None:
        message: dict[str, Any] = json.loads(line)
        if "refusal" in message:
            self.refusal = message["refusal"]
        else:
            self.on_progress(Progress(**message))


def score_texts(texts: Sequence[str], job: ScoringJob, log: Path, on_progress: OnProgress) -> Scores:
    """Score texts with a checkpoint and with its untrained network, in a process of its own.

    Args:
        texts: what to score; none is empty.
        job: with what, and where.
        log: file that the process's standard error is appended to.
        on_progress: told how many windows of text are scored.

    Raises:
        DataError: the checkpoint cannot be scored; the message says why.
        PlatformError: the process was killed, or failed otherwise.
    """
    job.texts.write_text(json.dumps(texts))
    job_path = job.workspace / "job.json"
    job_path.write_text(job.model_dump_json())
    listener = _Listener(on_progress)
    environment = OFFLINE if job.device == "cuda" else {**OFFLINE, "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "forge_pipelines.evaluation.worker", str(job_path)]
    log.parent.mkdir(parents=True, exist_ok=True)
    code = processes.run(command, listener.hear, environment=environment, log=log)
    if listener.refusal is not None:
        raise DataError(listener.refusal)
    if code != 0:
        raise PlatformError(_describe_end(code, log))
    return Scores.model_validate_json(job.scores.read_bytes())


def _describe_end(code: int, log: Path) -> str:
    if code == -signal.SIGKILL:
        return (
            f"the scoring process was killed (SIGKILL), most often because memory ran out; see {log}, "
            "then run the same command again"
        )
    if code < 0:
        return (
            f"the scoring process was ended by {signal.Signals(-code).name}; see {log}, then run the same command again"
        )
    last = next((line for line in reversed(log.read_text(errors="replace").splitlines()) if line.strip()), "no message")
    return f"the scoring process ended with exit code {code} ({last.strip()}); see {log}"
