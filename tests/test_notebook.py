"""docs/scribbles.ipynb runs from top to bottom and ends with hearts that were found."""

from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "docs" / "scribbles.ipynb"


def test_the_notebook_runs_and_finds_the_heart(tmp_path, monkeypatch):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))  # no profile of the user's, and none left behind
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    said = notebook.cells[-1].outputs[0].text.split()
    scores = dict(zip(said[1::3], map(float, said[2::3]), strict=True))
    assert set(scores) == {"RV:", "Myo:", "LV:"}
    assert sum(scores.values()) / 3 > 0.5


def test_it_is_kept_with_its_pictures_and_without_errors():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    kinds = [output.output_type for output in outputs]
    assert "error" not in kinds
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
    assert NOTEBOOK.stat().st_size < 1_000_000
