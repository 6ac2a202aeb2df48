"""The commands `encode`, `decode`, `interpolate`, `traverse`, `arithmetic`, `splice`, `walk`, `sample` and `codes`.

Each opens a model, does one operation of `t5vqvae.latent`, and prints rows. What takes seconds to import is imported
when a command runs: this file is read for every help of `t5vqvae`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from t5vqvae.errors import SettingError
from tune.command_line import Command, Group, State
from tune.operations.opened import MODEL, Opened, lines_of, open_model, positions_of_role
from tune.operations.rows import Format, PrintedRow, Rows

if TYPE_CHECKING:
    from torch import Tensor

app = typer.Typer(cls=Group, pretty_exceptions_enable=False, add_completion=False, rich_markup_mode=None)

Model = Annotated[str, typer.Argument(metavar="MODEL", help=MODEL)]
Text = Annotated[str, typer.Argument(metavar="TEXT", help="A sentence.")]
Form = Annotated[Format, typer.Option("--format", metavar="FORM", help="table, json, csv or parquet.")]
Output = Annotated[Path | None, typer.Option(metavar="FILE", help="Write the rows to a file; default: print them.")]
Longest = Annotated[int, typer.Option(metavar="N", min=1, help="Tokens after which decoding stops.")]
Codebook = Annotated[int, typer.Option(metavar="N", help="Which of a position's codes, from 0.")]
Position = Annotated[int | None, typer.Option(metavar="N", help="Position in the sentence, from 0; see encode.")]
Texts = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Sentences, one a line; default: the model's training split.")
]
Sentences = Annotated[int, typer.Option(metavar="N", min=1, help="Most sentences to read.")]


@app.command(cls=Command)
def encode(
    model: Model,
    texts: Annotated[list[str] | None, typer.Argument(metavar="[TEXT]...", help="Sentences.")] = None,
    file: Annotated[Path | None, typer.Option("--texts", metavar="FILE", help="Sentences, one a line.")] = None,
    form: Form = Format.table,
    output: Output = None,
    state: State = None,
) -> None:
    """Print the codes of sentences, position by position."""
    given = [*(texts or []), *([] if file is None else lines_of(file))]
    if not given:
        raise SettingError("there is no sentence to encode; give TEXT, or --texts FILE")
    space = open_model(model, state).space
    space.require_codes("encode")
    rows: list[PrintedRow] = []
    for number, sentence in enumerate(space.encode(given)):
        prompts = _codes(sentence.prompt_codes_PQ)
        rows += [_coded(number, f"prompt {place}", "", codes) for place, codes in enumerate(prompts)]
        found = zip(sentence.tokens, _codes(sentence.codes_TQ), strict=True)
        rows += [_coded(number, str(place), token or "</s>", codes) for place, (token, codes) in enumerate(found)]
    Rows(rows, hidden=()).write(form, output)


@app.command(cls=Command)
def decode(
    model: Model,
    codes: Annotated[
        list[str],
        typer.Argument(metavar="CODES...", help="The codes of a sentence, such as '5 17 1'; with two codebooks '5,3'."),
    ],
    prompts: Annotated[
        str | None, typer.Option(metavar="CODES", help="Codes of the prompts, if there are any.")
    ] = None,
    form: Form = Format.table,
    output: Output = None,
    max_new_tokens: Longest = 64,
    state: State = None,
) -> None:
    """Decode codes to sentences; each argument is one sentence."""
    import torch

    read = [_read_codes(words, "CODES") for words in codes]
    prompt = None if prompts is None else torch.tensor(_read_codes(prompts, "--prompts"))
    space = open_model(model, state, max_new_tokens).space
    space.require_codes("decode")
    texts = space.decode([torch.tensor(each) for each in read], [prompt] * len(read))
    rows = [{"codes": each, "text": text} for each, text in zip(read, texts, strict=True)]
    Rows(rows, hidden=()).write(form, output)


@app.command(cls=Command)
def interpolate(
    model: Model,
    source: Annotated[str, typer.Argument(metavar="[A]", help="The first sentence.")] = "",
    goal: Annotated[str, typer.Argument(metavar="[B]", help="The last sentence.")] = "",
    pairs: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Pairs of sentences instead, one a line, with a tab between.")
    ] = None,
    walk: Annotated[bool, typer.Option("--walk", help="Walk through the codebook, not straight.")] = False,
    steps: Annotated[int, typer.Option(metavar="N", help="Steps, both ends included.")] = 11,
    form: Form = Format.table,
    output: Output = None,
    max_new_tokens: Longest = 64,
    state: State = None,
) -> None:
    """Print the sentences on the path between two sentences."""
    wanted = [(source, goal)] if pairs is None else _pairs(pairs)
    if steps < 2:
        raise SettingError(f"--steps {steps} must be at least 2: both ends belong to a path")
    space = open_model(model, state, max_new_tokens).space
    from t5vqvae.latent.interpolation import interpolate as between
    from t5vqvae.latent.interpolation import share_changing_length

    paths = between(space, wanted, steps, walk)
    rows = [
        {"path": number, "t": step.t, "positions": len(step.latent_TX), **_latent(step.latent_TX), "text": step.text}
        for number, path in enumerate(paths)
        for step in path.steps
    ]
    compared = [text for path in paths for text in (path.source.text, *(step.text for step in path.steps[:-1]))]
    share = share_changing_length(paths)
    notes = [
        f"{'codebook walk' if walk else 'linear'}; {len(paths)} path{'s' * (len(paths) > 1)}, {share:.0%} of them"
        " between sentences of different length (words meet from the left); marked: changed since the row above"
    ]
    Rows(rows, notes, compared).write(form, output)


@app.command(cls=Command)
def traverse(
    model: Model,
    text: Text,
    position: Position = None,
    role: Annotated[
        str | None, typer.Option(metavar="ROLE", help="All positions of a role of a corpus sentence.")
    ] = None,
    nearest: Annotated[int, typer.Option(metavar="N", min=1, help="Nearest codes to take.")] = 20,
    codebook: Codebook = 0,
    form: Form = Format.table,
    output: Output = None,
    max_new_tokens: Longest = 64,
    state: State = None,
) -> None:
    """Replace a code by its nearest ones and print the sentences."""
    if (position is None) == (role is None):
        raise SettingError("traverse needs --position N or --role ROLE, one of them")
    opened = open_model(model, state, max_new_tokens)
    opened.space.require_codes("a traversal")
    from t5vqvae.latent.traversal import traverse as swaps_at

    sentence = opened.space.encode([text])[0]
    places = [position] if position is not None else positions_of_role(opened, sentence, role or "")
    swaps = swaps_at(opened.space, sentence, places, nearest, codebook)
    plain, own = opened.space.reconstruct([sentence])[0], sentence.latent_TX
    rows: list[PrintedRow] = []
    for place in places:
        head = {"position": place, "token": sentence.tokens[place] or "</s>"}
        rows.append({**head, "code": int(own[place, codebook]), "distance": 0.0, **_latent(own), "text": plain})
        rows += [
            {**head, "code": swap.code, "distance": swap.distance, **_latent(swap.codes_TQ), "text": swap.text}
            for swap in swaps
            if swap.position == place
        ]
    compared = [text if row["distance"] == 0 and row["text"] == plain else plain for row in rows]
    Rows(rows, ["marked: differs from the reconstruction, which is the first row of a position"], compared).write(
        form, output
    )


@app.command(cls=Command)
def arithmetic(
    model: Model,
    words: Annotated[
        list[str], typer.Argument(metavar="A [+|- B]...", help="Sentences with + and - between them: A - B + C.")
    ],
    average: Annotated[bool, typer.Option("--average", help="Divide the sum by the number of sentences.")] = False,
    form: Form = Format.table,
    output: Output = None,
    max_new_tokens: Longest = 64,
    state: State = None,
) -> None:
    """Add and subtract sentences; A - B + C is an analogy."""
    signs, texts = ["+", *words[1::2]], words[::2]
    if len(signs) != len(texts) or set(signs) - {"+", "-"}:
        raise SettingError('write sentences with + or - between them: t5vqvae arithmetic MODEL "A" - "B" + "C"')
    space = open_model(model, state, max_new_tokens).space
    from t5vqvae.latent.arithmetic import combine

    sentences = space.encode(texts)
    result = combine(
        space, [(1 if sign == "+" else -1, each) for sign, each in zip(signs, sentences, strict=True)], average
    )
    reconstructed = space.reconstruct(sentences)
    rows = [
        {"sign": sign, **_latent(each.latent_TX), "text": text}
        for sign, each, text in zip(signs, sentences, reconstructed, strict=True)
    ]
    rows.append({"sign": "=", **_latent(result.latent_TX), "text": result.text})
    notes = ["terms are shown as reconstructed; marked: differs from the given text, in the result from the first term"]
    Rows(rows, notes, [*texts, reconstructed[0]]).write(form, output)


@app.command(cls=Command)
def splice(
    model: Model,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The sentence to change.")],
    donor: Annotated[str, typer.Argument(metavar="DONOR", help="The sentence whose words are taken.")],
    words: Annotated[str, typer.Argument(metavar="WORDS", help="The words of DONOR to take.")],
    replace: Annotated[
        str | None, typer.Option(metavar="WORDS", help="Substitution: the words of TEXT that they replace.")
    ] = None,
    after: Annotated[
        str | None, typer.Option(metavar="WORDS", help="Specification: the words of TEXT behind which they are put.")
    ] = None,
    join: Annotated[
        str | None, typer.Option(metavar="WORD", help="Conjunction: the word that joins them, such as and.")
    ] = None,
    form: Form = Format.table,
    output: Output = None,
    max_new_tokens: Longest = 64,
    state: State = None,
) -> None:
    """Move the codes of words from one sentence into another.

    Without an option they are put at the end of TEXT.
    """
    if sum(option is not None for option in (replace, after, join)) > 1:
        raise SettingError("splice takes one of --replace, --after and --join")
    space = open_model(model, state, max_new_tokens).space
    from t5vqvae.latent import splicing

    sentence, other = space.encode([text, donor])
    if replace is not None:
        kind, latent = "substitution", splicing.substitution(sentence, replace, other, words)
    elif join is not None:
        kind, latent = "conjunction", splicing.conjunction(space, sentence, other, words, join)
    else:
        kind, latent = "specification", splicing.specification(sentence, other, words, after)
    plain = space.reconstruct([sentence, other])
    rows = [
        {"sentence": name, **_latent(each.latent_TX), "text": shown}
        for name, each, shown in zip(("text", "donor"), (sentence, other), plain, strict=True)
    ]
    rows.append({"sentence": kind, **_latent(latent), "text": splicing.decode_splice(space, sentence, latent).text})
    notes = ["marked: differs from what was given, and in the result from the first row"]
    Rows(rows, notes, [text, donor, plain[0]]).write(form, output)


@app.command(cls=Command)
def walk(
    model: Model,
    text: Text,
    position: Annotated[int, typer.Option(metavar="N", help="Position in the sentence, from 0; see encode.")],
    reach: Annotated[int, typer.Option(metavar="N", min=1, help="Corners in both directions.")] = 5,
    form: Form = Format.table,
    output: Output = None,
    max_new_tokens: Longest = 64,
    state: State = None,
) -> None:
    """Move a code along the curve of an sfvq model and print the sentences."""
    space = open_model(model, state, max_new_tokens).space
    from t5vqvae.latent.walk import walk_curve

    sentence = space.encode([text])[0]
    steps = walk_curve(space, sentence, position, reach)
    plain = next(step.text for step in steps if step.offset == 0)
    rows = [
        {
            "offset": step.offset,
            "code": step.code,
            "distance": step.distance,
            **_latent(step.codes_TQ),
            "text": step.text,
        }
        for step in steps
    ]
    compared = [text if step.offset == 0 else plain for step in steps]
    Rows(rows, ["marked: differs from the reconstruction, at offset 0"], compared).write(form, output)


@app.command(cls=Command)
def sample(
    model: Model,
    number: Annotated[int, typer.Option("--number", metavar="N", min=1, help="Sentences to draw.")] = 10,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the draws.")] = 0,
    texts: Texts = None,
    sentences: Sentences = 2000,
    form: Form = Format.table,
    output: Output = None,
    max_new_tokens: Longest = 64,
    state: State = None,
) -> None:
    """Draw sentences from a back-off chain over the codes of training sentences."""
    opened = open_model(model, state, max_new_tokens)
    opened.space.require_codes("the prior")
    counted = opened.space.encode(opened.training_texts(sentences, texts))
    from t5vqvae.latent.sampling import NUM_BEFORE, draw

    drawn = draw(opened.space, counted, number, seed)
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
        f"back-off chain, {NUM_BEFORE} positions of context, counted on {len(counted)} sentences;"
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
    form: Form = Format.table,
    output: Output = None,
    max_new_tokens: Longest = 64,
    state: State = None,
) -> None:
    """Print what codes stand for: their words and purity; of one code, its contexts and what a swap changes."""
    opened = open_model(model, state, max_new_tokens)
    opened.space.require_codes("codes")
    from t5vqvae.latent.traversal import refuse_codebook

    refuse_codebook(opened.space, codebook)
    encoded = opened.space.encode(opened.training_texts(sentences, texts))
    found = _contexts(opened, encoded, code, codebook, most) if code is not None else _uses(encoded, codebook, most)
    found.write(form, output)


def _uses(encoded: Sequence[Any], codebook: int, most: int) -> Rows:
    """Returns a row for each of the most frequent codes."""
    from t5vqvae.latent.code_use import use_of_codes

    uses = use_of_codes(encoded, codebook)
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
    pure, dealt = (sum(use.count * share for use, share in zip(uses, shares, strict=True)) / total
                   for shares in ([u.purity for u in uses], [u.shuffled_purity for u in uses]))  # fmt: skip
    note = f"{len(uses)} codes in {len(encoded)} sentences; purity over all positions {pure:.3f}, shuffled {dealt:.3f}"
    return Rows(rows, [note])


def _contexts(opened: Opened, encoded: Sequence[Any], code: int, codebook: int, most: int) -> Rows:
    """Returns a row for each of the first occurrences of a code."""
    from t5vqvae.latent.code_use import swaps_of, use_of_codes
    from tune.operations.rows import changed_words

    swaps = swaps_of(opened.space, encoded, code, codebook, most)
    use = next(each for each in use_of_codes(encoded, codebook) if each.code == code)
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
    words = ", ".join(f"{word} {count}" for word, count in use.words[:5])
    notes = [
        f"code {code}: {use.count} times in {len(encoded)} sentences; {words}; purity {use.purity:.3f}, shuffled"
        f" {use.shuffled_purity:.3f}",
        f"swapped for its nearest code in use, {sum(map(bool, changed))} of {len(swaps)} texts change, by"
        f" {sum(changed) / len(changed):.2f} words on average; marked: differs from the text without the swap",
    ]
    return Rows(rows, notes, [swap.plain for swap in swaps])


def _codes(codes_TQ: Tensor | None) -> list[list[int]]:
    return [] if codes_TQ is None else codes_TQ.tolist()


def _latent(latent_TX: Tensor) -> dict[str, Any]:
    """Returns the column `codes`; none for vectors."""
    return {} if latent_TX.is_floating_point() else {"codes": latent_TX.tolist()}


def _coded(number: int, position: str, token: str, codes: list[int]) -> PrintedRow:
    return {"sentence": number, "position": position, "token": token, "codes": codes}


def _read_codes(words: str, name: str) -> list[list[int]]:
    """Returns codes that a user wrote: positions with spaces between them, and commas between codebooks."""
    try:
        read = [[int(code) for code in position.split(",")] for position in words.split()]
    except ValueError:
        read = []
    if not read or len(set(map(len, read))) > 1:
        raise SettingError(f"{name} {words!r:.60} are no codes; write numbers such as '5 17 1', or '5,3 17,0 1,1'")
    return read


def _pairs(file: Path) -> list[tuple[str, str]]:
    """Returns the pairs of sentences in a file."""
    rows = [line.split("\t") for line in lines_of(file)]
    for number, row in enumerate(rows):
        if len(row) != 2:
            raise SettingError(f"{file}: sentence pair {number + 1} has {len(row)} parts; write A, a tab, and B")
    return [(source, goal) for source, goal in rows]
