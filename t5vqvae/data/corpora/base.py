"""The configs that load a corpus.

To add a corpus, write one file with a `CorpusConfig` that has a `name` and a `load`, and import it in `registry.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

from t5vqvae.config import Variant
from t5vqvae.data.corpora.corpus import Corpus, Example
from t5vqvae.data.corpora.edits import Edit, Span, Splice, by_space
from t5vqvae.errors import DataError, SettingError


class CorpusConfig(Variant):
    """The settings of one corpus; `name` picks the variant."""

    default_tokenizer: ClassVar[Literal["latex", "unigram"]] = "unigram"
    """The tokenizer to train when there is no pretrained backbone."""

    draws_gate: ClassVar[bool] = False
    """Whether it can draw further examples, by which promotions decide."""

    def load(self, cache_dir: Path) -> Corpus:
        """Reads or generates the corpus.

        Args:
            cache_dir: Cache of generated and fetched corpora.

        Raises:
            DataError: If it is missing, malformed, or shares strings between its splits.
        """
        raise NotImplementedError

    def stamp(self, cache_dir: Path) -> object:
        """Returns what else decides the content (file sizes and times, versions), as plain values.

        It must be cheap: every run calls it, while `load` runs once.
        """
        return None

    def gate(self, cache_dir: Path) -> Mapping[str, Sequence[Example]]:
        """Returns examples by which a promotion decides: a split `gate`, and shifted ones by name.

        They share no source with any other split, and no other split depends on them. Defined where `draws_gate` is
        true: some generated corpora.
        """
        raise NotImplementedError

    def edits(self, cache_dir: Path, split: Literal["validation", "test"], per_factor: int, seed: int) -> list[Edit]:
        """Returns edits with known answers, up to `per_factor` of each factor, the same for the same seed.

        Source and donor lie in the split. The answer and the contrast lie in it, or in no split at all.

        Raises:
            DataError: If the corpus has no factors whose edits have known answers.
        """
        raise NotImplementedError

    def moved_edits(
        self, cache_dir: Path, split: Literal["validation", "test"], per_factor: int, seed: int
    ) -> list[Edit]:
        """Returns `edits` whose answer is printed in another order, to be judged by `same_meaning`; none by default."""
        return []

    def same_meaning(self, answer: str, decoded: str) -> Literal["right", "wrong", "undecided"]:
        """Returns whether a decoded text means what an answer does; defined where there are `moved_edits`."""
        raise NotImplementedError

    def splices(self, cache_dir: Path, split: Literal["validation", "test"], per_kind: int, seed: int) -> list[Splice]:
        """Returns splices with known answers, up to `per_kind` of each kind; none where a corpus defines none."""
        return []

    def split_and_others(self, cache_dir: Path, split: str) -> tuple[list[str], set[str]]:
        """Returns the source texts of a split, and those of all others."""
        texts = {name: [example.source for example in found] for name, found in self.load(cache_dir).splits.items()}
        return texts[split], {text for name, some in texts.items() if name != split for text in some}

    @property
    def has_edits(self) -> bool:
        """Whether `edits` and `is_valid` are defined; a corpus with known factors overrides all three."""
        return False

    def require_edits(self) -> None:
        """Refuses a corpus without edits.

        Raises:
            DataError: With the corpora that have some.
        """
        if not self.has_edits:
            raise DataError(
                f"data.corpus.name={self.name} has no edits with known answers, which evaluate.control counts; take"
                " math, or grammar with data.corpus.version=2"
            )

    def gate_ood(self, corpus: Corpus, drawn: Mapping[str, Sequence[Example]], size: int) -> dict[str, list[Example]]:
        """Returns further sets by which a promotion decides, out of distribution as the test sets with a twin are.

        Defined where `draws_gate` is true and the corpus has twins.

        Args:
            corpus: The corpus with its twins and harder tests, no sentence of which is in these sets.
            drawn: What `gate` returned.
            size: Largest number of sentences of each set.
        """
        raise NotImplementedError

    harder_names: ClassVar[tuple[str, ...]] = ()
    """Names of the sets that `harder_tests` may return."""

    has_twins: ClassVar[bool] = False
    """Whether `twins` is defined."""

    reserved: ClassVar[str] = ""
    """A text with every symbol of twins and harder tests: augmentation never shows one, prepared or not."""

    def twins(self, corpus: Corpus, size: int) -> dict[str, list[Example]]:
        """Returns validation sets that are out of distribution, each with up to `size` sentences of no other split.

        A search may read them, so each has other strings than the test set whose name it has, and other symbols where
        symbols make that test set hard.
        Defined where `has_twins` is true.
        """
        raise NotImplementedError

    def harder_tests(self, corpus: Corpus, size: int) -> dict[str, list[Example]]:
        """Returns test sets without a twin, each with up to `size` sentences of no other split; no search reads them.

        Raises:
            SettingError: If the corpus has none.
        """
        raise SettingError(f"data.harder={size} needs a corpus with harder tests, such as math; set it to 0")

    @property
    def has_names(self) -> bool:
        """Whether `renamed` is defined."""
        return False

    def renamed(self, example: Example, names: Callable[[Sequence[str]], Mapping[str, str]]) -> Example | None:
        """Returns an example with other names, in the corpus's own form; None if it has no names.

        Args:
            example: One of the corpus.
            names: Returns new names for some of the sorted old ones; more than one letter makes a command.
        """
        raise NotImplementedError

    @property
    def has_meaning(self) -> bool:
        """Whether `judge` is defined."""
        return False

    def judge(self, source: str, answer: str) -> Literal["right", "wrong", "undecided"]:
        """Returns whether a decoded answer means what a source asks for, whatever its form."""
        raise NotImplementedError

    @property
    def gives_pairs(self) -> bool:
        """Whether a source is two texts; a file's rows have no column for a second one."""
        return False

    def operator_of(self, token: str) -> str | None:
        """Returns the operator that a token is, "none" for other tokens; None if the corpus has no operators."""
        del token
        return None

    def is_valid(self, text: str) -> bool:
        """Returns whether the corpus's generator could have written a text; defined where `edits` is."""
        raise NotImplementedError

    def word_spans(self, text: str) -> list[Span]:
        """Returns the words of a text: what an edit changes or leaves alone."""
        return by_space(text)

    def words(self, text: str) -> list[str]:
        """Returns the words of `word_spans` themselves."""
        return [text[start:end] for start, end in self.word_spans(text)]

    def parts_of(self, text: str) -> dict[str, Span] | None:
        """Returns the parts of a text that another value may replace, by name, in their order; None: not known.

        Texts that agree outside of such parts are of one template.
        """
        return None

    def factors_of(self, text: str) -> dict[str, str] | None:
        """Returns the value of every factor of a text, "none" where it lacks one; None if `is_valid` refuses it."""
        raise NotImplementedError

    @property
    def tells_roles(self) -> bool:
        """Whether `roles_of` knows the roles of texts that are in no split."""
        return False

    def roles_of(self, text: str) -> tuple[str, ...] | None:
        """Returns the role of every white-space word of a text, which need not be in a split; None: unknown."""
        return None
