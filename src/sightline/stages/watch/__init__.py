"""A cheap look at the source, and at the whole configuration, before any work."""
