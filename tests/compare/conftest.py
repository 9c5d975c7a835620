from tests.stages.evaluate.conftest import make_set

__all__ = ["make_set"]
