"""The geometry behind the pictures, against an independent z-buffer and closed forms."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from minorkey.world.gbuffer import Camera, rasterise
from minorkey.world.layout import build
from minorkey.world.places import LAYOUTS
from minorkey.world.scene import Polygons

SIZE = (256, 128)


def depth_of_plane(corners: np.ndarray, camera: Camera) -> np.ndarray:
    """(H, W) distance along z at which the rays of all pixels meet the plane of a polygon (K, 3)."""
    x, y = np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1]))
    rays = np.stack(
        [(x - camera.centre[0]) / camera.focal, (camera.centre[1] - y) / camera.focal, np.ones(x.shape)], -1
    )
    at = corners.astype(float) - (0, camera.height, 0)
    _, _, axes = np.linalg.svd(at - at.mean(0))  # the normal is the direction of least extent
    with np.errstate(divide="ignore", invalid="ignore"):
        return (axes[2] @ at.mean(0)) / (rays @ axes[2])


def nearest_ids(polygons: Polygons, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Train id and depth of the nearest polygon at each pixel, by a z-buffer, tiny ones left out."""
    best, ids = np.full(SIZE[::-1], np.inf), np.full(SIZE[::-1], 255)
    for i, corners in enumerate(polygons.points):
        if corners[:, 2].min() < 1:
            continue
        scale = camera.focal / corners[:, 2]
        xy = np.stack(
            [
                camera.centre[0] + corners[:, 0] * scale,
                camera.centre[1] + (camera.height - corners[:, 1]) * scale,
            ],
            1,
        )
        if np.ptp(xy, 0).prod() < 12:
            continue
        mask = Image.new("1", SIZE)
        ImageDraw.Draw(mask).polygon([tuple(p) for p in xy.tolist()], fill=1)
        z = np.clip(depth_of_plane(corners, camera), corners[:, 2].min(), corners[:, 2].max())
        nearer = np.asarray(mask) & (z < best)
        best[nearer], ids[nearer] = z[nearer], polygons.train_id[i]
    return ids, best


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_nearer_surface_wins(layout):
    agreement = []
    for index in range(3):
        scene = build(8, index, LAYOUTS[layout])
        g = rasterise(scene, SIZE)
        ids, _ = nearest_ids(scene.polygons, g.camera)
        standing = (ids != 255) & ~np.isin(g.labels, (0, 1, 9, 10))  # neither ground nor sky
        agreement.append((ids == g.labels)[standing].mean())
    assert np.mean(agreement) > 0.97


@pytest.mark.parametrize("index", [1, 2, 4])
def test_depth_agrees_with_the_z_buffer(index):
    """The near side of an object hides its far side: a car's lamps are not seen through it."""
    scene = build(8, index, LAYOUTS["town"])
    g = rasterise(scene, SIZE)
    ids, z = nearest_ids(scene.polygons, g.camera)
    depth = g.depth
    same = (ids == g.labels) & np.isfinite(z) & np.isfinite(depth)
    assert np.median(np.abs(depth[same] / z[same] - 1)) < 1e-4
    assert (np.abs(depth[same] / z[same] - 1) < 0.05).mean() > 0.98


def test_ground_depth_is_height_times_focal_over_rows_below_the_horizon():
    scene = build(0, 0, LAYOUTS["town"])
    g = rasterise(scene, SIZE)
    depth = g.depth
    rows, columns = np.nonzero(g.labels == 0)
    expected = scene.camera_height * g.camera.focal / (rows - g.camera.centre[1])
    np.testing.assert_allclose(depth[rows, columns], expected, rtol=1e-3)


def test_a_street_widens_towards_the_camera():
    scene = build(0, 1, LAYOUTS["town"])
    g = rasterise(scene, SIZE)
    road, (_, columns) = g.labels == 0, np.indices(g.labels.shape)
    z = g.depth[road]
    lateral = (columns[road] - g.camera.centre[0]) * z / g.camera.focal - scene.road.x(0, z)
    off_side_street = (z < scene.road.side_street[0]) | (z > scene.road.side_street[1])
    assert np.abs(lateral[off_side_street]).max() <= scene.road.half_width + 1e-3


def test_a_picture_may_be_too_small_for_any_shadow():
    for number in range(20):
        g = rasterise(build(8, number, LAYOUTS["town"]), (16, 8))
        assert g.labels.shape == (8, 16)
        assert g.labels.any()
