"""Self-improvement: generations of play, judged and learned from."""
