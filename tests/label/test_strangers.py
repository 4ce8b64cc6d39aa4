"""Labels that no round of params.yaml asks for any more."""

from pipeline.label.strangers import sweep
from pipeline.params import Params


def test_only_labels_of_a_round_s_own_teachers_stay(tmp_path):
    for name in ("1/finetune", "1/baseline", "1/student-9", "2/student-1", "3/finetune"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "summary.json").write_text("{}")
    params = Params.model_validate(
        {
            "rounds": {"1": {"teacher": "finetune"}, "2": {"teacher": "student-1"}},
            "teachers": {"beside": {"round": "1", "teacher": "baseline"}},
        }
    )
    sweep(tmp_path, params)
    left = {str(path.parent.relative_to(tmp_path)) for path in tmp_path.rglob("summary.json")}
    assert left == {"1/finetune", "1/baseline", "2/student-1"}


def test_the_folder_is_made_for_a_graph_without_rounds(tmp_path):
    sweep(tmp_path / "labels", Params())
    assert (tmp_path / "labels").is_dir()
