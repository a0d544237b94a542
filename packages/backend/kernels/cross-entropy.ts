import { exp, log } from "./mathematics";

/** losses[r] = -log softmax(logits[r])[labels[r]] and gradient[r] = softmax(logits[r]) - one hot; NaN where a label is no class. */
export function softmaxCrossEntropy(losses: usize, gradient: usize, logits: usize, labels: usize, rows: u32, classes: u32): void {
  for (let row: u32 = 0; row < rows; row++) {
    const label = load<u32>(labels);
    let highest: f32 = -Infinity;
    for (let c: usize = 0; c < classes; c++) highest = max(highest, load<f32>(logits + (c << 2)));
    let sum: f64 = 0;
    for (let c: usize = 0; c < classes; c++) {
      const power = exp(<f64>load<f32>(logits + (c << 2)) - <f64>highest);
      store<f32>(gradient + (c << 2), <f32>power);
      sum += power;
    }
    const valid = label < classes;
    for (let c: usize = 0; c < classes; c++) {
      const at = gradient + (c << 2);
      store<f32>(at, valid ? <f32>(<f64>load<f32>(at) / sum - (c == label ? 1.0 : 0.0)) : NaN);
    }
    store<f32>(losses, valid ? <f32>(log(sum) + <f64>highest - <f64>load<f32>(logits + (<usize>label << 2))) : NaN);
    losses += 4;
    labels += 4;
    logits += <usize>classes << 2;
    gradient += <usize>classes << 2;
  }
}
