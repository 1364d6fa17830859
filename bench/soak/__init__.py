"""Long programs that do to a run what users, machines and accidents do, and count what breaks."""
