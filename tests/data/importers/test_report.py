"""The report says what was found; a dry run writes it and nothing else; each mistake has its line."""

import numpy as np
import pytest
from painted import TOLD, folders, save, strokes
from PIL import Image

from pclmix.data.check import check_dataset
from pclmix.data.folder import read_dataset, unlabelled_cases
from pclmix.data.importers.folder import PAGE, import_folder, inspect_folder
from pclmix.data.importers.meanings import as_told
from pclmix.data.importers.pairing import find_pairs
from pclmix.data.importers.survey import read_survey
from pclmix.errors import InputError


def test_values_their_shares_and_cases(tmp_path):
    images, labels = folders(tmp_path)
    label = strokes()
    label[label == 2] = 0
    save(labels, c1=label)
    survey = read_survey(find_pairs(images, labels), as_told(None, None, None))
    facts = {one.value: (one.voxels, one.share, one.cases) for one in survey.values}
    assert facts[1] == (72, 0.04, 3) and facts[2] == (48, 48 / 1800, 2)
    assert survey.by_size == [0, 1, 3, 2]


def test_a_dry_run_writes_its_report_and_no_data_set(tmp_path):
    images, labels = folders(tmp_path)
    found = inspect_folder(images, labels, tmp_path / "out")
    assert not (tmp_path / "out").exists() and found.problems == []
    names = ["contact_sheet.png", PAGE, "import_report.md"]
    assert [path.name for path in found.files] == names
    assert sorted(path.name for path in (tmp_path / "out_report").iterdir()) == sorted(names)
    assert Image.open(tmp_path / "out_report" / "contact_sheet.png").size[0] > 500
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in found.text.splitlines()]
    assert ["1", "72", "4.000%", "3 of 3", "not said yet"] in lines
    assert ["c0", "c0", "c0.png", "c0.png", "same name"] in lines


def test_a_dry_run_tells_of_all_problems_at_once(tmp_path):
    images, labels = folders(tmp_path)
    save(labels, c1=strokes()[:10], stray=strokes())
    found = inspect_folder(images, labels, tmp_path / "out", **TOLD)
    assert len(found.problems) == 2 and all(problem in found.text for problem in found.problems)


def test_the_data_set_holds_the_page_with_its_picture(tmp_path):
    import_folder(*folders(tmp_path), tmp_path / "out", **TOLD)
    page = (tmp_path / "out" / PAGE).read_text()
    assert "data:image/png;base64," in page and "cell, label 1" in page and "nobody looked" in page


def test_what_is_odd_is_a_warning(tmp_path):
    images, labels = folders(tmp_path)
    (labels / "c2.png").unlink()
    for index in range(2):
        label = strokes(index)
        label[label == 3] = 0
        save(labels, **{f"c{index}": label})
    warnings = "\n".join(import_folder(images, labels, tmp_path / "out", **TOLD).warnings)
    assert "no stroke on the background" in warnings
    assert "c2.png: no label of this name" in warnings and "unlabelled: only methods that use such cases" in warnings
    assert "each case counts as a patient of its own" in warnings
    told = import_folder(images, labels, tmp_path / "more", patient_pattern="(c)", **TOLD).warnings
    assert not any("patient" in line for line in told)


def test_values_that_change_are_told_on_the_terminal_and_the_page(tmp_path):
    images, labels = folders(tmp_path)
    told = {"classes": {"nucleus": 3, "cell": 1}, "background": 2, "unlabelled": 0}
    (line,) = (w for w in import_folder(images, labels, tmp_path / "out", **told).warnings if "other values" in w)
    assert ": nucleus 3 becomes 2;" in line
    assert line in (tmp_path / "out" / PAGE).read_text()
    assert "nucleus 3 becomes 2" in inspect_folder(images, labels, tmp_path / "out", **told).text
    assert not any("other values" in w for w in import_folder(images, labels, tmp_path / "same", **TOLD).warnings)
    unsaid = inspect_folder(images, labels, tmp_path / "out", classes={"nucleus": 3}, background=2)
    assert "other values" not in unsaid.text  # as long as 1 may be a structure, nobody knows the number of 3


def test_a_case_in_whose_label_nothing_is_painted_is_unlabelled(tmp_path):
    """With a label file it would be neither trained on nor unlabelled."""
    images, labels = folders(tmp_path)
    save(labels, c1=np.zeros((20, 30), np.uint8))
    report = import_folder(images, labels, tmp_path / "out", **TOLD)
    assert any("nothing is painted in c1, so it is unlabelled" in warning for warning in report.warnings)
    dataset = read_dataset(tmp_path / "out")
    assert [case.id for case in unlabelled_cases(dataset, set())] == ["c1"]
    assert [case.id for case in dataset.cases] == ["c0", "c1", "c2"]
    assert not any("nothing is annotated" in warning for warning in check_dataset(dataset).warnings)


def blurred(labels):
    soft = np.linspace(0, 250, 600).reshape(20, 30).astype(np.uint8)
    save(labels, c0=soft)


def coloured(labels):
    save(labels, c0=np.array([(0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)], np.uint8)[strokes()])


def smaller(labels):
    save(labels, c0=strokes()[:, :20])


def unpainted(labels):
    save(labels, **{f"c{index}": np.zeros((20, 30), np.uint8) for index in range(3)})


def photographed(labels):
    Image.open(labels / "c0.png").save(labels / "c0.jpg")
    (labels / "c0.png").unlink()


@pytest.mark.parametrize(
    ("mistake", "line"),
    [
        (blurred, "c0.png: .* values without a meaning .*resized with smoothing"),
        (coloured, "c0.png: labels saved as colours: .*expected one grey value a class"),
        (smaller, r"c0.png: shape \(20, 20, 1\), expected \(30, 20, 1\) as in .*c0.png"),
        (unpainted, "labels: every voxel of every label is 0, so nothing is painted"),
        (photographed, "c0.jpg: labels as JPEG, which changes their values"),
    ],
)
def test_mistakes(tmp_path, mistake, line):
    images, labels = folders(tmp_path)
    mistake(labels)
    with pytest.raises(InputError, match=line):
        import_folder(images, labels, tmp_path / "out", **TOLD)
    assert not (tmp_path / "out").exists()


def test_folders_given_the_wrong_way_round(tmp_path):
    images, labels = folders(tmp_path)
    with pytest.raises(InputError, match="looks like an image, and .* like a label .*folder of images first"):
        import_folder(labels, images, tmp_path / "out", **TOLD)


def test_every_value_needs_a_structure_among_them(tmp_path):
    images, labels = folders(tmp_path)
    for index in range(3):
        save(labels, **{f"c{index}": np.where(strokes(index) == 3, 3, 0).astype(np.uint8)})
    with pytest.raises(InputError, match="labels: no value is a structure .*expected one in --classes"):
        import_folder(images, labels, tmp_path / "out", background=3, unlabelled=0)
