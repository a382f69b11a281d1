"""Models by name."""

import pytest
import torch

from mixdit_sw.errors import MixditError
from mixdit_sw.models.load import DIT_WEIGHTS, load_dit
from mixdit_sw.models.named import named_dit


def test_shipped_and_twin():
    shipped, twin, file = (named_dit(n) for n in ("shipped", "twin-x30", str(DIT_WEIGHTS)))
    weight = shipped.model.blocks[0].attn.qkv.weight
    assert torch.equal(weight, load_dit().model.blocks[0].attn.qkv.weight)
    assert torch.equal(weight, file.model.blocks[0].attn.qkv.weight)
    assert twin.facts["twin"]["factor"] == 30


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("plain", "Model must be shipped, twin-x30 or a weight file, not 'plain'"),
        ("twin-xy", "Twins are called twin-x30, not 'twin-xy'"),
        ("twin-x-1", "Twin factor must be positive"),
    ],
)
def test_no_such_model(name, message):
    with pytest.raises(MixditError, match=message):
        named_dit(name)
