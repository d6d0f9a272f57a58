"""The sample store: every generated text once, named by the content of what produced it.

OUT/samples/ holds *shards*. A worker appends to a shard of its own and nobody else writes there, so any number
of workers may share a folder, on this machine or through a file system that keeps `flock`.

    samples/NAME.part        a shard that a worker has open, or that a killed worker left
    samples/SHA256.jsonl     a finished shard; its name is the sha256 of its bytes
    samples/SHA256SUMS       derived: the finished shards, for `sha256sum -c`
    samples/aside/           what `python -m benchmark store repair` took out
    samples/samples.parquet  derived: an export by `python -m benchmark store compact`, which nothing reads back

A shard is UTF-8 text, lines of JSON with sorted keys, "\\n" after each: *blocks*, and in a finished shard one
last line. A block is a header line and then its samples, one a line:

    {"head":{"bytes":..,"count":..,"effective":{..},"format":1,"key":"..","request":{..},"sha256":".."},"sha256":".."}
    {"finish":"stop","index":0,"item":"add2/test/0000","prompt_hash":"..","seed":..,"text":"..","tokens":..}

`bytes`, `count` and the inner `sha256` are those of the block's sample lines; the outer `sha256` is that of the
text of the `head` value. `request` is what was asked, everything that decides the texts; `key` is the first 24
digits of the sha256 of its sorted JSON; `effective` is what the engine says it did. The last line seals the
file: {"end":{"blocks":..,"bytes":..},"sha256":".."} with the number of blocks and the bytes before this line.

A block is on the disk when `Writer.append` returns. So a killed worker loses what it had not appended, and the
torn end of its shard, a block cut short, counts as never written. Everything else that does not fit its
checksum stops a reader with one line that names file, place and repair: nothing is skipped in silence. The
same sample twice is one; where two texts of one sample differ, the smaller line stands, whatever the files are
called and whoever was first. Nothing depends on a clock, and there is no index: headers are read on opening.
"""

from __future__ import annotations

from benchmark.store.lines import Sample, sample_key
from benchmark.store.store import Store, Unit, open_store
from benchmark.store.writer import Writer

__all__ = ["Sample", "Store", "Unit", "Writer", "open_store", "sample_key"]
