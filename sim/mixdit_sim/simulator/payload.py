"""What a run hands to its cocotb test module."""

import json
import os
from pathlib import Path
from typing import Any

VARIABLE = "MIXDIT_PAYLOAD"


def payload() -> dict[str, Any]:
    """Read, inside the simulator, what `run` was given; `folder` is where results belong."""
    return json.loads(Path(os.environ[VARIABLE]).read_text())
