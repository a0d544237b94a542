"""Peer of `ringmaster bench step`: the whole training step (forward, loss, backward, Adam) in one tf.function, NHWC, images made up.

usage: tf_function_step.py MODEL THREADS BATCH STEPS [bfloat16]
Prints images a second, the median of the steps.

Plain tf.nn ops over tf.Variables and TensorFlow's fused Adam kernel a variable: nothing of Keras between the ops, so no step of it can be the slow one.
Tried and not better on two cores: two inter-op threads (the same within the noise), XLA (jit_compile: 0.4 of the speed on convolutions, which it does not hand
to oneDNN), and for bfloat16 Grappler's auto_mixed_precision_onednn_bfloat16 (the same within the noise as the casts below).
"""

import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf

LEARNING_RATE, BETA_1, BETA_2, EPSILON = 1e-3, 0.9, 0.999, 1e-8


class Parameters:
    """The model's trainable variables, float32, and the precision of its convolutions and products of matrices."""

    def __init__(self, dtype):
        self.dtype = dtype
        self.variables = []

    def make(self, shape, fan_in=0, value=0.0):
        initial = tf.random.normal(shape, stddev=(2 / fan_in) ** 0.5) if fan_in else tf.fill(shape, value)
        self.variables.append(tf.Variable(initial))
        return self.variables[-1]


class Dense:
    def __init__(self, parameters, inputs, outputs):
        self.dtype = parameters.dtype
        self.kernel = parameters.make([inputs, outputs], inputs)
        self.bias = parameters.make([outputs])

    def __call__(self, x):
        product = tf.matmul(tf.cast(x, self.dtype), tf.cast(self.kernel, self.dtype))
        return tf.nn.bias_add(product, tf.cast(self.bias, self.dtype))


class Conv:
    def __init__(self, parameters, inputs, outputs, size=3, stride=1, bias=True):
        self.dtype, self.stride = parameters.dtype, stride
        self.kernel = parameters.make([size, size, inputs, outputs], size * size * inputs)
        self.bias = parameters.make([outputs]) if bias else None

    def __call__(self, x):
        y = tf.nn.conv2d(tf.cast(x, self.dtype), tf.cast(self.kernel, self.dtype), self.stride, "SAME")
        return y if self.bias is None else tf.nn.bias_add(y, tf.cast(self.bias, self.dtype))


class Norm:
    def __init__(self, parameters, channels):
        self.scale = parameters.make([channels], value=1.0)
        self.offset = parameters.make([channels])
        self.mean = tf.Variable(tf.zeros([channels]), trainable=False)
        self.variance = tf.Variable(tf.ones([channels]), trainable=False)

    def __call__(self, x):
        y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=x, scale=self.scale, offset=self.offset, mean=[], variance=[], epsilon=1e-5, is_training=True
        )
        self.mean.assign(0.9 * self.mean + 0.1 * mean)
        self.variance.assign(0.9 * self.variance + 0.1 * variance)
        return y


class Block:
    def __init__(self, parameters, inputs, outputs, stride):
        self.conv1, self.norm1 = Conv(parameters, inputs, outputs, 3, stride, bias=False), Norm(parameters, outputs)
        self.conv2, self.norm2 = Conv(parameters, outputs, outputs, bias=False), Norm(parameters, outputs)
        self.shortcut = None
        if inputs != outputs:
            self.shortcut = Conv(parameters, inputs, outputs, 1, stride, bias=False), Norm(parameters, outputs)

    def __call__(self, x):
        h = self.norm2(self.conv2(tf.nn.relu(self.norm1(self.conv1(x)))))
        if self.shortcut:
            convolve, normalise = self.shortcut
            x = normalise(convolve(x))
        return tf.nn.relu(h + x)


def flatten(x):
    return tf.reshape(x, [x.shape[0], -1])


def pool(x):
    return tf.nn.max_pool2d(x, 2, 2, "VALID")


def dropout(x):
    return tf.nn.dropout(x, 0.25)


def mean(x):
    return tf.reduce_mean(x, [1, 2])


def simple_cnn(p):
    convolutions = [Conv(p, 3, 32), tf.nn.relu, pool, Conv(p, 32, 64), tf.nn.relu, pool]
    return [*convolutions, flatten, dropout, Dense(p, 4096, 512), tf.nn.relu, Dense(p, 512, 10)], [32, 32, 3]


def resnet_20(p):
    layers = [Conv(p, 3, 16, bias=False), Norm(p, 16), tf.nn.relu]
    channels = 16
    for outputs in (16, 32, 64):
        for _ in range(3):
            layers.append(Block(p, channels, outputs, 2 if outputs != channels else 1))
            channels = outputs
    return [*layers, mean, Dense(p, 64, 10)], [32, 32, 3]


def mlp(p):
    return [flatten, Dense(p, 784, 512), tf.nn.relu, Dense(p, 512, 512), tf.nn.relu, Dense(p, 512, 10)], [28, 28, 1]


def main():
    name, threads, batch, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.random.set_seed(0)
    parameters = Parameters(tf.bfloat16 if "bfloat16" in sys.argv[5:] else tf.float32)
    layers, shape = {"simple-cnn": simple_cnn, "resnet-20": resnet_20, "mlp": mlp}[name](parameters)
    variables = parameters.variables
    slots = [(tf.Variable(tf.zeros_like(v)), tf.Variable(tf.zeros_like(v))) for v in variables]
    beta_1_power, beta_2_power = tf.Variable(BETA_1), tf.Variable(BETA_2)
    images = tf.random.normal([batch, *shape])
    labels = tf.range(batch) % 10

    @tf.function
    def step(images, labels):
        with tf.GradientTape() as tape:
            x = images
            for layer in layers:
                x = layer(x)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, tf.cast(x, tf.float32))
            loss = tf.reduce_mean(losses)
        for variable, gradient, (m, v) in zip(variables, tape.gradient(loss, variables), slots):
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=m.handle,
                v=v.handle,
                beta1_power=beta_1_power,
                beta2_power=beta_2_power,
                lr=LEARNING_RATE,
                beta1=BETA_1,
                beta2=BETA_2,
                epsilon=EPSILON,
                grad=gradient,
            )
        beta_1_power.assign(beta_1_power * BETA_1)
        beta_2_power.assign(beta_2_power * BETA_2)
        return loss

    for _ in range(5):
        step(images, labels).numpy()
    seconds = []
    for _ in range(steps):
        began = time.perf_counter()
        step(images, labels).numpy()
        seconds.append(time.perf_counter() - began)
    print(batch / sorted(seconds)[len(seconds) // 2], flush=True)


main()
