"""`python -m toolkit` is the `toolkit` command; torchrun starts it so."""

from toolkit.cli import main

if __name__ == "__main__":
    main()
