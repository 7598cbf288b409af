"""The page is one file that shows what it was given, escaped."""

from html.parser import HTMLParser

from pclmix.evaluate import Score, summarise
from pclmix.pages import score_table, write_page


class Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.text, self.images, self.open = [], [], []

    def handle_starttag(self, tag, attributes):
        if tag == "img":
            self.images.append(dict(attributes)["src"])
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_page(tmp_path):
    scores = {"case<1>": {1: Score(0.5, 3.0), 2: Score(1.0, float("inf"))}}
    table = score_table(summarise(scores), ["background", "R&V", "LV"])
    write_page(tmp_path / "a.html", "Hearts & more", ["5 < 6"], [("a.png", "strokes")], table)
    reader = Reader()
    reader.feed((tmp_path / "a.html").read_text())
    text = " ".join(reader.text)
    assert reader.open == [] and reader.images == ["a.png"]
    for expected in ("Hearts & more", "5 < 6", "R&V", "0.500", "3.0", "strokes", "0.750"):
        assert expected in text
