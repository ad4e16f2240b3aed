"""The command `doctor`."""

import typer


def doctor() -> None:
    """Check this machine: versions, device, arithmetic, display, disk. Exit status 1 if something will not work."""
    from braindiffusion.doctor import examine

    broken = False
    for finding in examine():
        mark = {"good": "ok  ", "fair": "note", "bad": "BAD "}[finding.verdict]
        typer.echo(f"{mark}  {finding.what}: {finding.detail}")
        broken |= finding.verdict == "bad"
    if broken:
        raise typer.Exit(1)
