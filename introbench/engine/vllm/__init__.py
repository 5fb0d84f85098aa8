"""Runs a model on a vLLM server with the vllm-lens plugin."""
