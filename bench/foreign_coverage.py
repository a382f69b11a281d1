"""How much of public transformers policies reach: share of the multiply-adds, by shapes alone.

Run `python -m bench.foreign_coverage`. Models are built without values, from the configurations
that diffusers has for them; the operation counter is torch's.
"""

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mixdit_sw.foreign.adapt import adapt
from mixdit_sw.models.dit import MatMul
from mixdit_sw.policy.targets import targets


def models() -> dict[str, tuple[str, dict, dict[str, Tensor]]]:
    """Return class, configuration and inputs of a forward pass, without guidance, by name."""

    def zeros(*shape: int) -> Tensor:
        return torch.zeros(shape, device="meta")

    t, label = zeros(1), torch.zeros(1, dtype=torch.long, device="meta")
    dit = {"sample_size": 32, "out_channels": 8}
    pixart = {
        "caption_channels": 4096,
        "interpolation_scale": 2,
        "use_additional_conditions": False,
    }
    sd3 = {
        "num_layers": 24,
        "num_attention_heads": 24,
        "caption_projection_dim": 1536,
        "pos_embed_max_size": 192,
    }
    text = {"encoder_hidden_states": zeros(1, 154, 4096), "pooled_projections": zeros(1, 2048)}
    return {
        "DiT-XL/2 256": (
            "DiTTransformer2DModel",
            dit,
            {"hidden_states": zeros(1, 4, 32, 32), "timestep": t, "class_labels": label},
        ),
        "DiT-XL/2 512": (
            "DiTTransformer2DModel",
            dit | {"sample_size": 64},
            {"hidden_states": zeros(1, 4, 64, 64), "timestep": t, "class_labels": label},
        ),
        "PixArt-Sigma 1024": (
            "PixArtTransformer2DModel",
            pixart,
            {
                "hidden_states": zeros(1, 4, 128, 128),
                "timestep": t,
                "encoder_hidden_states": zeros(1, 300, 4096),
            },
        ),
        "SD3-medium 512": (
            "SD3Transformer2DModel",
            sd3,
            {"hidden_states": zeros(1, 16, 64, 64), "timestep": t} | text,
        ),
        "SD3-medium 1024": (
            "SD3Transformer2DModel",
            sd3,
            {"hidden_states": zeros(1, 16, 128, 128), "timestep": t} | text,
        ),
    }


def covered_macs(model: nn.Module, layers: tuple[str, ...], inputs: dict) -> dict[str, list[int]]:
    """Run a model; return number of layers and multiply-adds of linears and of products."""
    found = {"linears": [0, 0], "products": [0, 0]}

    def count(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        is_product = isinstance(module, MatMul)
        columns = args[1].shape[-2] if is_product else module.out_features
        cell = found["products" if is_product else "linears"]
        cell[0] += 1
        cell[1] += args[0].numel() * columns

    hooks = [m.register_forward_pre_hook(count) for m in targets(model, layers).values()]
    model(**inputs)
    for hook in hooks:
        hook.remove()
    return found


def main() -> None:
    """Print a table."""
    import diffusers

    print(
        "| model | linears | products | GMAC | in linears | in products | covered | float layers |"
    )
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    for name, (kind, config, inputs) in models().items():
        with torch.device("meta"):
            model = getattr(diffusers, kind)(**config).eval()
        foreign = adapt(model)
        with torch.no_grad():
            found = covered_macs(model, foreign.layers, inputs)
            # Products are looked at here too, so that attention is counted as two of them.
            hooks = [
                m.register_forward_pre_hook(lambda *_: None)
                for m in model.modules()
                if isinstance(m, MatMul)
            ]
            with FlopCounterMode(display=False) as counter:
                model(**inputs)
            for hook in hooks:
                hook.remove()
        total = counter.get_total_flops() / 2
        (linears, in_linears), (products, in_products) = found.values()
        cells = [
            name,
            str(linears),
            str(products),
            f"{total / 1e9:.2f}",
            f"{in_linears / 1e9:.2f}",
            f"{in_products / 1e9:.2f}",
            f"{(in_linears + in_products) / total:.2%}",
            str(len(foreign.left_float)),
        ]
        print("|", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
