"""The docks: one file each. A dock joins a form (which knows nothing) with an engine and with the viewer."""
