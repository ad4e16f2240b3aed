"""Pieces that docks share. They show what they are told and emit signals; they know neither engine nor viewer."""
