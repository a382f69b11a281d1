"""Fake quantization by K-block, head and token block has the codec's bits."""

import numpy as np
import pytest
import torch

from mixdit_sw.codec.fake import fake_quantize
from mixdit_sw.formats import MX9, Rounding, get_format
from mixdit_sw.mixed import quantize_mixed
from mixdit_sw.policy.fake_mixed import dynamic_blocks, fake_heads, fake_mixed, raise_blocks


def data(*shape, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=rng) * torch.exp2(4 * torch.randn(shape, generator=rng))


def bits(x):
    return np.ascontiguousarray(x).view(np.uint32).tolist()


@pytest.mark.parametrize("rounding", ["nearest-even", "truncate"])
@pytest.mark.parametrize("k", [64, 73])
@pytest.mark.parametrize(
    "names",
    [
        "mx6 mx6 mx6 mx6 mx6",
        "mx9 mx6 mx6 mx6 mx6",
        "mx6 mx9 mx6 mx6 mx9",
        "mx9 mx6 mx4 mx4 mx9",
        "mx9 mxfp4 mxfp4 mx9 mxfp4",
        "mxfp6_e2m3 mxfp6_e2m3 mx9 mx6 mxfp6_e2m3",
        "mx9 int8_row int8_row int8_row mx9",
    ],
)
def test_k_blocks_have_the_bits_of_a_mixed_tensor(names, k, rounding):
    names = names.split()[: -(-k // 16)]
    x = data(7, k)
    tensor = quantize_mixed(
        x.numpy(), [[get_format(n) for n in names]], rounding=Rounding(rounding)
    )
    assert bits(fake_mixed(x, names, Rounding(rounding)).numpy()) == bits(tensor.values())


def test_float_k_blocks_stay():
    x = data(3, 48)
    found = fake_mixed(x, ["float32", "mx6", "float32"])
    assert torch.equal(found[:, :16], x[:, :16])
    assert torch.equal(found[:, 16:32], fake_quantize(x[:, 16:32], get_format("mx6")))
    assert torch.equal(found[:, 32:], x[:, 32:])
    assert torch.equal(fake_mixed(x, ["float32"] * 3), x)


def test_the_input_stays():
    x = data(5, 48)
    before = x.clone()
    fake_mixed(x, ["mx9", "mx6", "mx6"])
    fake_heads(x.view(5, 3, 4, 4), ["mx6", "mx9", "mx6"])
    assert torch.equal(x, before)


@pytest.mark.parametrize("dim", [16, 20])
def test_heads_are_quantized_apart(dim):
    x = data(2, 3, 5, dim)
    found = fake_heads(x, ["mx9", "mx6", "mx9"])
    for head, name in enumerate(["mx9", "mx6", "mx9"]):
        assert torch.equal(found[:, head], fake_quantize(x[:, head], get_format(name)))
    transposed = data(2, 3, dim, 5).transpose(-2, -1)
    assert torch.equal(
        fake_heads(transposed, ["mx6"] * 3),
        fake_quantize(transposed.contiguous(), get_format("mx6")),
    )


def largest_blocks(sample, rows, count, static):
    """The same choice in plain Python: list of lists of bool."""
    n_blocks = len(static)
    chosen = []
    for start in range(0, len(sample), rows):
        sizes = [
            sample[start : start + rows, 16 * b : 16 * b + 16].abs().max().item()
            for b in range(n_blocks)
        ]
        free = sorted((b for b in range(n_blocks) if not static[b]), key=lambda b: (-sizes[b], b))
        chosen.append([b in free[:count] for b in range(n_blocks)])
    return chosen


@pytest.mark.parametrize(("rows", "count"), [(4, 1), (4, 2), (16, 1), (3, 9)])
def test_dynamic_blocks(rows, count):
    x, static = data(2, 10, 73), [True, False, False, False, False]
    found = dynamic_blocks(x, rows, count, static).tolist()
    assert found == [largest_blocks(sample, rows, count, static) for sample in x]


def test_ties_go_to_the_first_block():
    assert (
        dynamic_blocks(torch.ones(4, 48), 2, 1, [False] * 3).tolist() == [[True, False, False]] * 2
    )


def test_token_blocks_have_the_bits_of_row_tiles():
    x = data(10, 73)
    static = ["mx6", "mx9", "mx6", "mx6", "mx6"]
    chosen = largest_blocks(x, 4, 2, [name == "mx9" for name in static])
    formats = [
        [MX9 if c else get_format(f) for c, f in zip(tile, static, strict=True)] for tile in chosen
    ]
    expected = quantize_mixed(x.numpy(), formats, tile_rows=4).values()
    low = fake_mixed(x, static)
    found = raise_blocks(x, low, "mx9", 4, 2, [name == "mx9" for name in static])
    assert bits(found.numpy()) == bits(expected)
