"""The one list of panels: what Grafana's boards query is what the page `watch` shows from the records.

A panel's first query is a metric of `Tally` or of the exporter as it is, so that its number equals one of the records.
"""

from __future__ import annotations

from dataclasses import dataclass

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
        """The first query; a snapshot and a later driver may both have a series, hence the maximum."""
        return self.query or f"max by ({', '.join(('study', *self.by))}) ({self.metric}{WHERE})"

    @property
    def legend(self) -> str:
        return " ".join(f"{{{{{label}}}}}" for label in ("study", *self.by))


def _rate(metric: str) -> str:
    return f"max by (study) ({metric}{WHERE}) / on (study) sum by (study) ({ENDED})"


ENDED = 'max by (study, status) (t5vqvae_trials{study=~"$study", status!~"running|interrupted"})'
SNAPSHOT = "the snapshot prometheus/ended/<study>.prom"

_COMMON = [
    (
        "Trials by status",
        "short",
        "Trials of the study by how they ended; running ones too.",
        "trials",
        "TrialRecord.status",
        ("status",),
        None,
    ),
    (
        "Attempt",
        "short",
        "Which start of the study this is, from 1.",
        "attempt",
        "events.jsonl: events `start`",
        (),
        None,
    ),
    (
        "Time left",
        "s",
        "Time to the end at the pace of this start.",
        "time_left_seconds",
        "Study.progress().left",
        (),
        None,
    ),
    (
        "Driver time",
        "s",
        "CPU time of the driver in this start; second: per ended trial.",
        "driver_seconds_total",
        SNAPSHOT,
        (),
        (_rate("t5vqvae_driver_seconds_total"), "per trial"),
    ),
    (
        "Sampler time",
        "s",
        "Time in which the sampler chose trials in this start; second: per ended trial.",
        "sampler_seconds_total",
        SNAPSHOT,
        (),
        (_rate("t5vqvae_sampler_seconds_total"), "per trial"),
    ),
    (
        "Time lost to retries",
        "s",
        "Time since the last report of each trial that began again.",
        "lost_seconds_total",
        SNAPSHOT,
        (),
        None,
    ),
    (
        "Time of ended trials",
        "s",
        "Time that ended trials took, all their starts.",
        "trial_seconds_total",
        "TrialRecord.seconds",
        (),
        None,
    ),
    ("Outbox backlog", "bytes", "What waits for MLflow.", "outbox_bytes", "trials/*/spool/*.jsonl", (), None),
    (
        "Outbox age",
        "s",
        "Age of the oldest journal that waits for MLflow.",
        "outbox_age_seconds",
        "trials/*/spool/*.jsonl",
        (),
        None,
    ),
    (
        "Disk of the study",
        "bytes",
        "What the study's folder takes of the disk.",
        "disk_bytes",
        "the study's folder",
        (),
        None,
    ),
    (
        "Disk free",
        "bytes",
        "What is free on the disk of the state folder.",
        "disk_free_bytes",
        "the state folder",
        (),
        None,
    ),
]
_SEARCH = [
    (
        "Best objective",
        "none",
        "The objectives of the best trial so far that keeps all constraints.",
        "best_objective",
        "TrialRecord.metrics",
        ("metric",),
        None,
    ),
    (
        "Rate of the best trial",
        "none",
        "The rate of the best trial, in bits a token.",
        "best_rate_bits",
        "TrialRecord.metrics: rate/bits_per_token",
        (),
        None,
    ),
    (
        "Trials that count",
        "short",
        "Trials that may count as best: completed, and all constraints kept.",
        "trials_counting",
        "Study.ranked",
        (),
        None,
    ),
    (
        "Steps of running trials",
        "short",
        "Optimizer steps done by each running trial; gone when it ends.",
        "trial_step",
        "RunningTrial.step",
        ("trial",),
        None,
    ),
    (
        "Objectives of running trials",
        "none",
        "The objectives of each running trial; gone when it ends.",
        "trial_objective",
        "RunningTrial.metrics",
        ("trial", "metric"),
        None,
    ),
    (
        "Survivors by rung",
        "short",
        "Trials that went on beyond each rung of successive halving.",
        "rung_survivors",
        "TrialRecord.steps",
        ("rung",),
        None,
    ),
    (
        "Share of a GPU",
        "percentunit",
        "The largest share of a GPU among running trials.",
        "gpu_share",
        SNAPSHOT,
        (),
        None,
    ),
    (
        "Out of GPU memory",
        "short",
        "Attempts that ran out of a GPU's memory in this start.",
        "gpu_out_of_memory_total",
        SNAPSHOT,
        (),
        None,
    ),
]
_ABLATION = [
    (
        "Runs by arm",
        "short",
        "Ended runs of each arm by phase.",
        "arm_runs",
        "tags arm and phase of the run",
        ("arm", "phase"),
        None,
    ),
    (
        "Seeds by arm",
        "short",
        "Seeds on which each arm has completed its comparison.",
        "arm_seeds",
        "tags arm and seed of the run",
        ("arm",),
        None,
    ),
]


def _panels() -> list[Panel]:
    found = []
    for board, rows in (("search", [*_SEARCH, *_COMMON]), ("ablation", [*_ABLATION, *_COMMON])):
        for title, unit, description, metric, field, by, more in rows:
            found.append(Panel(board, title, unit, description, f"t5vqvae_{metric}", field, by, "", more))
    return found


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
PANELS = [*_panels(), *SERVING, *CLUSTER]
BOARDS = ("search", "ablation", "serving", "cluster")
"""Of the panels of `search` and `ablation`, `watch` shows those whose metric its study has."""
