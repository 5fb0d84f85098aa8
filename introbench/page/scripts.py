"""The scripts that draw charts in a browser, put together once and kept, so that a page needs no network."""

import importlib.metadata
import os
from tempfile import NamedTemporaryFile

from introbench.models.disk_cache import cache_dir
from introbench.page.figure import require_vega

PACKAGE = "vl-convert-python"


def scripts() -> str:
    """Vega, Vega-Lite and vega-embed as one script.

    Raises:
        InputError: The package that holds them is missing, or there is no cache directory of that name.
    """
    vega = require_vega()
    kept = cache_dir() / f"vega-{importlib.metadata.version(PACKAGE)}.js"
    if kept.is_file():
        return kept.read_text(encoding="utf-8")
    bundle = str(vega.javascript_bundle()).replace("</script", "<\\/script")
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile("w", dir=kept.parent, delete=False, encoding="utf-8") as file:
            file.write(bundle)
        os.replace(file.name, kept)
    except OSError:
        pass  # it is put together again the next time
    return bundle
