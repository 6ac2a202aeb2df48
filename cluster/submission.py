"""What Ray's job page says of a search: its study in the job's name, and a link to MLflow in its metadata."""

from __future__ import annotations

import json
import os
import re
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path

SECONDS = 10
"""How long a link may take; a search needs none."""
NAMED = re.compile(r"study (?P<name>[\w.-]+)")
"""How the plan of a search begins; see `tune/sampling/dry_run.py`."""


def planned_study(plan: str) -> str:
    """Returns the name of the study of a plan, as `--dry-run` prints it."""
    found = NAMED.match(plan)
    return found["name"] if found else "study"


def submission(study: str, mlflow_url: str, words: Sequence[str]) -> tuple[str, list[str]]:
    """Returns the name of a search's job and the command that submits it.

    Args:
        study: The study's name.
        mlflow_url: The MLflow server.
        words: Of `tune/search.py`.
    """
    job = f"search-{study}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    metadata = json.dumps({"study": study, "MLflow": experiment_page(mlflow_url, study)})
    command = [str(Path(sys.executable).parent / "ray"), "job", "submit", "--submission-id", job]
    return job, [*command, "--metadata-json", metadata, "--", "python", "tune/search.py", *words]


def experiment_page(mlflow_url: str, experiment: str) -> str:
    """Returns the page of an experiment in MLflow; the list of all where it has not begun, or none answers."""
    query = urllib.parse.urlencode({"experiment_name": experiment})
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    pages = f"{mlflow_url}/#/experiments"
    try:
        with direct.open(f"{mlflow_url}/api/2.0/mlflow/experiments/get-by-name?{query}", timeout=SECONDS) as answer:
            return f"{pages}/{json.load(answer)['experiment']['experiment_id']}"
    except (OSError, ValueError, KeyError):
        return pages
