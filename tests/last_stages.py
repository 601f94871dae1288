"""Train, predict, make Table 1 and figures of a tiny world: `python -m tests.last_stages FOLDER`.

What it writes must depend on nothing in the environment of its user.
"""

from __future__ import annotations

import csv
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from geoloc.evaluation.figures import Example, figure2, save, training_curves
from geoloc.evaluation.predictions import predictions_frame
from geoloc.evaluation.table1 import table1
from geoloc.keras_models import predict, training
from geoloc.weighting import make_view
from tests.colored_world import CLASSES, LINEAR, open_world, write_stores


def main(folder: Path) -> None:
    stores = write_stores(folder)
    arrays = open_world(stores, "val"), open_world(stores, "test")
    parameters = training.TrainingParameters(batch_size=5, epochs=1)
    training.train(
        "cnn", "weighted_base", *arrays, CLASSES, folder / "model", 1, parameters, view=LINEAR
    )
    test = arrays[1]
    found = predict.predict(predict.load_trained(folder / "model"), test, "original")
    np.save(folder / "probabilities.npy", found)
    places = np.full(len(test), np.nan)
    frame = predictions_frame(
        found, CLASSES, test.image_id, test.source, test.label, places, places, "original"
    )
    frame.to_csv(folder / "predictions.csv", index=False)
    table = table1([("CNN", "Original", "1", frame)], {"original": "Original"})
    table.to_csv(folder / "table1.csv")
    with (folder / "model/history.csv").open(encoding="utf-8") as file:
        history = pd.DataFrame(csv.DictReader(file)).astype(float).drop(columns="seconds")
    history.to_csv(folder / "history.csv", index=False)
    save(training_curves([("CNN", "Original", history)], 0.4), folder / "curves.png")
    image = np.full((64, 64, 3), 90, np.uint8)
    example = Example("a$_b$.jpg", "TR", image, image[..., 0])
    view = make_view({"curve": "linear", "scores": "x"})
    save(figure2([example], {"Weighted": view}), folder / "figure2.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    # Past what ends with the interpreter, such as the threads of TensorFlow.
    sys.stdout.flush()
    os._exit(0)
