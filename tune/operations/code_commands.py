"""The commands `sample` and `codes`: what the codes of training sentences say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from tune.command_line import Command, Group, State
from tune.operations.opened import Opened, open_model
from tune.operations.options import Codebook, Form, Longest, Model, Output, Sentences, Texts
from tune.operations.printed_rows import UNMARKED, Rows, changed_words

if TYPE_CHECKING:
    from t5vqvae.latent.sentence import Sentence

app = typer.Typer(cls=Group)


class Prior(StrEnum):
    """The priors over codes."""

    chain = "chain"
    transformer = "transformer"


@app.command(cls=Command)
def sample(
    model: Model,
    number: Annotated[int, typer.Option("--number", metavar="N", min=1, help="Sentences to draw.")] = 10,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the draws.")] = 0,
    prior: Annotated[Prior, typer.Option(metavar="PRIOR", help="chain or transformer.")] = Prior.chain,
    texts: Texts = None,
    sentences: Sentences = 2000,
    form: Form = None,
    output: Output = None,
    max_new_tokens: Longest = None,
    state: State = None,
) -> None:
    """Draw sentences from a prior over the codes of training sentences."""
    opened = open_model(model, state, max_new_tokens)
    opened.space.require_codes("the prior")
    counted = opened.space.encode(opened.training_texts(sentences, texts))
    from t5vqvae.latent.sampling import NUM_BEFORE, draw
    from t5vqvae.latent.transformer_prior import draw_from_transformer

    draw_codes = draw if prior is Prior.chain else draw_from_transformer
    drawn = draw_codes(opened.space, counted, number, seed)
    rows = [
        {
            "number": place,
            "bits": each.bits,
            "ended": each.ended,
            "codes": [list(row) for row in each.codes],
            "text": text,
        }
        for place, (each, text) in enumerate(drawn)
    ]
    cut = sum(not row["ended"] for row in rows)
    notes = [
        f"{f'back-off chain, {NUM_BEFORE} positions of context' if prior is Prior.chain else 'causal Transformer'},"
        f" learnt from {len(counted)} sentences;"
        f" {cut} of {len(rows)} cut off at the longest of them"
    ]
    Rows(rows, notes).write(form, output)


@app.command(cls=Command)
def codes(
    model: Model,
    code: Annotated[
        int | None, typer.Option(metavar="K", help="One code: its contexts, and what a swap changes.")
    ] = None,
    codebook: Codebook = 0,
    most: Annotated[int, typer.Option("--most", metavar="N", min=1, help="Rows to print.")] = 20,
    texts: Texts = None,
    sentences: Sentences = 2000,
    form: Form = None,
    output: Output = None,
    max_new_tokens: Longest = None,
    state: State = None,
) -> None:
    """Print what codes stand for: their words and purity; of one code, its contexts and what a swap changes.

    Of one code also precision and recall, next to those of positions at random: the share of its positions with the
    word, role or operator that it stands for, and the share of that label's positions with the code. Roles are those
    of the training split.
    """
    opened = open_model(model, state, max_new_tokens)
    opened.space.require_codes("codes")
    from t5vqvae.latent.traversal import refuse_codebook

    refuse_codebook(opened.space, codebook)
    encoded = opened.space.encode(opened.training_texts(sentences, texts))
    if code is None:
        _uses(opened, encoded, codebook, most).write(form, output)
        return
    found = _contexts(opened, encoded, code, codebook, most)
    roles = opened.training_roles(sentences) if texts is None else None
    replace(found, notes=[*found.notes, *_stands_for(opened, encoded, roles, code, codebook)]).write(form, output)


def _uses(opened: Opened, encoded: Sequence[Sentence], codebook: int, most: int) -> Rows:
    """Returns a row for each of the most frequent codes."""
    from t5vqvae.latent.code_use import cut_of, use_of_codes

    uses = use_of_codes(encoded, codebook, cut_of(opened.spec))
    rows = [
        {
            "code": use.code,
            "count": use.count,
            "purity": use.purity,
            "shuffled": use.shuffled_purity,
            "words": ", ".join(f"{word} {count}" for word, count in use.words[:5]),
        }
        for use in uses[:most]
    ]
    total = sum(use.count for use in uses)
    pure = sum(use.count * use.purity for use in uses) / total
    dealt = sum(use.count * use.shuffled_purity for use in uses) / total
    note = f"{len(uses)} codes in {len(encoded)} sentences; purity over all positions {pure:.3f}, shuffled {dealt:.3f}"
    return Rows(rows, [note])


def _contexts(opened: Opened, encoded: Sequence[Sentence], code: int, codebook: int, most: int) -> Rows:
    """Returns a row for each of the first occurrences of a code."""
    from t5vqvae.data.texts import same_text
    from t5vqvae.latent.code_use import cut_of, swaps_of, use_of_codes

    swaps = swaps_of(opened.space, encoded, code, codebook, most, cut_of(opened.spec))
    use = next(each for each in use_of_codes(encoded, codebook, cut_of(opened.spec)) if each.code == code)
    rows = [
        {
            "context": swap.sentence.text,
            "position": swap.position,
            "word": swap.word,
            "swapped_to": swap.swapped_to,
            "text": swap.text,
        }
        for swap in swaps
    ]
    changed = [len(changed_words(swap.text, swap.plain)) for swap in swaps]
    moved = sum(not same_text(swap.text, swap.plain) for swap in swaps)
    words = ", ".join(f"{word} {count}" for word, count in use.words[:5])
    notes = [
        f"code {code}: {use.count} times in {len(encoded)} sentences; {words}; purity {use.purity:.3f}, shuffled"
        f" {use.shuffled_purity:.3f}",
        f"swapped for its nearest code in use, {moved} of {len(swaps)} texts change, with"
        f" {sum(changed) / len(changed):.2f} new words on average; marked: differs from the text without the swap;"
        f" {UNMARKED}",
    ]
    return Rows(rows, notes, [swap.plain for swap in swaps])


def _stands_for(
    opened: Opened, encoded: Sequence[Sentence], roles: Sequence[Sequence[str]] | None, code: int, codebook: int
) -> list[str]:
    """Returns a line for each kind of label that a code may stand for, with its precision and recall."""
    from t5vqvae.latent.code_labels import label_of_code, labels_of_positions
    from t5vqvae.latent.code_use import cut_of

    operator_of = None if opened.spec is None else opened.spec.data.corpus.operator_of
    codes = [each for sentence in encoded for each in sentence.latent_TX[:, codebook].tolist()]
    lines = []
    for kind, labels in labels_of_positions(encoded, roles, operator_of, cut_of(opened.spec)).items():
        found = label_of_code(codes, labels, code)
        lines.append(
            f"stands for the {kind} {found.label}: precision {found.precision:.3f}, shuffled"
            f" {found.shuffled_precision:.3f}; recall {found.recall:.3f}, shuffled {found.shuffled_recall:.3f}"
        )
    return lines
