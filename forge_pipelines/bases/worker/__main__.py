"""`python -m forge_pipelines.bases.worker job.json`: converts one model, and says so in a line of JSON."""

import sys
from pathlib import Path

from forge_pipelines.bases.job import ImportJob
from forge_pipelines.channel import answer
from forge_pipelines.importing import uncollected
from forge_pipelines.processes import die_with_parent

with uncollected():
    from forge_pipelines.bases.worker.convert import NotConvertibleError, convert


def main(job_path: Path) -> int:
    """Convert; return 0, or 1 after a refusal."""
    job = ImportJob.model_validate_json(job_path.read_bytes())
    die_with_parent(job.parent_pid)
    return answer(lambda: convert(job), NotConvertibleError)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
