r"""Tokenizers with T5's conventions (padding 0, `</s>` 1 at the end, unknown 2): a backbone's own, or one trained here.

`latex` takes single characters and the commands of the training split (`\cos`) as tokens and spells other commands
out; it gives back exactly every text of printable ASCII and the training split's other characters. `unigram` learns
pieces of words and falls back to bytes; it gives back every text up to white space. To add a kind, write a function
that trains one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from t5vqvae.config import Config, setting
from t5vqvae.data.corpora.base import Example
from t5vqvae.data.unigram import learn_pieces
from t5vqvae.errors import DataError, SettingError
from t5vqvae.files import atomic_write, digest, locked, stamp

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

TOKENIZER_VERSION = 1
"""To be raised by whoever changes how a tokenizer is trained: kept ones of the old version are ignored then."""
SPECIAL = ("<pad>", "</s>", "<unk>")
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
BYTE_SCORE = -1e4
LATEX_TOKEN = r"\\[A-Za-z]+|[\s\S]"
WHITE_SPACE = r"[\s\x1c-\x1f\x85\u2581]+"
"""What `unigram` reads as one space; U+2581 is in it because it stands for a space inside the tokenizer."""


class TokenizerConfig(Config):
    """Which tokenizer a run has."""

    kind: Literal["auto", "pretrained", "latex", "unigram"] = setting(
        "auto", description="auto: the backbone's where there is one, else latex for math and unigram for text"
    )
    vocab_size: int = setting(4_000, ge=300, description="of a unigram tokenizer, 259 of them bytes and special tokens")


def resolved_kind(config: TokenizerConfig, kind: str, backbone: str | None) -> str:
    """Returns the kind that `auto` stands for: a backbone's own, or `kind`, the corpus's default.

    Raises:
        SettingError: If the backbone's tokenizer is asked for and there is no backbone.
    """
    if config.kind == "pretrained" and backbone is None:
        raise SettingError("data.tokenizer.kind='pretrained' needs a pretrained backbone; name one, or use auto")
    if config.kind != "auto":
        return config.kind
    return kind if backbone is None else "pretrained"


def build_tokenizer(
    config: TokenizerConfig,
    train_examples: Sequence[Example],
    kind: str,
    backbone: str | None,
    cache_dir: Path,
) -> PreTrainedTokenizerFast:
    """Loads or trains the tokenizer; a trained one is kept in the cache, so that the same examples give the same one.

    Args:
        config: What the user said.
        train_examples: The training split, to train one on.
        kind: What `auto` means without a backbone, "latex" or "unigram": the corpus's `default_tokenizer`.
        backbone: Name or folder of a pretrained checkpoint, or None.
        cache_dir: Where trained tokenizers are kept.

    Raises:
        DataError: If the backbone's tokenizer cannot be loaded or does not end a text with `</s>`.
        SettingError: If `pretrained` is asked for without a backbone.
    """
    resolved = resolved_kind(config, kind, backbone)
    if resolved == "pretrained":
        assert backbone is not None
        return load_pretrained(backbone)
    size = config.vocab_size if resolved == "unigram" else None
    texts = [text for e in train_examples for text in dict.fromkeys((e.source, e.text))]
    path = cache_dir / "tokenizers" / f"{resolved}-{digest(TOKENIZER_VERSION, size, texts)[:16]}.json"
    with locked(path):
        if not path.exists():
            trained = _train_latex(texts) if size is None else _train_unigram(texts, size)
            with atomic_write(path) as scratch:
                trained.save(str(scratch))
    return _wrap(path)


def load_pretrained(backbone: str | Path) -> PreTrainedTokenizerFast:
    """Returns the tokenizer of a checkpoint.

    Raises:
        DataError: If it cannot be loaded, or is no T5 tokenizer.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(str(backbone))
    except (OSError, ValueError, ImportError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"the tokenizer of {str(backbone)!r} cannot be loaded: {reason}; check the name") from error
    if not tokenizer.is_fast or tokenizer("a").input_ids[-1] != tokenizer.eos_token_id or tokenizer.pad_token_id != 0:
        raise DataError(
            f"{str(backbone)!r} has no T5 tokenizer (fast, padding 0, ending in </s>); name a T5 checkpoint"
        )
    return cast("PreTrainedTokenizerFast", tokenizer)


def backbone_stamp(backbone: str | None) -> Any:
    """Returns what tells whether a backbone's tokenizer changed: its files' sizes and times where it is a folder."""
    if backbone is None or not Path(backbone).is_dir():
        return backbone
    return [file for file in stamp(Path(backbone)) if re.search(r"token|spiece|vocab", Path(file[0]).name)]


def _train_latex(texts: Iterable[str]) -> Any:
    """A token for every printable ASCII character, every other character of the texts and every command in them."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    found = {token for text in texts for token in re.findall(LATEX_TOKEN, text)}
    tokens = [*SPECIAL, *sorted(found | {chr(code) for code in range(32, 127)})]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    # Byte-pair encoding without merges: a whole command where the vocabulary has it, else its characters.
    model = models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>", ignore_merges=True)
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(LATEX_TOKEN), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return _finish(tokenizer)


def _train_unigram(texts: Iterable[str], vocab_size: int) -> Any:
    """The learnt pieces of words, then bytes so unlikely that only what no pieces spell is spelt in them."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    words = Counter(f"\u2581{word}" for text in texts for word in re.sub(WHITE_SPACE, " ", text).split(" ") if word)
    # With these characters as pieces, a text that says <0x41> is spelt, and not read as the byte 41.
    learnt = learn_pieces(words, vocab_size - len(SPECIAL) - len(BYTES), required="\u2581<0x>123456789ABCDEF")
    pieces = [*((token, 0.0) for token in SPECIAL), *learnt, *((byte, BYTE_SCORE) for byte in BYTES)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=SPECIAL.index("<unk>"), byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Replace(Regex(WHITE_SPACE), " "), normalizers.Strip()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(), decoders.Fuse()])
    return _finish(tokenizer)


def _finish(tokenizer: Any) -> Any:
    """Makes it end a text with `</s>` and know the special tokens."""
    from tokenizers import processors

    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", SPECIAL.index("</s>"))]
    )
    tokenizer.add_special_tokens(list(SPECIAL))
    return tokenizer


def _wrap(path: Path) -> PreTrainedTokenizerFast:
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
