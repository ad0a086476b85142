"""Published weights, looked at without torch."""

from pathlib import Path


def find_unreadable(folder: Path) -> list[str]:
    """Return the weight files of a folder that do not open as safetensors, and the folder itself if it has none."""
    from safetensors import SafetensorError, safe_open

    paths = sorted(folder.glob("*.safetensors"))
    unreadable = [] if paths else [folder.name]
    for path in paths:
        try:
            with safe_open(path, framework="numpy") as weights:
                for name in weights.keys():  # noqa: SIM118 - not a mapping
                    weights.get_slice(name)
        except SafetensorError:
            unreadable.append(path.name)
    return unreadable
