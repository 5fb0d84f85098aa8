"""Which options of a checkpoint go with which engine."""

from collections.abc import Mapping
from typing import Any

from introbench.errors import InputError

ENGINES = ("transformers", "vllm")
"""Values of `-M engine`: a transformers model in this process, or a vLLM server."""

IN_THIS_PROCESS = ("device", "device_map", "attn_implementation", "quantization_config", "memory", "products")
"""Options that say how a model is run in this process."""


def refuse_options_of_another_engine(engine: str, options: Mapping[str, Any]) -> None:
    """Refuse an engine that there is not, and options that mean nothing to it.

    Args:
        engine: Its name.
        options: All options by name; None for those that were not given.

    Raises:
        InputError: That is so.
    """
    if engine not in ENGINES:
        raise InputError(f"engine={engine!r}: expected one of {', '.join(ENGINES)}; pass e.g. -M engine=vllm")
    if options["vllm"] is not None and not isinstance(options["vllm"], dict):
        raise InputError(
            f"vllm={options['vllm']!r}: expected arguments of vllm serve by name; pass e.g. "
            f"-M 'vllm={{tensor-parallel-size: 8}}'"
        )
    if several := [name for name in options["vllm"] or {} if str(name).startswith("data-parallel")]:
        raise InputError(
            f"vllm: {several[0]}: expected one copy of the model, since vllm-lens reads one; pass tensor-parallel-size"
        )
    if engine == "transformers":
        others = {"vllm": options["vllm"], "--model-base-url": options["base_url"]}
        advice = "pass -M engine=vllm as well"
    else:
        others = {name: options[name] for name in IN_THIS_PROCESS}
        if options["base_url"] is not None:
            others |= {name: options[name] for name in ("vllm", "dtype", "revision")}
        advice = "leave it out; a server has arguments of its own (-M vllm)"
    for name, value in others.items():
        if value is not None:
            raise InputError(f"{name}={value!r}: expected another engine than {engine}; {advice}")
