"""Checkpoints as repositories of the Hugging Face hub: what goes there, with which card."""
