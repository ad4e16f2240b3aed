"""The docks, one file each. A dock connects a form with the worker process and with the viewer."""
