"""The baseline stage: simpler methods on the same splits, which the network has to beat."""

import os

# Without OpenBLAS's threads a worker can be forked from the stage; `fixed_threads` sets their number before any work.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
