"""The two products of a foreign attention module, made modules of their own.

Attention layers of other libraries end in one call of `scaled_dot_product_attention`. While such a
layer runs, this call is intercepted (`TorchFunctionMode`, torch's interface for that) and sent
through two submodules, `qk` and `av`, which policies find, measure and replace like those of the
shipped model. As long as neither is looked at nor quantized, torch's own kernel runs: the layer's
result keeps its bits.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from mixdit_sw.errors import MixditError
from mixdit_sw.models.dit import MatMul
from mixdit_sw.policy.modules import QuantizedMatMul
from mixdit_sw.policy.targets import PRODUCTS


class AttentionProducts:
    """Gives an attention module the submodules `qk` and `av`; `restore` takes them away.

    Parameters
    ----------
    name : str
        Name of the module, for messages.
    attention : Module
        Calls `scaled_dot_product_attention` exactly once in each forward pass.
    """

    def __init__(self, name: str, attention: nn.Module) -> None:
        self.name, self.attention = name, attention
        self._modes: list[_Interception] = []
        attention.qk, attention.av = MatMul(), MatMul()
        self._handles = (
            attention.register_forward_pre_hook(self._enter),
            attention.register_forward_hook(self._leave, always_call=True),
        )

    def restore(self) -> None:
        """Make the module what it was."""
        for handle in self._handles:
            handle.remove()
        del self.attention.qk, self.attention.av

    def _enter(self, module: nn.Module, args: Any) -> None:
        self._modes.append(_Interception(self.name, module))
        self._modes[-1].__enter__()

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        mode = self._modes.pop()
        mode.__exit__(None, None, None)
        # Without an output the forward pass failed, and says so itself.
        if output is not None and mode.calls != 1:
            raise MixditError(
                f"Attention {self.name} called scaled_dot_product_attention {mode.calls} times, "
                "not once: its products cannot be told apart, give it a processor that does"
            )


class _Interception(TorchFunctionMode):
    def __init__(self, name: str, attention: nn.Module) -> None:
        super().__init__()
        self.name, self.attention, self.calls = name, attention, 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is not functional.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        self.calls += 1
        qk, av = (self.attention.get_submodule(name) for name in PRODUCTS)
        if _is_idle(qk) and _is_idle(av):
            return func(*args, **(kwargs or {}))
        try:
            return attend(qk, av, *args, **(kwargs or {}))
        except MixditError as error:
            raise MixditError(f"Attention {self.name}: {error}") from error


def attend(
    qk: nn.Module,
    av: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Do what `scaled_dot_product_attention` does by way of two product modules.

    Parameters
    ----------
    qk, av : Module
        Take (..., heads, M, K) and (..., heads, N, K) and return (..., heads, M, N).
    query : Tensor
        (..., heads, T, D).
    key, value : Tensor
        (..., heads, S, D) and (..., heads, S, E); with `enable_gqa` fewer heads.
    attn_mask : Tensor, optional
        (..., T, S): what is added to the scores, or where a query may look. A query that may look
        nowhere gets zeros.
    dropout_p : float
        Only 0.
    is_causal : bool
        Whether a query may look at keys up to its own place only.
    scale : float, optional
        Factor of the scores; 1 / sqrt(D) by default.
    enable_gqa : bool
        Whether several heads of queries share one of keys and values.

    Returns
    -------
    Tensor
        (..., heads, T, E).

    Raises
    ------
    MixditError
        When there is dropout.
    """
    if dropout_p:
        raise MixditError("dropout cannot be quantized: call model.eval()")
    if enable_gqa:
        times = query.shape[-3] // key.shape[-3]
        key, value = (x.repeat_interleave(times, dim=-3) for x in (key, value))
    scores = qk(query, key) * (query.shape[-1] ** -0.5 if scale is None else scale)
    bias = _bias(attn_mask, is_causal, scores)
    if bias is None:
        return av(scores.softmax(dim=-1), value.transpose(-2, -1))
    weights = (scores + bias).softmax(dim=-1)
    is_blind = (bias == -torch.inf).all(dim=-1, keepdim=True)
    return av(weights.masked_fill(is_blind, 0.0), value.transpose(-2, -1))


def _bias(mask: Tensor | None, is_causal: bool, scores: Tensor) -> Tensor | None:
    """Return what is added to the scores."""
    if is_causal:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if mask is None or mask.dtype != torch.bool:
        return mask
    return torch.zeros(mask.shape, device=scores.device).masked_fill(~mask, -torch.inf)


def _is_idle(product: nn.Module) -> bool:
    """Return whether a product neither quantizes nor is looked at."""
    if isinstance(product, QuantizedMatMul):
        return product.is_float
    return not (product._forward_hooks or product._forward_pre_hooks)
