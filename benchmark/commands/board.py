"""`python -m benchmark board`: the leaderboard's page; `board pack` and `board check`: its entries."""

from __future__ import annotations

import argparse
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, get_args

from benchmark.commands.common import Commands, at_least_0, at_least_1, chosen_suite, suite_flags
from tasks.engines import EngineName
from tasks.errors import CommandLine, UserError

if TYPE_CHECKING:
    from benchmark.board.opened import Opened

INTEGRITY = 6
"""Exit code when an entry is not what it says it is."""
ENTRIES = Path("results/entries")
UNITS = 8
"""That `--re-evaluate` generates again unless it is told how many."""


def add(commands: Commands) -> None:
    """Declare the command and its parts."""
    board = commands.add_parser(
        "board", help="build the leaderboard from its entries; pack and check entries"
    )
    board.add_argument(
        "--entries", type=Path, default=ENTRIES, help=f"folder of entries (default: {ENTRIES})"
    )
    board.add_argument(
        "--page", type=Path, default=Path("results/board"), help="folder of the page (default: %(default)s)"
    )
    board.add_argument(
        "--unchanged", action="store_true", help="write nothing; fail where the page would change"
    )
    board.set_defaults(act=_build)
    parts = board.add_subparsers(parser_class=CommandLine)
    _add_pack(parts)
    _add_check(parts)


def _add_pack(parts: Commands) -> None:
    flags = suite_flags(engine=False)  # the texts that are there are packed, whatever decoded them
    pack = parts.add_parser("pack", parents=[flags], help="make an entry from a results folder")
    pack.add_argument("--id", required=True, help="of the entry: lower-case letters, digits, - and _")
    pack.add_argument("--title", default="", help="one line (default: the suite's summary)")
    pack.add_argument("--author", default="", help="who trained the runs")
    pack.add_argument(
        "--label", action="append", default=[], metavar="ARM=NAME", help="what an arm is called"
    )
    pack.add_argument(
        "--hardware", default="", help="what it was trained on (default: the devices that the rows name)"
    )
    pack.add_argument(
        "--tuning", default="not stated", help="trials spent on choosing settings, for every arm alike"
    )
    pack.add_argument("--cost", default="", help="what it cost, where that is known")
    pack.add_argument(
        "--kind",
        choices=["result", "refutation"],
        default="result",
        help="a refutation does not find what others reported; shown with the entry (default: result)",
    )
    pack.add_argument(
        "--supersedes", nargs="+", default=[], metavar="ID", help="entries that this one claims to replace"
    )
    pack.add_argument(
        "--refutes",
        nargs="+",
        default=[],
        metavar="ID",
        help="entries that this one claims not to find again",
    )
    pack.set_defaults(act=_pack)


def _add_check(parts: Commands) -> None:
    check = parts.add_parser("check", help="is an entry whole, and do its texts give its numbers again?")
    check.add_argument("entry", type=Path, help="the folder of an entry")
    check.add_argument(
        "--re-evaluate",
        type=Path,
        metavar="OUT",
        help="results folder with the checkpoints of the entry: generate a random part of its texts again",
    )
    check.add_argument("--units", type=at_least_1, help=f"units of texts to generate again (default {UNITS})")
    check.add_argument("--engine", choices=get_args(EngineName), help="what decodes them (default: auto)")
    check.add_argument("--seed", type=at_least_0, help="of the draw (default: a new one, printed)")
    check.add_argument(
        "--reproduction", type=Path, metavar="ENTRY", help="another entry that trained the same arms again"
    )
    check.add_argument(
        "--confirm",
        nargs="+",
        default=[],
        metavar="ID",
        help="entries that this one rightly supersedes or refutes; noted, they are not ranked any more",
    )
    check.add_argument(
        "--record", metavar="WHO", help="note what was verified in results/verification/, and by whom"
    )
    check.set_defaults(act=_check)


def _build(arguments: argparse.Namespace) -> None:
    from benchmark.board.build import build
    from benchmark.board.reading import Fault
    from tasks.files import write_text

    try:
        files = build(arguments.entries)
    except Fault as fault:
        _fail(str(fault).split("\n"))
    for name, content in files.items():
        path = arguments.page / name
        if not arguments.unchanged:
            write_text(path, content)
        elif not path.exists() or path.read_text(encoding="utf-8") != content:
            _fail([f"{path}: is not what the entries give; run `python -m benchmark board` and commit it"])
    done = "is what the entries give" if arguments.unchanged else "written"
    size = len(files["index.html"]) / 1e3
    print(f"{arguments.page / 'index.html'}: {done}, {size:.0f} kB from {arguments.entries}")


def _pack(arguments: argparse.Namespace) -> None:
    from benchmark.board.pack import Words, pack

    suite, out = chosen_suite(arguments)
    words = Words(
        id=arguments.id,
        title=arguments.title,
        author=arguments.author,
        labels=dict(_label(text) for text in arguments.label),
        hardware=arguments.hardware,
        tuning_budget=arguments.tuning,
        cost=arguments.cost,
        kind=arguments.kind,
        supersedes=arguments.supersedes,
        refutes=arguments.refutes,
    )
    folder = pack(suite, out, arguments.entries, words)
    sizes = {path: path.stat().st_size for path in sorted(folder.rglob("*")) if path.is_file()}
    for path, size in sizes.items():
        print(f"{size:>10} {path.relative_to(folder)}")
    print(f"{sum(sizes.values()):>10} bytes in {folder}; now `python -m benchmark board check {folder}`")


def _label(text: str) -> tuple[str, str]:
    arm, separator, name = text.partition("=")
    if not separator or not name:
        raise UserError(f"--label {text!r}: want ARM=NAME, for example lambda_grpo=λ-GRPO")
    return arm, name


def _check(arguments: argparse.Namespace) -> None:
    from benchmark.board.reading import Fault
    from benchmark.board.records import Record, append_record, records_path

    if arguments.confirm and not arguments.record:
        raise UserError("--confirm: a confirmation is a record; say --record WHO")
    for name in ("units", "engine", "seed"):
        if getattr(arguments, name) is not None and not arguments.re_evaluate:
            raise UserError(f"--{name}: says how to generate again; add --re-evaluate OUT, or leave it out")
    try:
        opened, findings = _rescored(arguments.entry)
        _by_somebody_else(arguments, opened)
        findings += _further(arguments, opened)
        path = records_path(opened.folder.parent, opened.entry.id)
        records = [
            (path, Record(entry=opened.digest, by=arguments.record, finding=finding))
            for finding in findings
            if arguments.record
        ]
        records += _confirmed(arguments, opened)
    except Fault as fault:
        _fail(str(fault).split("\n"))
    for path, record in records:
        append_record(path, record)
        print(f"{record.finding.level}: noted in {path}")


def _rescored(path: Path) -> tuple[Opened, list[Any]]:
    """Check all of an entry; ends with 6 where not every number came out again."""
    from benchmark.board.check import check_entry
    from benchmark.board.opened import open_entry
    from benchmark.board.records import Rescored

    folder = _entry_folder(path)
    verdict = check_entry(folder, report=lambda line: print(line, flush=True))
    for note in verdict.notes:
        print(f"note: {note}")
    if verdict.faults:
        _fail([f"{folder.name}: {fault}" for fault in verdict.faults])
    print(f"{folder.name}: sound; every number of {verdict.rescored} rows came out again, to the last digit")
    if verdict.notes or not verdict.rescored:
        _fail([f"{folder.name}: not every number could be computed again, see above; it stays declared"])
    opened = open_entry(folder)
    return opened, [Rescored(grader_version=opened.entry.grader_version, rows=verdict.rescored)]


def _by_somebody_else(arguments: argparse.Namespace, opened: Opened) -> None:
    from benchmark.board.reproduce import same_person

    author = opened.entry.author
    judged = arguments.reproduction or arguments.confirm
    if judged and author and same_person(arguments.record or "", author):
        raise UserError(
            f"--record {arguments.record}: is the author of {opened.entry.id}; somebody else judges it"
        )


def _confirmed(arguments: argparse.Namespace, opened: Opened) -> list[tuple[Path, Any]]:
    """Return the records of what this entry rightly claims about others."""
    from benchmark.board.opened import open_entry
    from benchmark.board.records import Confirmed, Record, records_path
    from benchmark.board.standing import CLAIMS

    records: list[tuple[Path, Any]] = []
    for target in arguments.confirm:
        verbs = [verb for verb, key in CLAIMS if target in getattr(opened.entry, key)]
        if not verbs:
            raise UserError(
                f"--confirm {target}: {opened.entry.id} claims nothing about it, see its entry.json"
            )
        other = open_entry(_entry_folder(opened.folder.parent / target))
        for verb in verbs:
            finding = Confirmed(level=verb, by_entry=opened.entry.id, content=opened.digest)
            record = Record(entry=other.digest, by=arguments.record, finding=finding)
            records.append((records_path(opened.folder.parent, target), record))
    return records


def _further(arguments: argparse.Namespace, opened: Opened) -> list[Any]:
    """Do what needs checkpoints or another entry; returns what was found out."""
    findings: list[Any] = []
    if arguments.re_evaluate:
        import numpy as np

        from benchmark.board.reevaluate import reevaluate

        seed = secrets.randbits(32) if arguments.seed is None else arguments.seed
        print(f"units are drawn with --seed {seed}", flush=True)
        finding, line = reevaluate(
            opened,
            arguments.re_evaluate,
            units=arguments.units or UNITS,
            engine=arguments.engine or "auto",
            generator=np.random.default_rng(seed),
            report=lambda text: print(text, flush=True),
        )
        print(line)
        findings += [finding] if finding else []
    if arguments.reproduction:
        from benchmark.board.opened import guarded
        from benchmark.board.reproduce import reproduce

        again, _ = _rescored(arguments.reproduction)
        with guarded(again.entry.id):
            reproduced, lines = reproduce(opened, again)
        print("\n".join(lines))
        print("equivalent in every arm" if reproduced else "not shown to be equivalent in every arm")
        findings += [reproduced] if reproduced else []
    return findings


def _entry_folder(path: Path) -> Path:
    if not path.exists():
        raise UserError(f"{path}: no such folder; give the folder of an entry")
    return path.absolute()


def _fail(faults: list[str]) -> NoReturn:
    for fault in faults:
        print(f"fault: {fault}", file=sys.stderr)
    raise SystemExit(INTEGRITY)
