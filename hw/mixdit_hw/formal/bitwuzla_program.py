"""The program `bitwuzla` that smtbmc starts: the solver's Python package has the library only."""

import sys


def main() -> None:
    """Solve the SMT-LIB commands of the standard input, answering each as it comes."""
    if "--help" in sys.argv:
        print("--lang")  # by which smtbmc knows that the version is recent
        return
    import bitwuzla

    bitwuzla.Parser(bitwuzla.TermManager(), bitwuzla.Options()).parse("<stdin>")


if __name__ == "__main__":
    main()
