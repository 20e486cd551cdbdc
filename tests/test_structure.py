"""The house stays one that a stranger finds the way in: few rooms, short modules, no circle."""

import pytest

from refwfm.validation import structure


def test_the_top_is_no_list():
    assert len(structure.top()) <= 15


def test_no_module_is_long():
    assert structure.too_long() == []


@pytest.mark.parametrize("by_room", [True, False])
def test_there_is_no_circle(by_room):
    assert structure.storeys(structure.arrows(by_room=by_room)) > 1
    with pytest.raises(ValueError, match="cycle"):
        structure.storeys({"a": {"b"}, "b": {"a"}})


def test_the_folders_beside_are_not_rooms(tmp_path, monkeypatch):
    """Where the package is not installed in place, they lie inside it."""
    for name in ("bures.py", "transport/exact.py", "backends/_numpy.py", "validation/items/exact.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("from refwfm.bures import log\n" + structure.LONG * "\n")
    (tmp_path / "paper_figures").mkdir()
    monkeypatch.setattr(structure, "_folder", lambda name: tmp_path.joinpath(*name.split(".")[1:]))
    assert structure.top() == ["bures"]
    assert structure.arrows(by_room=True) == {"bures": set(), "transport": {"bures"}}
    files = (
        "refwfm/bures.py",
        "refwfm/transport/exact.py",
        "backends/_numpy.py",
        "validation/items/exact.py",
    )
    assert structure.too_long() == [f"{name} (401)" for name in files]


def test_the_way_to_a_formula_is_that_of_the_calls():
    way = [name for _, name in structure.way_to("bures", "path", ("--data", "cities"))]
    assert (way[0], way[-1]) == ("train", "path")
