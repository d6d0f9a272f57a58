"""All samples in one Parquet file, for pandas, DuckDB or a person. An export: the shards stay the truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from benchmark.store.lines import Sample
from tasks.files import new_file

if TYPE_CHECKING:
    from benchmark.store.store import Store

NAME = "samples.parquet"
SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("item", pa.string()),
        ("index", pa.int32()),
        ("text", pa.string()),
        ("tokens", pa.int32()),
        ("finish", pa.string()),
        ("seed", pa.int64()),
        ("prompt_hash", pa.string()),
    ]
)
"""One row a sample (of two texts the smaller line), one row group a unit, sorted by key, item and index; the
file's metadata holds under "units" the JSON object key -> {"request": .., "effective": [..]}."""


def compact(store: Store) -> Path:
    """Write OUT/samples/samples.parquet; memory is that of the largest unit.

    Raises:
        UserError: a shard is damaged.
        InfrastructureError: no room on the disk; an older export stays.
    """
    path = store.folder / NAME
    units = {}
    with new_file(path) as temporary, pq.ParquetWriter(temporary, SCHEMA, compression="zstd") as file:
        for key in store.counts():
            unit = store.read(key)
            units[key] = {"request": unit.request, "effective": unit.effective}
            file.write_table(_table(key, unit.samples))
        file.add_key_value_metadata({"units": json.dumps(units, sort_keys=True)})
    return path


def _table(key: str, samples: list[Sample]) -> pa.Table:
    rows = [{"key": key, **vars(sample), "finish": str(sample.finish)} for sample in samples]
    return pa.Table.from_pylist(rows, schema=SCHEMA)
