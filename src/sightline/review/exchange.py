"""Exchange of review decisions with other tools: Label Studio's JSON, COCO-style JSON, and database tables."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sightline.core import files
from sightline.core.errors import UserError
from sightline.core.json_fields import field
from sightline.core.rejection import RejectionError
from sightline.datasets.corrections import ReviewDecision
from sightline.review.desk import ReviewDesk
from sightline.review.review_project import ReviewProject
from sightline.review.review_queue import ReviewItem

CONTROL, OBJECT = "label", "image"
"""Names of the choices control and the image object in Label Studio's labelling configuration."""
NONE_OF_THESE = "none of these"
"""The choice, or category, for a picture that shows none of the classes."""
REMOVE = "remove"

_SIDE = 512


def write(path: Path, form: str, project: ReviewProject) -> int:
    """Writes the queue with its decisions.

    Args:
        path: The JSON file.
        form: "label-studio" (a list of tasks with embedded pictures, which needs no file server) or "coco" (images,
            categories and annotations of the pictures that have a decision).
        project: The project under review.

    Returns:
        The number of pictures.
    """
    if form == "coco":
        content = _coco(project)
        files.write_json(path, content)
        return len(content["images"])
    count = 0
    with files.atomic_file(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        for count, task in enumerate(_tasks(project), 1):
            stream.write("[\n" if count == 1 else ",\n")
            json.dump(task, stream, ensure_ascii=False)
        stream.write("\n]\n" if count else "[]\n")
    return count


def labelling_configuration(classes: list[str]) -> str:
    """Returns the labelling configuration of a Label Studio project for these classes."""
    from xml.sax.saxutils import quoteattr

    choices = "".join(f"<Choice value={quoteattr(name)}/>" for name in [*classes, NONE_OF_THESE, REMOVE])
    return (
        f'<View><Image name="{OBJECT}" value="${OBJECT}"/>'
        f'<Choices name="{CONTROL}" toName="{OBJECT}" choice="single">{choices}</Choices></View>'
    )


def take(path: Path, desk: ReviewDesk) -> tuple[int, int]:
    """Imports the decisions from a file that `write` wrote and another tool completed.

    An unknown label becomes a new class, since somebody configured it in the other tool. Decisions that were already
    made and pictures that are not in the queue are skipped.

    Args:
        path: Label Studio's JSON (whole or JSON-MIN) or COCO-style JSON.
        desk: The desk that records the decisions.

    Returns:
        The numbers of imported and of skipped decisions.

    Raises:
        UserError: If the file cannot be read or has none of these formats.
    """
    try:
        content = json.loads(path.read_bytes())
        found = list(_from_coco(content) if isinstance(content, dict) else _from_tasks(content))
    except OSError as error:
        raise UserError(f"--import {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"--import {path}: neither Label Studio's JSON nor COCO's, as sightline review --export writes ({error})"
        ) from None
    taken = 0
    for sha256, label in found:
        decision = {NONE_OF_THESE: ReviewDecision.NONE, REMOVE: ReviewDecision.REMOVE}.get(label, ReviewDecision.LABEL)
        if label in desk.classes:  # a class may have one of these names
            decision = ReviewDecision.LABEL
        elif decision is ReviewDecision.LABEL:
            decision = ReviewDecision.NEW_CLASS
        item = desk.by_sha256.get(sha256)
        if item is None or _is_known(desk, item, decision, label):
            continue
        if decision is ReviewDecision.LABEL and label == desk.label(item) and not item.needs_label:
            decision = ReviewDecision.ACCEPT
        desk.decide([sha256], decision, label, f"from {path.name}")
        taken += 1
    return taken, len(found) - taken


def write_back(project: ReviewProject, table: str, url: str | None) -> int:
    """Writes the decisions into a database's table or collection as labels, a row a picture and copy of it.

    The rows are those of predictions, with `review` in the place of the model's digest: again gives the same rows.

    Raises:
        UserError: If the database cannot be reached, or refuses them.
    """
    from sightline.core.credentials import require_harmless
    from sightline.sources.databases.writeback import write_predictions

    require_harmless(url)
    rows = []
    for item in project.desk.items:
        held = project.desk.decision(item.sha256)
        if held is not None:
            detail = ", ".join(filter(None, [held.reason, held.who, held.when]))
            label = None if held.removes else project.desk.label(item)
            for identity in project.ids.get(item.sha256, [item.id]):
                row = {"id": identity, "model": "review", "label": label, "probability": None}
                rows.append({**row, "reason": str(held.decision), "detail": detail})
    return write_predictions(rows, url, table)


def _is_known(desk: ReviewDesk, item: ReviewItem, decision: ReviewDecision, label: str) -> bool:
    held = desk.decision(item.sha256)
    if held is None:
        return False
    if decision in (ReviewDecision.NONE, ReviewDecision.REMOVE):
        return held.decision is decision
    return not held.removes and held.new == label


def _decided(desk: ReviewDesk, item: ReviewItem) -> str | None:
    """Returns the decision on a picture as a class name, `NONE_OF_THESE` or `REMOVE`; None if there is none."""
    held = desk.decision(item.sha256)
    if held is None:
        return None
    return {ReviewDecision.NONE: NONE_OF_THESE, ReviewDecision.REMOVE: REMOVE}.get(
        held.decision, desk.label(item)
    ) or None


def _tasks(project: ReviewProject) -> Iterator[dict[str, Any]]:
    desk = project.desk
    for item in desk.items:
        data = {"sha256": item.sha256, "id": item.id, "label": item.label, "why": item.detail, OBJECT: ""}
        try:
            picture, media = project.pictures.shown(item.sha256, _SIDE)
            data[OBJECT] = f"data:{media};base64,{base64.b64encode(picture).decode()}"
        except (RejectionError, KeyError):
            continue  # the picture cannot be shown
        task: dict[str, Any] = {"data": data}
        if item.suggestion and item.place is not None:
            score = float(project.judged.probabilities[item.place].max())
            task["predictions"] = [{"result": [_choice(item.suggestion)], "score": round(score, 6)}]
        if (decided := _decided(desk, item)) is not None:
            task["annotations"] = [{"result": [_choice(decided)]}]
        yield task


def _choice(name: str) -> dict[str, Any]:
    return {"from_name": CONTROL, "to_name": OBJECT, "type": "choices", "value": {"choices": [name]}}


def _from_tasks(content: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(content, list):
        raise ValueError("not a list of tasks")
    for task in content:
        if isinstance(task, dict) and "data" not in task:  # JSON-MIN
            if isinstance(task.get(CONTROL), str) and task.get("annotation_id") is not None:
                yield field(task, "sha256", str), task[CONTROL]
            continue
        sha256 = field(field(task, "data", dict), "sha256", str)
        done = [each for each in task.get("annotations") or [] if not each.get("was_cancelled")]
        for result in field(done[-1], "result", list) if done else []:  # the last annotation is the latest
            if field(result, "type", str) == "choices":
                choices = field(field(result, "value", dict), "choices", list)
                if len(choices) != 1:
                    raise ValueError(f"{len(choices)} choices for {sha256[:12]}")
                yield sha256, str(choices[0])


def _coco(project: ReviewProject) -> dict[str, Any]:
    desk = project.desk
    names = [*desk.classes, *(name for name in (NONE_OF_THESE, REMOVE) if name not in desk.classes)]
    number = {name: at for at, name in enumerate(names, 1)}
    decided = [(item, word) for item in desk.items if (word := _decided(desk, item)) is not None]
    return {
        "info": {"description": "decisions of sightline review"},
        "categories": [{"id": at, "name": name} for name, at in number.items()],
        "images": [{"id": at, "file_name": item.id, "sha256": item.sha256} for at, (item, _) in enumerate(decided, 1)],
        "annotations": [
            {"id": at, "image_id": at, "category_id": number[word]} for at, (_, word) in enumerate(decided, 1)
        ],
    }


def _from_coco(content: Any) -> Iterator[tuple[str, str]]:
    names = {field(each, "id", int): field(each, "name", str) for each in field(content, "categories", list)}
    contents = {field(each, "id", int): field(each, "sha256", str) for each in field(content, "images", list)}
    for annotation in field(content, "annotations", list):
        image, category = field(annotation, "image_id", int), field(annotation, "category_id", int)
        if image not in contents or category not in names:
            raise ValueError(f"an annotation of image {image}, category {category}, which are not there")
        yield contents[image], names[category]
