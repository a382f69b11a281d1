"""Rows of the ablation for people."""

from typing import Any

from scipy.stats import spearmanr

HEADS = (
    "cycles",
    "large",
    "bits A / W",
    "FID",
    "FID change",
    "accuracy, %",
    "features",
    "pixels",
    "one step",
)


def table(rows: list[dict[str, Any]]) -> str:
    """Format the rows; ± is half of the 95 % confidence interval over the seeds."""
    lines = [f"| model | policy | {' | '.join(HEADS)} |", "|---|---|" + "--:|" * len(HEADS)]
    base: dict[str, Any] = {}
    for row in rows:
        if row["policy"] == "mx6":
            base = row
    for row in rows:
        cost, scores = row.get("cost"), row["scores"]
        bits = f"{cost['activation_bits']:.2f} / {cost['weight_bits']:.2f}" if cost else "32 / 32"
        cells = [row["model"], row["policy"]]
        cells += [_cycles(row, base, name) for name in ("cycles", "large_cycles")]
        cells += [bits, _cell(scores["fid"], 2), _cell(scores["fid_change"], 2)]
        cells += [_cell(scores["accuracy"], 1, 100), _cell(scores["feature_distance"], 3)]
        cells += [_cell(scores["pixel_distance"], 4)]
        cells += [f"{row['one_step']:.4f}" if "one_step" in row else "-"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def ranks(rows: list[dict[str, Any]]) -> str:
    """Say how the quick measure orders the policies, against the samples' pixel distance."""
    lines = []
    for model in dict.fromkeys(row["model"] for row in rows):
        chosen = [row for row in rows if row["model"] == model and "one_step" in row]
        if len(chosen) > 2:
            pixels = [row["scores"]["pixel_distance"]["mean"] for row in chosen]
            rho = spearmanr([row["one_step"] for row in chosen], pixels).statistic
            text = f"rank correlation of one step and pixels {rho:.3f} ({len(chosen)} policies)"
            lines.append(f"{model}: {text}")
    return "\n".join(lines)


def _cycles(row: dict[str, Any], base: dict[str, Any], name: str) -> str:
    """Return cycles over those of all-MX6."""
    if not row.get(name) or not base.get(name):
        return "-"
    return f"{row[name] / base[name]:.3f}"


def _cell(estimate: dict[str, Any], digits: int, factor: float = 1) -> str:
    width = estimate["half_width"]
    spread = "" if width is None else f" ± {factor * width:.{digits}f}"
    return f"{factor * estimate['mean']:.{digits}f}{spread}"
