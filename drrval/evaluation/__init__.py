"""Evaluation of scorers on real images and CTs: a table in; predictions, numbers with intervals and figures out.

One module per task (``cxr_*``, ``ct_*``) says how a case is read, scored and compared (:class:`Task`); ``run`` works
through the table and writes the files; ``score`` scores radiographs without a truth.
"""

from drrval.evaluation import (
    ct_lungs,
    ct_ratio,
    ct_slices,
    cxr_detection,
    cxr_localisation,
    cxr_lungs,
    cxr_severity,
)
from drrval.evaluation.document import summary
from drrval.evaluation.run import Request, evaluate
from drrval.evaluation.score import score_files
from drrval.evaluation.task import Task

TASKS: dict[str, Task] = {
    module.TASK.name: module.TASK
    for module in (cxr_detection, cxr_lungs, cxr_severity, cxr_localisation, ct_lungs, ct_slices, ct_ratio)
}
"""The tasks by name."""

__all__ = ["TASKS", "Request", "Task", "evaluate", "score_files", "summary"]
