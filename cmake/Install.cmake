# `cmake --install`: programs, libraries, headers and the package that find_package(yoloquant) finds.
#
#   bin/yoloquant, libexec/yoloquant/yoloquant-engine
#   lib/libyoloquant_LAYER.a, lib/cmake/yoloquant/, include/yoloquant/LAYER/*.h
#   lib/yoloquant/  links to the ONNX Runtime that this build was made with
#
# LibTorch and ONNX Runtime are not copied: they are found where they were at build time.
include(CMakePackageConfigHelpers)
set(_package lib/cmake/yoloquant)

# ---- Libraries. An export file a layer, so that a user of low layers need not find LibTorch.
get_property(_layers GLOBAL PROPERTY YOLOQUANT_LAYERS)
list(PREPEND _layers onnx_proto)  # ours too, though no layer
set(_facts "")
foreach(_layer ${_layers})
  install(TARGETS yoloquant_${_layer} EXPORT yoloquant_${_layer} ARCHIVE DESTINATION lib)
  install(EXPORT yoloquant_${_layer} NAMESPACE yoloquant:: FILE yoloquant-${_layer}.cmake
          DESTINATION ${_package})

  get_target_property(_depends yoloquant_${_layer} YOLOQUANT_DEPENDS)
  get_target_property(_externals yoloquant_${_layer} YOLOQUANT_EXTERNALS)
  if(NOT _depends)
    set(_depends "")
  endif()
  set(_outside "")
  foreach(_external ${_externals})
    if(_external STREQUAL "yoloquant_onnx_proto")
      list(APPEND _depends onnx_proto)
    elseif(NOT _external MATCHES "^\\$<BUILD_INTERFACE:")
      list(APPEND _outside ${_external})
    endif()
  endforeach()
  string(APPEND _facts "set(_yoloquant_depends_${_layer} ${_depends})\n"
                       "set(_yoloquant_outside_${_layer} ${_outside})\n")
endforeach()
foreach(_layer ${YOLOQUANT_LAYER_ORDER})
  install(DIRECTORY "${PROJECT_SOURCE_DIR}/src/${_layer}" DESTINATION include/yoloquant
          FILES_MATCHING PATTERN "*.h")
endforeach()

# ---- Package.
configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/yoloquantConfig.cmake.in"
  "${PROJECT_BINARY_DIR}/package/yoloquantConfig.cmake" INSTALL_DESTINATION ${_package})
write_basic_package_version_file("${PROJECT_BINARY_DIR}/package/yoloquantConfigVersion.cmake"
  COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/package/yoloquantConfig.cmake"
              "${PROJECT_BINARY_DIR}/package/yoloquantConfigVersion.cmake"
              "${PROJECT_SOURCE_DIR}/cmake/ThirdParty.cmake"
        DESTINATION ${_package})

# ---- ONNX Runtime's links, made by Dependencies.cmake.
file(GLOB _ort_links "${PROJECT_BINARY_DIR}/lib/libonnxruntime*.so*")
install(FILES ${_ort_links} DESTINATION lib/yoloquant)

# ---- Programs: what apps/ builds. yoloquant starts the engine, which it looks for at this place
# relative to itself, in the build folder as in an installation.
get_property(_programs DIRECTORY "${PROJECT_SOURCE_DIR}/apps/yoloquant"
             PROPERTY BUILDSYSTEM_TARGETS)
add_custom_target(yoloquant_apps)
foreach(_program ${_programs})
  get_target_property(_type ${_program} TYPE)
  if(NOT _type STREQUAL "EXECUTABLE")
    continue()
  endif()
  add_dependencies(yoloquant_apps ${_program})
  set(_folder bin)
  set(_libraries "$ORIGIN/../lib/yoloquant")
  if(_program MATCHES "engine$")
    set(_folder libexec/yoloquant)
    set(_libraries "$ORIGIN/../../lib/yoloquant")
    set_target_properties(${_program} PROPERTIES
      RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/libexec/yoloquant")
  endif()
  set_target_properties(${_program} PROPERTIES
    INSTALL_RPATH "${_libraries};${YOLOQUANT_TORCH_ROOT}/lib")
  install(TARGETS ${_program} RUNTIME DESTINATION ${_folder})
endforeach()

install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" "${PROJECT_SOURCE_DIR}/README.md"
        DESTINATION share/doc/yoloquant)
