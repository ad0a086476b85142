"""The scoring process, seen from outside: its job, its lines, its end."""

import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field

from forge_pipelines import processes
from forge_pipelines.errors import DataError, PlatformError
from forge_pipelines.evaluation.scored import Spans
from forge_pipelines.manifest import Value
from forge_pipelines.progress import OnProgress, Progress

_ANYWHERE = {**processes.NOTHING_LEAVES, "TOKENIZERS_PARALLELISM": "false"}
_ON_A_CPU = {**_ANYWHERE, **processes.KEEPS_MEMORY, **processes.NO_GPU}


class ScoringJob(Value):
    """What the worker is told, as a JSON file.

    Attributes:
        model: name of the model, for its progress reports.
        checkpoint: verified folder of the model and its tokenizer.
        base: verified folder of the open model that it was adapted from, with the same tokenizer; None when the base
            is the untrained network.
        untrained_seed: seed from which that is rebuilt.
        max_context_tokens: tokens that the networks see at once, at most.
        answer_tokens: tokens of an answer, at most.
        workspace: folder for the files that the two processes exchange.
        parent_pid: process that the worker must not outlive.
    """

    model: str
    checkpoint: Path
    base: Path | None
    untrained_seed: int
    max_context_tokens: int
    answer_tokens: int
    device: Literal["cpu", "cuda"]
    workspace: Path
    parent_pid: int = Field(default_factory=os.getpid)

    @property
    def items(self) -> Path:
        """JSON file with the `Items`."""
        return self.workspace / "items.json"

    @property
    def scores(self) -> Path:
        """Where the worker writes its `Scores`."""
        return self.workspace / "scores.json"


class Shown(Value):
    """A text to be scored, not empty.

    Attributes:
        spans: what of it is scored, in a conversation that the model's chat template wrote; None for a plain text, in
            which special tokens are only text, and which is scored whole.
    """

    text: str
    spans: Spans | None = None


class Items(Value):
    """What the networks are shown: texts to be scored, and questions to be answered."""

    texts: tuple[Shown, ...]
    questions: tuple[str, ...]


class Findings(Value):
    """What one network gave: bits of each text, and the answer to each question."""

    # A likelihood that is not finite is a finding, which JSON would turn into null.
    model_config = ConfigDict(ser_json_inf_nan="constants")

    bits: tuple[float, ...]
    answers: tuple[str, ...]


class Scores(Value):
    """What the worker found.

    Attributes:
        context_tokens: tokens that the networks saw at once.
        precision: number format of both networks' weights.
        tokens: tokens of each text that are scored.
    """

    model_config = ConfigDict(ser_json_inf_nan="constants")

    context_tokens: int
    precision: Literal["float32", "bfloat16"]
    tokens: tuple[int, ...]
    checkpoint: Findings
    base: Findings


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


def score(items: Items, job: ScoringJob, log: Path, on_progress: OnProgress) -> Scores:
    """Show texts and questions to a checkpoint and to its base, in a process of its own.

    Args:
        items: what they are shown.
        job: with what, and where.
        log: file that the process's standard error is appended to.
        on_progress: told how many windows of text are scored, and how many tokens of answers are written.

    Raises:
        DataError: the checkpoint cannot be scored; the message says why.
        PlatformError: the process was killed, or failed otherwise.
    """
    job.items.write_text(items.model_dump_json())
    job_path = job.workspace / "job.json"
    job_path.write_text(job.model_dump_json())
    listener = _Listener(on_progress)
    environment = _ANYWHERE if job.device == "cuda" else _ON_A_CPU
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
