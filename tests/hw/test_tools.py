import os
import sys
import time

import pytest

from mixdit_hw.tools import run_logged

TALK = "import os, sys, time; print('é', os.getpid(), flush=True); time.sleep(float(sys.argv[1]))"


def test_output_is_in_the_log_and_the_status_returned(tmp_path):
    code = "import sys; print('out', flush=True); sys.stderr.write('err\\n'); sys.exit(3)"
    assert run_logged([sys.executable, "-c", code], tmp_path, "log") == 3
    assert (tmp_path / "log").read_text() == "out\nerr\n"


def test_bytes_that_are_no_text(tmp_path):
    code = "import sys; sys.stdout.buffer.write(b'a\\xff\\n')"
    assert run_logged([sys.executable, "-c", code], tmp_path, "log") == 0
    assert (tmp_path / "log").read_text() == "a\N{REPLACEMENT CHARACTER}\n"


def test_lines_are_seen_while_the_command_runs(tmp_path):
    seen = []

    def watch(line):
        seen.append((line.split()[0], time.monotonic()))

    assert run_logged([sys.executable, "-c", TALK, "1"], tmp_path, "log", watch) == 0
    [(word, when)] = seen
    assert word == "é" and time.monotonic() - when > 0.8


def test_an_interrupt_ends_the_command(tmp_path):
    def watch(line):
        assert (tmp_path / "log").read_text() == line
        raise KeyboardInterrupt(line.split()[1])

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt) as interrupt:
        run_logged([sys.executable, "-c", TALK, "60"], tmp_path, "log", watch)
    assert time.monotonic() - start < 30
    with pytest.raises(ProcessLookupError):
        os.kill(int(str(interrupt.value)), 0)
