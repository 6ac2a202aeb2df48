"""What T5VQVAE is compared against, trained and judged by the same lines.

| question | run it with | bottleneck | rate |
| --- | --- | --- | --- |
| What do T5's parts bring? | `model.name=transformer` | any quantizer | bits of the codes |
| What does being discrete cost? | `model.name=gaussian`, `model.level=token` or `sentence` | Gaussian | KL |
| Optimus: one latent a sentence, given to attention | `model.name=optimus` | Gaussian | KL |
| AAE, denoising AAE (`model.word_drop=0.3`), LAAE | `model.name=aae` | adversarial | none: unbounded |
| Which codes of a layer explain a later one? | `model.name=cross_layer` | any quantizer | bits of the codes |
| Is a linear bottleneck as good at equal bits? | `model.name=t5vqvae quantizer.name=pca` | linear | bits of the codes |
| The ceiling: T5 with no bottleneck | `model.name=t5vqvae quantizer.name=none` | none | none: leaks |

Continuous latents have no `rate/bits_per_token` and so never count as best; `rate/kl_bits_per_sentence` says what they
carry (KL(q || p), the cost of sending the latent by bits-back coding), and there is none where it has no bound.

To add one: its config with `builder` and `loader` in `t5vqvae/spec/models.py`, its model in a file here, one case in
`tests/t5vqvae/models/test_contract.py`, and a test that fails when its defining equation is replaced by T5's.
"""
