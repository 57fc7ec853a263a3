"""`diffclip-geo convert`."""

from __future__ import annotations

from pathlib import Path

import click

from . import options


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path), metavar="OUT.tif")
@click.option("--variable", metavar="NAME", help="Array in a .mat file; found when only one can be an image.")
@click.option(
    "--wavelengths",
    default="",
    metavar="LIST",
    help="In nm or µm: a list, 380-1050 for equal steps, a text file, or a variable of the .mat file.",
)
@click.option("--like", type=click.Path(path_type=Path), help="Raster on the same pixels, to take the georeference of.")
@click.option("--crs", help="Coordinate system, e.g. EPSG:32633.")
@click.option("--bounds", type=float, nargs=4, metavar="LEFT BOTTOM RIGHT TOP", help="Box that the image fills.")
@click.option("--nodata", type=float, help="Value that stands for no data.")
@click.option(
    "--axes", type=click.Choice(["hwb", "bhw"]), help="Axes of an array: rows, columns, bands or bands first."
)
@options.overwrite
@options.verbose
def command(
    source: Path,
    out: Path,
    variable: str | None,
    wavelengths: str,
    like: Path | None,
    crs: str | None,
    bounds: tuple[float, float, float, float] | None,
    nodata: float | None,
    axes: str | None,
    overwrite: bool,
) -> None:
    """Turn SOURCE into a GeoTIFF: a MATLAB file (.mat), a NumPy array (.npy), or a raster such as an ENVI image.

    Wavelengths, bad bands, nodata and scale factors are kept.
    """
    from diffclip_geo import convert

    done = convert(
        source,
        out,
        variable=variable,
        wavelengths=wavelengths,
        like=like,
        crs=crs,
        bounds=bounds,
        nodata=nodata,
        axes=axes,
        overwrite=overwrite,
    )
    for note in done.notes:
        click.echo(note)
    bands = "1 band" if done.count == 1 else f"{done.count} bands"
    spectrum = ""
    if done.wavelengths is not None:
        spectrum = f", {min(done.wavelengths):.0f}–{max(done.wavelengths):.0f} nm"
    click.echo(f"{done.path}: {done.height} × {done.width} pixels, {bands} of {done.dtype}{spectrum}")
