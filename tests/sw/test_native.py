"""Compiled loops against the reference, and what happens without a compiler."""

import gemm_cases
import numpy as np
import pytest
import torch

from mixdit_sw import native
from mixdit_sw.formats import MX6
from mixdit_sw.gemm import fast, reference
from mixdit_sw.gemm.kinds import parse_kind

KINDS = ("aligned40", "aligned29", "aligned33x4", "aligned25x2", "aligned52", "aligned52x16")


@pytest.fixture
def always(monkeypatch):
    """Use the loops however small the product; tiles end inside it."""
    monkeypatch.setattr(fast, "_WORTH_COMPILING", 0)
    monkeypatch.setattr(fast, "_CPU_TILE_BYTES", 16 * 100)
    if not native.is_available():
        pytest.skip("there is no C++ compiler")


@pytest.fixture
def unbuilt():
    """Forget the loops before and after a test."""
    caches = (native.is_available, native._library)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


def assert_reference(case, name):
    kind = parse_kind(name)
    expected = reference.golden_gemm(*case, kind).view(np.uint32)
    assert np.array_equal(fast.golden_gemm(*case, kind).view(np.uint32), expected)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("case", gemm_cases.CASES)
def test_gemm_cases(always, case, name):
    assert_reference(gemm_cases.CASES[case](np.random.default_rng(7)), name)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("spread", [2, 5, 9, 20, 50])
def test_gemm_random(always, spread, name):
    for seed in range(200, 203):
        assert_reference(gemm_cases.random_case(seed, spread, max_rows=24, max_k=700), name)


def test_gemm_loop_runs(always, monkeypatch):
    """The cases reach the loop."""
    calls = []
    step = native.aligned_step
    monkeypatch.setattr(native, "aligned_step", lambda *args: (calls.append(args), step(*args)))
    assert_reference(gemm_cases.random_case(1, 20, max_rows=24, max_k=700), "aligned40")
    assert calls


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_rows_are_split_over_threads(threads):
    before = torch.get_num_threads()
    parts = []
    try:
        torch.set_num_threads(threads)
        native._split(7, lambda start, stop: parts.append((start, stop)))
    finally:
        torch.set_num_threads(before)
    assert len(parts) == threads
    assert sorted(i for part in parts for i in range(*part)) == list(range(7))


def test_no_compiler(unbuilt, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert not native.is_available()
    with pytest.raises(RuntimeError, match="ask is_available first"):
        native.fake_quantize(torch.ones(1, 16), torch.ones(1, 16), MX6)
    monkeypatch.setattr(fast, "_WORTH_COMPILING", 0)
    assert_reference(gemm_cases.random_case(1, 20, max_rows=8, max_k=200), "aligned40")


@pytest.mark.parametrize("script", ["exit 1", "exit 0"])
def test_compiler_that_fails(unbuilt, monkeypatch, tmp_path, script):
    """It reports an error, or leaves no file."""
    compiler = tmp_path / "cxx"
    compiler.write_text(f"#!/bin/sh\n{script}\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    assert not native.is_available()
