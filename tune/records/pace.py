"""The pace of a study: how long it still takes, judged by what this start has done."""

from __future__ import annotations

LEAST_WORK = 0.1
"""The trials' worth that must be done before the time left is estimated."""


def time_left(work: float, before: float, planned: int | None, seconds: float, hours: float | None) -> float | None:
    """Returns the seconds to the end of a study at the pace of this start; None while unknown or at the end.

    Args:
        work: How many trials' worth is done, running ones by their share.
        before: How many were done when this start began.
        planned: Trials in all; None: only hours limit the study.
        seconds: Seconds since this start began.
        hours: The most hours that this start may take.
    """
    limit = [] if hours is None else [max(0.0, 3600 * hours - seconds)]
    if planned is None or work - before < LEAST_WORK:
        return limit[0] if limit else None
    if work >= planned:
        return None
    return min([(planned - work) * seconds / (work - before), *limit])
