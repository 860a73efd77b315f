# Third-party libraries. scripts/setup.sh makes what is found here; an own LibTorch or ONNX Runtime
# is honoured through Torch_DIR and ONNXRUNTIME_ROOT (cache variables or environment).
include(ThirdParty)

if(DEFINED ENV{YOLOQUANT_DEPS})
  set(_default_deps "$ENV{YOLOQUANT_DEPS}")
elseif(DEFINED ENV{XDG_CACHE_HOME})
  set(_default_deps "$ENV{XDG_CACHE_HOME}/yoloquant/deps")
else()
  set(_default_deps "$ENV{HOME}/.cache/yoloquant/deps")
endif()
set(YOLOQUANT_DEPS "${_default_deps}" CACHE PATH "Folder that scripts/setup.sh made")

file(GLOB YOLOQUANT_SITE LIST_DIRECTORIES true "${YOLOQUANT_DEPS}/lib/python3*/site-packages")
list(LENGTH YOLOQUANT_SITE _sites)
if(NOT _sites EQUAL 1)
  message(FATAL_ERROR "no Python packages under ${YOLOQUANT_DEPS}: run ./scripts/setup.sh first")
endif()

# ---- LibTorch. torch/include carries its own google/protobuf and fmt; a folder with links to the
# system's goes in front of it.
set(Torch_DIR "$ENV{Torch_DIR}" CACHE PATH "Folder with an own TorchConfig.cmake (optional)")
if(Torch_DIR)
  get_filename_component(YOLOQUANT_TORCH_ROOT "${Torch_DIR}/../../.." ABSOLUTE)
else()
  set(YOLOQUANT_TORCH_ROOT "${YOLOQUANT_SITE}/torch")
endif()
if(NOT EXISTS "${YOLOQUANT_TORCH_ROOT}/include/ATen/ATen.h")
  message(FATAL_ERROR "no LibTorch headers in ${YOLOQUANT_TORCH_ROOT}: "
                      "run ./scripts/setup.sh or set Torch_DIR to LIBTORCH/share/cmake/Torch")
endif()
yoloquant_import_torch("${YOLOQUANT_TORCH_ROOT}")
set(_overlay "${PROJECT_BINARY_DIR}/system_first")
file(MAKE_DIRECTORY "${_overlay}")
foreach(_name google fmt)
  file(CREATE_LINK /usr/include/${_name} "${_overlay}/${_name}" SYMBOLIC)
endforeach()
target_include_directories(yoloquant_torch SYSTEM INTERFACE
  "${_overlay}" "${YOLOQUANT_TORCH_ROOT}/include"
  "${YOLOQUANT_TORCH_ROOT}/include/torch/csrc/api/include")

# Process groups: c10d's headers include gloo's, which the wheel lacks. Nothing of it is linked, it is
# in libtorch_cpu.
find_path(YOLOQUANT_GLOO_INCLUDE gloo/algorithm.h
          PATHS "${YOLOQUANT_DEPS}/sysroot/usr/include" /usr/include NO_DEFAULT_PATH)
if(NOT YOLOQUANT_GLOO_INCLUDE)
  message(FATAL_ERROR "no headers of gloo in ${YOLOQUANT_DEPS}/sysroot: run ./scripts/setup.sh")
endif()
add_library(yoloquant_c10d INTERFACE)
target_include_directories(yoloquant_c10d SYSTEM INTERFACE "${YOLOQUANT_GLOO_INCLUDE}")
# NCCL is there when LibTorch was built for CUDA. Its headers and CUDA's come as wheels with torch's,
# or with a toolkit; what they need differs between versions, so it is tried.
if(TARGET yoloquant_torch_torch_cuda)
  file(GLOB _cuda_includes "${YOLOQUANT_SITE}/nvidia/*/include" /usr/local/cuda/include)
  file(GLOB _cudart "${YOLOQUANT_SITE}/nvidia/*/lib/libcudart.so.*"
       /usr/local/cuda/lib64/libcudart.so)
  include(CheckCXXSourceCompiles)
  set(CMAKE_REQUIRED_DEFINITIONS -DUSE_C10D_NCCL)
  set(CMAKE_REQUIRED_INCLUDES "${YOLOQUANT_GLOO_INCLUDE}" ${_cuda_includes})
  set(CMAKE_REQUIRED_LIBRARIES yoloquant_torch ${_cudart})
  check_cxx_source_compiles("
    #include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
    using Group = c10d::ProcessGroupNCCL;
    int main(int argc, char**) {
      c10::intrusive_ptr<c10d::Store> store;
      return c10::make_intrusive<Group>(store, 0, argc, Group::Options::create())->getSize();
    }" YOLOQUANT_HAS_NCCL)
  foreach(_variable DEFINITIONS INCLUDES LIBRARIES)
    unset(CMAKE_REQUIRED_${_variable})
  endforeach()
  if(YOLOQUANT_HAS_NCCL)
    target_compile_definitions(yoloquant_c10d INTERFACE USE_C10D_NCCL)
    target_include_directories(yoloquant_c10d SYSTEM INTERFACE ${_cuda_includes})
    target_link_libraries(yoloquant_c10d INTERFACE ${_cudart})
  else()
    message(STATUS "NCCL cannot be compiled against: training on several GPUs is left out")
  endif()
endif()

# ---- ONNX messages, compiled from the onnx wheel's schema (lite runtime).
find_package(Protobuf REQUIRED)
set(_pb "${PROJECT_BINARY_DIR}/onnx_proto")
file(MAKE_DIRECTORY "${_pb}")
add_custom_command(
  OUTPUT "${_pb}/onnx-ml.pb.cc" "${_pb}/onnx-ml.pb.h"
  COMMAND protobuf::protoc --cpp_out=${_pb} -I${YOLOQUANT_SITE}/onnx onnx-ml.proto
  DEPENDS "${YOLOQUANT_SITE}/onnx/onnx-ml.proto" VERBATIM)
add_library(yoloquant_onnx_proto STATIC "${_pb}/onnx-ml.pb.cc")
target_include_directories(yoloquant_onnx_proto SYSTEM PUBLIC "$<BUILD_INTERFACE:${_pb}>")
target_link_libraries(yoloquant_onnx_proto PUBLIC protobuf::libprotobuf-lite)
set_target_properties(yoloquant_onnx_proto PROPERTIES
  EXPORT_NAME onnx_proto YOLOQUANT_EXTERNALS protobuf::libprotobuf-lite)

# ---- ONNX Runtime: the wheel has the library without the link that programs load it by, and a
# distribution package has the headers. Execution providers are loaded from beside the library.
set(ONNXRUNTIME_ROOT "$ENV{ONNXRUNTIME_ROOT}" CACHE PATH "ONNX Runtime release folder (optional)")
if(ONNXRUNTIME_ROOT)
  set(_ort_folder "${ONNXRUNTIME_ROOT}/lib")
  set(_ort_hints "${ONNXRUNTIME_ROOT}/include")
else()
  set(_ort_folder "${YOLOQUANT_SITE}/onnxruntime/capi")
  set(_ort_hints "${YOLOQUANT_DEPS}/sysroot/usr/include/onnxruntime")
endif()
file(GLOB _ort_libraries "${_ort_folder}/libonnxruntime.so*")
if(NOT _ort_libraries)
  message(FATAL_ERROR "no ONNX Runtime in ${_ort_folder}: "
                      "run ./scripts/setup.sh or set ONNXRUNTIME_ROOT")
endif()
list(GET _ort_libraries 0 _ort_library)
find_path(YOLOQUANT_ORT_INCLUDE onnxruntime_cxx_api.h PATHS ${_ort_hints}
          PATH_SUFFIXES onnxruntime onnxruntime/core/session NO_DEFAULT_PATH REQUIRED)
file(MAKE_DIRECTORY "${PROJECT_BINARY_DIR}/lib")
get_filename_component(_ort_real "${_ort_library}" REALPATH)
file(CREATE_LINK "${_ort_real}" "${PROJECT_BINARY_DIR}/lib/libonnxruntime.so.1" SYMBOLIC)
file(GLOB _ort_providers "${_ort_folder}/libonnxruntime_providers_*.so")
foreach(_provider ${_ort_providers})
  get_filename_component(_name "${_provider}" NAME)
  file(CREATE_LINK "${_provider}" "${PROJECT_BINARY_DIR}/lib/${_name}" SYMBOLIC)
endforeach()
yoloquant_import_onnxruntime("${PROJECT_BINARY_DIR}/lib/libonnxruntime.so.1")
target_include_directories(onnxruntime::onnxruntime SYSTEM INTERFACE "${YOLOQUANT_ORT_INCLUDE}")

# ---- System packages.
yoloquant_import_opencv()
find_package(CLI11 REQUIRED)
find_package(fmt REQUIRED)
find_package(OpenSSL REQUIRED COMPONENTS Crypto)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(yaml-cpp REQUIRED)
yoloquant_alias_yaml()
find_package(simdjson REQUIRED)
find_package(SQLite3 REQUIRED)
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(libzip REQUIRED IMPORTED_TARGET GLOBAL libzip)
find_program(YOLOQUANT_PYTHON NAMES python PATHS "${YOLOQUANT_DEPS}/bin" NO_DEFAULT_PATH)
if(YOLOQUANT_TESTS)
  find_package(GTest REQUIRED)
endif()
if(YOLOQUANT_BENCH)
  find_package(benchmark REQUIRED)
endif()
