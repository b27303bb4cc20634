# SPDX-License-Identifier: Apache-2.0
# Compiler flags, in two targets: for our own sources, and for whatever links them.

add_library(qimg_flags INTERFACE)
add_library(qimg_flags_link INTERFACE)
target_link_libraries(qimg_flags INTERFACE qimg_flags_link)

target_compile_options(qimg_flags INTERFACE
    -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wundef
    -Wformat=2 -Wimplicit-fallthrough -fno-strict-aliasing -fno-common)
if(QIMG_WERROR)
    target_compile_options(qimg_flags INTERFACE -Werror)
endif()
if(CMAKE_C_COMPILER_ID MATCHES "Clang")
    target_compile_options(qimg_flags INTERFACE -Wno-gnu-statement-expression)
endif()

# Leaks are what it does not understand: docs/analysis.md.
if(QIMG_ANALYZE)
    target_compile_options(qimg_flags INTERFACE -fanalyzer -Wno-analyzer-malloc-leak
                           -Wno-analyzer-file-leak)
endif()

# assert() guards invariants in every build: a crash is cheaper than a wrong refcount on a disk.
foreach(config RELEASE RELWITHDEBINFO MINSIZEREL)
    string(REPLACE "-DNDEBUG" "" CMAKE_C_FLAGS_${config} "${CMAKE_C_FLAGS_${config}}")
endforeach()

if(QIMG_SANITIZE)
    target_compile_options(qimg_flags_link INTERFACE
        -fsanitize=${QIMG_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
    # With their checks in between, the compiler loses sight of what bounds a string.
    target_compile_options(qimg_flags INTERFACE -Wno-format-truncation)
    target_link_options(qimg_flags_link INTERFACE -fsanitize=${QIMG_SANITIZE})
endif()
if(QIMG_FUZZ)
    target_compile_options(qimg_flags_link INTERFACE
        -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all)
    target_link_options(qimg_flags_link INTERFACE -fsanitize=address,undefined)
endif()
