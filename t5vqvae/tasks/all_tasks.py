"""Every task by its name, and the task that a corpus asks."""

from __future__ import annotations

from t5vqvae.data import CorpusConfig
from t5vqvae.errors import SettingError, did_you_mean
from t5vqvae.tasks import derive, dialogue, inference, summarization, syllogistic
from t5vqvae.tasks.base import Task

TASKS: dict[str, Task] = {
    task.name: task for task in (inference.TASK, syllogistic.TASK, derive.TASK, summarization.TASK, dialogue.TASK)
}


def task_of(corpus: CorpusConfig, name: str | None = None) -> Task:
    """Returns a task by its name, or the one that a corpus asks.

    Raises:
        SettingError: If there is no such task, or the corpus asks none.
    """
    if name is not None:
        if name not in TASKS:
            raise SettingError(f"--task {name} is no task{did_you_mean(name, TASKS)}")
        return TASKS[name]
    found = next((task for task in TASKS.values() if task.fits(corpus)), None)
    if found is None:
        raise SettingError(
            f"data.corpus.name={getattr(corpus, 'name', None)} asks no task; name one by --task: {', '.join(TASKS)}"
        )
    return found
