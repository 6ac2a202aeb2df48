"""The commands on studies and on trained models, for `t5vqvae` to add to its own.

Those on studies read the study's folder and print rows. Those on latents open a model, do one operation of
`t5vqvae.latent`, and print rows; `probe` measures. What takes
seconds to import is imported when a command runs: these files are read for every help.
"""

from __future__ import annotations

import typer

from tune.operations.code_commands import app as of_codes
from tune.operations.dashboard_command import app as of_dashboard
from tune.operations.lifecycle_commands import app as of_lifecycles
from tune.operations.model_commands import app as of_models
from tune.operations.path_commands import app as of_paths
from tune.operations.probe_command import app as of_probes
from tune.operations.promotion_commands import app as of_promotions
from tune.operations.sentence_commands import app as of_sentences
from tune.operations.serve_commands import app as of_serving
from tune.operations.server_commands import app as of_servers
from tune.operations.sheet_commands import app as of_sheets
from tune.operations.study_commands import app as of_studies
from tune.operations.task_command import app as of_tasks
from tune.operations.watch_command import app as of_pages

app = typer.Typer()
_ON_STUDIES = (of_servers, of_studies, of_lifecycles, of_dashboard, of_pages)
_ON_MODELS = (of_models, of_sentences, of_paths, of_codes, of_probes, of_sheets, of_tasks, of_promotions, of_serving)
for each in (*_ON_STUDIES, *_ON_MODELS):
    app.add_typer(each)
