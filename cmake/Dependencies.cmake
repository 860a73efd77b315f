# Third-party libraries. scripts/setup.sh makes what is found here; an own LibTorch or ONNX Runtime
# is honoured through Torch_DIR and ONNXRUNTIME_ROOT (cache variables or environment).
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

# ---- LibTorch: first, and not through CMAKE_PREFIX_PATH, because torch/include carries its own
# google/protobuf and fmt, which would be taken for the system's.
if(DEFINED ENV{Torch_DIR} AND NOT Torch_DIR)
  set(Torch_DIR "$ENV{Torch_DIR}" CACHE PATH "Folder with TorchConfig.cmake")
endif()
set(kineto_LIBRARY c10 CACHE STRING "silences a warning of TorchConfig" FORCE)
find_package(Torch REQUIRED CONFIG PATHS "${YOLOQUANT_SITE}/torch" NO_DEFAULT_PATH)
set(_overlay "${PROJECT_BINARY_DIR}/system_first")
file(MAKE_DIRECTORY "${_overlay}")
foreach(_name google fmt)
  file(CREATE_LINK /usr/include/${_name} "${_overlay}/${_name}" SYMBOLIC)
endforeach()
add_library(yoloquant_torch INTERFACE)
target_include_directories(yoloquant_torch SYSTEM INTERFACE
  "$<BUILD_INTERFACE:${_overlay}>" "$<BUILD_INTERFACE:${TORCH_INCLUDE_DIRS}>")
target_link_libraries(yoloquant_torch INTERFACE torch)

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

# ---- ONNX Runtime: the wheel has the library (no SONAME link), a Debian package has the headers.
set(ONNXRUNTIME_ROOT "$ENV{ONNXRUNTIME_ROOT}" CACHE PATH "ONNX Runtime release folder (optional)")
if(ONNXRUNTIME_ROOT)
  find_library(_ort_library onnxruntime PATHS "${ONNXRUNTIME_ROOT}/lib" NO_DEFAULT_PATH REQUIRED)
  set(_ort_hints "${ONNXRUNTIME_ROOT}/include")
else()
  file(GLOB _ort_library "${YOLOQUANT_SITE}/onnxruntime/capi/libonnxruntime.so.*")
  set(_ort_hints "${YOLOQUANT_DEPS}/sysroot/usr/include/onnxruntime")
endif()
if(NOT _ort_library)
  message(FATAL_ERROR "no ONNX Runtime library: run ./scripts/setup.sh or set ONNXRUNTIME_ROOT")
endif()
find_path(YOLOQUANT_ORT_INCLUDE onnxruntime_cxx_api.h PATHS ${_ort_hints}
          PATH_SUFFIXES onnxruntime onnxruntime/core/session NO_DEFAULT_PATH REQUIRED)
file(MAKE_DIRECTORY "${PROJECT_BINARY_DIR}/lib")
get_filename_component(_ort_real "${_ort_library}" REALPATH)
file(CREATE_LINK "${_ort_real}" "${PROJECT_BINARY_DIR}/lib/libonnxruntime.so.1" SYMBOLIC)
add_library(onnxruntime::onnxruntime SHARED IMPORTED GLOBAL)
set_target_properties(onnxruntime::onnxruntime PROPERTIES
  IMPORTED_LOCATION "${_ort_real}"
  IMPORTED_SONAME libonnxruntime.so.1)
target_include_directories(onnxruntime::onnxruntime SYSTEM INTERFACE "${YOLOQUANT_ORT_INCLUDE}")
list(APPEND CMAKE_BUILD_RPATH "${PROJECT_BINARY_DIR}/lib")

# ---- System packages. OpenCVConfig.cmake comes only with all of OpenCV, hence find_library.
find_path(OPENCV_INCLUDE opencv2/core.hpp PATH_SUFFIXES opencv4 REQUIRED)
foreach(_module core imgproc imgcodecs)
  find_library(OPENCV_${_module} opencv_${_module} REQUIRED)
  add_library(cv::${_module} SHARED IMPORTED GLOBAL)
  set_target_properties(cv::${_module} PROPERTIES IMPORTED_LOCATION "${OPENCV_${_module}}")
  target_include_directories(cv::${_module} SYSTEM INTERFACE "${OPENCV_INCLUDE}")
endforeach()
find_package(CLI11 REQUIRED)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(yaml-cpp REQUIRED)
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
