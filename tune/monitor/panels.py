"""The one list of panels: what Grafana's boards query is what the page `watch` shows from the records.

A panel's first query is a metric of `Tally` or of the exporter as it is, so that its number equals one of the records.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

WHERE = '{study=~"$study"}'


@dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes:
        board: The board that has it.
        title: Its title.
        unit: Its unit, as Grafana names it.
        description: What it shows, in a sentence.
        metric: The metric whose samples it shows.
        by: The labels that tell its series apart.
        field: The field of the records that it shows.
        query: Its query in PromQL; empty: the metric itself.
        more: A second query, and its legend.
    """

    board: str
    title: str
    unit: str
    description: str
    metric: str
    field: str
    by: tuple[str, ...] = ()
    query: str = ""
    more: tuple[str, str] | None = None

    @property
    def expr(self) -> str:
        """The first query; a snapshot and a later driver may both have a series: the maximum counts."""
        return self.query or f"max by ({', '.join(('study', *self.by))}) ({self.metric}{WHERE})"

    @property
    def legend(self) -> str:
        return " ".join(f"{{{{{label}}}}}" for label in ("study", *self.by))


def _rate(metric: str) -> str:
    """Returns the query of a number of this start for each trial that ended in it."""
    return f"max by (study) ({metric}{WHERE}) / on (study) (max by (study) ({ENDED}{WHERE}) > 0)"


ENDED = "t5vqvae_trials_ended_in_attempt"
SNAPSHOT = "the snapshot prometheus/ended/<study>.prom"


def _row(
    metric: str,
    title: str,
    unit: str,
    field: str,
    description: str,
    by: tuple[str, ...] = (),
    more: tuple[str, str] | None = None,
) -> Panel:
    """Returns a panel of a study, which is put on a board later."""
    return Panel("", title, unit, description, f"t5vqvae_{metric}", field, by, more=more)


# fmt: off
_COMMON = [
    _row("trials", "Trials by status", "short", "TrialRecord.status",
         "Trials of the study by how they ended; running ones too.", by=("status",)),
    _row("attempt", "Attempt", "short", "events.jsonl: events `start`",
         "Which start of the study this is, from 1."),
    _row("time_left_seconds", "Time left", "s", "Study.progress().left",
         "Time to the end at the pace of this start."),
    _row("driver_seconds_total", "Driver time", "s", SNAPSHOT,
         "CPU time of the driver in this start.",
         more=(_rate("t5vqvae_driver_seconds_total"), "per trial that ended in it")),
    _row("sampler_seconds_total", "Sampler time", "s", SNAPSHOT,
         "Time in which the sampler chose trials in this start.",
         more=(_rate("t5vqvae_sampler_seconds_total"), "per trial that ended in it")),
    _row("lost_seconds_total", "Time lost to retries", "s", SNAPSHOT,
         "Time since the last report of each trial that began again."),
    _row("trial_seconds_total", "Time of ended trials", "s", "TrialRecord.seconds",
         "Time that ended trials took, all their starts."),
    _row("outbox_bytes", "Outbox backlog", "bytes", "trials/*/spool/*.jsonl",
         "What was not sent to MLflow yet."),
    _row("outbox_age_seconds", "Outbox age", "s", "trials/*/spool/*.jsonl",
         "How long MLflow has taken nothing of what waits longest."),
    _row("disk_bytes", "Disk of the study", "bytes", "the study's folder",
         "What the study's folder takes of the disk."),
    _row("disk_free_bytes", "Disk free", "bytes", "the state folder",
         "What is free on the disk of the state folder."),
]
_SEARCH = [
    _row("best_objective", "Best objective", "none", "TrialRecord.metrics",
         "The objectives of the best trial so far that keeps all constraints.", by=("metric",)),
    _row("best_rate_bits", "Rate of the best trial", "none", "TrialRecord.metrics: rate/joint_bits_per_token",
         "The joint rate of the best trial, in bits a token."),
    _row("trials_counting", "Trials that count", "short", "Study.ranked",
         "Trials that may count as best: completed, and all constraints kept."),
    _row("trial_step", "Steps of running trials", "short", "RunningTrial.step",
         "Optimizer steps done by each running trial; gone when it ends.", by=("trial",)),
    _row("trial_objective", "Objectives of running trials", "none", "RunningTrial.metrics",
         "The objectives of each running trial; gone when it ends.", by=("trial", "metric")),
    _row("rung_survivors", "Survivors by rung", "short", "TrialRecord.steps",
         "Trials that went on beyond each rung of successive halving.", by=("rung",)),
    _row("gpu_share", "Share of a GPU", "percentunit", SNAPSHOT,
         "The largest share of a GPU among running trials."),
    _row("gpu_out_of_memory_total", "Out of GPU memory", "short", SNAPSHOT,
         "Attempts that ran out of a GPU's memory in this start."),
]
_ABLATION = [
    _row("arm_runs", "Runs by arm", "short", "tags arm and phase of the run",
         "Ended runs of each arm by phase.", by=("arm", "phase")),
    _row("arm_seeds", "Seeds by arm", "short", "tags arm and seed of the run",
         "Seeds on which each arm has completed its comparison.", by=("arm",)),
]
# fmt: on
OF_STUDIES = [
    replace(panel, board=board)
    for board, panels in (("search", [*_SEARCH, *_COMMON]), ("ablation", [*_ABLATION, *_COMMON]))
    for panel in panels
]

_QUANTILE = "histogram_quantile({}, sum by (le, route) (rate(t5vqvae_serve_latency_seconds_bucket[5m])))"
SERVING = [
    Panel(
        "serving",
        "Requests a second",
        "reqps",
        "Answered requests by route and status.",
        "t5vqvae_serve_requests_total",
        "/metrics of serve",
        ("route", "status"),
        "sum by (route, status) (rate(t5vqvae_serve_requests_total[5m]))",
    ),
    Panel(
        "serving",
        "Latency, median and 95%",
        "s",
        "Seconds from request to answer, by route.",
        "t5vqvae_serve_latency_seconds",
        "/metrics of serve",
        ("route",),
        _QUANTILE.format(0.5),
        (_QUANTILE.format(0.95), "95% {{route}}"),
    ),
    Panel(
        "serving",
        "Batch size",
        "short",
        "Mean texts of a batch.",
        "t5vqvae_serve_batch_size",
        "/metrics of serve",
        (),
        "sum(rate(t5vqvae_serve_batch_size_sum[5m])) / sum(rate(t5vqvae_serve_batch_size_count[5m]))",
    ),
    Panel(
        "serving",
        "Queue",
        "short",
        "Requests that wait for a batch.",
        "t5vqvae_serve_queue_length",
        "/metrics of serve",
        (),
        "sum(t5vqvae_serve_queue_length)",
    ),
    Panel(
        "serving",
        "Model",
        "short",
        "The model and version that is served.",
        "t5vqvae_serve_model_info",
        "/metrics of serve",
        ("name", "version"),
        "max by (name, version) (t5vqvae_serve_model_info)",
    ),
]
CLUSTER = [
    Panel(
        "cluster",
        "CPU of nodes",
        "percent",
        "CPU use of each node of Ray.",
        "ray_node_cpu_utilization",
        "Ray's metrics",
        ("instance",),
        "max by (instance) (ray_node_cpu_utilization)",
    ),
    Panel(
        "cluster",
        "Memory of nodes",
        "bytes",
        "Memory in use on each node of Ray.",
        "ray_node_mem_used",
        "Ray's metrics",
        ("instance",),
        "max by (instance) (ray_node_mem_used)",
    ),
    Panel(
        "cluster",
        "GPUs",
        "percent",
        "Use of each GPU.",
        "ray_node_gpus_utilization",
        "Ray's metrics",
        ("instance", "GpuIndex"),
        "max by (instance, GpuIndex) (ray_node_gpus_utilization)",
    ),
    Panel(
        "cluster",
        "GPU memory",
        "decmbytes",
        "Memory in use of each GPU.",
        "ray_node_gram_used",
        "Ray's metrics",
        ("instance", "GpuIndex"),
        "max by (instance, GpuIndex) (ray_node_gram_used)",
    ),
]
PANELS = [*OF_STUDIES, *SERVING, *CLUSTER]
BOARDS = ("search", "ablation", "serving", "cluster")
"""Of the panels of `search` and `ablation`, `watch` shows those whose metric its study has."""
