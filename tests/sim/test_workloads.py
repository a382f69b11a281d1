"""Workloads against totals of the public models, and against MixDiT's own shares."""

import pytest

from mixdit_sim.workloads import (
    WORKLOADS,
    Matmul,
    Policy,
    formats,
    get_workload,
    mac_shares,
    with_policy,
)
from mixdit_sw.errors import MixditError
from mixdit_sw.formats import MX6, MX9

# GMAC of one branch: GEMMs over tokens, attention, all; as stated, with that many digits.
TOTALS = {
    "dit-s-2-256": ("5.44", "0.60", "6.06"),
    "dit-s-2-512": ("21.74", "9.66", "31.44"),
    "dit-b-2-256": ("21.74", "1.21", "23.01"),
    "dit-b-2-512": ("86.97", "19.33", "106.38"),
    "dit-l-2-256": ("77.31", "3.22", "80.70"),
    "dit-l-2-512": ("309.24", "51.54", "360.98"),
    "dit-xl-2-256": ("114.15", "4.23", "118.62"),
    "dit-xl-2-512": ("456.61", "67.65", "524.54"),
    "pixart-alpha-512": ("541.6", "75.6", "618.0"),
    "pixart-alpha-1024": ("2139.8", "1114.0", "3254.8"),
    "pixart-sigma-512": ("555.0", "87.5", "644.4"),
    "pixart-sigma-1024": ("2153.1", "1161.6", "3316.8"),
    "sd3-medium-512": ("797.2", "102.3", "901.3"),
    "sd3-medium-1024": ("2884.5", "1331.7", "4218.7"),
}
# GMAC with guidance, and percent of MX6xMX6, MX9xMX6, MX9xMX9.
MIXDIT = {
    "dit-xl-2-256": ("236.8", "99.3", "0.33", "0.33"),
    "dit-xl-2-512": ("1048.5", "99.2", "0.84", "0"),
    "pixart-sigma-1024": ("6629.5", "99.4", "0.63", "0"),
    "sd3-medium-512": ("1805.5", "93.5", "3.7", "2.8"),
    "sd3-medium-1024": ("8439.0", "91.3", "6.0", "2.6"),
}
LAST_TEXT = 2 * 154 * (1536 * 1536 + 2 * 1536 * 6144) / 1e9
"""MixDiT's list has the rest of SD3's last text block, whose result nothing uses."""


def close(value, stated, relative=3e-4):
    """Within the stated accuracy, and half a unit of the last digit."""
    digits = len(stated.partition(".")[2])
    return abs(value - float(stated)) <= relative * float(stated) + 0.5 * 10**-digits


@pytest.mark.parametrize("name", TOTALS)
def test_totals(name):
    workload = get_workload(name)
    linear = sum(x.macs for x in workload.matmuls if x.kind == "linear") / 2e9
    attention = sum(x.macs for x in workload.matmuls if x.kind != "linear") / 2e9
    found = linear, attention, linear + attention + workload.other_macs / 2e9
    for value, stated in zip(found, TOTALS[name], strict=True):
        assert close(value, stated), (value, stated)


def test_every_workload_has_a_total():
    assert list(TOTALS) == list(WORKLOADS)


@pytest.mark.parametrize("name", MIXDIT)
def test_policies_give_mixdit_shares(name):
    workload = get_workload(name)
    total, *shares = MIXDIT[name]
    extra = LAST_TEXT if name.startswith("sd3") else 0
    assert close(sum(x.macs for x in workload.matmuls) / 1e9 + extra, total)
    for value, stated in zip(mac_shares(workload).values(), shares, strict=True):
        digits = len(stated.partition(".")[2])
        assert abs(100 * value - float(stated)) <= 0.6 * 10**-digits, (value, stated)


def test_formats_of_linear_layers():
    matmul = Matmul("fc2", "linear", 64, 64, 1152)
    assert formats(matmul, 16, Policy(0.01, 3)) == [(1, (MX9,) + (MX6,) * 71, (MX6,) * 72)]
    assert formats(matmul, 16, Policy(0.05, 3)) == [(1, (MX9,) * 4 + (MX6,) * 68, (MX6,) * 72)]
    assert formats(matmul, 16, Policy(0.0, 3)) == [(1, (MX6,) * 72, (MX6,) * 72)]


def test_formats_of_heads():
    policy = Policy(0.01, 3)
    low = (MX6,) * 5
    qk = Matmul("QK", "qk", 256, 256, 72, count=32)
    assert formats(qk, 16, policy) == [(6, (MX9,) * 5, (MX9,) * 5), (26, low, low)]
    av = Matmul("AV", "av", 256, 72, 80, count=32)
    assert formats(av, 16, policy) == [(6, (MX9,) * 5, low), (26, low, low)]
    cross = Matmul("cross QK", "qk", 256, 80, 72, count=32, cross=True)
    assert formats(cross, 16, policy) == [(32, low, low)]
    assert formats(qk, 16, Policy(0, 16)) == [(32, (MX9,) * 5, (MX9,) * 5)]


def test_policy_can_be_replaced():
    workload = get_workload("dit-xl-2-512")
    assert with_policy(workload, None, None) == workload
    assert with_policy(workload, 0.5, None).policy == Policy(0.5, 0)
    assert with_policy(workload, None, 16).policy == Policy(0.01, 16)
    with pytest.raises(MixditError, match=r"High share must be 0..1, not 1.5"):
        with_policy(workload, 1.5, None)
    with pytest.raises(MixditError, match="High heads must be 0..16, not 17"):
        with_policy(workload, None, 17)


def test_unknown_model():
    with pytest.raises(MixditError, match="Model must be one of dit-s-2-256, .*, not 'flux'"):
        get_workload("flux")
