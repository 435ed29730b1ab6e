"""Progress bars look as they do without a run, and the log has what the terminal got."""

from __future__ import annotations

import errno
import os
import pty
import subprocess
import sys
import termios
from pathlib import Path

import pytest

import artline as art

BARS = {
    "tqdm": """
from tqdm import tqdm
plain = "{l_bar}{bar}|{n_fmt}/{total_fmt}"
for epoch in range(2):
    with tqdm(range(50), desc=f"epoch {epoch}", bar_format=plain, mininterval=0, miniters=1) as outer:
        for n in outer:
            if n % 25 == 0:
                tqdm.write(f"note {n}")
    for n in tqdm(range(5), position=1, leave=False, bar_format=plain, mininterval=0, miniters=1):
        pass
print("done")
""",
    "rich": """
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
console = Console()
with Progress(TextColumn("{task.description}"), BarColumn(), console=console, auto_refresh=False) as progress:
    tasks = [progress.add_task(name, total=20) for name in ("train", "eval")]
    for n in range(20):
        for task in tasks:
            progress.update(task, advance=1)
        progress.refresh()
        if n % 10 == 0:
            progress.console.print(f"[bold red]note[/] {n}")
table = Table(title="scores")
table.add_column("name")
table.add_row("a" * 30)
console.print(table)
print(console.size, console.is_terminal)
""",
}


def on_terminal(script: str, **environment: str) -> bytes:
    """Run a script on a terminal of 90 columns; return what that was sent."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (40, 90))
    given = {**os.environ, "TERM": "xterm-256color", "ART_QUIET": "true", **environment}
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=slave, stdout=slave, stderr=slave, env=given
    )
    os.close(slave)
    seen = bytearray()
    while True:
        try:
            data = os.read(master, 65536)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            break
        if not data:
            break
        seen += data
    os.close(master)
    assert process.wait(60) == 0, seen.decode()
    return bytes(seen)


@pytest.mark.parametrize("library", BARS)
def test_bars_look_the_same_and_are_logged(library: str, store_root: Path) -> None:
    begin = "import artline as art\nrun = art.init(project='p', id='r', save_code=False)\n"
    plain = on_terminal(BARS[library])
    tracked = on_terminal(begin + BARS[library] + "\nrun.finish()\n")
    assert tracked == plain
    run = art.Api().run("p/r")
    logged = b"".join(piece.data for piece in run._store.console(run.record))
    assert logged.replace(b"\n", b"\r\n") == plain  # the terminal makes its own line ends


def test_a_notebook_is_heard_and_kept(store_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat
    from nbclient import NotebookClient

    cells = [
        "import os\nimport artline as art\nrun = art.init(project='p', id='nb')",
        "print('from a cell')\nos.system('echo from a child')\n6 * 7",
        "run.finish()",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    place = Path("demo.ipynb").absolute()
    nbformat.write(notebook, place)
    monkeypatch.setenv("JPY_SESSION_NAME", str(place))
    monkeypatch.setenv("ART_QUIET", "true")
    NotebookClient(notebook, timeout=100).execute()
    run = art.Api().run("p/nb")
    assert run.metadata["program"] == str(place)
    assert sorted(run.logs()) == ["from a cell", "from a child"]
    with run.file("code/_session_history.ipynb").open() as file:
        session = nbformat.reads(file.read().decode(), as_version=4)
    assert [cell.source for cell in session.cells] == cells
    assert session.cells[1].outputs[0].data["text/plain"] == "42"
    with run.file("code/demo.ipynb").open() as file:
        assert file.read() == place.read_bytes()
