"""Colours of points: those of the pictures of cameras that see them, and of no camera that does not."""

from __future__ import annotations

import numpy as np
from places import ROOT

import taichi_vvc as tv
from taichi_vvc.exports.colours import point_colours
from taichi_vvc.exports.shapes import points_of
from taichi_vvc.field.workspace import Workspace
from taichi_vvc.geometry.projection import project


def test_a_hidden_point_does_not_take_the_colour_of_what_hides_it() -> None:
    with tv.open(ROOT / "tests" / "data" / "golden_v6.tvvc") as stream:
        field, layout, camera = stream[0], stream.header.layout, stream.cameras[0]
        ws = Workspace(field.runtime)
        points = points_of(ws, field, [], resolution=40)
        image = tv.render(field, camera, (0.0, 0.0, 0.0), workspace=ws)
        places = ((points.places - layout.bounds.lower) / layout.cell).astype(np.float32)
        found = point_colours(ws, field, [camera], places, points.normals)
    pixels, _ = project(camera, points.places)
    column, row = np.floor(pixels).astype(int).T
    distance = np.linalg.norm(points.places - camera.position, axis=1)
    facing = np.einsum("nk,nk->n", camera.position - points.places, points.normals) / distance > 0.3
    behind = (distance - image.depth[row, column]) / layout.cell
    hidden = facing & (behind > 4.0) & (image.opacity[row, column] > 0.95)
    assert hidden.sum() > 10
    # What they show along their normal, as without a camera.
    np.testing.assert_array_equal(found[hidden], points.colours[hidden])
    seen = facing & (np.abs(behind) < 1.0) & (image.opacity[row, column] > 0.98)
    assert seen.sum() > 100
    error = np.abs(found - image.colour[row, column])[seen]
    assert np.median(error) < 0.02
    assert np.median(np.abs(points.colours - image.colour[row, column])[seen]) > 2 * np.median(error)
