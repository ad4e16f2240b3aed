"""Widgets that docks share. They show data and emit signals; they import neither engine nor viewer."""
