from copy import deepcopy

import pytest
import torch
from students import Student, assert_same, make_student, move, random_batch, snapshot
from torch import nn

from minorkey.models.build import backbone_of
from minorkey.models.trained import trained_tensors
from minorkey.regimes.teachers import TEACHERS, Anchor, TeacherOptions, momentum_at
from minorkey.tasks.segmentation.task import Segmentation

ATOL = 1e-6
"""Largest difference of two teachers' probabilities: the same sums, in memory that is laid out in another way."""

IMAGES = random_batch(7).pixel_values


def _see(teacher, images=IMAGES) -> torch.Tensor:
    with teacher.installed() as network:
        return Segmentation().probabilities(network, images)


def _tensors(teacher) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in teacher.state_dict().items()}


def _trained(student: Student) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in student.trained.items()}


def _taught(student: Student, name: str, steps: int = 3, **options):
    """A teacher after some steps of its student, with passes over target images in between."""
    teacher = student.teacher(name, **({"momentum": 0.7, "ramp": False} | options))
    for step in range(1, steps + 1):
        _see(teacher, random_batch(10 + step).pixel_values)
        student.model(pixel_values=random_batch(20 + step).pixel_values)
        move(student.trained.values(), seed=step)
        teacher.update(step)
    return teacher


@pytest.mark.parametrize("name", ["ema", "adapter_ema"])
@pytest.mark.parametrize("ramp", [False, True])
def test_average_in_closed_form(name, ramp):
    """theta_bar_T = prod(m) theta_0 + sum_t (1 - m_t) prod_(s > t) m_s theta_t."""
    student, momentum = make_student("lora"), 0.7
    teacher = student.teacher(name, momentum=momentum, ramp=ramp)
    history = [_trained(student)]
    for step in range(1, 6):
        move(student.trained.values(), seed=step)
        teacher.update(step)
        history.append(_trained(student))
    kept = [min(momentum, t / (t + 1)) if ramp else momentum for t in range(1, 6)]
    shares = [1.0] + [1 - m for m in kept]
    for t, m in enumerate(kept, start=1):
        shares[:t] = [share * m for share in shares[:t]]
    assert sum(shares) == pytest.approx(1)
    assert not ramp or shares[:3] == pytest.approx([shares[0]] * 3)  # even as long as the ramp lasts
    found = teacher.state_dict()
    for name in history[0]:
        expected = sum(share * values[name].double() for share, values in zip(shares, history, strict=True))
        torch.testing.assert_close(found[name].detach().double(), expected, rtol=1e-6, atol=1e-6)


def test_the_ramp_ends_where_the_momentum_is_reached():
    options = TeacherOptions(momentum=0.999)
    assert [momentum_at(step, options) for step in (1, 3, 999, 5000)] == pytest.approx([0.5, 0.75, 0.999, 0.999])


@pytest.mark.parametrize("buffers", ["target", "student"])
@pytest.mark.parametrize(("method", "backbone"), [("soma", "dinov2"), ("lora", "swin"), ("full", "resnet")])
def test_both_averages_are_the_same_teacher(method, backbone, buffers):
    """A second network, or the averages in place of the student's own."""
    ema, adapter_ema = (_taught(make_student(method, backbone), n, buffers=buffers) for n in ("ema", "adapter_ema"))
    assert ema.network is not ema.student
    first, second = _see(ema), _see(adapter_ema)
    assert (first - second).abs().max() < ATOL
    expected, actual = ema.trained_tensors(), adapter_ema.trained_tensors()
    assert expected.keys() == actual.keys()
    assert all((expected[k].double() - actual[k].double()).abs().max() < ATOL for k in expected)


@pytest.mark.parametrize("name", TEACHERS.shipped)
@pytest.mark.parametrize("method", ["soma", "full"])
def test_what_it_deploys_is_what_it_says(name, method):
    """The trained tensors of a teacher, put into a student, give what the teacher gives, in evaluation mode."""
    student = make_student(method)
    teacher = _taught(student, name)
    with teacher.installed() as network:
        network.eval()
        expected = Segmentation().probabilities(network, IMAGES)
    own, chosen = trained_tensors(student.attached, student.model), teacher.trained_tensors()
    assert chosen.keys() == own.keys()
    with torch.no_grad():
        for key, value in own.items():
            value.copy_(chosen[key])
        student.model.eval()
        assert (Segmentation().probabilities(student.model, IMAGES) - expected).abs().max() < ATOL


def _held(teacher) -> int:
    """Bytes that no student holds."""
    student = getattr(teacher, "student", teacher.network)
    theirs = {value.data_ptr() for value in student.state_dict().values()}
    networks = {} if teacher.network is student else teacher.network.state_dict()
    own = {value.data_ptr(): value.nbytes for value in [*teacher.state_dict().values(), *networks.values()]}
    return sum(size for place, size in own.items() if place not in theirs)


def test_memory_of_the_teachers():
    def held(name):
        student = make_student("lora")
        everything = sum(value.nbytes for value in student.model.state_dict().values())
        trained = sum(value.nbytes for value in student.trained.values())
        inside = sum(p.nbytes for p in student.attached.trained_parameters().values())
        norms = [m for m in student.model.modules() if isinstance(m, nn.BatchNorm2d)]
        statistics = sum(buffer.nbytes for norm in norms for buffer in norm.buffers())
        return _held(student.teacher(name)), everything, trained, inside, statistics

    size, everything, *_ = held("ema")
    assert size >= 0.99 * everything
    size, everything, trained, inside, statistics = held("adapter_ema")
    assert size == trained + statistics
    assert inside < 0.2 * (everything - trained), "what is averaged of the backbone is small beside it"
    assert held("base")[0] == inside + statistics
    assert held("self")[0] == statistics


@pytest.mark.parametrize(("method", "backbone"), [("soma", "dinov2"), ("lora", "swin"), ("soma", "resnet")])
def test_base_has_the_pretrained_features(method, backbone):
    untouched = backbone_of(make_student("frozen", backbone).model).eval()
    student = make_student(method, backbone)
    teacher = _taught(student, "base")
    with teacher.installed() as network, torch.no_grad():
        found, expected = (b(IMAGES).feature_maps for b in (backbone_of(network), untouched))
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours - theirs).abs().max() < 1e-5 * theirs.abs().max()
    with torch.no_grad():
        moved = backbone_of(student.model).eval()(IMAGES).feature_maps
    assert (moved[-1] - expected[-1]).abs().max() > 1e-3 * expected[-1].abs().max()


@pytest.mark.parametrize("method", ["soma", "full"])
def test_an_anchor_stays_where_it_was_with_its_statistics(method):
    untouched = backbone_of(make_student("frozen", "resnet").model).eval()
    student = make_student(method, "resnet")
    anchor = Anchor(student.model, student.attached)
    for step in range(3):
        student.model(pixel_values=random_batch(20 + step).pixel_values)
        move(student.trained.values(), seed=step)
        with anchor.installed() as network, torch.no_grad():
            found, expected = (b(IMAGES).feature_maps[-1] for b in (backbone_of(network), untouched))
        assert (found - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.parametrize("method", ["lora", "full"])
def test_self_is_the_student(method):
    student = make_student(method, "resnet")
    teacher = _taught(student, "self")
    with torch.no_grad():
        student.model.eval()
        for norm in teacher._norms.values():
            norm.train()
        expected = Segmentation().probabilities(deepcopy(student.model), IMAGES)
    assert torch.equal(_see(teacher), expected)


def _modes(model: nn.Module) -> dict[str, bool]:
    return {name: module.training for name, module in model.named_modules()}


@pytest.mark.parametrize("name", TEACHERS.shipped)
@pytest.mark.parametrize(("method", "error"), [("soma", None), ("full", ZeroDivisionError)])
def test_the_student_is_as_it_was_after_the_block(name, method, error):
    student = make_student(method, "resnet")
    teacher = _taught(student, name)
    student.model.decode_head.eval()  # a mode of its own
    before, modes, memory = snapshot(student.model), _modes(student.model), _places(student.model)
    try:
        with teacher.installed() as network:
            Segmentation().probabilities(network, IMAGES)
            if error is not None:
                raise error
    except ZeroDivisionError:
        assert error is not None
    assert_same(snapshot(student.model), before)
    assert _modes(student.model) == modes
    assert _places(student.model) == memory
    assert torch.is_grad_enabled()
    assert all(parameter.requires_grad for parameter in student.attached.trained_parameters().values())


def _places(model: nn.Module) -> dict[str, int]:
    return {name: value.data_ptr() for name, value in model.state_dict().items()}


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("ema", "soma"),
        ("ema", "full"),
        ("adapter_ema", "soma"),
        ("adapter_ema", "full"),
        ("self", "full"),
        ("base", "soma"),
    ],
)
def test_statistics_are_moved_by_target_images_alone(name, method):
    """Against momentum 0.1 from 0 and 1, by hand, at the first batch norm of the head and, with `full`, of all."""
    student = make_student(method, "resnet")
    place = "backbone.backbone.embedder.embedder.normalization" if method == "full" else "decode_head.psp_modules.0.1"
    place += "" if method == "full" else ".batch_norm"
    teacher, seen = student.teacher(name), []
    handle = teacher.network.get_submodule(place).register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0]))
    for index in range(3):
        _see(teacher, random_batch(10 + index).pixel_values)
    handle.remove()
    mean, variance = torch.zeros(seen[0].shape[1]), torch.ones(seen[0].shape[1])
    for values in seen:
        mean = 0.9 * mean + 0.1 * values.mean((0, 2, 3))
        variance = 0.9 * variance + 0.1 * values.transpose(0, 1).flatten(1).var(1)
    student.model(pixel_values=IMAGES)  # moves the student's own
    state = teacher.state_dict()
    torch.testing.assert_close(state[f"{place}.running_mean"], mean)
    torch.testing.assert_close(state[f"{place}.running_var"], variance)
    assert int(state[f"{place}.num_batches_tracked"]) == 3
    assert int(student.model.get_submodule(place).num_batches_tracked) == 1
    frozen = [key for key in state if "running" in key and key.startswith("backbone")]
    assert bool(frozen) == (method == "full")


@pytest.mark.parametrize("name", TEACHERS.shipped)
def test_statistics_of_the_student(name):
    """They are the student's of the last step, and a pass of the teacher moves none."""
    student = make_student("full", "resnet")
    teacher = _taught(student, name, buffers="student")
    before = {key: value for key, value in snapshot(student.model).items() if "running" in key}
    with teacher.installed() as network:
        assert not any(module.training for module in network.modules())
        Segmentation().probabilities(network, IMAGES)
        inside = {key: value for key, value in snapshot(network).items() if "running" in key}
    assert_same(inside, before)
    assert not [key for key in teacher.state_dict() if "running" in key]


@pytest.mark.parametrize("buffers", ["target", "student"])
@pytest.mark.parametrize("name", TEACHERS.shipped)
def test_state_survives(name, buffers):
    """A fresh teacher with the state, around a student with the student's, says the same bit for bit."""
    student = make_student("lora")
    teacher = _taught(student, name, buffers=buffers)
    state, weights = _tensors(teacher), snapshot(student.model)
    other = make_student("lora")
    again = other.teacher(name, momentum=0.7, ramp=False, buffers=buffers)
    other.model.load_state_dict(weights)
    again.load_state_dict(state)
    move(student.trained.values(), seed=50)
    move(other.trained.values(), seed=50)
    for _ in range(2):
        assert torch.equal(_see(again), _see(teacher))
        teacher.update(4)
        again.update(4)
    assert_same(_tensors(again), _tensors(teacher))


@pytest.mark.parametrize("name", TEACHERS.shipped)
def test_a_pass_between_forward_and_backward_does_not_disturb_the_gradients(name):
    def gradients(interrupted: bool):
        student = make_student("full", "resnet")
        teacher = _taught(student, name)
        loss = Segmentation().loss(student.model, random_batch(3))["segmentation"]
        if interrupted:
            _see(teacher)
        loss.backward()
        return {key: parameter.grad for key, parameter in student.trained.items() if parameter.grad is not None}

    assert_same(gradients(interrupted=True), gradients(interrupted=False))


@pytest.mark.parametrize("buffers", ["target", "student"])
@pytest.mark.parametrize("name", TEACHERS.shipped)
def test_a_step_does_not_walk_through_the_network(name, buffers, monkeypatch):
    teacher = make_student("lora", "resnet").teacher(name, buffers=buffers)

    def walked(*_, **__):
        raise AssertionError("what a step needs of the network is looked up once")

    for walk in ("named_modules", "named_parameters", "named_buffers", "state_dict"):
        monkeypatch.setattr(nn.Module, walk, walked)
    with teacher.installed(), teacher.noting():
        pass
    teacher.update(1)
