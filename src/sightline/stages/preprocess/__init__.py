"""The preprocess stage: turns raw shards into training-ready pixels with the preprocessing transform."""

import os

# Arrow's own allocator keeps most of the memory of its many short reads. Both variables are read on import.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
# Nothing here needs linear algebra, and without OpenBLAS's threads a worker can be forked from this process.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
