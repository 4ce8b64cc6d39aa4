"""What DVC has of other runs than that of the workspace: of the last commit, and of the experiments made from it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from stages.command import parse

if TYPE_CHECKING:
    from dvc.repo import Repo

    from pipeline.params import Params
    from pipeline.report.seeds import Repeat
    from pipeline.report.since import Past

FILES = ("metrics.json", "confusion.csv")


def head(scores: Path) -> Past | None:
    """The files under `scores` of HEAD, as dvc.lock there names them, from DVC's cache: one repository, opened once.

    None where there is no Git, no commit, or anything else in the way: a report needs no past. A remote is not asked:
    what is not in the cache takes longer to get than it says. To the graph the past is no dependency. A page is made
    anew when a number changes, and tells then how it differs from the commit that was the last at that time; a later
    commit of the same numbers changes nothing that the page says.
    """
    try:
        from dvc.repo import Repo

        from pipeline.report.since import Past

        with Repo() as repo:
            found: dict[str, dict[str, str]] = {}
            for path, kept in outputs(repo, "HEAD").items():
                if path.parent.parent == scores and path.name in FILES:
                    files = found.setdefault(path.parent.name, {})
                    if kept.exists():
                        files[path.name] = kept.read_text()
            commit = repo.scm.resolve_commit("HEAD")
            return Past(commit.hexsha[:7], commit.commit_datetime.date().isoformat(), found)
    except Exception:  # whatever it is: the numbers of today are the report
        return None


def repeats(root: Path, file: Path, params: Params) -> list[Repeat]:
    """The experiments of HEAD whose `file` differs from `params` in nothing but the seeds, one for each seed.

    Where there is no Git, or no such experiment, or anything else in the way, there are none, as in `head`.
    """
    try:
        from dvc.repo import Repo
        from dvc.repo.experiments.utils import exp_refs_by_baseline

        from pipeline.report.seeds import Repeat, same_but_for_seeds, seeds

        found: dict[tuple[int, int], Repeat] = {}
        with Repo() as repo:
            for refs in exp_refs_by_baseline(repo.scm, {repo.scm.get_rev()}).values():
                for revision in (repo.scm.get_ref(str(ref)) for ref in sorted(refs, key=str)):
                    theirs = parameters(repo, revision, file)
                    if theirs is None or not same_but_for_seeds(theirs, params) or seeds(theirs) == seeds(params):
                        continue
                    written = {
                        path: kept for path, kept in outputs(repo, revision).items() if path.is_relative_to(root)
                    }
                    files = {path.relative_to(root): kept for path, kept in written.items()}
                    found.setdefault(seeds(theirs), Repeat(seeds(theirs), files))
        return [found[each] for each in sorted(found)]
    except Exception:
        return []


def outputs(repo: Repo, revision: str) -> dict[Path, Path]:
    """What the stages of a revision wrote, and where DVC's cache has it, if it still has."""
    from dvc.repo.brancher import switch

    with switch(repo, revision):
        outs = [out for out in repo.index.outs if out.hash_info]
        return {Path(out.def_path): Path(out.cache.oid_to_path(out.hash_info.value)) for out in outs}


def parameters(repo: Repo, revision: str, file: Path) -> Params | None:
    """None where they are none that today's schema knows."""
    from pipeline.errors import ParamsError

    try:
        return parse(repo.scm.get_fs(revision).open(file.as_posix(), encoding="utf-8").read(), file)
    except (OSError, ParamsError):
        return None
