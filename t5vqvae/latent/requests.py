"""What can be asked of a trained model, as plain values: the server's bodies and the MLflow model's rows are these.

A request that holds several sentences is several items, which are answered together with those of other requests; what
such requests must agree in is `shared`. See `answers.py` for what comes back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from t5vqvae.config import Config, setting
from t5vqvae.data.corpora.columns import refuse_half_characters

MOST_TOKENS = 512
"""Most tokens of a decoded text."""
MOST_STEPS, MOST_NEAREST = 101, 200

Code = Annotated[int, Field(strict=True, ge=-(2**31), lt=2**31)]
Codes = tuple[tuple[Code, ...], ...]
"""The codes of one sentence: by position, one a codebook; -2 in all codebooks of a position that is not sent."""
Item = Any
"""What one answer is about: a text, codes, or a whole request."""


class Request(Config):
    """What all requests have."""

    decodes: ClassVar[str | None] = None
    """The field that says how many texts one item decodes; None: one, or two."""
    max_new_tokens: int | None = setting(
        None,
        ge=1,
        le=MOST_TOKENS,
        description="Tokens after which decoding stops; null: as many as in the model's own evaluations, at most 512.",
    )

    @property
    def texts_given(self) -> tuple[str, ...]:
        """All sentences in it, for limits."""
        return ()

    @property
    def codes_given(self) -> tuple[Codes, ...]:
        """All codes in it, by sentence, for limits."""
        return ()

    def strings(self) -> Iterator[str]:
        """Yields every string in it, sentences or not."""
        for name in type(self).model_fields:
            value = getattr(self, name)
            yield from (part for part in (value if isinstance(value, tuple) else (value,)) if isinstance(part, str))

    def items(self) -> tuple[Item, ...]:
        """Returns what is answered one by one; the answers of a request stand in this order."""
        return (self,)

    def decoded(self) -> int:
        """Returns how many texts an item decodes, for limits."""
        return 1 if self.decodes is None else int(getattr(self, self.decodes))

    def shared(self) -> Request:
        """Returns what requests must agree in to be answered together."""
        return self

    @model_validator(mode="after")
    def _words(self) -> Self:
        for place, text in enumerate(self.texts_given):
            if not text.strip():
                raise ValueError(f"text {place + 1} of {len(self.texts_given)} is empty; give at least one word")
        for string in self.strings():
            refuse_half_characters(string)
        return self


class _Texts(Request):
    texts: tuple[str, ...] = setting(min_length=1, description="Sentences.")
    unsent: float | None = setting(
        None, gt=0, description="Nats below which the cross-entropy stays without some codes; null: all are sent."
    )

    @property
    def texts_given(self) -> tuple[str, ...]:
        return self.texts

    def items(self) -> tuple[Item, ...]:
        return self.texts

    def shared(self) -> Request:
        return self.model_copy(update={"texts": ()})


class Reconstruct(_Texts):
    """Encode sentences, and decode their codes."""


class Encode(_Texts):
    """Tokens of sentences, and their codes."""


def _refuse_ragged(name: str, sentences: Sequence[Codes]) -> None:
    """Refuses codes of sentences that are no tables.

    Raises:
        ValueError: With an example.
    """
    for row in sentences:
        if not row or not row[0] or len({len(position) for position in row}) != 1:
            raise ValueError(f"{name}: every sentence needs positions with as many codes each, such as [[5], [17]]")


class Decode(Request):
    """The texts of codes."""

    codes: tuple[Codes, ...] = setting(min_length=1, description="Codes: by sentence, by position, one a codebook.")
    prompts: tuple[Codes, ...] | None = setting(
        None, description="Codes of the prompts of each sentence, as encode returns them; null: the model has none."
    )

    compare: tuple[str, ...] | None = setting(
        None, description="Texts with which the decoded ones are compared word by word; null: they are not."
    )

    @property
    def codes_given(self) -> tuple[Codes, ...]:
        return self.codes

    @model_validator(mode="after")
    def _of_each(self) -> Self:
        for name, given in (("prompts", self.prompts), ("compare", self.compare)):
            if given is not None and len(given) != len(self.codes):
                raise ValueError(f"{name} has {len(given)} sentences and codes {len(self.codes)}; give as many")
        _refuse_ragged("codes", self.codes)
        _refuse_ragged("prompts", self.prompts or ())
        return self

    def items(self) -> tuple[Item, ...]:
        none = [None] * len(self.codes)
        return tuple(zip(self.codes, self.prompts or none, self.compare or none, strict=True))

    def shared(self) -> Request:
        return self.model_copy(update={"codes": (), "prompts": None, "compare": None})


class Interpolate(Request):
    """The path between two sentences."""

    decodes: ClassVar[str | None] = "steps"
    source: str = setting(description="The first sentence.")
    goal: str = setting(description="The last sentence.")
    steps: int = setting(11, ge=2, le=MOST_STEPS, description="Steps, both ends included.")
    walk: bool = setting(False, description="Walk through the codebook, not straight.")

    @property
    def texts_given(self) -> tuple[str, ...]:
        return self.source, self.goal


class Traverse(Request):
    """A sentence with one code replaced by each of its nearest codes."""

    decodes: ClassVar[str | None] = "nearest"
    text: str = setting(description="The sentence.")
    position: int = setting(0, ge=0, description="Position of the code, from 0.")
    nearest: int = setting(20, ge=1, le=MOST_NEAREST, description="Nearest codes to take.")
    codebook: int = setting(0, ge=0, description="Which of the position's codes, from 0.")
    codes: Codes | None = setting(None, description="Changed codes of the sentence to start from; null: its own.")

    @property
    def texts_given(self) -> tuple[str, ...]:
        return (self.text,)

    @property
    def codes_given(self) -> tuple[Codes, ...]:
        return () if self.codes is None else (self.codes,)

    @model_validator(mode="after")
    def _of_one(self) -> Self:
        _refuse_ragged("codes", self.codes_given)
        return self


class Arithmetic(Request):
    """A sentence, plus and minus others; text - minus + plus is an analogy."""

    text: str = setting(description="The first sentence.")
    plus: tuple[str, ...] = setting((), description="Sentences to add.")
    minus: tuple[str, ...] = setting((), description="Sentences to subtract.")
    average: bool = setting(False, description="Divide the sum by the number of sentences.")

    @property
    def texts_given(self) -> tuple[str, ...]:
        return (self.text, *self.plus, *self.minus)


class Splice(Request):
    """A sentence into which words of another one are moved; without replace, after and join, to its end."""

    text: str = setting(description="The sentence to change.")
    donor: str = setting(description="The sentence whose words are taken.")
    words: str = setting(min_length=1, description="The words of the donor to take.")
    replace: str | None = setting(None, description="Substitution: the words of the text that they replace.")
    after: str | None = setting(None, description="Specification: the words of the text behind which they are put.")
    join: str | None = setting(None, max_length=200, description="Conjunction: the word that joins them, such as and.")
    unsent: float | None = setting(None, gt=0, description="As for reconstruct, of the text.")

    @property
    def texts_given(self) -> tuple[str, ...]:
        return self.text, self.donor

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if sum(each is not None for each in (self.replace, self.after, self.join)) > 1:
            raise ValueError("splice takes one of replace, after and join")
        return self


REQUESTS: dict[str, type[Request]] = {
    "reconstruct": Reconstruct,
    "encode": Encode,
    "decode": Decode,
    "interpolate": Interpolate,
    "traverse": Traverse,
    "arithmetic": Arithmetic,
    "splice": Splice,
}
"""The requests by the name of their operation."""
