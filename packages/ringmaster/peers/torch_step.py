"""Peer of `ringmaster bench step`: the whole training step (forward, loss, backward, Adam) in PyTorch, channels_last, images made up.

usage: torch_step.py MODEL THREADS BATCH STEPS [bfloat16]; under torchrun, DistributedDataParallel over Gloo, BATCH samples a process.
Prints images a second over all processes, the median of the steps.
"""

import os
import sys
import time

import torch
import torch.distributed as dist
import torch.nn as nn
import torch.nn.functional as F


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = None
        if inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))

    def forward(self, x):
        h = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(h + (self.shortcut(x) if self.shortcut else x))


def simple_cnn():
    convolutions = [nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    head = [nn.Flatten(), nn.Dropout(0.25), nn.Linear(4096, 512), nn.ReLU(), nn.Linear(512, 10)]
    return nn.Sequential(*convolutions, *head), (3, 32, 32)


def resnet_20():
    layers = [nn.Conv2d(3, 16, 3, 1, 1), nn.BatchNorm2d(16), nn.ReLU()]
    channels = 16
    for outputs in (16, 32, 64):
        for _ in range(3):
            layers.append(Block(channels, outputs, 2 if outputs != channels else 1))
            channels = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)), (3, 32, 32)


def mlp():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)), (1, 28, 28)


def main():
    name, threads, batch, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    bfloat16 = "bfloat16" in sys.argv[5:]
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1:
        dist.init_process_group("gloo")
    model, shape = {"simple-cnn": simple_cnn, "resnet-20": resnet_20, "mlp": mlp}[name]()
    images = torch.randn(batch, *shape).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(batch) % 10
    model = model.to(memory_format=torch.channels_last)
    if world > 1:
        model = nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)

    def step():
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    for _ in range(5):
        step()
    seconds = []
    for _ in range(steps):
        began = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - began)
    median = sorted(seconds)[len(seconds) // 2]
    if int(os.environ.get("RANK", "0")) == 0:
        print(batch * world / median, flush=True)
    if world > 1:
        dist.destroy_process_group()


main()
