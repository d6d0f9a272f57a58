"""The leaderboard: entries in, one page out. Entries come from strangers, so nothing in them is trusted.

entry.py         what an entry says: the models behind entry.schema.json
reading.py       a folder of unknown files: limits on size, depth and names; no links; nothing executed
texts.py         the texts of an entry, one compressed file per task and split
pack.py          a results folder into an entry
check.py         is an entry whole, complete and consistent
rescore.py       every number of an entry again, from its texts
reevaluate.py    some of its texts again, from its checkpoints
records.py       what maintainers have verified, and the level that follows from it
standing.py      entries into the rows of the board, in groups whose rows can be compared
ties.py          who cannot be told from the best
charts.py        learning curves as SVG
page.py          HTML, Markdown and CSV
"""
