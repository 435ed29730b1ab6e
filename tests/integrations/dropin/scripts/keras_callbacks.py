"""Keras with wandb's callbacks: metrics, checkpoints, and a table of predictions."""

import keras
import wandb
from sklearn.datasets import load_digits
from wandb.integration.keras import WandbEvalCallback, WandbMetricsLogger, WandbModelCheckpoint


class Predictions(WandbEvalCallback):
    def __init__(self, images, labels):
        super().__init__(["index", "image", "label"], ["epoch", "index", "label", "prediction"])
        self.images, self.labels = images, labels

    def add_ground_truth(self, logs=None):
        for index, (image, label) in enumerate(zip(self.images, self.labels, strict=True)):
            self.data_table.add_data(index, wandb.Image(image), int(label))

    def add_model_predictions(self, epoch, logs=None):
        found = self.model.predict(self.images, verbose=0).argmax(-1)
        for row in self.data_table_ref.data:
            self.pred_table.add_data(epoch, row[0], row[2], int(found[row[0]]))


keras.utils.set_random_seed(7)
digits = load_digits()
images, labels = digits.images / 16, digits.target
wandb.init(project="digits", name="keras", config={"width": 32})
model = keras.Sequential(
    [
        keras.layers.Flatten(),
        keras.layers.Dense(wandb.config.width, "relu"),
        keras.layers.Dense(10, "softmax"),
    ]
)
model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(
    images[:1400],
    labels[:1400],
    validation_data=(images[1400:], labels[1400:]),
    epochs=2,
    batch_size=64,
    verbose=0,
    callbacks=[
        WandbMetricsLogger(log_freq=5),
        WandbModelCheckpoint("model.keras", save_best_only=True, monitor="val_accuracy"),
        Predictions(images[1400:1405], labels[1400:1405]),
    ],
)
wandb.finish()
