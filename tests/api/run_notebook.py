"""Runs the cells of a notebook in order, in the working directory, and prints the kind and text of each cell's output.

It replaces the kernel: a cell's last expression is shown, as HTML if it has an HTML form.
"""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path
from typing import Any

import sightline


def main(notebook: Path) -> None:
    print("package", Path(sightline.__file__).parent)
    names: dict[str, Any] = {}
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] != "code":
            continue
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, cell["id"], "exec"), names)
        shown = eval(compile(ast.Expression(last.value), cell["id"], "eval"), names) if last else None
        if shown is not None:
            html = shown._repr_html_() if hasattr(shown, "_repr_html_") else None
            print("html" if html and html.startswith("<") else "text", cell["id"], " ".join(repr(shown).split()))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
