r"""Tokenizers with T5's conventions: padding 0, `</s>` 1 at the end, unknown 2.

A run uses a pretrained backbone's tokenizer, or trains one of two kinds:

- `latex`: tokens are single characters and the commands of the training split (`\cos`); it spells other commands in
  characters. It restores exactly every text of printable ASCII and of the training split's other characters.
- `unigram`: tokens are pieces of words, with bytes as the fallback. It restores every text up to white space, U+2581
  included: one space stands for any of it, and none is at the ends.

A backbone's own tokenizer restores what its vocabulary can spell, up to its own normalizer and white space (T5's is
NFKC). No kind reads a special token from a text: `special_tokens.py`. `prepare` leaves out what a tokenizer cannot
spell. With `open_vocabulary` both trained kinds spell everything, and have no token that is rare in training:
`open_vocabulary.py`.

To add a kind, write a function that trains a tokenizer.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from t5vqvae.config import Config, setting
from t5vqvae.data.checked import kept_file
from t5vqvae.data.corpora.corpus import Example
from t5vqvae.data.open_vocabulary import (
    BYTE_LIKE,
    OPEN_VERSION,
    byte_token,
    open_latex,
    open_pieces,
    rare_relations,
    spell_relations,
    unigram_model,
    without_relations,
)
from t5vqvae.data.special_tokens import cut_apart, guard
from t5vqvae.data.unigram import learn_pieces
from t5vqvae.errors import DataError, SettingError
from t5vqvae.files import digest, read_json, stamp

if TYPE_CHECKING:
    from tokenizers import Tokenizer as RawTokenizer
    from transformers import PreTrainedTokenizerFast as Tokenizer

TOKENIZER_VERSION = 1
"""Raise it with every change of how tokenizers are trained: cached ones of the old version are then ignored."""
SPECIAL = ("<pad>", "</s>", "<unk>")
BYTES = tuple(map(byte_token, range(256)))
BYTE_SCORE = -1e4
"""Log probability of a byte: so low that a byte is used only where no pieces fit."""
LATEX_TOKEN = r"\\[A-Za-z]+|[\s\S]"
WHITE_SPACE = r"[\s\x1c-\x1f\x85\u2581]+"
"""Characters that `unigram` reads as one space, U+2581 included: the tokenizer itself writes a space as U+2581."""
ASCII_SPACE = " \t\n\x0b\x0c\r\x1c\x1d\x1e\x1f"
"""Those of them that are ASCII characters: a unigram tokenizer never spells them."""

_UNREADABLE = (OSError, ValueError, ImportError, TypeError, AttributeError, KeyError)
"""What Transformers raises for a tokenizer that is missing or whose files are damaged (valid JSON of another kind)."""


class TokenizerConfig(Config):
    """The tokenizer of a run."""

    kind: Literal["auto", "pretrained", "latex", "unigram"] = setting(
        "auto", description="auto: the backbone's tokenizer; without a backbone, latex for math and unigram for text"
    )
    vocab_size: int = setting(
        4_000, ge=300, description="tokens of a unigram tokenizer, 259 bytes and special tokens included"
    )
    open_vocabulary: bool = setting(
        False, description="spell what is rare in letters and bytes, so that no token is unknown or never trained"
    )
    min_count: int = setting(
        50, ge=1, description="occurrences in training from which on something is a token of an open vocabulary"
    )


def resolved_kind(config: TokenizerConfig, kind: str, backbone: str | None) -> str:
    """Returns the configured kind, with `auto` resolved: `pretrained` with a backbone, else `kind`.

    Args:
        config: The settings.
        kind: The corpus's default.
        backbone: Name or folder of a pretrained checkpoint, or None.

    Raises:
        SettingError: If the kind is `pretrained` and there is no backbone, or its vocabulary is to be open.
    """
    if config.kind == "pretrained" and backbone is None:
        raise SettingError("data.tokenizer.kind='pretrained' needs a pretrained backbone; name one, or use auto")
    own = kind if backbone is None else "pretrained"
    resolved = own if config.kind == "auto" else config.kind
    if resolved == "pretrained" and config.open_vocabulary:
        raise SettingError(
            "data.tokenizer.open_vocabulary=true needs a tokenizer that is trained here, and a backbone brings its own;"
            " leave it out, or set data.tokenizer.kind"
        )
    return resolved


def build_tokenizer(
    config: TokenizerConfig,
    train_examples: Sequence[Example],
    kind: str,
    backbone: str | None,
    cache_dir: Path,
) -> Tokenizer:
    """Loads or trains the tokenizer; a trained one is cached, so that the same examples give the same tokenizer.

    Args:
        config: The settings.
        train_examples: The training split, to train the tokenizer on.
        kind: The meaning of `auto` without a backbone, "latex" or "unigram": the corpus's `default_tokenizer`.
        backbone: Name or folder of a pretrained checkpoint, or None.
        cache_dir: Cache of trained tokenizers.

    Raises:
        DataError: If the backbone's tokenizer cannot be loaded or does not end a text with `</s>`.
        SettingError: If the kind is `pretrained` and there is no backbone.
    """
    resolved = resolved_kind(config, kind, backbone)
    if resolved == "pretrained":
        assert backbone is not None
        return load_pretrained(backbone)
    size = config.vocab_size if resolved == "unigram" else None
    texts = [text for e in train_examples for text in dict.fromkeys((e.source, e.second, e.text)) if text is not None]
    how = [OPEN_VERSION, config.min_count] if config.open_vocabulary else []
    path = cache_dir / "tokenizers" / f"{resolved}-{digest(TOKENIZER_VERSION, size, texts, *how)[:16]}.json"
    min_count = config.min_count if config.open_vocabulary else None

    def train(scratch: Path) -> None:
        (_train_latex(texts, min_count) if size is None else _train_unigram(texts, size, min_count)).save(str(scratch))

    return guard(_wrap(kept_file(path, train)))


def load_pretrained(backbone: str | Path) -> Tokenizer:
    """Returns the tokenizer of a checkpoint.

    Raises:
        DataError: If it cannot be loaded, or is no T5 tokenizer.
    """
    from transformers import AutoTokenizer

    if Path(backbone).is_absolute() and not Path(backbone).is_dir():
        raise DataError(f"model.backbone={str(backbone)!r} is no folder; name the folder of a T5 checkpoint")
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(backbone))
    except _UNREADABLE as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"model.backbone={str(backbone)!r}: its tokenizer cannot be loaded: {reason}; check its name and files"
        ) from error
    if not tokenizer.is_fast or tokenizer("a").input_ids[-1] != tokenizer.eos_token_id or tokenizer.pad_token_id != 0:
        raise DataError(
            f"model.backbone={str(backbone)!r} has no T5 tokenizer (fast, padding 0, ending in </s>); name a T5"
        )
    return guard(cast("Tokenizer", tokenizer))


def backbone_stamp(backbone: str | None) -> object:
    """Returns a value that changes with a backbone's tokenizer: its name, or a folder's file sizes and times."""
    if backbone is None or not Path(backbone).is_dir():
        return backbone
    return [file for file in stamp(Path(backbone)) if re.search(r"token|spiece|vocab", Path(file[0]).name)]


def refuse_few_rows(backbone: str | None, num_tokens: int) -> None:
    """Refuses a local backbone with fewer embedding rows than the tokenizer has tokens.

    Raises:
        DataError: With both sizes.
    """
    file = Path(backbone or "") / "config.json"
    if backbone is None or not file.is_file():
        return
    try:
        num_rows = read_json(file).get("vocab_size")
    except (ValueError, AttributeError):
        return  # the model's own loader says what is wrong
    if isinstance(num_rows, int) and num_rows < num_tokens:
        raise DataError(
            f"model.backbone={backbone!r} has embeddings for {num_rows} tokens, but the tokenizer has {num_tokens}; "
            "give the backbone the rows (resize_token_embeddings) or its own tokenizer"
        )


def _train_latex(texts: Sequence[str], min_count: int | None = None) -> RawTokenizer:
    """Makes tokens of commands and characters; without `min_count` of all in the texts, and of printable ASCII."""
    from tokenizers import Regex, pre_tokenizers

    found = (token for text in texts for token in re.findall(LATEX_TOKEN, text))
    if min_count is None:
        tokenizer = _closed_latex(set(found))
    else:
        tokenizer = open_latex(found, min_count, SPECIAL)
        spell_relations(tokenizer, rare_relations(texts, min_count))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(LATEX_TOKEN), "isolated")
    return _finish(tokenizer)


def _closed_latex(found: set[str]) -> RawTokenizer:
    from tokenizers import Tokenizer, decoders, models

    tokens = [*SPECIAL, *sorted(found | {chr(code) for code in range(32, 127)})]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    # Byte-pair encoding without merges: a command in the vocabulary is one token, any other is its characters.
    model = models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>", ignore_merges=True)
    tokenizer = Tokenizer(model)
    tokenizer.decoder = decoders.Fuse()
    return tokenizer


def _train_unigram(texts: Sequence[str], vocab_size: int, min_count: int | None = None) -> RawTokenizer:
    """Learns pieces of words and adds bytes, which are so unlikely that they spell only what no piece can."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    num_pieces = vocab_size - len(SPECIAL) - len(BYTES)
    rare = "" if min_count is None else rare_relations(texts, min_count)
    if min_count is None:
        # These characters are always pieces, so that the text "<0x41>" is spelt with them and not read as the byte 41.
        learnt = learn_pieces(_words(texts), num_pieces, required="\u2581<0x>123456789ABCDEF")
        pieces = [*((token, 0.0) for token in SPECIAL), *learnt, *((byte, BYTE_SCORE) for byte in BYTES)]
        tokenizer = Tokenizer(models.Unigram(pieces, unk_id=SPECIAL.index("<unk>"), byte_fallback=True))
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    else:
        kept = open_pieces(_words(without_relations(text, rare) for text in texts), num_pieces, min_count)
        tokenizer = Tokenizer(unigram_model(kept, SPECIAL, BYTE_SCORE, unused=ASCII_SPACE + rare))
        cut = pre_tokenizers.Split(Regex(BYTE_LIKE), "merged_with_previous")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Metaspace(), cut])
    tokenizer.normalizer = normalizers.Sequence([normalizers.Replace(Regex(WHITE_SPACE), " "), normalizers.Strip()])
    if min_count is None:
        tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(), decoders.Fuse()])
    else:
        # The mark of a word's start may be spelt in bytes, so that one token has several: they are joined first.
        spaces = [decoders.Replace("\u2581", " "), decoders.Strip(" ", 1, 0)]
        tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse(), *spaces])
        spell_relations(tokenizer, rare)
    return _finish(tokenizer)


def _words(texts: Iterable[str]) -> Counter[str]:
    """Returns the words of texts with the mark of their start, and how often each occurs."""
    plain = (re.sub(WHITE_SPACE, " ", cut_apart(text, (*SPECIAL, *BYTES))) for text in texts)
    return Counter(f"\u2581{word}" for text in plain for word in text.split(" ") if word)


def _finish(tokenizer: RawTokenizer) -> RawTokenizer:
    """Makes a tokenizer end every text with `</s>`, and adds the special tokens."""
    from tokenizers import processors

    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", SPECIAL.index("</s>"))]
    )
    tokenizer.add_special_tokens(list(SPECIAL))
    return tokenizer


def _wrap(path: Path) -> Tokenizer:
    from transformers import PreTrainedTokenizerFast

    pad, eos, unknown = SPECIAL
    return PreTrainedTokenizerFast(
        tokenizer_file=str(path),
        pad_token=pad,
        eos_token=eos,
        unk_token=unknown,
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )
