"""Embeddings of images by a trained network, as a Parquet table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from sightline.core import files
from sightline.core.errors import UserError
from sightline.core.progress import track
from sightline.datasets.processed_set import ProcessedSet
from sightline.datasets.raw_set import SPLITS
from sightline.models.inference import Predictor


def write_embeddings(model: Path, data: Path, output: Path, batch_size: int = 256) -> int:
    """Writes the embedding (the input of the network's last layer) of every image of a processed set.

    The columns are `id`, `label` (the class name in this set, which need not be a class of the model), `split` and
    `embedding` (a fixed-size list of float32). Rows are ordered by split ("train", "val", "test"), then by id. The
    file's metadata contains the digests of the model and the set. Memory holds one batch of images at a time. The
    same model, set, batch size and machine produce the same bytes.

    Args:
        model: Folder with `model.safetensors` and `model.json`.
        data: Folder written by the preprocess stage, with the same settings as for the model's training set.
        output: The Parquet file to write.
        batch_size: Images per forward pass, and rows per row group.

    Returns:
        The number of images.

    Raises:
        UserError: If the model or the set is missing or damaged, or the images do not have the model's input shape.
    """
    predictor = Predictor.load(model)
    processed = ProcessedSet(data)
    shape = predictor.info.shape
    if processed.shape != shape:
        theirs, ours = ("x".join(map(str, s)) for s in (processed.shape, shape))
        raise UserError(f"{data} holds images of {theirs}, the model takes {ours} (height x width x channels)")
    length = embed(predictor, np.zeros((1, *shape), np.uint8)).shape[1]
    schema = pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("label", pa.string(), nullable=False),
            pa.field("split", pa.string(), nullable=False),
            pa.field("embedding", pa.list_(pa.float32(), length), nullable=False),
        ],
        metadata={"model_sha256": predictor.info.weights_sha256, "data_sha256": processed.digest},
    )
    count = 0
    with files.atomic_file(output) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        for name in SPLITS:
            split = processed.split(name)
            for start in track(range(0, len(split), batch_size), name, len(split), each=batch_size):
                here = slice(start, start + batch_size)
                embedding = embed(predictor, split.images(here))
                labels = [processed.classes[label] for label in split.labels[here]]
                columns = [
                    pa.array(split.ids[here], pa.string()),
                    pa.array(labels, pa.string()),
                    pa.array([name] * len(labels), pa.string()),
                    pa.FixedSizeListArray.from_arrays(pa.array(embedding.reshape(-1)), length),
                ]
                writer.write_table(pa.table(columns, schema=schema))
            count += len(split)
    return count


@torch.inference_mode()
def embed(predictor: Predictor, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Returns the embeddings [n, D] of images [n, H, W, C]."""
    embedding: npt.NDArray[np.float32] = predictor.classifier.features(torch.from_numpy(images)).numpy()
    return embedding
