"""sweep: many trainings over values of any setting up to training; it is not a DVC stage, but runs next to them."""

from __future__ import annotations

from sightline.sweep.command import main

if __name__ == "__main__":
    main()
