"""Where the weights of a fine-tune are: `ID`, `ID@REVISION`, `ID:SUBFOLDER` or `ID:SUBFOLDER@REVISION`."""

from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import snapshot_download

from introbench.errors import InputError, first_line, shown


@dataclass(frozen=True)
class Source:
    """A place that transformers and peft load from.

    Attributes:
        place: A folder, or an id on the Hub.
        revision: Branch, tag or commit on the Hub; None for the default one, and for folders.
    """

    place: str
    revision: str | None = None


def source_of(name: str) -> Source:
    """Where a fine-tune is, from its name as users write it.

    Folders may have `:` and `@` in their names: what exists is taken as it is. Of a subfolder on the Hub the files are
    fetched, unless they have been before, so that it is a folder from here on.

    Args:
        name: An id or a folder, with `:SUBFOLDER`, `@REVISION` or both after it.

    Raises:
        InputError: A part is missing, a folder is given a revision, or the subfolder cannot be had.
    """
    if Path(name).is_dir():
        return Source(name)
    front, at, revision = name.rpartition("@") if "@" in name else (name, "", "")
    if Path(front).is_dir():
        place, colon, subfolder = front, "", ""
    else:
        place, colon, subfolder = front.rpartition(":") if ":" in front else (front, "", "")
    if not place or (at and not revision) or (colon and not subfolder):
        raise InputError(
            f"finetune {shown(name)}: expected ID, ID:SUBFOLDER, ID@REVISION or ID:SUBFOLDER@REVISION; correct it"
        )
    if Path(place).is_dir():
        if at:
            raise InputError(f"finetune {shown(name)}: a folder has no revisions; expected none; drop @{revision}")
        return Source(str(Path(place) / subfolder))
    if not colon:
        return Source(place, revision or None)
    try:
        root = snapshot_download(place, revision=revision or None, allow_patterns=[f"{subfolder}/*"])
    except Exception as error:  # of the Hub, of the network, or of what is no id
        raise InputError(
            f"finetune {shown(name)}: cannot be found or read ({first_line(error)}); expected an id on the Hub; check "
            f"the spelling, and HF_HUB_OFFLINE if it is to be downloaded"
        ) from error
    return Source(str(Path(root) / subfolder))
