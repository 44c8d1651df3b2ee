"""Whole training runs, described by settings that a YAML file can hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import torch

from cxr_models.data.detection import DetectionDataset
from cxr_models.data.tables import read_covid, read_figure1, read_nih, read_nih_boxes, read_openist
from cxr_models.networks.dlnet import DLNet
from cxr_models.networks.lsnet import LSNet
from cxr_models.training.detection import train_dlnet
from cxr_models.training.lungs import train_lsnet
from cxr_models.training.pseudo_masks import add_lung_masks, take_heart_out
from cxr_models.training.refinement import RefinementSettings, refine_targets
from neural.imagenet import imagenet_file, load_imagenet
from neural.training import TrainingSettings

Report = Callable[[str], None]


@dataclass(frozen=True)
class Start:
    """Where the weights of a run start; the first that is given counts, and none means random numbers.

    Attributes:
        checkpoint: ``best.pt`` of an earlier run of the same variant, at any image size.
        imagenet: ``package`` (an installed weight package, :mod:`neural.imagenet`) or the path of torchvision's file.
    """

    checkpoint: Path | None = None
    imagenet: str | None = None


@dataclass(frozen=True)
class LungRun:
    """Training of LSNet.

    Attributes:
        data: folder with ``openist.csv`` and ``covid.csv``.
        variant: ``lsnet`` or ``lsnet-light``.
        size: side of the images, pixels, a multiple of 32.
        augmentation: ``plain`` (LSNet) or ``abnormal`` (LSNet-Aug).
        teacher: None for a first round on OpenIST alone; for a second round the first one's checkpoint, whose masks the
            NIH negatives get, and which takes the heart out of the COVID-19 masks.
        start: see :class:`Start`.
        training: see :class:`neural.training.TrainingSettings`.
    """

    data: Path
    variant: str = "lsnet-light"
    size: int = 448
    augmentation: str = "abnormal"
    teacher: Path | None = None
    start: Start = field(default_factory=Start)
    training: TrainingSettings = field(default_factory=TrainingSettings)


@dataclass(frozen=True)
class DetectionRun:
    """Training of DLNet, one stage.

    Attributes:
        data: folder with ``nih.csv``, ``nih_rsna_boxes_1024px.csv``, ``covid.csv``, ``openist.csv``, ``figure1.csv``.
        variant: ``dlnet`` or ``dlnet-light``.
        size: side of the images, pixels, a multiple of 32.
        implants: share of the normal images with lung masks that become positives in an epoch.
        lungs: checkpoint of an ``lsnet-light`` run at 224 pixels that segments the negatives without a mask, or None.
        localisation_weight: lambda of the paper's equation 1.
        refinement: None for the first stage; for the second, how the targets are refined with the start's weights.
        start: see :class:`Start`; the second stage starts from the first one's checkpoint.
        training: see :class:`neural.training.TrainingSettings`.
    """

    data: Path
    variant: str = "dlnet-light"
    size: int = 448
    implants: float = 0.5
    lungs: Path | None = None
    localisation_weight: float = 1e-5
    refinement: RefinementSettings | None = None
    start: Start = field(default_factory=Start)
    training: TrainingSettings = field(default_factory=TrainingSettings)


#: The side that the runs for teachers are trained at.
_TEACHER_SIZE = 224


def run_lungs(run: LungRun, folder: Path, report: Report = lambda line: None) -> LSNet:
    """Train one round of LSNet; an interrupted run in ``folder`` goes on.

    Both rounds are validated on OpenIST and on the certain pixels of the COVID-19 masks.
    """
    torch.manual_seed(run.training.seed)
    network = LSNet(run.variant)
    _begin(network, network.unet.encoder, run.start, _ENCODERS[run.variant])
    table = lung_table(run, folder)
    train_lsnet(network, table, run.training, folder, size=run.size, augmentation=run.augmentation, report=report)
    return network


def lung_table(run: LungRun, folder: Path) -> pd.DataFrame:
    """The radiographs of a round of LSNet, with a teacher's masks under ``folder`` in the second."""
    openist, covid = read_openist(run.data), read_covid(run.data)
    if run.teacher is None:
        return pd.concat([openist, covid[covid["split"] != "train"]], ignore_index=True)
    teacher = _teacher(run.teacher)
    covid = take_heart_out(covid, teacher, _TEACHER_SIZE, folder / "heart_out")
    nih = read_nih(run.data)
    nih = add_lung_masks(nih[nih["split"] == "train"], teacher, _TEACHER_SIZE, folder / "lung_masks")
    return pd.concat([openist, covid, nih], ignore_index=True)


def run_detection(run: DetectionRun, folder: Path, report: Report = lambda line: None) -> DLNet:
    """Train one stage of DLNet on NIH, COVID-19, OpenIST and Figure 1; an interrupted run in ``folder`` goes on."""
    torch.manual_seed(run.training.seed)
    network = DLNet(run.variant)
    _begin(network, network.encoder, run.start, _ENCODERS[run.variant])
    table = detection_table(run, folder)
    boxes = read_nih_boxes(run.data)
    train_set = DetectionDataset(
        table[table["split"] == "train"],
        boxes,
        run.size,
        seed=run.training.seed,
        implants=run.implants,
        augment=True,
    )
    if run.refinement is not None:
        report(f"refined targets of {len(refine_targets(network, train_set, run.refinement))} images")
    held_out = DetectionDataset(table[table["split"] == "validation"], boxes, run.size)
    return train_dlnet(
        network, train_set, held_out, run.training, folder, localisation_weight=run.localisation_weight, report=report
    )


def detection_table(run: DetectionRun, folder: Path) -> pd.DataFrame:
    """All labelled radiographs of a run, with pseudo lung masks under ``folder`` where it asks for them."""
    readers = (read_nih, read_covid, read_openist, read_figure1)
    table = pd.concat([read(run.data) for read in readers], ignore_index=True)
    table = table[table["label"].notna()].reset_index(drop=True)
    if run.lungs is None:
        return table
    return add_lung_masks(table, _teacher(run.lungs), _TEACHER_SIZE, folder / "lung_masks")


def _teacher(checkpoint: Path) -> LSNet:
    lsnet = LSNet("lsnet-light")
    lsnet.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True)["model"])
    return lsnet.eval()


_ENCODERS = {
    "lsnet": "vgg16",
    "lsnet-light": "efficientnet-lite0",
    "dlnet": "resnet50",
    "dlnet-light": "efficientnet-lite0",
}


def _begin(network: torch.nn.Module, encoder: torch.nn.Module, start: Start, encoder_name: str) -> None:
    if start.checkpoint is not None:
        network.load_state_dict(torch.load(start.checkpoint, map_location="cpu", weights_only=True)["model"])
    elif start.imagenet is not None:
        load_imagenet(encoder, imagenet_file(encoder_name) if start.imagenet == "package" else Path(start.imagenet))
