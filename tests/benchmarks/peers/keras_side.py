"""The other end of `keras_loop.py`; run by a Python that has keras and tensorflow: ARRAYS.npz JOB BATCH_SIZE THREADS.

workers 0: augmentation by Keras' preprocessing layers as the first layers of the model, arrays given to `fit`.
workers 1, 2: the same layers in `tf.data.Dataset.map` with so many parallel calls on whole batches, and `prefetch`.
Pictures are made float and normalised once, before; `RandomCrop` crops a whole batch at one place, as Keras does.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

WARM_UP = 3
NORMALISED = {
    "mlp": ((0.1307,), (0.3081,)),
    "cnn": ((0.1307,), (0.3081,)),
    "alexnet": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
}


def main() -> None:
    """Answer every line of the standard input."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the frameworks print is no answer
    side = Side(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    print(json.dumps(side.about()), file=answers, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer: dict[str, Any] = {"images_per_s": side.images_per_s(asked["workers"], asked["precision"], asked["seconds"])}
        except Exception as error:  # the other side says it and goes on with what works
            answer = {"error": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"}
        print(json.dumps(answer), file=answers, flush=True)


class Side:
    """One job's arrays, and a model for each precision and place of the augmentation."""

    def __init__(self, arrays: str, job: str, batch_size: int, threads: int) -> None:
        import numpy as np
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        self.job, self.batch_size = job, batch_size
        with np.load(arrays) as held:
            self.labels = held["labels"]
            self.pictures = held["pictures"].astype("float32") / 255
        if job in NORMALISED:
            mean, std = (np.array(values, "float32") for values in NORMALISED[job])
            self.pictures = (self.pictures - mean) / std
        self.models: dict[tuple[str, bool], Any] = {}

    def about(self) -> dict[str, Any]:
        """Versions, and the network's size."""
        import keras
        import tensorflow as tf

        model = self._model("float32", augments=False)
        return {"keras": keras.__version__, "tensorflow": tf.__version__, "parameters": model.count_params()}

    def images_per_s(self, workers: int, precision: str, seconds: float) -> float:
        """The rate of `fit` over about `seconds`."""
        model, watch = self._model(precision, augments=workers == 0), _watch(seconds)
        if workers:
            model.fit(self._dataset(workers), epochs=10**6, verbose=0, callbacks=[watch])
        else:
            whole = len(self.pictures) // self.batch_size * self.batch_size  # no last batch of another size
            truth = self._truth(self.pictures, self.labels)
            truth = None if truth is None else {name: values[:whole] for name, values in truth.items()}
            model.fit(self.pictures[:whole], truth, batch_size=self.batch_size, epochs=10**6, verbose=0, callbacks=[watch])
        return float(watch.batches * self.batch_size / watch.seconds)

    def _dataset(self, workers: int) -> Any:
        import tensorflow as tf

        layers = augmentation(self.job)

        def augmented(pictures: Any, labels: Any) -> Any:
            for layer in layers:
                pictures = layer(pictures, training=True)
            truth = self._truth(pictures, labels)
            return pictures if truth is None else (pictures, truth)

        slices = tf.data.Dataset.from_tensor_slices((self.pictures, self.labels))
        batches = slices.shuffle(min(10_000, len(self.labels))).batch(self.batch_size, drop_remainder=True)
        return batches.map(augmented, num_parallel_calls=workers).prefetch(tf.data.AUTOTUNE)

    def _truth(self, pictures: Any, labels: Any) -> Any:
        if self.job == "autoencoder":
            return None  # the model adds its own loss
        if self.job == "clock":
            return {"hour": labels // 60, "minute": labels % 60}
        return {"label": labels}

    def _model(self, precision: str, *, augments: bool) -> Any:
        import keras

        key = (precision, augments)
        if key not in self.models:
            keras.config.set_dtype_policy("mixed_bfloat16" if precision == "bfloat16" else "float32")
            layers = augmentation(self.job) if augments else []
            self.models[key] = network(self.job, self.pictures.shape[1:], layers, int(self.labels.max()) + 1)
        return self.models[key]


def augmentation(job: str) -> list[Any]:
    """Keras' random layers for the job, those that work on its pictures as they come."""
    from keras import layers

    if job == "mlp":
        return [layers.RandomRotation(10 / 360, dtype="float32"), layers.RandomTranslation(0.05, 0.05, dtype="float32")]
    if job == "alexnet":
        return [layers.ZeroPadding2D(4), layers.RandomCrop(32, 32), layers.RandomFlip("horizontal")]
    if job == "clock":
        return [layers.RandomRotation(15 / 360, dtype="float32")]
    if job == "autoencoder":  # flips and transposes give all eight; Keras has no layer for right angles
        return [layers.RandomFlip("horizontal_and_vertical"), _random_transpose()]
    return []


def network(job: str, shape: tuple[int, ...], random: list[Any], classes: int) -> Any:
    """The same network as the toolkit's, compiled as the job says."""
    import keras
    from keras import layers

    def dense(units: int, values: Any, dropout: float = 0.0) -> Any:
        values = layers.Dense(units, activation="relu")(values)
        return layers.Dropout(dropout)(values) if dropout else values

    pictures = keras.Input(shape)
    values = pictures
    for layer in random:
        values = layer(values)
    optimizer: Any = keras.optimizers.Adam(3e-4 if job == "clock" else 1e-3)
    if job == "autoencoder":
        model = keras.Model(pictures, _reconstruction_loss()([values, _autoencoder(values)]))
        model.compile(optimizer)
        return model
    if job == "clock":
        for filters, kernel, stride in ((64, 4, 2), (64, 4, 1), (128, 3, 1), (256, 3, 1)):
            values = layers.Conv2D(filters, kernel, stride, activation="relu")(values)
            values = layers.Dropout(0.1)(layers.MaxPooling2D()(values))
        shared = dense(128, layers.Flatten()(values))
        heads = {name: dense(units, shared) for name, units in (("hour", 64), ("minute", 256))}
        outputs = {name: layers.Dense(count, name=name, dtype="float32")(heads[name]) for name, count in (("hour", 12), ("minute", 60))}
        losses = {name: keras.losses.SparseCategoricalCrossentropy(from_logits=True) for name in outputs}
        model = keras.Model(pictures, outputs)
        model.compile(optimizer, losses, loss_weights={"hour": 0.6, "minute": 0.4})
        return model
    if job == "mlp":
        values = dense(512, dense(512, layers.Flatten()(values), 0.2), 0.2)
    elif job == "cnn":
        for filters in (32, 64):
            values = layers.Conv2D(filters, 3, activation="relu")(values)
        values = layers.Dropout(0.25)(layers.MaxPooling2D()(values))
        values = dense(128, layers.Flatten()(values), 0.5)
    else:
        for filters, pool in ((64, True), (192, True), (384, False), (256, False), (256, True)):
            values = layers.Conv2D(filters, 3, padding="same", activation="relu")(values)
            values = layers.MaxPooling2D()(values) if pool else values
        values = dense(1024, dense(4096, layers.Flatten()(values), 0.5), 0.5)
        optimizer = keras.optimizers.SGD(0.02, momentum=0.9, weight_decay=5e-4)
    model = keras.Model(pictures, {"label": layers.Dense(classes, name="label", dtype="float32")(values)})
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def _autoencoder(values: Any) -> Any:
    """Bergmann et al., VISAPP 2019, table 1."""
    from keras import layers

    rows = ((32, 2), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), (64, 1), (32, 1))
    channels = values.shape[-1]
    for filters, stride in rows:
        values = layers.LeakyReLU(0.2)(layers.Conv2D(filters, 2 + stride, stride, padding="same")(values))
    kernel = values.shape[1]
    values = layers.Conv2D(100, kernel)(values)
    values = layers.LeakyReLU(0.2)(layers.Conv2DTranspose(32, kernel)(values))
    for number in reversed(range(len(rows))):
        filters, stride = rows[number - 1][0] if number else channels, rows[number][1]
        values = layers.Conv2DTranspose(filters, 2 + stride, stride, padding="same")(values)
        values = layers.LeakyReLU(0.2)(values) if number else values
    return layers.Activation("sigmoid", dtype="float32")(values)


def _reconstruction_loss() -> Any:
    import keras

    class ReconstructionLoss(keras.layers.Layer):  # type: ignore[misc]
        def call(self, both: Any) -> Any:
            pictures, reconstruction = both
            self.add_loss(keras.ops.mean(keras.ops.square(pictures - reconstruction)))
            return reconstruction

    return ReconstructionLoss(dtype="float32")


def _random_transpose() -> Any:
    import keras

    class RandomTranspose(keras.layers.Layer):  # type: ignore[misc]
        def call(self, pictures: Any, training: bool = False) -> Any:
            if not training:
                return pictures
            chosen = keras.random.uniform((keras.ops.shape(pictures)[0], 1, 1, 1)) < 0.5
            return keras.ops.where(chosen, keras.ops.transpose(pictures, (0, 2, 1, 3)), pictures)

    return RandomTranspose(dtype="float32")


def _watch(seconds: float) -> Any:
    import keras

    class Watch(keras.callbacks.Callback):  # type: ignore[misc]
        """Counts batches from the warm-up's end until the time is over. Keras reads each batch's loss, which waits for the device."""

        def __init__(self) -> None:
            super().__init__()
            self.batches, self.seconds, self.started = -WARM_UP, 0.0, 0.0

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.batches += 1
            if self.batches == 0:
                self.started = time.perf_counter()
            elif self.batches >= 2:
                self.seconds = time.perf_counter() - self.started
                self.model.stop_training = self.seconds >= seconds

    return Watch()


if __name__ == "__main__":
    main()
