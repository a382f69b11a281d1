"""A policy or a plan in a file."""

import pytest

from mixdit_sw.errors import MixditError
from mixdit_sw.policy.description import paper_policy
from mixdit_sw.policy.file import load_policy
from mixdit_sw.policy.json_form import save_json
from mixdit_sw.policy.select import resolve


def test_both_are_told_apart(small_model, calibration, tmp_path):
    policy = paper_policy(0.1, 1)
    save_json(tmp_path / "policy.json", policy)
    assert load_policy(tmp_path / "policy.json") == policy
    plan = resolve(policy, calibration, small_model)
    plan.save(tmp_path / "plan.json")
    assert load_policy(tmp_path / "plan.json") == plan


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "^Cannot read .*policy.json: No such file or directory$"),
        ("{", "^Cannot read .*policy.json: it is not JSON$"),
        ("[1]", "policy.json must be an object of Policy, not"),
        ('{"r": 1}', "policy.json has the unknown key 'r'; there are name, linear, attention"),
        ('{"phases": []}', "policy.json lacks policy$"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    path = tmp_path / "policy.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(MixditError, match=message):
        load_policy(path)
