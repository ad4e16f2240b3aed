"""The command `preset`: how a model is trained, before it is."""

from typing import Annotated

import typer

_SPACINGS = (2.0, 1.0)


def preset(name: Annotated[str | None, typer.Argument(help="Print this preset as JSON.")] = None) -> None:
    """List the presets: their purpose, the memory they need, and the one that suits this device (`auto`).

    With a name, print its levels and how each is trained as JSON. `train --preset FILE` takes a changed one.
    """
    from braindiffusion.training.presets import preset as preset_of

    if name is not None:
        typer.echo(preset_of(name).model_dump_json(indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    from braindiffusion.devices import choose_device
    from braindiffusion.estimate.memory import preset_bytes
    from braindiffusion.training.presets import PRESETS, preset_for

    auto = preset_for(choose_device())
    table = Table("preset", "for", *(f"{spacing:g} mm" for spacing in _SPACINGS), "")
    console = Console()
    with console.status("Counting memory …"):
        for one in PRESETS.values():
            sizes = [f"{preset_bytes(one, spacing) / 1e9:.1f} GB" for spacing in _SPACINGS]
            table.add_row(one.name, one.about, *sizes, "selected by auto" if one.name == auto else "")
    console.print(table)
