/** A multilayer perceptron of 28 x 28 greyscale images, 64 samples a seat on two seats, images made up: matrix products and little else. */
import { adam, defineTraining, syntheticImages, tf } from "ringmaster";

export default defineTraining({
  name: "mlp",
  data: syntheticImages({ imageShape: [28, 28, 1], classes: 10, train: 12_800, test: 500, seed: 1 }),
  batchSize: 128,
  seats: 2,
  epochs: 100,
  validation: { count: 0 },
  optimizer: adam({ learningRate: 1e-3 }),
  model: ({ imageShape, classes }) =>
    tf.sequential({
      layers: [
        tf.layers.flatten({ inputShape: imageShape }),
        tf.layers.dense({ units: 512, activation: "relu" }),
        tf.layers.dense({ units: 512, activation: "relu" }),
        tf.layers.dense({ units: classes }),
      ],
    }),
});
