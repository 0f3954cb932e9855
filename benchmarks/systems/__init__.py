"""The systems that are compared: one script each, started as a process tree of its own."""
