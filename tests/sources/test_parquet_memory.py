"""Memory of a source in Parquet files: what is encoded of one row group, however many there are."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

GROUPS, ROWS, BYTES = 60, 500, 2000
READ = """
import sys
from pathlib import Path
import pyarrow.parquet
from sightline.sources.huggingface import _batches
from sightline.sources.file import LocalFile
from sightline.sources.table_rows import read_rows

def own():
    return int(Path("/proc/self/status").read_text().partition("RssAnon:")[2].split()[0]) * 1024

kind, file = sys.argv[1], Path(sys.argv[2])
if kind == "table":
    rows = read_rows(LocalFile(file), {"bytes_column": "image"})
else:
    rows = (row for batch in _batches(file, ["image"]) for row in batch.to_pylist())
for number, _ in enumerate(rows):
    if number == 5000:
        begun = own()
print(number + 1, own() - begun)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.parametrize("kind", ["table", "huggingface"])
def test_memory_does_not_grow_with_the_number_of_row_groups(kind: str, tmp_path: Path) -> None:
    draw = random.Random(0)
    schema = pa.schema({"image": pa.binary()})
    with pq.ParquetWriter(tmp_path / "images.parquet", schema) as writer:
        for _ in range(GROUPS):
            writer.write_table(pa.table([[draw.randbytes(BYTES) for _ in range(ROWS)]], schema=schema))
    command = [sys.executable, "-c", READ, kind, str(tmp_path / "images.parquet")]
    rows, grown = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert int(rows) == GROUPS * ROWS
    # Kept, the fifty groups that follow would be 50 MB; the allocator keeps some 10 MB of what is free again.
    assert int(grown) < 25 * ROWS * BYTES, "bytes: half of the row groups that follow"
