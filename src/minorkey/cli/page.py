"""`minorkey show`."""

from pathlib import Path

import typer

from minorkey.system.launch import leave_at_once


def show_page(
    runs: list[Path] = typer.Argument(metavar="RUN...", help="Folders of finished runs, at most four; one will do."),
    images: str | None = typer.Option(None, help="Images to begin with: a folder or a quoted glob; else drawn scenes."),
    port: int = typer.Option(0, min=0, max=65535, help="Port of this machine; 0: a free one."),
) -> None:
    """Try runs on a page in the browser: an image or the camera, several runs side by side, under fog, night or noise.

    The page shows what each run predicts, where the others part from the first, and how much a corruption changes. It
    is served to this machine only, under an address with a secret in it, until Ctrl-C; nothing leaves the machine and
    nothing is written. From a server: `ssh -t -L 8642:127.0.0.1:8642 server`, and `--port 8642` there.

    Examples:

    * `minorkey show runs/soma runs/full`

    * `minorkey show runs/soma --images photos/`
    """
    from minorkey.show.page import page_server

    server = page_server(runs, images, port)
    typer.echo(f"open {server.address}\nCtrl-C ends it")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        typer.echo("ended")
    finally:
        server.server_close()
    leave_at_once(0)  # connections may still be open, each in a thread
