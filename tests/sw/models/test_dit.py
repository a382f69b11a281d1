import pytest
import torch

from mixdit_sw.errors import MixditError
from mixdit_sw.models.dit import GEMM_NAMES, DiT, DiTConfig, position_table

BLOCK_SHAPES = {
    "attn.qkv.weight": (576, 192),
    "attn.qkv.bias": (576,),
    "attn.proj.weight": (192, 192),
    "attn.proj.bias": (192,),
    "mlp.fc1.weight": (768, 192),
    "mlp.fc1.bias": (768,),
    "mlp.fc2.weight": (192, 768),
    "mlp.fc2.bias": (192,),
    "adaLN_modulation.1.weight": (1152, 192),
    "adaLN_modulation.1.bias": (1152,),
}
OUTER_SHAPES = {
    "pos_embed": (1, 49, 192),
    "x_embedder.proj.weight": (192, 1, 4, 4),
    "x_embedder.proj.bias": (192,),
    "t_embedder.mlp.0.weight": (192, 256),
    "t_embedder.mlp.0.bias": (192,),
    "t_embedder.mlp.2.weight": (192, 192),
    "t_embedder.mlp.2.bias": (192,),
    "y_embedder.embedding_table.weight": (11, 192),
    "final_layer.linear.weight": (16, 192),
    "final_layer.linear.bias": (16,),
    "final_layer.adaLN_modulation.1.weight": (384, 192),
    "final_layer.adaLN_modulation.1.bias": (384,),
}


def test_parameters_have_the_names_and_shapes_of_the_public_checkpoints():
    expected = dict(OUTER_SHAPES)
    for index in range(6):
        expected |= {f"blocks.{index}.{name}": shape for name, shape in BLOCK_SHAPES.items()}
    state = DiT(DiTConfig()).state_dict()
    assert {name: tuple(value.shape) for name, value in state.items()} == expected


def test_position_embedding_is_not_trained(tiny_model):
    assert not tiny_model.pos_embed.requires_grad


def test_new_model_predicts_zero(tiny_config):
    model = DiT(tiny_config)
    output = model(torch.randn(2, 1, 8, 8), torch.tensor([0, 9]), torch.tensor([0, 3]))
    assert output.shape == (2, 1, 8, 8)
    assert not output.any()


def test_output_depends_on_image_timestep_and_label(tiny_model):
    x = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    t, label = torch.tensor([5]), torch.tensor([1])
    base = tiny_model(x, t, label)
    assert not torch.equal(base, tiny_model(x + 1, t, label))
    assert not torch.equal(base, tiny_model(x, t + 100, label))
    assert not torch.equal(base, tiny_model(x, t, label + 1))


def test_attention_agrees_with_the_fused_kernel(tiny_model):
    attention = tiny_model.blocks[0].attn
    x = torch.randn(3, 4, 16, generator=torch.Generator().manual_seed(0))
    query, key, value = attention.qkv(x).view(3, 4, 3, 2, 8).permute(2, 0, 3, 1, 4)
    fused = torch.nn.functional.scaled_dot_product_attention(query, key, value)
    expected = attention.proj(fused.transpose(1, 2).reshape(3, 4, 16))
    torch.testing.assert_close(attention(x), expected)


def test_every_gemm_of_a_block_is_a_submodule_called_once(tiny_model):
    calls = []
    block = tiny_model.blocks[0]
    for name in GEMM_NAMES:
        hook = block.get_submodule(name).register_forward_hook
        hook(lambda module, inputs, output, name=name: calls.append(name))
    block(torch.randn(2, 4, 16), torch.randn(2, 16))
    assert calls == list(GEMM_NAMES)


def test_replacing_a_product_changes_the_output(tiny_model):
    class Zero(torch.nn.Module):
        def forward(self, a, b):
            return torch.zeros(*a.shape[:-1], b.shape[-2])

    x, t, label = torch.randn(1, 1, 8, 8), torch.tensor([5]), torch.tensor([1])
    before = tiny_model(x, t, label)
    tiny_model.blocks[1].attn.av = Zero()
    assert not torch.equal(before, tiny_model(x, t, label))


def test_unpatching_puts_patches_in_row_major_order(tiny_model):
    image = torch.arange(64.0).view(1, 1, 8, 8)
    tiles = image.view(1, 2, 4, 2, 4).permute(0, 1, 3, 2, 4).reshape(1, 4, 16)
    assert torch.equal(tiny_model._unpatch(tiles), image)


def test_position_table_separates_row_and_column(tiny_config):
    table = position_table(tiny_config)[0].view(2, 2, 16)
    assert torch.equal(table[0, 1, :8], table[1, 1, :8])
    assert torch.equal(table[1, 0, 8:], table[1, 1, 8:])
    assert not torch.equal(table[0, 0], table[1, 1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": 0}, "DiT depth must be a positive integer, not 0"),
        ({"hidden": "foo"}, "DiT hidden must be a positive integer, not 'foo'"),
        ({"image_size": 30}, "DiT image_size must be a multiple of patch 4, not 30"),
        ({"heads": 5}, "DiT hidden must be a multiple of heads 5, not 192"),
        ({"hidden": 18, "heads": 6}, "DiT hidden must be a multiple of 4, not 18"),
    ],
)
def test_bad_configuration_is_named(change, message):
    with pytest.raises(MixditError, match=f"^{message}$"):
        DiTConfig(**change)


def test_derived_values():
    config = DiTConfig()
    assert (config.grid, config.tokens, config.head_dim, config.null_label) == (7, 49, 32, 10)
