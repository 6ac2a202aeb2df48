"""The files of `dashboards/` that follow from the list of panels: `python -m tests.dashboards` writes them anew."""

# a query stands in one line

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import yaml

from tune.monitor.panels import BOARDS, PANELS, Panel

FOLDER = Path(__file__).parent.parent / "dashboards"
DATASOURCE = "t5vqvae-prometheus"
"""The data source of `make dashboards`; a board takes what its list names: other Grafanas have their own."""
MINIMUM_RANGE = "last_over_time(t5vqvae_trials[$__range])"
RULES = {
    "groups": [
        {
            "name": "t5vqvae",
            "rules": [
                {
                    "record": "t5vqvae:trials_ended",
                    "expr": 'sum by (study) (max by (study, status) (t5vqvae_trials{status!~"running|interrupted"}))',
                },
                {"record": "t5vqvae:trials_failed", "expr": 'max by (study) (t5vqvae_trials{status="failed"})'},
                {
                    "record": "t5vqvae:silent_seconds",
                    "expr": "time() - max by (study) (t5vqvae_last_progress_timestamp_seconds)",
                },
            ],
        }
    ]
}
RUNS = 'on (study) max by (study) (t5vqvae_trials{status="running"}) > 0'
"""That a study runs: the last numbers of an ended one stay, and would raise an alert for ever."""
ALERTS = [
    (
        "DriverGone",
        # Its series end with it, its target stays; a driver of an earlier version names no study there.
        'max by (study, node) (up{job="t5vqvae", study!=""}) == 0',
        "5m",
        "The driver of {{ $labels.study }} on {{ $labels.node }} was killed or does not answer, or this Prometheus is"
        " on another machine; resume a killed study or remove it.",
    ),
    (
        "NoProgress",
        f"t5vqvae:silent_seconds > 1800 and {RUNS}",
        "0m",
        "No trial of {{ $labels.study }} has reported for 30 minutes.",
    ),
    (
        "ManyFailures",
        f"t5vqvae:trials_failed / t5vqvae:trials_ended > 0.2 and t5vqvae:trials_ended >= 5 and {RUNS}",
        "0m",
        "More than a fifth of the trials of {{ $labels.study }} failed.",
    ),
    (
        "OutboxGrows",
        "max by (study) (t5vqvae_outbox_age_seconds) > 600 and max by (study) (deriv(t5vqvae_outbox_bytes[10m])) > 0",
        "5m",
        "What {{ $labels.study }} has for MLflow has waited for ten minutes and grows.",
    ),
    (
        "DiskFullSoon",
        "min by (study) (predict_linear(t5vqvae_disk_free_bytes[30m], 4 * 3600)) < 0",
        "5m",
        "The disk of {{ $labels.study }} is full in 4 hours.",
    ),
    (
        "NothingCounts",
        f"max by (study) (t5vqvae_trials_counting) == 0 and on (study) t5vqvae:trials_ended >= 10 and {RUNS}",
        "0m",
        "All ended trials of {{ $labels.study }} are pruned, infeasible or failed.",
    ),
    (
        "SlowAnswers",
        "histogram_quantile(0.95, sum by (le, route) (rate(t5vqvae_serve_latency_seconds_bucket[5m]))) > 2",
        "5m",
        "A twentieth of the answers of {{ $labels.route }} take over 2 s.",
    ),
]
OF_TARGETS = ("DriverGone",)
"""Alerts on the target files of drivers; on Kubernetes nobody reads them, and a PodMonitor has other jobs."""
OWN_NAMES = {"sourceLabels": ["__name__"], "regex": "ray_(t5vqvae_.*)", "targetLabel": "__name__", "replacement": "$1"}
"""Ray puts its own prefix before the drivers' metrics; boards and alerts ask for the names without it."""
HEAD = "# Made by `python -m tests.dashboards`; edit tests/dashboards.py or tune/monitor/panels.py.\n"


def alerts(without: Sequence[str] = ()) -> dict:
    """Returns the alerts as Prometheus reads them, but for some."""
    rules = [
        {
            "alert": f"T5vqvae{name}",
            "expr": expr,
            "for": wait,
            "labels": {"severity": "warning"},
            "annotations": {"summary": words},
        }
        for name, expr, wait, words in ALERTS
        if name not in without
    ]
    return {"groups": [{"name": "t5vqvae-alerts", "rules": rules}]}


def board(name: str) -> str:
    """Returns a dashboard of Grafana as JSON."""
    from grafana_foundation_sdk.builders import dashboard
    from grafana_foundation_sdk.cog.encoder import JSONEncoder

    made = dashboard.Dashboard(f"T5VQVAE {name}").uid(f"t5vqvae-{name}").tags(["t5vqvae"]).refresh("10s")
    made = made.time("now-1h", "now").timezone("browser")
    made = made.with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    if name in ("search", "ablation"):
        made = made.with_variable(_study_variable())
    for panel in PANELS:
        # Next to the requests stand the GPUs and the memory that answer them.
        if panel.board == name or (name == "serving" and panel.board == "cluster"):
            made = made.with_panel(_panel(panel))
    return json.dumps(known_to_grafana(json.loads(JSONEncoder(sort_keys=True).encode(made.build()))), indent=1) + "\n"


def known_to_grafana(values: dict) -> dict:
    """Returns a board without what the sdk always adds, but Grafana's own types lack today."""
    del values["style"]
    for variable in values["templating"].get("list", []):
        for name in ("auto", "auto_count", "auto_min", "id"):
            del variable[name]
    return values


def _datasource():
    from grafana_foundation_sdk.models.dashboard import DataSourceRef

    return DataSourceRef(type_val="prometheus", uid="${datasource}")


def _study_variable():
    from grafana_foundation_sdk.builders import dashboard
    from grafana_foundation_sdk.models.dashboard import VariableRefresh

    # `label_values` would list living series only: a study that has ended stays in the list.
    query = f"query_result({MINIMUM_RANGE})"
    made = dashboard.QueryVariable("study").label("Study").query(query).regex('/study="([^"]+)"/')
    return made.datasource(_datasource()).refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).multi(True).include_all(True)


def _panel(panel: Panel):
    from grafana_foundation_sdk.builders import common, prometheus, timeseries
    from grafana_foundation_sdk.models.common import LegendDisplayMode, TooltipDisplayMode

    legend = common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).show_legend(True)
    made = (
        timeseries.Panel()
        .legend(legend)
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
        .title(panel.title)
        .unit(panel.unit)
        .description(f"{panel.description} Record: {panel.field}.")
    )
    made = made.datasource(_datasource()).height(8).span(8)
    queries = [(panel.expr, panel.legend), *([panel.more] if panel.more else [])]
    for letter, (expr, legend) in zip("AB", queries, strict=False):
        made = made.with_target(prometheus.Dataquery().expr(expr).legend_format(legend).ref_id(letter))
    return made


def config() -> dict:
    """Returns the configuration of Prometheus; the state folder is filled in by `make dashboards`."""
    return {
        "global": {"scrape_interval": "15s", "evaluation_interval": "15s"},
        "rule_files": ["rules.yml", "alerts.yml"],
        "scrape_configs": [
            {
                "job_name": "t5vqvae",
                "honor_labels": True,
                "file_sd_configs": [{"files": ["targets/*.json"], "refresh_interval": "5s"}],
            },
        ],
    }


def operator(kind: str, name: str, spec: dict) -> dict:
    """Returns an object of the Prometheus operator."""
    metadata = {"name": name, "labels": {"app.kubernetes.io/part-of": "t5vqvae"}}
    return {"apiVersion": "monitoring.coreos.com/v1", "kind": kind, "metadata": metadata, "spec": spec}


def ray_monitor() -> dict:
    """Returns the PodMonitor of Ray's pods: nodes and the drivers' aggregates; only heads have the other ports."""
    own = {"port": "metrics", "metricRelabelings": [OWN_NAMES]}
    endpoints = [own, {"port": "as-metrics"}, {"port": "dash-metrics"}]
    return pod_monitor("ray", {"app": "t5vqvae"}, endpoints)


def serving_monitor() -> dict:
    """Returns the PodMonitor of the pods that answer requests, which KubeRay labels."""
    return pod_monitor("serving", {"app": "t5vqvae", "ray.io/serve": "true"}, [{"port": "serve"}])


def pod_monitor(name: str, labels: dict[str, str], endpoints: list[dict]) -> dict:
    """Returns a PodMonitor of the pods that have these labels."""
    spec = {"selector": {"matchLabels": labels}, "podMetricsEndpoints": endpoints}
    return operator("PodMonitor", f"t5vqvae-{name}", spec)


def config_map(name: str) -> dict:
    """Returns a board as the ConfigMap that Grafana's sidecar looks for."""
    metadata = {"name": f"t5vqvae-board-{name}", "labels": {"grafana_dashboard": "1"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {f"{name}.json": board(name)}}


def written() -> dict[str, str]:
    """Returns the text of every file by its path in `dashboards/`."""
    source = {
        "name": "Prometheus",
        "type": "prometheus",
        "uid": DATASOURCE,
        "url": "http://127.0.0.1:9090",
        "isDefault": True,
    }
    provider = {"name": "t5vqvae", "type": "file", "options": {"path": "${T5VQVAE_DASHBOARDS}"}}
    groups = {"groups": [*RULES["groups"], *alerts(without=OF_TARGETS)["groups"]]}
    found = {f"grafana/{name}.json": board(name) for name in BOARDS}
    documents = {
        "grafana/provisioning/datasources/prometheus.yml": {"apiVersion": 1, "datasources": [source]},
        "grafana/provisioning/dashboards/t5vqvae.yml": {"apiVersion": 1, "providers": [provider]},
        "prometheus/prometheus.yml": config(),
        "prometheus/rules.yml": RULES,
        "prometheus/alerts.yml": alerts(),
        "kubernetes/pod-monitor.yaml": ray_monitor(),
        "kubernetes/pod-monitor-serving.yaml": serving_monitor(),
        "kubernetes/prometheus-rule.yaml": operator("PrometheusRule", "t5vqvae", groups),
        **{f"kubernetes/board-{name}.yaml": config_map(name) for name in BOARDS},
    }
    return found | {
        path: HEAD + yaml.safe_dump(value, sort_keys=False, width=1000) for path, value in documents.items()
    }


if __name__ == "__main__":
    for path, text in written().items():
        (FOLDER / path).parent.mkdir(parents=True, exist_ok=True)
        (FOLDER / path).write_text(text, encoding="utf-8")
