/** ResNet-20 for 32 x 32 x 3 (He et al., 2015; projection shortcuts), 64 samples a seat on two seats, images made up: BatchNorm and many small ops. */
import { adam, defineTraining, syntheticImages, tf } from "ringmaster";

const blocksPerStage = 3;

interface Convolution {
  readonly filters: number;
  readonly kernelSize?: number;
  readonly strides?: number;
}

function convolveAndNormalise(x: tf.SymbolicTensor, { filters, kernelSize = 3, strides = 1 }: Convolution) {
  const convolution = { filters, kernelSize, strides, padding: "same", useBias: false } as const;
  const convolved = tf.layers.conv2d({ ...convolution, kernelInitializer: "heNormal" }).apply(x);
  return tf.layers.batchNormalization({ epsilon: 1e-5, momentum: 0.9 }).apply(convolved) as tf.SymbolicTensor;
}

const relu = (x: tf.SymbolicTensor) => tf.layers.reLU().apply(x) as tf.SymbolicTensor;

function residualBlock(x: tf.SymbolicTensor, filters: number, strides: number): tf.SymbolicTensor {
  const inner = relu(convolveAndNormalise(x, { filters, strides }));
  const residual = convolveAndNormalise(inner, { filters });
  const shortcut = strides === 1 ? x : convolveAndNormalise(x, { filters, kernelSize: 1, strides });
  return relu(tf.layers.add().apply([residual, shortcut]) as tf.SymbolicTensor);
}

export default defineTraining({
  name: "resnet-20",
  data: syntheticImages({ imageShape: [32, 32, 3], classes: 10, train: 12_800, test: 500, seed: 1 }),
  batchSize: 128,
  seats: 2,
  epochs: 100,
  validation: { count: 0 },
  optimizer: adam({ learningRate: 1e-3 }),
  model: ({ imageShape, classes }) => {
    const images = tf.input({ shape: imageShape });
    let x = relu(convolveAndNormalise(images, { filters: 16 }));
    for (const filters of [16, 32, 64]) {
      for (let block = 0; block < blocksPerStage; block++) {
        x = residualBlock(x, filters, filters > 16 && block === 0 ? 2 : 1);
      }
    }
    const pooled = tf.layers.globalAveragePooling2d({}).apply(x);
    const logits = tf.layers.dense({ units: classes }).apply(pooled) as tf.SymbolicTensor;
    return tf.model({ inputs: images, outputs: logits });
  },
});
