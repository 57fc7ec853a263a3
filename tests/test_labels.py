import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from raster_files import NORTH_UP, UTM, real_scene, write_envi, write_labels, write_raster
from rasterio.crs import CRS
from rasterio.warp import transform as reproject_points

from diffclip_geo.errors import LabelError
from diffclip_geo.grid import Grid
from diffclip_geo.labels import ClassTable, LabelledPixels, LabelReport, read_labels

GRID = Grid(12, 10, NORTH_UP, UTM)  # 2 m pixels from x = 500000, y = 5800000 down


def point(row, column):
    """A point at pixel coordinates (row, column): the centre of the first pixel is 0.5, 0.5."""
    return shapely.Point(500_000 + 2 * column, 5_800_000 - 2 * row)


def box(top, left, bottom, right):
    """A rectangle between pixel coordinates."""
    return shapely.box(500_000 + 2 * left, 5_800_000 - 2 * bottom, 500_000 + 2 * right, 5_800_000 - 2 * top)


def labelled(folder, geometry, names, grids=(GRID,), crs=UTM, name="labels.geojson", **options):
    """Write geometries with a text field `class` and read them back as labels."""
    driver = {"geojson": "GeoJSON", "gpkg": "GPKG", "shp": "ESRI Shapefile", "fgb": "FlatGeobuf"}[name.split(".")[-1]]
    path = write_labels(folder / name, geometry, {"class": names}, crs, driver=driver)
    return read_labels(path, grids, **options)


def places(pixels):
    """{(row, column): class name} of the labelled pixels."""
    names = pixels.classes.names
    return {
        (row, column): names[label - 1]
        for row, column, label in zip(pixels.row.tolist(), pixels.column.tolist(), pixels.label.tolist(), strict=True)
    }


# Points and polygons ----------------------------------------------------------------------------------------------

SYSTEMS = [(32633, 500_000, 5_800_000, 1), (4326, 14.5, 52.3, 1e-5), (3035, 4_600_000, 3_300_000, 1)]


@settings(max_examples=60, deadline=None)
@given(
    system=st.sampled_from(SYSTEMS),
    size=st.floats(0.5, 100),
    turn=st.floats(0, 360),
    flip=st.booleans(),
    offset=st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4)),
    labels_epsg=st.sampled_from([None, 4326, 25833, 3857]),
    seed=st.integers(0, 1000),
)
def test_a_point_lands_on_the_pixel_whose_centre_is_nearest(
    tmp_path_factory, system, size, turn, flip, offset, labels_epsg, seed
):
    epsg, x0, y0, unit = system
    crs = CRS.from_epsg(epsg)
    place = (
        Affine.translation(x0 + offset[0] * unit, y0 + offset[1] * unit)
        @ Affine.rotation(turn)
        @ Affine.scale(size * unit, size * unit if flip else -size * unit)
    )
    grid = Grid(9, 11, place, crs)
    random = np.random.default_rng(seed)
    column, row = random.uniform(-2, 13, 60), random.uniform(-2, 11, 60)
    clear = np.minimum(np.abs(column - np.round(column)), np.abs(row - np.round(row))) > 1e-3  # not on an edge
    x, y = grid.to_map(column[clear], row[clear])
    geometry_x, geometry_y = x, y
    labels_crs = crs
    if labels_epsg is not None:
        labels_crs = CRS.from_epsg(labels_epsg)
        geometry_x, geometry_y = reproject_points(crs, labels_crs, x, y)
    folder = tmp_path_factory.mktemp("points")
    points = [shapely.Point(one) for one in zip(geometry_x, geometry_y, strict=True)]
    path = write_labels(
        folder / "labels.gpkg",
        points,
        {"class": [f"c{index}" for index in range(len(points))]},
        labels_crs,
        driver="GPKG",
    )
    centre_row, centre_column = np.mgrid[:9, :11]
    centre_x, centre_y = grid.centre_of(centre_row.ravel(), centre_column.ravel())
    distance = np.hypot(x[:, None] - centre_x, y[:, None] - centre_y)
    inside = distance.min(axis=1) <= size * unit * np.sqrt(0.5)
    inside &= grid.contains(*grid.pixel_of(x, y))
    nearest = distance.argmin(axis=1)
    shared = {pixel for pixel in nearest[inside] if (nearest[inside] == pixel).sum() > 1}
    expected = {(n // 11, n % 11): f"c{i}" for i, n in enumerate(nearest.tolist()) if inside[i] and n not in shared}
    if not expected:
        with pytest.raises(LabelError):
            read_labels(path, [grid])
        return
    pixels = read_labels(path, [grid])
    assert places(pixels) == expected
    assert pixels.report.outside == (~inside).sum()
    assert pixels.report.conflicts == len(shared)


@settings(max_examples=60, deadline=None)
@given(
    turn=st.floats(0, 360),
    corners=st.lists(st.tuples(st.floats(-3, 14), st.floats(-3, 12)), min_size=3, max_size=8),
)
def test_polygons_take_the_pixels_whose_centre_they_cover(tmp_path_factory, turn, corners):
    grid = Grid(9, 11, Affine.translation(500_000, 5_800_000) @ Affine.rotation(turn) @ Affine.scale(3, -3), UTM)
    hull = shapely.MultiPoint(corners).convex_hull
    if hull.geom_type != "Polygon" or hull.area < 0.01:
        return
    x, y = grid.to_map(*np.array(hull.exterior.coords).T)
    polygon = shapely.Polygon(np.column_stack([x, y]))
    row, column = np.mgrid[:9, :11]
    distance = shapely.distance(hull.boundary, shapely.points(column + 0.5, row + 0.5))
    covered = shapely.contains_xy(hull, column + 0.5, row + 0.5)
    doubtful = distance < 1e-6  # on the very edge rounding decides
    if not (covered & ~doubtful).any():
        return
    pixels = labelled(tmp_path_factory.mktemp("polygons"), [polygon], ["a"], [grid], name="labels.gpkg")
    found = np.zeros((9, 11), bool)
    found[pixels.row, pixels.column] = True
    assert np.array_equal(found | doubtful, covered | doubtful)


def test_two_classes_on_a_pixel_drop_and_count_it(tmp_path):
    pixels = labelled(tmp_path, [box(0, 0, 2, 3), box(1, 2, 3, 5), point(1.5, 2.5)], ["a", "b", "a"])
    assert (1, 2) not in places(pixels)
    assert pixels.report.conflicts == 1
    assert pixels.counts().tolist() == [5, 5]


def test_two_polygons_of_a_class_share_a_pixel_in_peace(tmp_path):
    pixels = labelled(tmp_path, [box(0, 0, 2, 3), box(1, 2, 3, 5)], ["a", "a"])
    assert len(pixels) == 11
    assert pixels.report.conflicts == 0


def test_a_polygon_without_a_centre_takes_the_pixel_it_lies_in(tmp_path):
    sliver, hidden = box(4.6, 4.6, 4.9, 4.9), box(1.6, 1.6, 1.9, 1.9)
    pixels = labelled(tmp_path, [sliver, box(0, 0, 3, 3), hidden], ["a", "b", "a"])
    assert places(pixels)[4, 4] == "a"
    assert places(pixels)[1, 1] == "b"  # whoever covers the centre has the say
    assert pixels.report.nearest == 2
    assert pixels.report.conflicts == 0


def test_what_lies_outside_is_counted(tmp_path):
    geometry = [point(0.5, 0.5), point(-1, 5), box(20, 20, 30, 30), box(-5, -5, 1, 1), box(-0.9, 3.6, -0.6, 3.9)]
    pixels = labelled(tmp_path, geometry, ["a", "a", "b", "a", "b"])
    assert places(pixels) == {(0, 0): "a"}
    assert pixels.report.outside == 3
    assert "no pixel is left of b" in pixels.table()


def test_invalid_geometries_are_repaired_and_empty_ones_skipped(tmp_path):
    corners = [(0, 0), (4, 4), (0, 4), (4, 0)]  # a bow tie
    bow_tie = shapely.Polygon([(500_000 + 2 * x, 5_800_000 - 2 * y) for x, y in corners])
    geometry = [bow_tie, None, shapely.Polygon(), shapely.LineString([(500_000, 5_800_000), (500_009, 5_799_990)])]
    pixels = labelled(tmp_path, geometry, ["a", "a", "b", "b"], name="labels.gpkg")
    assert pixels.report.repaired == 1
    assert pixels.report.empty == 3
    assert len(pixels) == 12
    assert {(0, 1), (0, 2), (3, 1), (3, 2)} <= set(places(pixels))  # top and bottom wing
    assert not {(1, 0), (2, 3)} & set(places(pixels))


def test_parts_and_collections_are_groups_of_their_own(tmp_path):
    many = shapely.MultiPolygon([box(0, 0, 2, 2), box(4, 4, 6, 6)])
    mixed = shapely.GeometryCollection([shapely.MultiPoint([point(8.5, 8.5), point(9.5, 9.5)]), box(10, 0, 11, 2)])
    pixels = labelled(tmp_path, [many, mixed], ["a", "b"], name="labels.gpkg")
    assert pixels.counts().tolist() == [8, 4]
    assert pixels.report.features == (2, 3)


def test_a_polygon_over_a_huge_scene_needs_little_memory(tmp_path):
    grid = Grid(100_000, 100_000, NORTH_UP, UTM)
    diagonal = shapely.Polygon([
        (500_000, 5_800_000), (500_004, 5_800_000), (500_200, 5_799_000), (500_196, 5_799_000),
    ])  # fmt: skip
    pixels = labelled(tmp_path, [diagonal, point(99_000.5, 99_000.5)], ["a", "b"], [grid], name="labels.gpkg")
    assert pixels.counts().tolist() == [1000, 1]


def test_other_and_missing_coordinate_systems(tmp_path):
    x, y = reproject_points(UTM, CRS.from_epsg(4326), [500_005.0], [5_799_991.0])
    pixels = labelled(tmp_path, [shapely.Point(x[0], y[0])], ["a"], crs="EPSG:4326")
    assert places(pixels) == {(4, 2): "a"}
    path = write_labels(tmp_path / "bare.shp", [point(4.5, 2.5)], {"class": ["a"]}, None, geometry_type="Point")
    pixels = read_labels(path, [GRID])
    assert places(pixels) == {(4, 2): "a"}
    assert "bare.shp: has no coordinate system; taken as EPSG:32633, that of the scene" in pixels.report.notes


def test_several_scenes_each_in_its_own_system(tmp_path):
    x, y = reproject_points(UTM, CRS.from_epsg(32632), [500_005.0], [5_799_991.0])
    other = Grid(5, 5, Affine(2, 0, x[0] - 5, 0, -2, y[0] + 3), CRS.from_epsg(32632))
    pixels = labelled(tmp_path, [point(4.5, 2.5), point(0.5, 0.5)], ["a", "b"], [GRID, other])
    found = list(zip(pixels.scene.tolist(), pixels.row.tolist(), pixels.column.tolist(), strict=True))
    assert found == [(0, 0, 0), (0, 4, 2), (1, 1, 2)]


@pytest.mark.parametrize("name", ["labels.shp", "labels.gpkg", "labels.geojson", "labels.fgb"])
def test_formats(tmp_path, name):
    driver = {"shp": "ESRI Shapefile", "gpkg": "GPKG", "geojson": "GeoJSON", "fgb": "FlatGeobuf"}[name.split(".")[1]]
    path = write_labels(
        tmp_path / name,
        [box(0, 0, 2, 3), box(4, 4, 6, 6)],
        {"class": ["Straße", "tree"]},
        driver=driver,
        geometry_type="Polygon",
        encoding="UTF-8",
    )
    pixels = read_labels(path, [GRID])
    assert pixels.classes.names == ("Straße", "tree")
    assert pixels.counts().tolist() == [6, 4]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("x,y,cover,plot\n500005,5799991,tree,1\n500001,5799999,road,2\n", "a.csv"),
        ("Plot;Longitude;Latitude;cover\n1;{lon};{lat};tree\n2;{lon};{lat};\n", "a.csv"),
        ("cover\tEasting\tNorthing\ntree\t500005.0\t5799991.0\n", "a.tsv"),
    ],
)
def test_points_of_a_table(tmp_path, text, name):
    lon, lat = reproject_points(UTM, CRS.from_epsg(4326), [500_005.0], [5_799_991.0])
    (tmp_path / name).write_text(text.format(lon=lon[0], lat=lat[0]))
    pixels = read_labels(tmp_path / name, [GRID])
    assert places(pixels)[4, 2] == "tree"
    assert "class field: cover" in pixels.report.notes


# Class fields -----------------------------------------------------------------------------------------------------


def fields(folder, columns, **options):
    geometry = [point(0.5 + index, 0.5) for index in range(3)]
    path = write_labels(folder / "labels.gpkg", geometry, columns, driver="GPKG")
    return read_labels(path, [GRID], **options)


def test_the_only_text_field_is_the_class(tmp_path):
    pixels = fields(tmp_path, {"id": [1, 2, 3], "area": [0.5, 1.5, 2.5], "cover": ["b", "a", " b "]})
    assert pixels.classes.names == ("a", "b")
    assert pixels.label.tolist() == [2, 1, 2]
    assert "class field: cover" in pixels.report.notes


def test_numbers_are_classes_in_numeric_order(tmp_path):
    pixels = fields(tmp_path, {"code": [10, 9, 2]})
    assert pixels.classes.names == ("2", "9", "10")
    assert pixels.label.tolist() == [3, 2, 1]
    assert fields(tmp_path, {"x": [10.0, 9.0, 2.0]}, class_field="X").classes.names == ("2", "9", "10")


def test_text_classes_are_in_natural_order(tmp_path):
    assert fields(tmp_path, {"c": ["zone 10", "zone 9", "area"]}).classes.names == ("area", "zone 9", "zone 10")


def test_features_without_a_class_are_skipped(tmp_path):
    pixels = fields(tmp_path, {"c": ["a", None, ""]})
    assert len(pixels) == 1
    assert pixels.report.unlabelled == 2


@pytest.mark.parametrize(
    ("columns", "options", "said"),
    [
        (
            {"a": ["x", "y", "z"], "b": ["x", "y", "z"]},
            {},
            "a, b could each be the class; choose one, e.g. --class-field b",
        ),
        ({"a": ["x", "y", "z"]}, {"class_field": "q"}, "has no field 'q'; choose --class-field from a"),
        ({"v": [0.5, 1.0, 2.0]}, {}, "has no text or integer field for the class"),
        ({"v": [0.5, 1.0, 2.0]}, {"class_field": "v"}, "field 'v' holds fractions"),
    ],
)
def test_missing_or_ambiguous_fields_are_told(tmp_path, columns, options, said):
    with pytest.raises(LabelError) as error:
        fields(tmp_path, columns, **options)
    assert said in str(error.value)
    assert "labels.gpkg: " in str(error.value)


def test_classes_join_from_a_table(tmp_path):
    rows = "T1;ACRU;10\nT2;QURU;12\nT2;QURU;13\nT3;ACRU;9\nT3;QURU;9\n"
    (tmp_path / "species.csv").write_text("tree;taxon;height\n" + rows, "utf-8-sig")
    columns = {"tree": ["T1", "T2", "T9"]}
    for options in ({}, {"on": "tree"}):
        pixels = fields(tmp_path, columns, join=tmp_path / "species.csv", class_field="taxon", **options)
        assert pixels.classes.names == ("ACRU", "QURU")
        assert pixels.report.unlabelled == 1
        assert "species.csv: 2 of 3 features found by tree" in pixels.report.notes
    columns = {"tree": ["T1", "T2", "T3"]}
    pixels = fields(tmp_path, columns, join=tmp_path / "species.csv", class_field="taxon")
    assert pixels.report.unlabelled == 1  # T3 is of two species in the table
    told = "species.csv: 1 keys have rows that differ in taxon; their features are left out"
    assert told in pixels.report.notes
    with pytest.raises(LabelError, match=r"species\.csv: tree, taxon, height could|species\.csv: .* could each be"):
        fields(tmp_path, columns, join=tmp_path / "species.csv")
    with pytest.raises(LabelError, match=r"species\.csv: has no column 'id'|labels\.gpkg: has no field 'id'"):
        fields(tmp_path, columns, join=tmp_path / "species.csv", on="id")
    with pytest.raises(LabelError, match=r"none\.csv: does not exist"):
        fields(tmp_path, columns, join=tmp_path / "none.csv")


def test_layers_must_be_named(tmp_path):
    path = tmp_path / "labels.gpkg"
    for layer, name in (("first", "a"), ("second", "b")):
        write_labels(path, [point(0.5, 0.5)], {"c": [name]}, driver="GPKG", layer=layer, append=path.exists())
    with pytest.raises(LabelError, match=r"has the layers first, second; name one"):
        read_labels(path, [GRID])
    assert read_labels(path, [GRID], layer="second").classes.names == ("b",)
    assert read_labels(f"{path}|layername=first", [GRID]).classes.names == ("a",)


# Colours ----------------------------------------------------------------------------------------------------------


def test_colours_come_from_a_field(tmp_path):
    pixels = fields(tmp_path, {"c": ["a", "b", "a"], "color": ["#ff0000", "0,0,255", "#00ff00"]})
    assert pixels.classes.colors == ((255, 0, 0), (0, 0, 255))


def test_colours_and_field_come_from_a_qgis_style(tmp_path):
    (tmp_path / "labels.qml").write_text("""<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="3.28"><renderer-v2 type="categorizedSymbol" attr="kind">
<categories><category symbol="0" value="a" label="Alpha"/><category symbol="1" value="b" label="Beta"/></categories>
<symbols><symbol name="0" type="marker"><layer class="SimpleMarker"><Option type="Map">
<Option name="color" value="10,20,30,255" type="QString"/></Option></layer></symbol>
<symbol name="1" type="marker"><layer class="SimpleMarker"><prop k="color" v="40,50,60,255"/></layer></symbol></symbols>
</renderer-v2></qgis>""")
    pixels = fields(tmp_path, {"note": ["x", "y", "z"], "kind": ["a", "b", "a"]})
    assert pixels.classes == ClassTable(("a", "b"), ((10, 20, 30), (40, 50, 60)))


def test_colours_follow_meaning_and_differ(tmp_path):
    names = ["Water", "Tree", "grass lawn", "bare_soil", "road", *(f"class {index}" for index in range(60))]
    geometry = [point(0.5 + index % 12, 0.5 + index // 12) for index in range(len(names))]
    classes = labelled(tmp_path, geometry, names).classes
    color = dict(zip(classes.names, classes.colors, strict=True))
    assert color["Water"][2] > color["Water"][0]
    assert color["Tree"][1] > max(color["Tree"][0], color["Tree"][2])
    assert sum(color["grass lawn"]) > sum(color["Tree"])
    assert len(set(classes.colors)) == len(names)


# Label rasters ----------------------------------------------------------------------------------------------------


def test_a_label_raster_on_the_grid(tmp_path):
    values = np.zeros((12, 10), np.uint8)
    values[2:4, 3:6], values[8, 8], values[9, 9], values[0, 0] = 7, 3, 3, 255
    path = write_raster(tmp_path / "truth.tif", values, nodata=255)
    with rasterio.open(path, "r+") as dataset:
        dataset.write_colormap(1, {3: (1, 2, 3, 255), 7: (4, 5, 6, 255)})
    (tmp_path / "truth.tif.aux.xml").write_text(
        "<PAMDataset><PAMRasterBand band='1'><CategoryNames>"
        + "".join(f"<Category>{name}</Category>" for name in ("", "", "", "water", "", "", "", "tree"))
        + "</CategoryNames></PAMRasterBand></PAMDataset>"
    )
    pixels = read_labels(path, [GRID])
    assert pixels.classes == ClassTable(("water", "tree"), ((1, 2, 3), (4, 5, 6)))
    assert pixels.counts().tolist() == [2, 6]
    assert pixels.report.features == (1, 1)  # touching corners are one patch
    np.testing.assert_array_equal(np.array([0, 3, 7])[_image(pixels)], np.where(values == 255, 0, values))


def _image(pixels):
    image = np.zeros((12, 10), int)
    image[pixels.row, pixels.column] = pixels.label
    return image


def test_a_finer_label_raster_is_read_at_pixel_centres(tmp_path):
    values = np.zeros((36, 30), np.int16)
    values[1, 1], values[4, 8] = 1, 2  # one fine pixel in the middle of a pixel, one beside the middle
    path = write_raster(tmp_path / "truth.tif", values, NORTH_UP @ Affine.scale(1 / 3))
    pixels = read_labels(path, [GRID])
    assert places(pixels) == {(0, 0): "1"}


def test_an_attribute_table_and_an_envi_header_name_classes(tmp_path):
    values = np.zeros((12, 10), np.uint8)
    values[0, 0], values[5, 5] = 1, 2
    path = write_raster(tmp_path / "truth.tif", values)
    (tmp_path / "truth.tif.aux.xml").write_text(
        "<PAMDataset><PAMRasterBand band='1'><GDALRasterAttributeTable>"
        "<FieldDefn index='0'><Name>V</Name><Type>0</Type><Usage>5</Usage></FieldDefn>"
        "<FieldDefn index='1'><Name>N</Name><Type>2</Type><Usage>2</Usage></FieldDefn>"
        "<Row index='0'><F>1</F><F>roof</F></Row><Row index='1'><F>2</F><F>lawn</F></Row>"
        "</GDALRasterAttributeTable></PAMRasterBand></PAMDataset>"
    )
    assert read_labels(path, [GRID]).classes.names == ("roof", "lawn")
    header = "classes = 3\nclass names = {Unclassified, roof, lawn}\nclass lookup = {0,0,0, 9,8,7, 6,5,4}"
    path = write_envi(tmp_path / "truth.img", values[None], fields=header)
    classes = read_labels(path.with_suffix(".hdr"), [GRID]).classes
    assert classes == ClassTable(("roof", "lawn"), ((9, 8, 7), (6, 5, 4)))


def test_a_raster_that_holds_no_labels_is_told(tmp_path):
    path = write_raster(tmp_path / "dsm.tif", np.ones((12, 10), np.float32))
    with pytest.raises(LabelError, match=r"dsm\.tif: has 1 bands of float32; give a label raster"):
        read_labels(path, [GRID])


# Sampling and tables ----------------------------------------------------------------------------------------------


def many_pixels(sizes, label=1):
    """One class in groups of the given sizes."""
    group = np.repeat(np.arange(len(sizes)), sizes)
    count = len(group)
    zeros = np.zeros(count, np.int64)
    report = LabelReport((len(sizes),), (count,))
    classes = ClassTable(("a",), ((1, 2, 3),))
    return LabelledPixels(classes, zeros.astype(np.int32), np.arange(count), zeros, zeros + label, group, report)


@settings(max_examples=50, deadline=None)
@given(sizes=st.lists(st.integers(1, 30), min_size=1, max_size=12), shots=st.integers(1, 60), seed=st.integers(0, 99))
def test_samples_are_spread_over_groups(sizes, shots, seed):
    pixels = many_pixels(sizes)
    drawn = pixels.sample(shots, seed)
    assert len(drawn) == min(shots, sum(sizes))
    taken = np.bincount(drawn.group, minlength=len(sizes))
    # No group gives a pixel more than another that still has some left.
    assert all(taken[i] >= taken.max() - 1 or taken[i] == size for i, size in enumerate(sizes))
    again = pixels.sample(shots, seed)
    np.testing.assert_array_equal(drawn.row, again.row)
    assert len(np.unique(drawn.row)) == len(drawn)


def test_classes_with_too_few_pixels_are_named():
    pixels = many_pixels([3, 4])
    assert pixels.sample(7, 0).report.notes == ()
    assert pixels.sample(8, 0).report.notes == ("fewer than 8 pixels, all of them used: a",)


def test_seeds_draw_different_pixels():
    pixels = many_pixels([50] * 10)
    draws = {tuple(pixels.sample(10, seed).row) for seed in range(8)}
    assert len(draws) == 8


def test_the_table_is_aligned_and_tells_what_is_used(tmp_path):
    pixels = labelled(tmp_path, [box(0, 0, 6, 6), point(8.5, 8.5)], ["long class name", "b"])
    assert pixels.table().splitlines()[:3] == [
        "class              features  pixels",
        "1 b                       1       1",
        "2 long class name         1      36",
    ]
    assert pixels.sample(5, 0).table().splitlines()[2] == "2 long class name         1      36     5"


def test_pixels_without_data_are_dropped_and_counted(tmp_path):
    pixels = labelled(tmp_path, [box(0, 0, 6, 6)], ["a"])
    kept = pixels.drop_invalid(pixels.row > 0)
    assert len(kept) == 30
    assert kept.report.pixels == (30,)
    assert "6 labelled pixels without data in the scene were dropped" in kept.table()


# Bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("missing", "does not exist; check the path"),
        ("folder", "is a folder"),
        ("text", "cannot be read as labels"),
        ("empty", "holds no features"),
        ("far", "no label lies on the scene; give labels inside the scene (x 500000…500020, y 5799976…5800000 in"),
        ("conflict", "every labelled pixel is claimed by two classes"),
    ],
)
def test_bad_labels_are_told_in_one_line(tmp_path, kind, said):
    path = tmp_path / "labels.gpkg"
    geometry = {"far": [point(900, 900)], "conflict": [point(0.5, 0.5)] * 2, "empty": []}.get(kind)
    if kind == "folder":
        path = tmp_path
    elif kind == "text":
        path.write_text("hello")
    elif geometry is not None:
        write_labels(path, geometry, {"c": ["a", "b"][: len(geometry)]}, driver="GPKG")
    with pytest.raises(LabelError) as error:
        read_labels(path, [GRID])
    text = str(error.value)
    assert text.startswith(f"{path}: ")
    assert said in text
    assert "\n" not in text


# Real labels ------------------------------------------------------------------------------------------------------


def test_berlin_hymap_needs_a_class_field():
    folder = real_scene("berlin_hymap")
    path = folder / "LandCov_Vec_Berlin_Urban_Gradient_2009.shp"
    with rasterio.open(folder / "HyMap02_Berlin_Urban_Gradient_2009.bsq") as dataset:
        grid = Grid.of(dataset)
    with pytest.raises(LabelError, match="Level_1, Level_2 could each be the class"):
        read_labels(path, [grid])
    pixels = read_labels(path, [grid], class_field="Level_2")
    assert pixels.classes.names == ("Grass", "Pavement", "Roof", "Soil", "Tree")
    # Publisher's counts of covered pixels; ours add pixels that small polygons lie in.
    np.testing.assert_allclose(pixels.counts(), [208, 921, 669, 18, 761], rtol=0.02)


def test_idtrees_species_join_over_plots():
    folder = real_scene("idtrees_mlbs")
    grids = []
    for path in sorted((folder / "HSI").glob("*.tif")):
        with rasterio.open(path) as dataset:
            grids.append(Grid.of(dataset))
    pixels = read_labels(
        folder / "labels" / "train_MLBS.shp",
        grids,
        class_field="taxonID",
        join=folder / "labels" / "train_data.csv",
        on="indvdID",
    )
    assert len(pixels.classes.names) == 22
    assert len(np.unique(pixels.scene)) == 45
    assert pixels.report.conflicts > 0
    assert sum(pixels.report.pixels) == len(pixels)
