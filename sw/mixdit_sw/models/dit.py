"""Class-conditional diffusion transformer with adaLN-Zero conditioning.

Architecture: Peebles and Xie, "Scalable Diffusion Models with Transformers" (arXiv:2212.09748),
section 3.2 and figure 3. Parameter names are those of the public DiT checkpoints.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from mixdit_sw.errors import MixditError

FREQUENCY_WIDTH = 256
"""Width of the sinusoidal timestep embedding, as in the public checkpoints."""

GEMM_NAMES = ("attn.qkv", "attn.qk", "attn.av", "attn.proj", "mlp.fc1", "mlp.fc2")
"""Submodules of a block that are matrix products, in the order in which they run."""


@dataclass(frozen=True, kw_only=True)
class DiTConfig:
    """Shape of a model.

    Attributes
    ----------
    image_size : int
        Height and width of the square image, in pixels.
    channels : int
        Image channels.
    patch : int
        Height and width of a patch, in pixels; must divide `image_size`.
    hidden : int
        Token width; a multiple of `heads` and of 4.
    heads : int
        Attention heads per block.
    depth : int
        Transformer blocks.
    mlp_ratio : int
        Hidden width of the MLP over `hidden`.
    classes : int
        Number of classes, without the "no class" label that guidance uses.

    Raises
    ------
    MixditError
        If a value is not a positive integer or does not divide as stated.
    """

    image_size: int = 28
    channels: int = 1
    patch: int = 4
    hidden: int = 192
    heads: int = 6
    depth: int = 6
    mlp_ratio: int = 4
    classes: int = 10

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise MixditError(f"DiT {name} must be a positive integer, not {value!r}")
        for name, value, divisor_name, divisor in (
            ("image_size", self.image_size, "patch", self.patch),
            ("hidden", self.hidden, "heads", self.heads),
        ):
            if value % divisor:
                raise MixditError(
                    f"DiT {name} must be a multiple of {divisor_name} {divisor}, not {value}"
                )
        if self.hidden % 4:
            raise MixditError(f"DiT hidden must be a multiple of 4, not {self.hidden}")

    @property
    def grid(self) -> int:
        """Patches along one side of the image."""
        return self.image_size // self.patch

    @property
    def tokens(self) -> int:
        """Tokens per image."""
        return self.grid**2

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.hidden // self.heads

    @property
    def null_label(self) -> int:
        """Label that means "no class"."""
        return self.classes


class MatMul(nn.Module):
    """Product A @ B^T of two activations, a module so that it can be hooked or replaced.

    `forward(a, b)` takes a (..., M, K) and b (..., N, K) and returns (..., M, N).
    """

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Multiply `a` (..., M, K) by the transpose of `b` (..., N, K)."""
        return a @ b.transpose(-2, -1)


class Attention(nn.Module):
    """Multi-head self-attention whose four matrix products are submodules.

    `qkv` and `proj` are linears; `qk` computes Q K^T and `av` computes A V, both as `MatMul`.
    The 1/sqrt(head_dim) factor is applied to the result of `qk`.
    """

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (hidden // heads) ** -0.5
        self.qkv = nn.Linear(hidden, 3 * hidden)
        self.qk = MatMul()
        self.av = MatMul()
        self.proj = nn.Linear(hidden, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """Attend within each sample: (S, T, D) to (S, T, D)."""
        samples, tokens, hidden = x.shape
        qkv = self.qkv(x).view(samples, tokens, 3, self.heads, hidden // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        weights = (self.qk(query, key) * self.scale).softmax(dim=-1)
        mixed = self.av(weights, value.transpose(-2, -1))
        return self.proj(mixed.transpose(1, 2).reshape(samples, tokens, hidden))


class Mlp(nn.Module):
    """Two linears with a tanh-approximated GELU between them."""

    def __init__(self, hidden: int, inner: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(hidden, inner)
        self.fc2 = nn.Linear(inner, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """Map each token: (..., D) to (..., D)."""
        return self.fc2(functional.gelu(self.fc1(x), approximate="tanh"))


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Scale and shift the tokens `x` (S, T, D) by one vector (S, D) per sample."""
    return x * (1 + scale.unsqueeze(1)) + shift.unsqueeze(1)


class DiTBlock(nn.Module):
    """Transformer block with adaLN-Zero conditioning (DiT paper, figure 3, left)."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        hidden = config.hidden
        self.norm1 = nn.LayerNorm(hidden, elementwise_affine=False, eps=1e-6)
        self.attn = Attention(hidden, config.heads)
        self.norm2 = nn.LayerNorm(hidden, elementwise_affine=False, eps=1e-6)
        self.mlp = Mlp(hidden, hidden * config.mlp_ratio)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(hidden, 6 * hidden))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Update the tokens `x` (S, T, D) under the conditioning vectors (S, D)."""
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = self.adaLN_modulation(condition).chunk(
            6, dim=1
        )
        x = x + gate_a.unsqueeze(1) * self.attn(modulate(self.norm1(x), shift_a, scale_a))
        return x + gate_m.unsqueeze(1) * self.mlp(modulate(self.norm2(x), shift_m, scale_m))


class PatchEmbedder(nn.Module):
    """Cut an image into patches and embed each as a token."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.proj = nn.Conv2d(config.channels, config.hidden, config.patch, stride=config.patch)

    def forward(self, x: Tensor) -> Tensor:
        """Embed images (S, C, H, W) as tokens (S, T, D) in row-major patch order."""
        return self.proj(x).flatten(2).transpose(1, 2)


class TimestepEmbedder(nn.Module):
    """Embed a diffusion timestep: sinusoids, then a two-layer MLP."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(FREQUENCY_WIDTH, hidden), nn.SiLU(), nn.Linear(hidden, hidden)
        )

    def forward(self, t: Tensor) -> Tensor:
        """Embed timesteps (S,) as vectors (S, D)."""
        half = FREQUENCY_WIDTH // 2
        exponents = torch.arange(half, dtype=torch.float32, device=t.device) / half
        angles = t.float().unsqueeze(1) * torch.exp(-math.log(10000.0) * exponents)
        waves = torch.cat([angles.cos(), angles.sin()], dim=1)
        return self.mlp(waves.to(next(self.parameters()).dtype))


class LabelEmbedder(nn.Module):
    """Table of class embeddings whose last row stands for "no class"."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.embedding_table = nn.Embedding(config.classes + 1, config.hidden)

    def forward(self, labels: Tensor) -> Tensor:
        """Embed integer labels (S,) as vectors (S, D)."""
        return self.embedding_table(labels)


class FinalLayer(nn.Module):
    """Modulated normalisation and the linear that turns tokens into patches."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.norm_final = nn.LayerNorm(config.hidden, elementwise_affine=False, eps=1e-6)
        self.linear = nn.Linear(config.hidden, config.patch**2 * config.channels)
        self.adaLN_modulation = nn.Sequential(
            nn.SiLU(), nn.Linear(config.hidden, 2 * config.hidden)
        )

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Map tokens (S, T, D) to patches (S, T, patch * patch * C)."""
        shift, scale = self.adaLN_modulation(condition).chunk(2, dim=1)
        return self.linear(modulate(self.norm_final(x), shift, scale))


class DiT(nn.Module):
    """Diffusion transformer: noisy image, timestep and label in, prediction out.

    Parameters
    ----------
    config : DiTConfig
        Shape of the model. A new model predicts zero everywhere (adaLN-Zero).
    """

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.config = config
        self.x_embedder = PatchEmbedder(config)
        self.t_embedder = TimestepEmbedder(config.hidden)
        self.y_embedder = LabelEmbedder(config)
        self.pos_embed = nn.Parameter(position_table(config), requires_grad=False)
        self.blocks = nn.ModuleList(DiTBlock(config) for _ in range(config.depth))
        self.final_layer = FinalLayer(config)
        _initialise(self)

    def forward(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        """Predict the training target for noisy images.

        Parameters
        ----------
        x : Tensor
            Noisy images, float32 (S, C, H, W).
        t : Tensor
            Timesteps, (S,).
        labels : Tensor
            Classes, int64 (S,); `config.null_label` for no class.

        Returns
        -------
        Tensor
            Prediction, float32 (S, C, H, W).
        """
        condition = self.t_embedder(t) + self.y_embedder(labels)
        tokens = self.x_embedder(x) + self.pos_embed
        for block in self.blocks:
            tokens = block(tokens, condition)
        return self._unpatch(self.final_layer(tokens, condition))

    def _unpatch(self, patches: Tensor) -> Tensor:
        grid, patch = self.config.grid, self.config.patch
        channels = patches.shape[-1] // patch**2
        tiles = patches.view(-1, grid, grid, patch, patch, channels).permute(0, 5, 1, 3, 2, 4)
        return tiles.reshape(-1, channels, grid * patch, grid * patch)


def position_table(config: DiTConfig) -> Tensor:
    """Build the fixed 2-D sine-cosine position embedding, float32 (1, T, D).

    The first half of the channels encodes the column of a patch, the second half its row; each half
    is sines, then cosines, at geometric frequencies (DiT paper, section 3.2, "patchify").
    """
    quarter = config.hidden // 4
    omega = 10000.0 ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
    angles = torch.arange(config.grid, dtype=torch.float64).unsqueeze(1) * omega
    axis = torch.cat([angles.sin(), angles.cos()], dim=1)
    columns = axis.repeat(config.grid, 1)
    rows = axis.repeat_interleave(config.grid, dim=0)
    return torch.cat([columns, rows], dim=1).float().unsqueeze(0)


def _initialise(model: DiT) -> None:
    """Set the initial weights: Xavier linears, small embeddings, zero gates and output."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(module.weight.flatten(1))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    nn.init.normal_(model.y_embedder.embedding_table.weight, std=0.02)
    for name, parameter in model.named_parameters():
        if name in ("t_embedder.mlp.0.weight", "t_embedder.mlp.2.weight"):
            nn.init.normal_(parameter, std=0.02)
        elif "adaLN_modulation" in name or name.startswith("final_layer.linear"):
            nn.init.zeros_(parameter)
