"""A MariaDB with images and a project that ingests them, for kills of the database."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from pathlib import Path

from tests.faults.campaign import KNOBS, NEXT_LIMIT
from tests.pipeline import project as projects
from tests.servers import processes


class SqlProject:
    """A MariaDB with 64 images, and a project that has ingested some of them."""

    def __init__(self, folder: Path, closing: contextlib.ExitStack) -> None:
        self._closing, self._log = closing, folder / "database.log"
        self._command, self._port, socket = processes.mariadb_command(closing.enter_context(processes.folder()))
        self.start()
        processes.mariadb_images(socket)
        self.variables = {"SIGHTLINE_DATABASE_URL": processes.url("mysql", self._port)}
        self.project = projects.make(folder / "database", {**KNOBS, "ingest__source": "sql"})
        images = folder / "images"
        code = (
            "import sys; from pathlib import Path; from sklearn.datasets import load_digits; "
            "from sightline.imaging.decode import encode_png; digits = load_digits()\n"
            f"for place in range({NEXT_LIMIT}):\n"
            "    path = Path(sys.argv[1]) / str(digits.target[place]) / f'{place}.png'\n"
            "    path.parent.mkdir(parents=True, exist_ok=True)\n"
            "    path.write_bytes(encode_png((digits.images[place] * 15).astype('uint8')[..., None]))"
        )
        self.project.check(sys.executable, "-c", code, str(images))
        load = [sys.executable, "-c", "from sightline.cli import app; app()", "load", str(images), "--table", "images"]
        self.project.check(*load, **self.variables)
        self.project.repro("ingest", **self.variables)
        self.saved = self.project.copy(folder / "database-saved")

    def start(self) -> None:
        """Starts the server on the existing files."""
        running = processes.running(self._command, self._log, self._port, signal.SIGKILL)
        self.process: subprocess.Popen[bytes] = self._closing.enter_context(running)
