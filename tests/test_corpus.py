"""The corpus: every file comes out as its entry says, frame by frame, and nothing is said on the user's terminal."""

from __future__ import annotations

import pytest

from tests.corpus import CORPUS
from tests.corpus_checks import check
from tests.requirements import needs

FAST_RATES = (None, 1)


def parameters(entries):
    """One parameter for each entry, skipped where the machine lacks what makes its file."""
    return [
        pytest.param(entry, id=entry.name, marks=[needs("ffmpeg")] if entry.needs_ffmpeg else []) for entry in entries
    ]


@pytest.mark.parametrize("entry", parameters(entry for entry in CORPUS if not entry.long))
def test_a_file_comes_out_as_it_should(tmp_path, capfd, entry):
    path = tmp_path / entry.file_name
    entry.make(path)
    capfd.readouterr()  # encoders talk
    check(entry, path, FAST_RATES)
    assert capfd.readouterr().err == ""


@pytest.mark.long
@pytest.mark.parametrize("entry", parameters(CORPUS))
def test_a_file_comes_out_as_it_should_at_every_rate(tmp_path, capfd, entry):
    path = tmp_path / entry.file_name
    entry.make(path)
    capfd.readouterr()
    check(entry, path, entry.rates)
    assert capfd.readouterr().err == ""


def test_entries_have_names_of_their_own():
    assert len({entry.name for entry in CORPUS}) == len(CORPUS)
