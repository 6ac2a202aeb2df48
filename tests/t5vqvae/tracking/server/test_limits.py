"""Names that MLflow accepts, metrics with a second series, and the plot of codebook usage."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from t5vqvae.tracking.plots import effective_codes, usage_svg
from t5vqvae.tracking.server.limits import against_tokens, clean_name


@settings(deadline=None)  # the first call imports
@given(st.text(max_size=300))
@example("..0")
@example(".../..a")
@example("a" * 249 + "/b")
@example("a" * 248 + "/..b")
def test_every_cleaned_name_is_accepted_by_mlflow(name: str) -> None:
    from mlflow.utils.validation import _validate_metric_name

    cleaned = clean_name(name)
    _validate_metric_name(cleaned)
    assert clean_name(cleaned) == cleaned


def test_only_quality_metrics_are_logged_against_tokens() -> None:
    assert against_tokens({"validation/nll": 1.0, "train/nll": 2.0, "cost/x": 3.0, "train/loss": 4.0}) == {
        "tokens/validation/nll": 1.0,
        "tokens/train/nll": 2.0,
    }


def test_the_usage_plot_is_valid_xml_and_counts_the_codes_used() -> None:
    svg = usage_svg([[8, 8, 0, 0], [1, 0, 0, 0], [0, 0]])
    root = ElementTree.fromstring(svg)
    texts = [element.text for element in root.iter() if element.text]
    assert int(root.attrib["width"]) > 0 < int(root.attrib["height"]), "MLflow shows nothing of an SVG without a size"
    assert "codebook 0: 2 of 4 codes used, perplexity 2.0" in texts
    assert "codebook 2: 0 of 2 codes used, perplexity 0.0" in texts
    assert len(usage_svg([list(range(20000))])) < 20_000
    assert effective_codes([3, 3, 3]) == pytest.approx(3)
