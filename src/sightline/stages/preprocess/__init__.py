"""The preprocess stage: from raw shards to training-ready pixels, by the preprocessing transform."""

import os

# Arrow's own allocator keeps most of what its many short reads have used. Both libraries look when they are imported.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
# Nothing here is linear algebra, and without OpenBLAS's threads a worker can be a copy of this one.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
