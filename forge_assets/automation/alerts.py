"""Who is told of a run that failed: a webhook, or the log. A gate's refusal is told apart from a fault."""

import dagster as dg

from forge_assets.automation.runs import MODEL_TAG, TRIGGER_TAG
from forge_assets.automation.webhook import post
from forge_assets.faults import GATE_REFUSAL, fault_of_run
from forge_assets.settings import load_settings
from forge_pipelines.errors import PlatformError
from forge_pipelines.manifest import Value


class Alert(Value):
    """What is told of a run that failed: the JSON that the webhook gets.

    Attributes:
        text: all of it in one line, which chat services show.
        model: which model (or corpus, or source) was to be made; empty when the run does not say.
        trigger: what had started the run.
        run: its identity in Dagster.
        step: the step that failed first; empty when none did.
        fault: the kind: `gate refusal`, `data error`, `configuration error`, `platform fault`, …
        sentence: what is wrong, where, and what to do.
    """

    text: str
    model: str
    trigger: str
    run: str
    step: str
    fault: str
    sentence: str


@dg.run_failure_sensor(
    name="forge_alerts",
    description="Tells the webhook that FORGE_ALERT_WEBHOOK names, or the log, of every run that fails.",
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=10,
)
def forge_alerts(context: dg.RunFailureSensorContext) -> None:
    """Tell of a run that failed, once."""
    alert = alert_of(context)
    say = context.log.warning if alert.fault == GATE_REFUSAL else context.log.error
    webhook = load_settings().alert_webhook
    if webhook is None:
        say(alert.text)
        return
    try:
        post(webhook.get_secret_value(), alert.model_dump_json())
    except PlatformError as error:
        say(f"{alert.text} ({error})")
    else:
        context.log.info(f"told the webhook: {alert.text}")


def alert_of(context: dg.RunFailureSensorContext) -> Alert:
    """Say what a failed run's events and tags say."""
    run = context.dagster_run
    fault = fault_of_run(context.get_step_failure_events(), context.failure_event)
    model = run.tags.get(MODEL_TAG, "")
    said = f"not registered ({fault.kind})" if fault.kind == GATE_REFUSAL else f"failed ({fault.kind})"
    return Alert(
        text=f"{model or run.job_name} {said}: {fault.sentence}",
        model=model,
        trigger=run.tags.get(TRIGGER_TAG, "by hand"),
        run=run.run_id,
        step=fault.step,
        fault=fault.kind,
        sentence=fault.sentence,
    )
