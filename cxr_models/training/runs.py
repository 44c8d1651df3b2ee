"""Whole training runs, described by settings that a YAML file can hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pandas as pd
import torch

from cxr_models.data.balance import Balance, repeats
from cxr_models.data.detection import DetectionDataset
from cxr_models.data.images import check_side
from cxr_models.data.lungs import LungDataset
from cxr_models.data.synthetic import read_synthetic
from cxr_models.data.tables import read_covid, read_figure1, read_nih, read_nih_boxes, read_openist
from cxr_models.networks.dlnet import DLNet
from cxr_models.networks.lsnet import LSNet
from cxr_models.training.detection import measure as measure_dlnet
from cxr_models.training.detection import train_dlnet
from cxr_models.training.lungs import measure as measure_lsnet
from cxr_models.training.lungs import train_lsnet
from cxr_models.training.multitask import MultitaskDLNet
from cxr_models.training.operating_points import operating_points
from cxr_models.training.pseudo_masks import add_lung_masks, take_heart_out
from cxr_models.training.refinement import RefinementSettings, refine_targets
from neural.imagenet import imagenet_file, load_imagenet
from neural.training import Trained, TrainingSettings

Report = Callable[[str], None]


@dataclass(frozen=True)
class Start:
    """Where the weights of a run start; the first that is given counts, and none means random numbers.

    Attributes:
        checkpoint: ``best.pt`` of an earlier run of the same variant, at any image size.
        imagenet: ``package`` (an installed weight package, :mod:`neural.imagenet`) or the path of torchvision's file.
    """

    checkpoint: Path | None = None
    imagenet: Literal["package"] | Path | None = None


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

    Raises:
        ValueError: a size that is no multiple of 32.
    """

    data: Path
    variant: str = "lsnet-light"
    size: int = 448
    augmentation: str = "abnormal"
    teacher: Path | None = None
    start: Start = field(default_factory=Start)
    training: TrainingSettings = field(default_factory=TrainingSettings)

    def __post_init__(self) -> None:
        check_side(self.size)


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
        findings_weight: of the auxiliary NIH findings (:mod:`cxr_models.training.multitask`); 0 leaves them out.
        synthetic: folders of labelled radiographs made by ``drrval synthesize``.
        balance: how often images of each kind are seen in an epoch.
        frozen: first layers of the encoder that keep the weights of the start.
        refinement: None for the first stage; for the second, how the targets are refined with the start's weights.
        start: see :class:`Start`; the second stage starts from the first one's checkpoint. A checkpoint of this network
            gives the auxiliary head its weights too.
        training: see :class:`neural.training.TrainingSettings`.

    Raises:
        ValueError: a size that is no multiple of 32.
    """

    data: Path
    variant: str = "dlnet-light"
    size: int = 448
    implants: float = 0.5
    lungs: Path | None = None
    localisation_weight: float = 1e-5
    findings_weight: float = 0.0
    synthetic: tuple[Path, ...] = ()
    balance: Balance = field(default_factory=Balance)
    frozen: int = 0
    refinement: RefinementSettings | None = None
    start: Start = field(default_factory=Start)
    training: TrainingSettings = field(default_factory=TrainingSettings)

    def __post_init__(self) -> None:
        check_side(self.size)


#: The side that the runs for teachers are trained at.
_TEACHER_SIZE = 224


def run_lungs(run: LungRun, folder: Path, report: Report = lambda line: None) -> Trained:
    """Train one round of LSNet; an interrupted run in ``folder`` goes on.

    Both rounds are validated on OpenIST and on the certain pixels of the COVID-19 masks.
    """
    torch.manual_seed(run.training.seed)
    network = LSNet(run.variant)
    _begin(network, network.unet.encoder, run.start, _ENCODERS[run.variant])
    table = lung_table(run, folder)
    train_lsnet(network, table, run.training, folder, size=run.size, augmentation=run.augmentation, report=report)
    held_out = LungDataset(table[table["split"] == "validation"], run.size)
    with torch.no_grad():
        metrics = measure_lsnet(network, held_out)
    return Trained(network.cpu(), run.variant, {"size": float(run.size)}, metrics)


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


def run_detection(run: DetectionRun, folder: Path, report: Report = lambda line: None) -> Trained:
    """Train one stage of DLNet; an interrupted run in ``folder`` goes on.

    It learns from NIH, COVID-19, OpenIST and Figure 1, and from synthetic radiographs if there are any. Thresholds and
    severity are then settled on the validation part (:mod:`cxr_models.training.operating_points`).
    """
    torch.manual_seed(run.training.seed)
    network = DLNet(run.variant)
    multitask = MultitaskDLNet(network, run.frozen)
    _begin(network, network.encoder, run.start, _ENCODERS[run.variant])
    if run.start.checkpoint is not None:
        multitask.load_findings(_checkpoint(run.start.checkpoint))
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
    validation = table[(table["split"] == "validation") & table["label"].notna()].drop(columns="repeats")
    held_out = DetectionDataset(validation[validation["source"] != "synthetic"], boxes, run.size)
    train_dlnet(
        multitask,
        train_set,
        held_out,
        run.training,
        folder,
        localisation_weight=run.localisation_weight,
        findings_weight=run.findings_weight,
        report=report,
    )
    network.cpu()
    with torch.no_grad():
        metrics = measure_dlnet(network, held_out, run.localisation_weight)
    drawn = table[(table["split"] == "train") & (_text(table["ggo"]) | _text(table["consolidation"]))]
    settings = operating_points(network, pd.concat([validation, drawn]), boxes, run.size)
    return Trained(network, run.variant, settings, metrics)


def _text(column: pd.Series) -> pd.Series:
    """Where a column holds a path."""
    return column.fillna("") != ""


def detection_table(run: DetectionRun, folder: Path) -> pd.DataFrame:
    """All radiographs a run can learn from, with pseudo lung masks under ``folder`` where it asks for them.

    Images without a label are there for their findings only.
    """
    readers = (read_nih, read_covid, read_openist, read_figure1)
    table = pd.concat([read(run.data) for read in readers], ignore_index=True)
    if run.lungs is not None:
        table = add_lung_masks(table, _teacher(run.lungs), _TEACHER_SIZE, folder / "lung_masks")
    table = pd.concat([table, *(read_synthetic(part) for part in run.synthetic)], ignore_index=True)
    useful = table["label"].notna() | (table["findings"].notna() & (run.findings_weight > 0))
    return table[useful].assign(repeats=repeats(table[useful], run.balance)).reset_index(drop=True)


def _teacher(checkpoint: Path) -> LSNet:
    lsnet = LSNet("lsnet-light")
    lsnet.load_state_dict(_checkpoint(checkpoint))
    return lsnet.eval()


_ENCODERS = {
    "lsnet": "vgg16",
    "lsnet-light": "efficientnet-lite0",
    "dlnet": "resnet50",
    "dlnet-light": "efficientnet-lite0",
}


def _begin(network: torch.nn.Module, encoder: torch.nn.Module, start: Start, encoder_name: str) -> None:
    if start.checkpoint is not None:
        network.load_state_dict(_state(start.checkpoint))
    elif start.imagenet is not None:
        load_imagenet(encoder, imagenet_file(encoder_name) if start.imagenet == "package" else start.imagenet)


def _state(checkpoint: Path) -> dict[str, torch.Tensor]:
    """The network's weights of a checkpoint, without the auxiliary head that DLNet was trained with."""
    state = _checkpoint(checkpoint)
    inner = {key.removeprefix("dlnet."): value for key, value in state.items() if key.startswith("dlnet.")}
    return inner or state


def _checkpoint(path: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)["model"]
    return state
