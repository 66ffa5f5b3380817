"""One module for each class of faults; none of them knows of another. The list is
`recovery/localize/search.py`'s."""
