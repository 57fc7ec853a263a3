"""The `diffclip-geo` command: a group that loads each subcommand only when it is called, so that `--help` is quick."""

from __future__ import annotations

import atexit
import errno
import gc
import importlib
import os
import sys
import traceback

import click

# Command name → one-line help. The module of the same name holds a function `command`; listing the help here keeps the
# group's own --help free of imports.
COMMANDS = {
    "pretrain": "Learn a scene from unlabelled pixels.",
    "fewshot": "Learn the classes from a few labels.",
    "classify": "Map a scene: label map and confidence.",
    "suggest": "Choose the points that are most useful to label next.",
    "prompts": "Write descriptions of the classes, to learn from.",
    "evaluate": "Compare a map with the truth.",
    "features": "See what the encoder makes of a scene.",
    "export": "Describe a map or a model for catalogues, or write it as ONNX.",
    "benchmark": "Compare methods on scenes with known classes.",
    "info": "Show what is understood of rasters, labels or a workspace.",
    "convert": "Turn MATLAB, NumPy or ENVI files into GeoTIFF.",
    "simulate": "Write a synthetic town-edge scene with labels and truth.",
    "demo": "Run the whole job on a synthetic scene.",
}


class LazyGroup(click.Group):
    """A group whose subcommands are imported on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in working order, not alphabetical."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The subcommand, imported now."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f".{cmd_name}", __package__).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table above."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="diffclip-geo")
@click.option("-v", "--verbose", count=True, help="Say more; -vv shows a traceback on errors.")
@click.pass_context
def cli(ctx: click.Context, verbose: int) -> None:
    """Land-cover maps from a hyperspectral image, a LiDAR raster and a handful of labels.

    \b
    diffclip-geo pretrain scene.tif lidar.tif
    diffclip-geo fewshot labels.shp
    diffclip-geo classify --out map.tif
    """
    ctx.obj = verbose


def _end_quickly() -> None:
    """Spare Python the last look through all objects of all libraries, some 0.3 s; torch's compiler would complain."""
    if "torch" not in sys.modules:
        gc.freeze()


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0 done, 1 bad input, 2 wrong usage, 130 interrupted."""
    from diffclip_geo.errors import DiffClipGeoError  # light: no rasterio, no torch

    # Threads of one operation that wait for each other must not spin: on a busy machine that costs most of the time.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    atexit.register(_end_quickly)
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        code = cli.main(arguments, prog_name="diffclip-geo", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except DiffClipGeoError as error:
        if "-vv" in arguments:
            traceback.print_exc()
        click.echo(f"Error: {error}", err=True)
        return 1
    except OSError as error:
        if (
            error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES)
            or "-vv" in arguments
        ):
            raise
        remedy = "free space, or choose another folder"
        click.echo(f"Error: {error.filename or 'the output'}: cannot be written ({error.strerror}); {remedy}", err=True)
        return 1
    except click.exceptions.Abort:
        click.echo("Interrupted.", err=True)
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
