# cmake -DWORK=FOLDER -P self_test.cmake
#
# Makes small source trees, each with one mistake, and expects check_layers.cmake to find it; a tree
# without mistakes must pass.
cmake_minimum_required(VERSION 3.25)

# Checks a tree whose file src/PLACE holds LINE; sets `status` and `output`.
function(check_tree place line)
  file(REMOVE_RECURSE "${WORK}")
  file(WRITE "${WORK}/src/base/error.h" "#pragma once\n#include <string>\n")
  file(WRITE "${WORK}/src/${place}" "// comment\n${line}\nint x;\n")
  execute_process(
    COMMAND "${CMAKE_COMMAND}" -DROOT=${WORK} -P "${CMAKE_CURRENT_LIST_DIR}/check_layers.cmake"
    RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  set(status "${result}" PARENT_SCOPE)
  string(REGEX REPLACE "[ \n]+" " " output "${output}")
  set(output "${output}" PARENT_SCOPE)
endfunction()

function(expect_pass place line)
  check_tree("${place}" "${line}")
  if(NOT status EQUAL 0)
    message(SEND_ERROR "refused in ${place}: ${line}\n${output}")
  endif()
endfunction()

function(expect_violation place line message)
  check_tree("${place}" "${line}")
  string(FIND "${output}" "${message}" at)
  if(status EQUAL 0 OR at EQUAL -1)
    message(SEND_ERROR "in ${place}: ${line}\nexpected '${message}', got (${status}): ${output}")
  endif()
endfunction()

expect_pass(cli/main.cpp "#include \"base/error.h\"")
expect_pass(exec/a.cpp "#include <ATen/core/Tensor.h>")
expect_pass(quant/deep/a.cpp "  #  include <torch/torch.h>")
expect_pass(onnx/a.cpp "#include \"onnx-ml.pb.h\"")
expect_pass(onnx/a.cpp "#include <google/protobuf/message_lite.h>")
expect_pass(runtime/a.cpp "#include <onnxruntime_cxx_api.h>")
expect_pass(data/a.cpp "#include <opencv2/core.hpp>")
expect_pass(base/a.cpp "#include <fmt/format.h>")
expect_pass(model/a.cpp "#include \"generated.inc\"")
expect_pass(base/a.cpp "// #include \"cli/options.h\" would be upward")

expect_violation(base/a.cpp "#include \"tensor/tensor.h\"" "layer tensor is above base")
expect_violation(graph/a.h "#include <quant/observer.h>" "layer quant is above graph")
expect_violation(pipeline/deep/a.cpp "  # include \"cli/options.h\"" "layer cli is above pipeline")
expect_violation(eval/a.cpp "#include <torch/torch.h>" "may see LibTorch")
expect_violation(graph/a.cpp "#include <ATen/ops/add.h>" "may see LibTorch")
expect_violation(model/a.cpp "#include <c10/util/Half.h>" "may see LibTorch")
expect_violation(report/a.cpp "#include <google/protobuf/message.h>" "may see protobuf")
expect_violation(runtime/a.cpp "#include \"onnx-ml.pb.h\"" "may see ONNX messages")
expect_violation(eval/a.cpp "#include <onnxruntime_cxx_api.h>" "may see ONNX Runtime")
expect_violation(eval/a.cpp "#include <opencv2/imgproc.hpp>" "may see OpenCV")
expect_violation(base/a.cpp "#include \"error.h\"" "write \"layer/header.h\"")
expect_violation(base/a.cpp "#include \"../tensor/tensor.h\"" "write \"layer/header.h\"")
expect_violation(misc/a.cpp "int y;" "not in cmake/LayerOrder.cmake")
file(REMOVE_RECURSE "${WORK}")
