"""Whether a metric that a callback waits for will ever be measured."""

from lightning.pytorch import LightningModule, Trainer

from salt.errors import ConfigError, unknown


def check_monitor(trainer: Trainer, pl_module: LightningModule, monitor: str, where: str) -> None:
    """Checks a metric before the first step, also where nothing was validated yet.

    Args:
        trainer: What was measured so far, by whomever.
        pl_module: What is measured in each validation.
        monitor: The name of the metric.
        where: The option that names it.

    Raises:
        ConfigError: It is no metric.
    """
    known = dict.fromkeys([*trainer.callback_metrics, *pl_module.metric_names("val")])  # type: ignore[operator]
    if monitor not in known:
        raise ConfigError(unknown("metric", monitor, known, f"in {where}"))
