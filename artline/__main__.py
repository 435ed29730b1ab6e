"""``python -m artline``: the command line without its script."""

from artline.cli import main

if __name__ == "__main__":
    main()
