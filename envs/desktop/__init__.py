"""Any game's window on X11 as a world: see `envs.desktop.world`."""
