"""The examples in README and docs run."""

import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from mixdit_cli.main import main

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SLOW = ("--backend rtl", "--preset paper", "area ", "demo", "sweep --json")


def blocks(language):
    """Return (page:line, text) of each example in a language."""
    found = []
    for page in PAGES:
        text = page.read_text()
        for match in re.finditer(rf"^```{language}\n(.*?)^```", text, re.M | re.S):
            line = text[: match.start()].count("\n") + 2
            found.append(pytest.param(match[1], id=f"{page.name}:{line}"))
    return found


def commands(slow):
    """Return the `mixdit` lines of the shell examples."""
    lines = [
        line.split("#")[0].strip()
        for block in blocks("sh")
        for line in block.values[0].splitlines()
        if line.startswith("mixdit ")
    ]
    return [line for line in dict.fromkeys(lines) if any(s in line for s in SLOW) == slow]


@pytest.mark.parametrize("code", blocks("python"))
def test_python_example(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "example", "exec"), {})


def named(file, language):
    """Return the example that stands for a file."""
    return next(b.values[0] for b in blocks(language) if b.values[0].startswith(f"# {file}"))


def run_command(line, tmp_path, monkeypatch):
    """Run a command on tensors of the names that the examples use."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name, rows in (("x", 5), ("a", 20), ("b", 12)):
        np.save(f"{name}.npy", rng.normal(size=(rows, 64)).astype(np.float32))
    for file, language in (("my_formats.py", "python"), ("my_sweep.toml", "toml")):
        Path(file).write_text(named(file, language))
    monkeypatch.setattr(sys, "argv", shlex.split(line))
    with pytest.raises(SystemExit) as status:
        main()
    assert status.value.code == 0


@pytest.mark.parametrize("line", commands(slow=False))
def test_command(line, tmp_path, monkeypatch):
    run_command(line, tmp_path, monkeypatch)


@pytest.mark.heavy
@pytest.mark.parametrize("line", commands(slow=True))
def test_slow_command(line, tmp_path, monkeypatch):
    monkeypatch.setenv("MIXDIT_BUILD", str(ROOT / "build"))
    run_command(line, tmp_path, monkeypatch)


def test_links_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
