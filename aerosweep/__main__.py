"""`python -m aerosweep`."""

from aerosweep.cli import main

if __name__ == "__main__":
    main()
