"""The commands of operations on latents, for `t5vqvae` to add to its own.

Each command opens a model, does one operation of `t5vqvae.latent`, and prints rows; `probe` measures. What takes
seconds to import is imported when a command runs: these files are read for every help.
"""

from __future__ import annotations

import typer

from tune.operations.code_commands import app as of_codes
from tune.operations.path_commands import app as of_paths
from tune.operations.probe_command import app as of_probes
from tune.operations.sentence_commands import app as of_sentences
from tune.operations.task_command import app as of_tasks

app = typer.Typer()
for each in (of_sentences, of_paths, of_codes, of_probes, of_tasks):
    app.add_typer(each)
