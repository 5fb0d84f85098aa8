"""The `inject/` model provider of Inspect, and the loaded model behind it."""
