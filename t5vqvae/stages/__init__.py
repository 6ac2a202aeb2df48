"""Shows what a command is doing, how far it is, and how long it will take.

    with stage("tokenizing", total=len(texts), unit="sentences") as now:
        now.advance(1000)

Code that may take seconds opens a stage and never prints. A command shows stages inside `shown`: a terminal gets one
live line, a pipe a plain line two seconds after the start of a stage, then one every ten seconds. Outside `shown` (a
library, a worker) stages print nothing. `noted` keeps the outermost stage in a file, from which a driver reads it.
"""

from t5vqvae.stages.display import hidden, shown
from t5vqvae.stages.open_stages import PROGRESS, Stage, duration, noted, read_note, stage

__all__ = ["PROGRESS", "Stage", "duration", "hidden", "noted", "read_note", "shown", "stage"]
