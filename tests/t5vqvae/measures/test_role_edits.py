"""A codebook with a slice for each role is edited with the roles that it was trained with."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from spelling_model import Spelling
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from t5vqvae.data.batch import Batch
from t5vqvae.data.corpora.corpus import NO_ROLE
from t5vqvae.data.corpora.grammar import GrammarCorpus
from t5vqvae.latent.arithmetic import combine
from t5vqvae.latent.interpolation import interpolate
from t5vqvae.latent.latent_space import LatentSpace
from t5vqvae.measures.control import Control, run_edits, scores
from t5vqvae.models.contract import Memory
from t5vqvae.quantizers.base import QuantizerOutput
from t5vqvae.quantizers.role import RoleConfig

CORPUS = GrammarCorpus(version=2, size=300, validation_size=200, test_size=20)
SPECIAL = ["<pad>", "</s>", "<unk>"]


class RoleNames(Spelling):
    """Has in the slice of every role an entry for each word; the slice of positions without a role has nothing.

    The entry of word k is (k, 0), as in `Spelling`; what is encoded without its role decodes to nothing.
    """

    def __init__(self, words: list[str], num_roles: int) -> None:
        super().__init__()
        ids = {word: number for number, word in enumerate([*SPECIAL, *words])}
        inner = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
        inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        inner.post_processor = processors.TemplateProcessing("$A </s>", None, [("</s>", 1)])
        self.tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=inner, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
        )
        self.points_KE = torch.stack([torch.arange(float(len(ids))), torch.zeros(len(ids))], -1)
        config = RoleConfig(codebook_size=len(ids) * (num_roles + 1))
        self.quantizer = config.build(2, num_roles)
        with torch.no_grad():
            self.quantizer.tables_QKD[0].copy_(
                torch.cat([self.points_KE] * num_roles + [torch.zeros_like(self.points_KE)])
            )

    def encode_memory(self, batch: Batch) -> Memory:
        states_BTE = self.points_KE[batch.input_ids_BT]
        output: QuantizerOutput = self.quantizer(states_BTE, batch.mask_BT, batch.roles_BT)
        return Memory(output.quantized_BTE, batch.mask_BT, output, states_BTE)

    def greedy(self, batch: Batch, max_new_tokens: int, enough: float = 1.0, memory: Memory | None = None) -> Tensor:
        memory = memory or self.encode_memory(batch)
        return torch.cdist(memory.states_BME, self.points_KE).argmin(-1) * memory.mask_BM


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Control:
    names = [NO_ROLE, *sorted({role for example in CORPUS.load(Path()).train for role in example.roles or ()})]
    return Control.of(CORPUS, tmp_path_factory.mktemp("cache"), "validation", 120, 0, names)


@pytest.fixture(scope="module")
def model(control: Control) -> RoleNames:
    texts = [text for edit in control.edits for text in (edit.source, edit.donor)]
    assert control.roles is not None
    return RoleNames(sorted({word for text in texts for word in text.split()}), len(control.roles.role_names) - 1)


def test_edits_have_the_roles_of_training(model: RoleNames, control: Control) -> None:
    found = scores(run_edits(model, control, max_new_tokens=12).whole)
    assert found["control/exact_share"] == 1 and found["control/local_intervention"] == 1
    assert found["control/distributed_intervention"] < 0.05, "as for any code that names a word"


def test_without_its_roles_such_a_model_says_nothing(model: RoleNames, control: Control) -> None:
    found = scores(run_edits(model, Control(control.edits, control.is_valid), max_new_tokens=12).whole)
    assert found["control/exact_share"] == found["control/local_intervention"] == 0


def test_paths_and_sums_keep_roles(model: RoleNames, control: Control) -> None:
    space, edit = LatentSpace(model, roles=control.roles), control.edits[0]
    [path] = interpolate(space, [(edit.source, edit.donor)])
    assert path.steps[0].text == edit.source and path.steps[-1].text == edit.donor
    [source, donor] = space.encode([edit.source, edit.donor])
    assert combine(space, [(1, source), (-1, donor), (1, donor)]).text == edit.source


def test_what_reconstructs_in_one_step_reads_the_same_roles(model: RoleNames, control: Control) -> None:
    space, texts = LatentSpace(model, roles=control.roles), [edit.source for edit in control.edits[:5]]
    assert [text for text, _ in space.reconstruct_texts(texts)] == texts
    assert LatentSpace(model).reconstruct_texts(texts)[0][0] != texts[0], "without roles it answers otherwise"
