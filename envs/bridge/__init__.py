"""Worlds in another process or another Python: `server` runs there, `client` here, `world` makes a `World` of it."""
