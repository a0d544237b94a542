/**
 * Einsum over one or two operands, which tfjs computes but does not differentiate. The gradient of an operand is again an einsum: of the result's gradient and the
 * other operand, over the letters that the operand shares with them; along its remaining letters, over which it was summed alone, it is repeated.
 */
import tf from "#tfjs";
import { one, some } from "./kernel-inputs.ts";

interface EinsumTerms {
  readonly operands: readonly string[];
  readonly output: string;
}

/** @throws Error for what the equation may hold beyond letters, each once a term */
function einsumTerms(equation: string): EinsumTerms {
  const [left = "", output] = equation.replaceAll(/\s/g, "").split("->");
  const operands = left.split(",");
  const isPlain = (term: string) => /^[a-zA-Z]*$/.test(term) && new Set(term).size === term.length;
  if (output === undefined || operands.length > 2 || ![...operands, output].every(isPlain)) {
    throw new Error(
      `einsum ${equation}: its gradient is known for one or two operands, no letter twice in a term, no ellipsis, and an arrow`,
    );
  }
  return { operands, output };
}

export const einsumGradient: tf.GradConfig = {
  kernelName: "Einsum",
  saveAllInputs: true,
  gradFunc(dys, saved, { equation }) {
    const { operands, output } = einsumTerms(String(equation));
    const dy = one(dys);
    const gradients = operands.map((term, index): [string, () => tf.Tensor] => {
      const given = [output, ...operands.filter((_, other) => other !== index)];
      const factors = [dy, ...saved.filter((_, other) => other !== index)];
      const shared = [...term].filter((letter) => given.some((other) => other.includes(letter)));
      const { shape } = some(saved[index]);
      const unsummed = [...term].map((letter, axis) => (shared.includes(letter) ? (shape[axis] ?? 1) : 1));
      const gradient = () => tf.einsum(`${given.join(",")}->${shared.join("")}`, ...factors);
      return [String(index), () => tf.broadcastTo(tf.reshape(gradient(), unsummed), shape)];
    });
    return Object.fromEntries(gradients);
  },
};

/** An einsum as one product of matrices, for a backend without a kernel of its own. */
export function composedEinsum(equation: string, inputs: readonly tf.Tensor[]): tf.Tensor {
  const { operands, output } = einsumTerms(equation);
  const sizes = new Map(
    operands.flatMap((term, index) => [...term].map((letter, axis) => [letter, inputs[index]?.shape[axis] ?? 1])),
  );
  const shapeOf = (letters: readonly string[]) => letters.map((letter) => sizes.get(letter) ?? 1);
  const volume = (letters: readonly string[]) => shapeOf(letters).reduce((product, size) => product * size, 1);
  const arranged = (x: tf.Tensor, from: readonly string[], to: readonly string[]) =>
    tf.transpose(
      x,
      to.map((letter) => from.indexOf(letter)),
    );

  // What no other term names is summed first.
  const reduced = operands.map((term, index) => {
    const others = [output, ...operands.filter((_, other) => other !== index)].join("");
    const alone = [...term].flatMap((letter, axis) => (others.includes(letter) ? [] : [axis]));
    const kept = [...term].filter((letter) => others.includes(letter));
    return { letters: kept, x: alone.length > 0 ? tf.sum(some(inputs[index]), alone) : some(inputs[index]) };
  });
  const [a, b] = [some(reduced[0]), reduced[1]];
  if (!b) return arranged(a.x, a.letters, [...output]);
  const both = a.letters.filter((letter) => b.letters.includes(letter));
  const batch = both.filter((letter) => output.includes(letter));
  const contracted = both.filter((letter) => !output.includes(letter));
  const rows = a.letters.filter((letter) => !both.includes(letter));
  const columns = b.letters.filter((letter) => !both.includes(letter));
  const left = arranged(a.x, a.letters, [...batch, ...rows, ...contracted]);
  const right = arranged(b.x, b.letters, [...batch, ...contracted, ...columns]);
  const product = tf.matMul(
    tf.reshape(left, [volume(batch), volume(rows), volume(contracted)]),
    tf.reshape(right, [volume(batch), volume(contracted), volume(columns)]),
  );
  const order = [...batch, ...rows, ...columns];
  return arranged(tf.reshape(product, shapeOf(order)), order, [...output]);
}
