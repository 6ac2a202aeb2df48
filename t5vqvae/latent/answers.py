"""Answers to requests: operations on latents with plain values in and out.

`changed` are the places of the words of a text that the text which it is compared with does not have: of a
reconstruction, the text given; of what an operation made, the reconstruction of the sentence that it came from. Words
that a text lacks have no place in it, so they are not among these.

Letters: T positions of a sentence, Q codes a position, X what a position has (Q codes, or a vector).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from typing_extensions import TypedDict

from t5vqvae.data.texts import kept_places, same_text
from t5vqvae.latent import splicing
from t5vqvae.latent.arithmetic import combine
from t5vqvae.latent.interpolation import interpolate
from t5vqvae.latent.latent_space import LatentSpace
from t5vqvae.latent.own_codes import refuse_other_codes
from t5vqvae.latent.requests import (
    MOST_TOKENS,
    Arithmetic,
    Codes,
    Decode,
    Encode,
    Interpolate,
    Item,
    Reconstruct,
    Request,
    Splice,
    Traverse,
)
from t5vqvae.latent.sentence import Sentence
from t5vqvae.latent.traversal import traverse

PlainCodes = list[list[int]] | None
"""Codes by position, one a codebook; None for a model without codes."""


class Reconstruction(TypedDict):
    """A sentence decoded from its codes."""

    text: str
    codes: PlainCodes
    exact: bool
    changed: list[int]


class Encoded(TypedDict):
    """The tokens of a sentence, empty at its end, and their codes."""

    tokens: list[str]
    codes: PlainCodes
    prompts: PlainCodes


class Decoded(TypedDict):
    """The text of codes; compared with the text that the request has for it, if it has one."""

    text: str
    changed: list[int] | None


class PathStep(TypedDict):
    """A step of a path; t goes from 0, the source, to 1, the goal. Compared with the step before, first the source."""

    t: float
    codes: PlainCodes
    text: str
    changed: list[int]


class Path(TypedDict):
    """The path between two sentences."""

    steps: list[PathStep]


class NearestCode(TypedDict):
    """A code in the place of another one, their squared distance, and what the sentence then decodes to."""

    code: int
    distance: float
    codes: PlainCodes
    text: str
    changed: list[int]


class Traversed(TypedDict):
    """A sentence as it decodes, and with one code replaced by its nearest ones."""

    text: str
    token: str
    code: int
    swaps: list[NearestCode]


class Changed(TypedDict):
    """A sentence as it decodes (plain), and what an operation made of it (text)."""

    plain: str
    text: str
    codes: PlainCodes
    changed: list[int]


ANSWERS: dict[str, Any] = {
    "reconstruct": Reconstruction,
    "encode": Encoded,
    "decode": Decoded,
    "interpolate": Path,
    "traverse": Traversed,
    "arithmetic": Changed,
    "splice": Changed,
}
"""The form of one answer, by the name of its operation."""


def answer(space: LatentSpace, shared: Request, items: Sequence[Item]) -> list[Any]:
    """Returns the answer to each item.

    Args:
        space: The model.
        shared: What the requests of the items agree in, as `Request.shared` returns it.
        items: As `Request.items` returns them, of any number of requests.

    Raises:
        UserError: If an item cannot be answered; then none of them is.
    """
    longest = shared.max_new_tokens or min(space.max_new_tokens, MOST_TOKENS)
    return _BY_REQUEST[type(shared)](space.stopping_after(longest), shared, items)


def changed_places(text: str, compared: str) -> list[int]:
    """Returns the places of the words of a text that are not words of another one, in their order."""
    words = text.split()
    return sorted(set(range(len(words))) - kept_places(words, compared.split()))


def _reconstruct(space: LatentSpace, shared: Reconstruct, items: Sequence[str]) -> list[Reconstruction]:
    if shared.unsent is None:
        decoded = space.reconstruct_texts(items)
    else:
        sentences = space.encode(items, shared.unsent)
        decoded = list(zip(space.reconstruct(sentences), (_plain(each.codes_TQ) for each in sentences), strict=True))
    return [
        {"text": text, "codes": codes, "exact": same_text(text, item), "changed": changed_places(text, item)}
        for item, (text, codes) in zip(items, decoded, strict=True)
    ]


def _encode(space: LatentSpace, shared: Encode, items: Sequence[str]) -> list[Encoded]:
    space.require_codes("encode")
    return [
        {"tokens": each.tokens, "codes": _plain(each.codes_TQ), "prompts": _plain(each.prompt_codes_PQ)}
        for each in space.encode(items, shared.unsent)
    ]


def _decode(
    space: LatentSpace, shared: Decode, items: Sequence[tuple[Codes, Codes | None, str | None]]
) -> list[Decoded]:
    space.require_codes("decode")
    prompts = [None if prompt is None else torch.tensor(prompt) for _, prompt, _ in items]
    texts = space.decode([_checked(space, codes) for codes, _, _ in items], prompts)
    return [
        {"text": text, "changed": None if compared is None else changed_places(text, compared)}
        for text, (_, _, compared) in zip(texts, items, strict=True)
    ]


def _interpolate(space: LatentSpace, shared: Interpolate, items: Sequence[Interpolate]) -> list[Path]:
    paths = interpolate(space, [(each.source, each.goal) for each in items], shared.steps, shared.walk)
    found: list[Path] = []
    for path in paths:
        before = [path.source.text, *(step.text for step in path.steps)]
        rows = zip(path.steps, before, strict=False)
        found.append(
            {
                "steps": [
                    {
                        "t": step.t,
                        "codes": _plain(step.latent_TX),
                        "text": step.text,
                        "changed": changed_places(step.text, text),
                    }
                    for step, text in rows
                ]
            }
        )
    return found


def _traverse(space: LatentSpace, shared: Traverse, items: Sequence[Traverse]) -> list[Traversed]:
    space.require_codes("a traversal")
    return [_traversed(space, each) for each in items]


def _traversed(space: LatentSpace, request: Traverse) -> Traversed:
    [sentence] = space.encode([request.text])
    if request.codes is not None:
        sentence = replace(sentence, codes_TQ=_checked(space, request.codes).to(sentence.states_TE.device))
    swaps = traverse(space, sentence, [request.position], request.nearest, request.codebook)
    [plain], tokens = space.reconstruct([sentence]), sentence.tokens
    return {
        "text": plain,
        "token": tokens[request.position] if request.position < len(tokens) else "",
        "code": int(sentence.latent_TX[request.position, request.codebook]),
        "swaps": [
            {
                "code": swap.code,
                "distance": swap.distance,
                "codes": swap.codes_TQ.tolist(),
                "text": swap.text,
                "changed": changed_places(swap.text, plain),
            }
            for swap in swaps
        ],
    }


def _arithmetic(space: LatentSpace, shared: Arithmetic, items: Sequence[Arithmetic]) -> list[Changed]:
    return [_combined(space, each) for each in items]


def _combined(space: LatentSpace, request: Arithmetic) -> Changed:
    sentences = space.encode([request.text, *request.plus, *request.minus])
    signs = [1] * (1 + len(request.plus)) + [-1] * len(request.minus)
    result = combine(space, list(zip(signs, sentences, strict=True)), request.average)
    return _changed(space, sentences[0], result.latent_TX, result.text)


def _splice(space: LatentSpace, shared: Splice, items: Sequence[Splice]) -> list[Changed]:
    return [_spliced(space, each) for each in items]


def _spliced(space: LatentSpace, request: Splice) -> Changed:
    sentence, _, latent = splicing.between(
        space,
        request.text,
        request.donor,
        request.words,
        replace=request.replace,
        after=request.after,
        join=request.join,
        unsent=request.unsent,
    )
    return _changed(space, sentence, latent, splicing.decode_splice(space, sentence, latent).text)


def _changed(space: LatentSpace, sentence: Sentence, latent_TX: Tensor, text: str) -> Changed:
    [plain] = space.reconstruct([sentence])
    return {"plain": plain, "text": text, "codes": _plain(latent_TX), "changed": changed_places(text, plain)}


def _checked(space: LatentSpace, codes: Codes) -> Tensor:
    """Returns the codes of one sentence, shape (T, Q), if they are the model's and none is padding.

    Raises:
        DataError: If they are not.
    """
    codes_TQ = torch.tensor(codes)
    refuse_other_codes(space.model, codes_TQ[None], padding=False)
    return codes_TQ


def _plain(latent_TX: Tensor | None) -> PlainCodes:
    """Returns codes as plain values; None for vectors."""
    return None if latent_TX is None or latent_TX.is_floating_point() else latent_TX.tolist()


_BY_REQUEST: dict[type[Request], Callable[[LatentSpace, Any, Sequence[Any]], list[Any]]] = {
    Reconstruct: _reconstruct,
    Encode: _encode,
    Decode: _decode,
    Interpolate: _interpolate,
    Traverse: _traverse,
    Arithmetic: _arithmetic,
    Splice: _splice,
}
