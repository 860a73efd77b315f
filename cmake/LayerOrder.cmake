# The layers of src/, lowest first: the one place that says so. A layer includes and links only those
# before it. The build reads this list, and so does the test in tests/layering.
set(YOLOQUANT_LAYER_ORDER
  base tensor checkpoint graph model data exec quant onnx runtime eval train report pipeline cli)

# Third-party headers that only some layers may see: "NAME|regex of the included path|layers".
set(YOLOQUANT_RESTRICTED_HEADERS
  "LibTorch|^(torch|ATen|c10|caffe2)/|exec,quant,train"
  "protobuf|^google/protobuf/|onnx"
  "ONNX messages|^onnx(-ml)?\\.pb\\.h$|onnx"
  "ONNX Runtime|^(onnxruntime/.*/)?onnxruntime_|runtime"
  "OpenCV|^opencv2/|data"
  "SQLite|^sqlite3|report")
