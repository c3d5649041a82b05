"""What the renderer tells about each pixel beside its class."""

from dataclasses import fields

import numpy as np
import pytest

from minorkey.errors import DataError
from minorkey.world import DOMAINS, SurfaceMaps, render_paired, render_with_surfaces
from minorkey.world.classes import Material
from minorkey.world.gbuffer import Camera, rasterise
from minorkey.world.layout import build
from minorkey.world.places import LAYOUTS
from minorkey.world.surfaces import GROUND_SLOT, SKY_SLOT

GROUND, SKY = (0, 1, 9), 10


def test_the_images_are_those_of_the_same_scene_without_surfaces():
    names = ["fog", "clear"]
    samples, maps = render_with_surfaces(3, 4, names)
    for mine, theirs in zip(samples, render_paired(3, 4, names), strict=True):
        for name in ("image", "labels", "depth", "boxes", "box_classes"):
            np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name))
    np.testing.assert_array_equal(maps.depth, samples[0].depth)


def test_shapes_types_and_no_class_among_the_fields():
    _, maps = render_with_surfaces(0, 1, ["clear"], (192, 96))
    found = {f.name: (getattr(maps, f.name).shape, getattr(maps, f.name).dtype) for f in fields(SurfaceMaps)}
    assert found == {
        "material": ((96, 192), np.uint8),
        "slot": ((96, 192), np.uint8),
        "normal": ((96, 192, 3), np.float32),
        "thing": ((96, 192), np.int32),
        "part": ((96, 192), np.uint8),
        "extent": ((96, 192, 2), np.float32),
        "depth": ((96, 192), np.float32),
    }


@pytest.mark.parametrize("domain", ["clear", "elsewhere"])
def test_ground_and_sky_have_values_of_their_own(domain):
    (sample,), maps = render_with_surfaces(0, 2, [domain])
    ground, sky = np.isin(sample.labels, GROUND), sample.labels == SKY
    np.testing.assert_array_equal(maps.slot == GROUND_SLOT, ground)
    np.testing.assert_array_equal(maps.slot == SKY_SLOT, sky)
    np.testing.assert_array_equal(maps.thing == 0, sky)
    assert (maps.material[sample.labels == 0] == Material.ASPHALT).all()
    assert (maps.normal[ground] == (0, 1, 0)).all()
    assert (maps.normal[sky] == 0).all()


def test_extents_are_metres_of_the_whole_object():
    cars, buses = [], []
    for index in range(12):
        (sample,), maps = render_with_surfaces(2, index, ["clear"])
        standing = ~np.isin(sample.labels, [*GROUND, SKY])
        np.testing.assert_array_equal((maps.extent > 0).all(-1), standing)
        for thing in np.unique(maps.thing[standing]):
            assert len(np.unique(maps.extent[maps.thing == thing], axis=0)) == 1
        cars.append(maps.extent[sample.labels == 13])
        buses.append(maps.extent[sample.labels == 15])
    (height, across), (bus_height, bus_across) = np.concatenate(cars).T, np.concatenate(buses).T
    np.testing.assert_array_less([1.2, 3], [height.min(), across.min()])
    np.testing.assert_array_less([height.max(), across.max()], [2.6, 7])
    np.testing.assert_array_less([2.7, 9], [bus_height.min(), bus_across.min()])


def test_normals_are_unit_vectors_towards_the_camera():
    for index in range(3):
        (sample,), maps = render_with_surfaces(1, index, ["clear"])
        camera = Camera.of(build(1, index, LAYOUTS["town"]), (256, 128))
        y, x = np.indices(maps.depth.shape)
        rays = np.stack(
            [(x - camera.centre[0]) / camera.focal, (camera.centre[1] - y) / camera.focal, np.ones(x.shape)], -1
        )
        seen = sample.labels != SKY
        np.testing.assert_allclose(np.linalg.norm(maps.normal[seen], axis=-1), 1, atol=1e-5)
        assert ((maps.normal * rays).sum(-1)[seen] < 0.02).mean() > 0.999  # edges may be painted a pixel too far


def test_things_are_the_boxes_instances_and_more():
    (sample,), maps = render_with_surfaces(3, 0, ["clear"])
    boxes = set()
    for thing in np.unique(maps.thing):
        y, x = np.nonzero(maps.thing == thing)
        boxes.add((x.min(), y.min(), x.max() + 1, y.max() + 1))
    assert len(sample.boxes) > 5
    assert {tuple(box) for box in sample.boxes.astype(int).tolist()} <= boxes
    buildings = np.unique(maps.thing[sample.labels == 2])
    assert len(buildings) > 2
    assert not np.isin(buildings, maps.thing[sample.labels == 13]).any()


def test_slots_are_colours_of_objects():
    """Pixels of one object, slot and material have one colour before textures and light."""
    scene = build(0, 3, LAYOUTS["town"])
    g = rasterise(scene, (256, 128))
    _, maps = render_with_surfaces(0, 3, ["clear"])
    colour = np.stack([g.image(g.spread(channel)) for channel in g.surfaces.colour], -1)
    key = (maps.thing.astype(np.int64) * 64 + maps.slot) * 64 + maps.material
    for value in np.unique(key):
        assert np.ptp(colour[key == value], 0).max() == 0
    assert len(np.unique(maps.slot)) > 8


def test_surfaces_of_two_layouts_or_of_none_are_refused():
    with pytest.raises(DataError, match=r"surfaces of 2 layouts \(suburb, town\): give domains that are pixel"):
        render_with_surfaces(0, 0, list(DOMAINS))
    with pytest.raises(DataError, match="surfaces of 0 layouts"):
        render_with_surfaces(0, 0, [])
