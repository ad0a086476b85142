"""Notes which samples each rank reads. Python runs this where its folder is on the path, before anything else."""

import importlib.util
import json
import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

_WATCHED = "forge_pipelines.training.worker.samples"


def _observe(module: ModuleType) -> None:
    seen = Path(os.environ["FORGE_TEST_SEEN"]) / str(os.getpid())
    read = module._InOrder.read

    def read_and_note(self: Any, samples: Sequence[int]) -> Any:
        with seen.open("a") as file:
            file.write(json.dumps([*map(int, samples)]) + "\n")
        return read(self, samples)

    module._InOrder.read = read_and_note  # type: ignore[attr-defined]


class _Finder(MetaPathFinder):
    """Lets the one module be found as ever, and observes it once it is executed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _WATCHED:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        assert spec is not None
        assert spec.loader is not None
        execute = spec.loader.exec_module

        def execute_and_observe(module: ModuleType) -> None:
            execute(module)
            _observe(module)

        spec.loader.exec_module = execute_and_observe  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, _Finder())
