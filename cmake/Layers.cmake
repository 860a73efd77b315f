include(LayerOrder)

# yoloquant_layer(NAME [DEPENDS layer...] [LINK target...] [PRIVATE_LINK target...])
#
# One static library per folder of src/, target yoloquant::NAME. DEPENDS names lower layers only
# (cmake/LayerOrder.cmake); tests/layering checks that the includes agree. PRIVATE_LINK is for
# third-party libraries that no public header shows.
function(yoloquant_layer name)
  cmake_parse_arguments(ARG "" "" "DEPENDS;LINK;PRIVATE_LINK" ${ARGN})
  list(FIND YOLOQUANT_LAYER_ORDER "${name}" own)
  if(own EQUAL -1)
    message(FATAL_ERROR "layer ${name} is not in cmake/LayerOrder.cmake")
  endif()
  foreach(layer ${ARG_DEPENDS})
    list(FIND YOLOQUANT_LAYER_ORDER "${layer}" lower)
    if(lower EQUAL -1 OR NOT lower LESS own)
      message(FATAL_ERROR "layer ${name} may not depend on ${layer} (cmake/LayerOrder.cmake)")
    endif()
  endforeach()

  file(GLOB sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/*.cpp")
  if(NOT sources)
    return()
  endif()
  add_library(yoloquant_${name} STATIC ${sources})
  add_library(yoloquant::${name} ALIAS yoloquant_${name})
  target_include_directories(yoloquant_${name} PUBLIC
    "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src>"
    "$<INSTALL_INTERFACE:include/yoloquant>")
  target_compile_features(yoloquant_${name} PUBLIC cxx_std_20)
  foreach(layer ${ARG_DEPENDS})
    target_link_libraries(yoloquant_${name} PUBLIC yoloquant_${layer})
  endforeach()
  target_link_libraries(yoloquant_${name}
    PUBLIC ${ARG_LINK}
    PRIVATE ${ARG_PRIVATE_LINK} $<BUILD_INTERFACE:yoloquant_settings>)
  set_target_properties(yoloquant_${name} PROPERTIES
    EXPORT_NAME ${name}
    YOLOQUANT_DEPENDS "${ARG_DEPENDS}"
    YOLOQUANT_EXTERNALS "${ARG_LINK};${ARG_PRIVATE_LINK}")
  set_property(GLOBAL APPEND PROPERTY YOLOQUANT_LAYERS ${name})
endfunction()
