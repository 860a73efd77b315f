# cmake -DSOURCE=FOLDER -DOUTPUT=FILE -DVERSION=... -DCOMPILER=... -DOPENCV_VERSION=...
#       -P WriteBuildInfo.cmake
#
# What results say about the build. Run by every build; the file changes only when a value does.
set(hash "")
find_package(Git QUIET)
if(Git_FOUND)
  # Not the hash of a repository that the source only lies in.
  execute_process(COMMAND "${GIT_EXECUTABLE}" -C "${SOURCE}" rev-parse --show-toplevel
                  OUTPUT_VARIABLE top OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  file(REAL_PATH "${SOURCE}" source)
  if(top STREQUAL source)
    execute_process(COMMAND "${GIT_EXECUTABLE}" -C "${SOURCE}" rev-parse HEAD
                    OUTPUT_VARIABLE hash OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  endif()
endif()
file(CONFIGURE OUTPUT "${OUTPUT}" @ONLY CONTENT "constexpr const char* kVersion = \"@VERSION@\";
constexpr const char* kGitHash = \"@hash@\";
constexpr const char* kCompiler = \"@COMPILER@\";
constexpr const char* kOpenCvVersion = \"@OPENCV_VERSION@\";
")
