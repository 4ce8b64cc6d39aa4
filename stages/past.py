"""What the last commit has of the scores."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
        from dvc.repo.brancher import switch

        from pipeline.report.since import Past

        with Repo() as repo, switch(repo, "HEAD") as revision:
            found: dict[str, dict[str, str]] = {}
            for out in repo.index.outs:
                path = PurePosixPath(out.def_path)
                if path.parent.parent == PurePosixPath(scores.as_posix()) and path.name in FILES and out.hash_info:
                    files = found.setdefault(path.parent.name, {})
                    kept = Path(out.cache.oid_to_path(out.hash_info.value))
                    if kept.exists():
                        files[path.name] = kept.read_text()
            made = repo.scm.resolve_commit(revision).commit_datetime
            return Past(revision[:7], made.date().isoformat(), found)
    except Exception:  # whatever it is: the numbers of today are the report
        return None
