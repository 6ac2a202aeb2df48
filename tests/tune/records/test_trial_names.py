"""Names of trials that say their settings."""

from __future__ import annotations

from tune.records.trial_names import LONGEST, trial_name

EMA = {"model.name": "t5vqvae", "quantizer.name": "ema", "quantizer.codebook_size": 512, "model.position": 1,
       "optim.learning_rate": 0.00031, "train.num_workers": 1, "quantizer.decay": 0.99, "optim.decay": 0.1}  # fmt: skip


def test_a_name_says_number_bottleneck_and_the_trial_s_own_settings() -> None:
    own = {"quantizer.codebook_size": 512, "model.position": 1, "train.num_workers": 1}
    assert trial_name(5, EMA, own) == "5 ema K=512 pos=1"
    assert trial_name(5, EMA, {"optim.learning_rate": 0.00031}, arm="no decay") == "5 no decay ema lr=0.00031"


def test_two_settings_that_end_alike_keep_their_whole_names() -> None:
    name = trial_name(0, EMA, {"quantizer.decay": 0.99, "optim.decay": 0.1})
    assert name == "0 ema quantizer.decay=0.99 optim.decay=0.1"


def test_a_model_of_its_own_bottleneck_is_named_by_it_and_what_does_not_apply_is_left_out() -> None:
    settings = {"model.name": "gaussian", "model.latent_width": 16}
    own = {"model.name": "gaussian", "model.latent_width": 16, "quantizer.codebook_size": 8}
    assert trial_name(2, settings, own) == "2 gaussian latent_width=16"


def test_a_setting_that_is_off_says_so_and_a_long_name_is_cut_between_words() -> None:
    settings = {f"model.setting_{n}": None for n in range(20)}
    name = trial_name(1, settings, settings)
    assert name.startswith("1 setting_0=off setting_1=off") and name.endswith("=off …") and len(name) <= LONGEST
