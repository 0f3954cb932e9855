"""A small archive that even an untrained eye can learn, for the tests of training."""

from pathlib import Path

import numpy as np
from dicom_films import EXPLICIT, film, write

SIDE_PX = 48

CONFIG = """\
[eligibility]
min_short_side_px = 16
[decode]
workers = 1
[train]
init = "none"
input_size_px = 32
epochs = 2
batch_size = 8
learning_rate = 1e-3
folds = 2
ema_steps = 2
augmentation = "none"
augment = "torch"
"""
"""Minutes become seconds; [train] ends the file, so that a test may add keys to it."""


def site_archive(folder: Path, patients: int = 16) -> Path:
    """Films of patients, two of every third; every second patient has a bright square.

    Returns
    -------
    Path
        The folder, with `archive/` and `labels.csv` in it.
    """
    (folder / "archive").mkdir(parents=True)
    lines = ["sop_instance_uid,square"]
    for patient in range(patients):
        ill = patient % 2
        for number in range(1 + (patient % 3 == 0)):
            rng = np.random.default_rng([patient, number])
            pixels = rng.normal(1200, 150, (SIDE_PX, SIDE_PX))
            if ill:
                pixels[8:32, 12:36] += 1800
            uid = f"1.2.826.99.{patient}.{number}"
            dataset = film(
                pixels.clip(0, 4095).astype(np.uint16),
                EXPLICIT,
                SOPInstanceUID=uid,
                StudyInstanceUID=f"1.2.826.99.{patient}",
                SeriesInstanceUID=f"1.2.826.99.{patient}.9",
                ImageType=["DERIVED", "PRIMARY"],
                Modality="DX",
                StudyDate="20240102",
                BodyPartExamined="ABDOMEN",
                ViewPosition="AP",
                PresentationIntentType="FOR PRESENTATION",
                PatientID=f"TAINT{patient}",
                PatientAge="070Y",
                PatientSex="FM"[patient % 2],
                Manufacturer=f"Maker {patient % 2}",
                WindowCenter=2048,
                WindowWidth=4096,
            )
            write(dataset, folder / "archive" / f"{patient}-{number}.dcm")
            lines.append(f"{uid},{ill}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder
