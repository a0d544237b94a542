import { adam, defineTraining, syntheticImages, tf } from "ringmaster";

/**
 * A step costs milliseconds, and everything that may differ between worlds is in it: dropout, BatchNorm, several buckets, validation at the epochs' ends, and a last
 * batch of 3 samples, which leaves a seat of four without any. 195 samples to train on: 4 steps of 48 and one of 3.
 */
export default defineTraining({
  name: "small",
  data: syntheticImages({ imageShape: [12, 12, 1], classes: 4, train: 235, test: 60, seed: 1 }),
  batchSize: 48,
  epochs: 3,
  seats: 4,
  validation: { count: 40, blockSize: 16 },
  bucketBytes: 4096,
  optimizer: adam({ learningRate: 1e-3 }),
  model: ({ imageShape, classes }) =>
    tf.sequential({
      layers: [
        tf.layers.conv2d({ inputShape: imageShape, filters: 8, kernelSize: 3, padding: "same" }),
        tf.layers.batchNormalization(),
        tf.layers.activation({ activation: "relu" }),
        tf.layers.maxPooling2d({ poolSize: 2 }),
        tf.layers.flatten(),
        tf.layers.dropout({ rate: 0.25 }),
        tf.layers.dense({ units: 32, activation: "relu" }),
        tf.layers.dense({ units: classes }),
      ],
    }),
});
