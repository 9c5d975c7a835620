"""The run of tasks: what the cache holds is taken from it, the rest is run, and all is put in its place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from sightline.core.progress import track
from sightline.stages.preprocess.cache import PixelCache
from sightline.stages.preprocess.tasks import Executor, ShardSummary, Task, unfinished


def run_tasks(tasks: Sequence[Task], cache: PixelCache, executor: Executor, out: Path) -> list[ShardSummary]:
    """Makes every task's pixels stand in `out`, under the name of their content.

    Args:
        tasks: In any order; those of one key are one.
        cache: Earlier results, to which the new ones are added as they come.
        executor: Runs the tasks whose results the cache lacks.
        out: Folder for the pixels.

    Returns:
        The summary of each task's result, in order.

    Raises:
        UserError: If a worker or a cluster ends before the work does.
    """
    by_key = {task.key: task for task in tasks}
    summaries = {key: summary for key in by_key if (summary := cache.fetch(key, out))}
    missing = [task for key, task in by_key.items() if key not in summaries]

    def run() -> Iterator[None]:
        for task, summary in executor.run(missing, out):
            made = unfinished(task, out)
            cache.store(task.key, made, summary)
            made.replace(out / summary.pixels.name) if summary.pixels.shape[0] else made.unlink()
            summaries[task.key] = summary
            yield from (None for _ in range(task.images))

    if missing:
        for _ in track(run(), "", sum(task.images for task in missing)):
            pass
    return [summaries[task.key] for task in tasks]
