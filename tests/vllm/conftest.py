"""Tests on a real vLLM server: `make test-vllm`. Without the command vllm on the path, none of them is collected."""

import shutil

collect_ignore = [] if shutil.which("vllm") else ["test_server.py", "test_run.py"]
