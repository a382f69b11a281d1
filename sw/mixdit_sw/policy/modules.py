"""Layers that quantize their operands on the way, one variant for each phase of a plan.

The operands have the codec's bits; their product is torch's in float32, which differs from the
engine's only in how sums are rounded. `golden` has the engine's.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from mixdit_sw.errors import MixditError
from mixdit_sw.formats import LANES, MicroExponentFormat, Rounding, get_format
from mixdit_sw.models.dit import MatMul
from mixdit_sw.policy.description import FLOAT
from mixdit_sw.policy.fake_mixed import fake_heads, fake_mixed, raise_blocks
from mixdit_sw.policy.gptq import gptq
from mixdit_sw.policy.plan import LinearPlan, ProductPlan


class PhaseClock:
    """Index of the phase that a model is in; its layers share it."""

    def __init__(self) -> None:
        self.phase = 0


class QuantizedLinear(nn.Linear):
    """Linear with quantized operands; its parameters are still those of the float layer.

    Parameters
    ----------
    linear : Linear
        Layer whose weight and bias it takes over.
    plans : list of LinearPlan
        One for each phase.
    clock : PhaseClock
        Tells the phase.
    rounding : Rounding
        Rounding of the input.
    hessian : Tensor, optional
        Mean outer product of the inputs, for GPTQ.
    row_orders : list, optional
        For each phase the output that stands at each position; None leaves them as they are.

    Raises
    ------
    MixditError
        When a plan does not fit the weight, or GPTQ has no Hessian.
    """

    def __init__(
        self,
        linear: nn.Linear,
        plans: list[LinearPlan],
        clock: PhaseClock,
        rounding: Rounding,
        hessian: Tensor | None = None,
        row_orders: list[tuple[int, ...] | None] | None = None,
    ) -> None:
        super().__init__(linear.in_features, linear.out_features, bias=False, device="meta")
        self.weight, self.bias = linear.weight, linear.bias
        self.train(linear.training)
        self.plans, self.clock, self.rounding = plans, clock, rounding
        weights: dict[tuple, tuple[Tensor, Tensor | None]] = {}
        for index, plan in enumerate(plans):
            rows = None if row_orders is None else row_orders[index]
            key = (plan.order, plan.weight, plan.weight_method, rows)
            if key not in weights:
                weights[key] = self._parameters_in(
                    rows, quantized_weight(self.weight, plan, hessian)
                )
            gathers = plan.order is not None and plan.order_from is None
            order = torch.tensor(plan.order) if gathers else None
            for name, value in zip(("weight", "bias"), weights[key], strict=True):
                self.register_buffer(f"{name}_{index}", value, persistent=False)
            self.register_buffer(f"order_{index}", order, persistent=False)
        self.to(linear.weight.device)

    def _parameters_in(
        self, rows: tuple[int, ...] | None, weight: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Return a quantized weight, and the bias, with their rows in an order."""
        bias = None if self.bias is None else self.bias.detach()
        if rows is None:
            return weight, bias
        index = torch.tensor(rows, device=weight.device)
        return weight[index], None if bias is None else bias[index]

    def ordered(self, x: Tensor) -> Tensor:
        """Return x (..., K) with its channels in the order of the phase."""
        order = getattr(self, f"order_{self.clock.phase}")
        return x if order is None else x.index_select(-1, order)

    def operands(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the values of A (..., M, K) and B (N, K) in the order of the phase."""
        plan = self.plans[self.clock.phase]
        x = self.ordered(x)
        a = fake_mixed(x, plan.activation, self.rounding)
        if plan.dynamic is not None and plan.dynamic_format is not None:
            static = [name == plan.dynamic_format for name in plan.activation]
            tokens = x if x.ndim > 1 else x[None]
            raise_blocks(
                tokens,
                a.view(tokens.shape),
                plan.dynamic_format,
                plan.dynamic.rows,
                plan.dynamic.blocks,
                static,
                self.rounding,
            )
        return a, getattr(self, f"weight_{self.clock.phase}")

    @property
    def is_float(self) -> bool:
        """Whether the phase leaves both operands as they are."""
        plan = self.plans[self.clock.phase]
        return plan.dynamic is None and {*plan.activation, *plan.weight} == {FLOAT}

    def forward(self, x: Tensor) -> Tensor:
        """Map x (..., K) to (..., N)."""
        bias = getattr(self, f"bias_{self.clock.phase}")
        if self.is_float:
            # The float layer's own call, so that its bits stay.
            return functional.linear(
                self.ordered(x), getattr(self, f"weight_{self.clock.phase}"), bias
            )
        result = functional.linear(*self.operands(x))
        # Apart, as on the engine: inside the product it would be rounded with the partial sums.
        return result if bias is None else result.add_(bias)


class QuantizedMatMul(MatMul):
    """Attention product with quantized operands, head by head (axis -3).

    Parameters
    ----------
    plans : list of ProductPlan
        One for each phase.
    clock : PhaseClock
        Tells the phase.
    rounding : Rounding
        Rounding of both operands.
    """

    def __init__(self, plans: list[ProductPlan], clock: PhaseClock, rounding: Rounding) -> None:
        super().__init__()
        self.plans, self.clock, self.rounding = plans, clock, rounding

    @property
    def is_float(self) -> bool:
        """Whether the phase leaves both operands of all heads as they are."""
        plan = self.plans[self.clock.phase]
        return {*plan.a, *plan.b} == {FLOAT}

    def operands(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Return the values of A (..., heads, M, K) and B (..., heads, N, K)."""
        plan = self.plans[self.clock.phase]
        if a.ndim < 3 or a.shape[-3] != len(plan.a):
            raise MixditError(
                f"Attention operands must have {len(plan.a)} heads on axis -3, "
                f"not shape {tuple(a.shape)}"
            )
        return fake_heads(a, plan.a, self.rounding), fake_heads(b, plan.b, self.rounding)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Multiply `a` (..., heads, M, K) by the transpose of `b` (..., heads, N, K)."""
        return super().forward(*self.operands(a, b))


def quantized_weight(weight: Tensor, plan: LinearPlan, hessian: Tensor | None = None) -> Tensor:
    """Return the values of a weight (N, K) under a plan, in its order of channels.

    Raises
    ------
    MixditError
        When they do not fit, the weight is not finite or not float32, or GPTQ has no Hessian.
    """
    k = weight.shape[1]
    if len(plan.weight) != -(-k // LANES) or (plan.order is not None and len(plan.order) != k):
        raise MixditError(
            f"the plan has {len(plan.weight)} K-blocks of {LANES}, the weight {k} inputs: "
            "resolve the policy for this model"
        )
    if weight.dtype != torch.float32:
        name = str(weight.dtype).removeprefix("torch.")
        raise MixditError(f"the weight is {name}, policies need float32: call model.float()")
    ordered = weight.detach()
    if not ordered.isfinite().all():
        raise MixditError("the weight has NaN or Inf: load a sound checkpoint")
    if plan.order is not None:
        ordered = ordered[:, torch.tensor(plan.order, device=weight.device)]
    if plan.weight_method == "nearest" or set(plan.weight) == {FLOAT}:
        return fake_mixed(ordered, plan.weight)
    if hessian is None:
        raise MixditError("GPTQ needs a calibration with hessians=True")
    formats = [get_format(name) for name in plan.weight]
    micro = [fmt for fmt in formats if isinstance(fmt, MicroExponentFormat)]
    order = torch.arange(k) if plan.order is None else torch.tensor(plan.order)
    return gptq(ordered, hessian[order][:, order], micro)
