"""The tree: YAML's syntax, lines, and everything a hostile or careless file can hold."""

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.config._tree import MAX_DEPTH, MAX_VALUES, Node, read_tree


def plain(text):
    root, faults = read_tree(text)
    assert faults == []
    return root.plain()


def only_fault(text):
    _, faults = read_tree(text)
    assert len(faults) == 1, faults
    return faults[0]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: NO", "NO"),
        ("a: on", "on"),
        ("a: yes", "yes"),
        ("a: 22:30", "22:30"),
        ("a: 010", "010"),
        ("a: 0x10", "0x10"),
        ("a: 1_000", "1_000"),
        ("a: 1e3", "1e3"),
        ("a: .inf", ".inf"),
        ("a: 2026-11-24", "2026-11-24"),
        ("a: 10s", "10s"),
        ("a: '1'", "1"),
        ('a: "true"', "true"),
        ("a: 1", 1),
        ("a: -74.01", -74.01),
        ("a: +5", 5),
        ("a: 0", 0),
        ("a: 1.5e-3", 0.0015),
        ("a: true", True),
        ("a: False", False),
        ("a: null", None),
        ("a: ~", None),
        ("a:", None),
        ("a: ''", ""),
        ("a: |\n  x\n  y\n", "x\ny\n"),
        ("a: " + "9" * 5000, "9" * 5000),
        ("a: [1, [2]]", (1, (2,))),
        ("a: {b: {}}", {"b": {}}),
    ],
)
def test_plain_scalars_follow_the_core_schema(text, value):
    assert plain(text) == {"a": value}
    assert type(plain(text)["a"]) is type(value)


def test_keys_are_text():
    assert plain("1: a\ntrue: b\n~: c\nNO: d") == {"1": "a", "true": "b", "~": "c", "NO": "d"}


@pytest.mark.parametrize("text", ["", "# only words\n", "---\n", "--- {}\n...\n"])
def test_nothing_is_an_empty_mapping(text):
    assert plain(text) in ({}, None)


def test_lines_are_of_scalars_and_of_the_keys_of_the_rest():
    root, _ = read_tree("a: 1\nb:\n  c: 2\n\n  d:\n    - 3\n    - e:\n        4\n")
    assert root.at("a").line == 1
    assert root.at("b").line == 2
    assert root.at("b").at("c").line == 3
    assert root.at("b").at("d").line == 5
    assert root.at("b").at("d").at(0).line == 6
    assert root.at("b").at("d").at(1).at("e").line == 8
    assert root.at("b").at("d").at(1).key_lines == {"e": 7}
    assert root.at("x") is None
    assert root.at(0) is None
    assert root.at("b").at("d").at(2) is None


def test_aliases_stand_for_their_anchor():
    assert plain("a: &x {b: 1}\nc: *x\nd: [*x, *x]") == {"a": {"b": 1}, "c": {"b": 1}, "d": ({"b": 1}, {"b": 1})}


@pytest.mark.parametrize(
    ("text", "line", "loc", "words"),
    [
        ("a: 1\nb: 2\na: 3", 3, ("a",), "given once, was given in line 1"),
        ("a:\n  - {b: 1, b: 2}", 2, ("a", 0, "b"), "given once"),
        ("a: !!python/object:os.system x", 1, ("a",), "no YAML tag, got tag:yaml.org,2002:python/object"),
        ("a:\n  !!str 5", 2, ("a",), "no YAML tag"),
        ("a: ! x", 1, ("a",), "no YAML tag"),
        ("a: 1\nb: *x", 2, ("b",), "an anchor that is not set before it, got *x"),
        ("a: &x [1, *x]", 1, ("a", 1), "the value it stands in, got *x"),
        ("? [a]\n: b", 1, (), "plain text as keys"),
        ("a: 1\n--- \nb: 2", 2, (), "one YAML document"),
        ("a: [1, 2\nb: 3", 2, (), "must be YAML"),
        ("a: 'x", 1, (), "must be YAML"),
        ("\ta: 1", 1, (), "indented by spaces, got a tab"),
        ("a:\n\t- b", 2, (), "indented by spaces, got a tab"),
        ("a:\n  b: 1\n  \tc: 2", 3, (), "indented by spaces, got a tab"),
        ("a: 1\n  b: 2", 2, (), "must be YAML"),
        ("a: 1\nb: \x01", 2, (), "printable text, got the character U+0001"),
        ("a: \ud800", 1, (), "U+D800"),
        ("%YAML 3.0\n---\na: 1", 1, (), "must be YAML"),
        ("a: " + "[" * 40 + "]" * 40, 1, (), f"deeper than {MAX_DEPTH}"),
    ],
)
def test_fault_has_its_line(text, line, loc, words):
    fault = only_fault(text)
    assert (fault.line, fault.loc) == (line, loc)
    assert words in fault.text


def test_every_fault_comes_at_once():
    _, faults = read_tree("a: 1\na: 2\nb: !x 1\nc: *y\nd: [")
    assert [fault.line for fault in faults] == [2, 3, 4, 5]


def test_the_first_of_doubled_keys_is_kept():
    root, _ = read_tree("a: 1\na: 2")
    assert root.plain() == {"a": 1}


def test_a_page_of_aliases_can_not_stand_for_billions():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    fault = only_fault("\n".join(lines))
    assert str(MAX_VALUES) in fault.text


def test_deep_nesting_ends_soon():
    for text in ("[" * 100_000, "- " * 100_000, "{a: " * 5_000, "? " * 50_000):
        assert read_tree(text)[1]


def test_taking_out_keeps_lines_and_positions():
    node = Node(1, [Node(n, n) for n in range(5)])
    node.without({1})
    node.without({0, 2})
    assert node.plain() == (2, 4)
    assert node.positions == [2, 4]
    mapping = Node(1, {"a": Node(2, 1), "b": Node(3, 2)})
    mapping.without({"a"})
    assert mapping.plain() == {"b": 2}
    scalar = Node(1, "x")
    scalar.without({"a"})
    assert scalar.plain() == "x"


# PyYAML's writer loses the two line breaks that only YAML 1.1 knows; no value of a configuration may hold them.
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x85\u2028\u2029"))
TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**17), 10**17) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


def as_lists(value):
    if isinstance(value, tuple):
        return [as_lists(item) for item in value]
    return {key: as_lists(item) for key, item in value.items()} if isinstance(value, dict) else value


@given(TREES)
@example(0.00023818510158716408)  # as many digits as a float is ever written with
def test_what_the_writer_writes_is_read_back(value):
    root, faults = read_tree(yaml.safe_dump({"a": value}, allow_unicode=True))
    assert faults == []
    assert as_lists(root.plain()) == {"a": value}


@given(st.text(st.sampled_from("ab:-[]{},&*!|>'\"%@#? \n\t~0") | st.characters(), max_size=60))
def test_any_text_gives_a_tree_or_faults(text):
    root, faults = read_tree(text)
    assert root is not None or faults
    assert all(1 <= fault.line <= max(1, len(text.splitlines())) for fault in faults)
