"""A policy for others: an OpenAI-compatible server, a websocket for games on other machines, and its client."""
