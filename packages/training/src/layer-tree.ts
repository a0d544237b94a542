import { tf } from "@ringmaster/backend";

type Layer = tf.layers.Layer;

/** A layer and all that it is made of, outermost first, each once. */
export function layersIn(layer: Layer): readonly Layer[] {
  const found = new Set<Layer>();
  const visit = (each: Layer): void => {
    if (found.has(each)) return;
    found.add(each);
    inside(each).forEach(visit);
  };
  visit(layer);
  return [...found];
}

/** The layers that a layer is made of: a model's, those that a wrapper (timeDistributed, bidirectional) wraps, and a recurrent layer's cells. */
export function inside(layer: Layer): Layer[] {
  if (layer instanceof tf.LayersModel) return layer.layers;
  const parts = ["layer", "forwardLayer", "backwardLayer", "cell", "cells"].flatMap((field): unknown[] =>
    [Reflect.get(layer, field)].flat(),
  );
  return parts.filter((value) => value instanceof tf.layers.Layer);
}
