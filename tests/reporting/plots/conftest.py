"""Names that a careless picture would choke on."""

from tests.stages.evaluate.conftest import history, hostile

__all__ = ["history", "hostile"]
