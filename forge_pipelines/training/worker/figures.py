"""How fast a training goes, how well that uses its GPUs, and how long it still takes: the figures beside each loss."""

import time

import torch
from transformers import PreTrainedModel

from forge_pipelines.gpu.energy import EnergyMeter
from forge_pipelines.progress import Pace
from forge_pipelines.training.cards import find_card
from forge_pipelines.training.job import StepDone, TrainingJob
from forge_pipelines.training.speed import flops_per_token
from forge_pipelines.training.worker.sizing import shape_of, size_of


class Figures:
    """The figures of a launch.

    Args:
        job: its recipe and its devices.
        network: what is trained.
        tokens_per_step: of all ranks, padding included.
        step: after which the launch begins; the clock starts now.
    """

    def __init__(self, job: TrainingJob, network: PreTrainedModel, tokens_per_step: int, step: int) -> None:
        self._job, self._tokens_per_step = job, tokens_per_step
        self._seconds_a_token = _seconds_a_token(job, network, tokens_per_step // job.recipe.batch_sequences)
        self._energy = EnergyMeter(_uuids(job))
        self._first_step, self._started, self._pace = step, time.monotonic(), Pace(step)

    @property
    def seconds(self) -> float:
        """Time since the launch began its first step."""
        return time.monotonic() - self._started

    @property
    def gpu_memory_bytes(self) -> int | None:
        """See `StepDone`."""
        return torch.cuda.max_memory_allocated() if self._job.device == "cuda" else None

    def tokens_per_second(self, step: int) -> float:
        """Return the mean of this launch until a step that was just done, padding included."""
        return (step - self._first_step) * self._tokens_per_step / self.seconds

    def mfu(self, tokens_per_second: float) -> float | None:
        """Return the model FLOPs utilization at a speed; None where it is not known."""
        return None if self._seconds_a_token is None else self._seconds_a_token * tokens_per_second

    def of_step(self, step: int, loss: float, grad_norm: float, learning_rate: float) -> StepDone:
        """Return a step that was just done, with its figures."""
        [steps_per_second] = self._pace.per_second(step)
        return StepDone(
            step=step,
            loss=loss,
            grad_norm=grad_norm,
            learning_rate=learning_rate,
            tokens_per_second=self.tokens_per_second(step),
            remaining_seconds=(self._job.recipe.steps - step) / steps_per_second,
            mfu=self.mfu(steps_per_second * self._tokens_per_step),
            gpu_memory_bytes=self.gpu_memory_bytes,
            energy_joules=self._energy.joules(),
        )


def _uuids(job: TrainingJob) -> list[str]:
    """Return the names of the ranks' GPUs, one each, as NVML has them."""
    numbers = range(job.world_size if job.device == "cuda" else 0)
    found = (str(torch.cuda.get_device_properties(number).uuid) for number in numbers)
    return [f"GPU-{uuid.removeprefix('GPU-')}" for uuid in found]


def _seconds_a_token(job: TrainingJob, network: PreTrainedModel, sequence_length: int) -> float | None:
    """Return the seconds that all GPUs together take for a token at their peak; None where that is not known."""
    if job.device == "cpu" or job.recipe.objective == "dpo":
        return None
    card = find_card(torch.cuda.get_device_name())
    peak = card.flops(job.recipe.precision) if card else None
    return model_flops_per_token(network, sequence_length) / (peak * job.world_size) if peak else None


def model_flops_per_token(network: PreTrainedModel, sequence_length: int) -> int:
    """Return the FLOPs of forward and backward that the model needs, a token; what is computed again does not count.

    See `flops_per_token`. A weight that is not trained has no gradient of its own: 4 FLOPs instead of 6 (Hu et al.,
    2021, «LoRA», train few of them).
    """
    shape = shape_of(network)
    fixed = sum(size_of(weight) for weight in network.parameters() if not weight.requires_grad)
    return flops_per_token(shape, sequence_length) - 2 * max(0, fixed - shape.looked_up)
