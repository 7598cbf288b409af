"""The demo's parts come out where it says, with few steps."""

import numpy as np
from matplotlib.image import imread

from pclmix import demo
from pclmix.data.volume import read_label


def test_the_demo_leaves_what_it_announces(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(demo, "TRAINING_CASES", 2)
    monkeypatch.setattr(demo, "UNSEEN_CASES", 3)
    demo.run_demo(tmp_path, steps=2)
    out = capsys.readouterr().out
    for name in (
        "Dice RV: 0.",
        "Dice Myo: 0.",
        "Dice LV: 0.",
        str(tmp_path / "demo.png"),
        str(tmp_path / "index.html"),
    ):
        assert name in out
    assert imread(tmp_path / "demo.png").shape[0] > 500
    assert 'src="demo.png"' in (tmp_path / "index.html").read_text()
    for index in (1, 2, 3):
        labels = read_label(tmp_path / "predictions" / f"unseen{index:02d}.nii.gz").array
        assert set(np.unique(labels)) <= {0, 1, 2, 3}
