import type { tf } from "@ringmaster/backend";
import { inside } from "./layer-tree.ts";

type Layer = tf.layers.Layer;

/**
 * Names of weights that depend on the model alone. tf.layers numbers layers without a name per process ("conv2d_Conv2D7"), so what else the process
 * built would show in them. They are numbered anew within the model: conv2d, conv2d_1, ... as Keras does, passing over names that the user gave.
 *
 * @returns from a weight's name in this process ("conv2d_Conv2D7/kernel") to its canonical one.
 */
export function canonicalNames(model: tf.LayersModel): (name: string) => string {
  const layers = inside(model).flatMap(withInside);
  const automatic = layers.map((layer) => new RegExp(`^(.+)_${layer.getClassName()}\\d+$`).exec(layer.name)?.[1]);
  const taken = new Set(layers.filter((_, index) => automatic[index] === undefined).map(({ name }) => name));
  const renamed = new Map<string, string>();
  layers.forEach(({ name }, index) => {
    const base = automatic[index];
    if (base === undefined || renamed.has(name)) return;
    let free = base;
    for (let number = 1; taken.has(free); number++) free = `${base}_${number}`;
    taken.add(free);
    renamed.set(name, free);
  });
  return (name) =>
    name
      .split("/")
      .map((part) => renamed.get(part) ?? part)
      .join("/");
}

const withInside = (layer: Layer): Layer[] => [layer, ...inside(layer).flatMap(withInside)];
