import pytest
import torch

from mixdit_sw.models import classifier
from mixdit_sw.models.classifier import Classifier, accuracy, train_classifier
from mixdit_sw.models.data import Split, to_signed


@pytest.fixture
def easy_data():
    """Images whose class is which half is bright."""
    labels = torch.arange(32) % 2
    images = torch.zeros(32, 1, 28, 28, dtype=torch.uint8)
    images[labels == 0, :, :14] = 255
    images[labels == 1, :, 14:] = 255
    return Split(images=images, labels=labels)


def test_learns_an_easy_task_and_is_deterministic(easy_data, capsys):
    model = train_classifier(easy_data, epochs=3, batch=8)
    again = train_classifier(easy_data, epochs=3, batch=8)
    assert accuracy(model, to_signed(easy_data.images), easy_data.labels) == 1.0
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
    assert capsys.readouterr().out.startswith("epoch 1/3  loss ")


def test_scores_are_the_head_of_the_features():
    model = Classifier()
    x = torch.randn(3, 1, 28, 28)
    assert model.features(x).shape == (3, classifier.FEATURES)
    assert torch.equal(model(x), model.head(model.features(x)))


def test_accuracy_counts_every_batch():
    class Always(torch.nn.Module):
        def forward(self, x):
            return torch.tensor([[0.0, 1.0]]).repeat(len(x), 1)

    labels = torch.tensor([1, 1, 0, 1, 0])
    assert accuracy(Always(), torch.zeros(5, 1, 2, 2), labels, batch=2) == pytest.approx(0.6)


def test_command_names_the_package_of_missing_data(tmp_path, capsys):
    assert classifier.main(["--data", str(tmp_path)]) == 2
    assert "dataset-fashion-mnist" in capsys.readouterr().err
