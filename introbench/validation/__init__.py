"""Models whose truth is known, planted or taught, and tiny models of every family, to test the instrument with."""
