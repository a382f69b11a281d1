"""Policy files: rules, or a plan that they were resolved to."""

import json
from pathlib import Path

from mixdit_sw.policy.description import Policy
from mixdit_sw.policy.json_form import load_json
from mixdit_sw.policy.plan import Plan


def load_policy(path: Path) -> Policy | Plan:
    """Read a policy, or a plan if the file has phases.

    Raises
    ------
    MixditError
        When it is missing or damaged, or neither.
    """
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError):
        value = None  # read again below, which says what is wrong
    is_plan = isinstance(value, dict) and "phases" in value
    return load_json(path, Plan) if is_plan else load_json(path, Policy)
