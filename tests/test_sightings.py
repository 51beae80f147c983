"""Runs of one class, and the table of them."""

import io

from rich.console import Console

from deployments.sightings import Sighting, find_sightings, sightings_table
from tests.element_builders import classification_element


def test_merges_neighbours_with_the_same_best_class_and_ends_where_the_next_begins():
    elements = [
        classification_element(cab=0.5, car=0.25),
        classification_element(cab=0.75, car=0.25),
        classification_element(car=0.625, cab=0.25),
        classification_element(cab=0.375, car=0.25),
    ]

    assert find_sightings([0.0, 0.2, 0.5, 0.7], elements) == [
        Sighting(0.0, 0.5, "cab", 0.625, 2),
        Sighting(0.5, 0.7, "car", 0.625, 1),
        Sighting(0.7, 0.7 + (0.7 - 0.5), "cab", 0.375, 1),
    ]


def test_frames_without_a_result_stand_by_themselves():
    cab = classification_element(cab=0.5)

    sightings = find_sightings([0.0, 1.0, 2.0, 3.0], [cab, None, None, cab])

    assert [(seen.from_s, seen.to_s, seen.class_name) for seen in sightings] == [
        (0.0, 1.0, "cab"),
        (1.0, 3.0, None),
        (3.0, 4.0, "cab"),
    ]


def test_one_sample_and_none():
    assert find_sightings([], []) == []
    assert find_sightings([0.0], [classification_element(cab=1.0)]) == [Sighting(0.0, 0.0, "cab", 1.0, 1)]


def test_the_table_shows_the_first_synonym_and_does_not_read_names_as_markup():
    sightings = [Sighting(0.0, 61.25, "cab[/], hack, taxi", 0.456, 7), Sighting(61.25, 62.0, None, 0.0, 1)]
    terminal = io.StringIO()

    Console(width=100, file=terminal).print(sightings_table(sightings, "title"))

    rows = [line.replace("│", " ").split() for line in terminal.getvalue().splitlines()]
    assert ["0:00.0", "1:01.2", "cab[/]", "0.46", "7"] in rows
    assert ["1:01.2", "1:02.0", "(no", "result)", "1"] in rows
