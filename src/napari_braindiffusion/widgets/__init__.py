"""Widgets that docks share. They show data and emit signals; they import neither engine nor viewer."""


def readable(name: str) -> str:
    """Return the name of a field or of a region as a label: `Left hippocampus`."""
    return (name[:1].upper() + name[1:]).replace("csf", "CSF").replace("_", " ")


def short(region: str) -> str:
    """Return the name of a region as a label in a narrow column, its side as a letter: `L hippocampus`."""
    return readable(region).replace("Left ", "L ", 1).replace("Right ", "R ", 1)
