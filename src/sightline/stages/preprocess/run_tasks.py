"""Execution of tasks: takes results from the cache if possible, and runs the other tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from sightline.core.progress import track
from sightline.stages.preprocess.cache import PixelCache
from sightline.stages.preprocess.tasks import Executor, ShardSummary, Task, unfinished


def run_tasks(tasks: Sequence[Task], cache: PixelCache, executor: Executor, out: Path) -> list[ShardSummary]:
    """Puts every task's pixels into `out`, in files named by their content.

    Args:
        tasks: In any order; tasks with the same key run once.
        cache: Earlier results, to which new ones are added as they are finished.
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
