"""`minorkey export`."""

from pathlib import Path

import typer

FILES = "Deployed file: "


def export(
    run: Path = typer.Argument(help="Folder of a finished run."),
    to: str = typer.Option("adapter", help="'adapter' (PEFT), 'model' (transformers), 'onnx', 'torch' or 'openvino'."),
    out: Path | None = typer.Option(None, help="Folder to write; default: export/<to> in the run folder."),
    push_to: str | None = typer.Option(
        None, help="Also upload it to this repository of the hub, user/name; created private where there is none."
    ),
    half: bool = typer.Option(False, "--half", help=FILES + "weights and arithmetic in float16."),
    int8: bool = typer.Option(False, "--int8", help=FILES + "in 8 bits; with --calibrate."),
    calibrate: list[str] | None = typer.Option(
        None, help="Data sets to measure the ranges of --int8 on, of several domains; repeatable, or with commas."
    ),
    size: str | None = typer.Option(
        None, metavar="HxW", help=FILES + "of this size alone; default: any, where the network can."
    ),
    preprocess: bool = typer.Option(False, "--preprocess", help=FILES + "takes bytes and normalises them itself."),
    coarse: bool = typer.Option(False, "--coarse", help=FILES + "scores of pixels as small as the network has them."),
    gathers: bool = typer.Option(False, "--gathers", help=FILES + "sampling as gathers, where GridSample goes wrong."),
    opset: int | None = typer.Option(None, help=FILES + "version of ONNX's operators, 18 to 23; default: 18."),
) -> None:
    """Write a run for others: what comes out loads where minorkey is not installed.

    **adapter** is a stock PEFT folder, a few megabytes, for whoever has the same pretrained backbone. The head is not
    in it.

    **model** is a transformers folder with everything folded in: the whole segmentation model, and in its
    `backbone/` the adapted backbone alone, with the modules and names of the pretrained one (for the head `eomt`, the
    model is its backbone). Every method has one.

    **onnx** is one file for onnxruntime, TensorRT and others, compared with the run as it is written, with a script
    that predicts by it; `minorkey predict` and `evaluate` take it in the place of a run. **torch** is a graph of
    torch.export, **openvino** a file of OpenVINO.

    The README.md in the folder says what it is made of, how to load it, and how it scored. An earlier export is
    replaced once the new one is complete. Nothing leaves this machine without --push-to.

    Examples:

    * `minorkey export runs/soma --to model --out soma-model`

    * `minorkey export runs/soma --to onnx --int8 --calibrate world:clear,world:night`
    """
    from minorkey.export.deploy_options import OPSET, DeployOptions, parse_size
    from minorkey.export.run import export_run

    deploy = DeployOptions(
        half=half,
        int8=int8,
        calibrate=tuple(name.strip() for given in calibrate or () for name in given.split(",") if name.strip()),
        size=None if size is None else parse_size(size),
        preprocess=preprocess,
        coarse=coarse,
        gathers=gathers,
        opset=OPSET if opset is None else opset,
    )
    exported = export_run(run, to, out=out, push_to=push_to, deploy=deploy)
    typer.echo(f"{to}: {exported.folder}\n\n{exported.code}")
    for line in exported.told:
        typer.echo(line)
