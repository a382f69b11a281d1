import pytest
import torch

from mixdit_sw.errors import MixditError
from mixdit_sw.models.schedule import KINDS, PREDICTIONS, Schedule


@pytest.mark.parametrize("kind", KINDS)
def test_signal_power_decreases_from_one_to_zero(kind):
    power = Schedule(kind=kind).alpha_bar
    assert power.shape == (1000,)
    assert (power.diff() < 0).all()
    assert power[0] > 0.999
    assert 0 < power[-1] < 1e-4


def test_linear_schedule_is_the_product_of_its_betas():
    power = Schedule(kind="linear").alpha_bar
    assert power[0].item() == pytest.approx(1 - 1e-4)
    assert power[1].item() == pytest.approx((1 - 1e-4) * (1 - 1e-4 - (0.02 - 1e-4) / 999))


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_split_inverts_target(kind, prediction):
    schedule = Schedule(kind=kind, prediction=prediction)
    rng = torch.Generator().manual_seed(0)
    x0 = torch.randn(5, 1, 4, 4, generator=rng)
    eps = torch.randn(5, 1, 4, 4, generator=rng)
    t = torch.tensor([0, 10, 300, 500, 700])
    x = schedule.add_noise(x0, eps, t)
    found_x0, found_eps = schedule.split(x, schedule.target(x0, eps, t), t)
    torch.testing.assert_close(found_x0, x0, rtol=0, atol=2e-5)
    torch.testing.assert_close(found_eps, eps, rtol=0, atol=2e-5)


def test_noise_keeps_the_variance():
    alpha, sigma = Schedule().levels(torch.arange(1000))
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones(1000, 1, 1, 1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "square"}, "schedule kind must be one of .* not 'square'"),
        ({"prediction": "x"}, "schedule prediction must be one of .* not 'x'"),
        ({"timesteps": 0}, "schedule timesteps must be a positive integer, not 0"),
    ],
)
def test_bad_schedule_is_named(change, message):
    with pytest.raises(MixditError, match=message):
        Schedule(**change)
