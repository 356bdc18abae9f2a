import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.text import PLAIN, Measured, Wire, common, measure

CONCATENATIONS = ["8-bit", "16-bit", "sar", "payload"]
WIRES = st.builds(
    Wire,
    st.lists(st.sampled_from([1, 2, 3, 6, 11, 13]), unique=True).map(tuple),
    st.sampled_from(CONCATENATIONS),
)
TEXT = st.text(st.sampled_from("abcş€]çáअ१ப,'中😀 "), min_size=1, max_size=400)


@pytest.mark.parametrize(
    ("wires", "expected"),
    [
        ([], PLAIN),
        ([Wire((1, 3))], Wire((1, 3))),
        ([Wire((3, 1, 6)), Wire((1, 3))], Wire((3, 1))),
        ([Wire((1,)), Wire((1,), "16-bit")], Wire((1,), "16-bit")),
        ([Wire((1,)), Wire((1,), "sar")], Wire()),
        ([Wire((), "sar"), Wire((), "sar")], Wire((), "sar")),
        ([Wire((), "sar"), Wire((), "payload")], Wire()),
        ([Wire((), "payload"), Wire((), "16-bit")], Wire((), "16-bit")),
    ],
)
def test_what_all_can_carry(wires: list[Wire], expected: Wire) -> None:
    assert common(wires) == expected


@settings(deadline=None)
@given(st.lists(WIRES, min_size=1, max_size=4), TEXT)
def test_no_carrier_needs_more_parts_than_were_counted(wires: list[Wire], text: str) -> None:
    counted = measure(text, wire=common(wires), max_parts=255)
    assert isinstance(counted, Measured)
    for wire in wires:
        needed = measure(text, wire=wire, max_parts=255)
        assert isinstance(needed, Measured)
        assert needed.count <= counted.count
