"""Small convolutional classifier that scores samples; trained by this module.

`python -m mixdit_sw.models.classifier` trains it on Fashion-MNIST and writes its weight file.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from mixdit_sw.errors import MixditError
from mixdit_sw.models.data import DATA_DIR, Split, load_split, to_signed
from mixdit_sw.models.load import WEIGHTS_DIR, fill, read_weights, save_weights

CLASSIFIER_WEIGHTS = WEIGHTS_DIR / "fashion_classifier.safetensors"
FEATURES = 128
"""Width of the penultimate layer."""


class Classifier(nn.Module):
    """Three 3x3 convolutions with group normalisation and pooling, then two linears.

    Has no batch statistics, so the result for an image does not depend on its batch.
    """

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in ((1, 32), (32, 64), (64, 64)):
            layers += [
                nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
                nn.GroupNorm(8, outputs),
                nn.ReLU(),
                nn.MaxPool2d(2),
            ]
        layers += [nn.Flatten(), nn.Linear(64 * 3 * 3, FEATURES), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(FEATURES, classes)

    def features(self, x: Tensor) -> Tensor:
        """Compute the penultimate features of images, float32 (S, 1, 28, 28) to (S, 128).

        Pixels are in [-1, 1], as samples and `to_signed` have them.
        """
        return self.body(x)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the class scores (S, classes) of images (S, 1, 28, 28) in [-1, 1]."""
        return self.head(self.features(x))


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor, batch: int = 500) -> float:
    """Compute the share of `images` (S, 1, 28, 28) in [-1, 1] classified as `labels` (S,)."""
    hits = 0
    for start in range(0, len(labels), batch):
        scores = model(images[start : start + batch])
        hits += int((scores.argmax(dim=1) == labels[start : start + batch]).sum())
    return hits / len(labels)


def train_classifier(
    train: Split, *, epochs: int = 10, batch: int = 128, lr: float = 2e-3, seed: int = 0
) -> Classifier:
    """Train a classifier with AdamW under a one-cycle learning rate, mirrored images and shifts."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Classifier()
    rng = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.05)
    batches = -(-len(train.labels) // batch)
    plan = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, lr, total_steps=epochs * batches, pct_start=0.2
    )
    for epoch in range(epochs):
        total = 0.0
        for index in torch.randperm(len(train.labels), generator=rng).split(batch):
            images = _augment(to_signed(train.images[index]), rng)
            loss = functional.cross_entropy(model(images), train.labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            plan.step()
            total += loss.item()
        print(f"epoch {epoch + 1}/{epochs}  loss {total / batches:.4f}", flush=True)
    return model.eval()


def _augment(images: Tensor, rng: torch.Generator) -> Tensor:
    """Mirror half of the images and shift the batch by up to one pixel."""
    mirrored = torch.rand(len(images), 1, 1, 1, generator=rng) < 0.5
    images = torch.where(mirrored, images.flip(-1), images)
    down, right = torch.randint(0, 3, (2,), generator=rng).tolist()
    padded = functional.pad(images, (1, 1, 1, 1), value=-1.0)
    return padded[:, :, down : down + images.shape[2], right : right + images.shape[3]]


def load_classifier(path: Path = CLASSIFIER_WEIGHTS) -> Classifier:
    """Load a classifier; by default the shipped one.

    Raises
    ------
    WeightsError
        If the file is missing, truncated or holds another model.
    """
    state, _ = read_weights(path, "classifier")
    with torch.random.fork_rng(devices=[]):
        model = Classifier()
    fill(model, state, path)
    return model


def _train_and_save(options: argparse.Namespace) -> None:
    train, test = load_split("train", options.data), load_split("t10k", options.data)
    model = train_classifier(train, epochs=options.epochs, seed=options.seed)
    score = accuracy(model, to_signed(test.images), test.labels)
    facts = {"epochs": options.epochs, "seed": options.seed, "test_accuracy": score}
    save_weights(options.out, model.state_dict(), {"kind": "classifier", "facts": facts})
    print(f"wrote {options.out}: test accuracy {score:.2%}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status, 2 for bad input or missing data."""
    parser = argparse.ArgumentParser(
        prog="python -m mixdit_sw.models.classifier", description=__doc__
    )
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--data", type=Path, default=DATA_DIR)
    parser.add_argument("--out", type=Path, default=CLASSIFIER_WEIGHTS)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    try:
        _train_and_save(options)
    except MixditError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
