# Flags, precompiled headers, ccache, the linker, and the arrows between the folders.

add_library(squall_flags INTERFACE)
target_compile_options(squall_flags INTERFACE
  -Wall -Wextra -Wpedantic -Werror -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Wcast-qual
  -Wno-missing-field-initializers -Wno-deprecated-declarations -fno-omit-frame-pointer)
target_compile_definitions(squall_flags INTERFACE
  BOOST_ASIO_SEPARATE_COMPILATION BOOST_ASIO_NO_DEPRECATED BOOST_BEAST_SEPARATE_COMPILATION
  BOOST_ASIO_DISABLE_BOOST_DATE_TIME
  SQUALL_VERSION="${PROJECT_VERSION}")
target_include_directories(squall_flags INTERFACE ${CMAKE_SOURCE_DIR})

set(CMAKE_CXX_FLAGS_DEBUG "-g1 -O1")
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG")
if(SQUALL_SANITIZE)
  add_compile_options(-fsanitize=${SQUALL_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${SQUALL_SANITIZE})
endif()

find_program(SQUALL_MOLD mold)
find_program(SQUALL_LLD NAMES ld.lld ld.lld-19)
if(SQUALL_MOLD)
  add_link_options(-fuse-ld=mold)
elseif(SQUALL_LLD AND CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  add_link_options(-fuse-ld=lld)
endif()

# Two checkouts of the same commit share the cache: paths are rewritten relative to the base directory, and a
# precompiled header, whose bytes hold its path, stands for the text it was made of (squall_precompile below).
find_program(SQUALL_CCACHE ccache)
if(SQUALL_CCACHE)
  set(launcher ${CMAKE_COMMAND} -E env
    CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=true CCACHE_PCH_EXTSUM=true
    CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
    ${SQUALL_CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${launcher})
  set(CMAKE_C_COMPILER_LAUNCHER ${launcher})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    add_compile_options("$<$<COMPILE_LANGUAGE:CXX>:SHELL:-Xclang -fno-pch-timestamp>")
    # Without the header beside it, which CMake adds: ccache does not rewrite that path.
    set(CMAKE_CXX_COMPILE_OPTIONS_USE_PCH -Xclang -include-pch -Xclang <PCH_FILE>)
  endif()
endif()

# squall_precompile(TARGET HEADER): the header is parsed once for the target's sources.
function(squall_precompile target header)
  target_precompile_headers(${target} PRIVATE ${header})
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${header})
  get_property(sum GLOBAL PROPERTY squall_sum_${header})
  if(NOT sum)
    execute_process(COMMAND ${CMAKE_CXX_COMPILER} -std=c++20 -E -P -I${CMAKE_SOURCE_DIR} ${header}
      OUTPUT_VARIABLE text COMMAND_ERROR_IS_FATAL ANY)
    string(SHA256 sum "${CMAKE_CXX_COMPILER_VERSION} ${text}")
    set_property(GLOBAL PROPERTY squall_sum_${header} ${sum})
  endif()
  file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/CMakeFiles/${target}.dir/cmake_pch.hxx.pch.sum ${sum})
endfunction()

# squall_module(NAME scenarios USES … LINKS …): a static library of every .cpp of the folder (not of main.cpp,
# nor of *_main.cpp), linked to the modules it may know. An include that leaves these arrows is caught by
# scripts/check.
function(squall_module)
  cmake_parse_arguments(ARG "" "NAME" "USES;LINKS" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  list(FILTER sources EXCLUDE REGEX "main\\.cpp$")
  add_library(squall_${ARG_NAME} STATIC ${sources})
  target_link_libraries(squall_${ARG_NAME} PUBLIC squall_flags ${ARG_USES} ${ARG_LINKS})
  squall_precompile(squall_${ARG_NAME} ${CMAKE_SOURCE_DIR}/scripts/cmake/precompiled.hpp)
endfunction()
