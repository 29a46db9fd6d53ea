"""Models that come and go while a laptop's server runs: a folder of them, loaded and unloaded by name, reloaded when they change."""
