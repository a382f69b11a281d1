"""`python -m mixdit_hw.formal [NAME ...]`: make all proofs, or those whose names begin so."""

import sys

from mixdit_hw.formal.proofs import proofs
from mixdit_hw.formal.runner import PropertyError


def main(names: list[str]) -> int:
    """Print each proof with its depth and processor time; return 1 if one fails."""
    failed = 0
    for proof in proofs():
        if names and not proof.name.startswith(tuple(names)):
            continue
        try:
            said = f"holds    {proof.run().cpu_s:6.1f} s"
        except PropertyError as error:
            failed, said = 1, f"FAILS    {error}"
        print(f"{proof.name:28} {proof.mode:6} {proof.depth:3}  {said}", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
