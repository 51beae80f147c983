"""The corpus: one file for each kind that frame extraction has to be unharmed by, and what a user sees of each.

`python -m tests.corpus FOLDER` makes them all and prints a table in Markdown.
"""

from __future__ import annotations

from tests.corpus_partial import PARTIAL
from tests.corpus_pictures import PICTURES
from tests.corpus_strangers import STRANGERS
from tests.corpus_timing import TIMING

CORPUS = [*STRANGERS, *PARTIAL, *TIMING, *PICTURES]
"""Every entry; names differ."""

if __name__ == "__main__":
    from tests.corpus_table import main

    main()
