"""ssl-pipe scratch"""

from stages.command import PARAMS, ROOT, File, Sets, read


def scratch(sets: Sets = [], params: File = PARAMS) -> None:  # noqa: B006 - Typer reads it, nobody writes it
    """Draw the random encoder that every run `from: scratch` starts from, and that probes are compared with.

    ssl-pipe scratch -S encoder.name=resnet18_small
    """
    p = read(params, sets)

    from torch import nn

    from pipeline import files, seed
    from pipeline.data.shards import ShardSet
    from pipeline.nets.branch import Branch
    from pipeline.nets.encoder import build_encoder
    from pipeline.nets.model import parameters, save_model

    page = ShardSet.open(ROOT / "shards" / "labelled").manifest
    seed.everything(p.seed, "scratch")
    branch = Branch(build_encoder(p.encoder, page.channels, page.size, page.mean, page.std), nn.Identity())
    about = {"kind": "encoder", "stage": "scratch", "method": None, "from": None, "seed": p.seed, "labels": 0}
    about |= {"parameters": parameters(branch), **page.about_images()}
    with files.publish(ROOT / "models" / "scratch") as folder:
        save_model(folder, branch, about)
