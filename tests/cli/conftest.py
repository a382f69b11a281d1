"""The real entry point, called in process: what it prints, its exit status, what it leaves."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from mixdit_cli import main


@dataclass
class Run:
    status: int
    out: str
    err: str


@dataclass
class Inputs:
    """A (3, 40) and B (5, 40) as files, and a folder for more."""

    folder: Path
    a: np.ndarray
    b: np.ndarray

    def save(self, name, values):
        """Write an array as .npy; return its path."""
        path = self.folder / name
        np.save(path, values)
        return path

    def write(self, name, content):
        """Write text or bytes; return the path."""
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    @property
    def gemm(self):
        """Start of a command that multiplies the two."""
        return ["gemm", self.folder / "a.npy", self.folder / "b.npy"]


def listing(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.fixture
def mixdit(capsys, monkeypatch):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["mixdit", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main.main()
        captured = capsys.readouterr()
        return Run(end.value.code, captured.out, captured.err)

    return run


@pytest.fixture
def report(mixdit, tmp_path):
    """Run a command that must succeed; return its JSON."""

    def run(*arguments):
        file = tmp_path / "report.json"
        done = mixdit(*arguments, "--json", file)
        assert done.status == 0, done.err
        assert "error" not in done.err
        return json.loads(file.read_text())

    return run


@pytest.fixture
def refused(mixdit, tmp_path):
    """Run a command that must fail with one line, and leave every file as it was."""

    def run(*arguments):
        before = listing(tmp_path)
        done = mixdit(*arguments)
        assert done.status == 2
        assert done.err.startswith("error: ")
        assert done.err.count("\n") == 1 and done.err.endswith("\n")
        assert done.out == ""
        assert listing(tmp_path) == before
        return done.err

    return run


@pytest.fixture
def inputs(tmp_path):
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(rows, 40)).astype(np.float32) for rows in (3, 5))
    files = Inputs(tmp_path, a, b)
    files.save("a.npy", a)
    files.save("b.npy", b)
    return files
