"""The page of the control table."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from tests.benchmarks.control_rows import (
    BEST,
    CORPORA,
    FRESH,
    MEASURED,
    MODELS,
    ON_GPU,
    POSITIONS,
    QUANTIZERS,
    SEEDS,
    K,
    Key,
    Model,
    Values,
    missing,
)
from tests.benchmarks.search_tables import described
from tune.analysis.effect import t_interval

BRIEFLY = ("exact match", "joint bits", "prior bits", "local", "distributed", "smoothness", "MIG")


def lines_of(done: Mapping[Key, Values]) -> Iterator[str]:
    """Yields the tables: one for each corpus, and one of the five best once they were trained on fresh seeds."""
    yield from ["", "## In brief", "", "Means over seeds, position 0 / end:"]
    for corpus in CORPORA:
        yield from ["", *in_brief(done, corpus)]
    if len(done) > 1:
        yield from ["", _follows(done)]
    for corpus in CORPORA:
        yield from ["", f"## {corpus}", ""]
        yield from _table(_by_model(done, corpus, SEEDS), _with_range)
        fresh = _by_model(done, corpus, FRESH)
        if fresh:
            others = ", and what was among them before a row was added" if len(fresh) > BEST else ""
            yield from ["", f"The five best{others}, on fresh seeds, mean with 95% t interval, cut at 0:", ""]
            yield from _table(fresh, _with_interval)


def in_brief(done: Mapping[Key, Values], corpus: str) -> Iterator[str]:
    """Yields a table of means over `SEEDS`, a row for every quantizer with both positions side by side."""
    yield f"| `{corpus}`, {' / '.join(POSITIONS)} | {' | '.join(BRIEFLY)} |"
    yield f"| --- |{' ---: |' * len(BRIEFLY)}"
    found = _by_model(done, corpus, SEEDS)
    for name in QUANTIZERS:
        rows = [found.get(Model(corpus, position, name), []) for position in POSITIONS]
        cells = [" / ".join(_mean([row[key] for row in some if key in row]) for some in rows) for key in BRIEFLY]
        yield f"| `{name}` | {' | '.join(cells)} |"


def _follows(done: Mapping[Key, Values]) -> str:
    """Says how local control goes with reconstruction over all models, and how far distributed control goes."""
    known = [each for each in done.values() if {"exact match", "local"} <= set(each)]
    exact, local = ([each[name] for each in known] for name in ("exact match", "local"))
    try:
        told = f"r = {statistics.correlation(exact, local):.3f}"
    except statistics.StatisticsError:  # all are alike, or there is one
        told = "no r"
    means = {
        model: statistics.fmean(row["distributed"] for row in rows)
        for corpus in CORPORA
        for model, rows in _by_model(done, corpus, SEEDS).items()
        if all("distributed" in row for row in rows)
    }
    most = max(means, key=means.__getitem__, default=None)
    found = f"Exact match and local control of {len(known)} models: {told}."
    if most is not None:
        found += f" The largest mean of distributed control is {means[most]:.3f}: {most.quantizer} at {most.position},"
        found += f" {most.corpus}."
    return found


def _mean(values: Sequence[float]) -> str:
    return f"{statistics.fmean(values):.2f}".removeprefix("0") if values else "-"


def _by_model(done: Mapping[Key, Values], corpus: str, seeds: Iterable[int]) -> dict[Model, list[Values]]:
    found: dict[Model, list[Values]] = defaultdict(list)
    for seed in seeds:
        for model in MODELS:
            if model.corpus == corpus and (model, seed) in done:
                found[model].append(done[model, seed])
    return found


def _table(found: Mapping[Model, Sequence[Values]], cell: Callable[[Sequence[float]], str]) -> Iterator[str]:
    yield f"| position | quantizer | seeds | {' | '.join(MEASURED)} |"
    yield f"| --- | --- | ---: |{' ---: |' * len(MEASURED)}"
    for model, rows in sorted(found.items(), key=lambda each: (each[0].position, each[0].quantizer)):
        cells = [cell([row[name] for row in rows if name in row]) for name in MEASURED]
        yield f"| {model.position} | {model.quantizer} | {len(rows)} | {' | '.join(cells)} |"


def _with_range(values: Sequence[float]) -> str:
    if not values:
        return "-"
    mean = f"{statistics.fmean(values):.2f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.2f} to {max(values):.2f})"


def _with_interval(values: Sequence[float]) -> str:
    if len(values) < 2:
        return _with_range(values)
    low, high = t_interval(np.array(values), 0.95)
    return f"{statistics.fmean(values):.2f} [{max(0.0, low):.2f}, {high:.2f}]"


def page(done: Mapping[Key, Values]) -> str:
    """Returns the whole page."""
    on_gpu = sum(int(values[ON_GPU]) for values in done.values())
    left = sum(1 for _ in missing(done)) if len(done) >= len(MODELS) * len(SEEDS) else None
    total = len(MODELS) * len(SEEDS)
    no_gap = sum("InfoM" in values and "MIG" not in values for values in done.values())
    state = f"{len(done)} of {total} models trained" if left is None else f"all trained; {left} on fresh seeds are left"
    head = [
        "# Control of every quantizer",
        "",
        *described("control_table --minutes 600", ("torch", "transformers")),
        f"Two blocks, d 64, K = {K} (rvq: 2 layers of 32), 500 steps, learning rate 4e-3, one thread, no tuning;",
        "control from 400 edits of test sentences, smoothness from 60 paths between test sentences, disentanglement",
        "from the training sentences. At the end the codebook stands before the final norm. Exact match and rates are",
        "of validation sentences.",
        "Bits a token: the joint rate and the rate under a prior. A cell is the mean, and the range where there are",
        f"several seeds; `-`: has no codes, or no meaning. Position 0 with K = {K} names tokens. On `grammar` the",
        "edits of `role` have the roles that it was trained with; `math` has no roles, so that `role` is one codebook",
        "there. MIG is how much of a factor its best code says, less the second best; InfoM and InfoC are whether what",
        "codes do say is kept apart, so codes that say little of independent factors reach 1.",
        *([f"Models trained before MIG was measured, whose cells are of the others: {no_gap}."] if no_gap else []),
        f"{on_gpu} of {len(done)} models were trained on a GPU, all in float32. State: {state}.",
    ]
    return "\n".join([*head, *lines_of(done)]) + "\n"
