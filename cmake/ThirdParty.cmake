# Imported targets for third-party libraries that bring no usable CMake package. Read by the build
# (Dependencies.cmake) and by an installed yoloquant (yoloquantConfig.cmake).

# Target yoloquant_torch: the LibTorch under `root` (the folder that holds include/ and lib/).
# TorchConfig.cmake is not used: with a build of torch for CUDA it wants the whole CUDA toolkit, which
# neither these libraries nor their wheel need.
function(yoloquant_import_torch root)
  foreach(library c10 torch torch_cpu)
    if(NOT EXISTS "${root}/lib/lib${library}.so")
      message(FATAL_ERROR "no LibTorch in ${root}: lib/lib${library}.so is missing")
    endif()
  endforeach()
  add_library(yoloquant_torch INTERFACE IMPORTED GLOBAL)
  target_compile_definitions(yoloquant_torch INTERFACE USE_DISTRIBUTED USE_C10D_GLOO)
  # Programs that need no LibTorch say so with a property, and what they link shows that it is so.
  set(wanted "$<NOT:$<BOOL:$<TARGET_PROPERTY:YOLOQUANT_WITHOUT_TORCH>>>")
  foreach(library c10 torch_cpu c10_cuda torch_cuda)
    set(file "${root}/lib/lib${library}.so")
    if(EXISTS "${file}")
      add_library(yoloquant_torch_${library} SHARED IMPORTED GLOBAL)
      set_target_properties(yoloquant_torch_${library} PROPERTIES IMPORTED_LOCATION "${file}")
      target_link_libraries(yoloquant_torch INTERFACE "$<${wanted}:yoloquant_torch_${library}>")
    endif()
  endforeach()
  if(TARGET yoloquant_torch_torch_cuda)
    # Loading it registers the CUDA operators; no symbol of it is named, so the linker must be told
    # to keep it. The CUDA libraries that it needs in turn are found through its own RUNPATH when the
    # program starts.
    target_link_options(yoloquant_torch INTERFACE
      "$<${wanted}:-Wl,--push-state,--no-as-needed,${root}/lib/libtorch_cuda.so,--pop-state>"
      -Wl,--allow-shlib-undefined)
  endif()
endfunction()

# Target onnxruntime::onnxruntime. `library` must have the name that programs load it by.
function(yoloquant_import_onnxruntime library)
  add_library(onnxruntime::onnxruntime SHARED IMPORTED GLOBAL)
  set_target_properties(onnxruntime::onnxruntime PROPERTIES IMPORTED_LOCATION "${library}")
endfunction()

# Targets cv::core, cv::imgproc, cv::imgcodecs. OpenCVConfig.cmake comes only with all of OpenCV.
function(yoloquant_import_opencv)
  find_path(OPENCV_INCLUDE opencv2/core.hpp PATH_SUFFIXES opencv4 REQUIRED)
  foreach(module core imgproc imgcodecs)
    find_library(OPENCV_${module} opencv_${module} REQUIRED)
    add_library(cv::${module} SHARED IMPORTED GLOBAL)
    set_target_properties(cv::${module} PROPERTIES IMPORTED_LOCATION "${OPENCV_${module}}")
    target_include_directories(cv::${module} SYSTEM INTERFACE "${OPENCV_INCLUDE}")
  endforeach()
endfunction()

# Target yaml-cpp, the name it has in versions before 0.8.
function(yoloquant_alias_yaml)
  if(TARGET yaml-cpp::yaml-cpp AND NOT TARGET yaml-cpp)
    add_library(yaml-cpp INTERFACE IMPORTED GLOBAL)
    target_link_libraries(yaml-cpp INTERFACE yaml-cpp::yaml-cpp)
  endif()
endfunction()

# For an installed yoloquant: finds what brings `target`. A macro, as find_dependency returns from the
# package file when it fails. Uses YOLOQUANT_TORCH_ROOT and _yoloquant_onnxruntime.
macro(yoloquant_find_dependency target)
  if("${target}" STREQUAL "yoloquant_torch")
    yoloquant_import_torch("${YOLOQUANT_TORCH_ROOT}")
  elseif("${target}" STREQUAL "onnxruntime::onnxruntime")
    yoloquant_import_onnxruntime("${_yoloquant_onnxruntime}")
  elseif("${target}" MATCHES "^cv::")
    yoloquant_import_opencv()
  elseif("${target}" STREQUAL "yaml-cpp")
    find_dependency(yaml-cpp)
    yoloquant_alias_yaml()
  elseif("${target}" MATCHES "^protobuf::")
    find_dependency(Protobuf)
  elseif("${target}" MATCHES "^OpenSSL::")
    find_dependency(OpenSSL COMPONENTS Crypto)
  elseif("${target}" MATCHES "^SQLite::")
    find_dependency(SQLite3)
  elseif("${target}" MATCHES "^PkgConfig::(.+)$")
    find_dependency(PkgConfig)
    pkg_check_modules(${CMAKE_MATCH_1} REQUIRED IMPORTED_TARGET GLOBAL ${CMAKE_MATCH_1})
  elseif("${target}" MATCHES "^([^:]+)::")
    find_dependency(${CMAKE_MATCH_1})
  else()
    set(yoloquant_FOUND FALSE)
    set(yoloquant_NOT_FOUND_MESSAGE "it is not known what brings ${target}")
    return()
  endif()
endmacro()
