from sweeps.support.frames import cell, data_frame, html_table


def test_a_table_holds_no_markup_of_others():
    shown = html_table("a <b>", ["x"], [["<script>"], [3]], ["1 < 2"])
    assert "<script>" not in shown and "<b>" not in shown
    assert shown.count("<tr>") == 3 and shown.endswith("<p>1 &lt; 2</p>")


def test_a_frame_has_the_columns_in_the_order_asked_for():
    assert list(data_frame([{"a": 1, "b": 2}], ["b", "a"]).columns) == ["b", "a"]
    assert data_frame([{"a": 1}, {"b": 2.5}])["b"][1] == 2.5


def test_a_cell_is_short():
    assert [cell(each) for each in (None, 0.123456, 12345, "full")] == ["", "0.1235", "12,345", "full"]
