"""Presses of a mouse button are counted from Qt's events, each once."""

import qt

from Testing.host.interaction import Presses, click, click_entry, click_into, point_at, process_events, write


def test_a_press_that_a_label_hands_to_its_parents_counts_once_and_keys_do_not(host):
    window = qt.QWidget()
    layout = qt.QVBoxLayout(window)
    label, button, box = qt.QLabel("text"), qt.QPushButton("button"), qt.QSpinBox()
    for widget in (label, button, box):
        layout.addWidget(widget)
    window.show()
    process_events()
    presses = Presses()
    click(label)
    assert presses.count == 1
    click(button)
    click(button)
    assert presses.count == 3
    click_into(box)
    write("17")
    assert (presses.count, box.value) == (4, 17)
    presses.close()
    click(button)
    assert presses.count == 4


def test_a_menu_beside_a_menu_opens_below_the_pointer_without_a_press(host):
    menu, chosen = qt.QMenu(), []
    beside = menu.addMenu("Category")
    beside.addAction("Module").connect("triggered()", lambda: chosen.append("Module"))
    menu.popup(qt.QPoint(10, 10))
    process_events()
    presses = Presses()
    click_entry(point_at(menu, "Category"), "Module")
    assert (presses.count, chosen) == (1, ["Module"])
    presses.close()
