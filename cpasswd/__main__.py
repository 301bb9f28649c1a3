"""``python -m cpasswd``."""

from cpasswd.main import main

if __name__ == "__main__":
    main()
