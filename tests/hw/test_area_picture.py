"""The treemap of areas."""

import random

import pytest

from mixdit_hw.area_picture import treemap


@pytest.mark.parametrize("count", [1, 2, 7, 40])
def test_boxes_have_the_areas_and_tile(count):
    rng = random.Random(count)
    areas = sorted((rng.random() + 0.01 for _ in range(count)), reverse=True)
    boxes = treemap(areas, (1.0, 2.0, 6.0, 3.0))
    assert [w * h for _, _, w, h in boxes] == pytest.approx([18 * a / sum(areas) for a in areas])
    for left, bottom, width, height in boxes:
        assert left >= 1 - 1e-9 and left + width <= 7 + 1e-9
        assert bottom >= 2 - 1e-9 and bottom + height <= 5 + 1e-9
    for i, (l1, b1, w1, h1) in enumerate(boxes):
        for l2, b2, w2, h2 in boxes[:i]:
            across = min(l1 + w1, l2 + w2) - max(l1, l2)
            along = min(b1 + h1, b2 + h2) - max(b1, b2)
            assert across <= 1e-9 or along <= 1e-9


def test_boxes_are_nearly_square():
    boxes = treemap([1.0] * 12, (0, 0, 4, 3))
    assert all(
        width == pytest.approx(1) and height == pytest.approx(1) for _, _, width, height in boxes
    )
