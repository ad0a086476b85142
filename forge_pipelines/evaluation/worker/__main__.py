"""`python -m forge_pipelines.evaluation.worker job.json`: does one scoring job, and reports in JSON lines."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from forge_pipelines.channel import standard_output
from forge_pipelines.errors import DataError
from forge_pipelines.evaluation.scoring import ScoringJob
from forge_pipelines.gpu.joining import LEASE_VARIABLE, join_lease
from forge_pipelines.importing import uncollected
from forge_pipelines.processes import die_with_parent

with uncollected():
    from forge_pipelines.evaluation.worker.measure import measure


def main(job_path: Path) -> int:
    """Do a job; return 0, or 1 after a refusal, which is reported as a line."""
    job = ScoringJob.model_validate_json(job_path.read_bytes())
    die_with_parent(job.parent_pid)
    join_lease(os.environ.get(LEASE_VARIABLE))
    with standard_output() as lines:

        def tell(message: Mapping[str, Any]) -> None:
            lines.write(json.dumps(message) + "\n")

        try:
            scores = measure(job, tell)
        except DataError as error:
            tell({"refusal": str(error)})
            return 1
    job.scores.write_text(scores.model_dump_json())
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
