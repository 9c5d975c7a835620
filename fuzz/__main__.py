"""Fuzzes a target with Atheris: `python -m fuzz TARGET -max_total_time=3600`, after `pip install atheris`.

What follows the target's name is libFuzzer's: `-runs=N`, `-seed=N`, a file that crashed. The corpus that it finds lies
in `fuzz/corpus/TARGET`, which git ignores and which begins with the target's seeds.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["sightline", "PIL", "zipfile", "tarfile", "multipart", "starlette"]):
    from fuzz.targets import TARGETS

CORPUS = Path(__file__).with_name("corpus")


def main() -> None:
    """Fuzzes until libFuzzer ends."""
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"python -m fuzz TARGET [libFuzzer's options]: name a target, one of {', '.join(TARGETS)}")
    name, *options = sys.argv[1:]
    folder = CORPUS / name
    folder.mkdir(parents=True, exist_ok=True)
    for seed in TARGETS[name].seeds():
        (folder / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    files = [option for option in options if not option.startswith("-")]
    places = files or [str(folder)]
    limits = ["-timeout=10", "-rss_limit_mb=2048", "-max_len=65536"]
    flags = [option for option in options if option.startswith("-")]
    atheris.Setup([sys.argv[0], *limits, *flags, *places], TARGETS[name].run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
