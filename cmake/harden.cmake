# SPDX-License-Identifier: Apache-2.0
# What a release build has against mistakes of ours, and what makes its bytes the same wherever it
# is built. tests/cli/test_hardened.py and test_reproducible.py hold the results to it.
#
# Not here: -fno-strict-overflow (sizes are unsigned, and checked.h is the only place where they
# are added or multiplied; the whole suite runs under UBSan), -ftrivial-auto-var-init (each
# command's stack frames would be cleared; what is read before it is set, valgrind and gcc see).
include(CheckCCompilerFlag)
include(CheckPIESupported)
check_pie_supported(LANGUAGES C)

if(NOT CMAKE_BUILD_TYPE MATCHES "Rel" OR QIMG_SANITIZE OR QIMG_FUZZ)
    return()
endif()

# Debugging information and assert() name files as seen from the source tree.
add_compile_options("-ffile-prefix-map=${PROJECT_SOURCE_DIR}=."
                    "-ffile-prefix-map=${PROJECT_BINARY_DIR}=build")
set(CMAKE_C_ARCHIVE_CREATE "<CMAKE_AR> qcD <TARGET> <LINK_FLAGS> <OBJECTS>")
set(CMAKE_C_ARCHIVE_FINISH "<CMAKE_RANLIB> -D <TARGET>")

target_compile_definitions(qimg_flags INTERFACE _FORTIFY_SOURCE=3)
target_compile_options(qimg_flags INTERFACE -fstack-protector-strong)
# What only some processors or compilers have: pages between stacks, marked targets of jumps.
foreach(flag -fstack-clash-protection -fcf-protection=full -mbranch-protection=standard)
    string(MAKE_C_IDENTIFIER "QIMG_HAVE${flag}" have)
    check_c_compiler_flag("-Werror ${flag}" ${have})
    if(${have})
        target_compile_options(qimg_flags INTERFACE ${flag})
    endif()
endforeach()
target_link_options(qimg_flags_link INTERFACE
    LINKER:-z,relro LINKER:-z,now LINKER:-z,noexecstack LINKER:-z,text)
