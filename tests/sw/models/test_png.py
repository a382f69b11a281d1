"""Grey PNG files, read back by another implementation."""

import pytest
import torch
from PIL import Image

from mixdit_sw.errors import MixditError
from mixdit_sw.models.png import save_png


def test_pixels_come_back(tmp_path):
    image = torch.linspace(-1.2, 1.2, 20 * 13).view(1, 20, 13)
    save_png(tmp_path / "x.png", image)
    with Image.open(tmp_path / "x.png") as found:
        found.load()
        assert (found.size, found.mode) == ((13, 20), "L")
        pixels = torch.tensor(list(found.tobytes())).view(1, 20, 13)
    expected = ((image.clamp(-1, 1).double() + 1) / 2 * 255).round()
    assert torch.equal(pixels.double(), expected)
    assert pixels.min() == 0 and pixels.max() == 255
    assert list(tmp_path.iterdir()) == [tmp_path / "x.png"]


def test_the_bytes_are_fixed(tmp_path):
    save_png(tmp_path / "x.png", torch.tensor([[[-1.0, 1.0], [0.0, 0.5]]]))
    expected = (
        "89504e470d0a1a0a0000000d4948445200000002000000020800000000"
        "57dd52f8000000114944415478010106 00f9ff0000ff0080bf04fb023f"
    ).replace(" ", "")
    assert (tmp_path / "x.png").read_bytes().hex().startswith(expected[:58])
    assert len((tmp_path / "x.png").read_bytes()) == 8 + 25 + 12 + 17 + 12


@pytest.mark.parametrize("image", [torch.zeros(3, 2, 2), torch.full((1, 2, 2), torch.nan)])
def test_other_images_are_refused(tmp_path, image):
    with pytest.raises(MixditError, match="^An image must be finite and grey, not of shape"):
        save_png(tmp_path / "x.png", image)
    assert not list(tmp_path.iterdir())
