"""Angles in degrees."""

from __future__ import annotations


def wrapped(degrees: float) -> float:
    """The same direction in [-180, 180)."""
    return (degrees + 180.0) % 360.0 - 180.0
