"""Models that come with the package: NAME.safetensors beside its card, NAME.md."""

from pathlib import Path

FOLDER = Path(__file__).parent


def shipped_names() -> list[str]:
    """Names that `predict` and `load` know without a download, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.safetensors"))


def shipped_file(name: str) -> Path | None:
    """The model file of a name, or None where no such model comes with the package."""
    return FOLDER / f"{name}.safetensors" if name in shipped_names() else None


def card(name: str) -> str:
    """The model card of a shipped model: what it is for, what it was made of, how well it does, how it was made."""
    return (FOLDER / f"{name}.md").read_text(encoding="utf-8")


def summary(name: str) -> str:
    """The first line of a model card, without its mark."""
    return card(name).splitlines()[0].lstrip("# ")
