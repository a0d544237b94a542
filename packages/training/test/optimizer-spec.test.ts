import t from "tap";
import { adam } from "../src/adam.ts";
import { slotNames } from "../src/optimizer.ts";
import { sgd } from "../src/sgd.ts";

t.test("a specification is plain data with defaults, and names its slots as torch does", async (t) => {
  const defaults = { kind: "adam", learningRate: 0.001, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0 };
  t.same(adam(), defaults);
  t.same(adam({ beta1: 0.5 }), { ...defaults, beta1: 0.5 });
  t.same(sgd({ learningRate: 2 }), { kind: "sgd", learningRate: 2, momentum: 0, nesterov: false, weightDecay: 0 });
  t.same(slotNames(adam()), ["exp_avg", "exp_avg_sq"]);
  t.same(slotNames(sgd({ learningRate: 1 })), []);
  t.same(slotNames(sgd({ learningRate: 1, momentum: 0.9 })), ["momentum_buffer"]);
});

t.test("a value outside its range is refused, by name", async (t) => {
  const refused: readonly (readonly [() => unknown, RegExp])[] = [
    [() => adam({ learningRate: -1 }), /adam learningRate: .* found -1/],
    [() => adam({ learningRate: Number.NaN }), /adam learningRate: .* found NaN/],
    [() => adam({ beta1: 1 }), /adam beta1/],
    [() => adam({ beta2: -0.1 }), /adam beta2/],
    [() => adam({ epsilon: 0 }), /adam epsilon/],
    [() => adam({ epsilon: 1e-60 }), /adam epsilon: .* float32/],
    [() => adam({ weightDecay: Number.POSITIVE_INFINITY }), /adam weightDecay/],
    [() => sgd({ learningRate: -1 }), /sgd learningRate/],
    [() => sgd({ learningRate: 1, momentum: 1 }), /sgd momentum/],
    [() => sgd({ learningRate: 1, weightDecay: -1 }), /sgd weightDecay/],
    [() => sgd({ learningRate: 1, nesterov: true }), /nesterov: expected a momentum above 0/],
  ];
  for (const [make, message] of refused) t.throws(make, { code: "INVALID_OPTIMIZER", message }, String(message));
});
