"""sweep: many trainings over values of any knob up to training; no stage of DVC's, it runs beside them."""

from __future__ import annotations

from sightline.sweep.command import main

if __name__ == "__main__":
    main()
