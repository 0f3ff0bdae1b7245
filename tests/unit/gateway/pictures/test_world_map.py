import math
import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.pictures import world_map
from gateway.pictures.world_map import HEIGHT, LAND, SCALE, WIDTH, Labels, colour, dot, dots, great_circle, line, load_land, project, svg
from routing_core._latency import great_circle_km

places = st.tuples(st.floats(-90, 90), st.floats(-180, 180))


def place_of(point):
    return 90 - point[1] / SCALE, point[0] / SCALE - 180


@pytest.mark.parametrize(
    ("place", "point"), [((90, -180), (0, 0)), ((-90, 180), (WIDTH, HEIGHT)), ((0, 0), (WIDTH / 2, HEIGHT / 2)), ((45, 90), (720, 120))]
)
def test_projection(place, point):
    assert project(*place) == pytest.approx(point)


@given(places, places)
def test_a_great_circle_is_as_long_as_the_core_says(a, b):
    """Lengths of the drawn parts, on the sphere, against the core's distance. Near antipodes every way is the shortest."""
    expected = great_circle_km(*a, *b)
    if expected > 19_900:
        return
    parts = great_circle(a, b)
    length = sum(great_circle_km(*place_of(p), *place_of(q)) for part in parts for p, q in pairwise(part))
    # Where it crosses the map's edge a piece is straight on the map, not on the sphere; near a pole that is a detour.
    slack = 5 + 0.02 * expected + (1500 if len(parts) > 1 else 0)
    assert expected - 5 <= length <= expected + slack


@given(places, places)
@example((90.0, 100.0), (90.0, -81.0))  # the same place, far apart on the map
def test_a_great_circle_stays_on_the_map_and_never_runs_across_it(a, b):
    parts = great_circle(a, b)
    assert parts[0][0] == pytest.approx(project(*a), abs=1e-6) or len(parts[0]) == 2
    assert all(-0.01 <= x <= WIDTH + 0.01 and -0.01 <= y <= HEIGHT + 0.01 for part in parts for x, y in part)
    if great_circle_km(*a, *b) < 19_900:
        assert all(abs(p[0] - q[0]) <= WIDTH / 2 + 0.01 for part in parts for p, q in pairwise(part))


def test_over_the_edge_of_the_map():
    first, second = great_circle((35.68, 139.69), (37.34, -121.89))
    assert first[0] == pytest.approx(project(35.68, 139.69))
    assert second[-1] == pytest.approx(project(37.34, -121.89))
    assert (first[-1][0], second[0][0]) == (WIDTH, 0)
    assert first[-1][1] == second[0][1]
    back, forth = great_circle((37.34, -121.89), (35.68, 139.69))
    assert (back[-1][0], forth[0][0]) == (0, WIDTH)


@pytest.mark.parametrize("b", [(10.0, 20.0), (-10.0, -160.0)])
def test_the_same_place_and_the_other_side_of_the_world(b):
    assert great_circle((10.0, 20.0), b) == [[project(10.0, 20.0), project(*b)]]


def test_a_picture_is_well_formed_and_escapes_what_it_is_told():
    hostile = '</text><script>alert("&")</script>'
    labels = Labels()
    labels.add(1, 1, hostile, is_bold=True)
    body = [dot(1, 1, 3, 'red"', hostile), line((0, 0), (1, 1), 'red"', 2), dots([(1, 2, 3)], 'red"'), labels.svg()]
    drawn = svg(body, hostile, below=20)
    root = ElementTree.fromstring(drawn)
    space = "{http://www.w3.org/2000/svg}"
    assert root.tag == f"{space}svg"
    assert root.find(f"{space}title").text == hostile
    assert hostile in [text.text for text in root.iter(f"{space}text")]
    assert not list(root.iter(f"{space}script"))
    assert root.get("viewBox") == f"0 0 {WIDTH} {HEIGHT + 20}"


def test_inside_a_page_it_names_no_address():
    assert "http" not in svg([], "x", is_alone=False)


def test_colours_tell_apart():
    used = [colour(number) for number in range(60)]
    assert len(set(used)) == 60
    hues = [float(re.search(r"[\d.]+", one)[0]) for one in used[:10]]
    assert min(abs((a - b + 180) % 360 - 180) for a, b in pairwise(hues)) > 100


def boxes_of(labels):
    return labels._taken


def test_labels_keep_off_each_other_and_off_dots():
    labels = Labels()
    labels.keep_free(50.1, 13.0, 6)  # to the right of the first, where its label would go
    labels.add(50.1, 8.7, "fra 14.2")
    labels.add(51.5, -0.1, "lhr 10.0")
    labels.add(48.9, 2.4, "par 12.0")
    taken = boxes_of(labels)
    assert len(taken) == 4
    for k, (left, top, right, bottom) in enumerate(taken):
        for other in taken[k + 1 :]:
            assert min(right, other[2]) <= max(left, other[0]) or min(bottom, other[3]) <= max(top, other[1])


@pytest.mark.parametrize("place", [(0, 179), (0, -179), (89, 0), (-89, 0), (89, 179), (-89, -179)])
def test_labels_stay_on_the_map(place):
    labels = Labels()
    labels.add(*place, "a label of some length")
    ((left, top, right, bottom),) = boxes_of(labels)
    assert left >= 0
    assert right <= WIDTH
    assert top >= -world_map.FONT_SIZE / 2
    assert bottom <= HEIGHT + world_map.FONT_SIZE / 2


def test_the_graticule_has_a_line_for_each_thirty_degrees():
    root = ElementTree.fromstring(f"<g>{world_map.graticule()}</g>")
    grid, equator = (path.get("d") for path in root)
    assert (grid.count("v"), grid.count("h")) == (13, 7)
    assert math.isclose(float(equator[1:].split()[1].split("h")[0]), HEIGHT / 2)


def is_land(lat, lon):
    """By the even-odd rule, as it is drawn."""
    is_inside = False
    for outline in load_land():
        for (y, x), (v, u) in pairwise(outline):
            if (y > lat) != (v > lat) and lon < x + (u - x) * (lat - y) / (v - y):
                is_inside = not is_inside
    return is_inside


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ((50.1, 8.7), True),  # Frankfurt
        ((40.0, -100.0), True),
        ((-25.0, 135.0), True),
        ((-85.0, 170.0), True),  # Antarctica reaches the pole
        ((66.5, -173.0), True),  # Chukotka, beyond the map's edge
        ((66.5, 178.0), True),
        ((0.0, -30.0), False),
        ((0.0, -150.0), False),
        ((-60.0, 20.0), False),
        ((85.0, 0.0), False),
    ],
)
def test_land_is_where_it_is(place, expected):
    assert is_land(*place) is expected


def test_outlines_are_closed_on_the_map_and_never_run_across_it():
    outlines = load_land()
    assert len(outlines) > 100
    for outline in outlines:
        assert outline[0] == outline[-1]
        assert all(abs(lat) <= 90 and abs(lon) <= 180 for lat, lon in outline)
        assert all(abs(a[1] - b[1]) < 30 or a[0] == b[0] == -90 for a, b in pairwise(outline))


def test_land_is_drawn_under_everything_as_it_is():
    path = re.search(rf'<path d="([^"]+)" fill="{LAND}"', svg([dot(0, 0, 1, "red")], "x"))
    parts = path[1].split("M")[1:]
    assert len(parts) == len(load_land())
    for part, outline in zip(parts, load_land(), strict=True):
        start, _, steps = part.removesuffix("z").partition("l")
        points = [tuple(map(float, start.split(",")))]
        for step in steps.split():
            points.append(tuple(a + float(b) for a, b in zip(points[-1], step.split(","), strict=True)))
        assert points == [pytest.approx(project(*place), abs=0.06) for place in outline[:-1]]
    assert svg([dot(0, 0, 1, "red")], "x").index(path[0]) < svg([dot(0, 0, 1, "red")], "x").index("<circle")
