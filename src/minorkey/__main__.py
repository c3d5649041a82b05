"""`python -m minorkey`, for launchers such as torchrun."""

from minorkey.cli import main

if __name__ == "__main__":
    main()
