import numpy as np
import pytest

from sightline.core.errors import UserError
from sightline.stages.evaluate.history import quantities, read_history


def test_history(history, tmp_path):
    table = read_history(history)
    assert quantities(table) == ["loss", "accuracy"]
    assert np.isnan(table["val_loss"][2])
    for bad in ("", "epoch,train_loss\n", "step,train_loss\n1,2\n", "epoch,train_loss\n1,high\n", "epoch,a\n1\n"):
        path = tmp_path / "bad.csv"
        path.write_text(bad)
        with pytest.raises(UserError, match="run the train stage again"):
            read_history(path)
