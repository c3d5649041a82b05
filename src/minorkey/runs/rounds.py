"""The rounds of a regime (TransDA, arXiv 2203.07988) as one training that resumes: warm-up, pseudo-labels, more rounds.

Every round starts from the pretrained backbone and is a run folder of its own, the last one that of the run itself.
"""

from dataclasses import replace
from pathlib import Path

from rich.console import Console

from minorkey.config import RunConfig, load_config, save_config
from minorkey.data.readers import Reader, label_folders, pseudo_label_file
from minorkey.errors import DataError
from minorkey.evaluation.scores import TrainingCost
from minorkey.runs.fit import fit
from minorkey.runs.load import load
from minorkey.runs.material import Material
from minorkey.system.processes import from_main, process_count, process_index, together
from minorkey.system.progress import Reporter
from minorkey.system.run_folder import RunFolder
from minorkey.tasks.predictor import Predictor


def fit_in_rounds(config: RunConfig, folder: RunFolder, material: Material, console: Console) -> None:
    """Train the warm-up round and the rounds after it; what is finished is not done again.

    Raises:
        MinorkeyError: as `fit`.
    """
    last = len(config.regime_class.rounds(config)) - 1
    places = [*(folder.earlier_round(number) for number in range(last)), folder]
    cost: TrainingCost | None = None
    for number, place in enumerate(places):
        labels = place.pseudo_labels if number else None
        if not from_main(place.cost.is_file):
            own = round_config(config, number)
            if place is not folder:
                from_main(lambda place=place, own=own: save_config(own, place.config))  # type: ignore[misc]
            if labels is not None:
                write_pseudo_labels(places[number - 1], material, labels, console)
            kind = "with the pseudo-labels of the one before" if number else "warm-up"
            console.print(f"round {number} of {last}, {kind}", highlight=False)
            fit(own, place, replace(material, pseudo_labels=labels), console, cost)
        cost = from_main(lambda place=place: TrainingCost.read(place.cost))  # type: ignore[misc]


def round_config(config: RunConfig, number: int) -> RunConfig:
    """The configuration of a round: of all but the last, the teacher's weights are kept, since it labels the target."""
    rounds = config.regime_class.rounds(config)
    changes = dict(rounds[number])
    if number < len(rounds) - 1:
        changes["choose"] = "teacher" if config.teacher_learns else "last"
    return config.model_copy(update={"training": config.training.model_copy(update=changes)})


def write_pseudo_labels(run: RunFolder, material: Material, out: Path, console: Console) -> None:
    """Label every target image with the weights that a round deployed: plain argmax, under the test protocol.

    Processes share the images out; those that are labelled already are left as they are. An image that cannot be read
    is an error or, with `training.skip_broken`, named, and gets no labels.

    Raises:
        DataError: the round has not ended, or an image cannot be read.
        StorageError: a label image cannot be written.
    """
    assert material.targets is not None
    readers = material.targets.readers
    with together():
        options = load_config(run.config).training
        predictor = load(run.path, device=options.device)
    places = zip(readers, label_folders(readers, out), strict=True)
    images = [(reader, index, place) for reader, place in places for index in range(len(reader))]
    mine = images[process_index() :: process_count()]
    with Reporter(console, "pseudo-labels", len(mine), unit="image") as reporter, together():
        for done, (reader, index, place) in enumerate(mine, start=1):
            file = pseudo_label_file(place, reader.key(index))
            try:
                if not file.is_file():
                    _label(predictor, reader, index, file)
            except DataError as error:
                if not options.skip_broken:
                    raise
                console.print(f"without pseudo-labels: {error}", highlight=False, soft_wrap=True)
            reporter.update(done, reader.key(index))


def _label(predictor: Predictor, reader: Reader, index: int, file: Path) -> None:
    predictor.in_domain(reader.domain).predict_one(reader[index].image).save(file)
