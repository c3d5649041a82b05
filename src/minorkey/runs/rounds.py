"""The rounds of a regime (TransDA, arXiv 2203.07988) as one training that resumes: warm-up, pseudo-labels, more rounds.

Every round starts from the pretrained backbone and is a run folder of its own, the last one that of the run itself.
"""

from dataclasses import replace

from rich.console import Console

from minorkey.config import RunConfig, save_config
from minorkey.evaluation.scores import TrainingCost
from minorkey.runs.fit import fit
from minorkey.runs.material import Material
from minorkey.runs.pseudo_labelling import write_pseudo_labels
from minorkey.system.processes import from_main
from minorkey.system.run_folder import RunFolder


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
            fit(
                own,
                place,
                replace(material, pseudo_labels=labels),
                console,
                cost,
                saved=own if place is not folder else config,
            )
        cost = from_main(lambda place=place: TrainingCost.read(place.cost))  # type: ignore[misc]


def round_config(config: RunConfig, number: int) -> RunConfig:
    """The configuration of a round: of all but the last, the teacher's weights are kept, since it labels the target."""
    rounds = config.regime_class.rounds(config)
    changes = dict(rounds[number])
    if number < len(rounds) - 1:
        changes["choose"] = "teacher" if config.teacher_learns else "last"
    return config.model_copy(update={"training": config.training.model_copy(update=changes)})
