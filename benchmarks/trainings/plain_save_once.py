"""A plain save: one `torch.save` of so many bytes and one `fsync`. `plain_save_once.py WORK TIMES BYTES`.

The last two are kept, as a training keeps them.
"""

import json
import os
import sys
import time
from pathlib import Path

import torch

TENSORS, KEPT = 16, 2


def main(work: Path, times: int, num_bytes: int) -> None:
    state = [torch.randn(num_bytes // 4 // TENSORS) for _ in range(TENSORS)]
    seconds = []
    for number in range(times):
        path = work / f"plain-{number}.pt"
        started = time.monotonic()
        with path.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        seconds.append(time.monotonic() - started)
        (work / f"plain-{number - KEPT}.pt").unlink(missing_ok=True)
    for path in work.glob("plain-*.pt"):
        path.unlink()
    print(json.dumps(seconds))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
