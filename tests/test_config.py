import pytest
import yaml
from pydantic import ValidationError

from minorkey.adapters.specs import METHODS
from minorkey.config import RunConfig, load_config, parse_overrides, presets, resolve, save_config
from minorkey.data.classes import FROM_SOURCE
from minorkey.errors import ConfigError
from minorkey.labels import label_space
from minorkey.models.segmenters import SEGMENTATION_HEADS
from minorkey.runs.load import protocol_of
from minorkey.runs.train import refuse_in_vain

MINIMAL = {"source": "world:clear"}


@pytest.mark.parametrize("name", presets())
def test_every_preset_is_valid_and_survives_saving(name, tmp_path):
    config = resolve(name)
    save_config(config, tmp_path / "config.yaml")
    assert load_config(tmp_path / "config.yaml") == config
    if config.label_space == FROM_SOURCE:  # the data names its classes, which is not at hand
        config = config.model_copy(update={"label_space": "cat, dog"})
    label_space(config.label_space)
    protocol_of(config)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", presets())
def test_every_preset_has_a_rate_for_every_method(name, method):
    config = resolve(name)
    assert config.training.backbone_rate(method) > 0


@pytest.mark.parametrize("head", SEGMENTATION_HEADS.shipped)
def test_every_head_can_be_named(head):
    assert resolve(None, MINIMAL | {"head": head}).head.name == head


def test_overrides_replace_leaves_and_keep_the_rest():
    demo = resolve("demo")
    changed = resolve("demo", {"training": {"steps": 7}, "method": "sora", "source": ["world:fog"]})
    assert changed.training == demo.training.model_copy(update={"steps": 7})
    assert changed.method.name == "soma"
    assert [source.data for source in changed.source] == ["world:fog"]
    assert changed.head == demo.head


def test_a_bare_name_keeps_the_options_beside_it(tmp_path):
    (tmp_path / "mine.yaml").write_text("source: world\nmethod: {name: lora, rank: 3}\n")
    method = resolve(tmp_path / "mine.yaml", {"method": "pissa"}).method
    assert (method.name, method.rank) == ("pissa", 3)


def test_arguments_are_nested_yaml():
    arguments = ["training.steps=10", "training.betas=[0.8, 0.9]", "method=lora", "method.rank=2", "seed=3"]
    assert parse_overrides(arguments) == {
        "training": {"steps": 10, "betas": [0.8, 0.9]},
        "method": {"name": "lora", "rank": 2},
        "seed": 3,
    }


@pytest.mark.parametrize("argument", ["seed=010", "data_root=/data/set #2", "x=[1, 2] # both"])
def test_what_yaml_would_read_otherwise_is_refused(argument):
    with pytest.raises(ConfigError, match="is read as .*; put it in quotes"):
        parse_overrides([argument])


def test_arguments_add_up_and_a_whole_value_replaces_another():
    label_space = "label_space.road=[1, 2, 3]", "label_space.sky=[4, 5, 6]"
    assert parse_overrides(label_space) == {"label_space": {"road": [1, 2, 3], "sky": [4, 5, 6]}}
    assert parse_overrides([*label_space, "label_space={soil: [0, 0, 0]}"]) == {"label_space": {"soil": [0, 0, 0]}}
    assert parse_overrides(["data_root='/data/set #2'"]) == {"data_root": "/data/set #2"}


def test_a_number_takes_the_place_of_a_measured_batch(tmp_path):
    (tmp_path / "mine.yaml").write_text("source: world:clear\nunseen: world:night\ntraining: {batch_size: auto}\n")
    assert resolve(tmp_path / "mine.yaml").training.fit_batch
    given = resolve(tmp_path / "mine.yaml", {"training": {"batch_size": 2}}).training
    assert (given.batch_size, given.fit_batch) == (2, False)


@pytest.mark.parametrize(
    ("preset", "transform"),
    [
        *((preset, {"grey": 0.5}) for preset in ("demo_quick", "world_weather")),
        *((preset, {"crop_area": [0.1, 0.2]}) for preset in ("demo_quick", "world_weather")),
    ],
)
def test_what_other_tasks_take_of_an_image_is_refused(preset, transform):
    (name,) = transform
    with pytest.raises(ConfigError, match=f"transform.{name} is for another task; leave it out"):
        resolve(preset, {"transform": transform})


@pytest.mark.parametrize("preset", ["demo_quick", "pacs"])
def test_how_many_boxes_count_is_for_detection(preset):
    with pytest.raises(ConfigError, match=r"evaluation.detections is for detection"):
        resolve(preset, {"evaluation": {"detections": 5}})


@pytest.mark.parametrize("betas", [[0.9, 1.0], [1.5, 0.9], [-0.1, 0.9]])
def test_what_adam_cannot_average_is_refused(betas):
    with pytest.raises(ConfigError, match=r"training\.betas"):
        resolve("demo", {"training": {"betas": betas}})


def test_a_configuration_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        resolve("demo").seed = 3


def test_a_source_is_needed():
    with pytest.raises(ConfigError, match="'source' is not set; give it in the preset or as source=value"):
        resolve(None, {})


def test_file_that_is_no_mapping(tmp_path):
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(ConfigError, match="holds no mapping of keys to values"):
        resolve(tmp_path / "list.yaml")


@pytest.mark.parametrize(("content", "expected"), [("a: [1", "not valid YAML at line"), (None, "cannot read")])
def test_file_that_cannot_be_read(tmp_path, content, expected):
    file = tmp_path / "broken.yaml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError, match=expected):
        resolve(file)


def test_stride_without_window():
    with pytest.raises(ConfigError, match="evaluation is .*: stride without window; give both"):
        resolve(None, MINIMAL | {"evaluation": {"stride": [4, 4]}})


def test_a_stride_that_leaves_pixels_out():
    with pytest.raises(ConfigError, match="stride 8x4 is larger than window 4x4: pixels would be missed"):
        resolve(None, MINIMAL | {"evaluation": {"window": [4, 4], "stride": [8, 4]}})


def test_protocol_fills_in_the_stride():
    protocol = protocol_of(resolve(None, MINIMAL | {"evaluation": {"window": [96, 96]}}))
    assert protocol.stride == (64, 64)
    assert protocol.weights == "last"


def test_protocol_says_which_weights():
    training = {"weight_ema_from": 5}
    assert protocol_of(resolve(None, MINIMAL | {"training": training})).weights == "ema"
    assert protocol_of(resolve(None, MINIMAL | {"training": training | {"choose": "last"}})).weights == "last"
    assert protocol_of(resolve(None, MINIMAL | {"training": {"choose": "oracle"}})).weights == "oracle"


def test_options_have_what_the_file_has():
    assert set(resolve("demo").model_dump()) == set(RunConfig.model_fields)


FORMER = {
    "training": {"weight_ema_from": 3, "weight_ema_momentum": 0.2},
    "self_training": {"threshold": 0.9, "class_mix": True},
    "box_self_training": {"threshold": 0.3, "warmup": 2},
}


@pytest.mark.parametrize(("task", "expected"), [("segmentation", (0.9, 0)), ("detection", (0.3, 2))])
def test_a_file_of_an_earlier_version_is_read(tmp_path, task, expected):
    space = {"label_space": "weather7" if task == "detection" else "cityscapes19"}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(MINIMAL | FORMER | space | {"task": task}))
    config = resolve(tmp_path / "run.yaml", {"training": {"average_momentum": 0.5}} if task == "detection" else {})
    assert config.training.average_momentum == pytest.approx(0.5 if task == "detection" else 0.8)
    assert (config.self_training.threshold, config.self_training.warmup) == expected
    assert "box_self_training" not in config.model_dump()


def test_a_metric_that_is_mistyped_is_told_the_closest_one():
    with pytest.raises(ConfigError, match=r"unknown metric 'accurcy'; did you mean 'accuracy'\?"):
        resolve(None, MINIMAL | {"task": "classification", "evaluation": {"metric": "accurcy"}})


def test_a_former_section_is_read_for_the_task_that_is_asked_for(tmp_path):
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(MINIMAL | {"box_self_training": {"threshold": 0.3}}))
    assert resolve(tmp_path / "run.yaml", {"task": "detection"}).self_training.threshold == 0.3


def test_former_keys_are_refused_beside_a_file():
    with pytest.raises(ConfigError, match="unknown key 'box_self_training'; did you mean 'self_training'?"):
        resolve(None, MINIMAL | {"box_self_training": {"threshold": 0.3}})
    with pytest.raises(ConfigError, match="weight_ema_momentum is now average_momentum, the share that is kept"):
        resolve(None, MINIMAL | {"training": {"weight_ema_momentum": 0.3}})


def test_self_training_has_the_options_and_defaults_of_its_task(tmp_path):
    save_config(resolve(None, MINIMAL), tmp_path / "pixels.yaml")
    pixels = load_config(tmp_path / "pixels.yaml")
    boxes = resolve(tmp_path / "pixels.yaml", {"task": "detection", "head": "rt_detr_v2"})
    assert (pixels.self_training.threshold, pixels.self_training.masking.patch) == (0.968, 64)
    assert (boxes.self_training.threshold, boxes.self_training.masking) == (0.5, None)
    with pytest.raises(ConfigError, match=r"did you mean 'self_training\.class_mix'\?"):
        resolve(None, MINIMAL | {"self_training": {"clas_mix": False}})
    with pytest.raises(ConfigError, match=r"unknown key 'self_training\.class_mix'"):
        resolve(None, MINIMAL | {"task": "detection", "self_training": {"class_mix": False}})


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            "source: world:clear\ntask: detecton\nself_training: {score: 0.5}",
            "task is 'detecton'; did you mean 'detection'",
        ),
        ("source: world:clear\nregime: mine.Sure\nregime_options: {weight: 1}", "regime is 'mine.Sure'"),
    ],
)
def test_a_wrong_name_is_told_before_the_options_that_it_decides(content, expected, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(content)
    with pytest.raises(ConfigError, match=expected):
        resolve(file)


def test_blends_need_two_images_at_a_time():
    config = resolve("pacs", {"head": {"mixup": 0.2}, "training": {"batch_size": 1, "accumulate": 4}})
    with pytest.raises(ConfigError, match="but head.mixup blends images of a batch; give it 2 or more"):
        refuse_in_vain(config)


def test_each_of_several_processes_needs_two_to_blend(monkeypatch):
    config = resolve("pacs", {"head": {"mixup": 0.2}, "training": {"batch_size": 6}})
    refuse_in_vain(config)
    monkeypatch.setattr("minorkey.runs.train.process_count", lambda: 4)
    with pytest.raises(ConfigError, match="of which each of 4 processes has its own; give it 8 or more"):
        refuse_in_vain(config)


def test_nothing_can_be_watched_without_unseen_domains():
    config = resolve("demo_quick", {"unseen": [], "training": {"watch": 3}})
    with pytest.raises(ConfigError, match="training.watch judges on unseen domains, and none is named"):
        refuse_in_vain(config)


def test_an_average_is_kept_in_the_last_round():
    asked = {"steps": 4, "weight_ema_from": 3, "choose": "ema", "warmup": 0}
    values = {"target": "world:night", "regime": "transda", "training": asked}
    refuse_in_vain(resolve("demo_quick", values | {"transda": {"rounds": 1, "warmup_steps": 2}}))
    with pytest.raises(ConfigError, match="no average is kept in the last round, of 2 steps"):
        refuse_in_vain(resolve("demo_quick", values | {"transda": {"rounds": 0, "warmup_steps": 2}}))
