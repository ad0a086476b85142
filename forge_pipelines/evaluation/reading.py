"""A published report, opened."""

from pathlib import Path

from pydantic import ValidationError

from forge_pipelines.errors import DataError
from forge_pipelines.evaluation.report import Report

REPORT = "report.json"


def read_report(folder: Path) -> Report:
    """Read the report in a verified folder.

    Raises:
        DataError: it was written in another form than this version of Forge reads.
    """
    path = folder / REPORT
    try:
        return Report.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise DataError(f"{path} is not a report that this version of Forge can read; evaluate again") from error
