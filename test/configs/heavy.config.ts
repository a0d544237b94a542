import { defineTraining, sgd, syntheticImages, tf } from "ringmaster";

/** A step takes long enough to be interrupted in its middle. */
export default defineTraining({
  name: "heavy",
  data: syntheticImages({ imageShape: [64, 64, 1], classes: 4, train: 1024, test: 16, seed: 1 }),
  batchSize: 512,
  epochs: 100,
  seats: 2,
  validation: { count: 0 },
  optimizer: sgd({ learningRate: 1e-3 }),
  model: ({ imageShape, classes }) =>
    tf.sequential({
      layers: [
        tf.layers.conv2d({ inputShape: imageShape, filters: 32, kernelSize: 5, padding: "same", activation: "relu" }),
        tf.layers.conv2d({ filters: 64, kernelSize: 13, strides: 2, padding: "same", activation: "relu" }),
        tf.layers.globalAveragePooling2d({}),
        tf.layers.dense({ units: classes }),
      ],
    }),
});
