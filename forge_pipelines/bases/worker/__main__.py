"""`python -m forge_pipelines.bases.worker job.json`: converts one model, and says so in a line of JSON."""

import os
import sys
from pathlib import Path

from forge_pipelines.bases.job import ImportJob, Refused
from forge_pipelines.bases.worker.convert import NotConvertibleError, convert
from forge_pipelines.processes import die_with_parent


def main(job_path: Path) -> int:
    """Convert; return 0, or 1 after a refusal."""
    job = ImportJob.model_validate_json(job_path.read_bytes())
    die_with_parent(job.parent_pid)
    # Standard output carries the one line; what libraries print goes to standard error, the log.
    with os.fdopen(os.dup(1), "w") as channel:
        os.dup2(2, 1)
        try:
            channel.write(convert(job).model_dump_json() + "\n")
        except NotConvertibleError as error:
            channel.write(Refused(message=str(error)).model_dump_json() + "\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
