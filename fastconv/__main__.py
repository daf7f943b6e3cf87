"""`python -m fastconv` is the command `fastconv`."""

from fastconv.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
