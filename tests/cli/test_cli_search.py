"""`mixdit search` and what takes its results."""

import json

import pytest
import torch

from mixdit_sw.models.dit import DiT, DiTConfig
from mixdit_sw.models.load import save_dit
from mixdit_sw.models.schedule import Schedule

KEYS = {"config", "trials", "pareto", "chosen", "reason"}


@pytest.fixture
def weights(tmp_path):
    """A model without training: all its predictions are zero, so all policies are equal."""
    path = tmp_path / "tiny.safetensors"
    model = DiT(DiTConfig(patch=14, hidden=64, heads=2, depth=1, mlp_ratio=1))
    save_dit(path, model, Schedule(), {})
    return path


@pytest.fixture
def search(weights, tmp_path):
    """Start of a short search in this process."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield [
        "search", "--model", weights, "--out", tmp_path / "found", "--workers", 0, "--images", 2,
        "--seeds", 1, "--steps", 2, "--preset", "tiny", "--shares", "0,.5", "--heads", "1,0",
        "--weights", "nearest",
    ]  # fmt: skip
    torch.set_num_threads(before)


def test_search_then_gemm(search, report, mixdit, inputs, tmp_path):
    found = report(*search)
    assert set(found) >= KEYS
    assert len(found["trials"]) == 4
    # None is worse than another, so that with the fewest cycles is taken.
    assert found["chosen"]["name"] == "mx6"
    assert (found["chosen"]["policy_file"], found["pareto"]) == ("policy.json", [1])
    shown = mixdit(*search)
    assert shown.status == 0
    assert "mx6 (chosen)" in shown.out and "mx6 has the fewest cycles" in shown.out
    assert json.loads((tmp_path / "report.json").read_text()) == found
    plan = tmp_path / "found" / "plan.json"
    run = report(*inputs.gemm, "--out", tmp_path / "c.npy", "--plan", plan, "--layer",
                 "blocks.0.attn.qk", "--head", 1)  # fmt: skip
    assert run["shape"] == [3, 5, 40]


def test_gemm_takes_the_formats_of_the_plan(report, search, inputs, tmp_path):
    report(*search, "--max-distance", 0)
    plan = json.loads((tmp_path / "found" / "plan.json").read_text())
    product = plan["phases"][0]["products"]["blocks.0.attn.qk"]
    product["a"], product["b"] = ["mx9", "mx6"], ["mx9", "mx4"]
    path = inputs.write("other.json", json.dumps(plan))
    out = tmp_path / "c.npy"
    command = [*inputs.gemm, "--out", out, "--plan", path, "--layer", "blocks.0.attn.qk"]
    heads = [report(*command, "--head", n) for n in range(2)]
    wanted = [
        report(*inputs.gemm, "--out", out, "--a-format", a, "--b-format", b)
        for a, b in (("mx9", "mx9"), ("mx6", "mx4"))
    ]
    assert [x["qsnr_db"] for x in heads] == [x["qsnr_db"] for x in wanted]
    assert [x["predicted_cycles"] for x in heads] == [x["predicted_cycles"] for x in wanted]


def test_bounds_that_nothing_meets(search, mixdit, tmp_path):
    assert mixdit(*search).status == 0
    path = tmp_path / "found" / "paired_scores"
    for file in path.iterdir():
        values = json.loads(file.read_text())
        values["value"]["pixel_distance"]["mean"] = 1.0
        file.write_text(json.dumps(values))
    done = mixdit(*search, "--max-distance", 0.5)
    assert done.status == 1
    assert "None of" in done.out
    assert not (tmp_path / "found" / "policy.json").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "flux"], "Model must be shipped, twin-x30 or a weight file, not 'flux'"),
        (["--method", "qdit"], "Method must be mixdit, not 'qdit'"),
        (["--per", "block"], "Search must be per model, role, layer, not 'block'"),
        (["--shares", "0,x"], "--shares must be numbers with commas, not '0,x'"),
        (["--shares", "2"], "high_share must be 0 to 1, not 2.0"),
        (["--heads", "3"], "The model has 2 heads, not 3"),
        (["--weights", "best"], "weight_method must be one of nearest, gptq"),
        (["--trials", "0"], "Search trials must be an integer of at least 1, not 0"),
        (["--seeds", "0"], "Seeds must be at least 1, not 0"),
        (["--images", "1"], "Study images must be an integer of at least 2, not 1"),
        (["--steps", "1"], "sampler steps must be an integer of at least 2, not 1"),
        (["--preset", "huge"], "Engine must be one of"),
        (["--cycles-of", "flux"], "Model must be one of dit-s-2-256"),
        (["--max-distance", "-1"], "Distance must be a number of at least 0, not -1.0"),
        (["--workers", "-1"], "Workers must be at least 0, not -1"),
        (["--out", "/proc/mixdit"], "Cannot write /proc/mixdit/search.json: /"),
        (["--device", "tpu"], "Device must be cpu or cuda, not 'tpu'"),
    ],
)
def test_bad_option(options, message, search, refused):
    assert message in refused(*search, *options)


def test_a_folder_of_another_search(search, report, refused):
    report(*search)
    message = refused(*search, "--steps", 3)
    assert "holds a search of another model or with other settings" in message
    assert report(*search, "--images", 3)["config"]["task"]["study"]["images"] == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--plan", "none.json", "--layer", "x"], "Cannot read none.json"),
        (["--plan", "none.json"], "A plan needs the name of a layer"),
        (
            ["--plan", "p", "--layer", "x", "--high-channels", "3"],
            "chooses high channels by itself",
        ),
        (["--plan", "p", "--layer", "x", "--b-format", "mx6"], "leave out --a-format"),
        (["--layer", "x"], "--layer and --head are of a plan"),
        (["--head", "0"], "--layer and --head are of a plan"),
    ],
)
def test_gemm_without_a_plan(options, message, inputs, refused, tmp_path):
    assert message in refused(*inputs.gemm, "--out", tmp_path / "c.npy", *options)


def test_block_without_a_search(refused, tmp_path):
    assert "holds no finished search" in refused("block", tmp_path)
    assert "Engine must be one of" in refused("block", tmp_path, "--preset", "huge")
