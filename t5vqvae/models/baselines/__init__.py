"""The baselines of T5VQVAE, trained and evaluated by the same code.

| question | run it with | bottleneck | rate |
| --- | --- | --- | --- |
| What do T5's parts bring? | `model.name=transformer` | any quantizer | bits of the codes |
| What does being discrete cost? | `model.name=gaussian`, `model.level=token` or `sentence` | Gaussian | KL |
| Optimus: one latent a sentence, in self-attention | `model.name=optimus` | Gaussian | KL |
| AAE, denoising AAE (`model.word_drop=0.3`), LAAE | `model.name=aae` | adversarial | none: unbounded |
| Which codes of a layer explain a later one? | `model.name=cross_layer` | any quantizer | bits of the codes |
| Is a linear bottleneck as good at equal bits? | `model.name=t5vqvae quantizer.name=pca` | linear | bits of the codes |
| The ceiling: T5 with no bottleneck | `model.name=t5vqvae quantizer.name=none` | none | none: leaks |

A continuous latent has no `rate/bits_per_token`, so it never counts as best. `rate/kl_bits_per_sentence` is its
information: KL(q || p), the cost of sending the latent with bits-back coding; an unbounded latent has no such metric.

To add a baseline, write its config with `builder` and `loader` in `t5vqvae/spec/architectures.py`, its model here,
one case in `tests/support/baseline_runs.py`, and a test that fails if its defining equation is replaced by T5's.
"""
