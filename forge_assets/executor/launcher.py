"""Dagster's own launcher, which also notices that a run's process is gone and that nobody is left to say so."""

import os
import signal
import socket
from typing import TYPE_CHECKING

from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, LaunchRunContext, WorkerStatus
from dagster._core.storage.dagster_run import DagsterRun

from forge_assets.executor.cluster import cluster_of
from forge_assets.executor.kubernetes import end_run
from forge_assets.executor.workers import HOST_TAG, here, worker_of
from forge_assets.settings import load_settings
from forge_pipelines.errors import ForgeError

if TYPE_CHECKING:
    from dagster._core.instance import DagsterInstance


class ForgeRunLauncher(DefaultRunLauncher):
    """Launches runs in the code server's machine, answers whether they live, and ends them when it is asked to."""

    _instance: "DagsterInstance"

    def launch_run(self, context: LaunchRunContext) -> None:
        """Launch a run, and write on it which machine and FORGE_HOME it runs on."""
        self._instance.add_run_tags(context.dagster_run.run_id, {HOST_TAG: here()})
        super().launch_run(context)

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Let Dagster's run monitoring ask."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Say whether the process of a started run lives; one on another machine is taken to."""
        fault = None if run.tags.get(HOST_TAG, here()) != here() else self._fault(run)
        if fault is None:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.FAILED, f"{fault}{_end_pods(run.run_id)}")

    def _fault(self, run: DagsterRun) -> str | None:
        """Say what is wrong with the process of a started run, if anything is."""
        worker = worker_of(load_settings().home, run.run_id)
        if worker is None:  # another executor runs it, which tells nobody of its process
            return None
        if worker.state == "hung":
            os.kill(worker.pid, signal.SIGKILL)
            return f"its process {worker.pid} hung, and was ended"
        return f"its process {worker.pid} was killed" if worker.state == "gone" else None

    def terminate(self, run_id: str) -> bool:
        """End a run and all its processes, also where the code server that had launched it is gone."""
        worker = worker_of(load_settings().home, run_id)
        run = self._instance.get_run_by_id(run_id)
        if worker is None or run is None or run.is_finished or worker.host != socket.gethostname():
            return bool(super().terminate(run_id))
        self._instance.report_run_canceling(run)
        if worker.state == "gone":
            self._instance.report_run_canceled(run, "its process was gone already")
        else:
            os.kill(worker.pid, signal.SIGINT)
        return True


def _end_pods(run_id: str) -> str:
    """Delete what a run whose process is gone has left in the cluster; say so where that fails."""
    try:
        cluster = cluster_of(load_settings())
        if cluster is not None:
            end_run(cluster, run_id)
    except ForgeError as error:
        return f"; its pods may still run: {error}"
    return ""
