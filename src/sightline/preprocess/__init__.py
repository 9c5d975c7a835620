"""Raw shards into training-ready pixels, by the preprocessing contract."""

import os

# Arrow's own allocator keeps most of what its many short reads have used. It looks once, when it is imported.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
