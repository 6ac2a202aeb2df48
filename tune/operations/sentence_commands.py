"""The commands `encode`, `decode`, `arithmetic` and `splice`: sentences to codes and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from t5vqvae.errors import SettingError
from tune.command_line import Command, Group, State
from tune.operations.opened import lines_of, open_model
from tune.operations.options import Form, Longest, Model, Output, Unsent, latent_column
from tune.operations.printed_rows import UNMARKED, PrintedRow, Rows

if TYPE_CHECKING:
    from torch import Tensor

    from t5vqvae.latent.latent_space import LatentSpace

app = typer.Typer(cls=Group)
UNKNOWN = "<unk>"
"""The token of a position whose characters the tokenizer does not know."""
MOST_UNKNOWN = 5
"""Most of these characters that a note shows."""


@app.command(cls=Command)
def encode(
    model: Model,
    texts: Annotated[list[str] | None, typer.Argument(metavar="[TEXT]...", help="Sentences.")] = None,
    file: Annotated[Path | None, typer.Option("--texts", metavar="FILE", help="Sentences, one a line.")] = None,
    unsent: Unsent = None,
    form: Form = None,
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
    unknown: list[str] = []
    for number, (sentence, tokens) in enumerate(zip(space.encode(given, unsent), _ids(space, given), strict=True)):
        prompts = _codes(sentence.prompt_codes_PQ)
        rows += [_coded(number, f"prompt {place}", "", codes) for place, codes in enumerate(prompts)]
        for place, (token, codes) in enumerate(zip(sentence.tokens, _codes(sentence.codes_TQ), strict=True)):
            is_unknown = sentence.by_token and tokens[place] == space.model.require_tokenizer().unk_token_id
            unknown += [token] if is_unknown else []
            rows.append(_coded(number, str(place), UNKNOWN if is_unknown else token or "</s>", codes))
    Rows(rows, _of_unknown(unknown), hidden=()).write(form, output)


@app.command(cls=Command)
def decode(
    model: Model,
    codes: Annotated[
        list[str],
        typer.Argument(
            metavar="CODES...",
            help="The codes of a sentence: '5 17 1'; with two codebooks '5,3'. Write -- before -2 (not sent).",
        ),
    ],
    prompts: Annotated[
        str | None, typer.Option(metavar="CODES", help="Codes of the prompts, if there are any.")
    ] = None,
    form: Form = None,
    output: Output = None,
    max_new_tokens: Longest = None,
    state: State = None,
) -> None:
    """Decode codes to sentences; each argument is one sentence."""
    import torch

    read = [_read_codes(words, "CODES") for words in codes]
    prompt = None if prompts is None else torch.tensor(_read_codes(prompts, "--prompts"))
    space = open_model(model, state, max_new_tokens).space
    space.require_codes("decode")
    for words, positions in zip(codes, read, strict=True):
        _refuse_no_code(words, positions, space)
    texts = space.decode([torch.tensor(each) for each in read], [prompt] * len(read))
    rows = [{"codes": each, "text": text} for each, text in zip(read, texts, strict=True)]
    Rows(rows, hidden=()).write(form, output)


@app.command(cls=Command)
def arithmetic(
    model: Model,
    words: Annotated[
        list[str], typer.Argument(metavar="A [+|- B]...", help="Sentences with + and - between them: A - B + C.")
    ],
    average: Annotated[bool, typer.Option("--average", help="Divide the sum by the number of sentences.")] = False,
    form: Form = None,
    output: Output = None,
    max_new_tokens: Longest = None,
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
        {"sign": sign, **latent_column(each.latent_TX), "text": text}
        for sign, each, text in zip(signs, sentences, reconstructed, strict=True)
    ]
    rows.append({"sign": "=", **latent_column(result.latent_TX), "text": result.text})
    notes = [
        "terms are shown as reconstructed; marked: differs from the given text, in the result from the first term;"
        f" {UNMARKED}"
    ]
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
    unsent: Unsent = None,
    form: Form = None,
    output: Output = None,
    max_new_tokens: Longest = None,
    state: State = None,
) -> None:
    """Move the codes of words from one sentence into another.

    Without an option they are put at the end of TEXT. --unsent leaves out codes of TEXT, none of the words that are
    replaced, so that words that are not sent may follow the change.
    """
    if sum(option is not None for option in (replace, after, join)) > 1:
        raise SettingError("splice takes one of --replace, --after and --join")
    space = open_model(model, state, max_new_tokens).space
    from t5vqvae.latent import splicing

    sentence, other, latent = splicing.between(
        space, text, donor, words, replace=replace, after=after, join=join, unsent=unsent
    )
    kind = "substitution" if replace is not None else "specification" if join is None else "conjunction"
    plain = space.reconstruct([sentence, other])
    rows = [
        {"sentence": name, **latent_column(each.latent_TX), "text": shown}
        for name, each, shown in zip(("text", "donor"), (sentence, other), plain, strict=True)
    ]
    rows.append(
        {"sentence": kind, **latent_column(latent), "text": splicing.decode_splice(space, sentence, latent).text}
    )
    notes = [f"marked: differs from what was given, and in the result from the first row; {UNMARKED}"]
    Rows(rows, notes, [text, donor, plain[0]]).write(form, output)


def _ids(space: LatentSpace, texts: list[str]) -> list[list[int]]:
    """Returns the number of every token of texts, as `LatentSpace.encode` reads them."""
    from t5vqvae.latent.two_texts import tokens_and_spans

    return tokens_and_spans(space.model.require_tokenizer(), texts, space.pairs)[0]["input_ids"]


def _of_unknown(tokens: list[str]) -> list[str]:
    """Returns a note on the positions, in all sentences, whose characters the tokenizer does not know, if any."""
    if not tokens:
        return []
    different = list(dict.fromkeys(tokens))
    shown = " ".join(different[:MOST_UNKNOWN]) + (" ..." if len(different) > MOST_UNKNOWN else "")
    have = "1 position has" if len(tokens) == 1 else f"{len(tokens)} positions have"
    return [
        f"{have} a character that the tokenizer does not know ({shown}), shown as {UNKNOWN}: its code does not say"
        " which; a model of data.tokenizer.kind=unigram knows every character"
    ]


def _codes(codes_TQ: Tensor | None) -> list[list[int]]:
    return [] if codes_TQ is None else codes_TQ.tolist()


def _coded(number: int, position: str, token: str, codes: list[int]) -> PrintedRow:
    return {"sentence": number, "position": position, "token": token, "codes": codes}


def _refuse_no_code(words: str, positions: list[list[int]], space: LatentSpace) -> None:
    """Refuses codes of a sentence that stand for nothing: padding, and what is not sent where the model knows none."""
    from t5vqvae.latent.own_codes import knows_not_sent
    from t5vqvae.models.codes import NOT_SENT

    is_sparse = knows_not_sent(space.model)
    wrong = [code for row in positions for code in row if code < 0 and not (code == NOT_SENT and is_sparse)]
    if wrong:
        rule = (
            f"{NOT_SENT} stands where none is sent"
            if is_sparse
            else (f"{NOT_SENT}, where none is sent, needs a model of train.code_dropout")
        )
        raise SettingError(f"CODES {words!r:.60}: {wrong[0]} is no code; codes are 0 and more, and {rule}")


def _read_codes(words: str, name: str) -> list[list[int]]:
    """Returns codes that a user wrote: positions with spaces between them, and commas between codebooks."""
    try:
        read = [[int(code) for code in position.split(",")] for position in words.split()]
    except ValueError:
        read = []
    if not read or len(set(map(len, read))) > 1 or any(abs(code) >= 2**31 for row in read for code in row):
        raise SettingError(f"{name} {words!r:.60} are no codes; write numbers such as '5 17 1', or '5,3 17,0 1,1'")
    return read
