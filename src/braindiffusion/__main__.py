"""`python -m braindiffusion` is the command line."""

from braindiffusion.cli import main

if __name__ == "__main__":
    main()
