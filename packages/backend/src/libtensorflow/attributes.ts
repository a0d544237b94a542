import type { CApi, Pointer } from "./c-api.ts";

/** tfjs-node's numbers for the kinds of attribute; `binding.ts` hands them to tfjs's kernels. */
export const attributeKinds = { string: 0, int: 1, float: 2, bool: 3, type: 4, shape: 5, resource: 6 } as const;

/** An op's attribute as tfjs's kernels give it (`TFEOpAttr`). */
export interface OpAttribute {
  readonly name: string;
  readonly type: number;
  readonly value: boolean | number | object | string | readonly number[];
}

export const dims = (shape: readonly number[]): BigInt64Array => BigInt64Array.from(shape, BigInt);

/** Sets an attribute on an eager op (`TFE_`) or on an operation of a graph (`TF_`): the same calls under two names. */
export function setAttribute(c: CApi, target: "eager" | "graph", op: Pointer, attribute: OpAttribute): void {
  const { name, type, value } = attribute;
  const eager = target === "eager";
  switch (type) {
    case attributeKinds.string: {
      const bytes = Buffer.from(String(value));
      (eager ? c.TFE_OpSetAttrString : c.TF_SetAttrString)(op, name, bytes, bytes.length);
      return;
    }
    case attributeKinds.int:
      if (Array.isArray(value)) {
        (eager ? c.TFE_OpSetAttrIntList : c.TF_SetAttrIntList)(op, name, dims(value), value.length);
      } else {
        (eager ? c.TFE_OpSetAttrInt : c.TF_SetAttrInt)(op, name, Number(value));
      }
      return;
    case attributeKinds.float:
      (eager ? c.TFE_OpSetAttrFloat : c.TF_SetAttrFloat)(op, name, Number(value));
      return;
    case attributeKinds.bool:
      (eager ? c.TFE_OpSetAttrBool : c.TF_SetAttrBool)(op, name, value ? 1 : 0);
      return;
    case attributeKinds.type:
      (eager ? c.TFE_OpSetAttrType : c.TF_SetAttrType)(op, name, Number(value));
      return;
    case attributeKinds.shape: {
      const shape = Array.isArray(value) ? value : [];
      if (eager) c.TFE_OpSetAttrShape(op, name, dims(shape), shape.length, c.status);
      else c.TF_SetAttrShape(op, name, dims(shape), shape.length);
      return;
    }
    default:
      throw new TypeError(`attribute ${name}: kind ${type} is not one that Ringmaster's kernels use`);
  }
}
