from tests.exported import project  # noqa: F401
