/**
 * The part of TensorFlow's C API that Ringmaster calls, through koffi: tensorflow/c/c_api.h and tensorflow/c/eager/c_api.h of TensorFlow 2.21.
 * A pointer is a bigint; TensorFlow never sees an id that JavaScript has already freed because `binding.ts` keeps the ids.
 */
import { realpathSync } from "node:fs";
import { join } from "node:path";
import { isMainThread } from "node:worker_threads";
import koffi, { type LibraryHandle } from "koffi";
import { BackendError } from "../backend-error.ts";
import { libraryFiles } from "./location.ts";
import { releasePages } from "./release-pages.ts";

export type Pointer = bigint;

/** An output of an operation in a graph. */
export interface GraphOutput {
  readonly oper: Pointer;
  readonly index: number;
}

const signatures = {
  TF_Version: "const char *TF_Version()",
  TF_NewStatus: "void *TF_NewStatus()",
  TF_GetCode: "int TF_GetCode(void *status)",
  TF_Message: "const char *TF_Message(void *status)",
  TF_AllocateTensor: "void *TF_AllocateTensor(int dtype, const int64_t *dims, int rank, size_t bytes)",
  TF_NewTensor:
    "void *TF_NewTensor(int dtype, const int64_t *dims, int rank, void *data, size_t bytes, void *deallocator, void *argument)",
  TF_TensorData: "void *TF_TensorData(void *tensor)",
  TF_TensorByteSize: "size_t TF_TensorByteSize(void *tensor)",
  TF_DeleteTensor: "void TF_DeleteTensor(void *tensor)",
  TFE_NewContextOptions: "void *TFE_NewContextOptions()",
  TFE_ContextOptionsSetConfig:
    "void TFE_ContextOptionsSetConfig(void *options, const void *proto, size_t bytes, void *status)",
  TFE_DeleteContextOptions: "void TFE_DeleteContextOptions(void *options)",
  TFE_NewContext: "void *TFE_NewContext(void *options, void *status)",
  TFE_ContextListDevices: "void *TFE_ContextListDevices(void *context, void *status)",
  TF_DeviceListCount: "int TF_DeviceListCount(void *list)",
  TF_DeviceListName: "const char *TF_DeviceListName(void *list, int index, void *status)",
  TF_DeviceListType: "const char *TF_DeviceListType(void *list, int index, void *status)",
  TF_DeleteDeviceList: "void TF_DeleteDeviceList(void *list)",
  TFE_NewTensorHandle: "void *TFE_NewTensorHandle(void *tensor, void *status)",
  TFE_DeleteTensorHandle: "void TFE_DeleteTensorHandle(void *handle)",
  TFE_TensorHandleResolve: "void *TFE_TensorHandleResolve(void *handle, void *status)",
  TFE_TensorHandleNumDims: "int TFE_TensorHandleNumDims(void *handle, void *status)",
  TFE_TensorHandleDim: "int64_t TFE_TensorHandleDim(void *handle, int index, void *status)",
  TFE_TensorHandleDataType: "int TFE_TensorHandleDataType(void *handle)",
  TFE_NewOp: "void *TFE_NewOp(void *context, const char *name, void *status)",
  TFE_DeleteOp: "void TFE_DeleteOp(void *op)",
  TFE_OpAddInput: "void TFE_OpAddInput(void *op, void *handle, void *status)",
  TFE_OpSetAttrString: "void TFE_OpSetAttrString(void *op, const char *name, const void *value, size_t bytes)",
  TFE_OpSetAttrInt: "void TFE_OpSetAttrInt(void *op, const char *name, int64_t value)",
  TFE_OpSetAttrIntList: "void TFE_OpSetAttrIntList(void *op, const char *name, const int64_t *values, int count)",
  TFE_OpSetAttrFloat: "void TFE_OpSetAttrFloat(void *op, const char *name, float value)",
  TFE_OpSetAttrBool: "void TFE_OpSetAttrBool(void *op, const char *name, uint8_t value)",
  TFE_OpSetAttrType: "void TFE_OpSetAttrType(void *op, const char *name, int dtype)",
  TFE_OpSetAttrShape:
    "void TFE_OpSetAttrShape(void *op, const char *name, const int64_t *dims, int rank, void *status)",
  TFE_Execute: "void TFE_Execute(void *op, _Inout_ void **outputs, _Inout_ int *count, void *status)",
  TFE_ContextAddFunction: "void TFE_ContextAddFunction(void *context, void *function, void *status)",
  TFE_ContextRemoveFunction: "void TFE_ContextRemoveFunction(void *context, const char *name, void *status)",
  TF_NewGraph: "void *TF_NewGraph()",
  TF_DeleteGraph: "void TF_DeleteGraph(void *graph)",
  TF_DeleteFunction: "void TF_DeleteFunction(void *function)",
  TF_NewOperation: "void *TF_NewOperation(void *graph, const char *type, const char *name)",
  TF_GraphGetTensorNumDims: "int TF_GraphGetTensorNumDims(void *graph, TF_Output output, void *status)",
  TF_GraphGetTensorShape:
    "void TF_GraphGetTensorShape(void *graph, TF_Output output, _Out_ int64_t *dims, int rank, void *status)",
  TF_OperationOutputType: "int TF_OperationOutputType(TF_Output output)",
  TF_FinishOperation: "void *TF_FinishOperation(void *description, void *status)",
  TF_AddInput: "void TF_AddInput(void *description, TF_Output input)",
  TF_AddControlInput: "void TF_AddControlInput(void *description, void *oper)",
  TF_AddInputList: "void TF_AddInputList(void *description, const TF_Output *inputs, int count)",
  TF_SetAttrString: "void TF_SetAttrString(void *description, const char *name, const void *value, size_t bytes)",
  TF_SetAttrInt: "void TF_SetAttrInt(void *description, const char *name, int64_t value)",
  TF_SetAttrIntList: "void TF_SetAttrIntList(void *description, const char *name, const int64_t *values, int count)",
  TF_SetAttrFloat: "void TF_SetAttrFloat(void *description, const char *name, float value)",
  TF_SetAttrBool: "void TF_SetAttrBool(void *description, const char *name, uint8_t value)",
  TF_SetAttrType: "void TF_SetAttrType(void *description, const char *name, int dtype)",
  TF_SetAttrShape: "void TF_SetAttrShape(void *description, const char *name, const int64_t *dims, int rank)",
  TF_SetAttrTensor: "void TF_SetAttrTensor(void *description, const char *name, void *tensor, void *status)",
  TF_GraphToFunction:
    "void *TF_GraphToFunction(void *body, const char *name, uint8_t hashName, int opers, void *operList, int inputs, const TF_Output *inputList, int outputs, const TF_Output *outputList, const char **names, void *options, const char *description, void *status)",
} as const;

type NativeArgument =
  | Pointer
  | number
  | string
  | null
  | ArrayBufferView
  | GraphOutput
  | readonly GraphOutput[]
  | (bigint | null)[]
  | number[];
type Native<Result> = (...args: NativeArgument[]) => Result;
type PointerFunctions =
  | "TF_NewStatus"
  | "TF_AllocateTensor"
  | "TF_NewTensor"
  | "TF_TensorData"
  | "TFE_NewContextOptions"
  | "TFE_NewContext"
  | "TFE_ContextListDevices"
  | "TFE_NewTensorHandle"
  | "TFE_TensorHandleResolve"
  | "TFE_NewOp"
  | "TF_NewGraph"
  | "TF_NewOperation"
  | "TF_FinishOperation"
  | "TF_GraphToFunction";
type NumberFunctions =
  | "TF_GetCode"
  | "TF_TensorByteSize"
  | "TF_DeviceListCount"
  | "TFE_TensorHandleNumDims"
  | "TFE_TensorHandleDim"
  | "TFE_TensorHandleDataType"
  | "TF_GraphGetTensorNumDims"
  | "TF_OperationOutputType";
type StringFunctions = "TF_Version" | "TF_Message" | "TF_DeviceListName" | "TF_DeviceListType";

type Functions = {
  readonly [Name in keyof typeof signatures]: Name extends PointerFunctions
    ? Native<Pointer>
    : Name extends NumberFunctions
      ? Native<number>
      : Name extends StringFunctions
        ? Native<string>
        : Native<void>;
};

export interface CApi extends Functions {
  /** `memcpy` of the C library: copies between native and shared WebAssembly memory. */
  readonly copy: (target: Pointer, source: Pointer, bytes: number) => void;
  /** The address of a view's first byte. It stays right for shared WebAssembly memory, which grows in place. */
  readonly addressOf: (view: Uint8Array) => Pointer;
  /** Any harmless C function: the deallocator of tensors whose memory is not TensorFlow's. */
  readonly keep: Pointer;
  /** Native memory as an ArrayBuffer; valid as long as the tensor that owns it. */
  readonly view: (data: Pointer, bytes: number) => ArrayBuffer;
  /** One status an instance: an instance belongs to one thread. */
  readonly status: Pointer;
  /** @throws BackendError OP_FAILED with TensorFlow's message when the last call failed. */
  readonly check: (what: string) => void;
}

let loaded: CApi | undefined;

/** Loads the libraries into this thread, once. Quiet: what they print to stderr while loading is dropped. */
export function loadCApi(folder: string): CApi {
  loaded ??= load(folder);
  return loaded;
}

function load(folder: string): CApi {
  // Read by C when the library is loaded; assigning it in a worker_thread does not reach C, so a process loads in its main thread first.
  process.env["TF_CPP_MIN_LOG_LEVEL"] ??= "3";
  const libc = koffi.load("libc.so.6");
  const memcpy = libc.func("void *memcpy(void *target, const void *source, size_t bytes)") as (
    target: Pointer | Uint8Array,
    source: Pointer | Uint8Array,
    bytes: number,
  ) => Pointer;
  const library = quietly(libc, () => {
    for (const file of [libraryFiles.framework, libraryFiles.cc]) pin(libc, join(folder, file));
    return koffi.load(join(folder, libraryFiles.cc));
  });
  const paths = Object.values(libraryFiles).map((file) => join(realpathSync(folder), file));
  if (isMainThread) releasePages(libc, (path) => paths.includes(path));
  koffi.struct("TF_Output", { oper: "void *", index: "int" });
  const functions = Object.fromEntries(
    Object.entries(signatures).map(([name, signature]) => [name, library.func(signature)]),
  ) as unknown as Functions;
  const status = functions.TF_NewStatus();
  return {
    ...functions,
    status,
    copy: (target, source, bytes) => void memcpy(target, source, bytes),
    addressOf: (view) => memcpy(view, view, 0),
    keep: libc.symbol("getpid"),
    view: (data, bytes) => koffi.view(data, bytes),
    check(what) {
      if (functions.TF_GetCode(status) !== 0) {
        throw new BackendError("OP_FAILED", `${what}: ${functions.TF_Message(status)}`);
      }
    },
  };
}

/**
 * Opens a library so that it stays until the process ends. koffi closes what it loaded when a thread or the process ends, and TensorFlow's own
 * threads, still running its code, would then crash the process.
 */
function pin(libc: LibraryHandle, path: string): void {
  const [lazy, global, noDelete] = [0x1, 0x100, 0x1000];
  const dlopen = libc.func("void *dlopen(const char *path, int flags)") as (
    path: string,
    flags: number,
  ) => Pointer | null;
  // Looked up before: looking up clears the error.
  const dlerror = libc.func("const char *dlerror()") as () => string;
  if (dlopen(path, lazy | global | noDelete)) return;
  throw new BackendError(
    "LIBTENSORFLOW_DAMAGED",
    `could not load ${path}: ${dlerror()}; run "npx ringmaster setup" to fetch it again`,
  );
}

/**
 * libtensorflow prints two lines to stderr while it is loaded, whatever its log level says. The descriptor is the whole process's, so this is for the
 * main thread, which loads first; threads that load later print nothing.
 */
function quietly<Result>(libc: LibraryHandle, action: () => Result): Result {
  if (!isMainThread) return action();
  const open = libc.func("int open(const char *path, int flags)") as (path: string, flags: number) => number;
  const dup = libc.func("int dup(int fd)") as (fd: number) => number;
  const dup2 = libc.func("int dup2(int from, int to)") as (from: number, to: number) => number;
  const close = libc.func("int close(int fd)") as (fd: number) => number;
  const stderr = 2;
  const writeOnly = 1;
  const saved = dup(stderr);
  const nowhere = open("/dev/null", writeOnly);
  dup2(nowhere, stderr);
  try {
    return action();
  } finally {
    dup2(saved, stderr);
    close(nowhere);
    close(saved);
  }
}
