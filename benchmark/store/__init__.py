"""The sample store: every generated text once, named by the content of what produced it.

OUT/samples/ holds *shards*. A worker appends to a shard of its own and nobody else writes there, so any
number of workers may share a folder, on this machine or through a file system that keeps `flock`.

    samples/NAME.part        a shard that a worker has open, or that a killed worker left
    samples/SHA256.jsonl     a finished shard; its name is the sha256 of its bytes
    samples/SHA256SUMS       derived: the finished shards, for `sha256sum -c`
    samples/aside/           what `python -m benchmark store repair` took out
    samples/samples.parquet  derived: an export by `store compact`, which nothing reads back

A shard is text in ASCII, lines of JSON with sorted keys and no spaces, "\\n" after each: *blocks*, and in a
finished shard one last line. A block is a header line and then its samples, one a line:

    {"head":{"bytes":..,"count":..,"effective":{..},"format":1,"key":"..","request":{..},"sha256":".."},
     "sha256":".."}   (one line in the file)
    {"finish":"stop","index":0,"item":"add2/test/0000","prompt_hash":"..","seed":..,"text":"..","tokens":..}

`bytes`, `count` and the inner `sha256` are those of the block's sample lines; the outer `sha256` is that of
the text of the `head` value. `request` is what was asked, everything that decides the texts; `key` is the
first 24 digits of the sha256 of its sorted JSON (`sample_key`); `effective` is what the engine says it did. A
sample's fields are those of `Sample`. The last line seals the file:

    {"end":{"blocks":..,"bytes":..},"sha256":".."}

with the number of blocks, the bytes before this line and the sha256 of the text of the `end` value.

A block is on the disk when `Writer.append` returns. So a killed worker loses what it had not appended, and
the torn end of its shard, a last block that is cut short or does not fit its checksum, counts as never
written. Everything else that does not fit stops a reader with one line that names file, place and repair:
nothing is skipped in silence. The same sample twice is one. Where two texts of one sample differ, readers get
both, the smaller line first, whatever the files are called and whoever was first; the one that has a grade
stands, else the smaller (`benchmark.scoring.score.standing`), and rows count such samples. Nothing depends
on a clock. There is no index on the disk: headers are read when a store is opened, samples when asked for.
"""

from __future__ import annotations

from benchmark.store.lines import Sample, sample_key
from benchmark.store.store import Store, Unit, open_store
from benchmark.store.writer import Writer

__all__ = ["Sample", "Store", "Unit", "Writer", "open_store", "sample_key"]
