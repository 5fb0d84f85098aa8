"""JSON in lines, so that a version control system shows what changed."""

import json
from typing import Any


def json_lines(value: Any, indent: int = 0) -> str:
    """JSON with one line for every trial, so that a change of one trial changes one line."""
    if _is_flat(value):
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    inner, outer = " " * (indent + 1), " " * indent
    if isinstance(value, dict):
        body = [f"{inner}{json.dumps(key)}: {json_lines(value[key], indent + 1)}" for key in sorted(value)]
        return "{\n" + ",\n".join(body) + f"\n{outer}}}"
    return "[\n" + ",\n".join(f"{inner}{json_lines(part, indent + 1)}" for part in value) + f"\n{outer}]"


def _is_flat(value: Any) -> bool:
    """Whether a value contains no mappings."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return all(not isinstance(part, dict) and _is_flat(part) for part in parts)
