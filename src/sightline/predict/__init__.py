"""The exported bundle at work, without torch."""
