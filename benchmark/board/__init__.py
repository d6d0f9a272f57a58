"""The leaderboard: entries in, one page out. Entries come from strangers, so nothing in them is trusted.

entry.py         what an entry says: the models behind entry.schema.json
reading.py       a folder of unknown files: limits on size, depth and names; no links; nothing executed
texts.py         the texts of an entry, one compressed file per task and split
pack.py          a results folder into an entry
check.py         is an entry whole, complete and consistent: the order of the checks
declared.py      do its rows hold what it declares
schedule.py      do they make learning curves, and was it looked at often enough
asked.py         do its texts belong to its rows
rescore.py       every number again, from the texts
reevaluate.py    some of the texts again, from the checkpoints
reproduce.py     another entry that trained the same again
records.py       what maintainers have verified, and the level that follows from it
summed.py        an entry with its statistics
standing.py      which rows can be compared with each other, and who is tied with the best
arm_row.py       one arm of one entry as a row
cells.py         the columns and what stands in a cell
ties.py          who cannot be told from the best
charts.py        learning curves as coordinates
page.py          HTML, Markdown and CSV
build.py         all of it, for a folder of entries
"""
