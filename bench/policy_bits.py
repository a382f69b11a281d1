"""How many results of a quantized model's float32 products have the engine's bits.

Run `python -m bench policy_bits`. Shipped model and twin, one forward pass.
"""

import torch
from torch import Tensor, nn

from mixdit_sw.gemm.kinds import parse_kind
from mixdit_sw.models.load import DiTBundle, load_dit
from mixdit_sw.models.twin import make_twin
from mixdit_sw.policy.apply import apply_plan
from mixdit_sw.policy.calibrate import CalibrationConfig, calibrate
from mixdit_sw.policy.description import Policy, paper_policy, uniform_policy
from mixdit_sw.policy.golden import golden_linear, golden_product, golden_products
from mixdit_sw.policy.modules import QuantizedLinear, QuantizedMatMul
from mixdit_sw.policy.select import resolve

POLICIES = (uniform_policy("mx6"), paper_policy(0.01, 1), uniform_policy("mx9"))
BLOCK = "blocks.0."


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    """Return noisy images, their timestep and labels."""
    x = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    return x, torch.full((2,), 300), torch.tensor([1, 2])


def measure(bundle: DiTBundle, policy: Policy, kind_name: str) -> tuple[float, bool]:
    """Return the share of other results in the first block, and whether the outputs are equal."""
    model, kind = bundle.model, parse_kind(kind_name)
    calibration = calibrate(model, bundle.schedule, CalibrationConfig(images=4, steps=2))
    shares: list[tuple[int, int]] = []

    def compare(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, QuantizedLinear):
            golden = golden_linear(module, args[0], kind)
        else:
            assert isinstance(module, QuantizedMatMul)
            golden = golden_product(module, args[0], args[1], kind)
        shares.append((int((golden == output).sum()), output.numel()))

    with apply_plan(model, resolve(policy, calibration, model)):
        hooks = [
            module.register_forward_hook(compare)
            for name, module in model.named_modules()
            if name.startswith(BLOCK) and isinstance(module, QuantizedLinear | QuantizedMatMul)
        ]
        output = model(*inputs())
        for hook in hooks:
            hook.remove()
        with golden_products(model, kind):
            golden = model(*inputs())
    equal, total = (sum(part) for part in zip(*shares, strict=True))
    return 1 - equal / total, torch.equal(output, golden)


def main() -> None:
    """Print a table."""
    torch.set_num_threads(1)
    print("| model | policy | kind | not equal in the first block | output equal |")
    print("|---|---|---|--:|---|")
    plain = load_dit()
    for label, bundle in (("plain", plain), ("twin x30", make_twin(plain))):
        for policy in POLICIES:
            for kind in ("aligned40", "fp32"):
                share, is_equal = measure(bundle, policy, kind)
                cells = f"{share:.1e} | {'yes' if is_equal else 'no'}"
                print(f"| {label} | {policy.name} | {kind} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
