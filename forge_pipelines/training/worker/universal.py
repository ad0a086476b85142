"""A checkpoint for any number of ranks: converted in a process of its own, and loaded.

``python -m forge_pipelines.training.worker.universal PARENT_PID CHECKPOINT FOLDER``
"""

import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from forge_pipelines.channel import standard_output
from forge_pipelines.importing import uncollected
from forge_pipelines.processes import die_with_parent

if __name__ == "__main__":
    die_with_parent(int(sys.argv[1]))

with uncollected():
    import torch
    from deepspeed.checkpoint import ds_to_universal
    from transformers import Trainer, TrainerCallback

_LATEST = "latest_universal"
"""By this file, which says in which folder it stands, DeepSpeed finds a universal checkpoint."""


def convert(checkpoint: Path, folder: Path) -> None:
    """Write what DeepSpeed saved of a verified checkpoint as a universal checkpoint into a folder."""
    saved = (checkpoint / "latest").read_text().strip()
    ds_to_universal.main(
        Namespace(
            input_folder=str(checkpoint / saved),
            output_folder=str(folder / f"{saved}_universal"),
            num_extract_workers=1,
            num_merge_workers=1,
            keep_temp_folder=False,
            strict=True,
            inject_missing_state=True,
        )
    )


def prepare_universal(trainer: Trainer, checkpoint: Path | None) -> None:
    """Have a trainer that is to go on from a checkpoint load it as a universal one, if that is what it is."""
    if checkpoint is None or not (checkpoint / _LATEST).is_file():
        return
    config = trainer.accelerator.state.deepspeed_plugin.hf_ds_config.config
    config["checkpoint"] = {**config.get("checkpoint", {}), "load_universal": True}
    if trainer.accelerator.state.deepspeed_plugin.zero_stage == 3:
        trainer.add_callback(_Mending(trainer, checkpoint / (checkpoint / _LATEST).read_text().strip()))


class _Mending(TrainerCallback):
    """Sets right what DeepSpeed's ZeRO-3 mixes up when it loads a universal checkpoint.

    All parts of the optimizer share one tensor that counts Adam's steps, which each part then counts up; and all groups
    of parameters are given the first group's settings, its weight decay among them.
    """

    def __init__(self, trainer: Trainer, folder: Path) -> None:
        self._trainer = trainer
        self._state = folder / "zero" / "optimizer_state.pt"

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Mend it before the first step."""
        optimizer = self._trainer.deepspeed.optimizer.optimizer
        for state in optimizer.state.values():
            state["step"] = state["step"].clone()
        # A pickle of DeepSpeed's own; its hash held.
        saved = torch.load(self._state, map_location="cpu", weights_only=False)["optimizer_state_dict"]["param_groups"]
        for group, before in zip(optimizer.param_groups, saved, strict=True):
            group |= {name: value for name, value in before.items() if name != "params"}


if __name__ == "__main__":
    with standard_output():  # what DeepSpeed prints belongs in the log
        convert(Path(sys.argv[2]), Path(sys.argv[3]))
