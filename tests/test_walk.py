"""From an export of a labelling tool to a file to deploy, by the lines of the README."""

import json
import shlex

import pytest
from doc_examples import REPO, find_examples
from PIL import Image

from minorkey.world import render

QUICK = ["training.steps=2", "training.batch_size=2", "transform.crop=[64,64]"]


def export(root):
    """Scenes of the world with a road and a sky as polygons, as CVAT exports COCO."""
    categories = [{"id": n, "name": name, "supercategory": ""} for n, name in enumerate(("road", "sky"), 1)]
    for split, seed in (("train", 1), ("val", 2)):
        images, annotations = [], []
        (root / "images" / split).mkdir(parents=True)
        for number in range(2):
            picture = Image.fromarray(render(seed, number, "clear").image)
            picture.save(root / "images" / split / f"{number}.png")
            width, height = picture.size
            images.append({"id": number, "width": width, "height": height, "file_name": f"{number}.png"})
            for category, top, bottom in ((1, height // 2, height), (2, 0, height // 4)):
                corners = [0, top, width, top, width, bottom, 0, bottom]
                box = [0, top, width, bottom - top]
                annotations.append(
                    {
                        "id": len(annotations) + 1, "image_id": number, "category_id": category, "iscrowd": 0,
                        "segmentation": [corners], "bbox": box, "area": box[2] * box[3],
                    }
                )  # fmt: skip
        document = {"images": images, "annotations": annotations, "categories": categories}
        (root / "annotations").mkdir(exist_ok=True)
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(document))


def lines_of_the_readme():
    examples = find_examples((REPO / "README.md").read_text(encoding="utf-8"))
    (walk,) = [example for example in examples if example.skip and "test_walk.py" in example.skip]
    return [shlex.split(line, comments=True) for line in walk.code.splitlines()]


@pytest.mark.thorough
def test_from_an_export_to_a_deployed_file(command, backbone_folder, tmp_path, monkeypatch):
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    export(tmp_path / "my-export")
    (tmp_path / "photos").symlink_to(tmp_path / "my-export" / "images" / "val")
    lines = lines_of_the_readme()
    assert len(lines) == 5
    # The built-in backbone, and images of any size, are deployed by docs/deployment.md.
    quick = {"train": [*QUICK, f"backbone.name={backbone_folder}"], "export": ["--size", "128x256"]}
    for program, verb, *rest in lines:
        assert program == "minorkey"
        code, said = command(verb, *rest, *quick.get(verb, ()))
        assert code == 0, said
    assert (tmp_path / "mine-onnx" / "model.onnx").is_file()
    classes = json.loads((tmp_path / "labelled" / "classes.json").read_text())
    assert list(classes.values()) == ["background", "road", "sky"]
    (judged,) = (tmp_path / "mine-onnx-evaluations").glob("*/metrics.json")
    of_the_run = json.loads((tmp_path / "runs" / "mine" / "metrics.json").read_text())
    scores = [content["domains"][0]["score"] for content in (json.loads(judged.read_text()), of_the_run)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-3)
